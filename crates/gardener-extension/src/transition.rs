//! The steps of an operation as others see them. Pure: from the Extension as it is and what happened to one [`Transition`], or to none when
//! everything says so already.

use gardener_api::Extension;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::actuator::ProviderStatus;
use crate::events::Notice;
use crate::operation::{Operation, Triggers};
use crate::reason;
use crate::status::{self, Failure};
use crate::text::{STATUS_TEXT_LIMIT, cut};

#[cfg(test)]
mod tests;

/// One step: one write of the status, and what is logged and published with it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Transition {
    /// Merge patch for `/status`.
    pub(crate) patch: Value,
    /// `None`: no line for it.
    pub(crate) log: Option<Log>,
    /// Published after the write, in this order.
    pub(crate) events: Vec<Notice>,
}

/// What is logged of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Log {
    /// The operation has begun.
    Started,
    /// It waits for this.
    Waiting(String),
    /// It failed for now.
    Failed {
        /// As in Events and metrics.
        reason: &'static str,
        /// Without what a user wrote.
        error: String,
    },
    /// It is complete.
    Completed,
}

/// The operation begins.
pub(crate) fn started(operation: Operation, now: Timestamp) -> Transition {
    Transition { patch: status::processing(operation, now), log: Some(Log::Started), events: Vec::new() }
}

/// The operation waits for what `message` says.
pub(crate) fn waiting(
    extension: &Extension,
    operation: Operation,
    message: &str,
    now: Timestamp,
) -> Option<Transition> {
    let patch = status::pending(extension, operation, message, now)?;
    let awaited = cut(message.to_owned(), STATUS_TEXT_LIMIT);
    Some(Transition { patch, log: Some(Log::Waiting(awaited)), events: Vec::new() })
}

/// The operation failed for now.
pub(crate) fn failed(
    extension: &Extension,
    operation: Operation,
    failure: &Failure,
    reason: &'static str,
    generation: Option<i64>,
    now: Timestamp,
) -> Option<Transition> {
    let patch = status::failed(extension, operation, failure, generation, now)?;
    let events = vec![Notice::warning(reason, operation.as_str(), failure.note.clone())];
    Some(Transition { patch, log: Some(Log::Failed { reason, error: failure.note.clone() }), events })
}

/// The operation is complete. The status says so; an Event does where Events have reported a failure, or where the Extension comes or goes.
pub(crate) fn completed(
    extension: &Extension,
    operation: Operation,
    generation: Option<i64>,
    triggers: Triggers,
    now: Timestamp,
) -> Option<Transition> {
    let patch = status::succeeded(extension, operation, generation, triggers, now)?;
    let is_changed = extension.last_error().is_some() || !matches!(operation, Operation::Create | Operation::Reconcile);
    let note = || Notice::normal(reason::SUCCEEDED, operation.as_str(), format!("{} is done", operation.as_str()));
    let events = is_changed.then(note).into_iter().collect();
    Some(Transition { patch, log: Some(Log::Completed), events })
}

/// The key of the providerStatus that is written by whoever observes what is behind the Extension.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Observed<'a> {
    pub(crate) key: &'a str,
    /// Somebody observes it, or will.
    pub(crate) stays: bool,
}

/// Adds the providerStatus that the actuator wants, and its Events, if another one stands there; of `limit` bytes at most, or it is none of ours.
/// `observed` is a key that somebody else writes: it stays as it is, or goes where nobody writes it any more.
pub(crate) fn with_provider_status(
    transition: Option<Transition>,
    extension: &Extension,
    wanted: Option<ProviderStatus>,
    limit: usize,
    observed: Observed<'_>,
) -> Option<Transition> {
    let Some(ProviderStatus { mut value, events }) = wanted else { return transition };
    let before = extension.status.as_ref().and_then(|status| status.provider_status.as_ref()?.read(limit).ok());
    if let Some(value) = value.as_object_mut() {
        let current_status = before.as_ref().and_then(|before| before.get(observed.key)).filter(|_| observed.stays);
        match current_status {
            Some(current_status) => drop(value.insert(observed.key.to_owned(), current_status.clone())),
            None => drop(value.remove(observed.key)),
        }
    }
    if before.as_ref() == Some(&value) {
        return transition;
    }
    // A merge patch of the value alone would keep the keys that are gone.
    let difference = before.map_or_else(|| value.clone(), |before| difference(&before, &value));
    let mut transition =
        transition.unwrap_or(Transition { patch: json!({ "status": {} }), log: None, events: Vec::new() });
    transition.patch["status"]["providerStatus"] = difference;
    // What is to be said of the configuration comes before the end of the operation.
    transition.events.splice(0..0, events);
    Some(transition)
}

/// The merge patch (RFC 7386) that makes `new` of `old`.
pub(crate) fn difference(old: &Value, new: &Value) -> Value {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else { return new.clone() };
    let gone = old.keys().filter(|key| !new.contains_key(*key)).map(|key| (key.clone(), Value::Null));
    // What is the same stays out: it may be somebody else's, who has written it anew since.
    let changed = new.iter().filter(|(key, value)| old.get(*key) != Some(*value));
    let set = changed.map(|(key, value)| {
        (key.clone(), old.get(key).map_or_else(|| value.clone(), |before| difference(before, value)))
    });
    gone.chain(set).collect::<Map<_, _>>().into()
}
