//! A garden: gardener-apiserver, what a Shoot needs to be taken by it, and what it says to Shoots.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, bail, ensure};
use extension_config::names::{CONTROLLER_NAME, EXTENSION_TYPE};
use http::{Method, Request};
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use kube::client::Body;
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

const PROJECT: &str = "garden-local";
const SHOOTS: &str = "/apis/core.gardener.cloud/v1beta1/namespaces/garden-local/shoots";

/// What a request came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// With the warnings that `kubectl` shows.
    Admitted(Vec<String>),
    /// The webhook's word.
    Refused(String),
    /// The webhook did not answer.
    Failed(String),
}

#[derive(Clone)]
pub(super) struct Garden {
    /// gardener-apiserver.
    api: Client,
    /// The garden's kube-apiserver.
    kubernetes: Client,
}

/// A Shoot that has the extension, with this providerConfig.
pub(super) fn shoot(name: &str, config: Option<&Value>) -> Value {
    let mut extension = json!({ "type": EXTENSION_TYPE });
    if let Some(config) = config {
        extension["providerConfig"] = config.clone();
    }
    let mut shoot = without_extension(name);
    shoot["spec"]["extensions"] = json!([extension]);
    shoot
}

fn without_extension(name: &str) -> Value {
    json!({
        "apiVersion": "core.gardener.cloud/v1beta1", "kind": "Shoot",
        "metadata": { "name": name, "namespace": PROJECT },
        "spec": {
            "cloudProfile": { "kind": "CloudProfile", "name": "local" },
            "credentialsBindingName": "local",
            "region": "local",
            "networking": { "type": "local", "nodes": "10.0.0.0/16", "pods": "10.3.0.0/16", "services": "10.4.0.0/16" },
            "kubernetes": { "version": "1.34.1" },
            "provider": { "type": "local", "workers": [{
                "name": "local", "machine": { "type": "local", "image": { "name": "local", "version": "1.0.0" } },
                "cri": { "name": "containerd" }, "minimum": 1, "maximum": 1, "maxSurge": 1, "maxUnavailable": 0,
            }] },
        },
    })
}

/// Makes a namespace.
pub(super) async fn namespace(client: &Client, name: &str, labels: &Value) -> anyhow::Result<()> {
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": labels } });
    send(client, Method::POST, "/api/v1/namespaces", "application/json", &namespace).await.map(drop)
}

/// The answer's code, body and warnings.
async fn answer(
    client: &Client,
    method: Method,
    path: &str,
    content_type: &str,
    body: &Value,
) -> anyhow::Result<(u16, Value, Vec<String>)> {
    let request = Request::builder().method(method).uri(path).header("Content-Type", content_type);
    let response = client.send(request.body(Body::from(body.to_string().into_bytes()))?).await?;
    let warnings = response.headers().get_all("Warning").iter();
    let warnings = warnings.map(|warning| String::from_utf8_lossy(warning.as_bytes()).into_owned()).collect();
    let code = response.status().as_u16();
    let body = response.into_body().collect_bytes().await?;
    Ok((code, serde_json::from_slice(&body).unwrap_or_default(), warnings))
}

async fn send(client: &Client, method: Method, path: &str, content_type: &str, body: &Value) -> anyhow::Result<Value> {
    let (code, body, _) = answer(client, method.clone(), path, content_type, body).await?;
    ensure!((200..300).contains(&code), "{method} {path}: {code} {}", body["message"]);
    Ok(body)
}

impl Garden {
    pub(super) fn new(api: Client, kubernetes: Client) -> Self {
        Self { api, kubernetes }
    }

    /// Project, cloud profile, credentials and registrations.
    pub(super) async fn prepare(&self) -> anyhow::Result<()> {
        let labels = json!({ "gardener.cloud/role": "project", "project.gardener.cloud/name": "local" });
        namespace(&self.kubernetes, PROJECT, &labels).await?;
        namespace(&self.kubernetes, "extension-cri-resmgr-extension", &json!({})).await?;
        let secret = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "local" } });
        self.post_core("/api/v1/namespaces/garden-local/secrets", &secret).await?;
        let kinds = ["Infrastructure", "ControlPlane", "Worker", "Network", "OperatingSystemConfig", "DNSRecord"];
        let mut resources: Vec<Value> =
            kinds.map(|kind| json!({ "kind": kind, "type": "local", "primary": true })).to_vec();
        // That of `examples/shoot.yaml`.
        resources.push(json!({ "kind": "Network", "type": "calico", "primary": true }));
        let registrations = [
            ("local", std::mem::take(&mut resources)),
            (EXTENSION_TYPE, vec![json!({ "kind": "Extension", "type": EXTENSION_TYPE })]),
        ];
        for (name, resources) in registrations {
            let registration = json!({ "apiVersion": "core.gardener.cloud/v1beta1", "kind": "ControllerRegistration",
                "metadata": { "name": name }, "spec": { "resources": resources } });
            self.post("/apis/core.gardener.cloud/v1beta1/controllerregistrations", &registration).await?;
        }
        let profile = json!({ "apiVersion": "core.gardener.cloud/v1beta1", "kind": "CloudProfile", "metadata": { "name": "local" },
            "spec": {
                "type": "local",
                "kubernetes": { "versions": [{ "version": "1.34.0" }, { "version": "1.34.1" }] },
                "machineImages": [{ "name": "local", "versions": [
                    { "version": "1.0.0", "cri": [{ "name": "containerd" }], "architectures": ["amd64"] }] }],
                "machineTypes": [{ "name": "local", "cpu": "2", "gpu": "0", "memory": "4Gi", "architecture": "amd64" }],
                "regions": [{ "name": "local" }],
            } });
        self.post("/apis/core.gardener.cloud/v1beta1/cloudprofiles", &profile).await?;
        let project = json!({ "apiVersion": "core.gardener.cloud/v1beta1", "kind": "Project", "metadata": { "name": "local" },
            "spec": { "namespace": PROJECT } });
        self.post("/apis/core.gardener.cloud/v1beta1/projects", &project).await?;
        let binding = json!({ "apiVersion": "security.gardener.cloud/v1alpha1", "kind": "CredentialsBinding",
            "metadata": { "name": "local" }, "provider": { "type": "local" },
            "credentialsRef": { "apiVersion": "v1", "kind": "Secret", "name": "local", "namespace": PROJECT } });
        self.post("/apis/security.gardener.cloud/v1alpha1/namespaces/garden-local/credentialsbindings", &binding)
            .await?;
        // Its plugins hear of all this by their watches.
        testbed::wait_for("gardener-apiserver to take Shoots", super::ROUND, || async {
            self.post(&format!("{SHOOTS}?dryRun=All"), &without_extension("probe")).await.map(Some)
        })
        .await
        .map(drop)
    }

    async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        send(&self.api, Method::POST, path, "application/json", body).await
    }

    async fn post_core(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        send(&self.kubernetes, Method::POST, path, "application/json", body).await
    }

    pub(super) async fn create(&self, shoot: &Value) -> anyhow::Result<()> {
        self.post(SHOOTS, shoot).await.map(drop)
    }

    /// `kubectl apply --dry-run=server`.
    pub(super) async fn dry_run(&self, shoot: &Value) -> anyhow::Result<Verdict> {
        let path = format!("{SHOOTS}?dryRun=All");
        let (code, body, warnings) = answer(&self.api, Method::POST, &path, "application/json", shoot).await?;
        let message = body["message"].as_str().unwrap_or_default().to_owned();
        match code {
            200..300 => Ok(Verdict::Admitted(warnings)),
            422 if message.contains("denied the request: ") && message.contains(EXTENSION_TYPE) => {
                Ok(Verdict::Refused(message))
            }
            500 if message.contains("failed calling webhook") => Ok(Verdict::Failed(message)),
            _ => bail!("{code} {message}"),
        }
    }

    async fn patch(&self, name: &str, patch: &Value) -> anyhow::Result<Value> {
        let url = format!("{SHOOTS}/{name}");
        send(&self.api, Method::PATCH, &url, "application/merge-patch+json", patch).await
    }

    pub(super) async fn change(&self, name: &str, patch: &Value) -> anyhow::Result<()> {
        self.patch(name, patch).await.map(drop)
    }

    pub(super) async fn ensure_refused(&self, name: &str, patch: &Value) -> anyhow::Result<()> {
        let Err(error) = self.patch(name, patch).await else { bail!("{name}: {patch} was taken") };
        ensure!(format!("{error:#}").contains("denied the request: "), "{error:#}");
        Ok(())
    }

    /// As its owner and gardenlet do it: confirmed, asked for, and its finalizers taken away.
    pub(super) async fn delete(&self, name: &str) -> anyhow::Result<()> {
        let confirm = json!({ "metadata": { "finalizers": ["gardener"],
            "annotations": { "confirmation.gardener.cloud/deletion": "true" } } });
        self.change(name, &confirm).await?;
        send(&self.api, Method::DELETE, &format!("{SHOOTS}/{name}"), "application/json", &json!({})).await?;
        self.change(name, &json!({ "metadata": { "annotations": { "example.com/going": "true" } } })).await
    }

    /// Shoots that have nothing to do with the extension.
    pub(super) async fn ensure_others_pass(&self) -> anyhow::Result<()> {
        self.post(&format!("{SHOOTS}?dryRun=All"), &without_extension("other")).await?;
        let mut disabled = shoot("other", Some(&json!({ "nonsense": 1 })));
        disabled["spec"]["extensions"][0]["disabled"] = json!(true);
        self.post(&format!("{SHOOTS}?dryRun=All"), &disabled).await.map(drop)
    }

    fn configurations(&self) -> Api<ValidatingWebhookConfiguration> {
        Api::all(self.kubernetes.clone())
    }

    /// The authorities that API servers are given.
    pub(super) async fn bundle(&self) -> anyhow::Result<String> {
        let found = self.configurations().get(CONTROLLER_NAME).await?;
        let bundle = found.webhooks.into_iter().flatten().find_map(|webhook| webhook.client_config.ca_bundle);
        Ok(String::from_utf8(bundle.context("no bundle")?.0)?)
    }

    pub(super) async fn delete_configuration(&self) -> anyhow::Result<()> {
        self.configurations().delete(CONTROLLER_NAME, &kube::api::DeleteParams::default()).await?;
        Ok(())
    }

    /// Applies a Shoot again and again.
    pub(super) fn load(&self, shoot: &Value) -> Load {
        let (garden, shoot, ended) = (self.clone(), shoot.clone(), Arc::new(AtomicBool::new(false)));
        let end = Arc::clone(&ended);
        let task = tokio::spawn(async move {
            let (mut reviews, mut failed) = (0, Vec::new());
            while !end.load(Ordering::Relaxed) {
                reviews += 1;
                match garden.dry_run(&shoot).await {
                    Ok(Verdict::Admitted(_)) => {}
                    other => failed.push(format!("{other:?}")),
                }
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            (reviews, failed)
        });
        Load { task, ended }
    }
}

/// A load, until it is stopped.
pub(super) struct Load {
    task: JoinHandle<(usize, Vec<String>)>,
    ended: Arc<AtomicBool>,
}

impl Load {
    /// How many Shoots were applied, and what was not as it should be.
    pub(super) async fn stop(self) -> (usize, Vec<String>) {
        self.ended.store(true, Ordering::Relaxed);
        self.task.await.unwrap_or_else(|error| (0, vec![error.to_string()]))
    }
}
