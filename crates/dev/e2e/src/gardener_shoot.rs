//! A shoot of a real Gardener: created, switched, looked at and deleted as its owner would.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use extension_config::names::EXTENSION_TYPE;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::api::{DeleteParams, DynamicObject, ListParams, LogParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client, Config};
use serde_json::{Value, json};
use testbed::wait_for;
use tokio::task::AbortHandle;

use crate::NodeFacts;
use crate::node::NODE_SCRIPT;

const DELETION: &str = "confirmation.gardener.cloud/deletion";
/// How long a probe's pod may take, the pull of its image included.
const PROBE: Duration = Duration::from_secs(180);

/// One shoot, by the garden's API.
#[derive(Clone)]
pub struct GardenerShoot {
    garden: Client,
    namespace: String,
    name: String,
    probe_image: String,
    patience: Duration,
}

impl std::fmt::Debug for GardenerShoot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "GardenerShoot({}/{})", self.namespace, self.name)
    }
}

impl GardenerShoot {
    /// The shoot `name` in `namespace`. `probe_image` has a shell and `nsenter`; `patience` is for each step.
    #[must_use]
    pub fn new(garden: Client, namespace: &str, name: &str, probe_image: &str, patience: Duration) -> Self {
        let (namespace, name, probe_image) = (namespace.to_owned(), name.to_owned(), probe_image.to_owned());
        Self { garden, namespace, name, probe_image, patience }
    }

    fn shoots(&self) -> Api<DynamicObject> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("core.gardener.cloud", "v1beta1", "Shoot"));
        Api::namespaced_with(self.garden.clone(), &self.namespace, &resource)
    }

    /// Creates it like the one in `example`, and waits until it is there.
    ///
    /// # Errors
    /// When there is one of that name, or it does not get ready.
    pub async fn create(&self, example: &Path) -> anyhow::Result<()> {
        let text = std::fs::read_to_string(example).with_context(|| format!("cannot read {}", example.display()))?;
        let mut shoot: Value = serde_saphyr::from_str(&text)?;
        shoot["metadata"]["name"] = json!(self.name);
        shoot["metadata"]["namespace"] = json!(self.namespace);
        self.shoots()
            .create(&PostParams::default(), &serde_json::from_value(shoot)?)
            .await
            .with_context(|| format!("cannot create the shoot {}/{}", self.namespace, self.name))?;
        self.wait_ready().await
    }

    /// Switches the extension, and waits until Gardener is done.
    ///
    /// # Errors
    /// When somebody else changes the shoot meanwhile, or it does not get ready.
    pub async fn switch(&self, on: bool) -> anyhow::Result<()> {
        let shoot = self.shoots().get(&self.name).await?;
        let patch = json!({
            "metadata": { "resourceVersion": shoot.metadata.resource_version },
            "spec": { "extensions": with_extension(&shoot.data["spec"]["extensions"], on) },
        });
        self.shoots().patch(&self.name, &PatchParams::default(), &Patch::Merge(patch)).await?;
        self.wait_ready().await
    }

    async fn wait_ready(&self) -> anyhow::Result<()> {
        wait_for(&format!("the shoot {} to be ready", self.name), self.patience, || async {
            let shoot = self.shoots().get(&self.name).await?;
            match not_ready(shoot.metadata.generation, &shoot.data["status"]) {
                None => Ok(Some(())),
                Some(why) => anyhow::bail!("{why}"),
            }
        })
        .await
    }

    /// Looks at every node of the shoot until `judge` is content with each of them.
    ///
    /// # Errors
    /// What `judge` says of a node at the end of our patience, or when the shoot has no nodes.
    pub async fn ensure_nodes(&self, judge: fn(&NodeFacts) -> anyhow::Result<()>) -> anyhow::Result<Vec<String>> {
        let shoot = self.shoot_client().await?;
        let nodes = Api::<Node>::all(shoot.clone()).list(&ListParams::default()).await?;
        let names: Vec<String> = nodes.items.into_iter().filter_map(|node| node.metadata.name).collect();
        ensure!(!names.is_empty(), "the shoot has no nodes");
        let pods: Api<Pod> = Api::namespaced(shoot, "kube-system");
        for name in &names {
            let begun = Probes::default();
            let judged = wait_for(&format!("node {name} to be as it should"), self.patience, || async {
                let facts = NodeFacts::parse(&self.probe(&pods, name, &begun).await?)?;
                judge(&facts).map(Some)
            })
            .await;
            // The end of our patience may have cut a probe off, whose pod may do everything on its node.
            for (pod, creation) in begun.all() {
                // Deleted before it is made, it would be there all the same.
                wait_for(&format!("an answer to the creation of {pod}"), PROBE, || async {
                    Ok(creation.is_finished().then_some(()))
                })
                .await?;
                delete_probe(&pods, &pod).await?;
            }
            judged?;
        }
        Ok(names)
    }

    async fn shoot_client(&self) -> anyhow::Result<Client> {
        let url = format!("/apis/core.gardener.cloud/v1beta1/namespaces/{}/shoots/{}", self.namespace, self.name);
        let request = json!({
            "apiVersion": "authentication.gardener.cloud/v1alpha1",
            "kind": "AdminKubeconfigRequest",
            "spec": { "expirationSeconds": 3600 },
        });
        let request = http::Request::post(format!("{url}/adminkubeconfig"))
            .header("Content-Type", "application/json")
            .body(request.to_string().into_bytes())?;
        let answer: Value = self.garden.request(request).await.context("cannot get a kubeconfig of the shoot")?;
        let text = answer["status"]["kubeconfig"].as_str().context("Gardener gave no kubeconfig")?;
        let text = String::from_utf8(base64::engine::general_purpose::STANDARD.decode(text)?)?;
        let (kubeconfig, options) = (Kubeconfig::from_yaml(&text)?, KubeConfigOptions::default());
        Ok(Client::try_from(Config::from_custom_kubeconfig(kubeconfig, &options).await?)?)
    }

    /// What [`NODE_SCRIPT`] prints on `node`, run by a pod that is then deleted.
    async fn probe(&self, pods: &Api<Pod>, node: &str, begun: &Probes) -> anyhow::Result<String> {
        let name = format!("cri-resmgr-e2e-{}", jiff::Timestamp::now().as_nanosecond());
        let pod: Pod = serde_json::from_value(probe_pod(&name, node, &self.probe_image))?;
        // A task of its own: who gives up waiting for it does not end it half way.
        let creation = tokio::spawn({
            let pods = pods.clone();
            async move { pods.create(&PostParams::default(), &pod).await }
        });
        begun.add(&name, creation.abort_handle());
        creation.await??;
        let outcome = wait_for(&format!("the probe on {node}"), PROBE, || async {
            let status = pods.get(&name).await?.status.unwrap_or_default();
            match status.phase.as_deref() {
                Some("Succeeded" | "Failed") => Ok(Some(())),
                _ => anyhow::bail!("{}", json!(status.container_statuses)),
            }
        })
        .await;
        let printed = match outcome {
            Ok(()) => pods.logs(&name, &LogParams::default()).await.map_err(Into::into),
            Err(error) => Err(error),
        };
        delete_probe(pods, &name).await?;
        begun.deleted(&name);
        printed
    }

    /// Deletes the shoot and waits until it is gone.
    ///
    /// # Errors
    /// When it is still there at the end of our patience.
    pub async fn delete(&self) -> anyhow::Result<()> {
        let patch = Patch::Merge(json!({ "metadata": { "annotations": { DELETION: "true" } } }));
        self.shoots().patch(&self.name, &PatchParams::default(), &patch).await?;
        self.shoots().delete(&self.name, &DeleteParams::default()).await?;
        wait_for(&format!("the shoot {} to be gone", self.name), self.patience, || async {
            match self.shoots().get_opt(&self.name).await? {
                None => Ok(Some(())),
                Some(shoot) => anyhow::bail!("{}", shoot.data["status"]["lastOperation"]),
            }
        })
        .await
    }
}

/// The list with our entry switched, and the others as they are.
fn with_extension(extensions: &Value, on: bool) -> Value {
    let mut list = extensions.as_array().cloned().unwrap_or_default();
    match list.iter_mut().find(|entry| entry["type"] == EXTENSION_TYPE) {
        Some(entry) => entry["disabled"] = json!(!on),
        None => list.push(json!({ "type": EXTENSION_TYPE, "disabled": !on })),
    }
    Value::Array(list)
}

/// Why a shoot of that generation and status is not done yet.
fn not_ready(generation: Option<i64>, status: &Value) -> Option<String> {
    let last = &status["lastOperation"];
    if status["observedGeneration"].as_i64() != generation {
        return Some(format!("generation {generation:?} is not observed"));
    }
    if last["state"] != "Succeeded" {
        return Some(format!("lastOperation: {last}, lastErrors: {}", status["lastErrors"]));
    }
    let conditions = status["conditions"].as_array().into_iter().flatten();
    conditions.filter(|condition| condition["status"] != "True").map(Value::to_string).next()
}

/// Names of the pods of probes that may still be there, or come yet, and the task that makes each.
#[derive(Default)]
struct Probes(RefCell<BTreeMap<String, AbortHandle>>);

impl Probes {
    fn add(&self, name: &str, creation: AbortHandle) {
        self.0.borrow_mut().insert(name.to_owned(), creation);
    }

    fn deleted(&self, name: &str) {
        self.0.borrow_mut().remove(name);
    }

    fn all(&self) -> BTreeMap<String, AbortHandle> {
        self.0.take()
    }
}

/// Deletes the pod of a probe, which may be gone.
async fn delete_probe(pods: &Api<Pod>, name: &str) -> anyhow::Result<()> {
    match pods.delete(name, &DeleteParams::default().grace_period(0)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => {
            Err(error).with_context(|| format!("cannot delete the pod {name}, which may do everything on its node"))
        }
    }
}

/// A pod that enters the namespaces of the node's first process.
fn probe_pod(name: &str, node: &str, image: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name, "namespace": "kube-system" },
        "spec": {
            "nodeName": node,
            "hostPID": true,
            "restartPolicy": "Never",
            "tolerations": [{ "operator": "Exists" }],
            "containers": [{
                "name": "probe",
                "image": image,
                "command": ["nsenter", "-t", "1", "-m", "-u", "-i", "-n", "-p", "--", "sh", "-c", NODE_SCRIPT],
                "securityContext": { "privileged": true },
            }],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_entry_alone_is_switched() {
        let ours = |disabled: bool| json!({ "type": EXTENSION_TYPE, "disabled": disabled });
        let other = json!({ "type": "other", "providerConfig": { "a": 1 } });
        for (before, on, after) in [
            (Value::Null, true, json!([ours(false)])),
            (json!([other]), true, json!([other, ours(false)])),
            (json!([ours(true), other]), true, json!([ours(false), other])),
            (json!([{ "type": EXTENSION_TYPE }]), false, json!([ours(true)])),
        ] {
            assert_eq!(with_extension(&before, on), after);
        }
    }

    #[test]
    fn a_shoot_is_ready_when_gardener_is_done_with_this_generation() {
        let status = |generation: i64, state: &str, healthy: &str| {
            json!({
                "observedGeneration": generation, "lastOperation": { "state": state },
                "conditions": [{ "type": "EveryNodeReady", "status": "True" }, { "type": "SystemComponentsHealthy", "status": healthy }],
            })
        };
        assert_eq!(not_ready(Some(2), &status(2, "Succeeded", "True")), None);
        for (status, why) in [
            (status(1, "Succeeded", "True"), "generation"),
            (status(2, "Processing", "True"), "Processing"),
            (status(2, "Succeeded", "Progressing"), "SystemComponentsHealthy"),
            (Value::Null, "generation"),
        ] {
            let found = not_ready(Some(2), &status).unwrap();
            assert!(found.contains(why), "{found}");
        }
    }
}
