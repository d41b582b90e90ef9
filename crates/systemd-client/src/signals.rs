//! Signals of the manager.

use zbus::proxy::SignalStream;
use zbus::{Message, OwnedObjectPath};

use crate::error::SystemdError;
use crate::systemd::{Systemd, classify};

/// `JobRemoved`: a job has ended.
#[derive(Debug)]
pub(crate) struct JobRemoved {
    pub(crate) job: OwnedObjectPath,
    pub(crate) unit: String,
    pub(crate) result: String,
}

impl JobRemoved {
    pub(crate) fn parse(what: &str, message: &Message) -> Result<Self, SystemdError> {
        let (_id, job, unit, result): (u32, OwnedObjectPath, String, String) = message
            .body()
            .deserialize()
            .map_err(|source| SystemdError::Protocol { what: format!("{what}, JobRemoved"), source })?;
        Ok(Self { job, unit, result })
    }
}

impl Systemd {
    /// A stream of one signal of the manager. It must be polled without a pause: unread signals stop the whole connection.
    pub(crate) async fn manager_signals(
        &self,
        what: &str,
        signal: &'static str,
    ) -> Result<SignalStream<'static>, SystemdError> {
        let opened = self.manager.receive_signal(signal).await;
        opened.map_err(|error| classify(what, error))
    }
}
