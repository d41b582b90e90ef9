//! Every call of the shoot's API server has a deadline: it may be away, and the node must not wait for it.

use std::future::Future;
use std::time::Duration;

/// Longest time for one call, or for a few that answer one question.
pub(crate) const DEADLINE: Duration = Duration::from_secs(5);

/// Why the shoot's API could not be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ShootError {
    /// The credentials of the pod's service account.
    #[error("read the service account of the pod")]
    ServiceAccount(#[source] Box<kube::config::InClusterError>),
    /// A kubeconfig file.
    #[error("read the kubeconfig {path}")]
    Kubeconfig {
        /// Path in the agent's container.
        path: String,
        /// What is wrong with it.
        source: Box<kube::config::KubeconfigError>,
    },
    /// The credentials give no client.
    #[error("make a client for the API server")]
    Client(#[source] Box<kube::Error>),
    /// There never was a client; the log says why.
    #[error("there is no client for the API server")]
    NoClient,
    /// The API server refused, or could not be reached.
    #[error("{action} {object}")]
    Api {
        /// The call's verb.
        action: &'static str,
        /// Kind and name.
        object: String,
        /// The API server's answer.
        source: Box<kube::Error>,
    },
    /// It did not answer.
    #[error("{action} {object}: no answer within {after:?}")]
    Timeout {
        /// The call's verb.
        action: &'static str,
        /// Kind and name.
        object: String,
        /// The deadline.
        after: Duration,
    },
    /// The record of the switch slots.
    #[error("the switch slots")]
    Slots(#[from] lease::slots::SlotsError),
    /// A node report that is no JSON.
    #[error("write the node report as JSON")]
    Report(#[source] serde_json::Error),
}

impl ShootError {
    /// The API server has no such object.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Api { source, .. } if matches!(&**source, kube::Error::Api(status) if status.is_not_found()))
    }
}

/// Runs one API call under [`DEADLINE`] and names it in the error. `object` is kind and name.
pub(crate) async fn call<T>(
    action: &'static str,
    object: impl Into<String>,
    future: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, ShootError> {
    call_within(DEADLINE, action, object, future).await
}

async fn call_within<T>(
    deadline: Duration,
    action: &'static str,
    object: impl Into<String>,
    future: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, ShootError> {
    match tokio::time::timeout(deadline, future).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(source)) => Err(ShootError::Api { action, object: object.into(), source: Box::new(source) }),
        Err(_elapsed) => Err(ShootError::Timeout { action, object: object.into(), after: deadline }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_call_without_an_answer_fails_at_the_deadline_and_names_the_object() {
        let never = std::future::pending::<Result<(), kube::Error>>();
        let outcome = call_within(Duration::from_millis(10), "get", "Node n", never).await;
        assert_eq!(outcome.unwrap_err().to_string(), "get Node n: no answer within 10ms");
    }
}
