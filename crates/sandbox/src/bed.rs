//! A seed, a shoot and its nodes, with the real controller running in it.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use extension_config::names;
use extension_config::node_report::lease_name;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::gardenlet::{Gardenlet, example_shoot};
use testbed::wait_for;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use crate::api::{ApiServer, Writer, text};
use crate::daemon_set::{self, Image, PodHost};
use crate::node::Node;
use crate::resource_manager;
use crate::runtime::{PROXY, played};

/// The seed namespace of the shoot.
pub const SHOOT_NAMESPACE: &str = "shoot--local--local";
/// The controller's own.
const CONTROLLER_NAMESPACE: &str = "extension-cri-resmgr";
/// How long anything may take before it is called a failure.
const PATIENCE: Duration = Duration::from_secs(90);

/// The real programs.
#[derive(Debug, Clone)]
pub struct Binaries {
    /// `gardener-extension-cri-resmgr`.
    pub controller: PathBuf,
    /// `cri-resmgr-node-agent`.
    pub agent: PathBuf,
    /// `runtime-gate`.
    pub gate: PathBuf,
}

/// Everything, on this machine; it ends when it is dropped and leaves nothing behind.
#[derive(Debug)]
pub struct Sandbox {
    /// The seed's API.
    pub seed: ApiServer,
    /// The shoot's API.
    pub shoot: ApiServer,
    nodes: Vec<Node>,
    gardenlet: Gardenlet,
    example: Value,
    controller: Child,
    tasks: JoinSet<()>,
    // Last: what runs in it ends before it is removed.
    dir: TempDir,
}

/// What an agent tells of its node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeReport {
    /// `Installed`, `Clean`, `Working`, …
    pub stage: String,
    /// Seconds since 1970 from which on it is so.
    pub since: u64,
    /// Restarts of kubelet of late.
    pub restarts: u64,
    /// Why it is not as desired.
    pub message: String,
}

impl Sandbox {
    /// Brings everything up, with the extension not yet switched on. `repository` has `examples/shoot.yaml`.
    ///
    /// # Errors
    /// When something does not start.
    pub async fn up(repository: &Path, binaries: &Binaries, nodes: u8) -> anyhow::Result<Self> {
        // Paths of sockets have about a hundred characters at most.
        let dir = tempfile::Builder::new().prefix("cri-resmgr-").tempdir().context("no temporary folder")?;
        let (seed, shoot) = (ApiServer::start().await?, ApiServer::start().await?);
        for name in [SHOOT_NAMESPACE, CONTROLLER_NAMESPACE] {
            let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
            seed.store().create("", "namespaces", "", namespace, &Writer::named("gardenlet"))?;
        }
        let (of_seed, of_shoot) = (dir.path().join("seed.yaml"), dir.path().join("shoot.yaml"));
        seed.write_kubeconfig(&of_seed)?;
        shoot.write_kubeconfig(&of_shoot)?;
        let payload = dir.path().join("payload");
        let daemon = payload.join(names::node::DAEMON.trim_start_matches('/'));
        std::fs::create_dir_all(daemon.parent().unwrap_or(&payload))?;
        std::fs::write(&daemon, played(PROXY))?;
        let image = Image { agent: binaries.agent.clone(), gate: binaries.gate.clone(), payload };
        let pods = dir.path().join("pods");
        std::fs::create_dir_all(&pods)?;
        let (mut all, mut hosts) = (Vec::new(), Vec::new());
        for number in 1..=nodes {
            let name = format!("node-{number}");
            let root = dir.path().join(&name);
            let host = PodHost {
                node: name.clone(),
                root: root.clone(),
                pods: pods.clone(),
                image: image.clone(),
                kubeconfig: of_shoot.clone(),
            };
            hosts.push(host);
            all.push(Node::boot(&name, root, shoot.store()).await?);
        }
        let mut tasks = JoinSet::new();
        tasks.spawn(resource_manager::run(seed.store().clone(), shoot.store().clone()));
        tasks.spawn(daemon_set::run(shoot.store().clone(), hosts));
        let controller = start_controller(binaries, &of_seed, dir.path())?;
        let gardenlet = Gardenlet::new(seed.client()?, SHOOT_NAMESPACE, names::EXTENSION_TYPE);
        let example = example_shoot(repository, SHOOT_NAMESPACE)?;
        Ok(Self { seed, shoot, nodes: all, gardenlet, example, controller, tasks, dir })
    }

    /// The nodes.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// What gardenlet does.
    #[must_use]
    pub fn gardenlet(&self) -> &Gardenlet {
        &self.gardenlet
    }

    /// Switches the extension on as gardenlet does, and waits until the Extension is ready, every node runs through the proxy and the
    /// resource manager has seen it.
    ///
    /// # Errors
    /// What was awaited in vain.
    pub async fn switch_on(&self) -> anyhow::Result<Duration> {
        let start = Instant::now();
        self.gardenlet.sync_cluster(&self.with_extension(false)).await?;
        let timestamp = self.gardenlet.deploy_extension("reconcile", None).await?;
        self.gardenlet.wait_ready(&timestamp, PATIENCE).await?;
        wait_for("every node to run through the proxy", PATIENCE, || async {
            for node in &self.nodes {
                let report = self.report(node.name()).unwrap_or_default();
                anyhow::ensure!(
                    node.is_on_proxy() && report.stage == "Installed",
                    "{}: {} {}",
                    node.name(),
                    report.stage,
                    report.message
                );
            }
            Ok(Some(()))
        })
        .await?;
        wait_for("the ManagedResource to be healthy", PATIENCE, || async {
            let found = self.seed.store().get(
                "resources.gardener.cloud",
                "managedresources",
                SHOOT_NAMESPACE,
                names::SHOOT_MANAGED_RESOURCE,
            );
            let resource = found.context("there is none")?;
            for (kind, wanted) in
                [("ResourcesApplied", "True"), ("ResourcesHealthy", "True"), ("ResourcesProgressing", "False")]
            {
                let all = resource["status"]["conditions"].as_array().context("no conditions")?;
                let found =
                    all.iter().find(|condition| condition["type"] == kind).with_context(|| format!("no {kind}"))?;
                anyhow::ensure!(found["status"] == wanted, "{kind}: {}", text(found, "/message"));
            }
            Ok(Some(()))
        })
        .await?;
        Ok(start.elapsed())
    }

    /// Switches the extension off as gardenlet does, waits until the Extension is gone, and checks that every node is back on containerd.
    ///
    /// # Errors
    /// What was awaited in vain.
    pub async fn switch_off(&self) -> anyhow::Result<Duration> {
        let start = Instant::now();
        self.gardenlet.sync_cluster(&self.with_extension(true)).await?;
        self.gardenlet.delete_extension().await?;
        self.gardenlet.wait_deleted(PATIENCE).await?;
        for node in &self.nodes {
            let daemon = node.unit(names::node::DAEMON_UNIT);
            anyhow::ensure!(
                daemon.load_state == "not-found",
                "{}: {} is still {}",
                node.name(),
                names::node::DAEMON_UNIT,
                daemon.load_state
            );
            let kubelet = node.unit(names::node::KUBELET_UNIT);
            anyhow::ensure!(
                kubelet.active_state == "active" && !node.is_on_proxy(),
                "{}: kubelet is {kubelet:?}",
                node.name()
            );
        }
        wait_for("the agents' pods to be gone", PATIENCE, || async {
            Ok(self.shoot.store().list("", "pods", names::SHOOT_NAMESPACE).is_empty().then_some(()))
        })
        .await?;
        Ok(start.elapsed())
    }

    /// What the agent of a node told last.
    #[must_use]
    pub fn report(&self, node: &str) -> Option<NodeReport> {
        let lease =
            self.shoot.store().get("coordination.k8s.io", "leases", names::SHOOT_NAMESPACE, &lease_name(node))?;
        let told = lease["metadata"]["annotations"].get(names::NODE_REPORT_ANNOTATION)?.as_str()?;
        serde_json::from_str(told).ok()
    }

    /// Why the agent's pod on a node is not ready, as its probe says; `None` when it is, or when there is no pod.
    #[must_use]
    pub fn unready(&self, node: &str) -> Option<String> {
        let pods = self.shoot.store().list("", "pods", names::SHOOT_NAMESPACE);
        let pod = pods.into_iter().find(|pod| pod["spec"]["nodeName"] == node)?;
        let ready = pod["status"]["conditions"].get(0)?;
        (ready["status"] != "True").then(|| text(ready, "/message").to_owned())
    }

    fn with_extension(&self, disabled: bool) -> Value {
        let mut shoot = self.example.clone();
        shoot["spec"]["extensions"] = json!([{ "type": names::EXTENSION_TYPE, "disabled": disabled }]);
        shoot
    }

    /// What explains a failure: the ends of all logs.
    #[must_use]
    pub fn explain(&self) -> String {
        let mut logs = vec![self.dir.path().join("controller.log")];
        logs.extend(self.nodes.iter().map(|node| self.dir.path().join("pods").join(format!("{}.log", node.name()))));
        let end = |log: &PathBuf| {
            let whole = std::fs::read_to_string(log).unwrap_or_default();
            let lines: Vec<&str> = whole.lines().collect();
            let end = lines[lines.len().saturating_sub(12)..].join("\n");
            format!("--- {}\n{end}\n", log.file_name().unwrap_or_default().to_string_lossy())
        };
        let pods = self.shoot.store().list("", "pods", names::SHOOT_NAMESPACE);
        let pods = pods.iter().map(|pod| format!("--- {}: {}\n", text(pod, "/metadata/name"), pod["status"]));
        pods.chain(logs.iter().map(end)).collect()
    }

    /// Ends everything, processes first.
    ///
    /// # Errors
    /// When the folder cannot be removed.
    pub async fn down(mut self) -> anyhow::Result<()> {
        if let Some(pid) = self.controller.id().and_then(|pid| i32::try_from(pid).ok()) {
            // It may have ended by itself.
            let _gone = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        if tokio::time::timeout(Duration::from_secs(5), self.controller.wait()).await.is_err() {
            self.controller.kill().await?;
        }
        self.tasks.shutdown().await;
        for node in &self.nodes {
            node.shut_down().await;
        }
        self.dir.close().context("the sandbox's folder stays behind")
    }
}

fn start_controller(binaries: &Binaries, kubeconfig: &Path, dir: &Path) -> anyhow::Result<Child> {
    let log = std::fs::File::create(dir.join("controller.log"))?;
    let mut command = Command::new(&binaries.controller);
    command.env_clear();
    command.arg("--kubeconfig").arg(kubeconfig);
    command.args([
        "--namespace",
        CONTROLLER_NAMESPACE,
        "--leader-election-namespace",
        CONTROLLER_NAMESPACE,
        "--metrics-bind-address=127.0.0.1:0",
        "--health-bind-address=127.0.0.1:0",
        "--log-format=text",
    ]);
    // Away from our terminal's signals: it is us who end it.
    command.process_group(0).kill_on_drop(true).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    command.spawn().with_context(|| format!("cannot run {}", binaries.controller.display()))
}
