//! Where checks are done: a namespace of their own.

use anyhow::{Context as _, bail};
use kube::Client;
use kube::api::{Api, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::{Value, json};

/// A client and a namespace.
#[derive(Clone)]
pub(super) struct Fixture {
    client: Client,
    namespace: String,
}

impl std::fmt::Debug for Fixture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fixture").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

impl Fixture {
    pub(super) async fn new(client: Client) -> anyhow::Result<Self> {
        let namespaces: Api<DynamicObject> =
            Api::all_with(client.clone(), &resource("", "v1", "Namespace", "namespaces"));
        let wanted = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "generateName": "contract-" } });
        let made = namespaces.create(&PostParams::default(), &serde_json::from_value(wanted)?).await?;
        Ok(Self { client, namespace: made.metadata.name.context("a namespace without a name")? })
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }

    pub(super) fn api(&self, group: &str, version: &str, kind: &str, plural: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, &resource(group, version, kind, plural))
    }

    pub(super) fn config_maps(&self) -> Api<DynamicObject> {
        self.api("", "v1", "ConfigMap", "configmaps")
    }

    pub(super) fn daemon_sets(&self) -> Api<DynamicObject> {
        self.api("apps", "v1", "DaemonSet", "daemonsets")
    }

    /// A custom resource with a status of its own.
    pub(super) fn extensions(&self) -> Api<DynamicObject> {
        self.api("extensions.gardener.cloud", "v1alpha1", "Extension", "extensions")
    }
}

pub(super) fn resource(group: &str, version: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
}

pub(super) fn config_map(name: &str, data: &Value) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": data })
}

pub(super) fn extension(name: &str, kind: &str) -> Value {
    json!({ "apiVersion": "extensions.gardener.cloud/v1alpha1", "kind": "Extension", "metadata": { "name": name }, "spec": { "type": kind } })
}

pub(super) fn daemon_set(name: &str, containers: &Value) -> Value {
    let labels = json!({ "app": name });
    json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": { "name": name },
        "spec": { "selector": { "matchLabels": labels }, "template": { "metadata": { "labels": labels }, "spec": { "containers": containers } } },
    })
}

pub(super) async fn create(api: &Api<DynamicObject>, object: &Value) -> kube::Result<Value> {
    json_of(api.create(&PostParams::default(), &typed(object)?).await)
}

pub(super) async fn get(api: &Api<DynamicObject>, name: &str) -> kube::Result<Value> {
    json_of(api.get(name).await)
}

pub(super) async fn replace(api: &Api<DynamicObject>, name: &str, object: &Value) -> kube::Result<Value> {
    json_of(api.replace(name, &PostParams::default(), &typed(object)?).await)
}

pub(super) async fn merge(api: &Api<DynamicObject>, name: &str, patch: &Value) -> kube::Result<Value> {
    json_of(api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await)
}

pub(super) async fn merge_status(api: &Api<DynamicObject>, name: &str, patch: &Value) -> kube::Result<Value> {
    json_of(api.patch_status(name, &PatchParams::default(), &Patch::Merge(patch)).await)
}

/// Applies in the name of a manager.
pub(super) async fn apply(api: &Api<DynamicObject>, manager: &str, force: bool, object: &Value) -> kube::Result<Value> {
    let parameters = PatchParams { force, ..PatchParams::apply(manager) };
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    json_of(api.patch(name, &parameters, &Patch::Apply(object)).await)
}

fn typed(object: &Value) -> kube::Result<DynamicObject> {
    serde_json::from_value(object.clone()).map_err(kube::Error::SerdeError)
}

fn json_of(outcome: kube::Result<DynamicObject>) -> kube::Result<Value> {
    serde_json::to_value(outcome?).map_err(kube::Error::SerdeError)
}

/// The call must be refused so.
pub(super) fn refused<T: std::fmt::Debug>(outcome: kube::Result<T>, code: u16, reason: &str) -> anyhow::Result<()> {
    match outcome {
        Err(kube::Error::Api(status)) if status.code == code && status.reason == reason => Ok(()),
        Err(kube::Error::Api(status)) => {
            bail!("refused with {} {} instead of {code} {reason}: {}", status.code, status.reason, status.message)
        }
        other => bail!("{other:?} instead of {code} {reason}"),
    }
}

pub(super) fn same(found: &Value, wanted: &Value) -> anyhow::Result<()> {
    anyhow::ensure!(found == wanted, "{found} instead of {wanted}");
    Ok(())
}

pub(super) fn version(object: &Value) -> anyhow::Result<u64> {
    let text = object["metadata"]["resourceVersion"].as_str().context("no resourceVersion")?;
    Ok(text.parse()?)
}
