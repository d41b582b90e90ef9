//! Deletion, migration, and the way back.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use extension_config::names;
use k8s_openapi::api::apps::v1::DaemonSet;
use kube::Api;
use serde_json::json;
use testbed::wait_for;

use super::namespace_fixture::{NamespaceFixture, Record, SOON, annotation, is_untouched, last};
use super::{Fixture, QUIET, SERVED_NAMESPACE, shoot};

/// A removal with its proof: the resource manager looks every 15 s, and times in whole seconds may have to be waited out.
pub(super) const REMOVAL: Duration = Duration::from_secs(120);
pub(super) const HOLD: &str = "example.org/hold";

pub(super) async fn conformance_12_deletion_in_order(fixture: &Fixture) -> anyhow::Result<()> {
    let ns = served(fixture).await?;
    let extensions = Record::of(ns.gardenlet.extensions()).await?;
    let resources = Record::of(ns.gardenlet.managed_resources()).await?;
    ns.gardenlet.delete_extension().await?;
    ns.gone(REMOVAL).await?;
    ensure!(ns.resource().await?.is_null() && ns.secret().await?.is_none(), "something stayed in the seed");
    shoot::ensure_nothing_left(fixture).await?;
    ensure!(extensions.any(|seen| last(seen) == "Delete/Processing"), "the deletion did not show");
    let removing = format!("/spec/injectLabels/{}", names::PHASE_KEY.replace('/', "~1"));
    ensure!(
        resources.any(|seen| seen.pointer(&removing).is_some_and(|phase| phase == "Remove")),
        "nothing was removed from nodes"
    );
    let order =
        wait_for("both deletions to be seen", SOON, || async { Ok(resources.deletion().zip(extensions.deletion())) })
            .await?;
    ensure!(order.0 < order.1, "the Extension went before the ManagedResource: {order:?}");
    Ok(())
}

pub(super) async fn conformance_13_held_managed_resource(fixture: &Fixture) -> anyhow::Result<()> {
    let ns = NamespaceFixture::new(fixture, "c13").await?;
    ns.reconcile(None).await?;
    ns.patch_resource(json!({ "metadata": { "finalizers": [HOLD] } })).await?;
    let start = Instant::now();
    ns.gardenlet.delete_extension().await?;
    prove_removal(&ns).await?;
    wait_for("the ManagedResource to be asked to go", SOON, || async {
        Ok((!ns.resource().await?["metadata"]["deletionTimestamp"].is_null()).then_some(()))
    })
    .await?;
    let extension = ns.until_last("Delete/Error", Duration::from_secs(90)).await?;
    ensure!(start.elapsed() > Duration::from_secs(30), "an error at once: nobody could have released it so soon");
    ensure!(extension["metadata"]["finalizers"] == json!([names::FINALIZER]), "{}", extension["metadata"]);
    ensure!(ns.secret().await?.is_some(), "the Secret went before the ManagedResource");
    ns.patch_resource(json!({ "metadata": { "finalizers": null } })).await?;
    ns.gone(SOON).await
}

pub(super) async fn conformance_14_foreign_finalizer_only(fixture: &Fixture) -> anyhow::Result<()> {
    let ns = NamespaceFixture::new(fixture, "c14").await?;
    let asks = json!({ "gardener.cloud/operation": "wait-for-state" });
    ns.create(json!({ "finalizers": [HOLD], "annotations": asks }), json!({})).await?;
    ns.gardenlet.delete_extension().await?;
    ns.patch(json!({ "metadata": { "annotations": { "gardener.cloud/operation": "reconcile" } } })).await?;
    let extension = ns.stays(QUIET).await?;
    ensure!(extension["status"].is_null() && extension["metadata"]["finalizers"] == json!([HOLD]), "{extension}");
    ns.patch(json!({ "metadata": { "finalizers": null } })).await?;
    ns.gone(SOON).await
}

pub(super) async fn conformance_15_migrate_and_restore(fixture: &Fixture) -> anyhow::Result<()> {
    let ns = served(fixture).await?;
    let agent = agents(fixture).get(names::NODE_AGENT).await?;
    ns.patch(json!({ "metadata": { "finalizers": [names::FINALIZER, HOLD] } })).await?;
    ns.ask("migrate").await?;
    let migrated = ns
        .until("Migrate/Succeeded and released", REMOVAL, |extension| {
            last(extension) == "Migrate/Succeeded" && annotation(extension).is_none()
        })
        .await?;
    ensure!(migrated["metadata"]["finalizers"].is_null(), "{}", migrated["metadata"]);
    ensure!(ns.resource().await?.is_null() && ns.secret().await?.is_none(), "something stayed in the seed");
    let kept = agents(fixture).get(names::NODE_AGENT).await.context("the shoot lost its agents")?;
    ensure!(kept.metadata.uid == agent.metadata.uid && kept.metadata.generation == agent.metadata.generation);

    ns.ask("reconcile").await?;
    ns.until("the late request to be dropped", SOON, |extension| annotation(extension).is_none()).await?;
    let extension = ns.stays(QUIET).await?;
    ensure!(last(&extension) == "Migrate/Succeeded" && extension["metadata"]["finalizers"].is_null(), "{extension}");
    ensure!(ns.resource().await?.is_null(), "the late request was carried out");
    ns.gardenlet.delete_extension().await?;
    ns.gone(SOON).await?;

    // As the other seed does it.
    ns.ask("wait-for-state").await?;
    ensure!(is_untouched(&ns.stays(Duration::from_secs(2)).await?));
    let timestamp = ns.ask("restore").await?;
    ns.gardenlet.wait_ready(&timestamp, SOON).await?;
    let adopted = agents(fixture).get(names::NODE_AGENT).await?;
    ensure!(adopted.metadata.uid == agent.metadata.uid, "the agents were made anew");
    Ok(())
}

pub(super) async fn conformance_quirk_force_deletion_does_not_wait(fixture: &Fixture) -> anyhow::Result<()> {
    let ns = NamespaceFixture::new(fixture, "force").await?;
    ns.reconcile(None).await?;
    ns.patch_resource(json!({ "metadata": { "finalizers": [HOLD] } })).await?;
    ns.gardenlet.delete_extension().await?;
    ns.until_last("Delete/Processing", SOON).await?;
    let forced = json!({ "confirmation.gardener.cloud/force-deletion": "true" });
    ns.cluster(|shoot| shoot["metadata"]["annotations"] = forced).await?;
    ns.gone(SOON).await?;
    ensure!(
        !ns.resource().await?["metadata"]["deletionTimestamp"].is_null(),
        "the ManagedResource was not asked to go"
    );
    ns.patch_resource(json!({ "metadata": { "finalizers": null } })).await
}

/// The extension installed where the shoot's resource manager serves, and everything healthy.
pub(super) async fn served(fixture: &Fixture) -> anyhow::Result<NamespaceFixture> {
    let ns = NamespaceFixture::at(fixture, SERVED_NAMESPACE);
    ns.cluster(|_| ()).await?;
    ns.reconcile(None).await?;
    wait_for("the agents to be in the shoot", REMOVAL, || async {
        let conditions = ns.resource().await?["status"]["conditions"].clone();
        let is = |kind: &str, status: &str| {
            conditions.as_array().is_some_and(|all| all.iter().any(|c| c["type"] == kind && c["status"] == status))
        };
        let done =
            is("ResourcesApplied", "True") && is("ResourcesHealthy", "True") && is("ResourcesProgressing", "False");
        ensure!(done, "{conditions}");
        Ok(Some(()))
    })
    .await?;
    Ok(ns)
}

/// Waits for the removal phase and says in the resource manager's place that it is complete.
pub(super) async fn prove_removal(ns: &NamespaceFixture) -> anyhow::Result<()> {
    wait_for("the removal phase", SOON, || async {
        Ok((ns.resource().await?["spec"]["injectLabels"][names::PHASE_KEY] == "Remove").then_some(()))
    })
    .await?;
    ns.report(("True", ""), ("True", "")).await
}

pub(super) fn agents(fixture: &Fixture) -> Api<DaemonSet> {
    Api::namespaced(fixture.shoot_client.clone(), names::SHOOT_NAMESPACE)
}
