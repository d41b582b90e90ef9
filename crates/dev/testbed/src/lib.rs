//! The real components of a seed, a shoot and its nodes, on one Debian machine.
//!
//! A *bed* has an etcd, two API servers (seed and shoot) with the shoot's controller manager and scheduler,
//! gardener-resource-manager for both, and workers: machines with a real systemd, containerd and kubelet. What gardenlet
//! does to an Extension is done by [`gardenlet`]. Nothing of this crate ships.

mod bed;
mod bound_token;
mod cache;
mod claims;
mod command;
pub mod components;
mod container_image;
mod containerd_config;
mod control_plane;
mod fault_proxy;
mod gardener_api;
pub mod gardenlet;
mod generation;
mod ledger;
mod machine;
mod network;
mod node_image;
mod pki;
mod prerequisites;
mod process;
mod progress;
mod prometheus;
mod registry;
mod resource_manager;
mod seed;
mod standalone_worker;
pub mod tree;
mod unpacked;
mod virtual_machine;
mod worker;

pub use bed::{Bed, Options};
pub use cache::cache_dir;
pub use command::{Output, run};
pub use container_image::{BUSYBOX_IMAGE, busybox_archive};
pub use control_plane::ApiServer;
pub use fault_proxy::FaultProxy;
pub use generation::Generation;
pub use ledger::{BedSummary, down, list};
pub use node_image::node_root;
pub use prerequisites::{Lack, check, ensure_programs};
pub use process::Daemon;
pub use progress::Progress;
pub use prometheus::{Alert, Prometheus};
pub use registry::Registry;
pub use seed::{ChartInstallation, Seed};
pub use standalone_worker::standalone_worker;
pub use unpacked::{find_unpacked, unpacked};
pub use virtual_machine::VirtualMachine;
pub use worker::Worker;

use std::time::{Duration, Instant};

/// How many times longer bed and tests wait for anything: for machines that are slow, such as emulated ones. The product's
/// own deadlines are not touched by it.
const PATIENCE: &str = "TESTBED_PATIENCE";

/// As many times at most: a wait that is awaited for a day is a hang.
const MOST_PATIENCE: u32 = 100;

/// `limit`, as much longer as `TESTBED_PATIENCE` says; before a bed comes up, [`check`] refuses what it cannot mean.
#[must_use]
pub fn patient(limit: Duration) -> Duration {
    limit.saturating_mul(patience(std::env::var(PATIENCE).ok().as_deref()).unwrap_or(1))
}

/// `None` for a text that is no number of times.
fn patience(text: Option<&str>) -> Option<u32> {
    text.map_or(Some(1), |text| text.parse().ok().filter(|times| (1..=MOST_PATIENCE).contains(times)))
}

/// Calls `probe` until it gives a value or `limit`, made longer by [`patient`], has passed; then an error that says `what`
/// was awaited and what the last attempt said.
///
/// # Errors
/// When the limit has passed.
pub async fn wait_for<T, F, Fut>(what: &str, limit: Duration, mut probe: F) -> anyhow::Result<T>
where
    F: FnMut() -> Fut,
    Fut: Future<Output = anyhow::Result<Option<T>>>,
{
    let (start, limit) = (Instant::now(), patient(limit));
    let mut last = String::from("nothing yet");
    while start.elapsed() < limit {
        match tokio::time::timeout(limit.saturating_sub(start.elapsed()), probe()).await {
            Ok(Ok(Some(value))) => return Ok(value),
            Ok(Ok(None)) => {}
            Ok(Err(error)) => last = format!("{error:#}"),
            Err(_) => break,
        }
        // Where everything is slower, looking as often as elsewhere would be much of the load.
        tokio::time::sleep(patient(Duration::from_millis(200))).await;
    }
    anyhow::bail!("waited {:.0?} for {what}; last: {last}", start.elapsed())
}

#[cfg(test)]
mod tests {
    use super::patience;

    #[test]
    fn patience_is_a_number_of_times() {
        for (text, expected) in [
            (None, Some(1)),
            (Some("1"), Some(1)),
            (Some("20"), Some(20)),
            (Some("0"), None),
            (Some("101"), None),
            (Some("2.5"), None),
            (Some(""), None),
            (Some("-1"), None),
        ] {
            assert_eq!(patience(text), expected, "{text:?}");
        }
    }
}
