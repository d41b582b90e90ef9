//! gardenlet's part for many shoots at once: the same objects and annotations as `testbed::gardenlet`, without looking before it writes.

use std::future::Future;

use anyhow::Context as _;
use extension_config::names;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::Client;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::kinds::Kind;

/// Calls at a time.
const AT_A_TIME: usize = 16;
const GENERIC_KUBECONFIG: &str = "generic-token-kubeconfig";

/// Shoots of a round, by their namespaces in the seed.
#[derive(Clone)]
pub(crate) struct Shoots {
    client: Client,
    pub(crate) namespaces: Vec<String>,
}

/// What a shoot's namespace holds.
#[derive(Debug, Clone)]
pub(crate) struct Content<'a> {
    /// The Shoot that its owner wrote.
    pub(crate) shoot: &'a Value,
    /// Size of its Cluster, in KiB.
    pub(crate) cluster_kib: usize,
    /// Extensions of others.
    pub(crate) foreign: usize,
    /// Where the shoot's own API server is.
    pub(crate) kubeconfig: &'a str,
}

/// Makes all calls, so many at a time; the first failure ends it.
pub(crate) async fn each<F>(items: impl IntoIterator<Item = String>, call: impl Fn(String) -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    stream::iter(items).map(call).buffer_unordered(AT_A_TIME).try_collect().await
}

impl Shoots {
    /// Names for so many.
    pub(crate) fn new(client: &Client, prefix: &str, count: usize) -> Self {
        let namespaces = (0..count).map(|number| format!("shoot--{prefix}--{number:05}")).collect();
        Self { client: client.clone(), namespaces }
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Everything that is there before the extension is switched on.
    pub(crate) async fn prepare(&self, content: &Content<'_>) -> anyhow::Result<()> {
        each(self.namespaces.clone(), |namespace| self.prepare_one(namespace, content)).await
    }

    async fn prepare_one(&self, name: String, content: &Content<'_>) -> anyhow::Result<()> {
        let labels = json!({ "gardener.cloud/role": "shoot" });
        let namespace =
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": labels } });
        create(&Kind::Namespace.all(&self.client), namespace).await?;
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": GENERIC_KUBECONFIG, "namespace": name },
            "stringData": { "kubeconfig": content.kubeconfig },
        });
        create(&Kind::Secret.of(&self.client, &name), secret).await?;
        create(&Kind::Cluster.all(&self.client), cluster(&name, content.shoot, content.cluster_kib)).await?;
        for number in 0..content.foreign {
            let extension = json!({
                "apiVersion": "extensions.gardener.cloud/v1alpha1", "kind": "Extension",
                "metadata": { "name": format!("foreign-{number}"), "namespace": name },
                "spec": { "type": format!("foreign-{number}") },
            });
            create(&Kind::Extension.of(&self.client, &name), extension).await?;
        }
        Ok(())
    }

    /// Switches the extension on.
    pub(crate) async fn create(&self) -> anyhow::Result<()> {
        each(self.namespaces.clone(), |namespace| async move {
            create(&Kind::Extension.of(&self.client, &namespace), extension(&namespace)).await
        })
        .await
    }

    /// Asks all for a reconciliation.
    pub(crate) async fn request(&self) -> anyhow::Result<()> {
        each(self.namespaces.clone(), |namespace| self.request_one(namespace)).await
    }

    /// Asks one.
    pub(crate) async fn request_one(&self, namespace: String) -> anyhow::Result<()> {
        let patch = json!({ "metadata": { "annotations": request() } });
        let api = Kind::Extension.of(&self.client, &namespace);
        api.patch(names::EXTENSION_TYPE, &PatchParams::default(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    /// Switches the extension off.
    pub(crate) async fn delete(&self) -> anyhow::Result<()> {
        each(self.namespaces.clone(), |namespace| async move {
            let api = Kind::Extension.of(&self.client, &namespace);
            api.delete(names::EXTENSION_TYPE, &DeleteParams::default()).await?;
            Ok(())
        })
        .await
    }

    /// Takes away what a bare client leaves behind.
    pub(crate) async fn sweep(&self) -> anyhow::Result<()> {
        each(self.namespaces.clone(), |namespace| async move {
            let parameters = DeleteParams::default();
            let released = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
            let api = Kind::Extension.of(&self.client, &namespace);
            api.patch(names::EXTENSION_TYPE, &PatchParams::default(), &released).await?;
            api.delete(names::EXTENSION_TYPE, &parameters).await?;
            Kind::ManagedResource
                .of(&self.client, &namespace)
                .delete(names::SHOOT_MANAGED_RESOURCE, &parameters)
                .await?;
            for secret in [names::SHOOT_MANAGED_RESOURCE_SECRET, names::SHOOT_ACCESS_SECRET] {
                Kind::Secret.of(&self.client, &namespace).delete(secret, &parameters).await?;
            }
            Ok(())
        })
        .await
    }
}

/// An Extension that asks.
pub(crate) fn extension(namespace: &str) -> Value {
    json!({
        "apiVersion": "extensions.gardener.cloud/v1alpha1", "kind": "Extension",
        "metadata": { "name": names::EXTENSION_TYPE, "namespace": namespace, "annotations": request() },
        "spec": { "type": names::EXTENSION_TYPE },
    })
}

/// Annotations of a request.
pub(crate) fn request() -> Value {
    json!({
        "gardener.cloud/operation": "reconcile",
        "gardener.cloud/timestamp": jiff::Timestamp::now().to_string(),
    })
}

async fn create(api: &kube::Api<DynamicObject>, object: Value) -> anyhow::Result<()> {
    let what = format!("create {} {}", object["kind"], object["metadata"]["name"]);
    api.create(&PostParams::default(), &serde_json::from_value(object)?).await.context(what)?;
    Ok(())
}

/// A Cluster of about this size. As in a landscape, most of it is the cloud profile. Its shoot gives no occasion for a warning, which would be an
/// Event more.
pub(crate) fn cluster(name: &str, shoot: &Value, kib: usize) -> Value {
    let mut shoot = shoot.clone();
    shoot["status"] = json!({
        "technicalID": name, "hibernated": false,
        "lastOperation": { "type": "Reconcile", "state": "Succeeded", "progress": 100, "description": "", "lastUpdateTime": "2026-01-01T00:00:00Z" },
    });
    shoot["spec"]["kubernetes"]["version"] = json!("1.29.0");
    let mut cluster = json!({
        "apiVersion": "extensions.gardener.cloud/v1alpha1", "kind": "Cluster", "metadata": { "name": name },
        "spec": {
            "cloudProfile": { "apiVersion": "core.gardener.cloud/v1beta1", "kind": "CloudProfile", "metadata": { "name": "local" } },
            "seed": { "apiVersion": "core.gardener.cloud/v1beta1", "kind": "Seed", "metadata": { "name": "local" } },
            "shoot": shoot,
        },
    });
    let type_ = |number: usize| {
        json!({ "name": format!("machine.{number}x-large"), "cpu": "4", "gpu": "0", "memory": "16Gi", "usable": true, "architecture": "amd64",
            "storage": { "class": "standard", "type": "default", "size": "50Gi" } })
    };
    let missing = (kib << 10).saturating_sub(cluster.to_string().len());
    // The numbers of most have as many digits as that of the middle one.
    let estimate = missing / type_(1000).to_string().len();
    let count = missing / (type_(estimate / 2).to_string().len() + 1);
    cluster["spec"]["cloudProfile"]["spec"] = json!({ "machineTypes": (0..count).map(type_).collect::<Vec<_>>() });
    cluster
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cluster_is_about_as_large_as_it_was_asked_to_be() {
        for kib in [50, 300] {
            let length = cluster("shoot--p--s", &json!({ "spec": {} }), kib).to_string().len();
            assert!(length.abs_diff(kib << 10) < 1 << 10, "{length} for {kib} KiB");
        }
    }
}
