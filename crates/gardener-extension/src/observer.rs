//! What is seen behind an Extension beside all operations: the trait of an extension that observes the nodes of its shoots. What it finds becomes
//! one key of the providerStatus, and a sentence in the health condition while that is not good.

use async_trait::async_trait;
use gardener_api::constants::GENERIC_KUBECONFIG_DEFAULT;
use jiff::Timestamp;
use serde_json::Value;

use crate::events::Notice;

/// Observes what is behind Extensions.
#[async_trait]
pub trait Observer: Send + Sync + 'static {
    /// Observes once; never twice at a time for one Extension. It may take its time, within a bound of its own; it is dropped in the middle when the
    /// Extension goes. The error says why nothing was seen.
    async fn observe(&self, subject: &Subject) -> Result<Observation, String>;

    /// What the status says where nothing was seen `since` then. `before` is what stands there: whoever finds the same writes nothing.
    fn unseen(&self, before: Option<&Value>, since: Timestamp, why: &Unseen) -> Value;

    /// What a status says for the health condition: who is the reason. Of the status alone, so that a new process says the same.
    fn detail(&self, status: &Value) -> Option<String>;

    /// What Events say of the status now, where `before` stood before. Of the two alone, so that a new process reports nothing twice.
    fn notices(&self, before: Option<&Value>, now: &Value) -> Vec<Notice>;

    /// No observation follows: what is kept for this namespace may go.
    fn forget(&self, namespace: &str);
}

/// What is observed.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Namespace of the Extension.
    pub namespace: String,
    /// Secret with the generic kubeconfig.
    pub generic_kubeconfig: String,
    /// What was found before, as it stands in the status.
    pub before: Option<Value>,
}

/// What was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// For the key of the providerStatus. What is equal is not written again, so it must not contain the time of the observation.
    pub status: Value,
    /// Nothing more is awaited: the next observation may be later.
    pub is_settled: bool,
}

/// Why nothing was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unseen {
    /// The shoot is hibernated: there is nothing.
    Hibernated,
    /// Observations failed; the last one for this reason.
    Failed(String),
}

pub(crate) fn generic_kubeconfig(cluster: Option<&gardener_api::Cluster>) -> String {
    cluster.map_or(GENERIC_KUBECONFIG_DEFAULT, gardener_api::Cluster::generic_kubeconfig_secret).to_owned()
}
