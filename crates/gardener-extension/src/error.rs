//! Errors of the seed's API, with what was tried on which object.

use std::time::Duration;

/// A call to the API that failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The API answered with an error, or could not be reached.
    #[error("{action} {object}")]
    Api {
        /// Verb, such as `get`.
        action: &'static str,
        /// Kind, namespace and name.
        object: String,
        /// The client's error.
        #[source]
        source: Box<kube::Error>,
    },
    /// No answer in time.
    #[error("{action} {object}: no answer within {} s", after.as_secs())]
    Timeout {
        /// Verb.
        action: &'static str,
        /// Kind, namespace and name.
        object: String,
        /// The deadline.
        after: Duration,
    },
    /// An object is not what its kind says.
    #[error("decode {object}")]
    Undecodable {
        /// Kind, namespace and name.
        object: String,
        /// What does not fit.
        #[source]
        source: serde_json::Error,
    },
    /// An object has no name, namespace or resource version although the API always sets it.
    #[error("{object} has no {field}")]
    Incomplete {
        /// Kind, namespace and name as far as known.
        object: String,
        /// What is missing.
        field: &'static str,
    },
}

impl Error {
    /// Fixed PascalCase word for Events and metric labels.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Api { .. } if self.is_conflict() => "Conflict",
            Self::Api { .. } => "ApiError",
            Self::Timeout { .. } => "ApiTimeout",
            Self::Undecodable { .. } => "Undecodable",
            Self::Incomplete { .. } => "Incomplete",
        }
    }

    /// The object is not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.code() == Some(404)
    }

    /// Somebody else wrote in between.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        self.code() == Some(409)
    }

    fn code(&self) -> Option<u16> {
        match self {
            Self::Api { source, .. } => match source.as_ref() {
                kube::Error::Api(status) => Some(status.code),
                _ => None,
            },
            _ => None,
        }
    }
}
