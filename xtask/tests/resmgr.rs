//! `kubectl resmgr` as a person runs it, on the shoot of a sandbox: real agents report, over a real HTTP API. What takes a real kubelet (`node NAME`, logs) is done
//! on real components: `cargo xtask test --real --only pools_and_sleep`.
#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a failed step of a test's set-up ends the test, and what a command printed explains it"
)]

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use fake_kube_api::Writer;
use sandbox::{Binaries, Fault, Sandbox, WORKER_POOL};
use serde_json::{Value, json};
use testbed::wait_for;

const NAMESPACE: &str = "kube-system";
const REPORT: &str = "cri-resmgr.extensions.gardener.cloud/node";
const SOON: Duration = Duration::from_secs(30);

/// A shoot and a folder with its kubeconfig.
struct Scene {
    sandbox: Sandbox,
    dir: tempfile::TempDir,
}

/// How a command ended.
#[derive(Debug)]
struct Ended {
    code: Option<i32>,
    printed: String,
    said: String,
}

impl Scene {
    async fn set(nodes: usize) -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let sandbox = Sandbox::up(root, &Binaries::build(root).unwrap(), &vec![WORKER_POOL; nodes]).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        sandbox.shoot.write_kubeconfig(&dir.path().join("kubeconfig")).unwrap();
        Self { sandbox, dir }
    }

    fn kubeconfig(&self) -> PathBuf {
        self.dir.path().join("kubeconfig")
    }

    fn command(&self, words: &[&str]) -> tokio::process::Command {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.arg("resmgr").args(words).arg("--kubeconfig").arg(self.kubeconfig()).kill_on_drop(true);
        command
    }

    async fn run(&self, words: &[&str]) -> Ended {
        let output = self.command(words).output().await.unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let ended = Ended { code: output.status.code(), printed: text(&output.stdout), said: text(&output.stderr) };
        // Shown where the test fails, or with --nocapture: the examples of the page come from here.
        println!("$ kubectl resmgr {}\n{}{}(exit status {:?})", words.join(" "), ended.said, ended.printed, ended.code);
        ended
    }

    /// Somebody with the token of a node writes its report.
    fn forge_report(&self, node: &str, report: &str) {
        let name = format!("cri-resmgr-node-{node}");
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {
                "name": name, "namespace": NAMESPACE, "annotations": { (REPORT): report },
                "labels": { "app.kubernetes.io/name": "cri-resmgr-node-agent" },
            },
        });
        let store = self.sandbox.shoot.store();
        store.create("coordination.k8s.io", "leases", NAMESPACE, lease, &Writer::named("somebody")).unwrap();
    }
}

#[tokio::test]
async fn a_shoot_before_and_after_it_is_switched_on() {
    let scene = Scene::set(2).await;
    let before = scene.run(&["status"]).await;
    assert_eq!((before.code, before.said.as_str()), (Some(5), ""), "{before:?}");
    assert!(before.printed.starts_with("The extension is not in this cluster"), "{before:?}");

    scene.sandbox.switch_on(None).await.unwrap();
    for node in scene.sandbox.nodes() {
        scene.sandbox.wait_installed(node).await.unwrap();
    }
    let status = wait_for("exit status 0", SOON, || async {
        let status = scene.run(&["status"]).await;
        if status.code == Some(0) { Ok(Some(status)) } else { anyhow::bail!("{status:?}") }
    });
    let status = status.await.unwrap();
    assert!(
        status.printed.contains("2 nodes: 2 as desired; wanted: Install of cri-resmgr (desired state "),
        "{status:?}"
    );
    let json: Value = serde_json::from_str(&scene.run(&["status", "-o", "json"]).await.printed).unwrap();
    assert_eq!((&json["counts"]["asDesired"], &json["notes"]), (&json!(2), &json!([])), "{json}");
    assert_eq!(scene.run(&["explain"]).await.printed, "All 2 nodes are as desired.\n");
    let nobody = scene.run(&["explain", "nobody"]).await;
    assert_eq!((nobody.code, nobody.said.as_str()), (Some(1), "error: there is no Node nobody\n"), "{nobody:?}");

    // What the shoot runs with, converted; nothing of it is in a file.
    let store = scene.sandbox.shoot.store();
    let class = json!({ "rdtclass.cri-resource-manager.intel.com/pod": "gold" });
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "web", "namespace": "default", "annotations": class },
        "spec": { "containers": [{ "name": "c", "image": "i" }] },
    });
    store.create("", "pods", "default", pod, &Writer::named("somebody")).unwrap();
    let adjustment = json!({
        "apiVersion": "criresmgr.intel.com/v1alpha1", "kind": "Adjustment",
        "metadata": { "name": "quiet", "namespace": NAMESPACE }, "spec": { "classes": { "rdt": "gold" } },
    });
    store.create("criresmgr.intel.com", "adjustments", NAMESPACE, adjustment, &Writer::named("somebody")).unwrap();
    let converted = scene.run(&["convert", "--shoot"]).await;
    assert_eq!((converted.code, converted.said.as_str()), (Some(4), ""), "{converted:?}");
    for reported in ["policy-none:fallback/policy.Active", "Pod default/web", "kube-system/quiet"] {
        assert!(converted.printed.contains(reported), "{reported} in {converted:?}");
    }

    // A stand-in's pods run nothing for others: what is known without the agent is shown.
    let node = scene.run(&["node", "node-1"]).await;
    assert!(node.said.starts_with("The agent cannot be asked: "), "{node:?}");
    assert!(node.printed.starts_with("node       node-1 is as desired (stage Installed)"), "{node:?}");
    scene.sandbox.down().await.unwrap();
}

#[tokio::test]
async fn a_node_that_rolled_back_is_explained_by_its_code() {
    let scene = Scene::set(1).await;
    scene.sandbox.nodes()[0].faults().programs.add("start proxy", .., Fault::Break);
    scene.sandbox.switch_on(None).await.unwrap();
    scene.sandbox.wait_rolled_back(&scene.sandbox.nodes()[0]).await.unwrap();
    let status = scene.run(&["status"]).await;
    assert_eq!(status.code, Some(4), "{status:?}");
    assert!(status.printed.contains("RolledBack"), "{status:?}");
    let explained = scene.run(&["explain", "node-1"]).await;
    assert!(explained.printed.contains("means      The installation did not prove itself"), "{explained:?}");
    let events = wait_for("the Event", SOON, || async {
        let events = scene.run(&["events", "--node", "node-1"]).await;
        Ok(events.printed.contains("CriResmgrRolledBack").then_some(events))
    });
    assert_eq!(events.await.unwrap().code, Some(0));

    let file = scene.dir.path().join("gathered.tar.gz");
    let gathered = scene.run(&["must-gather", "--file", file.to_str().unwrap()]).await;
    assert_eq!(gathered.code, Some(0), "{gathered:?}");
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(std::fs::File::open(&file).unwrap()));
    let mut paths = Vec::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut text = String::new();
        entry.read_to_string(&mut text).unwrap();
        assert!(!text.contains("fallbackConfig"), "a configuration is in it");
        paths.push(entry.path().unwrap().display().to_string());
    }
    for part in ["reports/node-1.json", "daemonset.json", "configmaps.json", "events.json", "explain.txt"] {
        assert!(paths.iter().any(|path| path == &format!("cri-resmgr-must-gather/{part}")), "{part} of {paths:?}");
    }
    scene.sandbox.down().await.unwrap();
}

/// Whoever is root on a node writes what he likes; the terminal of who looks does not obey it.
#[tokio::test]
async fn a_hostile_report_reaches_no_terminal() {
    let scene = Scene::set(1).await;
    scene.sandbox.switch_on(None).await.unwrap();
    scene.sandbox.wait_installed(&scene.sandbox.nodes()[0]).await.unwrap();
    let text = "\u{1b}[2J\u{1b}]0;x\u{7}\u{9b}31m\n".repeat(10_000);
    let report = json!({ "stage": "Blocked", "message": text, "codes": [text], "warnings": [text], "config": text });
    scene.forge_report("ghost", &report.to_string());
    scene.forge_report("ghost-2", "{\u{1b}[2J");
    let node = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": "ghost" } });
    scene.sandbox.shoot.store().create("", "nodes", "", node, &Writer::named("somebody")).unwrap();
    for words in [
        &["status"][..],
        &["status", "-o", "json"],
        &["explain"],
        &["explain", "ghost"],
        &["node", "ghost", "-o", "json"],
    ] {
        let ended = scene.run(words).await;
        assert!(ended.printed.contains("ghost"), "{words:?} {ended:?}");
        let all = format!("{}{}", ended.printed, ended.said);
        assert!(all.chars().all(|character| character == '\n' || !character.is_control()), "{words:?}");
        assert!(all.len() < 50_000, "{words:?}: {}", all.len());
    }
    let status = scene.run(&["status"]).await;
    assert!(
        status.printed.contains("reports of nodes that are not in the cluster (they are not counted): ghost-2"),
        "{status:?}"
    );
    scene.sandbox.down().await.unwrap();
}

#[tokio::test]
async fn a_watch_shows_what_changes() {
    let scene = Scene::set(1).await;
    let mut watch = scene.command(&["status", "--watch", "-o", "json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(watch.stdout.take().unwrap()));
    let mut next = async || {
        let line = tokio::time::timeout(SOON, lines.next_line()).await.unwrap().unwrap().unwrap();
        serde_json::from_str::<Value>(&line).unwrap()
    };
    assert_eq!(next().await["isThere"], false);
    scene.sandbox.switch_on(None).await.unwrap();
    let mut seen = 0;
    while next().await["counts"]["asDesired"] != 1 {
        seen += 1;
        assert!(seen < 30);
    }
    watch.kill().await.unwrap();
    scene.sandbox.down().await.unwrap();
}

#[tokio::test]
async fn offline_commands_ask_no_cluster() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let example = root.join("examples/provider-config/balloons.yaml");
    let run = async |words: &[&str]| {
        let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_xtask"));
        let output = command.arg("resmgr").args(words).env("KUBECONFIG", "/absent").output().await.unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let example = example.to_str().unwrap();
    assert_eq!(run(&["check", example]).await.0, Some(0));
    assert_eq!(run(&["convert", example]).await.0, Some(3));
    assert_eq!(run(&["check", "/absent"]).await.0, Some(2));
    for shell in ["bash", "zsh", "fish"] {
        let (code, script) = run(&["completion", shell]).await;
        assert!(code == Some(0) && script.contains("must-gather"), "{shell}");
    }
    assert_eq!(run(&["status"]).await.0, Some(1));
}

#[test]
fn manifests_that_people_apply_are_ones() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("deploy/kubectl-resmgr");
    let read = |name: &str| std::fs::read_to_string(dir.join(name)).unwrap();
    let krew: Value = serde_saphyr::from_str(&read("krew.yaml")).unwrap();
    assert_eq!((&krew["kind"], &krew["metadata"]["name"]), (&json!("Plugin"), &json!("resmgr")));
    assert_eq!(krew["spec"]["platforms"][0]["bin"], "kubectl-resmgr");
    let objects: Vec<Value> = serde_saphyr::from_multiple(&read("reader.yaml")).unwrap();
    let rules = objects.iter().flat_map(|object| object["rules"].as_array().into_iter().flatten());
    let verbs = rules.clone().flat_map(|rule| rule["verbs"].as_array().into_iter().flatten());
    assert!(rules.count() > 8 && verbs.clone().count() > 12);
    // `create` is how an API server is asked to run a program in a pod.
    let verbs: std::collections::BTreeSet<_> = verbs.filter_map(Value::as_str).collect();
    assert_eq!(verbs, ["create", "get", "list", "watch"].into());
}
