//! On and off, as a Shoot's owner does it.

use anyhow::ensure;
use e2e::{NodeFacts, Workload};

use crate::on_stage;

/// Four times on and off, with a pod on every worker that must not notice, one restart of kubelet for each switch and a
/// file tree as before after each time off.
#[test]
fn on_and_off_four_times_with_a_pod_running_throughout() {
    on_stage("main-job", 2, async |stage, progress| {
        let workload = Workload::deploy(stage.bed.shoot().admin().await?, stage.bed.workers().len()).await?;
        let before = stage.trees()?;
        let containers = workload.containers().await?;
        for round in 1..=4 {
            let took = stage.switch_on(None).await?;
            progress.step(&format!("round {round}: on after {took:.1?}"));
            let on = stage.facts().await?;
            for worker in stage.bed.workers() {
                workload.run_pod(&format!("through-the-proxy-{round}"), worker.name()).await?;
            }
            let took = stage.switch_off().await?;
            progress.step(&format!("round {round}: off after {took:.1?}"));
            ensure!(
                workload.containers().await? == containers,
                "round {round}: the workload's containers were restarted"
            );
            stage.ensure_trees_equal(&before)?;
            for (worker, on) in stage.bed.workers().iter().zip(on) {
                let off = NodeFacts::observe(worker).await?;
                ensure!(on.kubelet_invocation != off.kubelet_invocation, "kubelet runs on without a restart");
            }
        }
        Ok(())
    });
}

/// A reconcile with nothing new, a new agent pod and a restarted controller restart neither kubelet nor the daemon.
#[test]
fn nothing_new_restarts_nothing() {
    on_stage("no-op", 1, async |stage, progress| {
        stage.switch_on(None).await?;
        let worker = &stage.bed.workers()[0];
        let before = NodeFacts::observe(worker).await?;
        progress.step("reconciling again, and killing the agent");
        stage.switch_on(None).await?;
        worker.shell("kill -9 $(pgrep -f '^/cri-resmgr-node-agent')").await?;
        stage.wait_healthy().await?;
        stage.switch_on(None).await?;
        let after = NodeFacts::observe(worker).await?;
        ensure!(before.kubelet_invocation == after.kubelet_invocation, "kubelet was restarted");
        ensure!(before.daemon_pid == after.daemon_pid, "the daemon was restarted");
        Ok(())
    });
}
