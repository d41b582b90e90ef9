//! A bed with the extension in it: chart installed, controller running, agent's image on the workers.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use extension_config::names;
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};
use testbed::gardenlet::{Gardenlet, example_shoot};
use testbed::tree::{self, Snapshot};
use testbed::{Bed, Daemon, Generation, Options, Progress, Seed, wait_for};

use crate::{Artifacts, Endpoint, NodeFacts};

/// The seed namespace of the shoot.
const SHOOT_NAMESPACE: &str = "shoot--local--local";
/// gardenlet's own patience with an Extension.
const EXTENSION_TIMEOUT: Duration = Duration::from_secs(180);
/// How long a roll-out over a few workers may take: image start, switch and proof on each.
const ROLL_OUT: Duration = Duration::from_secs(240);
/// The Deployment's grace period.
const CONTROLLER_END: Duration = Duration::from_secs(30);

/// What to set up.
#[derive(Debug, Clone)]
pub struct TestEnvironmentOptions {
    /// Name of the bed.
    pub name: String,
    /// The repository.
    pub root: PathBuf,
    /// Number of workers.
    pub workers: u8,
    /// What the workers are.
    pub generation: Generation,
    /// What is under test.
    pub artifacts: Artifacts,
    /// Where steps are shown.
    pub progress: Progress,
}

/// A revision of the extension, as it gets to a seed.
#[derive(Debug, Clone)]
pub struct Release {
    /// Whose `charts` are installed.
    pub checkout: PathBuf,
    /// The seed controller.
    pub controller: PathBuf,
    /// Archive of the installation image.
    pub image_archive: PathBuf,
    /// Its name, `registry/name:tag`; another revision's has another tag.
    pub image_name: String,
}

/// The bed and the extension in it.
#[derive(Debug)]
pub struct TestEnvironment {
    /// The bed.
    pub bed: Bed,
    /// gardenlet's part.
    pub gardenlet: Gardenlet,
    /// The running controller.
    pub controller: Daemon,
    progress: Progress,
    shoot: Value,
    release: Release,
}

impl TestEnvironment {
    /// Brings everything up, with the extension not yet switched on in the shoot.
    ///
    /// # Errors
    /// When something does not come up.
    pub async fn up(options: TestEnvironmentOptions) -> anyhow::Result<Self> {
        let release = Release::under_test(&options.root, &options.artifacts);
        Self::up_with(options, &release).await
    }

    /// As [`Self::up`], with another release than the one under test: an earlier revision's.
    ///
    /// # Errors
    /// When something does not come up.
    pub async fn up_with(options: TestEnvironmentOptions, release: &Release) -> anyhow::Result<Self> {
        let (root, progress) = (options.root, options.progress);
        let bed = Bed::up(Options {
            name: options.name,
            root: root.clone(),
            shoot_namespace: SHOOT_NAMESPACE.to_owned(),
            workers: options.workers,
            generation: options.generation,
            progress: progress.clone(),
        })
        .await?;
        let controller = release.install(&bed, &progress).await?;
        let gardenlet = bed.main_seed().gardenlet(names::EXTENSION_TYPE).await?;
        let shoot = example_shoot(&root, SHOOT_NAMESPACE)?;
        Ok(Self { bed, gardenlet, controller, progress, shoot, release: release.clone() })
    }

    /// Replaces the release that is installed by another one, as a landscape does: chart first, then the controller.
    ///
    /// # Errors
    /// When the chart is refused or the former controller does not end.
    pub async fn upgrade(&mut self, release: &Release) -> anyhow::Result<()> {
        self.controller.end(CONTROLLER_END).await?;
        self.controller = release.install(&self.bed, &self.progress).await?;
        self.release = release.clone();
        Ok(())
    }

    /// Boots new machines after [`Bed::hibernate`] and [`Bed::wake`].
    ///
    /// # Errors
    /// When they do not get ready.
    pub async fn replace_workers(&mut self) -> anyhow::Result<()> {
        self.bed.replace_workers().await?;
        self.release.load(&self.bed, &self.progress).await
    }

    /// The Shoot as it would stand in the Cluster with the extension switched on or off.
    #[must_use]
    pub fn shoot(&self, provider_config: Option<&Value>, disabled: bool) -> Value {
        let mut shoot = self.shoot.clone();
        shoot["spec"]["extensions"] = json!([{
            "type": names::EXTENSION_TYPE, "disabled": disabled, "providerConfig": provider_config,
        }]);
        shoot
    }

    /// Switches the extension on (or reconciles it with another configuration) as gardenlet does, and waits until the
    /// Extension is ready and every worker runs through the proxy. Gives the time it took.
    ///
    /// # Errors
    /// When that does not happen in time.
    pub async fn switch_on(&self, provider_config: Option<&Value>) -> anyhow::Result<Duration> {
        let start = Instant::now();
        self.reconcile(provider_config).await?;
        self.progress.step(&format!("the Extension is ready after {:.1?}; waiting for the workers", start.elapsed()));
        for worker in self.bed.workers() {
            wait_for(&format!("{} to run through the proxy", worker.name()), ROLL_OUT, || async {
                let facts = NodeFacts::observe(worker).await?;
                facts.ensure_on_proxy(worker).await.map(Some)
            })
            .await?;
            self.bed.wait_node_ready(worker.name(), ROLL_OUT).await?;
        }
        self.wait_healthy().await?;
        Ok(start.elapsed())
    }

    /// Reconciles the Extension with this configuration as gardenlet does, and waits until it is ready; its nodes may not be so far.
    ///
    /// # Errors
    /// When that does not happen in time.
    pub async fn reconcile(&self, provider_config: Option<&Value>) -> anyhow::Result<()> {
        self.gardenlet.sync_cluster(&self.shoot(provider_config, false)).await?;
        let timestamp = self.gardenlet.deploy_extension("reconcile", provider_config).await?;
        self.gardenlet.wait_ready(&timestamp, EXTENSION_TIMEOUT).await?;
        Ok(())
    }

    /// Waits until the shoot's ManagedResource is applied, healthy and rolled out: every agent says that its node is as
    /// desired.
    ///
    /// # Errors
    /// When it is not in time.
    pub async fn wait_healthy(&self) -> anyhow::Result<()> {
        let resources = self.gardenlet.managed_resources();
        wait_for("the ManagedResource to be healthy", ROLL_OUT, || async {
            let resource = resources.get(names::SHOOT_MANAGED_RESOURCE).await?;
            let status = &resource.data["status"];
            anyhow::ensure!(
                status["observedGeneration"].as_i64() == resource.metadata.generation,
                "generation not observed"
            );
            for (kind, wanted) in
                [("ResourcesApplied", "True"), ("ResourcesHealthy", "True"), ("ResourcesProgressing", "False")]
            {
                let all = status["conditions"].as_array().context("no conditions yet")?;
                let found =
                    all.iter().find(|condition| condition["type"] == kind).with_context(|| format!("no {kind} yet"))?;
                anyhow::ensure!(found["status"] == wanted, "{kind}: {}", found["message"]);
            }
            Ok(Some(()))
        })
        .await
    }

    /// Switches the extension off as gardenlet does, waits until the Extension is gone, and checks that every worker is back
    /// on containerd. Gives the time it took.
    ///
    /// # Errors
    /// When that is not so.
    pub async fn switch_off(&self) -> anyhow::Result<Duration> {
        self.switch_off_with(&self.shoot(None, true)).await
    }

    /// The same with this Shoot in the Cluster.
    ///
    /// # Errors
    /// When that is not so.
    pub async fn switch_off_with(&self, shoot: &Value) -> anyhow::Result<Duration> {
        let start = Instant::now();
        self.gardenlet.sync_cluster(shoot).await?;
        self.gardenlet.delete_extension().await?;
        self.gardenlet.wait_deleted(EXTENSION_TIMEOUT).await?;
        for worker in self.bed.workers() {
            NodeFacts::observe(worker).await?.ensure_on_containerd().with_context(|| worker.name().to_owned())?;
            self.bed.wait_node_ready(worker.name(), ROLL_OUT).await?;
        }
        let leases: Api<Lease> = Api::namespaced(self.bed.shoot().admin().await?, names::SHOOT_NAMESPACE);
        let names = leases
            .list_metadata(&ListParams::default())
            .await?
            .items
            .into_iter()
            .filter_map(|lease| lease.metadata.name);
        let left: Vec<String> = names.filter(|name| name.starts_with("cri-resmgr")).collect();
        anyhow::ensure!(left.is_empty(), "Leases are left in the shoot: {left:?}");
        Ok(start.elapsed())
    }

    /// The file trees of all workers, by name.
    ///
    /// # Errors
    /// When a machine is off.
    pub fn trees(&self) -> anyhow::Result<BTreeMap<String, Snapshot>> {
        self.bed.workers().iter().map(|worker| Ok((worker.name().to_owned(), worker.tree()?))).collect()
    }

    /// The workers' trees must equal those `before`.
    ///
    /// # Errors
    /// The paths that differ.
    pub fn ensure_trees_equal(&self, before: &BTreeMap<String, Snapshot>) -> anyhow::Result<()> {
        for (name, tree) in self.trees()? {
            let difference = tree::diff(&before[&name], &tree);
            anyhow::ensure!(difference.is_empty(), "{name} is not as before:\n{}", difference.join("\n"));
        }
        Ok(())
    }

    /// How often systemd has started the unit on each worker since it booted, in their order.
    ///
    /// # Errors
    /// When a worker does not answer.
    pub async fn starts(&self, unit: &str) -> anyhow::Result<Vec<usize>> {
        // systemd's own line, whatever description the unit has.
        let count = format!(
            "journalctl --sync; journalctl --quiet --no-pager -o cat _PID=1 UNIT={unit} JOB_RESULT=done | grep -c '^Started '; true"
        );
        let mut starts = Vec::new();
        for worker in self.bed.workers() {
            starts.push(worker.shell(&count).await?.trim().parse()?);
        }
        Ok(starts)
    }

    /// Facts about all workers, in their order.
    ///
    /// # Errors
    /// When a worker does not answer.
    pub async fn facts(&self) -> anyhow::Result<Vec<NodeFacts>> {
        let mut all = Vec::new();
        for worker in self.bed.workers() {
            all.push(NodeFacts::observe(worker).await?);
        }
        Ok(all)
    }

    /// Waits until every worker's kubelet is on `endpoint`.
    ///
    /// # Errors
    /// When that is not so within `limit`.
    pub async fn wait_endpoint(&self, endpoint: Endpoint, limit: Duration) -> anyhow::Result<()> {
        for worker in self.bed.workers() {
            wait_for(&format!("kubelet on {} to be on {endpoint:?}", worker.name()), limit, || async {
                Ok((NodeFacts::observe(worker).await?.endpoint == endpoint).then_some(()))
            })
            .await?;
        }
        Ok(())
    }

    /// What explains a failure: ends of the logs of the controller, the resource managers and the agents, and the state of
    /// the units on the workers.
    pub async fn explain(&self) -> String {
        let mut parts = vec![("seed controller".to_owned(), self.controller.log_tail(15))];
        for server in self.bed.servers().filter(|server| server.log().to_string_lossy().contains("grm")) {
            let log = server.log_tail(400);
            let errors: Vec<&str> = log.lines().filter(|line| line.contains("\"error\"")).collect();
            parts.push((server.log().display().to_string(), errors[errors.len().saturating_sub(5)..].join("\n")));
        }
        for worker in self.bed.workers() {
            let units = ["systemctl", "--no-pager", "--lines=10", "status", "kubelet", "cri-resource-manager"];
            let agent = ["sh", "-c", "tail -n 20 /var/log/pods/kube-system_cri-resmgr-node-agent-*/*/*.log"];
            // What a program says last before systemd tells that it has ended, and what systemd says of the units meanwhile.
            let ends = ["sh", "-c", ENDS];
            let all = [("units", units.as_slice()), ("ends and starts", ends.as_slice()), ("agent", agent.as_slice())];
            for (what, words) in all {
                let said = worker.exec(words).await.map_or_else(|error| format!("{error:#}"), |output| output.stdout);
                parts.push((format!("{what} of {}", worker.name()), said));
            }
        }
        parts.into_iter().map(|(what, said)| format!("--- {what}\n{said}\n")).collect::<Vec<_>>().concat()
    }
}

/// Starts and ends of the two units, each end with the lines before it.
const ENDS: &str = "journalctl --no-pager --output=short-precise --unit=kubelet --unit=cri-resource-manager \
    | grep --before-context=4 --extended-regexp 'systemd\\[1\\]: ' | tail --lines=120 | cut --characters=1-400";

impl Release {
    /// The one under test.
    #[must_use]
    pub fn under_test(root: &Path, artifacts: &Artifacts) -> Self {
        Self {
            checkout: root.to_owned(),
            controller: artifacts.controller.clone(),
            image_archive: artifacts.image_archive.clone(),
            image_name: artifacts.image_name.clone(),
        }
    }

    /// Loads the image, installs the chart and starts the controller.
    async fn install(&self, bed: &Bed, progress: &Progress) -> anyhow::Result<Daemon> {
        self.load(bed, progress).await?;
        progress.step("installing the chart in the seed with Helm and the seed's resource manager");
        bed.main_seed().install_chart_of(&self.checkout, "{}\n").await?;
        progress.step("starting the seed controller with the chart's ServiceAccount");
        self.start_controller(bed.main_seed(), "seed-controller", &[]).await
    }

    /// Starts the controller in a seed that has the chart.
    ///
    /// # Errors
    /// When the ServiceAccount is not there, or the program cannot be started.
    pub async fn start_controller(&self, seed: Seed<'_>, name: &str, args: &[String]) -> anyhow::Result<Daemon> {
        let images = image_vector(&self.image_name)?;
        let vector = seed.dir().join(format!("{name}-images-overwrite.yaml"));
        std::fs::write(&vector, format!("{images:#}\n"))?;
        let vector = vector.display().to_string();
        seed.start_controller(name, &self.controller, args, &[("IMAGEVECTOR_OVERWRITE", &vector)]).await
    }

    async fn load(&self, bed: &Bed, progress: &Progress) -> anyhow::Result<()> {
        progress.step("loading the agent's image into the workers' containerd");
        for worker in bed.workers() {
            worker.load_image(&self.image_archive).await?;
        }
        Ok(())
    }
}

/// An image vector override that names the agent's image as it was loaded into the workers.
fn image_vector(image: &str) -> anyhow::Result<Value> {
    let (repository, tag) = image.rsplit_once(':').context("the image has no tag")?;
    Ok(json!({ "images": [{ "name": names::INSTALLATION_IMAGE, "repository": repository, "tag": tag }] }))
}
