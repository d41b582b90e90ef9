//! What gardenlet does to a shoot's namespace, Cluster and Extension (`pkg/component/extensions/extension`,
//! `pkg/extensions/customresources.go`, v1.149): the same writes, in the same order.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use gardener_api::constants::GENERIC_KUBECONFIG_ANNOTATION;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

use crate::wait_for;

/// Field manager of our merge patches; gardenlet's are anonymous too.
const MANAGER: &str = "gardenlet";
/// Secret with the generic kubeconfig; a hash of its content is part of gardenlet's name for it.
const GENERIC_KUBECONFIG: &str = "generic-token-kubeconfig-0123abcd";

/// The part of gardenlet for one shoot.
#[derive(Clone)]
pub struct Gardenlet {
    seed: kube::Client,
    namespace: String,
    extension_type: String,
    generic_kubeconfig: Option<String>,
}

impl std::fmt::Debug for Gardenlet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gardenlet").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

impl Gardenlet {
    /// For the shoot whose seed namespace is `namespace`, and Extensions of `extension_type`.
    #[must_use]
    pub fn new(seed: kube::Client, namespace: &str, extension_type: &str) -> Self {
        let (namespace, extension_type) = (namespace.to_owned(), extension_type.to_owned());
        Self { seed, namespace, extension_type, generic_kubeconfig: None }
    }

    /// Also keeps the generic kubeconfig in the shoot's namespace, with this text, and names it in the Cluster.
    #[must_use]
    pub fn with_generic_kubeconfig(mut self, text: String) -> Self {
        self.generic_kubeconfig = Some(text);
        self
    }

    /// The shoot's namespace in the seed.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    fn api(&self, group: &str, kind: &str, plural: &str, namespaced: bool) -> Api<DynamicObject> {
        let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, "v1alpha1", kind), plural);
        if namespaced {
            Api::namespaced_with(self.seed.clone(), &self.namespace, &resource)
        } else {
            Api::all_with(self.seed.clone(), &resource)
        }
    }

    /// The Extensions of the shoot's namespace.
    #[must_use]
    pub fn extensions(&self) -> Api<DynamicObject> {
        self.api("extensions.gardener.cloud", "Extension", "extensions", true)
    }

    /// The ManagedResources of the shoot's namespace.
    #[must_use]
    pub fn managed_resources(&self) -> Api<DynamicObject> {
        self.api("resources.gardener.cloud", "ManagedResource", "managedresources", true)
    }

    /// All Clusters.
    #[must_use]
    pub fn clusters(&self) -> Api<DynamicObject> {
        self.api("extensions.gardener.cloud", "Cluster", "clusters", false)
    }

    /// Writes the Cluster with this Shoot, as gardenlet does before it touches any extension resource.
    ///
    /// # Errors
    /// When the API refuses it.
    pub async fn sync_cluster(&self, shoot: &Value) -> anyhow::Result<()> {
        let mut annotations = json!({});
        if let Some(text) = &self.generic_kubeconfig {
            let secret = json!({
                "apiVersion": "v1", "kind": "Secret",
                "metadata": { "name": GENERIC_KUBECONFIG, "namespace": self.namespace },
                "stringData": { "kubeconfig": text },
            });
            let secrets: Api<Secret> = Api::namespaced(self.seed.clone(), &self.namespace);
            secrets.patch(GENERIC_KUBECONFIG, &PatchParams::apply(MANAGER).force(), &Patch::Apply(secret)).await?;
            annotations[GENERIC_KUBECONFIG_ANNOTATION] = json!(GENERIC_KUBECONFIG);
        }
        let cluster = json!({
            "apiVersion": "extensions.gardener.cloud/v1alpha1",
            "kind": "Cluster",
            "metadata": { "name": self.namespace, "annotations": annotations.clone() },
            "spec": {
                "cloudProfile": { "apiVersion": "core.gardener.cloud/v1beta1", "kind": "CloudProfile", "metadata": { "name": "local" } },
                "seed": { "apiVersion": "core.gardener.cloud/v1beta1", "kind": "Seed", "metadata": { "name": "local" } },
                "shoot": shoot,
            },
        });
        // As a whole (`SyncClusterResourceToSeed`, v1.149): what the Shoot says no longer is gone.
        let clusters = self.clusters();
        let Some(mut found) = clusters.get_opt(&self.namespace).await? else {
            clusters.create(&PostParams::default(), &serde_json::from_value(cluster)?).await?;
            return Ok(());
        };
        let annotations: BTreeMap<String, String> = serde_json::from_value(annotations)?;
        found.metadata.annotations.get_or_insert_default().extend(annotations);
        found.data["spec"] = cluster["spec"].clone();
        clusters.replace(&self.namespace, &PostParams::default(), &found).await?;
        Ok(())
    }

    /// Creates or updates the Extension with the annotation that asks for an operation, and gives the timestamp that
    /// [`Self::wait_ready`] looks for.
    ///
    /// # Errors
    /// When the API refuses it.
    pub async fn deploy_extension(&self, operation: &str, provider_config: Option<&Value>) -> anyhow::Result<String> {
        let timestamp = jiff::Timestamp::now().to_string();
        let extension = json!({
            "apiVersion": "extensions.gardener.cloud/v1alpha1",
            "kind": "Extension",
            "metadata": {
                "name": self.extension_type,
                "namespace": self.namespace,
                "annotations": { "gardener.cloud/operation": operation, "gardener.cloud/timestamp": timestamp },
            },
            "spec": { "type": self.extension_type, "providerConfig": provider_config },
        });
        self.create_or_patch(&self.extensions(), &self.extension_type, &extension).await?;
        Ok(timestamp)
    }

    /// Waits as gardenlet does: the timestamp it wrote, no error, the generation observed, no operation asked for, the last
    /// operation succeeded at or after the timestamp's second.
    ///
    /// # Errors
    /// When that is not so within `limit`; the last operation and error are in the text.
    pub async fn wait_ready(&self, timestamp: &str, limit: Duration) -> anyhow::Result<DynamicObject> {
        wait_for("the Extension to be ready", limit, || async {
            let extension = self.extensions().get(&self.extension_type).await?;
            match not_ready(&extension, timestamp) {
                None => Ok(Some(extension)),
                Some(why) => anyhow::bail!("{why}"),
            }
        })
        .await
    }

    /// Asks for deletion: confirmation and timestamp annotations, then DELETE.
    ///
    /// # Errors
    /// When the API refuses it.
    pub async fn delete_extension(&self) -> anyhow::Result<()> {
        let annotations = json!({
            "confirmation.gardener.cloud/deletion": "true",
            "gardener.cloud/timestamp": jiff::Timestamp::now().to_string(),
        });
        let patch = json!({ "metadata": { "annotations": annotations } });
        match self.extensions().patch(&self.extension_type, &PatchParams::apply(MANAGER), &Patch::Merge(patch)).await {
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
            other => other?,
        };
        match self.extensions().delete(&self.extension_type, &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            other => Ok(other.map(drop)?),
        }
    }

    /// Waits until the Extension is gone.
    ///
    /// # Errors
    /// When it is still there after `limit`, with its last operation.
    pub async fn wait_deleted(&self, limit: Duration) -> anyhow::Result<()> {
        wait_for("the Extension to be gone", limit, || async {
            match self.extensions().get_opt(&self.extension_type).await? {
                None => Ok(Some(())),
                Some(extension) => anyhow::bail!("{}", extension.data["status"]),
            }
        })
        .await
    }

    /// Takes the Cluster away, as gardenlet does at the end of a migration or a deletion.
    ///
    /// # Errors
    /// When the API refuses it.
    pub async fn delete_cluster(&self) -> anyhow::Result<()> {
        self.clusters().delete(&self.namespace, &DeleteParams::default()).await.map(drop).map_err(Into::into)
    }

    async fn create_or_patch(&self, api: &Api<DynamicObject>, name: &str, object: &Value) -> anyhow::Result<()> {
        if api.get_opt(name).await?.is_some() {
            api.patch(name, &PatchParams::default(), &Patch::Merge(object)).await?;
        } else {
            api.create(&PostParams::default(), &serde_json::from_value(object.clone())?).await?;
        }
        Ok(())
    }
}

/// Why gardenlet would not take the Extension as ready (`pkg/utils/kubernetes/health/extensions.go`, v1.149).
fn not_ready(extension: &DynamicObject, timestamp: &str) -> Option<String> {
    let annotation = |key: &str| extension.metadata.annotations.as_ref().and_then(|all| all.get(key));
    let status = &extension.data["status"];
    let last = &status["lastOperation"];
    if annotation("gardener.cloud/timestamp").map(String::as_str) != Some(timestamp) {
        return Some("it carries another timestamp".into());
    }
    if !status["lastError"].is_null() {
        return Some(format!("lastError: {}", status["lastError"]["description"]));
    }
    if status["observedGeneration"].as_i64() != extension.metadata.generation {
        return Some(format!("observedGeneration is {}", status["observedGeneration"]));
    }
    if let Some(operation) = annotation("gardener.cloud/operation") {
        return Some(format!("the operation {operation} is still asked for"));
    }
    if last["state"] != "Succeeded" {
        return Some(format!("lastOperation: {last}"));
    }
    let seconds =
        |text: Option<&str>| text.and_then(|text| text.parse::<jiff::Timestamp>().ok()).map(jiff::Timestamp::as_second);
    let (asked, done) = (seconds(Some(timestamp)), seconds(last["lastUpdateTime"].as_str()));
    (asked > done).then(|| format!("lastOperation is older than the request: {last}"))
}

/// The Shoot of `examples/shoot.yaml` as it stands in a Cluster: with the status of one that runs.
///
/// # Errors
/// When the file cannot be read.
pub fn example_shoot(root: &std::path::Path, namespace: &str) -> anyhow::Result<Value> {
    let path = root.join("examples/shoot.yaml");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut shoot: Value = serde_saphyr::from_str(&text)?;
    shoot["status"] = json!({
        "technicalID": namespace,
        "hibernated": false,
        "lastOperation": { "type": "Reconcile", "state": "Succeeded", "progress": 100, "description": "", "lastUpdateTime": "2026-01-01T00:00:00Z" },
    });
    Ok(shoot)
}
