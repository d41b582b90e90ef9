//! From an earlier revision to the one under test, while a shoot is switched on. The earlier one is built by `cargo xtask soak --only upgrade`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use e2e::{Artifacts, Release, TestEnvironment, Traffic, Workload};
use extension_config::names::node::{DAEMON_UNIT, KUBELET_UNIT};
use extension_config::names::{NODE_AGENT, SHOOT_NAMESPACE, SWITCH_LEASE, SWITCHES_ANNOTATION};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// Shorter than any slot is held: it is held until the daemon is proven.
const LOOK: Duration = Duration::from_millis(100);
const POLICY: &str = "policy:\n  Active: topology-aware\n  ReservedResources:\n    CPU: 500m\n";

/// The revision before, as the command has built it.
fn former() -> anyhow::Result<Release> {
    let get = |name: &str| {
        std::env::var(name).with_context(|| format!("{name} is not set: run `cargo xtask soak --only upgrade`"))
    };
    Ok(Release {
        checkout: PathBuf::from(get("E2E_FORMER_CHECKOUT")?),
        controller: PathBuf::from(get("E2E_FORMER_CONTROLLER")?),
        image_archive: PathBuf::from(get("E2E_FORMER_INSTALLATION_IMAGE")?),
        image_name: get("E2E_FORMER_INSTALLATION_IMAGE_NAME")?,
    })
}

/// Starts of kubelet and of the daemon, on each worker.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Starts {
    kubelet: Vec<usize>,
    daemon: Vec<usize>,
}

impl Starts {
    async fn count(environment: &TestEnvironment) -> anyhow::Result<Self> {
        Ok(Self { kubelet: environment.starts(KUBELET_UNIT).await?, daemon: environment.starts(DAEMON_UNIT).await? })
    }
}

/// Chart, controller and agents are replaced under running pods: kubelet and containers are not restarted, the daemon at most once, in a slot.
/// What the former release installed is then removed without a trace.
#[test]
#[ignore = "needs an earlier revision: `cargo xtask soak --only upgrade`"]
fn an_upgrade_restarts_the_daemon_at_most_once_and_nothing_else() {
    super::in_environment_of(
        "upgrade",
        3,
        |_| former(),
        async |environment, progress| {
            let current = Release::under_test(&super::root(), &Artifacts::from_env()?);
            let workload =
                Workload::deploy(environment.bed.shoot().admin().await?, environment.bed.workers().len()).await?;
            let traffic = Traffic::start(environment.bed.shoot().admin().await?, environment.bed.workers()).await?;
            let trees = environment.trees()?;
            environment.switch_on(None).await?;
            let (before, containers) = (Starts::count(environment).await?, workload.containers().await?);
            let lost = traffic.counts(environment.bed.workers()).await?.lost;
            progress.step(&format!("the earlier revision: {before:?}"));

            let slots = SlotHolders::watch(environment.bed.shoot().admin().await?);
            environment.upgrade(&current).await?;
            environment.switch_on(None).await?;
            ensure_agents(environment, &current).await?;
            let after = Starts::count(environment).await?;
            let holders = slots.seen();
            progress.step(&format!("the one under test: {after:?}; slots held meanwhile: {holders:?}"));
            ensure!(after.kubelet == before.kubelet, "kubelet was restarted: {before:?}, then {after:?}");
            for ((worker, before), after) in environment.bed.workers().iter().zip(&before.daemon).zip(&after.daemon) {
                let restarts = after - before;
                ensure!(restarts <= 1, "{}: the daemon was restarted {restarts} times", worker.name());
                let held = holders.iter().any(|holders| holders.contains(worker.name()));
                ensure!(restarts == 0 || held, "{}: the daemon was restarted without a slot", worker.name());
            }
            ensure!(
                holders.iter().all(|holders| holders.len() <= 1),
                "more than one of three nodes at a time: {holders:?}"
            );
            ensure!(workload.containers().await? == containers, "the workload's containers were restarted");
            let counts = traffic.counts(environment.bed.workers()).await?;
            progress.step(&format!("traffic between the workers meanwhile: {counts:?}"));
            ensure!(counts.lost == lost && counts.answered > 0, "{counts:?}, {lost} lost before");

            environment.switch_on(None).await?;
            ensure!(Starts::count(environment).await? == after, "a reconcile with nothing new restarted something");
            environment.switch_off().await?;
            environment.ensure_trees_equal(&trees)
        },
    );
}

/// An image override can pin the former agent: with this revision's controller, rights and admission policy it does its work, and hands over.
#[test]
#[ignore = "needs an earlier revision: `cargo xtask soak --only upgrade`"]
fn the_former_agent_works_under_the_controller_rights_and_policy_of_today() {
    super::in_environment_of("pinned-agent", 2, pinned, async |environment, progress| {
        let current = Release::under_test(&super::root(), &Artifacts::from_env()?);
        let pinned = pinned(&Artifacts::from_env()?)?;
        let workload =
            Workload::deploy(environment.bed.shoot().admin().await?, environment.bed.workers().len()).await?;
        let (trees, containers) = (environment.trees()?, workload.containers().await?);
        let begin = Starts::count(environment).await?;

        environment.switch_on(None).await?;
        ensure_agents(environment, &pinned).await?;
        let on = Starts::count(environment).await?;
        progress.step(&format!("the former agent has switched on: {on:?}"));
        ensure!(on.kubelet.iter().zip(&begin.kubelet).all(|(on, begin)| *on == begin + 1), "{begin:?}, then {on:?}");
        environment.switch_off().await?;
        environment.ensure_trees_equal(&trees).context("switched off by the former agent")?;

        let config = policy();
        environment.switch_on(Some(&config)).await?;
        ensure_agents(environment, &pinned).await?;
        let before = Starts::count(environment).await?;
        progress.step(&format!("on again, with a policy: {before:?}; this revision's agent takes over"));
        environment.upgrade(&current).await?;
        environment.switch_on(Some(&config)).await?;
        ensure_agents(environment, &current).await?;
        let after = Starts::count(environment).await?;
        progress.step(&format!("this revision's agent: {after:?}"));
        ensure!(after.kubelet == before.kubelet, "kubelet was restarted: {before:?}, then {after:?}");
        let at_most_once = after.daemon.iter().zip(&before.daemon).all(|(after, before)| after - before <= 1);
        ensure!(at_most_once, "the daemon was restarted more than once: {before:?}, then {after:?}");
        ensure!(workload.containers().await? == containers, "the workload's containers were restarted");
        environment.switch_off().await?;
        environment.ensure_trees_equal(&trees).context("switched off by this revision's agent")
    });
}

/// This revision's chart and controller, the former installation image.
fn pinned(artifacts: &Artifacts) -> anyhow::Result<Release> {
    let former = former()?;
    let current = Release::under_test(&super::root(), artifacts);
    Ok(Release { image_archive: former.image_archive, image_name: former.image_name, ..current })
}

fn policy() -> Value {
    json!({
        "apiVersion": "cri-resmgr.extensions.gardener.cloud/v1alpha1",
        "kind": "CriResourceManagerConfig",
        "configs": { "fallback": POLICY },
    })
}

/// Every worker has one agent, out of the release's image.
async fn ensure_agents(environment: &TestEnvironment, release: &Release) -> anyhow::Result<()> {
    let pods: Api<Pod> = Api::namespaced(environment.bed.shoot().admin().await?, SHOOT_NAMESPACE);
    let pods = pods.list(&ListParams::default().labels(&format!("app.kubernetes.io/name={NODE_AGENT}"))).await?;
    let agents = pods.items.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
    let images: Vec<&str> = agents
        .flat_map(|pod| pod.spec.iter().flat_map(|spec| &spec.containers))
        .filter_map(|container| container.image.as_deref())
        .collect();
    let all_of_it = images.iter().all(|image| *image == release.image_name);
    ensure!(
        images.len() == environment.bed.workers().len() && all_of_it,
        "agents run {images:?}, not {}",
        release.image_name
    );
    Ok(())
}

/// Who held switch slots, looked at again and again until it is dropped.
struct SlotHolders {
    seen: Arc<Mutex<BTreeSet<BTreeSet<String>>>>,
    task: JoinHandle<()>,
}

impl SlotHolders {
    fn watch(shoot: kube::Client) -> Self {
        let seen: Arc<Mutex<BTreeSet<BTreeSet<String>>>> = Arc::default();
        let all = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            let leases: Api<Lease> = Api::namespaced(shoot, SHOOT_NAMESPACE);
            loop {
                if let Ok(Some(lease)) = leases.get_opt(SWITCH_LEASE).await {
                    all.lock().unwrap_or_else(PoisonError::into_inner).insert(holders(&lease));
                }
                tokio::time::sleep(LOOK).await;
            }
        });
        Self { seen, task }
    }

    /// Each set of holders that was there at some time.
    fn seen(&self) -> BTreeSet<BTreeSet<String>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for SlotHolders {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn holders(lease: &Lease) -> BTreeSet<String> {
    let record = lease.metadata.annotations.as_ref().and_then(|all| all.get(SWITCHES_ANNOTATION));
    let record: Value = record.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let holders = record["holders"].as_array().into_iter().flatten();
    holders.filter_map(|holder| Some(holder["name"].as_str()?.to_owned())).collect()
}
