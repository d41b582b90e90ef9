//! Does the proxy answer?

use std::error::Error;
use std::path::Path;
use std::time::Duration;

/// What the proxy (or containerd) did when it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// `Version` and `Status` answered, and `RuntimeReady` is true. With the runtime's name and version.
    Ready(String),
    /// Both answered, but `RuntimeReady` is not true.
    NotReady,
    /// No answer, or an error; why.
    Silent(String),
}

/// Asks once, within `deadline` in all.
pub(crate) async fn ask(socket: &Path, deadline: Duration) -> Answer {
    match cri_client::probe(socket, deadline).await {
        Ok(outcome) if outcome.is_ready() => {
            Answer::Ready(format!("{} {}", outcome.version.name, outcome.version.version))
        }
        Ok(_) => Answer::NotReady,
        Err(error) => Answer::Silent(match error.source() {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        }),
    }
}
