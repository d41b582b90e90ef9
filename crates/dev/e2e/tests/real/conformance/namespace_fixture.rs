//! One shoot's namespace in the seed, and what is to be seen and done in it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use extension_config::names;
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::Api;
use kube::api::{DynamicObject, Patch, PatchParams, WatchEvent, WatchParams};
use serde_json::{Value, json};
use testbed::gardenlet::Gardenlet;
use testbed::wait_for;

use super::Fixture;

/// Patience with something that takes moments.
pub(super) const SOON: Duration = Duration::from_secs(20);
const NAME: &str = names::EXTENSION_TYPE;

/// See the module.
pub(super) struct NamespaceFixture {
    pub(super) gardenlet: Gardenlet,
    pub(super) namespace: String,
    client: kube::Client,
    shoot: Value,
}

impl NamespaceFixture {
    /// A namespace of a shoot with its Cluster; the extension is enabled in the Shoot.
    pub(super) async fn new(fixture: &Fixture, name: &str) -> anyhow::Result<Self> {
        let ns = Self::bare(fixture, name, true).await?;
        ns.cluster(|_| ()).await?;
        Ok(ns)
    }

    /// A namespace without Cluster.
    pub(super) async fn bare(fixture: &Fixture, name: &str, of_shoot: bool) -> anyhow::Result<Self> {
        let namespace = format!("shoot--p--{name}");
        let labels = if of_shoot { json!({ "gardener.cloud/role": "shoot" }) } else { json!({}) };
        let object =
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace, "labels": labels } });
        let api: Api<Namespace> = Api::all(fixture.seed.clone());
        api.patch(&namespace, &PatchParams::apply("testbed"), &Patch::Apply(object)).await?;
        Ok(Self::at(fixture, &namespace))
    }

    /// An existing namespace.
    pub(super) fn at(fixture: &Fixture, namespace: &str) -> Self {
        let mut shoot = fixture.shoot.clone();
        shoot["metadata"]["generation"] = json!(1);
        shoot["status"]["technicalID"] = json!(namespace);
        shoot["spec"]["extensions"] = json!([{ "type": NAME, "disabled": false }]);
        let gardenlet = Gardenlet::new(fixture.seed.clone(), namespace, NAME);
        Self {
            // The others have no shoot behind them, and so no kubeconfig for one.
            gardenlet: if namespace == super::SERVED_NAMESPACE {
                gardenlet.with_generic_kubeconfig(fixture.bed.shoot().generic_kubeconfig())
            } else {
                gardenlet
            },
            namespace: namespace.to_owned(),
            client: fixture.seed.clone(),
            shoot,
        }
    }

    /// Writes the Cluster with a changed Shoot.
    pub(super) async fn cluster(&self, change: impl FnOnce(&mut Value)) -> anyhow::Result<()> {
        let mut shoot = self.shoot.clone();
        change(&mut shoot);
        self.gardenlet.sync_cluster(&shoot).await
    }

    /// Asks for an operation as gardenlet does.
    pub(super) async fn ask(&self, operation: &str) -> anyhow::Result<String> {
        self.gardenlet.deploy_extension(operation, None).await
    }

    /// Asks for a reconciliation and waits as gardenlet does until it is done.
    pub(super) async fn reconcile(&self, provider_config: Option<&Value>) -> anyhow::Result<Value> {
        let timestamp = self.gardenlet.deploy_extension("reconcile", provider_config).await?;
        Ok(json!(self.gardenlet.wait_ready(&timestamp, SOON).await?))
    }

    /// Creates an Extension that differs from gardenlet's.
    pub(super) async fn create(&self, metadata: Value, spec: Value) -> anyhow::Result<()> {
        let mut object = json!({
            "apiVersion": "extensions.gardener.cloud/v1alpha1", "kind": "Extension",
            "metadata": { "name": NAME }, "spec": { "type": NAME },
        });
        for (part, more) in [("metadata", metadata), ("spec", spec)] {
            for (key, value) in more.as_object().context("an object")? {
                object[part][key] = value.clone();
            }
        }
        self.gardenlet.extensions().create(&kube::api::PostParams::default(), &serde_json::from_value(object)?).await?;
        Ok(())
    }

    /// Merges into the Extension.
    pub(super) async fn patch(&self, patch: Value) -> anyhow::Result<()> {
        self.gardenlet.extensions().patch(NAME, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    /// Merges into the Extension's status.
    pub(super) async fn patch_status(&self, status: Value) -> anyhow::Result<()> {
        let patch = Patch::Merge(json!({ "status": status }));
        self.gardenlet.extensions().patch_status(NAME, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    /// The Extension.
    pub(super) async fn extension(&self) -> anyhow::Result<Value> {
        Ok(json!(self.gardenlet.extensions().get(NAME).await?))
    }

    /// The Extension as the controller reads it, which takes any depth.
    pub(super) async fn lean(&self) -> anyhow::Result<Option<gardener_api::Extension>> {
        let api: Api<gardener_api::Extension> = Api::namespaced(self.client.clone(), &self.namespace);
        Ok(api.get_opt(NAME).await?)
    }

    /// Waits until the Extension is so.
    pub(super) async fn until(
        &self,
        what: &str,
        limit: Duration,
        is: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        wait_for(&format!("{what} in {}", self.namespace), limit, || async {
            let extension = self.extension().await?;
            if is(&extension) {
                return Ok(Some(extension));
            }
            anyhow::bail!("{}", extension["status"])
        })
        .await
    }

    /// Waits until the last operation is `TYPE/STATE`.
    pub(super) async fn until_last(&self, wanted: &str, limit: Duration) -> anyhow::Result<Value> {
        self.until(wanted, limit, |extension| last(extension) == wanted).await
    }

    /// Waits until the Extension is gone.
    pub(super) async fn gone(&self, limit: Duration) -> anyhow::Result<()> {
        self.gardenlet.wait_deleted(limit).await.with_context(|| self.namespace.clone())
    }

    /// The ManagedResource; null when there is none.
    pub(super) async fn resource(&self) -> anyhow::Result<Value> {
        Ok(json!(self.gardenlet.managed_resources().get_opt(names::SHOOT_MANAGED_RESOURCE).await?))
    }

    /// Merges into the ManagedResource.
    pub(super) async fn patch_resource(&self, patch: Value) -> anyhow::Result<()> {
        let api = self.gardenlet.managed_resources();
        api.patch(names::SHOOT_MANAGED_RESOURCE, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    /// Writes what the resource manager would report of the current generation. Its health check is from after the roll-out.
    pub(super) async fn report(&self, applied: (&str, &str), healthy: (&str, &str)) -> anyhow::Result<()> {
        let condition = |kind: &str, (status, message): (&str, &str), time: &str| {
            json!({ "type": kind, "status": status, "reason": "Reported", "message": message,
                    "lastTransitionTime": time, "lastUpdateTime": time })
        };
        let status = json!({
            "observedGeneration": self.resource().await?["metadata"]["generation"],
            "conditions": [
                condition("ResourcesApplied", applied, "2026-01-01T00:00:00Z"),
                condition("ResourcesProgressing", ("False", ""), "2026-01-01T00:00:10Z"),
                condition("ResourcesHealthy", healthy, "2026-01-01T00:00:20Z"),
            ],
        });
        let patch = Patch::Merge(json!({ "status": status }));
        let api = self.gardenlet.managed_resources();
        api.patch_status(names::SHOOT_MANAGED_RESOURCE, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    /// The Secret of the ManagedResource.
    pub(super) async fn secret(&self) -> anyhow::Result<Option<Secret>> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &self.namespace);
        Ok(api.get_opt(names::SHOOT_MANAGED_RESOURCE_SECRET).await?)
    }

    /// The manifests in the Secret.
    pub(super) async fn manifests(&self) -> anyhow::Result<String> {
        let data = self.secret().await?.context("no Secret")?.data.unwrap_or_default();
        let texts = data.into_values().map(|value| String::from_utf8(value.0));
        Ok(texts.collect::<Result<Vec<_>, _>>()?.join("\n---\n"))
    }

    /// Looks for a while whether the Extension stays as it is, but for nothing.
    pub(super) async fn stays(&self, for_: Duration) -> anyhow::Result<Value> {
        let before = self.extension().await?;
        tokio::time::sleep(for_).await;
        let after = self.extension().await?;
        ensure!(before == after, "the Extension did not stay as it was:\n{before}\n{after}");
        Ok(after)
    }
}

/// Type and state of the last operation, `TYPE/STATE`.
pub(super) fn last(extension: &Value) -> String {
    let last = &extension["status"]["lastOperation"];
    format!("{}/{}", last["type"].as_str().unwrap_or("-"), last["state"].as_str().unwrap_or("-"))
}

/// The operation annotation.
pub(super) fn annotation(extension: &Value) -> Option<&str> {
    extension["metadata"]["annotations"]["gardener.cloud/operation"].as_str()
}

/// Neither finalizer nor status.
pub(super) fn is_untouched(extension: &Value) -> bool {
    extension["metadata"]["finalizers"].is_null() && extension["status"].is_null()
}

/// The condition that gardenlet's care controller reads.
pub(super) fn health(extension: &Value) -> &Value {
    let all = extension["status"]["conditions"].as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter().find(|condition| condition["type"] == "SystemComponentsHealthy").unwrap_or(&Value::Null)
}

/// Every version of the objects of one API that the watch shows, from now on. `true`: deleted.
pub(super) struct Record(Arc<Mutex<Vec<(bool, Value)>>>, tokio::task::JoinHandle<()>);

impl Record {
    pub(super) async fn of(api: Api<DynamicObject>) -> anyhow::Result<Self> {
        let since = api.list(&kube::api::ListParams::default()).await?.metadata.resource_version.unwrap_or_default();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            let Ok(events) = api.watch(&WatchParams::default(), &since).await else { return };
            let mut events = events.boxed();
            while let Ok(Some(event)) = events.try_next().await {
                let (deleted, object) = match event {
                    WatchEvent::Added(object) | WatchEvent::Modified(object) => (false, object),
                    WatchEvent::Deleted(object) => (true, object),
                    _ => continue,
                };
                keep.lock().unwrap_or_else(PoisonError::into_inner).push((deleted, json!(object)));
            }
        });
        Ok(Self(seen, task))
    }

    /// What was seen up to now.
    pub(super) fn seen(&self) -> Vec<(bool, Value)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether a version was like this.
    pub(super) fn any(&self, is: impl Fn(&Value) -> bool) -> bool {
        self.seen().iter().any(|(_, version)| is(version))
    }

    /// Revision of the deletion. One etcd counts for all objects of the seed.
    pub(super) fn deletion(&self) -> Option<u64> {
        let seen = self.seen();
        let (_, object) = seen.iter().find(|(deleted, _)| *deleted)?;
        object["metadata"]["resourceVersion"].as_str()?.parse().ok()
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.1.abort();
    }
}
