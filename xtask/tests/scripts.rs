//! The scripts under `scripts/`, run with programs that only write down how they were called.
#![expect(clippy::unwrap_used, reason = "a failed step of a test's set-up ends the test")]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

const SCRIPTS: [&str; 4] =
    ["enable-extension.sh", "disable-extension.sh", "shoot-kubeconfig.sh", "kind-load-images.sh"];

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts").join(name)
}

/// A folder with a program of that name; `body` is shell.
fn stand_in(name: &str, body: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, format!("#!/bin/bash\n{body}\n")).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    folder
}

fn run(name: &str, arguments: &[&str], programs: &tempfile::TempDir) -> Output {
    let path = format!("{}:{}", programs.path().display(), std::env::var("PATH").unwrap());
    Command::new(script(name)).args(arguments).env("PATH", path).output().unwrap()
}

/// The JSON patch that a script sends when the shoot has extensions of these types.
fn patch(name: &str, types: &str) -> Value {
    let kubectl =
        stand_in("kubectl", &format!("if [[ $3 == get ]]; then printf '{types}'; else echo \"${{@: -1}}\"; fi"));
    let output = run(name, &["--namespace", "garden-x", "--shoot", "y"], &kubectl);
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn each_explains_itself_and_refuses_what_it_does_not_know() {
    let nothing = tempfile::tempdir().unwrap();
    for name in SCRIPTS {
        let help = run(name, &["--help"], &nothing);
        assert!(help.status.success() && String::from_utf8_lossy(&help.stdout).contains("Usage:"), "{name}: {help:?}");
        assert_eq!(run(name, &["--unknown"], &nothing).status.code(), Some(2), "{name}");
    }
}

#[test]
fn switching_touches_our_entry_alone() {
    for (name, disabled) in [("enable-extension.sh", false), ("disable-extension.sh", true)] {
        let entry = json!({ "type": "cri-resmgr-extension", "disabled": disabled });
        assert_eq!(patch(name, ""), json!([{ "op": "add", "path": "/spec/extensions", "value": [entry] }]));
        assert_eq!(patch(name, r"other\n"), json!([{ "op": "add", "path": "/spec/extensions/-", "value": entry }]));
        assert_eq!(
            patch(name, r"other\ncri-resmgr-extension\nthird\n"),
            json!([
                { "op": "test", "path": "/spec/extensions/1/type", "value": "cri-resmgr-extension" },
                { "op": "add", "path": "/spec/extensions/1/disabled", "value": disabled },
            ])
        );
    }
}

#[test]
fn a_kubeconfig_comes_from_the_request_or_else_from_the_secret() {
    let answer = r#"{"kind":"AdminKubeconfigRequest","status":{"kubeconfig":"bmV3"}}"#;
    let secret = "printf b2xk";
    for (create, expected) in [(format!("cat >/dev/null; echo '{answer}'"), "new"), ("exit 1".to_owned(), "old")] {
        let kubectl = stand_in("kubectl", &format!("if [[ $1 == create ]]; then {create}; else {secret}; fi"));
        let output = run("shoot-kubeconfig.sh", &[], &kubectl);
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{output:?}");
    }
}

#[test]
fn a_kubeconfig_in_a_file_is_for_its_owner_alone() {
    let kubectl = stand_in("kubectl", "printf b2xk");
    let file = kubectl.path().join("config");
    let output = run("shoot-kubeconfig.sh", &["--output", file.to_str().unwrap()], &kubectl);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn loads_every_archive_and_fails_without_one() {
    let kind = stand_in("kind", "echo \"$@\"");
    let dist = tempfile::tempdir().unwrap();
    let dir = dist.path().to_str().unwrap();
    assert_eq!(run("kind-load-images.sh", &["--dir", dir], &kind).status.code(), Some(1));
    let archive = dist.path().join("gardener-extension-cri-resmgr-0.1.0.oci.tar");
    std::fs::write(&archive, "").unwrap();
    let output = run("kind-load-images.sh", &["--dir", dir, "--name", "k"], &kind);
    let expected = format!("load image-archive {} --name k", archive.display());
    assert!(String::from_utf8_lossy(&output.stdout).contains(&expected), "{output:?}");
}
