//! The subcommand `check` of the built program: exit status and output.
#![expect(clippy::unwrap_used, reason = "a failed step of a test's set-up ends the test")]

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

const GOOD: &str = "policy: {Active: none}\n";
const WARNED: &str = "policy: {Active: balloons, ReservedResources: {CPU: 1}, balloons: {IdleCPUClass: idle}}\n";
const BAD: &str = "policy: {Active: topology-aware, ReservedResources: {CPU: 0}}\n";

/// Exit status, standard output, standard error.
fn check(folder: &Path, arguments: &[&str], input: &str) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gardener-extension-cri-resmgr"));
    command.arg("check").args(arguments).current_dir(folder).env_clear();
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [("good.yaml", GOOD), ("warned.yaml", WARNED), ("bad.yaml", BAD), ("other.yaml", "kind: Pod\n")]
    {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    std::fs::write(folder.path().join("binary"), [0xff, 0xfe, 0]).unwrap();
    folder
}

#[test]
fn the_exit_status_distinguishes_fine_findings_and_unreadable() {
    let folder = folder();
    for (arguments, status) in [
        (&["good.yaml"][..], 0),
        (&["good.yaml", "warned.yaml"], 0),
        (&["bad.yaml"], 1),
        (&["good.yaml", "bad.yaml"], 1),
        (&["bad.yaml", "missing.yaml"], 2),
        (&["other.yaml"], 2),
        (&["binary"], 2),
        // A directory without kubelet.service.
        (&["."], 1),
        (&["--as", "provider-config", "good.yaml"], 1),
        (&["--as", "nonsense", "good.yaml"], 2),
        (&[], 2),
    ] {
        let (code, out, err) = check(folder.path(), arguments, "");
        assert_eq!(code, status, "{arguments:?}: {out}{err}");
    }
}

#[test]
fn a_base_configuration_is_a_file() {
    let folder = folder();
    let balloons = "{policy: {Active: balloons, ReservedResources: {CPU: 1}}}";
    std::fs::write(folder.path().join("values.yaml"), format!("configs: {{fallback: {balloons}}}\n")).unwrap();
    std::fs::write(folder.path().join("own.yaml"), "configs: {EXTRA_OPTIONS: --v=2}\n").unwrap();
    let (code, out, err) = check(folder.path(), &["--base", "values.yaml", "own.yaml"], "");
    assert!(
        code == 0 && out.contains("fallback with policy balloons (base configuration); options --v=2;"),
        "{out}{err}"
    );
    for base in ["good.yaml", "missing.yaml"] {
        let (code, out, _) = check(folder.path(), &["--base", base, "own.yaml"], "");
        assert!(code == 2 && out.starts_with(base), "{out}");
    }
}

#[test]
fn standard_input_is_a_file() {
    let folder = folder();
    let (code, out, _) = check(folder.path(), &["-"], BAD);
    assert_eq!((code, out.lines().next()), (1, Some("-:1: daemon: would be refused")));
    assert!(out.contains("  finding: policy.ReservedResources.CPU: is 0, policy topology-aware needs more"), "{out}");
}

#[test]
fn json_is_one_object_for_all_files() {
    let folder = folder();
    let (code, out, _) = check(folder.path(), &["--output", "json", "warned.yaml", "bad.yaml", "missing.yaml"], "");
    assert_eq!(code, 2);
    let answer: Value = serde_json::from_str(&out).unwrap();
    let at = |path: &str| answer.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    assert_eq!(at("/files/0/documents/0/kind"), "daemon");
    assert_eq!(at("/files/0/documents/0/outcome"), "would be accepted: policy balloons");
    assert_eq!(at("/files/0/documents/0/warnings/0/place"), "policy.balloons.IdleCPUClass");
    assert_eq!(at("/files/1/documents/0/findings/0/place"), "policy.ReservedResources.CPU");
    assert!(at("/files/2/error").starts_with("cannot be read: "), "{out}");
}

#[test]
fn a_directory_is_a_nodes_kubelet() {
    let folder = folder();
    let node = folder.path().join("node");
    std::fs::create_dir_all(node.join("kubelet.service.d")).unwrap();
    for (name, text) in [
        (
            "kubelet.service",
            "[Service]\nEnvironmentFile=-/var/lib/kubelet/extra_args\nExecStart=/opt/bin/kubelet $KUBELET_EXTRA_ARGS\n",
        ),
        (
            "kubelet.service.d/10-v.conf",
            "[Service]\nExecStart=\nExecStart=/opt/bin/kubelet --v=2 $KUBELET_EXTRA_ARGS\n",
        ),
    ] {
        std::fs::write(node.join(name), text).unwrap();
    }
    let (code, out, _) = check(folder.path(), &["node"], "");
    assert_eq!((code, out.as_str()), (0, "node:1: kubelet: would switch\n"));
    std::fs::write(node.join("extra_args"), "KUBELET_EXTRA_ARGS=\"--cpu-manager-policy=static\"\n").unwrap();
    let (code, out, _) = check(folder.path(), &["node"], "");
    assert!(code == 1 && out.starts_with("node:1: kubelet: refused because cpuManagerPolicy"), "{code} {out}");
    assert_eq!(check(folder.path(), &["--as", "daemon", "node"], "").0, 2);
}
