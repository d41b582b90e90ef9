//! Kubernetes Events on one Extension.

use std::fmt;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder};
use observability::ErrorChain;

use crate::call::call;
use crate::text::{EVENT_NOTE_LIMIT, cut};

/// Publishes Events that regard one object. Repetitions become a series of the same Event.
#[derive(Clone)]
pub struct EventSink {
    recorder: Recorder,
    regarding: ObjectReference,
}

impl fmt::Debug for EventSink {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("EventSink").field("name", &self.regarding.name).finish_non_exhaustive()
    }
}

impl EventSink {
    /// For the object that `regarding` names.
    #[must_use]
    pub fn new(recorder: Recorder, regarding: ObjectReference) -> Self {
        Self { recorder, regarding }
    }

    /// Something an operator may like to know. `reason` and `action` are fixed PascalCase words, `note` is for people.
    pub async fn normal(&self, reason: &str, action: &str, note: impl Into<String> + Send) {
        self.publish(EventType::Normal, reason, action, note.into()).await;
    }

    /// Something an operator should look at.
    pub async fn warning(&self, reason: &str, action: &str, note: impl Into<String> + Send) {
        self.publish(EventType::Warning, reason, action, note.into()).await;
    }

    /// An Event that cannot be written is logged and forgotten: it must never fail the operation that it tells of.
    async fn publish(&self, type_: EventType, reason: &str, action: &str, note: String) {
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(cut(note, EVENT_NOTE_LIMIT)),
            action: action.to_owned(),
            secondary: None,
        };
        if let Err(error) = call("create", "Event", self.recorder.publish(&event, &self.regarding)).await {
            let part = |text: &Option<String>| text.clone().unwrap_or_default();
            let object = format!("{}/{}", part(&self.regarding.namespace), part(&self.regarding.name));
            tracing::warn!(object.r#ref = object, reason, error = %ErrorChain(&error), "cannot publish an Event");
        }
    }
}
