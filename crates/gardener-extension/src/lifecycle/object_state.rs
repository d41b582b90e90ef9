//! What the process remembers of each Extension between two reconciliations. Losing it costs nothing but a shorter wait.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::key::Key;

#[derive(Debug, Default)]
struct ObjectState {
    uid: Option<String>,
    /// An operation was begun and is not complete, whatever its back-off is.
    unfinished: bool,
    /// It was to be worked on when that was not allowed.
    blocked: bool,
    /// Failures in a row.
    failures: u32,
    /// Since when something is awaited.
    pending_since: Option<Instant>,
    /// The next reconciliation repeats a request that could not be taken up; it is no new one.
    repeated: bool,
    /// What was logged last.
    last_error: Option<String>,
    /// Which refusal of a status was reported last.
    last_refusal: Option<String>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct PerObjectState(Mutex<HashMap<Key, ObjectState>>);

impl PerObjectState {
    /// An operation failed, or awaits something.
    pub(crate) fn is_unfinished(&self, key: &Key) -> bool {
        self.lock().get(key).is_some_and(|object_state| object_state.unfinished)
    }

    /// Gives a new request the first, short back-off again; not one that is only repeated.
    pub(crate) fn reset_backoff(&self, key: &Key) {
        if let Some(object_state) = self.lock().get_mut(key)
            && !std::mem::take(&mut object_state.repeated)
        {
            object_state.failures = 0;
        }
    }

    /// Notes that a request could not be taken up, and comes again by itself.
    pub(crate) fn mark_repeated(&self, key: &Key) {
        if let Some(object_state) = self.lock().get_mut(key) {
            object_state.repeated = true;
        }
    }

    /// Drops the state of a deleted object whose name is used again.
    pub(crate) fn reset_if_recreated(&self, key: &Key, uid: Option<String>) {
        let mut object_states = self.lock();
        if let Some(object_state) = object_states.get_mut(key) {
            if object_state.uid.is_some() && object_state.uid != uid {
                *object_state = ObjectState::default();
            }
            object_state.uid = uid;
        }
    }

    /// Notes that there is something to do that may not be done now. What asked for it (that this process had just started, say) will not
    /// ask again: the next change of anything is reason enough.
    pub(crate) fn mark_blocked(&self, key: &Key) {
        self.lock().entry(key.clone()).or_default().blocked = true;
    }

    /// Takes the mark of [`Self::mark_blocked`] away; returns whether it was there.
    pub(crate) fn take_blocked(&self, key: &Key) -> bool {
        self.lock().get_mut(key).is_some_and(|object_state| std::mem::take(&mut object_state.blocked))
    }

    /// Counts a failure; returns how many there were in a row.
    pub(crate) fn count_failure(&self, key: &Key) -> u32 {
        let mut object_states = self.lock();
        let object_state = object_states.entry(key.clone()).or_default();
        object_state.unfinished = true;
        object_state.failures = object_state.failures.saturating_add(1);
        object_state.failures
    }

    /// Records the error that is about to be logged; returns whether it differs from the last one.
    pub(crate) fn record_error(&self, key: &Key, error: &str) -> bool {
        let mut object_states = self.lock();
        let object_state = object_states.entry(key.clone()).or_default();
        let changed = object_state.last_error.as_deref() != Some(error);
        object_state.last_error = Some(error.to_owned());
        changed
    }

    /// Records the refusal that is about to be published; returns whether it differs from the last one.
    pub(crate) fn record_refusal(&self, key: &Key, refusal: &str) -> bool {
        let mut object_states = self.lock();
        let object_state = object_states.entry(key.clone()).or_default();
        let changed = object_state.last_refusal.as_deref() != Some(refusal);
        object_state.last_refusal = Some(refusal.to_owned());
        changed
    }

    /// Records that something is awaited; returns for how long, `before` this process knew of it included.
    pub(crate) fn record_wait(&self, key: &Key, before: Duration) -> Duration {
        let mut object_states = self.lock();
        let object_state = object_states.entry(key.clone()).or_default();
        (object_state.unfinished, object_state.failures) = (true, 0);
        let now = Instant::now();
        let since = *object_state.pending_since.get_or_insert_with(|| now.checked_sub(before).unwrap_or(now));
        now.duration_since(since)
    }

    /// Something is awaited, and it is no error.
    pub(crate) fn is_pending(&self, key: &Key) -> bool {
        self.lock().get(key).is_some_and(|object_state| object_state.pending_since.is_some())
    }

    /// Drops everything: the operation is complete, or the object is gone.
    pub(crate) fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, ObjectState>> {
        // Nothing in here can leave a track half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key { namespace: "ns".to_owned(), name: "e".to_owned() }
    }

    #[tokio::test(start_paused = true)]
    async fn wait_is_measured_from_its_beginning() {
        let object_states = PerObjectState::default();
        assert!(!object_states.is_unfinished(&key()));
        assert_eq!(object_states.record_wait(&key(), Duration::ZERO), Duration::ZERO);
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(object_states.record_wait(&key(), Duration::from_secs(99)), Duration::from_secs(5));
        assert!(object_states.is_unfinished(&key()));
        object_states.forget(&key());
        assert!(!object_states.is_unfinished(&key()));
    }

    #[tokio::test(start_paused = true)]
    async fn wait_that_began_before_the_process_counts() {
        tokio::time::advance(Duration::from_secs(100)).await;
        let object_states = PerObjectState::default();
        assert_eq!(object_states.record_wait(&key(), Duration::from_secs(90)), Duration::from_secs(90));
    }

    #[test]
    fn blocked_mark_is_taken_once_and_is_no_failure() {
        let object_states = PerObjectState::default();
        assert!(!object_states.take_blocked(&key()));
        object_states.mark_blocked(&key());
        assert!(object_states.take_blocked(&key()));
        assert!(!object_states.take_blocked(&key()) && !object_states.is_unfinished(&key()));
        assert_eq!(object_states.count_failure(&key()), 1);
    }

    #[test]
    fn state_is_dropped_when_the_object_was_recreated() {
        let object_states = PerObjectState::default();
        assert_eq!((object_states.count_failure(&key()), object_states.count_failure(&key())), (1, 2));
        object_states.reset_if_recreated(&key(), Some("1".to_owned()));
        assert!(object_states.is_unfinished(&key()));
        object_states.reset_if_recreated(&key(), Some("2".to_owned()));
        assert!(!object_states.is_unfinished(&key()));
    }

    #[test]
    fn new_request_resets_the_backoff_and_the_same_error_is_logged_once() {
        let object_states = PerObjectState::default();
        object_states.count_failure(&key());
        object_states.reset_backoff(&key());
        assert!(object_states.is_unfinished(&key()), "a shorter back-off completes nothing");
        assert_eq!(object_states.count_failure(&key()), 1);
        object_states.mark_repeated(&key());
        object_states.reset_backoff(&key());
        assert_eq!(object_states.count_failure(&key()), 2, "a request that is repeated is not a new one");
        object_states.reset_backoff(&key());
        assert_eq!(object_states.count_failure(&key()), 1);
        assert!(object_states.record_error(&key(), "e"));
        assert!(!object_states.record_error(&key(), "e"));
        assert!(object_states.record_error(&key(), "f"));
    }
}
