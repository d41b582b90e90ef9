//! The built program against fake runtimes, below a temporary root.
#![expect(clippy::expect_used, reason = "the set-up of a test fails by panicking")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Output;
use std::time::{Duration, Instant};

use cri_client::fake::{Behaviour, Code, FakeRuntime};
use tokio::process::Command;

const ENDPOINT: &str = "--container-runtime-endpoint=unix:///run/cri-resmgr/cri-resmgr.sock";
const READY: Behaviour = Behaviour::Answers { runtime_ready: true };
const NOT_READY: Behaviour = Behaviour::Answers { runtime_ready: false };

struct Host {
    root: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        let root = tempfile::tempdir().expect("temporary directory");
        for directory in ["run/cri-resmgr", "run/containerd"] {
            fs::create_dir_all(root.path().join(directory)).expect("make");
        }
        Self { root }
    }

    fn proxy(&self, behaviour: Behaviour) -> FakeRuntime {
        FakeRuntime::serve(&self.root.path().join("run/cri-resmgr/cri-resmgr.sock"), behaviour).expect("proxy")
    }

    fn containerd(&self, behaviour: Behaviour) -> FakeRuntime {
        FakeRuntime::serve(&self.root.path().join("run/containerd/containerd.sock"), behaviour).expect("containerd")
    }

    fn file(&self) -> PathBuf {
        self.root.path().join("run/gardener-extension-cri-resmgr/runtime.env")
    }

    fn text(&self) -> Option<String> {
        fs::read_to_string(self.file()).ok()
    }

    fn put(&self, text: &str) {
        fs::create_dir_all(self.file().parent().expect("directory")).expect("make");
        fs::write(self.file(), text).expect("write");
    }

    fn command(&self, command: &str) -> Command {
        let mut built = Command::new(env!("CARGO_BIN_EXE_runtime-gate"));
        built.arg(command).env_remove("KUBELET_EXTRA_ARGS").env_remove("MAINPID");
        built.env("CRI_RESMGR_GATE_ROOT", self.root.path());
        built
    }

    async fn run(&self, command: &str) -> Output {
        self.command(command).output().await.expect("runs")
    }
}

#[tokio::test]
async fn the_gate_appends_the_endpoint_for_a_ready_proxy() {
    let host = Host::new();
    let _proxy = host.proxy(READY);
    let output =
        host.command("gate").env("KUBELET_EXTRA_ARGS", r#"--node-ip="::" --x=$y"#).output().await.expect("runs");
    assert!(output.status.success());
    let expected = format!("KUBELET_EXTRA_ARGS=\"--node-ip=\\\"::\\\" --x=\\$y {ENDPOINT}\"\n");
    assert_eq!(host.text(), Some(expected));
    let mode = |path: &std::path::Path| fs::metadata(path).expect("metadata").permissions().mode() & 0o777;
    assert_eq!(mode(&host.file()), 0o600);
    assert_eq!(mode(host.file().parent().expect("directory")), 0o755);
    let line = String::from_utf8(output.stderr).expect("text");
    assert!(line.contains("the proxy") && line.lines().count() == 1, "{line}");
    assert!(!line.contains("node-ip"), "arguments never reach the log: {line}");
}

#[tokio::test]
async fn the_gate_without_own_arguments_writes_the_endpoint_alone() {
    let host = Host::new();
    let _proxy = host.proxy(READY);
    assert!(host.run("gate").await.status.success());
    assert_eq!(host.text(), Some(format!("KUBELET_EXTRA_ARGS=\"{ENDPOINT}\"\n")));
}

#[tokio::test]
async fn the_gate_leaves_no_file_for_a_proxy_that_does_not_answer() {
    for (behaviour, own) in [(None, None), (Some(NOT_READY), Some("--v=4")), (Some(Behaviour::Hangs), Some("--v=4"))] {
        let host = Host::new();
        let _proxy = behaviour.clone().map(|behaviour| host.proxy(behaviour));
        // The unit's rm could have failed.
        host.put(&format!("KUBELET_EXTRA_ARGS=\"{ENDPOINT}\"\n"));
        let begin = Instant::now();
        let mut command = host.command("gate");
        command.envs(own.map(|own| ("KUBELET_EXTRA_ARGS", own)));
        let output = command.output().await.expect("runs");
        assert!(output.status.success(), "{behaviour:?}");
        assert!(begin.elapsed() < Duration::from_secs(3), "{behaviour:?}: {:?}", begin.elapsed());
        assert_eq!(host.text(), None, "{behaviour:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("containerd"), "{behaviour:?}");
    }
}

#[tokio::test]
async fn the_gate_removes_a_stale_endpoint_from_the_own_arguments() {
    let host = Host::new();
    let mut command = host.command("gate");
    let output = command.env("KUBELET_EXTRA_ARGS", format!("--a {ENDPOINT}")).output().await.expect("runs");
    assert!(output.status.success());
    assert_eq!(host.text().as_deref(), Some("KUBELET_EXTRA_ARGS=\"--a\"\n"));
}

#[tokio::test]
async fn the_gate_with_an_unwritable_directory_says_so_and_exits_with_success() {
    let host = Host::new();
    let _proxy = host.proxy(READY);
    fs::write(host.root.path().join("run/gardener-extension-cri-resmgr"), "a file in the way").expect("write");
    let output = host.run("gate").await;
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("could not be brought up to date"));
}

#[tokio::test]
async fn wait_ends_when_the_proxy_answers() {
    let host = Host::new();
    let waiting = host.command("wait").kill_on_drop(true).stderr(std::process::Stdio::piped()).spawn().expect("runs");
    let proxy = host.proxy(NOT_READY);
    while proxy.calls().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    proxy.behave(READY);
    let output = tokio::time::timeout(Duration::from_secs(10), waiting.wait_with_output());
    let output = output.await.expect("in time").expect("ends");
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("answers for containerd"));
}

#[tokio::test]
async fn wait_ends_when_the_proxy_process_ends() {
    let host = Host::new();
    let mut ended = Command::new("true").spawn().expect("runs");
    let process = ended.id().expect("id");
    ended.wait().await.expect("ends");
    let waiting = host.command("wait").env("MAINPID", process.to_string()).output();
    let output = tokio::time::timeout(Duration::from_secs(10), waiting).await.expect("in time").expect("runs");
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("has ended"));
}

#[tokio::test]
async fn the_guard_does_nothing_when_kubelet_is_not_on_the_proxy() {
    let host = Host::new();
    let _containerd = host.containerd(READY);
    let begin = Instant::now();
    assert_eq!(host.run("guard").await.status.code(), Some(1), "no file");
    host.put("KUBELET_EXTRA_ARGS=\"--v=4\"\n");
    assert_eq!(host.run("guard").await.status.code(), Some(1), "not on the proxy");
    host.put(&format!("KUBELET_EXTRA_ARGS=\"{ENDPOINT}\"\n"));
    let _proxy = host.proxy(NOT_READY);
    assert_eq!(host.run("guard").await.status.code(), Some(1), "the proxy answers");
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn the_guard_acts_on_a_dead_or_hanging_proxy_when_containerd_answers() {
    // At the same time, for each takes its twenty seconds.
    tokio::join!(
        expect_fall_back(None),
        expect_fall_back(Some(Behaviour::Hangs)),
        expect_fall_back(Some(Behaviour::Fails(Code::Unavailable))),
    );
}

async fn expect_fall_back(behaviour: Option<Behaviour>) {
    let host = Host::new();
    host.put(&format!("KUBELET_EXTRA_ARGS=\"{ENDPOINT}\"\n"));
    let _proxy = behaviour.clone().map(|behaviour| host.proxy(behaviour));
    let _containerd = host.containerd(READY);
    let begin = Instant::now();
    let output = host.run("guard").await;
    let took = begin.elapsed();
    assert_eq!(output.status.code(), Some(0), "{behaviour:?}: {output:?}");
    assert!((Duration::from_secs(20)..Duration::from_secs(30)).contains(&took), "{behaviour:?}: {took:?}");
}

#[tokio::test]
async fn the_guard_leaves_kubelet_alone_when_containerd_is_silent_too() {
    let host = Host::new();
    host.put(&format!("KUBELET_EXTRA_ARGS=\"{ENDPOINT}\"\n"));
    assert_eq!(host.run("guard").await.status.code(), Some(1));
}

#[tokio::test]
async fn the_guard_does_nothing_when_the_proxy_answers_again() {
    let host = Host::new();
    host.put(&format!("KUBELET_EXTRA_ARGS=\"{ENDPOINT}\"\n"));
    let _containerd = host.containerd(READY);
    let proxy = host.proxy(Behaviour::Hangs);
    let guarding = host.command("guard").kill_on_drop(true).spawn().expect("runs");
    while proxy.calls().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    proxy.behave(READY);
    let output = tokio::time::timeout(Duration::from_secs(15), guarding.wait_with_output());
    assert_eq!(output.await.expect("in time").expect("ends").status.code(), Some(1));
}

#[tokio::test]
async fn version_and_usage() {
    let host = Host::new();
    let version = host.run("version").await;
    assert!(version.status.success());
    assert_eq!(String::from_utf8_lossy(&version.stdout).trim(), env!("CARGO_PKG_VERSION"));
    assert_eq!(host.run("other").await.status.code(), Some(2));
    assert_eq!(host.command("gate").arg("more").output().await.expect("runs").status.code(), Some(2));
}

#[tokio::test]
async fn the_wait_for_a_plugin_ends_when_its_pid_file_names_its_process_or_the_process_is_gone() {
    let host = Host::new();
    let pid_file = host.root.path().join("run/cri-resmgr-nri-policy/cri-resmgr-nri-policy.pid");
    fs::create_dir_all(pid_file.parent().expect("directory")).expect("make");
    let main_process = std::process::id();
    // Of an earlier run.
    fs::write(&pid_file, "1\n").expect("write");
    let mut waiting = host.command("wait-for-plugin");
    waiting.env("MAINPID", main_process.to_string()).kill_on_drop(true).stderr(std::process::Stdio::piped());
    let waiting = waiting.spawn().expect("runs");
    tokio::time::sleep(Duration::from_millis(200)).await;
    fs::write(&pid_file, format!("{main_process}\n")).expect("write");
    let output = tokio::time::timeout(Duration::from_secs(10), waiting.wait_with_output());
    let output = output.await.expect("ends in time").expect("runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("the policy has registered after"), "{said}");
    let begin = Instant::now();
    let output = host.command("wait-for-plugin").env("MAINPID", "4194305").output().await.expect("runs");
    assert!(output.status.success() && begin.elapsed() < Duration::from_secs(5), "{output:?}");
    let output = host.run("wait-for-plugin").await;
    assert!(output.status.success(), "{output:?}");
}
