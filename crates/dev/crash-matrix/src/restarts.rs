//! An agent that comes and goes over a node that is as desired: nothing restarts.

use anyhow::{Context as _, ensure};
use sandbox::Binaries;

use crate::operation::Kind;
use crate::tracer::Watch;
use crate::worker_node::{Goal, WorkerNode};

/// Starts an agent `times` times on an installed node and ends it, in turn by SIGTERM and by SIGKILL; every third one is another file with
/// the same program, as an upgrade of the agent alone. Gives the units' starts in words.
///
/// # Errors
/// When anything was restarted, or anything on the node was changed.
pub async fn restarts(binaries: &Binaries, times: usize) -> anyhow::Result<String> {
    let worker_node = WorkerNode::up(binaries).await?;
    worker_node.reach(Goal::INSTALLED).await?;
    let starts = worker_node.starts();
    let folder = tempfile::tempdir()?;
    let other = folder.path().join("cri-resmgr-node-agent");
    std::fs::copy(&binaries.agent, &other)?;
    for number in 1..=times {
        let agent = worker_node.start(Goal::INSTALLED, Watch::See, (number % 3 == 0).then_some(&other))?;
        worker_node.until_reached(&agent, Goal::INSTALLED).await.with_context(|| format!("agent {number}"))?;
        let seen = agent.tracee.seen();
        if number % 2 == 0 {
            agent.tracee.stop().await;
        }
        // Dropped, it is killed.
        drop(agent);
        let now = worker_node.starts();
        ensure!(now == starts, "agent {number}: units were started {now:?} times instead of {starts:?}");
        let written: Vec<String> =
            seen.borrow().operations.iter().filter(|seen| seen.kind != Kind::Query).map(ToString::to_string).collect();
        ensure!(written.is_empty(), "agent {number} did: {}", written.join(", "));
    }
    worker_node.reach(Goal::REMOVED).await?;
    worker_node.down().await;
    Ok(format!("{times} agents one after the other; starts of kubelet, daemon and timer: {starts:?}, and not one more"))
}
