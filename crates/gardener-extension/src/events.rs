//! Kubernetes Events on one Extension.

use std::fmt;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder};
use observability::ErrorChain;

use crate::call::call;
use crate::text::{EVENT_NOTE_LIMIT, cut};

/// What an Event says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// An operator should look at it.
    pub is_warning: bool,
    /// Why, a fixed PascalCase word.
    pub reason: &'static str,
    /// What was done, a fixed PascalCase word.
    pub action: &'static str,
    /// For people. Longer ones are cut to [`EVENT_NOTE_LIMIT`] bytes.
    pub note: String,
}

impl Notice {
    /// Something an operator may like to know.
    #[must_use]
    pub fn normal(reason: &'static str, action: &'static str, note: String) -> Self {
        Self { is_warning: false, reason, action, note }
    }

    /// Something an operator should see.
    #[must_use]
    pub fn warning(reason: &'static str, action: &'static str, note: String) -> Self {
        Self { is_warning: true, reason, action, note }
    }
}

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

    /// Publishes one. An Event that cannot be written is logged and forgotten: it must never fail the operation that it is about.
    pub async fn publish(&self, notice: Notice) {
        let Notice { is_warning, reason, action, note } = notice;
        let event = Event {
            type_: if is_warning { EventType::Warning } else { EventType::Normal },
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
