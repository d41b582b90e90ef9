//! The daemon's configuration socket.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use cri_client::{ConfigClient, CriError};
use dynamic_config::{Answer, Push};
use serde_json::json;

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(3);
/// Longest wait for an answer: the daemon may move every container first.
const CALL: Duration = Duration::from_secs(15);
/// Key of an error that is about the call itself.
const REQUEST: &str = "request";

/// A client that connects anew for each push: no connection outlives a run of the daemon.
#[derive(Debug)]
pub(crate) struct ConfigSocket {
    socket: PathBuf,
    node: String,
    limit: Duration,
}

impl ConfigSocket {
    pub(crate) fn new(socket: PathBuf, node: String) -> Self {
        Self { socket, node, limit: CALL }
    }

    /// With another longest wait for an answer.
    #[cfg(test)]
    pub(super) fn within(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    /// Hands something over. Error: it did not arrive, in words without its text.
    pub(crate) async fn push(&self, push: &Push) -> Result<Answer, String> {
        let client = ConfigClient::connect(&self.socket, CONNECT).await.map_err(|error| plain(&error))?;
        let outcome = match push {
            Push::Config { data, .. } => {
                client.set_config(&self.node, data.clone(), self.limit).await.map(|()| Answer::Accepted)
            }
            Push::Adjustments { set } => client
                .set_adjustment(&self.node, json!(set).to_string(), self.limit)
                .await
                .map(|errors| if errors.is_empty() { Answer::Accepted } else { Answer::Refused(errors) }),
        };
        match outcome {
            Ok(answer) => Ok(answer),
            Err(CriError::Refused { .. }) => Ok(Answer::Refused(BTreeMap::new())),
            // It got the call and does not want it; the same call would end the same way. So a Go server answers a quantity that it cannot read.
            Err(CriError::Call { message, code, .. }) if !error_of_transport(code) => {
                Ok(Answer::Refused(BTreeMap::from([(REQUEST.to_owned(), message)])))
            }
            Err(error) => Err(plain(&error)),
        }
    }
}

fn error_of_transport(code: cri_client::Code) -> bool {
    use cri_client::Code;
    matches!(code, Code::Unavailable | Code::DeadlineExceeded | Code::Cancelled)
}

/// The server's own words are left out: they may quote what was pushed.
fn plain(error: &CriError) -> String {
    match error {
        CriError::Call { socket, phase, code, .. } => format!("{phase} on {} failed with {code:?}", socket.display()),
        other => observability::ErrorChain(other).to_string(),
    }
}
