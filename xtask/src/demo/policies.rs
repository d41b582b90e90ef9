//! The backend nri-plugins on real workers: where the kernel lets the pods' processes run, before, with and after it.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use e2e::kernel::{cpus, names};
use e2e::{TestEnvironment, Workload, balloons_reserving};
use extension_config::names::node::{CONTAINERD_UNIT, KUBELET_UNIT, PLUGIN_UNIT};
use testbed::{Progress, Worker, wait_for};

use crate::terminal::say;

/// Until the containers of a worker are where a policy has them.
const PLACED: Duration = Duration::from_secs(60);

/// Switches it on, as at the demo's begin.
pub(super) async fn switch_on(environment: &TestEnvironment) -> anyhow::Result<()> {
    environment.reconcile(Some(&balloons_reserving(0))).await?;
    environment.wait_healthy().await
}

/// CPUs by the pods' names, by the kernel's word of each container's first process.
async fn by_pod(worker: &Worker) -> anyhow::Result<BTreeMap<String, String>> {
    let (cpus, names) = (cpus(worker).await?, names(worker).await?);
    Ok(names.into_iter().filter_map(|(id, name)| Some((name, cpus.get(&id)?.clone()))).collect())
}

async fn show_cpus(environment: &TestEnvironment, moment: &str) -> anyhow::Result<Vec<BTreeMap<String, String>>> {
    let mut all = Vec::new();
    for worker in environment.bed.workers() {
        let found = by_pod(worker).await?;
        say(&format!(
            "  {} $ grep Cpus_allowed_list /proc/PID/status of each container's first process, {moment}:",
            worker.name()
        ));
        for (pod, cpus) in &found {
            say(&format!("    {pod:<50} {cpus}"));
        }
        all.push(found);
    }
    Ok(all)
}

/// Waits until pods of `default` have these CPUs and those of kube-system the others.
async fn wait_placed(worker: &Worker, work: &str, system: &str) -> anyhow::Result<()> {
    wait_for(&format!("the containers of {} to be placed", worker.name()), PLACED, || async {
        let found = by_pod(worker).await?;
        let is_so = |(pod, cpus): (&String, &String)| {
            (pod.starts_with("default/") && cpus == work) || (pod.starts_with("kube-system/") && cpus == system)
        };
        ensure!(found.iter().all(is_so), "{found:?}");
        Ok(Some(()))
    })
    .await
}

/// What must not be restarted by any of it.
async fn invocations(environment: &TestEnvironment) -> anyhow::Result<Vec<String>> {
    let mut all = Vec::new();
    for worker in environment.bed.workers() {
        all.push(worker.run(&["systemctl", "show", "--property=InvocationID", KUBELET_UNIT, CONTAINERD_UNIT]).await?);
    }
    Ok(all)
}

/// Shows everything. Each step is a claim that is checked; the first that does not hold ends the demo with an error.
pub(super) async fn show(environment: &TestEnvironment, progress: &Progress) -> anyhow::Result<()> {
    let workload = Workload::deploy(environment.bed.shoot().admin().await?, environment.bed.workers().len()).await?;
    let (trees, units) = (environment.trees()?, invocations(environment).await?);
    let containers = workload.containers().await?;
    let before = show_cpus(environment, "before").await?;
    let everywhere = before.iter().flat_map(BTreeMap::values).next().context("no container runs")?.clone();
    ensure!(before.iter().flat_map(BTreeMap::values).all(|cpus| *cpus == everywhere), "somebody places containers");

    progress.step("switching the extension on in the Shoot, with the backend nri-plugins");
    switch_on(environment).await?;
    progress.step("on: every worker's policy runs and is proven");
    for worker in environment.bed.workers() {
        show_unit(worker).await?;
        wait_placed(worker, "1", "0").await?;
        workload.start_pod(&format!("new-{}", worker.name()), worker.name()).await?;
        wait_placed(worker, "1", "0").await?;
    }
    show_cpus(environment, "with a policy that reserves CPU 0, and a new pod").await?;

    progress.step("another policy in the Shoot: CPU 1 is reserved");
    environment.reconcile(Some(&balloons_reserving(1))).await?;
    for worker in environment.bed.workers() {
        wait_placed(worker, "0", "1").await?;
    }
    environment.wait_healthy().await?;
    show_cpus(environment, "with the other policy").await?;

    progress.step("switching the extension off");
    let took = environment.switch_off().await?;
    progress.step(&format!("off: the Extension is gone after {took:.1?}"));
    let after = show_cpus(environment, "after").await?;
    ensure!(after.iter().flat_map(BTreeMap::values).all(|cpus| *cpus == everywhere), "pins are left");
    for worker in environment.bed.workers() {
        workload.remove_pod(&format!("new-{}", worker.name())).await?;
    }
    ensure!(workload.containers().await? == containers, "the workload's containers were restarted");
    ensure!(invocations(environment).await? == units, "kubelet or containerd was restarted");
    environment.ensure_trees_equal(&trees)?;
    say(
        "  the pods still run in the same containers, on the CPUs of before; kubelet and containerd were not restarted; the file tree of every worker is as before",
    );
    Ok(())
}

async fn show_unit(worker: &Worker) -> anyhow::Result<()> {
    let output = worker.exec(&["systemctl", "--no-pager", "--full", "--lines=0", "status", PLUGIN_UNIT]).await?;
    say(&format!("  {} $ systemctl status {PLUGIN_UNIT}", worker.name()));
    for line in output.stdout.lines().chain(output.stderr.lines()) {
        say(&format!("    {line}"));
    }
    Ok(())
}
