//! What all of it is for: a policy says where a container runs, and the kernel keeps to it, on either version of control groups.

use anyhow::{Context as _, ensure};
use e2e::{Container, Workload};

use super::lab::Lab;

/// One CPU for all containers of the workload's namespace.
const ONE_CPU: &str = "\
policy:
  Active: balloons
  ReservedResources: {CPU: 750m}
  balloons:
    BalloonTypes:
    - {Name: one, MinCPUs: 1, MaxCPUs: 1, Namespaces: [default]}
";

pub(super) async fn node_32_containers_run_where_the_policy_says(lab: &mut Lab<'_>) -> anyhow::Result<()> {
    lab.be_clean().await?;
    let all: u32 = lab.shell("nproc").await?.trim().parse()?;
    ensure!(all > 1, "on one CPU there is nothing to place");
    let (pods, node) = (Workload::none(lab.shoot()), lab.worker.name().to_owned());
    let old = pods.start_pod("old", &node).await?;
    let free = cpus(lab, &old).await?;
    ensure!(free.parse::<u32>().is_err(), "on containerd it may run on CPU {free} alone");
    lab.be_installed_with(ONE_CPU).await?;
    let new = pods.start_pod("new", &node).await?;
    for (which, container) in [("a container of before", old), ("a new container", new)] {
        let placed = cpus(lab, &container).await?;
        ensure!(placed.parse::<u32>().is_ok(), "{which} may run on CPUs {placed}");
    }
    // What a policy has set stays with a container: it goes with its pod.
    for name in ["old", "new"] {
        pods.remove_pod(name).await?;
    }
    lab.be_clean().await.map(drop)
}

/// What the kernel says of the container's process.
async fn cpus(lab: &Lab<'_>, container: &Container) -> anyhow::Result<String> {
    let id = container.id.trim_start_matches("containerd://");
    let tasks = lab.shell("ctr --namespace k8s.io tasks list").await?;
    let task = tasks.lines().find(|line| line.starts_with(id)).with_context(|| format!("{id} has no task"))?;
    let pid = task.split_whitespace().nth(1).context("a task without a process")?;
    let status = lab.read(&format!("/proc/{pid}/status"))?;
    let cpus = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).context("no CPUs")?;
    Ok(cpus.trim().to_owned())
}
