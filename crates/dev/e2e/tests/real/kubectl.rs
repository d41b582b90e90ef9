//! `kubectl resmgr` on a shoot of real components, with the rights that are documented for it and no more.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use e2e::{Artifacts, TestEnvironment};
use kube::Api;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use serde_json::Value;
use testbed::{Progress, wait_for};

const RIGHTS: &str = "deploy/kubectl-resmgr/reader.yaml";
const NAMESPACE: &str = "kube-system";
const ACCOUNT: &str = "kubectl-resmgr";
/// Until the API server obeys a role.
const OBEYED: Duration = Duration::from_secs(30);

/// The plugin with somebody's credentials.
pub(crate) struct Plugin {
    program: PathBuf,
    kubeconfig: PathBuf,
}

/// How a command ended.
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) printed: String,
    said: String,
}

impl Plugin {
    /// The program behind `cargo xtask resmgr`, which is the plugin's.
    pub(crate) fn new(kubeconfig: &Path) -> anyhow::Result<Self> {
        Ok(Self { program: Artifacts::from_env()?.xtask, kubeconfig: kubeconfig.to_owned() })
    }

    async fn run(&self, words: &[&str], progress: &Progress) -> anyhow::Result<Ended> {
        let ended = self.ask(words).await?;
        let Ended { code, printed, said } = &ended;
        progress.step(&format!("kubectl resmgr {} (exit status {code:?})\n{printed}{said}", words.join(" ")));
        Ok(ended)
    }

    pub(crate) async fn ask(&self, words: &[&str]) -> anyhow::Result<Ended> {
        let mut command = tokio::process::Command::new(&self.program);
        command.arg("resmgr").args(words).arg("--kubeconfig").arg(&self.kubeconfig);
        let output = command.output().await.context("run the plugin")?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (printed, said) = (text(&output.stdout), text(&output.stderr));
        let code = output.status.code();
        Ok(Ended { code, printed, said })
    }
}

/// The one worker is updated in place, the other is switched.
pub(crate) async fn tells_of_a_node_that_is_held(
    environment: &TestEnvironment,
    progress: &Progress,
) -> anyhow::Result<()> {
    let [held, switched] = environment.bed.workers() else { anyhow::bail!("the bed has not two workers") };
    let dir = tempfile::tempdir()?;
    let reader = Plugin::new(&as_reader(environment, dir.path()).await?)?;
    // The other one may not have proven itself yet.
    let status = wait_for("status to tell of both nodes", OBEYED, || async {
        let status = reader.ask(&["status"]).await?;
        let is = |name: &str, environment: &str| {
            status.printed.lines().any(|line| line.starts_with(name) && line.contains(environment))
        };
        ensure!(is(held.name(), "is updated in place") && is(switched.name(), "Installed"), "{}", status.said);
        Ok(Some(status))
    })
    .await?;
    progress.step(&status.printed);
    ensure!(status.code == Some(3) && status.said.is_empty(), "{:?} {}", status.code, status.said);
    ensure!(status.printed.contains("wanted: Install of cri-resmgr"), "{}", status.printed);

    let json: Value = serde_json::from_str(&reader.run(&["status", "-o", "json"], progress).await?.printed)?;
    ensure!(json["counts"]["nodes"] == 2 && json["notes"] == serde_json::json!([]), "{json}");
    let row = json["nodes"].as_array().into_iter().flatten().find(|row| row["node"] == held.name());
    ensure!(row.is_some_and(|row| row["codes"] == serde_json::json!(["UpdateInPlace"])), "{json}");

    let explained = reader.run(&["explain", held.name()], progress).await?;
    ensure!(explained.code == Some(3), "{:?}", explained.code);
    ensure!(explained.printed.contains("Gardener updates this node in place"), "{}", explained.printed);
    ensure!(reader.run(&["explain", "nobody"], progress).await?.code == Some(1), "a node that there is not");

    // The reader may not run anything in pods.
    let without = reader.run(&["node", held.name()], progress).await?;
    let reported = without.said.contains("forbidden") && without.printed.contains("is updated in place");
    ensure!(reported, "{}{}", without.said, without.printed);
    gathers(&reader, dir.path(), progress).await?;

    let admin = Plugin::new(environment.bed.shoot().admin_kubeconfig())?;
    reports_of_the_host(&admin, environment, (held.name(), switched.name()), dir.path(), progress).await?;
    let look = admin.run(&["node", held.name()], progress).await?;
    ensure!(look.said.is_empty() && look.code == Some(3), "{:?} {}", look.code, look.said);
    ensure!(look.printed.contains("containerd answers") && look.printed.contains("step 1"), "{}", look.printed);
    let look = admin.run(&["node", switched.name(), "-o", "json"], progress).await?;
    let look: Value = serde_json::from_str(&look.printed)?;
    ensure!(
        look["proxyAnswers"] == true && look["stage"] == "Installed" && look["steps"] == serde_json::json!([]),
        "{look}"
    );
    Ok(())
}

/// What needs a look at the node itself, and what only the seed knows.
async fn reports_of_the_host(
    admin: &Plugin,
    environment: &TestEnvironment,
    (held, switched): (&str, &str),
    dir: &Path,
    progress: &Progress,
) -> anyhow::Result<()> {
    let look: Value = serde_json::from_str(&admin.ask(&["node", switched, "-o", "json"]).await?.printed)?;
    let steps = || look["taken"].as_array().into_iter().flatten();
    ensure!(steps().any(|step| step["restarts"] == "kubelet" && step["error"].is_null()), "{}", look["taken"]);
    // The kernel's word, which the bed's machine has for the agent's own container, too.
    let containers = || look["containers"].as_array().into_iter().flatten();
    let agent = containers().find(|found| found["name"].as_str().is_some_and(|name| name.contains("node-agent")));
    let cpus = agent.and_then(|agent| agent["cpus"].as_str()).unwrap_or_default();
    let worker = environment.bed.workers().iter().find(|worker| worker.name() == switched).context("no such worker")?;
    let status = worker.shell("cat /proc/$(pgrep -of '^/cri-resmgr-node-agent run')/status").await?;
    let kernel = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap_or_default().trim();
    ensure!(!cpus.is_empty() && cpus == kernel, "{cpus:?} is not the kernel's {kernel:?}: {}", look["containers"]);

    let log = admin.run(&["host-log", switched, "--lines", "20"], progress).await?;
    ensure!(log.code == Some(0) && log.printed.contains("cri-resmgr"), "{}{}", log.printed, log.said);
    ensure!(log.printed.lines().count() <= 20 && !log.printed.contains("kubelet["), "{}", log.printed);
    let left = worker.shell("systemctl list-units --all --plain --no-legend 'cri-resmgr-host-log*'").await?;
    ensure!(left.trim().is_empty(), "left on the node: {left}");

    let seed = environment.bed.seed().admin_kubeconfig().display().to_string();
    let status = admin.run(&["status", "--seed-kubeconfig", &seed], progress).await?;
    ensure!(status.printed.contains("seed: Extension shoot--") && status.said.is_empty(), "{}", status.printed);
    let file = dir.join("with-the-host.tar.gz");
    let name = file.display().to_string();
    let gathered = admin.run(&["must-gather", "--file", &name, "--seed-kubeconfig", &seed], progress).await?;
    ensure!(gathered.code == Some(0), "{}", gathered.said);
    let files = unpack(&file)?;
    let has = |path: &str| files.get(&format!("cri-resmgr-must-gather/{path}")).is_some_and(|text| !text.is_empty());
    for path in ["extension.json", &format!("looks/{held}.json"), &format!("host-logs/{held}.log")] {
        ensure!(has(path), "{path} is not in the archive: {:?}", files.keys().collect::<Vec<_>>());
    }
    let extension: Value = serde_json::from_str(&files["cri-resmgr-must-gather/extension.json"])?;
    ensure!(extension["status"]["providerStatus"].is_object() && extension["spec"].is_null(), "{extension}");
    Ok(())
}

/// Exit status 0, and Events of how it came to that.
pub(crate) async fn tells_that_all_is_as_desired(
    environment: &TestEnvironment,
    progress: &Progress,
) -> anyhow::Result<()> {
    let dir = tempfile::tempdir()?;
    let reader = Plugin::new(&as_reader(environment, dir.path()).await?)?;
    let status = reader.run(&["status"], progress).await?;
    ensure!(status.code == Some(0) && status.printed.contains("2 nodes: 2 as desired"), "{}", status.printed);
    let explained = reader.run(&["explain"], progress).await?;
    ensure!(explained.printed == "All 2 nodes are as desired.\n", "{}", explained.printed);
    let events = reader.run(&["events"], progress).await?;
    ensure!(events.code == Some(0) && events.printed.contains("CriResmgrInstalled"), "{}", events.printed);
    Ok(())
}

/// The archive, which nobody else may read, holds what is documented and no configuration.
async fn gathers(reader: &Plugin, dir: &Path, progress: &Progress) -> anyhow::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    let file = dir.join("gathered.tar.gz");
    let name = file.display().to_string();
    ensure!(reader.run(&["must-gather", "--file", &name], progress).await?.code == Some(0), "must-gather");
    ensure!(std::fs::metadata(&file)?.permissions().mode() & 0o777 == 0o600, "others may read it");
    let files = unpack(&file)?;
    progress.step(&format!("{:?}", files.keys().collect::<Vec<_>>()));
    for part in
        ["status.json", "explain.txt", "daemonset.json", "configmaps.json", "events.json", "reports/", "pods/", "logs/"]
    {
        let found = files.keys().any(|path| path.starts_with(&format!("cri-resmgr-must-gather/{part}")));
        ensure!(found, "{part} is not in it");
    }
    ensure!(!files.keys().any(|path| path.contains("configmaps/")), "a configuration is in it");
    let logs = files.iter().filter(|(path, _)| path.contains("/logs/")).map(|(_, text)| text);
    ensure!(logs.clone().any(|text| text.contains("assessed the node")), "the logs are not those of agents");
    ensure!(reader.run(&["must-gather", "--file", &name], progress).await?.code == Some(1), "it was overwritten");
    Ok(())
}

fn unpack(file: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(std::fs::File::open(file)?));
    let mut files = BTreeMap::new();
    for entry in archive.entries()? {
        let mut entry = entry?;
        let mut text = String::new();
        entry.read_to_string(&mut text)?;
        files.insert(entry.path()?.display().to_string(), text);
    }
    Ok(files)
}

/// A kubeconfig of somebody with the documented rights, the one to run programs in pods excepted.
async fn as_reader(environment: &TestEnvironment, dir: &Path) -> anyhow::Result<PathBuf> {
    let shoot = environment.bed.shoot();
    let admin = shoot.admin().await?;
    let text = std::fs::read_to_string(crate::root().join(RIGHTS))?;
    for object in serde_saphyr::from_multiple::<Value>(&text)? {
        let field = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        let version = field("/apiVersion");
        let (group, version) = version.rsplit_once('/').unwrap_or(("", &version));
        let kind = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &field("/kind")));
        let api: Api<DynamicObject> = match field("/metadata/namespace").as_str() {
            "" => Api::all_with(admin.clone(), &kind),
            namespace => Api::namespaced_with(admin.clone(), namespace, &kind),
        };
        api.patch(&field("/metadata/name"), &PatchParams::apply("e2e").force(), &Patch::Apply(&object)).await?;
    }
    let file = dir.join("reader.kubeconfig");
    std::fs::write(&file, shoot.account_kubeconfig(NAMESPACE, ACCOUNT).await?)?;
    Ok(file)
}
