//! The kubelets of nodes in memory: each renews its Lease, at its start and every ten seconds of the nodes' time, and says whether its Node is ready.

use std::time::Duration;

use node_agent::simulation::{Clock, MemoryNode};

use super::kubelet::{HEARTBEAT_OF_KUBELET, Heartbeat};
use fake_kube_api::Store;

/// Between two checks of the nodes, in their time.
const LOOK: Duration = Duration::from_secs(1);

/// What a kubelet did last.
#[derive(Debug, Default)]
struct LastReport {
    starts: Option<u32>,
    at: Duration,
    ready: Option<bool>,
}

/// Runs until it is dropped.
pub(crate) async fn run(nodes: Vec<MemoryNode>, clock: Clock, shoot: Store) {
    let mut all: Vec<(MemoryNode, LastReport)> = nodes.into_iter().map(|node| (node, LastReport::default())).collect();
    let mut ticks = tokio::time::interval(clock.outside(LOOK));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        for (node, last) in &mut all {
            let (starts, now) = (node.kubelet_restarts(), clock.now());
            let is_due = last.starts != Some(starts) || now.saturating_sub(last.at) >= HEARTBEAT_OF_KUBELET;
            if !is_due {
                continue;
            }
            let ready = node.is_ready();
            let heartbeat = Heartbeat { shoot: &shoot, node: node.name(), at: now };
            heartbeat.renew();
            if last.ready != Some(ready) {
                heartbeat.report(if ready { Ok(()) } else { Err("its runtime does not answer") });
            }
            *last = LastReport { starts: Some(starts), at: now, ready: Some(ready) };
        }
    }
}
