//! `v1.Config`: cri-resmgr's service that takes a configuration and adjustments.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::Duration;

use crate::connect::Connection;
use crate::error::{CriError, Phase};

/// A client of cri-resmgr's configuration socket, which is there only without `--force-config`.
#[derive(Debug, Clone)]
pub struct ConfigClient {
    connection: Connection,
}

impl ConfigClient {
    /// Connects to the socket within `limit`.
    pub async fn connect(socket: &Path, limit: Duration) -> Result<Self, CriError> {
        Ok(Self { connection: Connection::open(socket, limit).await? })
    }

    /// Hands over a whole configuration: keys and texts of the ConfigMap that it comes from. cri-resmgr keeps it over its own restart.
    /// A refusal is [`CriError::Refused`]; cri-resmgr then goes on with what it had.
    pub async fn set_config(
        &self,
        node_name: &str,
        config: BTreeMap<String, String>,
        limit: Duration,
    ) -> Result<(), CriError> {
        let request = SetConfigRequest { node_name: node_name.to_owned(), config: config.into_iter().collect() };
        let reply: SetConfigReply =
            self.connection.call(Phase::SetConfig, "/v1.Config/SetConfig", request, limit).await?;
        if reply.error.is_empty() { Ok(()) } else { Err(CriError::Refused { message: reply.error }) }
    }

    /// Hands over the complete set of adjustments as a JSON object, `{}` for none; lost when cri-resmgr restarts. Gives the errors by
    /// adjustment, container or `cache`: if there is one, nothing of the set was applied.
    pub async fn set_adjustment(
        &self,
        node_name: &str,
        adjustment: String,
        limit: Duration,
    ) -> Result<BTreeMap<String, String>, CriError> {
        let request = SetAdjustmentRequest { node_name: node_name.to_owned(), adjustment };
        let reply: SetAdjustmentReply =
            self.connection.call(Phase::SetAdjustment, "/v1.Config/SetAdjustment", request, limit).await?;
        Ok(reply.errors.into_iter().collect())
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SetConfigRequest {
    #[prost(string, tag = "1")]
    pub(crate) node_name: String,
    #[prost(map = "string, string", tag = "2")]
    pub(crate) config: HashMap<String, String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SetConfigReply {
    #[prost(string, tag = "1")]
    pub(crate) error: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SetAdjustmentRequest {
    #[prost(string, tag = "1")]
    pub(crate) node_name: String,
    #[prost(string, tag = "2")]
    pub(crate) adjustment: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SetAdjustmentReply {
    #[prost(map = "string, string", tag = "1")]
    pub(crate) errors: HashMap<String, String>,
}
