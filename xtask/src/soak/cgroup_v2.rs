//! A node with control groups of version 2, whatever the host has: in a virtual machine.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;
use testbed::{Generation, Progress, VirtualMachine};

use super::{SoakArgs, unless_interrupted};
use crate::terminal::say;
use crate::{artifacts, bed, test};

/// The emulated machine is ten times slower than the host, more where others work beside it.
const PATIENCE: &str = "20";
/// Install, placement of containers, removal with a file tree as before, a daemon that fails, and each start of kubelet, with the agent as a program of
/// the worker. (The controller and the agent as a pod, too, are more than was seen to get through in half an hour.)
const CASES: &str = "node_01,node_32,node_25,node_09,node_41";
/// What the job has to find things by as we do.
const HANDED_ON: [&str; 8] =
    ["PATH", "HOME", "XDG_CACHE_HOME", "GOPATH", "GOROOT", "GOMODCACHE", "GOTOOLCHAIN", "GOFLAGS"];

/// Needs what `cargo xtask test --real` needs, and Debian's packages.
pub(super) fn node(root: &Path, _: &SoakArgs) -> anyhow::Result<String> {
    of(root, Generation::Old)
}

/// The same with the newest kubelet and containerd.
pub(super) fn new_node(root: &Path, _: &SoakArgs) -> anyhow::Result<String> {
    of(root, Generation::New)
}

fn of(root: &Path, generation: Generation) -> anyhow::Result<String> {
    bed::ensure_machine()?;
    let artifacts = artifacts::build(root, artifacts::Payload::CriResmgr)?;
    let tests = test::test_program(root, ("e2e", Some("real")))?.context("the tests do not compile")?.executable;
    let mut variables: Vec<(&str, String)> = artifacts.to_env().into();
    variables.extend(HANDED_ON.iter().filter_map(|name| Some((*name, std::env::var(name).ok()?))));
    variables.extend(
        [("TESTBED_PATIENCE", PATIENCE), ("NODE_CASES", CASES), ("GOPROXY", "off")]
            .map(|(name, value)| (name, value.to_owned())),
    );
    variables.push((Generation::VARIABLE, generation.to_string()));
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
    Ok(format!("on cgroup v2, generation {generation}: {CASES}"))
}

/// For the shell.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}
