//! A bed from nothing to ready, and down again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::DeleteParams;
use nix::sys::signal::Signal;

use crate::components::{GARDENER_APISERVER, RESOURCE_MANAGER};
use crate::control_plane::{ControlPlanes, Programs, SHOOT_SERVICE, Setup};
use crate::gardener_api;
use crate::ledger::{self, Ledger};
use crate::machine::Machine;
use crate::network::Network;
use crate::pki::Authority;
use crate::process::Daemon;
use crate::resource_manager::ResourceManager;
use crate::worker::{Membership, Worker};
use crate::{ApiServer, FaultProxy, Generation, Progress, busybox_archive, prerequisites, wait_for};

const NODE_READY: Duration = Duration::from_secs(300);
const SHOOT_RESOURCE_MANAGER: &str = "grm-shoot";

/// What bed to bring up.
#[derive(Debug, Clone)]
pub struct Options {
    /// Name, unique on this machine.
    pub name: String,
    /// The repository.
    pub root: PathBuf,
    /// Technical ID of the shoot: its namespace in the seed.
    pub shoot_namespace: String,
    /// Number of workers; 0 leaves out kubelets, and the shoot's controllers too.
    pub workers: u8,
    /// What the workers are, and the control planes with them.
    pub generation: Generation,
    /// Where steps are shown.
    pub progress: Progress,
}

/// A running bed. Dropping it leaves it running: [`Bed::down`] takes it away, as does [`crate::down`] by name.
#[derive(Debug)]
pub struct Bed {
    pub(crate) options: Options,
    pub(crate) dir: PathBuf,
    pub(crate) network: Network,
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) planes: ControlPlanes,
    pub(crate) other_seed: Option<ApiServer>,
    pub(crate) resource_managers: Vec<Daemon>,
    workers: Vec<Worker>,
    pub(crate) authority: Arc<Authority>,
    /// How often the workers' machines were replaced.
    machines: u32,
}

impl Bed {
    /// Brings a bed up: components obtained, servers ready, workers booted and their nodes Ready.
    ///
    /// # Errors
    /// When the machine lacks something, or a component does not get ready; what was started is then taken down.
    pub async fn up(options: Options) -> anyhow::Result<Self> {
        prerequisites::ensure().await?;
        ledger::down(&options.name).await.context("cannot take down what an earlier run has left")?;
        let name = options.name.clone();
        match Self::start(options).await {
            Ok(bed) => Ok(bed),
            Err(error) => {
                ledger::down(&name).await?;
                Err(error)
            }
        }
    }

    async fn start(options: Options) -> anyhow::Result<Self> {
        let (root, progress) = (options.root.clone(), options.progress.clone());
        let programs = Programs::obtain(options.generation, &root, &progress).await?;
        let resource_manager = RESOURCE_MANAGER.obtain(&root, &progress).await?;
        let (ledger, index) = Ledger::create(&options.name)?;
        let ledger = Arc::new(ledger);
        let dir = ledger::bed_dir(&options.name)?;
        progress.step("starting etcd and the API servers of seed and shoot");
        let network = Network::up(index, &ledger).await?;
        let authority = Arc::new(Authority::new()?);
        std::fs::write(dir.join("ca.crt"), &authority.certificate)?;
        let setup = Setup {
            dir: &dir,
            network: &network,
            ledger: &ledger,
            authority: &authority,
            programs: &programs,
            shoot_namespace: &options.shoot_namespace,
        };
        let planes = setup.up(options.workers > 0).await?;
        let mut bed = Self {
            options,
            dir,
            network,
            ledger,
            planes,
            other_seed: None,
            resource_managers: Vec::new(),
            workers: Vec::new(),
            authority: Arc::clone(&authority),
            machines: 0,
        };

        bed.resolve_shoot_api(true)?;
        bed.main_seed().prepare().await?;
        let seed = bed.planes.seed.admin_kubeconfig();
        let started = [
            bed.seed_resource_manager(&resource_manager, "grm-seed", seed, 9449)?,
            bed.shoot_resource_manager_of(&resource_manager, SHOOT_RESOURCE_MANAGER, seed, 9549)?,
        ];
        bed.resource_managers.extend(started);
        if bed.options.workers > 0 {
            bed.add_worker_networks().await?;
            bed.start_workers().await?;
        }
        Ok(bed)
    }

    /// For ManagedResources of a seed itself.
    pub(crate) fn seed_resource_manager(
        &self,
        program: &Path,
        name: &str,
        seed: &Path,
        port: u16,
    ) -> anyhow::Result<Daemon> {
        let (class, namespace) = (Some("seed"), None);
        ResourceManager { name, class, namespace, source_kubeconfig: seed, target_kubeconfig: seed, port }.start(
            program,
            &self.dir,
            &self.network,
            &self.authority,
            &self.ledger,
        )
    }

    /// For those of the shoot.
    fn shoot_resource_manager_of(&self, program: &Path, name: &str, seed: &Path, port: u16) -> anyhow::Result<Daemon> {
        let target_kubeconfig = self.planes.shoot.admin_kubeconfig();
        let namespace = Some(self.options.shoot_namespace.as_str());
        ResourceManager { name, class: None, namespace, source_kubeconfig: seed, target_kubeconfig, port }.start(
            program,
            &self.dir,
            &self.network,
            &self.authority,
            &self.ledger,
        )
    }

    async fn add_worker_networks(&self) -> anyhow::Result<()> {
        for number in 1..=self.options.workers {
            self.network.add_worker(number, self.options.workers).await?;
        }
        Ok(())
    }

    async fn start_workers(&mut self) -> anyhow::Result<()> {
        let (count, generation) = (self.options.workers, self.options.generation);
        let (root, progress) = (&self.options.root, &self.options.progress);
        let machine = Machine::obtain(generation, root, progress).await?;
        let kubelet = generation.kubernetes().kubelet;
        let version = kubelet.pinned_version(root)?;
        let kubelet = kubelet.obtain(root, progress).await?;
        progress.step(&format!("booting {count} worker(s)"));
        for number in 1..=count {
            let name = match self.machines {
                0 => format!("worker-{number}"),
                machines => format!("worker-{number}-{machines}"),
            };
            let netns = self.network.worker_namespace(number);
            let mut worker = Worker::prepare(&name, &machine, &self.dir, Some(netns), &self.ledger)?;
            let kubeconfig = self.planes.shoot.user_kubeconfig(&format!("system:node:{name}"), Some("system:nodes"))?;
            worker.join(&Membership {
                kubelet: &kubelet,
                version: version.trim_start_matches('v'),
                generation,
                kubeconfig: &kubeconfig,
                ca: &self.authority.certificate,
                pod_range: Network::pod_range(number),
                address: self.network.worker_address(number),
            })?;
            worker.boot().await?;
            self.workers.push(worker);
        }
        let busybox = busybox_archive(&self.dir)?;
        for worker in &self.workers {
            worker.load_image(&busybox).await?;
        }
        self.options.progress.step("waiting for the nodes to be Ready");
        for worker in &self.workers {
            self.wait_node_ready(worker.name(), NODE_READY).await?;
        }
        Ok(())
    }

    /// The seed's API server.
    #[must_use]
    pub fn seed(&self) -> &ApiServer {
        &self.planes.seed
    }

    /// The shoot's API server.
    #[must_use]
    pub fn shoot(&self) -> &ApiServer {
        &self.planes.shoot
    }

    /// The workers.
    #[must_use]
    pub fn workers(&self) -> &[Worker] {
        &self.workers
    }

    /// The workers, to reboot them.
    pub fn workers_mut(&mut self) -> &mut [Worker] {
        &mut self.workers
    }

    /// Whether programs in the seed find the shoot's API server: by the name that its Service has in all namespaces, and by no other.
    ///
    /// # Errors
    /// When the file of hosts cannot be written.
    pub fn resolve_shoot_api(&self, found: bool) -> anyhow::Result<()> {
        let name = format!("{SHOOT_SERVICE}.{}.svc", self.options.shoot_namespace);
        self.network.know(if found { std::slice::from_ref(&name) } else { &[] })
    }

    /// The shoot's resource manager goes from its present seed to nowhere.
    ///
    /// # Errors
    /// When there is none, or the ledger cannot be written.
    pub async fn stop_shoot_resource_manager(&mut self) -> anyhow::Result<()> {
        let place = self.resource_managers.iter().position(|manager| manager.name() == SHOOT_RESOURCE_MANAGER);
        self.resource_managers.swap_remove(place.context("the shoot has no resource manager")?).stop().await
    }

    /// Starts one in the other seed.
    ///
    /// # Errors
    /// When there is no other seed, or the program cannot be started.
    pub async fn start_shoot_resource_manager_in_other_seed(&mut self) -> anyhow::Result<()> {
        let program = RESOURCE_MANAGER.obtain(&self.options.root, &self.options.progress).await?;
        let seed = self.other_seed()?.server.admin_kubeconfig();
        let started = self.shoot_resource_manager_of(&program, SHOOT_RESOURCE_MANAGER, seed, 9749)?;
        self.resource_managers.push(started);
        Ok(())
    }

    /// Takes the shoot's API away, with all connections to it.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn stop_shoot_api(&self) -> anyhow::Result<()> {
        self.planes.shoot.kill().await
    }

    /// Brings it back.
    ///
    /// # Errors
    /// When it does not get ready.
    pub async fn start_shoot_api(&mut self) -> anyhow::Result<()> {
        self.planes.shoot.start(&self.network.hub(), &self.dir, &self.ledger).await
    }

    /// Folder with kubeconfigs and logs.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// All servers, for their logs.
    pub fn servers(&self) -> impl Iterator<Item = &Daemon> {
        let api = [self.planes.seed.daemon(), self.planes.shoot.daemon()];
        api.into_iter()
            .chain(self.other_seed.as_ref().map(ApiServer::daemon))
            .chain(&self.planes.servers)
            .chain(&self.resource_managers)
    }

    /// Makes a garden of the seed: starts gardener-apiserver next to its kube-apiserver, and waits until it serves.
    ///
    /// # Errors
    /// When it has to be built and the build fails, or it does not get ready.
    pub async fn start_gardener_apiserver(&self) -> anyhow::Result<ApiServer> {
        let program = GARDENER_APISERVER.obtain(&self.options.root, &self.options.progress).await?;
        let server = gardener_api::start(&program, &self.dir, &self.network, self.seed(), &self.ledger)?;
        server.await_ready().await?;
        Ok(server)
    }

    /// Address of the API servers, and of what runs beside them.
    #[must_use]
    pub fn hub_address(&self) -> String {
        self.network.hub_address()
    }

    /// Address of this process for them.
    #[must_use]
    pub fn outer_address(&self) -> String {
        self.network.outer_address()
    }

    /// A proxy in front of the seed's API server, for programs of the bed.
    ///
    /// # Errors
    /// When it finds no port.
    pub async fn fault_proxy(&self) -> anyhow::Result<FaultProxy> {
        FaultProxy::start(&self.network.outer_address(), self.planes.seed.anonymous().await?).await
    }

    /// Kills the seed's API server, and starts it again after `pause`.
    ///
    /// # Errors
    /// When it does not get ready again.
    pub async fn restart_seed(&mut self, pause: Duration) -> anyhow::Result<()> {
        self.planes.seed.kill().await?;
        tokio::time::sleep(pause).await;
        self.planes.seed.start(&self.network.hub(), &self.dir, &self.ledger).await
    }

    /// Puts the shoot to sleep as Gardener does: machines and Nodes go, then nothing answers at the shoot's API any more and its resource manager
    /// does nothing. (That one is stopped and not ended: it is the same when it goes on.)
    ///
    /// # Errors
    /// When something cannot be ended.
    pub async fn hibernate(&mut self) -> anyhow::Result<()> {
        let nodes: Api<Node> = Api::all(self.planes.shoot.admin().await?);
        for mut worker in std::mem::take(&mut self.workers) {
            worker.power_off().await?;
            nodes.delete(worker.name(), &DeleteParams::default()).await?;
        }
        self.shoot_resource_manager()?.signal(Signal::SIGSTOP)?;
        self.stop_shoot_api().await
    }

    /// Wakes the control plane of the shoot up; it has no nodes yet.
    ///
    /// # Errors
    /// When its API does not get ready.
    pub async fn wake(&mut self) -> anyhow::Result<()> {
        self.start_shoot_api().await?;
        self.shoot_resource_manager()?.signal(Signal::SIGCONT)
    }

    /// Boots new machines in place of those that [`Self::hibernate`] took away, under new names, and waits until their Nodes are Ready.
    ///
    /// # Errors
    /// When they are not in time.
    pub async fn replace_workers(&mut self) -> anyhow::Result<()> {
        self.machines += 1;
        self.start_workers().await
    }

    fn shoot_resource_manager(&self) -> anyhow::Result<&Daemon> {
        let found = self.resource_managers.iter().find(|manager| manager.name() == SHOOT_RESOURCE_MANAGER);
        found.context("the bed has no resource manager for the shoot")
    }

    /// Waits until the node is Ready.
    ///
    /// # Errors
    /// When it is not within `limit`.
    pub async fn wait_node_ready(&self, name: &str, limit: Duration) -> anyhow::Result<()> {
        let nodes: Api<Node> = Api::all(self.planes.shoot.admin().await?);
        wait_for(&format!("node {name} to be Ready"), limit, || async {
            let node = nodes.get(name).await?;
            let conditions = node.status.and_then(|status| status.conditions).unwrap_or_default();
            let ready = conditions.iter().find(|condition| condition.type_ == "Ready").context("no Ready condition")?;
            anyhow::ensure!(ready.status == "True", "{}", ready.message.clone().unwrap_or_default());
            Ok(Some(()))
        })
        .await
    }

    /// Takes the bed down and its folder away.
    ///
    /// # Errors
    /// When something cannot be taken away.
    pub async fn down(self) -> anyhow::Result<()> {
        ledger::down(&self.options.name).await
    }
}
