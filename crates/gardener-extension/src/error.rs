//! Errors of the seed's API, with what was tried on which object.

use std::time::Duration;

use crate::reason;
use crate::text::{STATUS_TEXT_LIMIT, cut};

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
    /// An object, or an answer about it, is not what it should be.
    #[error("decode {object}: {fault}")]
    Undecodable {
        /// Kind, namespace and name.
        object: String,
        /// What does not fit; no part of what was there.
        fault: String,
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

/// What the client makes of an answer with an error code that is no Status: the message is the whole answer.
const NO_STATUS: &str = "Failed to parse error data";

impl Error {
    /// Of a call that failed. What the API answered does not get into it, but for the message of a Status.
    pub(crate) fn of(action: &'static str, object: String, source: kube::Error) -> Self {
        let source = match source {
            // The text of this one may quote the answer.
            kube::Error::SerdeError(error) => {
                let fault = format!("{:?} error at line {} column {}", error.classify(), error.line(), error.column());
                return Self::Undecodable { object, fault };
            }
            kube::Error::FromUtf8(_) => return Self::Undecodable { object, fault: "not UTF-8".to_owned() },
            kube::Error::Api(mut status) => {
                if status.reason == NO_STATUS {
                    "an answer that is no Status".clone_into(&mut status.message);
                }
                // The causes repeat the message, and what was sent.
                status.details = None;
                status.message = cut(status.message, STATUS_TEXT_LIMIT);
                kube::Error::Api(status)
            }
            other => other,
        };
        Self::Api { action, object, source: Box::new(source) }
    }

    /// The API will not take this however often it is sent.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        let too_large = match self {
            Self::Api { source, .. } => match source.as_ref() {
                // etcd's limit comes as an internal error.
                kube::Error::Api(status) => status.message.contains("too large"),
                _ => false,
            },
            _ => false,
        };
        too_large || self.code().is_some_and(|code| matches!(code, 400..500) && !matches!(code, 404 | 409 | 429))
    }

    /// Fixed PascalCase word for Events and metric labels.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Api { .. } if self.is_conflict() => reason::CONFLICT,
            Self::Api { .. } => reason::API_ERROR,
            Self::Timeout { .. } => reason::API_TIMEOUT,
            Self::Undecodable { .. } => reason::UNDECODABLE,
            Self::Incomplete { .. } => reason::INCOMPLETE,
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

    /// The version that was asked for is too old.
    pub(crate) fn is_expired(&self) -> bool {
        self.code() == Some(410)
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

#[cfg(test)]
mod tests {
    use kube::core::Status;
    use observability::ErrorChain;

    use super::*;

    #[test]
    fn no_error_shows_what_was_answered() {
        let odd = serde_json::from_str::<Vec<u8>>(r#"{"password":"hunter2"}"#).map(drop).unwrap_err();
        let quoted = serde_json::from_str::<u8>(r#""hunter2""#).unwrap_err();
        assert!(quoted.to_string().contains("hunter2"), "this is what it is about");
        let page = Status::failure("<html>hunter2</html>", NO_STATUS).with_code(502);
        for source in [
            kube::Error::SerdeError(odd),
            kube::Error::SerdeError(quoted),
            kube::Error::FromUtf8(String::from_utf8(b"hunter2\xff".to_vec()).unwrap_err()),
            kube::Error::Api(page.boxed()),
        ] {
            let error = Error::of("get", "Extension n/e".to_owned(), source);
            let text = format!("{} {error:?}", ErrorChain(&error));
            assert!(text.contains("Extension n/e") && !text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn long_refusals_are_cut() {
        let status = Status::failure(&"x".repeat(1 << 20), "Invalid").with_code(422);
        let error = Error::of("patch", "Extension n/e".to_owned(), kube::Error::Api(status.boxed()));
        assert!(ErrorChain(&error).to_string().len() < 3 * STATUS_TEXT_LIMIT);
        assert!(error.is_refused());
    }

    #[test]
    fn what_is_refused_for_good() {
        for (code, message, refused) in [
            (413, "Request entity too large: limit is 3145728", true),
            (422, "is invalid", true),
            (403, "forbidden", true),
            (500, "etcdserver: request is too large", true),
            (500, "something else", false),
            (404, "not found", false),
            (409, "conflict", false),
            (429, "too many requests", false),
        ] {
            let status = Status::failure(message, "Reason").with_code(code);
            let error = Error::of("patch", "Extension n/e".to_owned(), kube::Error::Api(status.boxed()));
            assert_eq!(error.is_refused(), refused, "{code} {message}");
        }
    }
}
