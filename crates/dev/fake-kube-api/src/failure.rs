//! Answers that refuse: `metav1.Status`.

use serde_json::{Value, json};

use super::resource::Resource;

/// Why the API refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} ({reason})")]
pub struct Failure {
    /// HTTP status.
    pub code: u16,
    /// One word, as `metav1.StatusReason` has it.
    pub reason: &'static str,
    /// For people.
    pub message: String,
    /// Fields that conflict: who owns them, and which.
    pub(crate) causes: Vec<(String, String)>,
}

impl Failure {
    fn new(code: u16, reason: &'static str, message: String) -> Self {
        Self { code, reason, message, causes: Vec::new() }
    }

    pub(crate) fn unknown_path() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource".to_owned())
    }

    pub(crate) fn not_found(resource: &Resource, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{} {name:?} not found", resource.qualified()))
    }

    pub(crate) fn exists(resource: &Resource, name: &str) -> Self {
        Self::new(409, "AlreadyExists", format!("{} {name:?} already exists", resource.qualified()))
    }

    pub(crate) fn outdated(resource: &Resource, name: &str) -> Self {
        let text = "the object has been modified; please apply your changes to the latest version and try again";
        Self::new(
            409,
            "Conflict",
            format!("Operation cannot be fulfilled on {} {name:?}: {text}", resource.qualified()),
        )
    }

    pub(crate) fn precondition(resource: &Resource, name: &str, what: &str) -> Self {
        let qualified = resource.qualified();
        Self::new(
            409,
            "Conflict",
            format!("Operation cannot be fulfilled on {qualified} {name:?}: Precondition failed: {what}"),
        )
    }

    pub(crate) fn field_conflicts(conflicts: Vec<(String, String)>) -> Self {
        let all: Vec<String> =
            conflicts.iter().map(|(owner, field)| format!("conflict with {owner:?}: {field}")).collect();
        let message = format!("Apply failed with {} conflict(s): {}", conflicts.len(), all.join("; "));
        Self { causes: conflicts, ..Self::new(409, "Conflict", message) }
    }

    pub(crate) fn invalid(resource: &Resource, name: &str, what: &str) -> Self {
        Self::new(422, "Invalid", format!("{} {name:?} is invalid: {what}", resource.kind))
    }

    pub(crate) fn unprocessable(message: &str) -> Self {
        Self::new(422, "Invalid", format!("the server rejected our request due to an error in our request: {message}"))
    }

    pub(crate) fn bad_request(message: &str) -> Self {
        Self::new(400, "BadRequest", message.to_owned())
    }

    pub(crate) fn expired(wanted: u64, oldest: u64) -> Self {
        Self::new(410, "Expired", format!("too old resource version: {wanted} ({oldest})"))
    }

    pub(crate) fn media_type(found: &str) -> Self {
        Self::new(415, "UnsupportedMediaType", format!("the body of the request was in an unknown format: {found}"))
    }

    /// As a fault script wants it.
    pub(crate) fn scripted(code: u16) -> Self {
        let reason = match code {
            403 => "Forbidden",
            409 => "Conflict",
            410 => "Expired",
            429 => "TooManyRequests",
            500 => "InternalError",
            503 => "ServiceUnavailable",
            504 => "Timeout",
            _ => "Unknown",
        };
        Self::new(code, reason, "the fault script wants it so".to_owned())
    }

    pub(crate) fn method() -> Self {
        Self::new(405, "MethodNotAllowed", "the server does not allow this method on the requested resource".to_owned())
    }

    /// The answer's body.
    pub(crate) fn status(&self) -> Value {
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.message, "reason": self.reason, "code": self.code,
        });
        if !self.causes.is_empty() {
            let cause = |(owner, field): &(String, String)| json!({ "reason": "FieldManagerConflict", "message": format!("conflict with {owner:?}"), "field": field });
            status["details"] = json!({ "causes": self.causes.iter().map(cause).collect::<Vec<_>>() });
        }
        status
    }
}
