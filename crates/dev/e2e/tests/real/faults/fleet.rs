//! Many shoots at once.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use extension_config::names;
use futures::future::{join_all, try_join_all};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};
use testbed::gardenlet::{Gardenlet, example_shoot};

/// A fleet of shoots, each with an Extension at times.
pub(super) struct Fleet {
    seed: Client,
    shoots: Vec<(Gardenlet, Value)>,
    /// What was asked for last.
    timestamps: Mutex<Vec<String>>,
}

impl Fleet {
    /// Namespaces and Clusters.
    pub(super) async fn new(seed: Client, root: &Path, count: usize) -> anyhow::Result<Self> {
        let namespaces: Api<Namespace> = Api::all(seed.clone());
        let mut shoots = Vec::new();
        for number in 0..count {
            let name = format!("shoot--fleet--{number:03}");
            let metadata = json!({ "name": name, "labels": { "gardener.cloud/role": "shoot" } });
            let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": metadata });
            namespaces.patch(&name, &PatchParams::apply("testbed"), &Patch::Apply(namespace)).await?;
            let mut shoot = example_shoot(root, &name)?;
            shoot["spec"]["extensions"] = json!([{ "type": names::EXTENSION_TYPE, "disabled": false }]);
            let gardenlet = Gardenlet::new(seed.clone(), &name, names::EXTENSION_TYPE);
            gardenlet.sync_cluster(&shoot).await?;
            shoots.push((gardenlet, shoot));
        }
        Ok(Self { seed, shoots, timestamps: Mutex::default() })
    }

    pub(super) fn len(&self) -> usize {
        self.shoots.len()
    }

    /// Asks every one for an operation.
    pub(super) async fn ask(&self, operation: &str) -> anyhow::Result<()> {
        let asked = self.shoots.iter().map(|(gardenlet, _)| patiently(|| gardenlet.deploy_extension(operation, None)));
        let asked = try_join_all(asked).await?;
        *self.timestamps.lock().unwrap_or_else(PoisonError::into_inner) = asked;
        Ok(())
    }

    /// Waits until every last request is served, as gardenlet waits, and looks at what there is in each namespace.
    pub(super) async fn wait_ready(&self, limit: Duration) -> anyhow::Result<()> {
        let asked = self.timestamps.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let all = self.shoots.iter().zip(&asked);
        let ready = join_all(all.map(|((gardenlet, _), asked)| gardenlet.wait_ready(asked, limit))).await;
        let failed: Vec<String> =
            ready.iter().filter_map(|one| one.as_ref().err()).map(|error| format!("{error:#}")).collect();
        ensure!(failed.is_empty(), "{} of {} are not ready: {}", failed.len(), self.len(), failed[0]);
        for ready in ready {
            let extension = json!(ready?);
            ensure!(extension["metadata"]["finalizers"] == json!([names::FINALIZER]), "{}", extension["metadata"]);
        }
        for (gardenlet, _) in &self.shoots {
            let resources = gardenlet.managed_resources().list(&ListParams::default()).await?.items;
            ensure!(resources.len() == 1, "{} ManagedResources in one namespace", resources.len());
        }
        Ok(())
    }

    /// Deletes every Extension as gardenlet does.
    pub(super) async fn delete(&self) -> anyhow::Result<()> {
        try_join_all(self.shoots.iter().map(|(gardenlet, _)| gardenlet.delete_extension())).await?;
        Ok(())
    }

    /// Waits until all are gone, and looks whether anything was left behind.
    pub(super) async fn wait_gone(&self, limit: Duration) -> anyhow::Result<()> {
        let gone = join_all(self.shoots.iter().map(|(gardenlet, _)| gardenlet.wait_deleted(limit))).await;
        let failed: Vec<String> = gone.into_iter().filter_map(Result::err).map(|error| format!("{error:#}")).collect();
        ensure!(failed.is_empty(), "{} of {} are not gone: {}", failed.len(), self.len(), failed[0]);
        for (gardenlet, _) in &self.shoots {
            let resources = gardenlet.managed_resources().list(&ListParams::default()).await?.items;
            ensure!(resources.is_empty(), "a ManagedResource was left behind");
        }
        let secrets: Api<Secret> = Api::all(self.seed.clone());
        let left: Vec<String> = secrets
            .list_metadata(&ListParams::default())
            .await?
            .items
            .into_iter()
            .filter(|secret| secret.namespace().is_some_and(|namespace| namespace.starts_with("shoot--fleet--")))
            .map(|secret| secret.name_any())
            .collect();
        ensure!(left.is_empty(), "Secrets were left behind: {left:?}");
        Ok(())
    }
}

/// gardenlet, too, tries again while its API server restarts.
async fn patiently<T, F: Future<Output = anyhow::Result<T>>>(call: impl Fn() -> F) -> anyhow::Result<T> {
    testbed::wait_for("the seed's API", Duration::from_secs(60), || async { call().await.map(Some) }).await
}

/// Says in the place of gardener-resource-manager, which serves one namespace only, that everything is applied and rolled out.
pub(super) async fn play_resource_manager(seed: Client) {
    let kind = GroupVersionKind::gvk("resources.gardener.cloud", "v1alpha1", "ManagedResource");
    let kind = ApiResource::from_gvk_with_plural(&kind, "managedresources");
    loop {
        drop(play_round(&seed, &kind).await);
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

async fn play_round(seed: &Client, kind: &ApiResource) -> anyhow::Result<()> {
    let everywhere: Api<DynamicObject> = Api::all_with(seed.clone(), kind);
    let only = ListParams::default().fields(&format!("metadata.name={}", names::SHOOT_MANAGED_RESOURCE));
    for resource in everywhere.list(&only).await?.items {
        if resource.data["status"]["observedGeneration"].as_i64() == resource.metadata.generation {
            continue;
        }
        let condition = |kind: &str, status: &str, time: &str| {
            json!({ "type": kind, "status": status, "reason": "Played", "message": "",
                    "lastTransitionTime": time, "lastUpdateTime": time })
        };
        // The look at health is from after the roll-out.
        let status = json!({
            "observedGeneration": resource.metadata.generation,
            "conditions": [
                condition("ResourcesApplied", "True", "2026-01-01T00:00:00Z"),
                condition("ResourcesProgressing", "False", "2026-01-01T00:00:10Z"),
                condition("ResourcesHealthy", "True", "2026-01-01T00:00:20Z"),
            ],
        });
        let namespace = resource.namespace().context("a ManagedResource has a namespace")?;
        let api: Api<DynamicObject> = Api::namespaced_with(seed.clone(), &namespace, kind);
        let patch = Patch::Merge(json!({ "status": status }));
        api.patch_status(&resource.name_any(), &PatchParams::default(), &patch).await?;
    }
    Ok(())
}
