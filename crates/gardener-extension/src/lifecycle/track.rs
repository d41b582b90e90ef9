//! What the process remembers of each Extension between two looks. Losing it costs nothing but a shorter wait.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::key::Key;

#[derive(Debug, Default)]
struct Track {
    uid: Option<String>,
    /// An operation was begun and is not complete, whatever its back-off is.
    unfinished: bool,
    /// It was to be worked on when that was not allowed.
    blocked: bool,
    /// Failures in a row.
    failures: u32,
    /// Since when something is awaited.
    pending_since: Option<Instant>,
    /// The next look repeats a request that could not be taken up; it is no new one.
    repeated: bool,
    /// What was logged last.
    last_error: Option<String>,
    /// Which refusal of a status was told last.
    last_refusal: Option<String>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Tracks(Mutex<HashMap<Key, Track>>);

impl Tracks {
    /// An operation failed, or awaits something.
    pub(crate) fn is_unfinished(&self, key: &Key) -> bool {
        self.lock().get(key).is_some_and(|track| track.unfinished)
    }

    /// Gives a new request the first, short back-off again; not one that is only repeated.
    pub(crate) fn reset_backoff(&self, key: &Key) {
        if let Some(track) = self.lock().get_mut(key)
            && !std::mem::take(&mut track.repeated)
        {
            track.failures = 0;
        }
    }

    /// Notes that a request could not be taken up, and comes again by itself.
    pub(crate) fn mark_repeated(&self, key: &Key) {
        if let Some(track) = self.lock().get_mut(key) {
            track.repeated = true;
        }
    }

    /// Drops the state of a deleted object whose name is used again.
    pub(crate) fn reset_if_recreated(&self, key: &Key, uid: Option<String>) {
        let mut tracks = self.lock();
        if let Some(track) = tracks.get_mut(key) {
            if track.uid.is_some() && track.uid != uid {
                *track = Track::default();
            }
            track.uid = uid;
        }
    }

    /// Notes that there is something to do that may not be done now. What asked for it (that this process had just started, say) will not
    /// ask again: the next change of anything is reason enough.
    pub(crate) fn mark_blocked(&self, key: &Key) {
        self.lock().entry(key.clone()).or_default().blocked = true;
    }

    /// Takes the mark of [`Self::mark_blocked`] away; returns whether it was there.
    pub(crate) fn take_blocked(&self, key: &Key) -> bool {
        self.lock().get_mut(key).is_some_and(|track| std::mem::take(&mut track.blocked))
    }

    /// Counts a failure; returns how many there were in a row.
    pub(crate) fn count_failure(&self, key: &Key) -> u32 {
        let mut tracks = self.lock();
        let track = tracks.entry(key.clone()).or_default();
        track.unfinished = true;
        track.failures = track.failures.saturating_add(1);
        track.failures
    }

    /// Records the error that is about to be logged; returns whether it differs from the last one.
    pub(crate) fn record_error(&self, key: &Key, error: &str) -> bool {
        let mut tracks = self.lock();
        let track = tracks.entry(key.clone()).or_default();
        let changed = track.last_error.as_deref() != Some(error);
        track.last_error = Some(error.to_owned());
        changed
    }

    /// Records the refusal that is about to be published; returns whether it differs from the last one.
    pub(crate) fn record_refusal(&self, key: &Key, refusal: &str) -> bool {
        let mut tracks = self.lock();
        let track = tracks.entry(key.clone()).or_default();
        let changed = track.last_refusal.as_deref() != Some(refusal);
        track.last_refusal = Some(refusal.to_owned());
        changed
    }

    /// Records that something is awaited; returns for how long, `before` this process knew of it included.
    pub(crate) fn record_wait(&self, key: &Key, before: Duration) -> Duration {
        let mut tracks = self.lock();
        let track = tracks.entry(key.clone()).or_default();
        (track.unfinished, track.failures) = (true, 0);
        let now = Instant::now();
        let since = *track.pending_since.get_or_insert_with(|| now.checked_sub(before).unwrap_or(now));
        now.duration_since(since)
    }

    /// Something is awaited, and it is no error.
    pub(crate) fn is_pending(&self, key: &Key) -> bool {
        self.lock().get(key).is_some_and(|track| track.pending_since.is_some())
    }

    /// Drops everything: the operation is complete, or the object is gone.
    pub(crate) fn forget(&self, key: &Key) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Track>> {
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
        let tracks = Tracks::default();
        assert!(!tracks.is_unfinished(&key()));
        assert_eq!(tracks.record_wait(&key(), Duration::ZERO), Duration::ZERO);
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(tracks.record_wait(&key(), Duration::from_secs(99)), Duration::from_secs(5));
        assert!(tracks.is_unfinished(&key()));
        tracks.forget(&key());
        assert!(!tracks.is_unfinished(&key()));
    }

    #[tokio::test(start_paused = true)]
    async fn wait_that_began_before_the_process_counts() {
        tokio::time::advance(Duration::from_secs(100)).await;
        let tracks = Tracks::default();
        assert_eq!(tracks.record_wait(&key(), Duration::from_secs(90)), Duration::from_secs(90));
    }

    #[test]
    fn blocked_mark_is_taken_once_and_is_no_failure() {
        let tracks = Tracks::default();
        assert!(!tracks.take_blocked(&key()));
        tracks.mark_blocked(&key());
        assert!(tracks.take_blocked(&key()));
        assert!(!tracks.take_blocked(&key()) && !tracks.is_unfinished(&key()));
        assert_eq!(tracks.count_failure(&key()), 1);
    }

    #[test]
    fn state_is_dropped_when_the_object_was_recreated() {
        let tracks = Tracks::default();
        assert_eq!((tracks.count_failure(&key()), tracks.count_failure(&key())), (1, 2));
        tracks.reset_if_recreated(&key(), Some("1".to_owned()));
        assert!(tracks.is_unfinished(&key()));
        tracks.reset_if_recreated(&key(), Some("2".to_owned()));
        assert!(!tracks.is_unfinished(&key()));
    }

    #[test]
    fn new_request_resets_the_backoff_and_the_same_error_is_logged_once() {
        let tracks = Tracks::default();
        tracks.count_failure(&key());
        tracks.reset_backoff(&key());
        assert!(tracks.is_unfinished(&key()), "a shorter back-off completes nothing");
        assert_eq!(tracks.count_failure(&key()), 1);
        tracks.mark_repeated(&key());
        tracks.reset_backoff(&key());
        assert_eq!(tracks.count_failure(&key()), 2, "a request that is repeated is not a new one");
        tracks.reset_backoff(&key());
        assert_eq!(tracks.count_failure(&key()), 1);
        assert!(tracks.record_error(&key(), "e"));
        assert!(!tracks.record_error(&key(), "e"));
        assert!(tracks.record_error(&key(), "f"));
    }
}
