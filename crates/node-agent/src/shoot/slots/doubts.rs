//! Doubts about the record of the slots, for people: each is published once an hour at most.

use std::time::Duration;

use extension_config::names;
use tokio::time::Instant;

/// The same doubt is published again after so long.
const REPEAT_AFTER: Duration = Duration::from_secs(3600);

/// Something about the record that people should look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Doubt {
    /// Reason of the Event.
    pub(super) reason: &'static str,
    /// Its note.
    pub(super) note: String,
}

/// The doubt that is still to be published, and when one was raised last.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    due: Option<Doubt>,
    last: Option<(&'static str, Instant)>,
}

impl Doubts {
    /// Raises a doubt.
    pub(super) fn raise(&mut self, reason: &'static str, what: &str) {
        let note = format!("Lease {}: {what}", names::SWITCH_LEASE);
        tracing::warn!(reason, note, "doubted the record of the switch slots");
        self.raise_at(Doubt { reason, note }, Instant::now());
    }

    fn raise_at(&mut self, doubt: Doubt, now: Instant) {
        let is_recent = |(reason, at): (&str, Instant)| reason == doubt.reason && now.duration_since(at) < REPEAT_AFTER;
        if !self.last.is_some_and(is_recent) {
            self.last = Some((doubt.reason, now));
            self.due = Some(doubt);
        }
    }

    /// The doubt to publish now.
    pub(super) fn take_due(&mut self) -> Option<Doubt> {
        self.due.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_doubt_is_published_at_most_once_an_hour() {
        let (mut doubts, start) = (Doubts::default(), Instant::now());
        let mut is_published = |reason, seconds| {
            doubts.raise_at(Doubt { reason, note: String::new() }, start + Duration::from_secs(seconds));
            doubts.take_due().is_some()
        };
        assert!(is_published("a", 0));
        assert!(!is_published("a", 3599));
        assert!(is_published("b", 3599), "another one");
        assert!(is_published("b", 7199));
    }
}
