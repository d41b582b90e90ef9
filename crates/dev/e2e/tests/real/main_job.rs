//! On and off, as a Shoot's owner does it.

use std::time::Duration;

use anyhow::ensure;
use e2e::{Artifacts, NodeFacts, Readiness, Traffic, Workload, printed};
use extension_config::names::node::KUBELET_UNIT;

use crate::in_environment;

/// A Node that is not Ready for longer is given up by the controller manager.
const GRACE: Duration = Duration::from_secs(40);

/// Four times on and off on three workers, with a pod on each that must not notice, steady traffic between them of which nothing may be lost,
/// exactly one restart of kubelet for each switch, and a file tree as before after each time off.
#[test]
fn on_and_off_four_times_with_a_pod_running_throughout() {
    in_environment("main-job", 3, async |environment, progress| {
        let workload =
            Workload::deploy(environment.bed.shoot().admin().await?, environment.bed.workers().len()).await?;
        let traffic = Traffic::start(environment.bed.shoot().admin().await?, environment.bed.workers()).await?;
        let readiness = Readiness::watch(environment.bed.shoot().admin().await?);
        // A server that was not there yet may have cost a client its first requests.
        let at_first = traffic.counts(environment.bed.workers()).await?;
        let begin = environment.starts(KUBELET_UNIT).await?;
        let before = environment.trees()?;
        let containers = workload.containers().await?;
        for round in 1..=4 {
            let took = environment.switch_on(None).await?;
            progress.step(&format!("round {round}: on after {took:.1?}"));
            let starts = environment.starts(KUBELET_UNIT).await?;
            let on = environment.facts().await?;
            for worker in environment.bed.workers() {
                workload.run_pod(&format!("through-the-proxy-{round}"), worker.name()).await?;
            }
            let took = environment.switch_off().await?;
            progress.step(&format!("round {round}: off after {took:.1?}"));
            let after = environment.starts(KUBELET_UNIT).await?;
            ensure!(
                after.iter().zip(&starts).all(|(after, before)| *after == before + 1),
                "round {round}: kubelet was started {after:?} times instead of once more than {starts:?}"
            );
            let (gaps, longest) = readiness.take();
            progress.step(&format!("round {round}: Nodes were not Ready {gaps} times, {longest:.1?} at the longest"));
            ensure!(longest < GRACE, "round {round}: a Node was not Ready for {longest:.1?}");
            ensure!(
                workload.containers().await? == containers,
                "round {round}: the workload's containers were restarted"
            );
            environment.ensure_trees_equal(&before)?;
            for (worker, on) in environment.bed.workers().iter().zip(on) {
                let off = NodeFacts::observe(worker).await?;
                ensure!(on.kubelet_invocation != off.kubelet_invocation, "kubelet runs on without a restart");
            }
        }
        let counts = traffic.counts(environment.bed.workers()).await?;
        progress.step(&format!("traffic between the workers meanwhile: {counts:?}"));
        ensure!(counts.lost == at_first.lost && counts.answered > 1000, "{counts:?} after {at_first:?}");
        let starts = environment.starts(KUBELET_UNIT).await?;
        ensure!(starts.iter().zip(&begin).all(|(now, begin)| *now == begin + 2 * 4), "starts of kubelet: {starts:?}");
        Ok(())
    });
}

/// A reconcile with nothing new, a new agent pod and a restarted controller restart neither kubelet nor the daemon. Then, on the same bed, pages
/// show what their commands print.
#[test]
fn nothing_new_restarts_nothing_and_pages_show_what_is_printed() {
    in_environment("no-op", 1, async |environment, progress| {
        environment.switch_on(None).await?;
        let worker = &environment.bed.workers()[0];
        let before = NodeFacts::observe(worker).await?;
        progress.step("reconciling again, and killing the agent");
        environment.switch_on(None).await?;
        worker.shell("kill -9 $(pgrep -f '^/cri-resmgr-node-agent')").await?;
        environment.wait_healthy().await?;
        environment.switch_on(None).await?;
        let after = NodeFacts::observe(worker).await?;
        ensure!(before.kubelet_invocation == after.kubelet_invocation, "kubelet was restarted");
        ensure!(before.daemon_pid == after.daemon_pid, "the daemon was restarted");

        let pages = printed::pages(&crate::root())?;
        let xtask = Artifacts::from_env()?.xtask;
        let printed = printed::print(environment, &crate::root(), &pages, &xtask, progress).await?;
        let stale = printed::stale(&pages, &printed)?;
        ensure!(stale.is_empty(), "`cargo xtask docs --renew` writes pages anew:\n{}", stale.join("\n"));
        Ok(())
    });
}
