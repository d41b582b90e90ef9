//! A seed, a shoot and its nodes, with the real controller running in it.

mod controller;
mod look;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use extension_config::names;
use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::gardenlet::{Gardenlet, example_shoot};
use testbed::wait_for;
use tokio::task::JoinSet;

use crate::api::{ApiServer, Writer};
use crate::binaries::Binaries;
use crate::daemon_set::{self, Image, PodHost};
use crate::faults::Faults;
use crate::node::Node;
use crate::resource_manager;
use crate::runtime::{PROXY, played};

use controller::Controller;
pub use look::NodeReport;

/// The seed namespace of the shoot.
pub const SHOOT_NAMESPACE: &str = "shoot--local--local";
/// The controller's own.
const CONTROLLER_NAMESPACE: &str = "extension-cri-resmgr";
/// Folder with what stands for the daemon's payload.
const PAYLOAD: &str = "payload";
/// Credentials for the shoot.
const OF_SHOOT: &str = "shoot.yaml";
/// How long anything may take before it is called a failure.
const PATIENCE: Duration = Duration::from_secs(90);

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
    binaries: Binaries,
    controller: Controller,
    tasks: JoinSet<()>,
    faults: BedFaults,
    // Last: what runs in it ends before it is removed.
    dir: TempDir,
}

/// What goes wrong with the parts that are neither an API nor a node.
#[derive(Debug, Clone, Default)]
pub struct BedFaults {
    /// gardener-resource-manager: `reconcile NAME` of a ManagedResource; a refusal is a text.
    pub resource_manager: Faults<String>,
    /// The agents' pods: `start NODE` is refused whatever the fault; at `probe NODE` the process is killed, or probed later.
    pub pods: Faults<()>,
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
        let faults = BedFaults::default();
        let (of_seed, of_shoot) = (dir.path().join("seed.yaml"), dir.path().join(OF_SHOOT));
        seed.write_kubeconfig(&of_seed)?;
        shoot.write_kubeconfig(&of_shoot)?;
        let payload = dir.path().join(PAYLOAD);
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
                faults: faults.pods.clone(),
            };
            hosts.push(host);
            all.push(Node::boot(&name, root, shoot.store()).await?);
        }
        let mut tasks = JoinSet::new();
        tasks.spawn(resource_manager::run(
            seed.store().clone(),
            shoot.store().clone(),
            faults.resource_manager.clone(),
        ));
        tasks.spawn(daemon_set::run(shoot.store().clone(), hosts));
        let controller =
            Controller::start(&binaries.controller, &of_seed, CONTROLLER_NAMESPACE, dir.path().join("controller.log"))?;
        let gardenlet = Gardenlet::new(seed.client()?, SHOOT_NAMESPACE, names::EXTENSION_TYPE);
        let example = example_shoot(repository, SHOOT_NAMESPACE)?;
        Ok(Self {
            seed,
            shoot,
            nodes: all,
            gardenlet,
            example,
            binaries: binaries.clone(),
            controller,
            tasks,
            faults,
            dir,
        })
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

    /// What goes wrong with the rest.
    #[must_use]
    pub fn faults(&self) -> &BedFaults {
        &self.faults
    }

    /// Switches the extension on (or reconciles it with another configuration) as gardenlet does, and waits until the Extension is ready.
    /// That is so before the nodes are as desired.
    ///
    /// # Errors
    /// What was awaited in vain.
    pub async fn switch_on(&self, provider_config: Option<&Value>) -> anyhow::Result<()> {
        self.gardenlet.sync_cluster(&self.with_extension(provider_config, false)).await?;
        let timestamp = self.gardenlet.deploy_extension("reconcile", provider_config).await?;
        self.gardenlet.wait_ready(&timestamp, PATIENCE).await.map(drop)
    }

    /// Switches the extension off as gardenlet does, waits until the Extension is gone, and checks that every node is back on containerd.
    ///
    /// # Errors
    /// What was awaited in vain.
    pub async fn switch_off(&self) -> anyhow::Result<Duration> {
        let start = Instant::now();
        self.gardenlet.sync_cluster(&self.with_extension(None, true)).await?;
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

    fn with_extension(&self, provider_config: Option<&Value>, disabled: bool) -> Value {
        let mut shoot = self.example.clone();
        let extension =
            json!({ "type": names::EXTENSION_TYPE, "disabled": disabled, "providerConfig": provider_config });
        shoot["spec"]["extensions"] = json!([extension]);
        shoot
    }

    /// Kills the controller's process; it is started again after a second.
    ///
    /// # Errors
    /// When it does not run.
    pub fn crash_controller(&self) -> anyhow::Result<()> {
        self.controller.crash()
    }

    /// Ends everything, processes first.
    ///
    /// # Errors
    /// When the folder cannot be removed.
    pub async fn down(mut self) -> anyhow::Result<()> {
        self.controller.end().await?;
        self.tasks.shutdown().await;
        for node in &self.nodes {
            node.shut_down().await;
        }
        self.dir.close().context("the sandbox's folder stays behind")
    }
}
