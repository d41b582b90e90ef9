//! What the controller hands to gardener-resource-manager.

use anyhow::{Context as _, ensure};
use extension_config::names;
use serde_json::json;

use super::Fixture;
use super::namespace_fixture::NamespaceFixture;

/// The ManagedResource for the seed comes with the first agent that reports (`nodes_are_rolled_up`).
pub(super) async fn conformance_17_secret_and_managed_resource(fixture: &Fixture) -> anyhow::Result<()> {
    let ns = NamespaceFixture::new(fixture, "c17").await?;
    ns.reconcile(None).await?;
    let resource = ns.resource().await?;
    let spec = &resource["spec"];
    ensure!(spec.get("class").is_none() && spec["keepObjects"] == false, "{spec}");
    ensure!(spec["injectLabels"]["shoot.gardener.cloud/no-cleanup"] == "true", "{spec}");
    // gardenlet would take it away by itself in migration and deletion.
    ensure!(resource["metadata"]["labels"]["origin"].is_null(), "{}", resource["metadata"]);
    ensure!(spec["secretRefs"] == json!([{ "name": names::SHOOT_MANAGED_RESOURCE_SECRET }]), "{spec}");
    let manifests = ns.manifests().await?;
    for part in ["DaemonSet", names::NODE_AGENT, names::DESIRED_STATE_KEY, &fixture.artifacts.image_name] {
        ensure!(manifests.contains(part), "{part} is not in the manifests");
    }
    Ok(())
}

pub(super) async fn conformance_18_equal_input_writes_nothing(fixture: &Fixture) -> anyhow::Result<()> {
    let ns = NamespaceFixture::new(fixture, "c18").await?;
    ns.reconcile(None).await?;
    let (resource, secret) = (ns.resource().await?, ns.secret().await?.context("no Secret")?);
    ns.reconcile(None).await?;
    ensure!(ns.resource().await? == resource, "the ManagedResource was written for nothing");
    let again = ns.secret().await?.context("no Secret")?;
    ensure!(again.metadata.resource_version == secret.metadata.resource_version, "the Secret was written for nothing");
    ns.reconcile(Some(&json!({ "configs": { "EXTRA_OPTIONS": "-metrics-interval=17s" } }))).await?;
    ensure!(ns.manifests().await?.contains("-metrics-interval=17s"), "the content did not follow");
    Ok(())
}

pub(super) async fn conformance_19_foreign_labels_survive(fixture: &Fixture) -> anyhow::Result<()> {
    let ns = NamespaceFixture::new(fixture, "c19").await?;
    ns.reconcile(None).await?;
    let foreign = json!({ "labels": { "foreign": "label" }, "annotations": { "foreign": "annotation" } });
    ns.patch_resource(json!({ "metadata": foreign, "spec": { "keepObjects": true } })).await?;
    ns.reconcile(None).await?;
    let resource = ns.resource().await?;
    let metadata = &resource["metadata"];
    ensure!(
        metadata["labels"]["foreign"] == "label" && metadata["annotations"]["foreign"] == "annotation",
        "{metadata}"
    );
    ensure!(resource["spec"]["keepObjects"] == false, "keepObjects was not put right: {}", resource["spec"]);
    Ok(())
}
