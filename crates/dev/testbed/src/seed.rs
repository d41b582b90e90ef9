//! A seed of the bed: what gardenlet, Helm and the Deployment of the controller do in it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::Api;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::json;

use crate::bed::Bed;
use crate::components::{self, HELM, RESOURCE_MANAGER};
use crate::control_plane::{Programs, Setup};
use crate::gardenlet::Gardenlet;
use crate::pki::Reach;
use crate::process::{Daemon, Spawn};
use crate::{ApiServer, command, wait_for};

/// Namespace of the extension's controller, named as gardenlet names it.
const EXTENSION_NAMESPACE: &str = "extension-cri-resmgr-extension-bed";
/// ControllerRegistration, and so the Helm release.
const RELEASE: &str = "cri-resmgr-extension";

/// One of the bed's seeds.
#[derive(Debug, Clone, Copy)]
pub struct Seed<'a> {
    pub(crate) bed: &'a Bed,
    pub(crate) server: &'a ApiServer,
}

/// A chart as it is installed in a seed.
#[derive(Debug, Clone, Copy)]
pub struct ChartInstallation<'a> {
    /// The chart.
    pub folder: &'a Path,
    /// Name of the ManagedResource.
    pub name: &'a str,
    /// Namespace of the release; it exists.
    pub namespace: &'a str,
    /// Text of a values file.
    pub values: &'a str,
}

/// Its seeds.
impl Bed {
    /// The seed that the shoot's control plane is in at first.
    #[must_use]
    pub fn main_seed(&self) -> Seed<'_> {
        Seed { bed: self, server: &self.planes.seed }
    }

    /// The seed of [`Self::start_other_seed`].
    ///
    /// # Errors
    /// When it was not started.
    pub fn other_seed(&self) -> anyhow::Result<Seed<'_>> {
        Ok(Seed { bed: self, server: self.other_seed.as_ref().context("the bed has one seed alone")? })
    }

    /// Brings up a second seed, with its own resource manager, and the shoot's namespace in it.
    ///
    /// # Errors
    /// When it does not get ready.
    pub async fn start_other_seed(&mut self) -> anyhow::Result<()> {
        let programs = Programs::obtain(self.options.generation, &self.options.root, &self.options.progress).await?;
        let setup = Setup {
            dir: &self.dir,
            network: &self.network,
            ledger: &self.ledger,
            authority: &self.authority,
            programs: &programs,
            shoot_namespace: &self.options.shoot_namespace,
        };
        self.other_seed = Some(setup.other_seed().await?);
        self.other_seed()?.prepare().await?;
        let program = RESOURCE_MANAGER.obtain(&self.options.root, &self.options.progress).await?;
        let seed = self.other_seed()?.server.admin_kubeconfig();
        let started = self.seed_resource_manager(&program, "grm-other-seed", seed, 9649)?;
        self.resource_managers.push(started);
        Ok(())
    }
}

impl Seed<'_> {
    /// The seed's API server.
    #[must_use]
    pub fn server(&self) -> &ApiServer {
        self.server
    }

    /// Folder with kubeconfigs and logs of the bed.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.bed.dir
    }

    pub(crate) async fn prepare(&self) -> anyhow::Result<()> {
        let client = self.server.admin().await?;
        let crds = [
            "example/seed-crds/10-crd-extensions.gardener.cloud_extensions.yaml",
            "example/seed-crds/10-crd-extensions.gardener.cloud_clusters.yaml",
            "example/resource-manager/10-crd-resources.gardener.cloud_managedresources.yaml",
            // A seed always has it, and the chart makes one of its objects.
            "example/seed-crds/10-crd-autoscaling.k8s.io_verticalpodautoscalers.yaml",
            // Of prometheus-operator, which is on every seed with monitoring; it does not run here.
            "example/seed-crds/10-crd-monitoring.coreos.com_prometheusrules.yaml",
            "example/seed-crds/10-crd-monitoring.coreos.com_scrapeconfigs.yaml",
        ];
        self.apply_crds(&crds).await?;
        let extension_labels = json!({
            "gardener.cloud/role": "extension",
            "controllerregistration.core.gardener.cloud/name": RELEASE,
        });
        let namespaces = [
            ("garden", json!({})),
            (EXTENSION_NAMESPACE, extension_labels),
            (&self.bed.options.shoot_namespace, json!({ "gardener.cloud/role": "shoot" })),
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
        let client = self.server.admin().await?;
        let module = components::gardener_module(&self.bed.options.root).await?;
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

    /// gardenlet's part for the bed's shoot.
    ///
    /// # Errors
    /// When the seed's kubeconfig cannot be read.
    pub async fn gardenlet(&self, extension_type: &str) -> anyhow::Result<Gardenlet> {
        let gardenlet = Gardenlet::new(self.server.admin().await?, &self.bed.options.shoot_namespace, extension_type);
        Ok(gardenlet.with_generic_kubeconfig(self.bed.planes.shoot.generic_kubeconfig()))
    }

    /// Installs the extension's chart in the seed as gardenlet does: rendered by Helm, applied by the seed's resource
    /// manager out of a ManagedResource in `garden`. `values` is the text of a values file.
    ///
    /// # Errors
    /// When Helm or the resource manager refuses it.
    pub async fn install_chart(&self, values: &str) -> anyhow::Result<()> {
        self.install_chart_of(&self.bed.options.root, values).await
    }

    /// As [`Self::install_chart`], with the chart of another checkout: an earlier revision's.
    ///
    /// # Errors
    /// When Helm or the resource manager refuses it.
    pub async fn install_chart_of(&self, checkout: &Path, values: &str) -> anyhow::Result<()> {
        let folder = checkout.join("charts/gardener-extension-cri-resmgr");
        self.install(&ChartInstallation { folder: &folder, name: RELEASE, namespace: EXTENSION_NAMESPACE, values })
            .await
    }

    /// Installs a chart: rendered by Helm, applied by the seed's resource manager out of a ManagedResource in `garden`.
    ///
    /// # Errors
    /// When Helm or the resource manager refuses it.
    pub async fn install(&self, chart: &ChartInstallation<'_>) -> anyhow::Result<()> {
        let helm = HELM.obtain(&self.bed.options.root, &self.bed.options.progress).await?;
        let file = self.bed.dir.join(format!("{}-values.yaml", chart.name));
        std::fs::write(&file, chart.values)?;
        let (folder, file) = (chart.folder.display().to_string(), file.display().to_string());
        let client = self.server.admin().await?;
        // gardenlet and gardener-operator render with the capabilities of the cluster.
        let version = client.apiserver_version().await?.git_version;
        let namespace = ["--namespace", chart.namespace, "--kube-version", &version];
        let args = [&["template", RELEASE, &folder, "--values", &file], namespace.as_slice()].concat();
        let rendered = command::run(&helm.display().to_string(), &args).await?;
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": { "name": chart.name, "namespace": "garden" },
            "stringData": { "chart.yaml": rendered },
        });
        let managed = json!({
            "apiVersion": "resources.gardener.cloud/v1alpha1", "kind": "ManagedResource",
            "metadata": { "name": chart.name, "namespace": "garden" },
            "spec": { "class": "seed", "secretRefs": [{ "name": chart.name }] },
        });
        let secrets: Api<Secret> = Api::namespaced(client.clone(), "garden");
        secrets.patch(chart.name, &PatchParams::apply("testbed").force(), &Patch::Apply(secret)).await?;
        let resource =
            ApiResource::from_gvk(&GroupVersionKind::gvk("resources.gardener.cloud", "v1alpha1", "ManagedResource"));
        let resources: Api<DynamicObject> = Api::namespaced_with(client, "garden", &resource);
        resources.patch(chart.name, &PatchParams::apply("testbed").force(), &Patch::Apply(managed)).await?;
        wait_for(&format!("the chart {} to be applied", chart.name), Duration::from_secs(60), || async {
            let managed = resources.get(chart.name).await?;
            let conditions = managed.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let applied = conditions.iter().find(|c| c["type"] == "ResourcesApplied").context("no condition yet")?;
            anyhow::ensure!(applied["status"] == "True", "{}", applied["message"]);
            Ok(Some(()))
        })
        .await
    }

    /// File with a kubeconfig for this seed of a ServiceAccount that exists. Its token is in a file of its own, as in the volumes that Gardener
    /// projects, and is another one after [`Self::renew_token`].
    ///
    /// # Errors
    /// When the ServiceAccount does not exist.
    pub async fn account_kubeconfig(&self, namespace: &str, account: &str) -> anyhow::Result<PathBuf> {
        let token = self.renew_token(namespace, account).await?;
        let server = Reach::at(self.server.url());
        let text = self.server.authority().kubeconfig_with(&server, &json!({ "tokenFile": token }));
        let file = self.bed.dir.join(format!("{account}.kubeconfig"));
        std::fs::write(&file, text)?;
        Ok(file)
    }

    /// Writes another token for those who have the kubeconfig.
    ///
    /// # Errors
    /// When the ServiceAccount does not exist.
    pub async fn renew_token(&self, namespace: &str, account: &str) -> anyhow::Result<PathBuf> {
        let file = self.bed.dir.join(format!("{account}.token"));
        std::fs::write(&file, self.server.service_account_token(namespace, account).await?)?;
        Ok(file)
    }

    /// Starts a program of ours where the API servers run, with nothing but these arguments.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_program(&self, name: &str, program: &Path, args: &[String]) -> anyhow::Result<Daemon> {
        let hub = self.bed.network.hub();
        let spawn =
            Spawn { name, program, args: args.to_vec(), env: Vec::new(), netns: Some(&hub), logs: &self.bed.dir };
        Daemon::start(spawn, &self.bed.ledger)
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
        self.start_controller_at(self.server.url(), name, program, args, env).await
    }

    /// As [`Self::start_controller`], with the seed's API at another place: a [`crate::FaultProxy`]'s.
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
        let kubeconfig = self.server.service_account_kubeconfig(server, EXTENSION_NAMESPACE, account).await?;
        let file = self.bed.dir.join(format!("{name}.kubeconfig"));
        std::fs::write(&file, kubeconfig)?;
        let mut env: Vec<(String, String)> = env.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        env.extend([
            ("KUBECONFIG".to_owned(), file.display().to_string()),
            ("EXTENSION_CONFIGMAP_NAMESPACE".to_owned(), EXTENSION_NAMESPACE.to_owned()),
            ("LEADER_ELECTION_NAMESPACE".to_owned(), EXTENSION_NAMESPACE.to_owned()),
        ]);
        let hub = self.bed.network.hub();
        let spawn = Spawn { name, program, args: args.to_vec(), env, netns: Some(&hub), logs: &self.bed.dir };
        Daemon::start(spawn, &self.bed.ledger)
    }
}
