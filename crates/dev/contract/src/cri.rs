//! CRI over a socket.

use std::path::Path;
use std::time::Duration;

use anyhow::ensure;
use cri_client::{RuntimeClient, probe};
use futures::future::try_join_all;

const LIMIT: Duration = Duration::from_secs(20);

pub(super) async fn version_reports_containerd_and_cri_v1(socket: &Path) -> anyhow::Result<()> {
    let version = probe(socket, LIMIT).await?.version;
    ensure!(version.name == "containerd" && version.api_version == "v1" && !version.version.is_empty(), "{version:?}");
    Ok(())
}

pub(super) async fn status_reports_runtime_and_network_readiness(socket: &Path) -> anyhow::Result<()> {
    let answer = probe(socket, LIMIT).await?;
    ensure!(answer.is_ready(), "{:?}", answer.status);
    ensure!(answer.status.condition("NetworkReady").is_some(), "{:?}", answer.status);
    Ok(())
}

pub(super) async fn one_connection_serves_many_calls(socket: &Path) -> anyhow::Result<()> {
    let client = RuntimeClient::connect(socket, LIMIT).await?;
    let first = client.version(LIMIT).await?;
    for _ in 0..10 {
        ensure!(client.version(LIMIT).await? == first, "the version changes");
        ensure!(client.status(LIMIT).await?.is_runtime_ready(), "it is not ready");
    }
    Ok(())
}

pub(super) async fn many_connections_are_served_at_once(socket: &Path) -> anyhow::Result<()> {
    let answers = try_join_all((0..10).map(|_| probe(socket, LIMIT))).await?;
    ensure!(answers.iter().all(|answer| answer == &answers[0]), "{answers:?}");
    Ok(())
}
