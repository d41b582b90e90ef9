//! The agent's own view of its node, by a run of its program in its pod.

use anyhow::{Context as _, bail};
use extension_config::names;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::AttachParams;
use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::Shoot;
use crate::limits;
use crate::text::clean;

/// The image has no shell, and nothing else that could be run.
const AGENT: &str = "/cri-resmgr-node-agent";

impl Shoot {
    /// What `status --output json` prints in the pod.
    pub(crate) async fn agent_status(&self, pod: &str) -> anyhow::Result<Vec<u8>> {
        self.ask_agent(pod, &[AGENT, "status", "--output", "json"]).await
    }

    /// What `host-log` prints in the pod: lines of the node's journal. An agent of an earlier version does not know the word.
    pub(crate) async fn host_log(&self, pod: &str, lines: u32) -> anyhow::Result<Vec<u8>> {
        self.ask_agent(pod, &[AGENT, "host-log", "--lines", &lines.to_string()]).await
    }

    async fn ask_agent(&self, pod: &str, words: &[&str]) -> anyhow::Result<Vec<u8>> {
        tokio::time::timeout(limits::EXEC, self.run_in(pod, words)).await.context("the agent did not answer in time")?
    }

    async fn run_in(&self, pod: &str, words: &[&str]) -> anyhow::Result<Vec<u8>> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), names::SHOOT_NAMESPACE);
        let parameters = AttachParams::default().container(names::NODE_AGENT_CONTAINER).stdin(false);
        let mut process = pods.exec(pod, words.iter().copied(), &parameters).await?;
        let (stdout, stderr) = (process.stdout(), process.stderr());
        let ended = process.take_status();
        let (printed, said) = tokio::try_join!(read(stdout), read(stderr))?;
        let status = match ended {
            Some(ended) => ended.await,
            None => None,
        };
        // What is left of the connection, where more was printed than is read.
        process.abort();
        if status.as_ref().and_then(|status| status.status.as_deref()) == Some("Success") {
            return Ok(printed);
        }
        let said = String::from_utf8_lossy(&said);
        let why = status.and_then(|status| status.message).unwrap_or_else(|| "it did not end".to_owned());
        bail!("the agent has no answer: {} {}", clean(&why, limits::SENTENCE), clean(said.trim(), limits::SENTENCE))
    }
}

async fn read(from: Option<impl AsyncRead + Unpin>) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        from.take(limits::STATUS_BYTES + 1).read_to_end(&mut bytes).await?;
    }
    if u64::try_from(bytes.len()).is_ok_and(|length| length > limits::STATUS_BYTES) {
        bail!("the agent's answer has more than {} bytes", limits::STATUS_BYTES);
    }
    Ok(bytes)
}
