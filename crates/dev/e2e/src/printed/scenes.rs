//! The scenes on a bed, and the commands in them. What is configured in a scene is what the page about it tells its readers to configure.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use extension_config::names;
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use testbed::components::KUBECTL;
use testbed::{BUSYBOX_IMAGE, Progress, patient, wait_for};

use super::{Asked, Location, Page, Printed, Scene, blocks, blocks::is_other};
use crate::{NodeFacts, TestEnvironment};

/// Has the configuration and the pod of the first scene.
const PLACEMENT: &str = "docs/placement.md";
/// Has the configuration of the second one.
const TROUBLESHOOTING: &str = "docs/troubleshooting.md";
/// Is applied in the first scene, and names its pod.
const ADJUSTMENT: &str = "kubectl apply -f examples/adjustment.yaml";
/// Until a scene is as it shall be: another start of the daemon, its proof, and the way back.
const CHANGE: Duration = Duration::from_secs(240);
/// Until a command prints what its page shows: reports, Events and kubelet's words come moments after what they tell.
const SETTLED: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(500);

/// Plays all scenes in an environment with one worker, and gives the pages' commands in them; which is left in the last one. `xtask` is the program behind
/// `cargo xtask`, which has the plugin of kubectl.
///
/// # Errors
/// When a scene does not come about, or a command cannot be started.
pub async fn print(
    environment: &TestEnvironment,
    root: &Path,
    pages: &[Page],
    xtask: &Path,
    progress: &Progress,
) -> anyhow::Result<Printed> {
    let programs = tempfile::tempdir()?;
    let kubectl = KUBECTL.obtain(root, progress).await?;
    std::os::unix::fs::symlink(&kubectl, programs.path().join("kubectl"))?;
    let plugin = programs.path().join("kubectl-resmgr");
    std::fs::write(&plugin, format!("#!/bin/sh\nexec '{}' resmgr \"$@\"\n", xtask.display()))?;
    std::fs::set_permissions(&plugin, std::fs::Permissions::from_mode(0o755))?;

    let mut shown = Vec::new();
    for page in pages {
        shown.extend(blocks(&page.text)?.into_iter().flat_map(|block| block.shown));
    }
    let placed = yaml_of(root, PLACEMENT, "providerConfig:")?;
    let failing = yaml_of(root, TROUBLESHOOTING, "providerConfig:")?;
    let mut printed = Printed::new();
    // So that reports tell of the same history, whatever was before in this environment.
    environment.switch_on(None).await?;
    for scene in Scene::ALL {
        progress.step(&format!("a bed for what pages show: {scene:?}"));
        match scene {
            Scene::AsDesired => {
                configure(environment, &placed).await?;
                run_the_pod(environment, &yaml_of(root, PLACEMENT, "kind: Pod")?).await?;
                let asked = Asked { scene, place: Location::Shoot, command: ADJUSTMENT.to_owned() };
                let reported = give(environment, root, programs.path(), &asked).await?;
                ensure!(reported.starts_with("adjustment.criresmgr.intel.com/quiet-db "), "{ADJUSTMENT}: {reported}");
            }
            Scene::RolledBack => {
                configure(environment, &failing).await?;
                wait_for("the node to be rolled back", CHANGE, || async {
                    let report = report(environment).await?;
                    ensure!(report["stage"] == "RolledBack", "{report}");
                    Ok(Some(()))
                })
                .await?;
            }
        }
        for (asked, page) in shown.iter().filter(|(asked, _)| asked.scene == scene) {
            if !printed.contains_key(asked) {
                let text = settled(environment, root, programs.path(), asked, page).await?;
                progress.step(&format!("$ {}\n{text}", asked.command));
                printed.insert(asked.clone(), text);
            }
        }
    }
    Ok(printed)
}

/// The first block of YAML in a page that has this text.
fn yaml_of(root: &Path, page: &str, with: &str) -> anyhow::Result<Value> {
    let text = std::fs::read_to_string(root.join(page)).with_context(|| page.to_owned())?;
    let found =
        text.split("```yaml\n").skip(1).filter_map(|rest| rest.split_once("```")).find(|(yaml, _)| yaml.contains(with));
    let (yaml, _) = found.with_context(|| format!("{page} has no block of YAML with {with}"))?;
    serde_saphyr::from_str(yaml).with_context(|| format!("{page}: the block with {with}"))
}

/// The Shoot with the page's part of its specification, and a worker pool that is left alone; reconciled, and the daemon as desired where it can be.
async fn configure(environment: &TestEnvironment, of_page: &Value) -> anyhow::Result<()> {
    let extension = &of_page["spec"]["extensions"][0];
    ensure!(extension["type"] == names::EXTENSION_TYPE, "{of_page}");
    let config = &extension["providerConfig"];
    let mut shoot = environment.shoot(Some(config), false);
    let pool = shoot["spec"]["provider"]["workers"][0].clone();
    let mut alone = pool.clone();
    alone["name"] = json!("pinned");
    alone["kubernetes"] = json!({ "kubelet": { "cpuManagerPolicy": "static" } });
    shoot["spec"]["provider"]["workers"] = json!([pool, alone]);
    environment.gardenlet.sync_cluster(&shoot).await?;
    let timestamp = environment.gardenlet.deploy_extension("reconcile", Some(config)).await?;
    environment.gardenlet.wait_ready(&timestamp, CHANGE).await.map(drop)
}

async fn run_the_pod(environment: &TestEnvironment, pod: &Value) -> anyhow::Result<()> {
    let worker = environment.bed.workers().first().context("a bed without workers")?;
    wait_for("the worker to run through the proxy", CHANGE, || async {
        let facts = NodeFacts::observe(worker).await?;
        facts.ensure_on_proxy(worker).await.map(Some)
    })
    .await?;
    environment.wait_healthy().await?;
    let shoot = environment.bed.shoot().admin().await?;
    let field = |name: &str| pod["metadata"][name].as_str().with_context(|| format!("a pod without {name}"));
    let (namespace, name) = (field("namespace")?, field("name")?);
    let namespaces: Api<Namespace> = Api::all(shoot.clone());
    let params = PatchParams::apply("e2e").force();
    let object = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace } });
    namespaces.patch(namespace, &params, &Patch::Apply(object)).await?;
    // The bed pulls nothing.
    let mut pod = pod.clone();
    for container in pod["spec"]["containers"].as_array_mut().context("a pod without containers")? {
        container["image"] = json!(BUSYBOX_IMAGE);
        container["imagePullPolicy"] = json!("Never");
    }
    let pods: Api<Pod> = Api::namespaced(shoot, namespace);
    pods.patch(name, &params, &Patch::Apply(&pod)).await?;
    wait_for(&format!("pod {name} to be ready"), CHANGE, || async {
        let status = json!(pods.get(name).await?.status);
        let ready = status["containerStatuses"][0]["ready"] == true;
        ensure!(ready, "{status}");
        Ok(Some(()))
    })
    .await
}

/// What the worker's agent has reported.
async fn report(environment: &TestEnvironment) -> anyhow::Result<Value> {
    let worker = environment.bed.workers().first().context("a bed without workers")?;
    let leases: Api<k8s_openapi::api::coordination::v1::Lease> =
        Api::namespaced(environment.bed.shoot().admin().await?, names::SHOOT_NAMESPACE);
    let lease = leases.get(&format!("{}{}", names::NODE_REPORT_LEASE_PREFIX, worker.name())).await?;
    let report = lease.metadata.annotations.unwrap_or_default().remove(names::NODE_REPORT_ANNOTATION);
    Ok(serde_json::from_str(&report.context("a Lease without a report")?)?)
}

/// Gives the command until it prints what the page shows, or has had time to.
async fn settled(
    environment: &TestEnvironment,
    root: &Path,
    programs: &Path,
    asked: &Asked,
    shown: &str,
) -> anyhow::Result<String> {
    let start = Instant::now();
    loop {
        let text = give(environment, root, programs, asked).await.with_context(|| format!("({asked})"))?;
        if !is_other(shown, &text) || start.elapsed() > patient(SETTLED) {
            return Ok(text);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Both outputs of the command, as a terminal shows them.
async fn give(environment: &TestEnvironment, root: &Path, programs: &Path, asked: &Asked) -> anyhow::Result<String> {
    let both = format!("{{ {}\n}} 2>&1", asked.command);
    let kubeconfig = match asked.place {
        Location::Node => {
            let worker = environment.bed.workers().first().context("a bed without workers")?;
            return Ok(worker.exec(&["/bin/sh", "-c", &both]).await?.stdout);
        }
        Location::Shoot => environment.bed.shoot().admin_kubeconfig(),
        Location::Seed => environment.bed.seed().admin_kubeconfig(),
    };
    let path = std::env::var("PATH").unwrap_or_default();
    let mut command = tokio::process::Command::new("/bin/sh");
    command
        .args(["-c", &both])
        .current_dir(root)
        .env("PATH", format!("{}:{path}", programs.display()))
        .env("KUBECONFIG", kubeconfig);
    // No colours, no cache in somebody's home, and times as on a server.
    command.env("NO_COLOR", "1").env("KUBECACHEDIR", programs.join("cache")).env("TZ", "UTC");
    let output = command.output().await?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
