//! Under the memory limits of the charts: what the owner of one shoot, or whoever may write ConfigMaps in it, makes as large and as costly as it
//! can be, ends neither the controller nor an agent, and others are served meanwhile (W2, W12 and W16 in `docs/security.md`).
//!
//! Both are the optimized programs that ship: what others take some thirty times as long for says nothing. `cargo xtask test --real` has built them.

#[path = "../../../extension-config/hostile/texts.rs"]
mod texts;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use extension_config::{limits, names};
use fake_kube_api::Writer;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{Patch, PatchParams};
use sandbox::{Binaries, Sandbox, WORKER_POOL, peak_memory};
use serde_json::{Value, json};
use testbed::wait_for;

const GROUP: &str = "extensions.gardener.cloud";
/// How long the hostile shoots may take together.
const ALL_TOLD: Duration = Duration::from_secs(120);
/// How long another shoot may wait meanwhile. Alone it takes some 0.2 s; here it waits for hostile ones before it. One that they end never serves it.
const SERVED: Duration = Duration::from_secs(30);
/// Bytes of the largest object that etcd takes, and of the largest ConfigMap that the API server does.
const OBJECT: usize = 1_500_000;
const CONFIG_MAP: usize = 1_000_000;
/// Bytes of a daemon's cache that pods' variables have made long, a little less than is read.
const CACHE: usize = 60 << 20;
/// So many of the hostile texts, the first, are those that were shown to stop a controller.
const OF_THE_REVIEW: usize = 8;
/// ConfigMaps with the agent's label that no node asks for.
const OTHERS: usize = 100;

/// A program under a limit on its memory, started by way of a shell that notes each start.
///
/// The limit is the kernel's on private writable memory (`RLIMIT_DATA`): stricter than a container's, which counts what is resident, and
/// without a control group anybody may set it.
struct Limited {
    dir: tempfile::TempDir,
    script: PathBuf,
}

impl Limited {
    fn new(program: &Path) -> anyhow::Result<Self> {
        let dir = tempfile::tempdir()?;
        let (starts, limit) = (dir.path().join("starts"), dir.path().join("limit"));
        let (starts, limit, program) = (starts.display(), limit.display(), program.display());
        let text = format!(
            "#!/bin/sh\nuntil [ -s '{limit}' ]; do /bin/sleep 0.1; done\nread -r kibibytes < '{limit}'\n\
             ulimit -d \"$kibibytes\" || exit 1\necho $$ >> '{starts}'\nexec '{program}' \"$@\"\n"
        );
        let script = dir.path().join("program");
        std::fs::write(&script, text)?;
        std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
        Ok(Self { dir, script })
    }

    /// No start comes before this.
    fn limit(&self, bytes: u64) -> anyhow::Result<()> {
        Ok(std::fs::write(self.dir.path().join("limit"), format!("{}\n", bytes / 1024))?)
    }

    /// The number of the last of `wanted` processes that there have been, under this limit.
    fn last_process(&self, bytes: u64, wanted: usize) -> anyhow::Result<String> {
        let starts = std::fs::read_to_string(self.dir.path().join("starts")).context("it was never started")?;
        let numbers: Vec<&str> = starts.lines().collect();
        anyhow::ensure!(numbers.len() == wanted, "it was started {} times", numbers.len());
        let number = numbers.last().context("it was never started")?;
        let limits = std::fs::read_to_string(format!("/proc/{number}/limits")).context("its process is gone")?;
        let line = limits.lines().find(|line| line.starts_with("Max data size")).unwrap_or_default();
        anyhow::ensure!(
            line.split_whitespace().nth(3) == Some(&bytes.to_string()),
            "it runs without the limit: {line}"
        );
        Ok((*number).to_owned())
    }

    /// The most memory that the last of so many processes has had: none was ended but by us.
    fn peak(&self, limit: u64, processes: usize) -> anyhow::Result<u64> {
        let peak = peak_memory(&self.last_process(limit, processes)?)?;
        anyhow::ensure!(peak < limit, "{} KiB at its peak, of {} KiB", peak / 1024, limit / 1024);
        Ok(peak)
    }
}

/// The bytes of a quantity such as `256Mi`, the only form that our charts have.
fn mebibytes(quantity: &Value) -> anyhow::Result<u64> {
    let text = quantity.as_str().and_then(|text| text.strip_suffix("Mi"));
    let number: u64 = text.with_context(|| format!("{quantity} are no mebibytes"))?.parse()?;
    Ok(number << 20)
}

/// The programs that ship, as the calling command has built them.
fn optimized() -> anyhow::Result<Binaries> {
    let get = |name: &str| {
        let path = std::env::var(name).map(PathBuf::from);
        path.with_context(|| format!("{name} is not set: run the tests with `cargo xtask test --real`"))
    };
    Ok(Binaries { controller: get("E2E_CONTROLLER")?, agent: get("E2E_AGENT")?, gate: get("E2E_GATE")? })
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..")
}

/// The controller's limit, as its chart has it.
fn limit_of_the_controller() -> anyhow::Result<u64> {
    let values = repository().join("charts/gardener-extension-cri-resmgr/values.yaml");
    let values: Value = serde_saphyr::from_str(&std::fs::read_to_string(values)?)?;
    mebibytes(&values["resources"]["limits"]["memory"])
}

/// The agent's limit, as the controller has rendered its DaemonSet.
async fn limit_of_the_agent(sandbox: &Sandbox) -> anyhow::Result<u64> {
    wait_for("the DaemonSet", SERVED, || async {
        let set = sandbox.shoot.store().get("apps", "daemonsets", names::SHOOT_NAMESPACE, names::NODE_AGENT);
        let limit =
            |set: Value| mebibytes(&set["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"]);
        set.map(limit).transpose()
    })
    .await
}

/// A shoot that its owner has configured so; the same stands in its Cluster, as gardenlet writes it.
fn add_shoot(sandbox: &Sandbox, name: &str, own: &Value) -> anyhow::Result<String> {
    let (namespace, writer) = (format!("shoot--hostile--{name}"), Writer::named("gardenlet"));
    let store = sandbox.seed.store();
    let object = json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": { "name": namespace, "labels": { "gardener.cloud/role": "shoot" } },
    });
    store.create("", "namespaces", "", object, &writer)?;
    let shoot = json!({
        "apiVersion": "core.gardener.cloud/v1beta1", "kind": "Shoot", "metadata": { "name": name },
        "spec": { "extensions": [{ "type": names::EXTENSION_TYPE, "providerConfig": own }] },
        "status": { "lastOperation": { "type": "Reconcile", "state": "Succeeded", "progress": 100 } },
    });
    let cluster = json!({
        "apiVersion": "extensions.gardener.cloud/v1alpha1", "kind": "Cluster", "metadata": { "name": namespace },
        "spec": { "shoot": shoot },
    });
    store.create(GROUP, "clusters", "", cluster, &writer)?;
    let annotations = json!({ "gardener.cloud/operation": "reconcile", "gardener.cloud/timestamp": "1" });
    let extension = json!({
        "apiVersion": "extensions.gardener.cloud/v1alpha1", "kind": "Extension",
        "metadata": { "name": names::EXTENSION_TYPE, "namespace": namespace, "annotations": annotations },
        "spec": { "type": names::EXTENSION_TYPE, "providerConfig": own },
    });
    store.create(GROUP, "extensions", &namespace, extension, &writer)?;
    Ok(namespace)
}

/// The texts of the review in the length that caused damage, and in the longest that is read; and what is no configuration, as large as an object
/// can be, twice.
fn provider_configs() -> Vec<Value> {
    let of_text = |text: String| {
        json!({
            "apiVersion": "cri-resmgr.extensions.gardener.cloud/v1alpha1", "kind": "CriResourceManagerConfig",
            "configs": { "fallback": text },
        })
    };
    let texts = texts::CONFIGURATIONS
        .iter()
        .take(OF_THE_REVIEW)
        .flat_map(|kind| [kind.harmful, limits::CONFIGURATION_BYTES * 9 / 10].map(|bytes| of_text((kind.text)(bytes))));
    let others =
        texts::PROVIDER_CONFIGS.iter().take(1).flat_map(|(_, make)| [make(OBJECT * 9 / 10), make(OBJECT * 9 / 10)]);
    texts.chain(others).collect()
}

async fn attack_the_controller(sandbox: &Sandbox) -> anyhow::Result<(usize, Duration)> {
    sandbox.switch_on(None).await?;
    let mut hostile = Vec::new();
    for (number, own) in provider_configs().iter().enumerate() {
        hostile.push(add_shoot(sandbox, &number.to_string(), own)?);
    }
    // What gardener-resource-manager says of a shoot's objects is the owner's as well.
    let resource = json!({
        "apiVersion": "resources.gardener.cloud/v1alpha1", "kind": "ManagedResource",
        "metadata": { "name": names::SHOOT_MANAGED_RESOURCE, "namespace": hostile[0] },
        "spec": { "secretRefs": [] },
        "status": { "conditions": [{
            "type": "ResourcesApplied", "status": "False", "reason": "ApplyFailed", "message": "x".repeat(OBJECT * 9 / 10),
            "lastTransitionTime": "2026-01-01T00:00:00Z", "lastUpdateTime": "2026-01-01T00:00:00Z",
        }] },
    });
    let writer = Writer::named("gardener-resource-manager");
    sandbox.seed.store().create("resources.gardener.cloud", "managedresources", &hostile[0], resource, &writer)?;
    let (start, mut longest, shoots) = (Instant::now(), Duration::ZERO, hostile.len());
    let is_reported = |namespace: &String| {
        let extension = sandbox.seed.store().get(GROUP, "extensions", namespace, names::EXTENSION_TYPE);
        let state = extension.map(|found| found["status"]["lastOperation"]["state"].clone());
        state.is_some_and(|state| state == "Error" || state == "Failed" || state == "Succeeded")
    };
    // Another shoot is served again and again until the last of them has been answered, and once more.
    loop {
        let before = Instant::now();
        hostile.retain(|namespace| !is_reported(namespace));
        sandbox.switch_on(None).await?;
        longest = longest.max(before.elapsed());
        anyhow::ensure!(longest < SERVED, "another shoot was served after {longest:.1?} only");
        if hostile.is_empty() {
            return Ok((shoots, longest));
        }
        anyhow::ensure!(start.elapsed() < ALL_TOLD, "{} of {shoots} have no answer: {hostile:?}", hostile.len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "asks for optimized programs: `cargo xtask test --real`"]
async fn hostile_shoots_leave_the_controller_below_its_memory_limit() -> anyhow::Result<()> {
    let (root, limit) = (repository(), limit_of_the_controller()?);
    let mut binaries = optimized()?;
    let controller = Limited::new(&binaries.controller)?;
    controller.limit(limit)?;
    binaries.controller.clone_from(&controller.script);
    let sandbox = Sandbox::up(&root, &binaries, &[]).await?;
    let outcome = async {
        let (shoots, longest) = attack_the_controller(&sandbox).await?;
        Ok((shoots, longest, controller.peak(limit, 1)?))
    };
    let outcome = outcome.await.map_err(|error: anyhow::Error| error.context(sandbox.explain()));
    sandbox.down().await?;
    let (shoots, longest, peak) = outcome?;
    println!(
        "{shoots} hostile shoots: {} of {} KiB at the controller's peak, another shoot served within {longest:.1?}",
        peak / 1024,
        limit / 1024
    );
    Ok(())
}

/// A ConfigMap with the agent's label.
async fn write_map(maps: &Api<ConfigMap>, name: &str, text: &str) -> anyhow::Result<()> {
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": format!("{}{name}", names::DYNAMIC_CONFIG_MAP_PREFIX), "labels": { (names::NODE_AGENT_LABEL): names::NODE_AGENT } },
        "data": { "policy": text },
    });
    let name = format!("{}{name}", names::DYNAMIC_CONFIG_MAP_PREFIX);
    maps.patch(&name, &PatchParams::apply("somebody").force(), &Patch::Apply(map)).await?;
    Ok(())
}

/// What the agent of the node says.
fn reported(sandbox: &Sandbox) -> anyhow::Result<String> {
    let lease = extension_config::node_report::lease_name(sandbox.nodes()[0].name());
    let found = sandbox.shoot.store().get("coordination.k8s.io", "leases", names::SHOOT_NAMESPACE, &lease);
    Ok(found.context("no report")?["metadata"]["annotations"][names::NODE_REPORT_ANNOTATION].to_string())
}

async fn until_reported(sandbox: &Sandbox, what: &str, is: impl Fn(&str) -> bool) -> anyhow::Result<()> {
    wait_for(what, ALL_TOLD, || async {
        let reported = reported(sandbox)?;
        if is(&reported) { Ok(Some(())) } else { anyhow::bail!("{reported}") }
    })
    .await
}

async fn attack_the_agent(sandbox: &Sandbox) -> anyhow::Result<usize> {
    sandbox.wait_installed(&sandbox.nodes()[0]).await?;
    let maps: Api<ConfigMap> = Api::namespaced(sandbox.shoot.client()?, names::SHOOT_NAMESPACE);
    let filler = format!("# {}\n", "x".repeat(150_000));
    for number in 0..OTHERS {
        write_map(&maps, &format!("other{number}"), &filler).await?;
    }
    let mut tried = OTHERS;
    // In the length that caused damage none is read, as a report of the first of them shows; of those that are read each is reported.
    let harmful = texts::CONFIGURATIONS.iter().map(|kind| (kind.text)(kind.harmful.min(CONFIG_MAP)));
    for text in harmful {
        write_map(&maps, "default", &text).await?;
        tried += 1;
    }
    until_reported(sandbox, "what is too long to be refused", |reported| reported.contains("bytes (at most")).await?;
    for kind in &texts::CONFIGURATIONS {
        let before = reported(sandbox)?;
        write_map(&maps, "default", &(kind.text)(limits::CONFIGURATION_BYTES * 9 / 10)).await?;
        until_reported(sandbox, kind.name, |reported| reported != before).await?;
        tried += 1;
    }
    // The agent goes on as before.
    write_map(&maps, &format!("node.{}", sandbox.nodes()[0].name()), "Active: none\n").await?;
    until_reported(sandbox, "the node's own configuration to be accepted", |reported| reported.contains("node."))
        .await?;
    sandbox.wait_installed(&sandbox.nodes()[0]).await?;
    Ok(tried)
}

/// Tenants' variables stand in the daemon's cache, which an agent reads after each start of the daemon (W16).
async fn attack_by_the_cache(sandbox: &Sandbox) -> anyhow::Result<()> {
    let cache = sandbox.nodes()[0].root().join("var/lib/cri-resmgr/cache");
    let variables = format!("\"{}\",", "x".repeat(1 << 20)).repeat(CACHE >> 20);
    let text = format!("{{\"Containers\":[{variables}0],\"Cfg\":{{\"Data\":{{\"policy\":\"Active: none\"}}}}}}");
    std::fs::write(&cache, text)?;
    let before = reported(sandbox)?;
    // Another input of the same policy: the daemon starts anew, and keeps its cache.
    let fallback = json!({ "policy": { "Active": "none" }, "logger": { "Debug": "policy" } });
    let config = json!({
        "apiVersion": "cri-resmgr.extensions.gardener.cloud/v1alpha1", "kind": "CriResourceManagerConfig",
        "configs": { "fallback": fallback },
    });
    sandbox.switch_on(Some(&config)).await?;
    until_reported(sandbox, "the daemon's restart to be over", |reported| {
        reported != before && reported.contains("node.")
    })
    .await?;
    sandbox.wait_installed(&sandbox.nodes()[0]).await?;
    anyhow::ensure!(std::fs::metadata(&cache)?.len() > CACHE as u64, "the cache was not kept");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "asks for optimized programs: `cargo xtask test --real`"]
async fn hostile_config_maps_leave_an_agent_below_its_memory_limit() -> anyhow::Result<()> {
    let root = repository();
    let mut binaries = optimized()?;
    let agent = Limited::new(&binaries.agent)?;
    binaries.agent.clone_from(&agent.script);
    let sandbox = Sandbox::up(&root, &binaries, &[WORKER_POOL]).await?;
    let outcome = async {
        sandbox.switch_on(None).await?;
        let limit = limit_of_the_agent(&sandbox).await?;
        agent.limit(limit)?;
        let tried = attack_the_agent(&sandbox).await?;
        let peak = agent.peak(limit, 1)?;
        // Another desired state is another pod.
        attack_by_the_cache(&sandbox).await?;
        Ok((tried, limit, peak, agent.peak(limit, 2)?))
    };
    let outcome = outcome.await.map_err(|error: anyhow::Error| error.context(sandbox.explain()));
    sandbox.down().await?;
    let (tried, limit, peak, with_cache) = outcome?;
    println!(
        "{tried} hostile ConfigMaps: {} of {} KiB at the agent's peak; a daemon's cache of {} MiB: {} KiB",
        peak / 1024,
        limit / 1024,
        CACHE >> 20,
        with_cache / 1024
    );
    Ok(())
}
