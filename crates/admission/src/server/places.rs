//! How many bodies are in memory, and how many are judged, at a time. Small ones, as nearly every Shoot is, do not wait for large ones.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::{JUDGED, LARGE_REVIEWS, SMALL_REVIEW_BYTES, SMALL_REVIEWS};

/// First come, first served; who waits too long is cut off by its connection's deadline.
#[derive(Debug)]
pub(super) struct Places {
    small: Arc<Semaphore>,
    large: Arc<Semaphore>,
    judged: Arc<Semaphore>,
}

impl Default for Places {
    fn default() -> Self {
        let places = |count| Arc::new(Semaphore::new(count));
        Self { small: places(SMALL_REVIEWS), large: places(LARGE_REVIEWS), judged: places(JUDGED) }
    }
}

impl Places {
    /// A place for a body of at most so many bytes. Nobody closes the semaphores, so there always is one in the end.
    pub(super) async fn take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let places = if bytes <= SMALL_REVIEW_BYTES { &self.small } else { &self.large };
        Arc::clone(places).acquire_owned().await.ok()
    }

    /// The turn to be judged.
    pub(super) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.judged).acquire_owned().await.ok()
    }
}
