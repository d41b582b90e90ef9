//! A pod on every worker that must not notice what happens to its runtime.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use serde_json::json;
use testbed::{BUSYBOX_IMAGE, wait_for};

const RUNNING: Duration = Duration::from_secs(90);

/// Identity of a running container: it changes when the container is restarted or made anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// `containerd://…`
    pub id: String,
    /// When it was started.
    pub started_at: String,
    /// How often it was restarted.
    pub restarts: i32,
}

/// Pods in the shoot's namespace `default`.
#[derive(Clone)]
pub struct Workload {
    shoot: kube::Client,
}

impl std::fmt::Debug for Workload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workload").finish_non_exhaustive()
    }
}

impl Workload {
    /// Deploys one pod on each of `workers` workers and waits until they run.
    ///
    /// # Errors
    /// When they do not.
    pub async fn deploy(shoot: kube::Client, workers: usize) -> anyhow::Result<Self> {
        let set = json!({
            "apiVersion": "apps/v1", "kind": "DaemonSet",
            "metadata": { "name": "workload", "namespace": "default" },
            "spec": {
                "selector": { "matchLabels": { "app": "workload" } },
                "template": {
                    "metadata": { "labels": { "app": "workload" } },
                    "spec": {
                        "terminationGracePeriodSeconds": 1,
                        "tolerations": [{ "operator": "Exists" }],
                        "containers": [pod_container()],
                    },
                },
            },
        });
        let sets: Api<DaemonSet> = Api::namespaced(shoot.clone(), "default");
        sets.patch("workload", &PatchParams::apply("e2e"), &Patch::Apply(set)).await?;
        let workload = Self { shoot };
        wait_for("the workload to run on every worker", RUNNING, || async {
            Ok((workload.containers().await?.len() == workers).then_some(()))
        })
        .await?;
        Ok(workload)
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.shoot.clone(), "default")
    }

    /// The running containers, by node.
    ///
    /// # Errors
    /// When the API does not answer.
    pub async fn containers(&self) -> anyhow::Result<BTreeMap<String, Container>> {
        let pods = self.pods().list(&ListParams::default().labels("app=workload")).await?;
        let running =
            pods.items.iter().filter_map(|pod| Some((pod.spec.as_ref()?.node_name.clone()?, running_container(pod)?)));
        Ok(running.collect())
    }

    /// For pods alone: nothing is deployed.
    #[must_use]
    pub fn none(shoot: kube::Client) -> Self {
        Self { shoot }
    }

    /// Starts one more pod on `node`, waits until it runs, and removes it again.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn run_pod(&self, name: &str, node: &str) -> anyhow::Result<Container> {
        let container = self.start_pod(name, node).await?;
        self.remove_pod(name).await?;
        Ok(container)
    }

    /// Starts one more pod on `node` and waits until it runs.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn start_pod(&self, name: &str, node: &str) -> anyhow::Result<Container> {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": { "name": name },
            "spec": { "nodeName": node, "terminationGracePeriodSeconds": 1, "tolerations": [{ "operator": "Exists" }], "containers": [pod_container()] },
        });
        self.pods().create(&PostParams::default(), &serde_json::from_value(pod)?).await?;
        wait_for(&format!("pod {name} to run on {node}"), RUNNING, || async {
            let pod = self.pods().get(name).await?;
            running_container(&pod)
                .map_or_else(|| anyhow::bail!("{}", json!(pod.status)), |container| Ok(Some(container)))
        })
        .await
    }

    /// The running container of one of these pods.
    ///
    /// # Errors
    /// When it does not run, or the API does not answer.
    pub async fn container_of(&self, name: &str) -> anyhow::Result<Container> {
        running_container(&self.pods().get(name).await?).with_context(|| format!("pod {name} does not run"))
    }

    /// Removes a pod and waits until it is gone.
    ///
    /// # Errors
    /// When it is still there.
    pub async fn remove_pod(&self, name: &str) -> anyhow::Result<()> {
        self.pods().delete(name, &kube::api::DeleteParams::default()).await?;
        wait_for(&format!("pod {name} to be gone"), RUNNING, || async {
            Ok(self.pods().get_opt(name).await?.is_none().then_some(()))
        })
        .await
        .context("a pod that ran cannot be stopped")
    }
}

fn pod_container() -> serde_json::Value {
    json!({
        "name": "c", "image": BUSYBOX_IMAGE, "imagePullPolicy": "Never",
        "resources": { "requests": { "cpu": "10m", "memory": "8Mi" }, "limits": { "memory": "32Mi" } },
    })
}

fn running_container(pod: &Pod) -> Option<Container> {
    let status = pod.status.as_ref()?.container_statuses.as_ref()?.first()?;
    let running = status.state.as_ref()?.running.as_ref()?;
    Some(Container {
        id: status.container_id.clone()?,
        started_at: running.started_at.as_ref()?.0.to_string(),
        restarts: status.restart_count,
    })
}
