//! A seed, a shoot and its nodes, with the real controller running in it.

mod controller;
mod observe;
mod simulated;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use extension_config::names;
use node_agent::simulation::Simulation;
use serde_json::{Value, json};
use tempfile::TempDir;
use testbed::gardenlet::{Gardenlet, example_shoot};
use testbed::wait_for;
use tokio::task::JoinSet;

use crate::binaries::Binaries;
use crate::daemon_set::{self, Image, PodHost, ProcessRunner, Runner};
use crate::node::{Node, WithContainers};
use crate::resource_manager;
use crate::runtime::{PROXY, faked, faked_policies};
use fake_kube_api::{ApiServer, Writer};
use faults::Faults;

use controller::Controller;
pub use observe::NodeReport;

/// The seed namespace of the shoot.
pub const SHOOT_NAMESPACE: &str = "shoot--local--local";
/// The controller's own.
const CONTROLLER_NAMESPACE: &str = "extension-cri-resmgr";
/// Folder with what stands for the daemon's payload.
const PAYLOAD: &str = "payload";
/// What the controller writes.
const CONTROLLER_LOG: &str = "controller.log";
/// Credentials for the seed, and for the shoot.
const OF_SEED: &str = "seed.yaml";
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
    simulation: Option<Arc<Simulation>>,
    gardenlet: Gardenlet,
    example: Value,
    binaries: Binaries,
    controller: Controller,
    tasks: JoinSet<()>,
    faults: SandboxFaults,
    // Last: what runs in it ends before it is removed.
    dir: TempDir,
}

/// The two APIs in a folder, before anything runs on them.
struct ControlPlanes {
    dir: TempDir,
    seed: ApiServer,
    shoot: ApiServer,
}

impl ControlPlanes {
    async fn prepare() -> anyhow::Result<Self> {
        // Paths of sockets have about a hundred characters at most.
        let dir = tempfile::Builder::new().prefix("cri-resmgr-").tempdir().context("no temporary folder")?;
        let (seed, shoot) = (ApiServer::start().await?, ApiServer::start().await?);
        // As gardenlet labels them: by that the controller knows a shoot's.
        for (name, role) in [(SHOOT_NAMESPACE, "shoot"), (CONTROLLER_NAMESPACE, "extension")] {
            let metadata = json!({ "name": name, "labels": { "gardener.cloud/role": role } });
            let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": metadata });
            seed.store().create("", "namespaces", "", namespace, &Writer::named("gardenlet"))?;
        }
        seed.write_kubeconfig(&dir.path().join(OF_SEED))?;
        shoot.write_kubeconfig(&dir.path().join(OF_SHOOT))?;
        Ok(Self { dir, seed, shoot })
    }

    /// Starts what makes it a seed and a shoot, whose pods run so on the nodes with these names.
    fn run(self, repository: &Path, binaries: &Binaries, runners: Vec<(String, Runner)>) -> anyhow::Result<Sandbox> {
        let Self { dir, seed, shoot } = self;
        let faults = SandboxFaults::default();
        let host = |(node, runner)| PodHost { node, runner, faults: faults.pods.clone() };
        let hosts = runners.into_iter().map(host).collect();
        let mut tasks = JoinSet::new();
        tasks.spawn(resource_manager::run(
            seed.store().clone(),
            shoot.store().clone(),
            faults.resource_manager.clone(),
        ));
        tasks.spawn(daemon_set::run(shoot.store().clone(), hosts));
        let (of_seed, log) = (dir.path().join(OF_SEED), dir.path().join(CONTROLLER_LOG));
        let controller = Controller::start(&binaries.controller, &of_seed, CONTROLLER_NAMESPACE, log)?;
        let gardenlet = Gardenlet::new(seed.client()?, SHOOT_NAMESPACE, names::EXTENSION_TYPE);
        let example = example_shoot(repository, SHOOT_NAMESPACE)?;
        Ok(Sandbox {
            seed,
            shoot,
            nodes: Vec::new(),
            simulation: None,
            gardenlet,
            example,
            binaries: binaries.clone(),
            controller,
            tasks,
            faults,
            dir,
        })
    }
}

/// What goes wrong with the parts that are neither an API nor a node.
#[derive(Debug, Clone, Default)]
pub struct SandboxFaults {
    /// gardener-resource-manager: `reconcile NAME` of a ManagedResource; a refusal is a text.
    pub resource_manager: Faults<String>,
    /// The agents' pods: `start NODE` is refused whatever the fault; at `probe NODE` the process is killed, or probed later.
    pub pods: Faults<()>,
}

impl Sandbox {
    /// Brings everything up, with the extension not yet switched on, and with a node in each of these worker pools. `repository` has
    /// `examples/shoot.yaml`.
    ///
    /// # Errors
    /// When something does not start.
    pub async fn up(repository: &Path, binaries: &Binaries, pools: &[&str]) -> anyhow::Result<Self> {
        let nodes: Vec<_> = pools.iter().map(|pool| ((*pool).to_owned(), None)).collect();
        Self::up_with(repository, binaries, nodes).await
    }

    /// The same with nodes that may have containers: worker pool, and what goes with it.
    ///
    /// # Errors
    /// When something does not start.
    pub async fn up_with(
        repository: &Path,
        binaries: &Binaries,
        nodes: Vec<(String, Option<WithContainers>)>,
    ) -> anyhow::Result<Self> {
        let control_planes = ControlPlanes::prepare().await?;
        let dir = control_planes.dir.path();
        let payload = dir.join(PAYLOAD);
        let daemon = payload.join(names::node::DAEMON.trim_start_matches('/'));
        std::fs::create_dir_all(daemon.parent().unwrap_or(&payload))?;
        std::fs::write(&daemon, faked(PROXY))?;
        if nodes.iter().any(|(_, with)| with.is_some()) {
            faked_policies(&payload)?;
        }
        let image = Image { agent: binaries.agent.clone(), gate: binaries.gate.clone(), payload };
        let pods = dir.join("pods");
        std::fs::create_dir_all(&pods)?;
        let (mut all, mut runners) = (Vec::new(), Vec::new());
        for (place, (pool, with)) in nodes.into_iter().enumerate() {
            let name = format!("node-{}", place + 1);
            let root = dir.join(&name);
            let runner = ProcessRunner {
                root: root.clone(),
                pods: pods.clone(),
                image: image.clone(),
                kubeconfig: dir.join(OF_SHOOT),
            };
            runners.push((name.clone(), Runner::Process(runner)));
            all.push(Node::boot_with(&pool, &name, root, control_planes.shoot.store(), with).await?);
        }
        let mut sandbox = control_planes.run(repository, binaries, runners)?;
        sandbox.nodes = all;
        Ok(sandbox)
    }

    /// The nodes.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// Gives a Node a label, as the shoot's owner does.
    ///
    /// # Errors
    /// When there is no such Node.
    pub fn set_node_label(&self, node: &Node, key: &str, value: &str) -> anyhow::Result<()> {
        let labels = json!({ "metadata": { "labels": { (key): value } } });
        self.shoot.store().merge("", "nodes", "", node.name(), &labels, &Writer::named("owner"))?;
        Ok(())
    }

    /// What gardenlet does.
    #[must_use]
    pub fn gardenlet(&self) -> &Gardenlet {
        &self.gardenlet
    }

    /// What goes wrong with the rest.
    #[must_use]
    pub fn faults(&self) -> &SandboxFaults {
        &self.faults
    }

    /// Switches the extension on (or reconciles it with another configuration) as gardenlet does, and waits until the Extension is ready.
    /// That is so before the nodes are as desired.
    ///
    /// # Errors
    /// The condition that did not come true in time.
    pub async fn switch_on(&self, provider_config: Option<&Value>) -> anyhow::Result<()> {
        self.gardenlet.sync_cluster(&self.with_extension(provider_config, false)).await?;
        let timestamp = self.gardenlet.deploy_extension("reconcile", provider_config).await?;
        self.gardenlet.wait_ready(&timestamp, PATIENCE).await.map(drop)
    }

    /// Switches the extension off as gardenlet does, waits until the Extension is gone, and checks that every node is back on containerd.
    ///
    /// # Errors
    /// The condition that did not come true in time.
    pub async fn switch_off(&self) -> anyhow::Result<Duration> {
        let start = Instant::now();
        self.gardenlet.sync_cluster(&self.with_extension(None, true)).await?;
        self.gardenlet.delete_extension().await?;
        self.gardenlet.wait_deleted(self.removal_patience()).await?;
        for node in &self.nodes {
            let daemon = node.unit(names::node::DAEMON_UNIT);
            let policy = node.unit(names::node::PLUGIN_UNIT);
            anyhow::ensure!(policy.load_state == "not-found", "{}: {policy:?}", node.name());
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
        for node in self.memory_nodes() {
            anyhow::ensure!(!node.is_on_proxy() && node.is_ready(), "{} is not back on containerd", node.name());
        }
        wait_for("the agents' pods to be gone", PATIENCE, || async {
            Ok(self.shoot.store().list("", "pods", names::SHOOT_NAMESPACE).is_empty().then_some(()))
        })
        .await?;
        Ok(start.elapsed())
    }

    /// The most memory that the controller and this process have had so far, in bytes.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn peak_memory(&self) -> anyhow::Result<(u64, u64)> {
        Ok((self.controller.peak_memory()?, crate::memory::peak("self")?))
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
