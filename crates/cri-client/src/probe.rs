//! Does a runtime answer on this socket, right now?

use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use crate::error::CriError;
use crate::runtime::{RuntimeClient, RuntimeStatus, RuntimeVersion};

/// A runtime that answered both calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeOutcome {
    /// Answer of `Version`.
    pub version: RuntimeVersion,
    /// Answer of `Status`.
    pub status: RuntimeStatus,
}

impl ProbeOutcome {
    /// Whether the condition `RuntimeReady` is there and true. `NetworkReady` does not count: it is false on a fresh node.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.status.is_runtime_ready()
    }
}

/// Connects, calls `Version`, then `Status`, all within `deadline` from now. A successful connect alone proves nothing: cri-resmgr listens
/// before it serves.
pub async fn probe(socket: &Path, deadline: Duration) -> Result<ProbeOutcome, CriError> {
    let end = Instant::now() + deadline;
    let left = || end.saturating_duration_since(Instant::now());
    let client = RuntimeClient::connect(socket, left()).await?;
    let version = client.version(left()).await?;
    let status = client.status(left()).await?;
    Ok(ProbeOutcome { version, status })
}
