//! What all of it is for: a policy says where a container runs, and the kernel keeps to it, on either version of control groups.

use std::collections::BTreeMap;

use anyhow::{Context as _, ensure};
use cri_client::ConfigClient;
use e2e::{Container, Workload};
use extension_config::names::node as host;

use super::fixture::{NodeFixture, SOON};

/// One CPU for all containers of the workload's namespace.
const ONE_CPU: &str = "\
policy:
  Active: balloons
  ReservedResources: {CPU: 750m}
  balloons:
    BalloonTypes:
    - {Name: one, MinCPUs: 1, MaxCPUs: 1, Namespaces: [default]}
";

pub(super) async fn node_32_containers_run_where_the_policy_says(fixture: &mut NodeFixture<'_>) -> anyhow::Result<()> {
    fixture.be_clean().await?;
    let all: u32 = fixture.shell("nproc").await?.trim().parse()?;
    ensure!(all > 1, "on one CPU there is nothing to place");
    let (pods, node) = (Workload::none(fixture.shoot()), fixture.worker.name().to_owned());
    let old = pods.start_pod("old", &node).await?;
    let free = cpus(fixture, &old).await?;
    ensure!(free.parse::<u32>().is_err(), "on containerd it may run on CPU {free} alone");
    fixture.be_installed_with(ONE_CPU).await?;
    let new = pods.start_pod("new", &node).await?;
    for (which, container) in [("a container of before", old), ("a new container", new)] {
        let placed = cpus(fixture, &container).await?;
        ensure!(placed.parse::<u32>().is_ok(), "{which} may run on CPUs {placed}");
    }
    // What a policy has set stays with a container: it goes with its pod.
    for name in ["old", "new"] {
        pods.remove_pod(name).await?;
    }
    fixture.be_clean().await.map(drop)
}

/// Files by which somebody could become root, and some that would only be left behind.
const ELSEWHERE: [&str; 8] = [
    "/etc/profile.d/dump.sh",
    "/etc/ld.so.preload",
    "/run/systemd/system/dump.service",
    "/opt/intel/bin/dump",
    "/var/lib/kubelet/dump",
    "/usr/local/dump",
    "/root/dump",
    "/tmp/dump",
];
/// It is there; opening it is the attack.
const CORE_PATTERN: &str = "/proc/sys/kernel/core_pattern";

/// W3, with what our own checks leave out handed straight to the daemon's socket: its unit alone stands in the way.
pub(super) async fn node_33_the_daemon_writes_nowhere_else(fixture: &mut NodeFixture<'_>) -> anyhow::Result<()> {
    fixture.be_clean().await?;
    let (pods, node) = (Workload::none(fixture.shoot()), fixture.worker.name().to_owned());
    let installed = fixture.be_installed_with(ONE_CPU).await?;
    let invocation = fixture.shell("systemctl show --property=InvocationID cri-resource-manager").await?;
    // The daemon opens the file, and works on, where it may.
    let allowed = format!("{}/dump", host::DAEMON_STATE_DIR);
    dump_to(fixture, &allowed).await?;
    ensure!(fixture.exists(&allowed)?, "the daemon did not open {allowed}: the rest of this case would show nothing");
    for path in ELSEWHERE {
        dump_to(fixture, path).await?;
        ensure!(!fixture.exists(path)?, "the daemon has made {path}");
    }
    dump_to(fixture, CORE_PATTERN).await?;
    let log = fixture.shell("journalctl --sync; journalctl --no-pager -o cat -u cri-resource-manager").await?;
    // Its own `/tmp` is the one place where it could open the file.
    for path in ELSEWHERE.into_iter().chain([CORE_PATTERN]).filter(|path| !path.starts_with("/tmp/")) {
        let refused = format!("failed to open file \"{path}\"");
        ensure!(log.contains(&refused), "the daemon's journal does not say: {refused}");
    }
    // What it is there for goes on, in the same run.
    let container = pods.start_pod("confined", &node).await?;
    let placed = cpus(fixture, &container).await?;
    ensure!(placed.parse::<u32>().is_ok(), "a container under the confined daemon may run on CPUs {placed}");
    pods.remove_pod("confined").await?;
    let now = fixture.shell("systemctl show --property=InvocationID cri-resource-manager").await?;
    ensure!(now == invocation, "the daemon was restarted");
    ensure!(fixture.facts().await?.kubelet_invocation == installed.kubelet_invocation, "kubelet was restarted");
    fixture.be_clean().await.map(drop)
}

/// Hands the daemon a configuration that opens this file.
async fn dump_to(fixture: &NodeFixture<'_>, path: &str) -> anyhow::Result<()> {
    let policy = ONE_CPU.strip_prefix("policy:\n").context("a policy")?.replace("\n  ", "\n");
    let data = [("policy", policy.trim_start().to_owned()), ("dump", format!("File: {path}\n"))];
    let data: BTreeMap<String, String> = data.into_iter().map(|(key, text)| (key.to_owned(), text)).collect();
    let client = ConfigClient::connect(&fixture.path(host::CONFIG_SOCKET)?, SOON).await?;
    Ok(client.set_config(fixture.worker.name(), data, SOON).await?)
}

/// What the kernel says of the container's process.
async fn cpus(fixture: &NodeFixture<'_>, container: &Container) -> anyhow::Result<String> {
    let id = container.id.trim_start_matches("containerd://");
    let tasks = fixture.shell("ctr --namespace k8s.io tasks list").await?;
    let task = tasks.lines().find(|line| line.starts_with(id)).with_context(|| format!("{id} has no task"))?;
    let pid = task.split_whitespace().nth(1).context("a task without a process")?;
    let status = fixture.read(&format!("/proc/{pid}/status"))?;
    let cpus = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).context("no CPUs")?;
    Ok(cpus.trim().to_owned())
}
