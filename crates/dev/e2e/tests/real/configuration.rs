//! Configuration as a shoot's owner changes it: which nodes, which policy, and a mistake.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use e2e::{Endpoint, NodeFacts, TestEnvironment, Workload};
use extension_config::names;
use extension_config::provider_config::{API_VERSION, KIND};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Event, Node};
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use testbed::{Worker, tree, wait_for};

use crate::in_environment;

/// A node hears of another selection with its next pod, cleans itself or switches, and proves it.
const CHANGE: Duration = Duration::from_secs(240);
/// A mistake must show at once.
const MISTAKE: Duration = Duration::from_secs(30);
/// Stands in configurations, and nowhere else.
const SECRET: &str = "words-that-only-the-owner-may-see";

#[test]
fn configuration_of_pools_policies_and_mistakes() {
    in_environment("configuration", 2, async |environment, progress| {
        let pools = ["pool-a", "pool-b"];
        let shoot = environment.bed.shoot().admin().await?;
        for (worker, pool) in environment.bed.workers().iter().zip(pools) {
            let label = json!({ "metadata": { "labels": { (names::WORKER_POOL_LABEL): pool } } });
            let nodes: Api<Node> = Api::all(shoot.clone());
            nodes.patch(worker.name(), &PatchParams::default(), &Patch::Merge(label)).await?;
        }
        let workload = Workload::deploy(shoot, environment.bed.workers().len()).await?;
        let (before, containers) = (environment.trees()?, workload.containers().await?);
        let untouched = NodeFacts::observe(&environment.bed.workers()[1]).await?;

        configure(environment, &typed(&["pool-a"], "none")).await?;
        wait_nodes(environment, [Endpoint::Proxy, Endpoint::Containerd]).await?;
        let clean = NodeFacts::observe(&environment.bed.workers()[1]).await?;
        ensure!(clean.kubelet_invocation == untouched.kubelet_invocation, "kubelet of the other pool was restarted");
        ensure_tree(&before, &environment.bed.workers()[1])?;
        progress.step("one pool selected: its node switched, the other one untouched");

        configure(environment, &typed(&["pool-b"], "none")).await?;
        wait_nodes(environment, [Endpoint::Containerd, Endpoint::Proxy]).await?;
        ensure_tree(&before, &environment.bed.workers()[0])?;
        progress.step("the other pool selected: the first node as it was before, the second one switched");

        mistake(environment).await?;
        progress.step("a mistake: named in the Extension's status, and the last good state runs on");

        policy(environment).await?;
        progress.step("another policy: the daemon restarted with it, kubelet was not");

        ensure!(workload.containers().await? == containers, "the workload's containers were restarted");
        ensure_not_told(environment).await?;
        environment.switch_off().await?;
        environment.ensure_trees_equal(&before)
    });
}

fn typed(pools: &[&str], policy: &str) -> Value {
    let text = format!("# {SECRET}\npolicy:\n  Active: {policy}\n  ReservedResources:\n    CPU: 750m\n");
    json!({
        "apiVersion": API_VERSION, "kind": KIND,
        "selection": { "workerPools": pools },
        "configs": { "fallback": text },
    })
}

/// Writes the configuration as gardenlet does, and waits until the Extension is ready.
async fn configure(environment: &TestEnvironment, provider_config: &Value) -> anyhow::Result<()> {
    environment.gardenlet.sync_cluster(&environment.shoot(Some(provider_config), false)).await?;
    let timestamp = environment.gardenlet.deploy_extension("reconcile", Some(provider_config)).await?;
    environment.gardenlet.wait_ready(&timestamp, CHANGE).await.map(drop)
}

/// Waits until each node is on the runtime that it shall be on, that is proven, and nobody holds a switch slot.
async fn wait_nodes(environment: &TestEnvironment, wanted: [Endpoint; 2]) -> anyhow::Result<()> {
    for (worker, wanted) in environment.bed.workers().iter().zip(wanted) {
        wait_for(&format!("{} to be on {wanted:?}", worker.name()), CHANGE, || async {
            let facts = NodeFacts::observe(worker).await?;
            match wanted {
                Endpoint::Proxy => drop(facts.ensure_on_proxy(worker).await?),
                Endpoint::Containerd => facts.ensure_on_containerd()?,
            }
            Ok(Some(()))
        })
        .await?;
    }
    environment.wait_healthy().await?;
    let leases: Api<Lease> = Api::namespaced(environment.bed.shoot().admin().await?, names::SHOOT_NAMESPACE);
    let lease = leases.get(names::SWITCH_LEASE).await.context("the switch went by no slot")?;
    let annotations = lease.metadata.annotations.unwrap_or_default();
    let record: Value = serde_json::from_str(annotations.get(names::SWITCHES_ANNOTATION).context("no record")?)?;
    ensure!(record == json!({ "holders": [], "failures": [] }), "slots are still held: {record}");
    Ok(())
}

fn ensure_tree(before: &BTreeMap<String, tree::Snapshot>, worker: &Worker) -> anyhow::Result<()> {
    let difference = tree::diff(&before[worker.name()], &worker.tree()?);
    ensure!(difference.is_empty(), "{} is not as before:\n{}", worker.name(), difference.join("\n"));
    Ok(())
}

async fn mistake(environment: &TestEnvironment) -> anyhow::Result<()> {
    let worker = &environment.bed.workers()[1];
    let resources = environment.gardenlet.managed_resources();
    let generation = resources.get(names::SHOOT_MANAGED_RESOURCE).await?.metadata.generation;
    let before = NodeFacts::observe(worker).await?;
    let wrong = typed(&["pool-b"], SECRET);
    environment.gardenlet.sync_cluster(&environment.shoot(Some(&wrong), false)).await?;
    environment.gardenlet.deploy_extension("reconcile", Some(&wrong)).await?;
    let error = wait_for("the mistake to be named", MISTAKE, || async {
        let extension = environment.gardenlet.extensions().get(names::EXTENSION_TYPE).await?;
        let error = extension.data["status"]["lastError"].clone();
        Ok((!error.is_null()).then_some(error))
    })
    .await?;
    ensure!(error["codes"] == json!(["ERR_CONFIGURATION_PROBLEM"]), "{error}");
    let description = error["description"].as_str().unwrap_or_default();
    ensure!(
        description.contains("providerConfig: configs.fallback: policy.Active: ") && description.contains(SECRET),
        "{description}"
    );
    let after = NodeFacts::observe(worker).await?;
    ensure!(
        resources.get(names::SHOOT_MANAGED_RESOURCE).await?.metadata.generation == generation,
        "a faulty configuration travelled"
    );
    ensure!(
        (after.daemon_pid, after.kubelet_pid) == (before.daemon_pid, before.kubelet_pid),
        "a faulty configuration restarted something"
    );
    Ok(())
}

async fn policy(environment: &TestEnvironment) -> anyhow::Result<()> {
    let worker = &environment.bed.workers()[1];
    let cache = worker.live_root()?.join("var/lib/cri-resmgr/cache");
    let running = || -> anyhow::Result<Value> {
        let text = std::fs::read_to_string(&cache).context("the daemon has no cache")?;
        Ok(serde_json::from_str::<Value>(&text)?["PolicyName"].take())
    };
    ensure!(running()? == "none", "the daemon runs {}", running()?);
    let before = NodeFacts::observe(worker).await?;
    configure(environment, &typed(&["pool-b"], "topology-aware")).await?;
    wait_for("the daemon to run the other policy", CHANGE, || async {
        let facts = NodeFacts::observe(worker).await?;
        facts.ensure_on_proxy(worker).await?;
        Ok((running()? == "topology-aware" && facts.daemon_pid != before.daemon_pid).then_some(()))
    })
    .await?;
    wait_nodes(environment, [Endpoint::Containerd, Endpoint::Proxy]).await?;
    let after = NodeFacts::observe(worker).await?;
    ensure!(after.kubelet_invocation == before.kubelet_invocation, "kubelet was restarted for another policy");
    Ok(())
}

/// What an owner writes stands in the status and in the objects that carry it, and in no log and no Event.
async fn ensure_not_told(environment: &TestEnvironment) -> anyhow::Result<()> {
    let log = std::fs::read_to_string(environment.controller.log())?;
    ensure!(log.contains("invalid: providerConfig: configs.fallback: policy.Active"), "the log does not say where");
    ensure!(!log.contains(SECRET), "configuration in the log of the seed controller");
    for worker in environment.bed.workers() {
        let agent = worker.run(&["sh", "-c", "cat /var/log/pods/kube-system_cri-resmgr-node-agent-*/*/*.log"]).await?;
        ensure!(!agent.is_empty() && !agent.contains(SECRET), "configuration in the log of {}", worker.name());
    }
    for client in [environment.bed.seed().admin().await?, environment.bed.shoot().admin().await?] {
        let events = Api::<Event>::all(client).list(&ListParams::default()).await?;
        ensure!(!events.items.is_empty() && !serde_json::to_string(&events.items)?.contains(SECRET), "Events tell it");
    }
    Ok(())
}
