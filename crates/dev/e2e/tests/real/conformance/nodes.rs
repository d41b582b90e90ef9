//! What the Extension tells of the shoot's nodes: the real controller with its own rights in the shoot, the agents' part faked.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use extension_config::names;
use extension_config::node_report::Stage;
use gardener_api::constants::condition_type::RESOURCES_HEALTHY;
use gardener_api::{ConditionStatus, ManagedResource};
use kube::Api;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams};
use serde_json::{Value, json};
use testbed::wait_for;

use super::ends::token;
use super::namespace_fixture::{NamespaceFixture, health};
use super::removal::{REMOVAL, agents, served};
use super::shoot::{FakeNode, ensure_nothing_left};
use super::{Fixture, SERVED_NAMESPACE};

/// A node that fails is named, and one that is well again is not, within this time.
const TOLD: Duration = Duration::from_secs(90);
/// Longer than from one look to the next while something is awaited.
const LOOK: Duration = Duration::from_secs(32);

pub(super) async fn nodes_are_rolled_up(fixture: &Fixture) -> anyhow::Result<()> {
    let ns = served(fixture).await?;
    token(fixture).await?;
    let mut nodes = Vec::new();
    for name in ["first", "second", "third"] {
        let node = FakeNode::join(fixture, name, None).await?;
        node.report("Install", Stage::Installed, "").await?;
        nodes.push(node);
    }
    let extension = ns.until("three nodes", TOLD, |extension| reported(extension)["count"] == 3).await?;
    let well = reported(&extension).clone();
    ensure!(well["stages"] == json!({ "Installed": 3 }) && well["notAsDesired"].is_null(), "{well}");
    ensure!(well["backends"] == json!({ "cri-resmgr": 3 }) && well["unknownSince"].is_null(), "{well}");

    monitoring_is_there(fixture, &ns).await?;

    let sick = nodes.get(1).context("a node")?;
    sick.report("Install", Stage::RolledBack, "the daemon\ndid not answer").await?;
    ready(fixture, 2).await?;
    let start = std::time::Instant::now();
    let extension = ns
        .until("the node to be named", TOLD, |extension| {
            reported(extension)["notAsDesired"]["first"][0]["name"] == "second" && text(extension).contains("second")
        })
        .await?;
    fixture.progress.step(&format!("named after {:.1?}: {}", start.elapsed(), text(&extension)));
    fixture.progress.step(&reported(&extension).to_string());
    ensure!(reported(&extension)["stages"] == json!({ "Installed": 2, "RolledBack": 1 }), "{extension}");
    ensure!(text(&extension).contains("1 of 3 nodes: second (RolledBack: the daemon did not answer)"), "{extension}");
    ensure!(health(&extension)["codes"].is_null(), "{extension}");
    // It is looked at meanwhile, and nothing is written.
    ns.stays(LOOK).await?;

    sick.report("Install", Stage::Installed, "").await?;
    ready(fixture, 3).await?;
    let start = std::time::Instant::now();
    ns.until("nobody to be named", TOLD, |extension| {
        *reported(extension) == well && health(extension)["status"] == "True" && !text(extension).contains("second")
    })
    .await?;
    fixture.progress.step(&format!("nobody is named any more after {:.1?}", start.elapsed()));

    for node in nodes {
        node.leave().await?;
    }
    ns.gardenlet.delete_extension().await?;
    ns.gone(REMOVAL).await.context(SERVED_NAMESPACE)?;
    let left = monitoring(fixture).get_opt(names::MONITORING_MANAGED_RESOURCE).await?;
    ensure!(left.is_none(), "the shoot's Prometheus still has {left:?}");
    ensure_nothing_left(fixture).await
}

fn monitoring(fixture: &Fixture) -> Api<ManagedResource> {
    Api::namespaced(fixture.seed.clone(), SERVED_NAMESPACE)
}

/// An agent has reported, and the seed has the kinds: the shoot's Prometheus gets its objects, which the real definitions of prometheus-operator take.
async fn monitoring_is_there(fixture: &Fixture, ns: &NamespaceFixture) -> anyhow::Result<()> {
    let api = monitoring(fixture);
    let resource = wait_for("the objects for the shoot's Prometheus", TOLD, || async {
        let found = api.get_opt(names::MONITORING_MANAGED_RESOURCE).await?;
        let is_healthy = |found: &ManagedResource| {
            found.condition(RESOURCES_HEALTHY).is_some_and(|condition| condition.status == ConditionStatus::True)
        };
        Ok(found.filter(is_healthy))
    })
    .await?;
    ensure!(resource.spec.class.as_deref() == Some("seed"), "{:?}", resource.spec);
    for (group, version, kind, plural, name) in [
        ("monitoring.coreos.com", "v1alpha1", "ScrapeConfig", "scrapeconfigs", "shoot-cri-resmgr-node-agent"),
        ("monitoring.coreos.com", "v1", "PrometheusRule", "prometheusrules", "shoot-cri-resmgr"),
        ("", "v1", "ConfigMap", "configmaps", "cri-resmgr-dashboards"),
    ] {
        let kind = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural);
        let api: Api<DynamicObject> = Api::namespaced_with(fixture.seed.clone(), SERVED_NAMESPACE, &kind);
        api.get(name).await.with_context(|| name.to_owned())?;
    }
    // The same once more is no write.
    let before = resource.metadata.generation;
    ns.reconcile(None).await?;
    let after = api.get(names::MONITORING_MANAGED_RESOURCE).await?;
    ensure!(
        after.metadata.generation == before && after.metadata.uid == resource.metadata.uid,
        "it was written for nothing"
    );
    Ok(())
}

fn reported(extension: &Value) -> &Value {
    &extension["status"]["providerStatus"]["nodes"]
}

fn text(extension: &Value) -> &str {
    health(extension)["message"].as_str().unwrap_or_default()
}

/// So many of the three pods are ready, as their DaemonSet's controller would tell.
async fn ready(fixture: &Fixture, number: u32) -> anyhow::Result<()> {
    let status = json!({
        "desiredNumberScheduled": 3, "currentNumberScheduled": 3, "updatedNumberScheduled": 3,
        "numberReady": number, "numberAvailable": number, "numberUnavailable": 3 - number,
    });
    let patch = Patch::Merge(json!({ "status": status }));
    agents(fixture).patch_status(names::NODE_AGENT, &PatchParams::default(), &patch).await?;
    Ok(())
}
