//! What the status of an Extension shall say. Pure: from the status now and an event in an operation's life to a merge patch for
//! `/status`, or to nothing when it says so already.

use std::fmt::Display;
use std::time::Duration;

use gardener_api::constants::error_code::CONFIGURATION_PROBLEM;
use gardener_api::constants::operation::RECONCILE;
use gardener_api::{Extension, LastError, LastOperation, LastOperationState};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

use crate::operation::{Operation, Trigger, Triggers};
use crate::text::{STATUS_TEXT_LIMIT, cut};
use crate::{ActuatorError, ErrorClass};

#[cfg(test)]
mod tests;

const PROGRESS_BEGUN: i32 = 1;
const PROGRESS_FAILED: i32 = 50;
const PROGRESS_DONE: i32 = 100;

/// A failure as it stands in the status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The text, starting with a capital.
    pub(crate) description: String,
    /// The same for logs and Events, without what a user wrote.
    pub(crate) note: String,
    /// Error codes.
    pub(crate) codes: Vec<String>,
}

impl Failure {
    /// Of an actuator's error. Only the shoot owner's mistakes carry a code.
    pub(crate) fn of_actuator(operation: Operation, error: &ActuatorError) -> Self {
        let chain = observability::ErrorChain(error);
        let codes = match error.class() {
            ErrorClass::Configuration => vec![CONFIGURATION_PROBLEM.to_owned()],
            ErrorClass::Transient => Vec::new(),
        };
        Self::new(operation, &chain, error.summary(), codes)
    }

    /// Of an operation that is pending for too long.
    pub(crate) fn overdue(operation: Operation, message: &str) -> Self {
        Self::new(operation, &message, None, Vec::new())
    }

    /// Of an actuator call that did not return.
    pub(crate) fn deadline(operation: Operation, deadline: Duration) -> Self {
        Self::new(operation, &format_args!("not finished within {} s", deadline.as_secs()), None, Vec::new())
    }

    fn new(operation: Operation, text: &dyn Display, summary: Option<&str>, codes: Vec<String>) -> Self {
        let whole = |text: &dyn Display| cut(format!("{}: {text}", failure_prefix(operation)), STATUS_TEXT_LIMIT);
        let description = whole(text);
        Self { note: summary.map_or_else(|| description.clone(), |summary| whole(&summary)), description, codes }
    }
}

/// Whether the beginning of an operation must be written. A new request must show at once; a retry, or the next reconciliation of
/// something pending, continues what the status says already; a periodic resync that finds nothing to do stays silent.
pub(crate) fn must_record_start(extension: &Extension, operation: Operation, triggers: Triggers) -> bool {
    if triggers.is_user_request() {
        return true;
    }
    let Some(last) = extension.last_operation() else { return true };
    let same = last.type_ == operation.last_operation_type();
    match last.state {
        LastOperationState::Processing | LastOperationState::Error => {
            // A retry may meet a new request before its event arrives. `reconcile` goes once it is taken up; the others stay
            // until the operation is done, and say nothing.
            let asked = extension.operation_annotation();
            !same || asked == Some(RECONCILE) || (triggers.contains(Trigger::FirstSeen) && asked.is_some())
        }
        LastOperationState::Succeeded => !is_resync_only(triggers),
        _ => true,
    }
}

/// Only the periodic resync.
fn is_resync_only(triggers: Triggers) -> bool {
    triggers == Triggers::from(Trigger::Resync)
}

/// The operation begins. An old error stays visible.
pub(crate) fn processing(operation: Operation, now: Timestamp) -> Value {
    patch(&begun(operation, begun_text(operation).to_owned(), now))
}

/// The operation waits for something. Written only when that changed.
pub(crate) fn pending(extension: &Extension, operation: Operation, message: &str, now: Timestamp) -> Option<Value> {
    let description = cut(format!("{}: {message}", begun_text(operation)), STATUS_TEXT_LIMIT);
    let wanted = begun(operation, description, now);
    let unchanged = extension.last_operation().is_some_and(|last| is_same(last, &wanted));
    (!unchanged).then(|| patch(&wanted))
}

/// The operation failed for now. Written only when that changed.
pub(crate) fn failed(
    extension: &Extension,
    operation: Operation,
    failure: &Failure,
    generation: Option<i64>,
    now: Timestamp,
) -> Option<Value> {
    let wanted = LastOperation {
        description: failure.description.clone(),
        last_update_time: Some(Time(now)),
        progress: PROGRESS_FAILED,
        state: LastOperationState::Error,
        type_: operation.last_operation_type(),
    };
    let same_operation = extension.last_operation().is_some_and(|last| is_same(last, &wanted));
    let same_error = extension
        .last_error()
        .is_some_and(|error| error.description == failure.description && error.codes == failure.codes);
    let observed = extension.status.as_ref().and_then(|status| status.observed_generation);
    if same_operation && same_error && observed == generation {
        return None;
    }
    let error = LastError {
        description: failure.description.clone(),
        task_id: None,
        codes: failure.codes.clone(),
        last_update_time: Some(Time(now)),
    };
    let mut error_patch = json!(error);
    if error.codes.is_empty() {
        // A merge patch that leaves the field out would keep the codes of the error before.
        error_patch["codes"] = Value::Null;
    }
    Some(json!({ "status": { "lastOperation": wanted, "lastError": error_patch, "observedGeneration": generation } }))
}

/// The operation is done: the error goes. `now` must not lie before the request, or gardenlet waits on. A periodic resync
/// writes it only if something else stood there.
pub(crate) fn succeeded(
    extension: &Extension,
    operation: Operation,
    generation: Option<i64>,
    triggers: Triggers,
    now: Timestamp,
) -> Option<Value> {
    let observed = extension.status.as_ref().and_then(|status| status.observed_generation);
    let current_status = extension.last_operation().is_some_and(|last| last.state == LastOperationState::Succeeded)
        && extension.last_error().is_none()
        && observed == generation;
    if current_status && is_resync_only(triggers) {
        return None;
    }
    let wanted = LastOperation {
        description: done_text(operation).to_owned(),
        last_update_time: Some(Time(now)),
        progress: PROGRESS_DONE,
        state: LastOperationState::Succeeded,
        type_: operation.last_operation_type(),
    };
    Some(json!({ "status": { "lastOperation": wanted, "lastError": null, "observedGeneration": generation } }))
}

fn begun(operation: Operation, description: String, now: Timestamp) -> LastOperation {
    LastOperation {
        description,
        last_update_time: Some(Time(now)),
        progress: PROGRESS_BEGUN,
        state: LastOperationState::Processing,
        type_: operation.last_operation_type(),
    }
}

fn patch(operation: &LastOperation) -> Value {
    json!({ "status": { "lastOperation": operation } })
}

fn is_same(last: &LastOperation, wanted: &LastOperation) -> bool {
    last.type_ == wanted.type_ && last.state == wanted.state && last.description == wanted.description
}

fn begun_text(operation: Operation) -> &'static str {
    match operation {
        Operation::Create => "Creating Extension",
        Operation::Reconcile => "Reconciling Extension",
        Operation::Delete => "Deleting Extension",
        Operation::ForceDelete => "Force-deleting Extension",
        Operation::Migrate => "Migrating Extension",
        Operation::Restore => "Restoring Extension",
    }
}

fn done_text(operation: Operation) -> &'static str {
    match operation {
        Operation::Create => "Successfully created Extension",
        Operation::Reconcile => "Successfully reconciled Extension",
        Operation::Delete => "Successfully deleted Extension",
        Operation::ForceDelete => "Successfully force-deleted Extension",
        Operation::Migrate => "Successfully migrated Extension",
        Operation::Restore => "Successfully restored Extension",
    }
}

fn failure_prefix(operation: Operation) -> &'static str {
    match operation {
        Operation::Create => "Error creating Extension",
        Operation::Reconcile => "Error reconciling Extension",
        Operation::Delete => "Error deleting Extension",
        Operation::ForceDelete => "Error force-deleting Extension",
        Operation::Migrate => "Error migrating Extension",
        Operation::Restore => "Error restoring Extension",
    }
}
