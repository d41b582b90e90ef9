//! What the Shoot says before any node does: pools on which the product cannot work, and hibernation. With machines that go and others that come.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use e2e::{Endpoint, NodeFacts, TestEnvironment};
use extension_config::names::node::{DAEMON_UNIT, KUBELET_UNIT};
use extension_config::names::{
    EXTENSION_TYPE, NODE_REPORT_ANNOTATION, NODE_REPORT_LEASE_PREFIX, SHOOT_NAMESPACE, WORKER_POOL_LABEL,
};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use testbed::{Progress, tree, wait_for};

use crate::{in_environment, kubectl};

const OPERATION: Duration = Duration::from_secs(60);
const ROLL_OUT: Duration = Duration::from_secs(240);
/// The pool of the second worker.
const PINNED: &str = "pinned";

#[test]
fn pools_are_left_alone_and_a_sleeping_shoot_is_switched_when_it_wakes_up() {
    in_environment("pools-and-sleep", 2, async |environment, progress| {
        update_in_place(environment, progress).await.context("an update in place")?;
        pools(environment, progress).await.context("pools")?;
        sleep(environment, progress).await.context("hibernation")
    });
}

/// While Gardener updates a node in place, kubelet is restarted by nobody else.
async fn update_in_place(environment: &mut TestEnvironment, progress: &Progress) -> anyhow::Result<()> {
    let nodes: Api<Node> = Api::all(environment.bed.shoot().admin().await?);
    let leases: Api<Lease> = Api::namespaced(environment.bed.shoot().admin().await?, SHOOT_NAMESPACE);
    let name = environment.bed.workers()[0].name();
    let label = |value: Value| {
        Patch::Merge(json!({ "metadata": { "labels": { "node.machine.sapcloud.io/selected-for-update": value } } }))
    };
    nodes.patch(name, &PatchParams::default(), &label(json!("true"))).await?;
    reconcile(environment, &environment.shoot(None, false)).await?;
    let report = wait_for("the agent to say that its node is updated in place", ROLL_OUT, || async {
        let lease = leases.get(&format!("{NODE_REPORT_LEASE_PREFIX}{name}")).await?;
        let report = lease.metadata.annotations.unwrap_or_default().remove(NODE_REPORT_ANNOTATION);
        Ok(report.filter(|report| report.contains("is updated in place")))
    })
    .await?;
    progress.step(&report);
    ensure!(environment.starts(KUBELET_UNIT).await?[0] == 1, "kubelet was restarted");
    wait_endpoint(environment, 1, Endpoint::Proxy).await?;
    kubectl::tells_of_a_node_that_is_held(environment, progress).await.context("kubectl resmgr")?;
    nodes.patch(name, &PatchParams::default(), &label(Value::Null)).await?;
    wait_endpoint(environment, 0, Endpoint::Proxy).await?;
    wait_endpoint(environment, 1, Endpoint::Proxy).await?;
    environment.wait_healthy().await?;
    kubectl::tells_that_all_is_as_desired(environment, progress).await.context("kubectl resmgr")?;
    environment.switch_off().await.map(drop)
}

/// A pool whose kubelets pin CPUs is left as it is and is no reason to be unhealthy; what was switched before is switched back.
async fn pools(environment: &mut TestEnvironment, progress: &Progress) -> anyhow::Result<()> {
    let nodes: Api<Node> = Api::all(environment.bed.shoot().admin().await?);
    let [_, pinned] = environment.bed.workers() else { anyhow::bail!("the bed has not two workers") };
    let label = json!({ "metadata": { "labels": { WORKER_POOL_LABEL: PINNED } } });
    nodes.patch(pinned.name(), &PatchParams::default(), &Patch::Merge(label)).await?;
    let (before, begin) = (pinned.tree()?, environment.starts(KUBELET_UNIT).await?);
    for (policy, endpoint, starts) in
        [("static", Endpoint::Containerd, 0), ("none", Endpoint::Proxy, 1), ("static", Endpoint::Containerd, 2)]
    {
        reconcile(environment, &with_pools(environment.shoot(None, false), policy)).await?;
        wait_endpoint(environment, 0, Endpoint::Proxy).await?;
        wait_endpoint(environment, 1, endpoint).await?;
        environment.wait_healthy().await?;
        let found = environment.starts(KUBELET_UNIT).await?;
        progress.step(&format!(
            "cpuManagerPolicy {policy}: {PINNED} is on {endpoint:?}; kubelets were started {found:?} times"
        ));
        let expected = [begin[0] + 1, begin[1] + starts];
        ensure!(found == expected, "kubelets were started {found:?} times, not {expected:?}");
        let reported =
            environment.gardenlet.extensions().get(EXTENSION_TYPE).await?.data["status"]["providerStatus"].clone();
        let expected = if policy == "static" { json!(PINNED) } else { Value::Null };
        ensure!(reported["leftAlone"][0]["pool"] == expected, "{reported}");
        if endpoint == Endpoint::Containerd {
            NodeFacts::observe(pinned).await?.ensure_on_containerd()?;
            let difference = tree::diff(&before, &pinned.tree()?);
            ensure!(difference.is_empty(), "{} is not as before:\n{}", pinned.name(), difference.join("\n"));
        }
    }
    environment.switch_off().await.map(drop)
}

/// Switched off while it sleeps, no machine that comes at wake-up is ever switched; switched on while it sleeps, each one is.
async fn sleep(environment: &mut TestEnvironment, progress: &Progress) -> anyhow::Result<()> {
    environment.switch_on(None).await?;
    fall_asleep(environment, false).await?;
    progress.step("asleep; reconciled meanwhile, then switched off");
    reconcile(environment, &hibernation(environment.shoot(None, false), true, true)).await?;
    environment.gardenlet.sync_cluster(&hibernation(environment.shoot(None, true), true, true)).await?;
    environment.gardenlet.delete_extension().await?;
    wait_for("the Extension to say that the shoot is hibernated", OPERATION, || async {
        let status = environment.gardenlet.extensions().get(EXTENSION_TYPE).await?.data["status"].clone();
        ensure!(status["lastError"]["codes"].as_array().is_none_or(Vec::is_empty), "codes: {status}");
        let reported = status["lastOperation"]["description"].as_str().unwrap_or_default();
        ensure!(reported.contains("hibernated"), "{status}");
        Ok(Some(()))
    })
    .await?;
    wake_up(environment, true).await?;
    environment.gardenlet.wait_deleted(ROLL_OUT).await?;
    for worker in environment.bed.workers() {
        NodeFacts::observe(worker).await?.ensure_on_containerd()?;
        let traces: Vec<String> = worker.tree()?.into_keys().filter(|path| is_ours(path)).collect();
        ensure!(traces.is_empty(), "{} has {traces:?}", worker.name());
    }
    let (kubelets, daemons) = (environment.starts(KUBELET_UNIT).await?, environment.starts(DAEMON_UNIT).await?);
    progress.step(&format!("awake, and the Extension is gone; on new machines kubelets were started {kubelets:?} times, daemons {daemons:?}"));
    ensure!(kubelets == [1, 1] && daemons == [0, 0], "a new machine was switched: {kubelets:?}, {daemons:?}");

    fall_asleep(environment, true).await?;
    progress.step("asleep again; switched on");
    reconcile(environment, &hibernation(environment.shoot(None, false), true, true)).await?;
    wake_up(environment, false).await?;
    for number in 0..environment.bed.workers().len() {
        wait_endpoint(environment, number, Endpoint::Proxy).await?;
    }
    environment.wait_healthy().await?;
    environment.switch_off().await.map(drop)
}

/// gardenlet's part of a reconciliation.
async fn reconcile(environment: &TestEnvironment, shoot: &Value) -> anyhow::Result<()> {
    environment.gardenlet.sync_cluster(shoot).await?;
    let timestamp = environment.gardenlet.deploy_extension("reconcile", None).await?;
    environment.gardenlet.wait_ready(&timestamp, OPERATION).await.map(drop)
}

async fn fall_asleep(environment: &mut TestEnvironment, disabled: bool) -> anyhow::Result<()> {
    environment.gardenlet.sync_cluster(&hibernation(environment.shoot(None, disabled), true, false)).await?;
    environment.bed.hibernate().await?;
    environment.gardenlet.sync_cluster(&hibernation(environment.shoot(None, disabled), true, true)).await
}

/// The control plane first, then machines, as in Gardener.
async fn wake_up(environment: &mut TestEnvironment, disabled: bool) -> anyhow::Result<()> {
    environment.gardenlet.sync_cluster(&hibernation(environment.shoot(None, disabled), false, true)).await?;
    environment.bed.wake().await?;
    environment.replace_workers().await?;
    environment.gardenlet.sync_cluster(&hibernation(environment.shoot(None, disabled), false, false)).await
}

fn hibernation(mut shoot: Value, enabled: bool, hibernated: bool) -> Value {
    shoot["spec"]["hibernation"] = json!({ "enabled": enabled });
    shoot["status"]["hibernated"] = json!(hibernated);
    shoot
}

/// Two pools, the second one with this policy of the CPU manager.
fn with_pools(mut shoot: Value, policy: &str) -> Value {
    let pool = shoot["spec"]["provider"]["workers"][0].clone();
    let mut pinned = pool.clone();
    pinned["name"] = json!(PINNED);
    pinned["kubernetes"] = json!({ "kubelet": { "cpuManagerPolicy": policy } });
    shoot["spec"]["provider"]["workers"] = json!([pool, pinned]);
    shoot
}

async fn wait_endpoint(environment: &TestEnvironment, number: usize, endpoint: Endpoint) -> anyhow::Result<()> {
    let worker = environment.bed.workers().get(number).context("there are not so many workers")?;
    wait_for(&format!("kubelet on {} to be on {endpoint:?}", worker.name()), ROLL_OUT, || async {
        Ok((NodeFacts::observe(worker).await?.endpoint == endpoint).then_some(()))
    })
    .await
}

fn is_ours(path: &str) -> bool {
    ["cri-resmgr", "cri-resource-manager"].iter().any(|name| path.contains(name))
}
