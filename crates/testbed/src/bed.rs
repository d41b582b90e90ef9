//! A bed from nothing to ready, and down again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use k8s_openapi::api::core::v1::{Namespace, Node};
use kube::Api;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::json;

use crate::components::{self, GARDENER_APISERVER, HELM, KUBELET, RESOURCE_MANAGER};
use crate::control_plane::{ControlPlanes, Programs, SHOOT_SERVICE, Setup};
use crate::gardener_api;
use crate::gardenlet::Gardenlet;
use crate::ledger::{self, Ledger};
use crate::network::Network;
use crate::pki::Authority;
use crate::process::{Daemon, Launch};
use crate::resource_manager::ResourceManager;
use crate::worker::{Membership, Worker};
use crate::{ApiServer, FaultProxy, Progress, busybox_archive, command, node_root, prerequisites, wait_for};

const NODE_READY: Duration = Duration::from_secs(300);
/// Namespace of the extension's controller, named as gardenlet names it.
const EXTENSION_NAMESPACE: &str = "extension-cri-resmgr-extension-bed";
/// ControllerRegistration, and so the Helm release.
const RELEASE: &str = "cri-resmgr-extension";

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
    /// Where steps are shown.
    pub progress: Progress,
}

/// A running bed. Dropping it leaves it running: [`Bed::down`] takes it away, as does [`crate::down`] by name.
#[derive(Debug)]
pub struct Bed {
    options: Options,
    dir: PathBuf,
    network: Network,
    ledger: Arc<Ledger>,
    planes: ControlPlanes,
    resource_managers: Vec<Daemon>,
    workers: Vec<Worker>,
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
        let programs = Programs::obtain(&root, &progress).await?;
        let resource_manager = RESOURCE_MANAGER.obtain(&root, &progress).await?;
        let base = if options.workers == 0 { None } else { Some(node_root(&progress).await?) };

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
        let mut bed =
            Self { options, dir, network, ledger, planes, resource_managers: Vec::new(), workers: Vec::new() };

        bed.resolve_shoot_api(true)?;
        bed.prepare_seed().await?;
        for manager in [
            ResourceManager {
                name: "grm-seed",
                class: Some("seed"),
                namespace: None,
                source_kubeconfig: bed.planes.seed.admin_kubeconfig(),
                target_kubeconfig: bed.planes.seed.admin_kubeconfig(),
                port: 9449,
            },
            ResourceManager {
                name: "grm-shoot",
                class: None,
                namespace: Some(&bed.options.shoot_namespace),
                source_kubeconfig: bed.planes.seed.admin_kubeconfig(),
                target_kubeconfig: bed.planes.shoot.admin_kubeconfig(),
                port: 9549,
            },
        ] {
            bed.resource_managers.push(manager.start(
                &resource_manager,
                &bed.dir,
                &bed.network,
                &authority,
                &bed.ledger,
            )?);
        }
        if let Some(base) = base {
            bed.start_workers(&base, &authority).await?;
        }
        Ok(bed)
    }

    async fn start_workers(&mut self, base: &Path, authority: &Authority) -> anyhow::Result<()> {
        let count = self.options.workers;
        self.options.progress.step(&format!("booting {count} worker(s)"));
        let kubelet = KUBELET.obtain(&self.options.root, &self.options.progress).await?;
        let boot = components::boot_script(&self.options.root);
        for number in 1..=count {
            let name = format!("worker-{number}");
            let netns = self.network.add_worker(number, count).await?;
            let mut worker = Worker::prepare(&name, base, &self.dir, Some(netns), boot.clone(), &self.ledger)?;
            let kubeconfig = self.planes.shoot.user_kubeconfig(&format!("system:node:{name}"), Some("system:nodes"))?;
            worker.join(&Membership {
                kubelet: &kubelet,
                kubeconfig: &kubeconfig,
                ca: &authority.certificate,
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

    async fn prepare_seed(&self) -> anyhow::Result<()> {
        let client = self.planes.seed.admin().await?;
        let crds = [
            "example/seed-crds/10-crd-extensions.gardener.cloud_extensions.yaml",
            "example/seed-crds/10-crd-extensions.gardener.cloud_clusters.yaml",
            "example/resource-manager/10-crd-resources.gardener.cloud_managedresources.yaml",
            // A seed always has it, and the chart makes one of its objects.
            "example/seed-crds/10-crd-autoscaling.k8s.io_verticalpodautoscalers.yaml",
        ];
        self.apply_crds(&crds).await?;
        let extension_labels = json!({
            "gardener.cloud/role": "extension",
            "controllerregistration.core.gardener.cloud/name": RELEASE,
        });
        let namespaces = [
            ("garden", json!({})),
            (EXTENSION_NAMESPACE, extension_labels),
            (&self.options.shoot_namespace, json!({ "gardener.cloud/role": "shoot" })),
        ];
        let api: Api<Namespace> = Api::all(client);
        for (name, labels) in namespaces {
            let namespace =
                json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": labels } });
            api.patch(name, &PatchParams::apply("testbed"), &Patch::Apply(namespace)).await?;
        }
        Ok(())
    }

    /// Brings CRDs out of the pinned gardener module into the seed, and waits until they are served.
    ///
    /// # Errors
    /// When the module has no such file, or the API server refuses it.
    pub async fn apply_crds(&self, files: &[&str]) -> anyhow::Result<()> {
        let client = self.planes.seed.admin().await?;
        let module = components::gardener_module(&self.options.root).await?;
        let crd =
            ApiResource::from_gvk(&GroupVersionKind::gvk("apiextensions.k8s.io", "v1", "CustomResourceDefinition"));
        let api: Api<DynamicObject> = Api::all_with(client, &crd);
        let mut names = Vec::new();
        for file in files {
            let path = module.join(file);
            let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let object: DynamicObject = serde_saphyr::from_str(&text)?;
            let name = object.metadata.name.clone().context("a CRD has a name")?;
            api.patch(&name, &PatchParams::apply("testbed").force(), &Patch::Apply(&object)).await?;
            names.push(name);
        }
        for name in names {
            wait_for(&format!("the CRD {name} to be established"), Duration::from_secs(30), || async {
                let crd = api.get(&name).await?;
                let conditions = crd.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
                let established = |c: &serde_json::Value| c["type"] == "Established" && c["status"] == "True";
                Ok(conditions.iter().any(established).then_some(()))
            })
            .await?;
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

    /// Folder with kubeconfigs and logs.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// All servers, for their logs.
    pub fn servers(&self) -> impl Iterator<Item = &Daemon> {
        let api = [self.planes.seed.daemon(), self.planes.shoot.daemon()];
        api.into_iter().chain(&self.planes.servers).chain(&self.resource_managers)
    }

    /// gardenlet's part for the bed's shoot.
    ///
    /// # Errors
    /// When the seed's kubeconfig cannot be read.
    pub async fn gardenlet(&self, extension_type: &str) -> anyhow::Result<Gardenlet> {
        let gardenlet = Gardenlet::new(self.planes.seed.admin().await?, &self.options.shoot_namespace, extension_type);
        Ok(gardenlet.with_generic_kubeconfig(self.planes.shoot.generic_kubeconfig()))
    }

    /// Installs the extension's chart in the seed as gardenlet does: rendered by Helm, applied by the seed's resource
    /// manager out of a ManagedResource in `garden`. `values` is the text of a values file.
    ///
    /// # Errors
    /// When Helm or the resource manager refuses it.
    pub async fn install_chart(&self, values: &str) -> anyhow::Result<()> {
        self.install_chart_of(&self.options.root, values).await
    }

    /// As [`Self::install_chart`], with the chart of another checkout: an earlier revision's.
    ///
    /// # Errors
    /// When Helm or the resource manager refuses it.
    pub async fn install_chart_of(&self, checkout: &Path, values: &str) -> anyhow::Result<()> {
        let helm = HELM.obtain(&self.options.root, &self.options.progress).await?;
        let file = self.dir.join("chart-values.yaml");
        std::fs::write(&file, values)?;
        let chart = checkout.join("charts/gardener-extension-cri-resmgr");
        let (chart, file) = (chart.display().to_string(), file.display().to_string());
        let client = self.planes.seed.admin().await?;
        // gardenlet renders with the capabilities of the seed it runs in.
        let version = client.apiserver_version().await?.git_version;
        let namespace = ["--namespace", EXTENSION_NAMESPACE, "--kube-version", &version];
        let args = [&["template", RELEASE, &chart, "--values", &file], namespace.as_slice()].concat();
        let rendered = command::run(&helm.display().to_string(), &args).await?;
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": { "name": RELEASE, "namespace": "garden" },
            "stringData": { "chart.yaml": rendered },
        });
        let managed = json!({
            "apiVersion": "resources.gardener.cloud/v1alpha1", "kind": "ManagedResource",
            "metadata": { "name": RELEASE, "namespace": "garden" },
            "spec": { "class": "seed", "secretRefs": [{ "name": RELEASE }] },
        });
        let secrets: Api<k8s_openapi::api::core::v1::Secret> = Api::namespaced(client.clone(), "garden");
        secrets.patch(RELEASE, &PatchParams::apply("testbed").force(), &Patch::Apply(secret)).await?;
        let resource =
            ApiResource::from_gvk(&GroupVersionKind::gvk("resources.gardener.cloud", "v1alpha1", "ManagedResource"));
        let resources: Api<DynamicObject> = Api::namespaced_with(client, "garden", &resource);
        resources.patch(RELEASE, &PatchParams::apply("testbed").force(), &Patch::Apply(managed)).await?;
        wait_for("the extension's chart to be applied", Duration::from_secs(60), || async {
            let managed = resources.get(RELEASE).await?;
            let conditions = managed.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let applied = conditions.iter().find(|c| c["type"] == "ResourcesApplied").context("no condition yet")?;
            anyhow::ensure!(applied["status"] == "True", "{}", applied["message"]);
            Ok(Some(()))
        })
        .await
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

    /// Starts the seed controller as its Deployment would: with the ServiceAccount of the chart and nothing more.
    ///
    /// # Errors
    /// When the ServiceAccount does not exist or the program cannot be started.
    pub async fn start_controller(
        &self,
        name: &str,
        program: &Path,
        args: &[String],
        env: &[(&str, &str)],
    ) -> anyhow::Result<Daemon> {
        self.start_controller_at(self.planes.seed.url(), name, program, args, env).await
    }

    /// As [`Self::start_controller`], with the seed's API at another place: a [`FaultProxy`]'s.
    ///
    /// # Errors
    /// When the ServiceAccount does not exist or the program cannot be started.
    pub async fn start_controller_at(
        &self,
        server: &str,
        name: &str,
        program: &Path,
        args: &[String],
        env: &[(&str, &str)],
    ) -> anyhow::Result<Daemon> {
        let account = "gardener-extension-cri-resmgr";
        let kubeconfig = self.planes.seed.service_account_kubeconfig(server, EXTENSION_NAMESPACE, account).await?;
        let file = self.dir.join(format!("{name}.kubeconfig"));
        std::fs::write(&file, kubeconfig)?;
        let mut env: Vec<(String, String)> = env.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        env.extend([
            ("KUBECONFIG".to_owned(), file.display().to_string()),
            ("EXTENSION_CONFIGMAP_NAMESPACE".to_owned(), EXTENSION_NAMESPACE.to_owned()),
            ("LEADER_ELECTION_NAMESPACE".to_owned(), EXTENSION_NAMESPACE.to_owned()),
        ]);
        let hub = self.network.hub();
        let launch = Launch { name, program, args: args.to_vec(), env, netns: Some(&hub), logs: &self.dir };
        Daemon::start(launch, &self.ledger)
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
        self.planes.seed.restart(&self.network.hub(), &self.dir, &self.ledger, pause).await
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
