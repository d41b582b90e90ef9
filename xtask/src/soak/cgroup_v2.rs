//! A node with control groups of version 2, whatever the host has: in a virtual machine.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, ensure};
use testbed::{Progress, VirtualMachine};

use super::{SoakArgs, unless_interrupted};
use crate::terminal::say;
use crate::{artifacts, bed};

/// The emulated machine is ten times slower than the host, more where others work beside it.
const PATIENCE: &str = "20";
/// Install, placement of containers, removal with a file tree as before, and a daemon that fails, with the agent as a program of the
/// worker. (The controller and the agent as a pod, too, are more than was seen to get through in half an hour.)
const CASES: &str = "node_01,node_32,node_25,node_09";
/// What the job has to find things by as we do.
const HANDED_ON: [&str; 8] =
    ["PATH", "HOME", "XDG_CACHE_HOME", "GOPATH", "GOROOT", "GOMODCACHE", "GOTOOLCHAIN", "GOFLAGS"];

/// Needs what `cargo xtask test --real` needs, and Debian's packages.
pub(super) fn node(root: &Path, _: &SoakArgs) -> anyhow::Result<String> {
    bed::ensure_machine()?;
    let artifacts = artifacts::build(root, artifacts::Payload::CriResmgr)?;
    let tests = tests(root)?;
    let mut variables: Vec<(&str, String)> = artifacts.to_env().into();
    variables.extend(HANDED_ON.iter().filter_map(|name| Some((*name, std::env::var(name).ok()?))));
    variables.extend(
        [("TESTBED_PATIENCE", PATIENCE), ("NODE_CASES", CASES), ("GOPROXY", "off")]
            .map(|(name, value)| (name, value.to_owned())),
    );
    let mut job = String::from("set -e\n");
    for (name, value) in variables {
        writeln!(job, "export {name}={}", quoted(&value))?;
    }
    job.push_str("test \"$(stat --file-system --format=%T /sys/fs/cgroup)\" = cgroup2fs\n");
    writeln!(job, "{} --test-threads=1 --nocapture node::node", quoted(&tests.display().to_string()))?;
    let progress = Progress::default();
    unless_interrupted(async {
        let machine = VirtualMachine::obtain(root, &progress).await?;
        progress.step("booting a machine with cgroup v2, emulated: this takes a while");
        machine.run(&job, &progress, say).await
    })?;
    Ok(format!("on cgroup v2: {CASES}"))
}

/// Builds the tests on real components and gives their program.
fn tests(root: &Path) -> anyhow::Result<PathBuf> {
    let words = ["test", "--package", "e2e", "--test", "real", "--locked", "--no-run", "--message-format", "json"];
    let output = image_builder::binaries::cargo().args(words).current_dir(root).stderr(Stdio::inherit()).output()?;
    ensure!(output.status.success(), "cargo ended with {}", output.status);
    let messages = String::from_utf8_lossy(&output.stdout);
    let mut programs = messages.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(message["executable"].as_str()?.to_owned())
    });
    Ok(programs.next_back().context("cargo has built no tests")?.into())
}

/// For the shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}
