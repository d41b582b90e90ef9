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
fn every_script_has_help_and_refuses_unknown_options() {
    let nothing = tempfile::tempdir().unwrap();
    for name in SCRIPTS {
        let help = run(name, &["--help"], &nothing);
        assert!(help.status.success() && String::from_utf8_lossy(&help.stdout).contains("Usage:"), "{name}: {help:?}");
        assert_eq!(run(name, &["--unknown"], &nothing).status.code(), Some(2), "{name}");
    }
}

#[test]
fn the_scripts_change_only_our_entry_of_the_shoot() {
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
fn the_kubeconfig_script_uses_the_request_and_falls_back_to_the_secret() {
    let answer = r#"{"kind":"AdminKubeconfigRequest","status":{"kubeconfig":"bmV3"}}"#;
    let secret = "printf b2xk";
    for (create, expected) in [(format!("cat >/dev/null; echo '{answer}'"), "new"), ("exit 1".to_owned(), "old")] {
        let kubectl = stand_in("kubectl", &format!("if [[ $1 == create ]]; then {create}; else {secret}; fi"));
        let output = run("shoot-kubeconfig.sh", &[], &kubectl);
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{output:?}");
    }
}

#[test]
fn the_kubeconfig_script_writes_a_file_that_only_its_owner_reads() {
    let kubectl = stand_in("kubectl", "printf b2xk");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config");
    // Not there, readable by everybody, and a link that somebody else has put there.
    let other = folder.path().join("other");
    std::fs::write(&other, "other").unwrap();
    let open = || {
        std::fs::remove_file(&file).unwrap();
        std::fs::write(&file, "before").unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
    };
    let link = || {
        std::fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink(&other, &file).unwrap();
    };
    for (what, before) in [("none", &(|| ()) as &dyn Fn()), ("open", &open), ("link", &link)] {
        before();
        let output = run("shoot-kubeconfig.sh", &["--output", file.to_str().unwrap()], &kubectl);
        assert!(output.status.success(), "{what}: {output:?}");
        let made = std::fs::symlink_metadata(&file).unwrap();
        assert!(made.is_file(), "{what}");
        assert_eq!(made.permissions().mode() & 0o777, 0o600, "{what}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "old", "{what}");
    }
    assert_eq!(std::fs::read_to_string(&other).unwrap(), "other");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "nothing else stays");
}

#[test]
fn the_kubeconfig_script_keeps_the_old_file_when_it_fails() {
    for body in ["exit 1", "printf '%%%%'"] {
        let kubectl = stand_in("kubectl", body);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config");
        std::fs::write(&file, "before").unwrap();
        let output = run("shoot-kubeconfig.sh", &["--output", file.to_str().unwrap()], &kubectl);
        assert!(!output.status.success(), "{body}: {output:?}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "before", "{body}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "{body}");
    }
    let kubectl = stand_in("kubectl", "printf b2xk");
    let folder = kubectl.path().to_str().unwrap();
    assert_eq!(run("shoot-kubeconfig.sh", &["--output", folder], &kubectl).status.code(), Some(2), "a folder");
}

#[test]
fn the_kind_script_loads_every_archive_and_fails_without_one() {
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
