//! Warnings about the record of the slots, for people: each is published once an hour at most.

use std::time::Duration;

use extension_config::{NodeEvent, names};
use tokio::time::Instant;

/// The same warning is published again after so long.
const REPEAT_AFTER: Duration = Duration::from_secs(3600);

/// Something wrong with the record that people should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SlotWarning {
    /// What the Event is about.
    pub(super) event: NodeEvent,
    /// Its note.
    pub(super) note: String,
}

/// The warning that is still to be published, and when one was raised last.
#[derive(Debug, Default)]
pub(super) struct SlotWarnings {
    due: Option<SlotWarning>,
    last: Option<(NodeEvent, Instant)>,
}

impl SlotWarnings {
    /// Raises a warning.
    pub(super) fn raise(&mut self, event: NodeEvent, what: &str) {
        let note = format!("Lease {}: {what}", names::SWITCH_LEASE);
        tracing::warn!(reason = event.as_str(), note, "doubted the record of the switch slots");
        self.raise_at(SlotWarning { event, note }, Instant::now());
    }

    fn raise_at(&mut self, warning: SlotWarning, now: Instant) {
        let is_recent =
            |(event, at): (NodeEvent, Instant)| event == warning.event && now.duration_since(at) < REPEAT_AFTER;
        if !self.last.is_some_and(is_recent) {
            self.last = Some((warning.event, now));
            self.due = Some(warning);
        }
    }

    /// The warning to publish now.
    pub(super) fn take_due(&mut self) -> Option<SlotWarning> {
        self.due.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_doubt_is_published_at_most_once_an_hour() {
        let (mut warnings, start) = (SlotWarnings::default(), Instant::now());
        let (a, b) = (NodeEvent::SlotIgnored, NodeEvent::SwitchesUnreadable);
        let mut is_published = |event, seconds| {
            warnings.raise_at(SlotWarning { event, note: String::new() }, start + Duration::from_secs(seconds));
            warnings.take_due().is_some()
        };
        assert!(is_published(a, 0));
        assert!(!is_published(a, 3599));
        assert!(is_published(b, 3599), "another one");
        assert!(is_published(b, 7199));
    }
}
