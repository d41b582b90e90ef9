//! The backend nri-plugins, as a Shoot's owner has it: judged by what the kernel says of each container's first process, and by nothing of ours.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use e2e::kernel::{cpus, cpus_of, wait_cpus};
use e2e::{TestEnvironment, Workload, balloons_reserving};
use extension_config::names;
use extension_config::names::node::{CONTAINERD_UNIT, KUBELET_UNIT, PLUGIN_UNIT};
use testbed::{Progress, Worker, wait_for};

use crate::in_environment;

/// A new policy is read, tried out, put in place, started and seen to live for as long as it takes to trust it.
const POLICY: Duration = Duration::from_secs(180);
/// The agent looks at containers at least once a minute.
const HEALED: Duration = Duration::from_secs(180);
/// systemd starts a policy that has ended again after two seconds.
const BACK: Duration = Duration::from_secs(30);

/// Waits until the policy has run for longer than its proof takes, and the agent says that the node is as desired.
async fn wait_proven(environment: &TestEnvironment, worker: &Worker) -> anyhow::Result<()> {
    const PROOF: f64 = 15.0;
    let property = "--property=ActiveEnterTimestampMonotonic";
    wait_for("the policy to run for as long as its proof takes", POLICY, || async {
        let active = worker.run(&["systemctl", "show", "--value", property, PLUGIN_UNIT]).await?;
        let up = worker.run(&["cat", "/proc/uptime"]).await?;
        let since =
            up.split_whitespace().next().context("no uptime")?.parse::<f64>()? - active.trim().parse::<f64>()? / 1e6;
        ensure!(since > PROOF, "it runs for {since} s");
        Ok(Some(()))
    })
    .await?;
    environment.wait_healthy().await
}

/// What must not be restarted by any of it.
async fn invocations(worker: &Worker) -> anyhow::Result<String> {
    worker.run(&["systemctl", "show", "--property=InvocationID", KUBELET_UNIT, CONTAINERD_UNIT]).await
}

/// What agents, the policy and containerd say of it, for a test that fails.
pub(crate) async fn explained<T>(worker: &Worker, outcome: anyhow::Result<T>) -> anyhow::Result<T> {
    let Err(error) = outcome else { return outcome };
    let script = format!(
        "systemctl --no-pager --lines=40 status {PLUGIN_UNIT}; cat /run/gardener-extension-cri-resmgr/*trial* 2>/dev/null; \
         journalctl --no-pager -u containerd | grep -i nri | tail -n 20; ctr --namespace k8s.io tasks list; find /sys/fs/cgroup/cpuset -name 'cri-containerd*'"
    );
    let said =
        worker.exec(&["sh", "-c", &script]).await.map_or_else(|error| format!("{error:#}"), |output| output.stdout);
    Err(error.context(said))
}

/// On, another policy, faults, and off, with a pod on each worker that runs throughout: restarts of kubelet and containerd, none.
#[test]
#[ignore = "needs workers of the new generation: `cargo xtask soak --only nri-plugins`"]
fn containers_are_where_the_policy_has_them_and_where_they_were_after_its_removal() {
    in_environment("nri-plugins", 1, async |environment, progress| {
        let worker = &environment.bed.workers()[0];
        let outcome = whole_life(environment, worker, progress).await;
        explained(worker, outcome).await
    });
}

async fn whole_life(environment: &TestEnvironment, worker: &Worker, progress: &Progress) -> anyhow::Result<()> {
    let workload = Workload::deploy(environment.bed.shoot().admin().await?, 1).await?;
    let container = workload.containers().await?.remove(worker.name()).context("no workload")?;
    let (before, tree) = (invocations(worker).await?, environment.trees()?);
    let everywhere = cpus_of(worker, &container.id).await?;
    ensure!(everywhere == "0-1", "a container without a policy has the CPUs {everywhere}, not 0-1");

    let start = Instant::now();
    environment.reconcile(Some(&balloons_reserving(0))).await?;
    environment.wait_healthy().await?;
    progress.step(&format!("the node is as desired after {:.1?}", start.elapsed()));
    wait_cpus(worker, &container.id, "1", BACK).await?;
    let new = workload.start_pod("new", worker.name()).await?;
    wait_cpus(worker, &new.id, "1", BACK).await?;
    let all = cpus(worker).await?;
    ensure!(all.values().any(|cpus| cpus == "0"), "no container of kube-system is on the reserved CPU: {all:?}");
    progress.step(&format!("CPUs by container: {all:?}"));

    progress.step("another policy: the other CPU is reserved");
    let agents = agents(environment).await?;
    environment.reconcile(Some(&balloons_reserving(1))).await?;
    wait_cpus(worker, &container.id, "0", POLICY).await?;
    wait_cpus(worker, &new.id, "0", BACK).await?;
    wait_proven(environment, worker).await?;
    ensure!(self::agents(environment).await? == agents, "a policy rolled out agents");
    let starts = environment.starts(PLUGIN_UNIT).await?;
    ensure!(starts == [2], "the policy was started {starts:?} times for two policies");

    progress.step("a cpuset that somebody changes by hand");
    let id = container.id.trim_start_matches("containerd://");
    let group = format!("$(dirname $(find /sys/fs/cgroup -path '*{id}*' -name cpuset.cpus | head -n 1))");
    worker.shell(&format!("echo 0-1 > {group}/cpuset.cpus")).await?;
    wait_cpus(worker, &container.id, "0-1", BACK).await?;
    wait_cpus(worker, &container.id, "0", HEALED).await?;
    wait_proven(environment, worker).await?;

    progress.step("a policy that is killed");
    worker.shell(&format!("systemctl kill --signal=KILL {PLUGIN_UNIT}")).await?;
    wait_for("the policy to run again", BACK, || async {
        Ok((worker.run(&["systemctl", "is-active", PLUGIN_UNIT]).await?.trim() == "active").then_some(()))
    })
    .await?;
    wait_proven(environment, worker).await?;
    wait_cpus(worker, &container.id, "0", BACK).await?;

    progress.step("switching off");
    let took = environment.switch_off().await?;
    progress.step(&format!("off after {took:.1?}"));
    for id in [&container.id, &new.id] {
        let found = cpus_of(worker, id).await?;
        ensure!(found == everywhere, "after the removal {id} has the CPUs {found}, not {everywhere}");
    }
    workload.remove_pod("new").await?;
    ensure!(workload.containers().await?.remove(worker.name()) == Some(container), "the workload was restarted");
    ensure!(invocations(worker).await? == before, "kubelet or containerd was restarted");
    environment.ensure_trees_equal(&tree)
}

/// Names of the agents' pods.
async fn agents(environment: &TestEnvironment) -> anyhow::Result<Vec<String>> {
    use k8s_openapi::api::core::v1::Pod;
    let pods: kube::Api<Pod> = kube::Api::namespaced(environment.bed.shoot().admin().await?, names::SHOOT_NAMESPACE);
    let label = format!("app.kubernetes.io/name={}", names::NODE_AGENT);
    let pods = pods.list_metadata(&kube::api::ListParams::default().labels(&label)).await?;
    Ok(pods.items.into_iter().filter_map(|pod| pod.metadata.name).collect())
}
