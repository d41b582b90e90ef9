//! Deletion, migration, and the way back.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use extension_config::names;
use k8s_openapi::api::apps::v1::DaemonSet;
use kube::Api;
use serde_json::json;
use testbed::wait_for;

use super::place::{Place, Record, SOON, annotation, is_untouched, last};
use super::{Ground, QUIET, SERVED_NAMESPACE, shoot};

/// A removal with its proof: the resource manager looks every 15 s, and times in whole seconds may have to be waited out.
pub(super) const REMOVAL: Duration = Duration::from_secs(120);
pub(super) const HOLD: &str = "example.org/hold";

pub(super) async fn conformance_12_deletion_in_order(ground: &Ground) -> anyhow::Result<()> {
    let place = served(ground).await?;
    let extensions = Record::of(place.gardenlet.extensions()).await?;
    let resources = Record::of(place.gardenlet.managed_resources()).await?;
    place.gardenlet.delete_extension().await?;
    place.gone(REMOVAL).await?;
    ensure!(place.resource().await?.is_null() && place.secret().await?.is_none(), "something stayed in the seed");
    shoot::ensure_nothing_left(ground).await?;
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

pub(super) async fn conformance_13_held_managed_resource(ground: &Ground) -> anyhow::Result<()> {
    let place = Place::new(ground, "c13").await?;
    place.reconcile(None).await?;
    place.patch_resource(json!({ "metadata": { "finalizers": [HOLD] } })).await?;
    let start = Instant::now();
    place.gardenlet.delete_extension().await?;
    prove_removal(&place).await?;
    wait_for("the ManagedResource to be asked to go", SOON, || async {
        Ok((!place.resource().await?["metadata"]["deletionTimestamp"].is_null()).then_some(()))
    })
    .await?;
    let extension = place.until_last("Delete/Error", Duration::from_secs(90)).await?;
    ensure!(start.elapsed() > Duration::from_secs(30), "an error at once: nobody could have released it so soon");
    ensure!(extension["metadata"]["finalizers"] == json!([names::FINALIZER]), "{}", extension["metadata"]);
    ensure!(place.secret().await?.is_some(), "the Secret went before the ManagedResource");
    place.patch_resource(json!({ "metadata": { "finalizers": null } })).await?;
    place.gone(SOON).await
}

pub(super) async fn conformance_14_foreign_finalizer_only(ground: &Ground) -> anyhow::Result<()> {
    let place = Place::new(ground, "c14").await?;
    let asks = json!({ "gardener.cloud/operation": "wait-for-state" });
    place.create(json!({ "finalizers": [HOLD], "annotations": asks }), json!({})).await?;
    place.gardenlet.delete_extension().await?;
    place.patch(json!({ "metadata": { "annotations": { "gardener.cloud/operation": "reconcile" } } })).await?;
    let extension = place.stays(QUIET).await?;
    ensure!(extension["status"].is_null() && extension["metadata"]["finalizers"] == json!([HOLD]), "{extension}");
    place.patch(json!({ "metadata": { "finalizers": null } })).await?;
    place.gone(SOON).await
}

pub(super) async fn conformance_15_migrate_and_restore(ground: &Ground) -> anyhow::Result<()> {
    let place = served(ground).await?;
    let agent = agents(ground).get(names::NODE_AGENT).await?;
    place.patch(json!({ "metadata": { "finalizers": [names::FINALIZER, HOLD] } })).await?;
    place.ask("migrate").await?;
    let migrated = place
        .until("Migrate/Succeeded and released", REMOVAL, |extension| {
            last(extension) == "Migrate/Succeeded" && annotation(extension).is_none()
        })
        .await?;
    ensure!(migrated["metadata"]["finalizers"].is_null(), "{}", migrated["metadata"]);
    ensure!(place.resource().await?.is_null() && place.secret().await?.is_none(), "something stayed in the seed");
    let kept = agents(ground).get(names::NODE_AGENT).await.context("the shoot lost its agents")?;
    ensure!(kept.metadata.uid == agent.metadata.uid && kept.metadata.generation == agent.metadata.generation);

    place.ask("reconcile").await?;
    place.until("the late request to be dropped", SOON, |extension| annotation(extension).is_none()).await?;
    let extension = place.stays(QUIET).await?;
    ensure!(last(&extension) == "Migrate/Succeeded" && extension["metadata"]["finalizers"].is_null(), "{extension}");
    ensure!(place.resource().await?.is_null(), "the late request was carried out");
    place.gardenlet.delete_extension().await?;
    place.gone(SOON).await?;

    // As the other seed does it.
    place.ask("wait-for-state").await?;
    ensure!(is_untouched(&place.stays(Duration::from_secs(2)).await?));
    let timestamp = place.ask("restore").await?;
    place.gardenlet.wait_ready(&timestamp, SOON).await?;
    let adopted = agents(ground).get(names::NODE_AGENT).await?;
    ensure!(adopted.metadata.uid == agent.metadata.uid, "the agents were made anew");
    Ok(())
}

pub(super) async fn conformance_quirk_force_deletion_does_not_wait(ground: &Ground) -> anyhow::Result<()> {
    let place = Place::new(ground, "force").await?;
    place.reconcile(None).await?;
    place.patch_resource(json!({ "metadata": { "finalizers": [HOLD] } })).await?;
    place.gardenlet.delete_extension().await?;
    place.until_last("Delete/Processing", SOON).await?;
    let forced = json!({ "confirmation.gardener.cloud/force-deletion": "true" });
    place.cluster(|shoot| shoot["metadata"]["annotations"] = forced).await?;
    place.gone(SOON).await?;
    ensure!(
        !place.resource().await?["metadata"]["deletionTimestamp"].is_null(),
        "the ManagedResource was not asked to go"
    );
    place.patch_resource(json!({ "metadata": { "finalizers": null } })).await
}

/// The extension installed where the shoot's resource manager serves, and everything healthy.
pub(super) async fn served(ground: &Ground) -> anyhow::Result<Place> {
    let place = Place::at(ground, SERVED_NAMESPACE);
    place.cluster(|_| ()).await?;
    place.reconcile(None).await?;
    wait_for("the agents to be in the shoot", REMOVAL, || async {
        let conditions = place.resource().await?["status"]["conditions"].clone();
        let is = |kind: &str, status: &str| {
            conditions.as_array().is_some_and(|all| all.iter().any(|c| c["type"] == kind && c["status"] == status))
        };
        let done =
            is("ResourcesApplied", "True") && is("ResourcesHealthy", "True") && is("ResourcesProgressing", "False");
        ensure!(done, "{conditions}");
        Ok(Some(()))
    })
    .await?;
    Ok(place)
}

/// Waits for the removal phase and says in the resource manager's place that it is complete.
pub(super) async fn prove_removal(place: &Place) -> anyhow::Result<()> {
    wait_for("the removal phase", SOON, || async {
        Ok((place.resource().await?["spec"]["injectLabels"][names::PHASE_KEY] == "Remove").then_some(()))
    })
    .await?;
    place.report(("True", ""), ("True", "")).await
}

pub(super) fn agents(ground: &Ground) -> Api<DaemonSet> {
    Api::namespaced(ground.shoot_client.clone(), names::SHOOT_NAMESPACE)
}
