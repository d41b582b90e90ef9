//! A policy's books: the file `cache` in its state directory.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use fake_nri_runtime::FakeRuntime;

/// CPUs and memory nodes by container, as the books have them.
pub(crate) fn read(state: &Path) -> BTreeMap<String, (String, String)> {
    // Missing before the first change: nothing is booked, which equals no runtime that has containers.
    let Ok(text) = std::fs::read(state.join("cache")) else { return BTreeMap::new() };
    let books: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let containers = books["Containers"].as_object().unwrap();
    containers
        .iter()
        .map(|(id, container)| {
            let cpu = &container["Ctr"]["linux"]["resources"]["cpu"];
            let text = |name: &str| cpu[name].as_str().unwrap_or_default().to_owned();
            (id.clone(), (text("cpus"), text("mems")))
        })
        .collect()
}

/// The same as the runtime has it.
pub(crate) fn of(runtime: &FakeRuntime) -> BTreeMap<String, (String, String)> {
    let containers = runtime.containers();
    containers.into_iter().map(|(id, container)| (id, (container.effective.cpus, container.effective.mems))).collect()
}

/// Waits until both say the same: the books may be written after the answer.
pub(crate) async fn agree(state: &Path, runtime: &FakeRuntime, limit: Duration) {
    let end = Instant::now() + limit;
    loop {
        let (books, effective) = (read(state), of(runtime));
        if books == effective {
            return;
        }
        assert!(Instant::now() < end, "books {books:#?}\nruntime {effective:#?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
