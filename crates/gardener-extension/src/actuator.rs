//! What an extension does: the one trait that it implements.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use gardener_api::{Cluster, Extension, ManagedResource, RawJson, Shoot};
use kube::Client;
use serde_json::Value;

use crate::cache::Cache;
use crate::events::{EventSink, Notice};
use crate::key::Key;
use crate::{Error, reason};

/// Does the work of one extension type.
///
/// Every method is called again and again until it returns [`Progress::Done`]: after errors, after restarts, when a watched
/// object changes. So each must be idempotent, must write nothing when there is nothing to do, and must not wait inside:
/// what takes time is [`Progress::Pending`]. For one Extension never two calls run at the same time.
#[async_trait]
pub trait Actuator: Send + Sync + 'static {
    /// Brings the shoot to what the Extension wants (operations Create and Reconcile).
    async fn reconcile(&self, context: &Context) -> Result<Outcome, ActuatorError>;

    /// Takes everything away again; the finalizer stays until this is done.
    async fn delete(&self, context: &Context) -> Result<Outcome, ActuatorError>;

    /// Takes away what can be taken away without waiting for anything (Gardener's force deletion).
    async fn force_delete(&self, context: &Context) -> Result<Outcome, ActuatorError>;

    /// Lets go of the shoot, which lives on under another seed: nothing in the shoot may change.
    async fn migrate(&self, context: &Context) -> Result<Outcome, ActuatorError>;

    /// Takes over a shoot from another seed.
    async fn restore(&self, context: &Context) -> Result<Outcome, ActuatorError>;
}

/// What a call came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How far the operation is.
    pub progress: Progress,
    /// The Extension's providerStatus; `None` leaves it as it is. The engine writes it, together with the state of the operation.
    pub provider_status: Option<ProviderStatus>,
}

/// How far an operation is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The operation is complete.
    Done,
    /// Something is awaited. The engine calls again when a watched ManagedResource or the Cluster changes, at the latest
    /// after `requeue_after`. `message` becomes the description of the operation (and of its error when it takes too long).
    Pending {
        /// Who or what is awaited, for people.
        message: String,
        /// Latest time until the next call.
        requeue_after: Duration,
    },
}

/// The part of the status that is the actuator's to decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderStatus {
    /// The whole of it: what stands there and is not in here goes.
    pub value: Value,
    /// Published when it is written, which it is only if something else stood there.
    pub events: Vec<Notice>,
}

impl Outcome {
    /// The operation is complete.
    #[must_use]
    pub fn done() -> Self {
        Self { progress: Progress::Done, provider_status: None }
    }

    /// Something is awaited, see [`Progress::Pending`].
    #[must_use]
    pub fn pending(message: impl Into<String>, requeue_after: Duration) -> Self {
        Self { progress: Progress::Pending { message: message.into(), requeue_after }, provider_status: None }
    }

    /// With this providerStatus.
    #[must_use]
    pub fn with_provider_status(self, provider_status: Option<ProviderStatus>) -> Self {
        Self { provider_status, ..self }
    }
}

/// Everything a call may use.
#[derive(Clone)]
pub struct Context {
    /// Client of the seed. It refuses to write when leadership is lost.
    pub client: Client,
    /// The Extension as last read.
    pub extension: Arc<Extension>,
    /// Its Cluster; `None` only in a namespace that is not a shoot's.
    pub cluster: Option<Arc<Cluster>>,
    /// The Shoot in it.
    pub shoot: Option<Arc<Shoot>>,
    /// Namespace of the Extension.
    pub namespace: String,
    /// For Kubernetes Events on the Extension.
    pub events: EventSink,
    /// See [`crate::ControllerConfig::provider_config_limit`].
    pub provider_config_limit: usize,
    /// What the watches have shown.
    pub(crate) cache: Arc<Cache>,
}

impl Context {
    /// One of the ManagedResources of [`crate::ControllerConfig::managed_resources`], as its watch has shown it; read where that says nothing. What
    /// is about to be applied needs no more: the answer says what was there. What is about to be taken away does.
    ///
    /// # Errors
    /// When it has to be read, and that fails.
    pub async fn managed_resource(&self, name: &str) -> Result<Option<ManagedResource>, Error> {
        let key = Key { namespace: self.namespace.clone(), name: name.to_owned() };
        match self.cache.synced_managed_resource(&key) {
            Some(Ok(seen)) => Ok(seen.map(|seen| ManagedResource::clone(&seen))),
            Some(Err(_)) | None => crate::managed_resources::get(&self.client, &self.namespace, name).await,
        }
    }

    /// Reads a providerConfig. Call it where it is needed and nowhere else: what cannot be read must not hold up a deletion.
    ///
    /// # Errors
    /// The owner's mistake when it is too long, or nested too deeply; the text says what is allowed.
    pub fn read_provider_config(&self, raw: &RawJson) -> Result<Value, ActuatorError> {
        read_provider_config(raw, self.provider_config_limit)
    }
}

fn read_provider_config(raw: &RawJson, limit: usize) -> Result<Value, ActuatorError> {
    raw.read(limit).map_err(|fault| {
        ActuatorError::configuration(reason::INVALID_PROVIDER_CONFIG, format!("providerConfig: {fault}"))
    })
}

impl fmt::Debug for Context {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the objects: they hold the shoot owner's configuration.
        formatter.debug_struct("Context").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

/// Whose fault an error is; decides on its code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// The shoot owner's configuration. The only class that carries `ERR_CONFIGURATION_PROBLEM`, which makes Gardener give
    /// the Shoot up at once.
    Configuration,
    /// Anything else: it may go away by itself.
    Transient,
}

/// Why a call failed.
#[derive(Debug)]
pub struct ActuatorError {
    class: ErrorClass,
    reason: &'static str,
    message: String,
    summary: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl ActuatorError {
    /// The shoot owner's mistake. `reason` is a fixed PascalCase word (Event reason, metric label); `message` names the field.
    pub fn configuration(reason: &'static str, message: impl Into<String>) -> Self {
        Self { class: ErrorClass::Configuration, reason, message: message.into(), summary: None, source: None }
    }

    /// Anything that may go away. `reason` as in [`Self::configuration`]; `message` says what was tried.
    pub fn transient(reason: &'static str, message: impl Into<String>) -> Self {
        Self { class: ErrorClass::Transient, reason, message: message.into(), summary: None, source: None }
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// What logs and Events say instead: for a message that shows what a user wrote, which belongs in the status alone.
    #[must_use]
    pub fn with_summary(mut self, summary: impl Into<String>) -> Self {
        self.summary = Some(summary.into());
        self
    }

    /// What logs and Events say instead of the message.
    #[must_use]
    pub fn summary(&self) -> Option<&str> {
        self.summary.as_deref()
    }

    /// Whose fault it is.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        self.class
    }

    /// The fixed word for it.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        self.reason
    }
}

impl fmt::Display for ActuatorError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl StdError for ActuatorError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

/// API errors of helpers are nobody's configuration.
impl From<crate::Error> for ActuatorError {
    fn from(error: crate::Error) -> Self {
        let reason = error.reason();
        Self {
            class: ErrorClass::Transient,
            reason,
            message: "the seed's API".to_owned(),
            summary: None,
            source: Some(Box::new(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_config_that_cannot_be_read_is_its_owners_mistake() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        for (text, expected) in [
            (nested(130), "providerConfig: lists and maps are nested too deeply: at most 127 levels are read"),
            (nested(200), "providerConfig: 400 bytes of JSON are too many: at most 300 are read"),
            (nested(10_000), "providerConfig: 20000 bytes of JSON are too many: at most 300 are read"),
        ] {
            let raw: RawJson = serde_json::from_str(&text).unwrap();
            let error = read_provider_config(&raw, 300).unwrap_err();
            assert_eq!((error.class(), error.to_string().as_str()), (ErrorClass::Configuration, expected));
        }
        let raw: RawJson = serde_json::from_str(r#"{"configs": {}}"#).unwrap();
        assert_eq!(read_provider_config(&raw, 300).unwrap(), serde_json::json!({ "configs": {} }));
    }
}
