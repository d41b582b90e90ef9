//! `runtime.v1.RuntimeService`: `Version` and `Status`.

use std::path::Path;
use std::time::Duration;

use crate::connect::Connection;
use crate::error::{CriError, Phase};

/// Sent as the kubelet does: the version of the kubelet's side of the protocol.
const KUBELET_API_VERSION: &str = "0.1.0";

/// A client of a container runtime, or of the proxy before it.
#[derive(Debug, Clone)]
pub struct RuntimeClient {
    pub(crate) connection: Connection,
}

impl RuntimeClient {
    /// Connects to the socket within `limit`.
    pub async fn connect(socket: &Path, limit: Duration) -> Result<Self, CriError> {
        Ok(Self { connection: Connection::open(socket, limit).await? })
    }

    /// Name and version of the runtime.
    pub async fn version(&self, limit: Duration) -> Result<RuntimeVersion, CriError> {
        let request = VersionRequest { version: KUBELET_API_VERSION.to_owned() };
        let reply: VersionResponse =
            self.connection.call(Phase::Version, "/runtime.v1.RuntimeService/Version", request, limit).await?;
        Ok(RuntimeVersion {
            name: reply.runtime_name,
            version: reply.runtime_version,
            api_version: reply.runtime_api_version,
        })
    }

    /// The runtime's conditions.
    pub async fn status(&self, limit: Duration) -> Result<RuntimeStatus, CriError> {
        let request = StatusRequest { verbose: false };
        let reply: StatusResponse =
            self.connection.call(Phase::Status, "/runtime.v1.RuntimeService/Status", request, limit).await?;
        let conditions = reply.status.unwrap_or_default().conditions;
        Ok(RuntimeStatus { conditions: conditions.into_iter().map(RuntimeCondition::from).collect() })
    }
}

/// Answer of `Version`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeVersion {
    /// Name, `containerd` for example; the proxy hands on that of the runtime behind it.
    pub name: String,
    /// Version of the runtime.
    pub version: String,
    /// CRI version that it speaks, `v1`.
    pub api_version: String,
}

/// Answer of `Status`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeStatus {
    /// All conditions, in the server's order.
    pub conditions: Vec<RuntimeCondition>,
}

impl RuntimeStatus {
    /// The condition of this kind.
    #[must_use]
    pub fn condition(&self, kind: &str) -> Option<&RuntimeCondition> {
        self.conditions.iter().find(|condition| condition.kind == kind)
    }

    /// Whether `RuntimeReady` is there and true.
    #[must_use]
    pub fn is_runtime_ready(&self) -> bool {
        self.condition("RuntimeReady").is_some_and(|condition| condition.status)
    }
}

/// One condition of the runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeCondition {
    /// `RuntimeReady` or `NetworkReady`.
    pub kind: String,
    /// True is good.
    pub status: bool,
    /// One word.
    pub reason: String,
    /// A sentence.
    pub message: String,
}

impl From<Condition> for RuntimeCondition {
    fn from(condition: Condition) -> Self {
        Self { kind: condition.r#type, status: condition.status, reason: condition.reason, message: condition.message }
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct VersionRequest {
    #[prost(string, tag = "1")]
    pub(crate) version: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct VersionResponse {
    #[prost(string, tag = "1")]
    pub(crate) version: String,
    #[prost(string, tag = "2")]
    pub(crate) runtime_name: String,
    #[prost(string, tag = "3")]
    pub(crate) runtime_version: String,
    #[prost(string, tag = "4")]
    pub(crate) runtime_api_version: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StatusRequest {
    #[prost(bool, tag = "1")]
    pub(crate) verbose: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StatusResponse {
    #[prost(message, optional, tag = "1")]
    pub(crate) status: Option<Status>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Status {
    #[prost(message, repeated, tag = "1")]
    pub(crate) conditions: Vec<Condition>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Condition {
    #[prost(string, tag = "1")]
    pub(crate) r#type: String,
    #[prost(bool, tag = "2")]
    pub(crate) status: bool,
    #[prost(string, tag = "3")]
    pub(crate) reason: String,
    #[prost(string, tag = "4")]
    pub(crate) message: String,
}
