//! A policy's books: the file `cache` in its state directory.
//!
//! They lag behind: containers are written down at Synchronize *before* all of them have their places, and nothing but the events of pods and the
//! creation and removal of containers writes the books again (nri-plugins v0.14.0: pkg/resmgr/nri.go `syncWithNRI`, pkg/resmgr/cache/cache.go `Save`).

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use fake_nri_runtime::FakeRuntime;

use crate::pinning::{BALLOONS, TOPOLOGY_AWARE};
use crate::plugin::Policy;
use crate::{GENEROUS, Node, PATIENCE};

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

/// Waits until both say the same: the books may be written after the answer. After a Synchronize that takes one more event.
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

async fn names_come_first_and_places_with_the_next_event(policy: Policy, document: &str) {
    let node = Node::new(GENEROUS);
    node.fill().await;
    let _plugin = node.start(policy, document).await;
    let state = node.path("state");
    let end = Instant::now() + PATIENCE;
    while read(&state).len() < of(&node.runtime).len() {
        assert!(Instant::now() < end, "{:?}", read(&state));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Of balloons all, of topology-aware the one that came last.
    let lags = || read(&state).values().any(|(cpus, mems)| cpus.is_empty() && mems.is_empty());
    assert!(lags(), "{:?}", read(&state));
    assert!(of(&node.runtime).values().all(|(cpus, _)| !cpus.is_empty()), "{:?}", of(&node.runtime));
    // kubelet's update of a container is not such an event.
    let same = node.runtime.containers()["container-work-c01"].asked.cpu.clone();
    node.runtime.update_container("container-work-c01", &same).await.unwrap();
    assert!(lags(), "{:?}", read(&state));
    node.run_pod("work", "event").await;
    agree(&state, &node.runtime, PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs NRI_BALLOONS"]
async fn books_of_balloons_name_containers_first_and_have_their_places_with_the_next_event() {
    names_come_first_and_places_with_the_next_event(Policy::Balloons, BALLOONS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs NRI_TOPOLOGY_AWARE"]
async fn books_of_topology_aware_name_containers_first_and_have_their_places_with_the_next_event() {
    names_come_first_and_places_with_the_next_event(Policy::TopologyAware, TOPOLOGY_AWARE).await;
}
