//! What the kernel says of containers: the CPUs that each one's first process may use. Nothing of ours has a part in it.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use testbed::{Worker, wait_for};

/// CPUs that each running container's first process may use, by container id: the kernel's own word.
///
/// # Errors
/// When the worker does not answer.
pub async fn cpus(worker: &Worker) -> anyhow::Result<BTreeMap<String, String>> {
    let script = "ctr --namespace k8s.io tasks list | tail -n +2 | while read -r id pid status; do
        sed -n \"s/^Cpus_allowed_list:/$id/p\" /proc/$pid/status; done";
    let said = worker.shell(script).await?;
    let words = said.lines().filter_map(|line| line.split_once(char::is_whitespace));
    Ok(words.map(|(id, cpus)| (id.to_owned(), cpus.trim().to_owned())).collect())
}

/// The CPUs of the container with this id, `containerd://…`.
///
/// # Errors
/// When it does not run there.
pub async fn cpus_of(worker: &Worker, id: &str) -> anyhow::Result<String> {
    let id = id.strip_prefix("containerd://").unwrap_or(id);
    cpus(worker).await?.remove(id).with_context(|| format!("container {id} does not run on {}", worker.name()))
}

/// Waits until a container may use these CPUs.
///
/// # Errors
/// Which ones it may use when the time is over.
pub async fn wait_cpus(worker: &Worker, id: &str, wanted: &str, limit: Duration) -> anyhow::Result<()> {
    wait_for(&format!("container {id} to have the CPUs {wanted}"), limit, || async {
        let found = cpus_of(worker, id).await?;
        ensure!(found == wanted, "it has {found}");
        Ok(Some(()))
    })
    .await
}

/// Names of the running containers, `NAMESPACE/POD`, by container id; sandboxes are none.
///
/// # Errors
/// When the worker does not answer.
pub async fn names(worker: &Worker) -> anyhow::Result<BTreeMap<String, String>> {
    let script = "ctr --namespace k8s.io tasks list --quiet | while read -r id; do
        printf '%s ' \"$id\"; ctr --namespace k8s.io containers info \"$id\" | tr -d ' \\n'; echo; done";
    let said = worker.shell(script).await?;
    let name = |line: &str| {
        let (id, info) = line.split_once(' ')?;
        let label = |key: &str| {
            let (_, rest) = info.split_once(&format!("\"{key}\":\""))?;
            rest.split_once('"').map(|(value, _)| value.to_owned())
        };
        // Only containers have it.
        label("io.kubernetes.container.name")?;
        let name = format!("{}/{}", label("io.kubernetes.pod.namespace")?, label("io.kubernetes.pod.name")?);
        Some((id.to_owned(), name))
    };
    Ok(said.lines().filter_map(name).collect())
}
