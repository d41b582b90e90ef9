//! What the process remembers of each Extension between two looks. Losing it costs nothing but a shorter wait.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::key::Key;

#[derive(Debug, Default)]
struct Track {
    uid: Option<String>,
    /// An operation was begun and is not complete, whatever is forgiven.
    unfinished: bool,
    /// It was to be worked on when that was not allowed.
    held_up: bool,
    /// Failures in a row.
    failures: u32,
    /// Since when something is awaited.
    pending_since: Option<Instant>,
    /// The next look repeats a request that could not be taken up; it is no new one.
    repeats: bool,
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

    /// A new request gets the first, short back-off again; one that is only repeated does not.
    pub(crate) fn forgive(&self, key: &Key) {
        if let Some(track) = self.lock().get_mut(key)
            && !std::mem::take(&mut track.repeats)
        {
            track.failures = 0;
        }
    }

    /// A request could not be taken up, and comes again by itself.
    pub(crate) fn repeats(&self, key: &Key) {
        if let Some(track) = self.lock().get_mut(key) {
            track.repeats = true;
        }
    }

    /// Forgets what was of another object of the same name.
    pub(crate) fn is_of(&self, key: &Key, uid: Option<String>) {
        let mut tracks = self.lock();
        if let Some(track) = tracks.get_mut(key) {
            if track.uid.is_some() && track.uid != uid {
                *track = Track::default();
            }
            track.uid = uid;
        }
    }

    /// There is something to do that may not be done now. What asked for it (that this process had just started, say) will not ask
    /// again: the next change of anything is reason enough.
    pub(crate) fn held_up(&self, key: &Key) {
        self.lock().entry(key.clone()).or_default().held_up = true;
    }

    /// Whether something was held up. It is no more.
    pub(crate) fn goes_on(&self, key: &Key) -> bool {
        self.lock().get_mut(key).is_some_and(|track| std::mem::take(&mut track.held_up))
    }

    /// Counts a failure; answers how many there were in a row.
    pub(crate) fn failed(&self, key: &Key) -> u32 {
        let mut tracks = self.lock();
        let track = tracks.entry(key.clone()).or_default();
        track.unfinished = true;
        track.failures = track.failures.saturating_add(1);
        track.failures
    }

    /// Whether the error differs from the last one.
    pub(crate) fn is_news(&self, key: &Key, error: &str) -> bool {
        let mut tracks = self.lock();
        let track = tracks.entry(key.clone()).or_default();
        let news = track.last_error.as_deref() != Some(error);
        track.last_error = Some(error.to_owned());
        news
    }

    /// Whether the refusal differs from the last one.
    pub(crate) fn is_refusal_news(&self, key: &Key, refusal: &str) -> bool {
        let mut tracks = self.lock();
        let track = tracks.entry(key.clone()).or_default();
        let news = track.last_refusal.as_deref() != Some(refusal);
        track.last_refusal = Some(refusal.to_owned());
        news
    }

    /// Something is awaited, `before` this process knew of it included; answers for how long.
    pub(crate) fn pending(&self, key: &Key, before: Duration) -> Duration {
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

    /// The operation is complete.
    pub(crate) fn finished(&self, key: &Key) {
        self.lock().remove(key);
    }

    /// The object is gone.
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
    async fn a_wait_is_measured_from_its_beginning() {
        let tracks = Tracks::default();
        assert!(!tracks.is_unfinished(&key()));
        assert_eq!(tracks.pending(&key(), Duration::ZERO), Duration::ZERO);
        tokio::time::advance(Duration::from_secs(5)).await;
        assert_eq!(tracks.pending(&key(), Duration::from_secs(99)), Duration::from_secs(5));
        assert!(tracks.is_unfinished(&key()));
        tracks.finished(&key());
        assert!(!tracks.is_unfinished(&key()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_began_before_the_process_counts() {
        tokio::time::advance(Duration::from_secs(100)).await;
        let tracks = Tracks::default();
        assert_eq!(tracks.pending(&key(), Duration::from_secs(90)), Duration::from_secs(90));
    }

    #[test]
    fn what_is_held_up_goes_on_once_and_is_no_failure() {
        let tracks = Tracks::default();
        assert!(!tracks.goes_on(&key()));
        tracks.held_up(&key());
        assert!(tracks.goes_on(&key()));
        assert!(!tracks.goes_on(&key()) && !tracks.is_unfinished(&key()));
        assert_eq!(tracks.failed(&key()), 1);
    }

    #[test]
    fn another_object_of_the_same_name_starts_afresh() {
        let tracks = Tracks::default();
        assert_eq!((tracks.failed(&key()), tracks.failed(&key())), (1, 2));
        tracks.is_of(&key(), Some("1".to_owned()));
        assert!(tracks.is_unfinished(&key()));
        tracks.is_of(&key(), Some("2".to_owned()));
        assert!(!tracks.is_unfinished(&key()));
    }

    #[test]
    fn a_new_request_is_forgiven_and_the_same_error_is_no_news() {
        let tracks = Tracks::default();
        tracks.failed(&key());
        tracks.forgive(&key());
        assert!(tracks.is_unfinished(&key()), "what is forgiven is not done");
        assert_eq!(tracks.failed(&key()), 1);
        tracks.repeats(&key());
        tracks.forgive(&key());
        assert_eq!(tracks.failed(&key()), 2, "a request that is repeated is not a new one");
        tracks.forgive(&key());
        assert_eq!(tracks.failed(&key()), 1);
        assert!(tracks.is_news(&key(), "e"));
        assert!(!tracks.is_news(&key(), "e"));
        assert!(tracks.is_news(&key(), "f"));
    }
}
