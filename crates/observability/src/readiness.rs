//! Readiness as a value that others set and the server reads.

use tokio::sync::watch;

/// Why something is not ready.
type State = Result<(), String>;

/// The side that sets readiness. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ReadinessHandle(watch::Sender<State>);

/// The side that reads readiness. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Readiness(watch::Receiver<State>);

/// A pair that starts as not ready, for `reason`.
#[must_use]
pub fn readiness(reason: impl Into<String>) -> (ReadinessHandle, Readiness) {
    let (sender, receiver) = watch::channel(Err(reason.into()));
    (ReadinessHandle(sender), Readiness(receiver))
}

impl ReadinessHandle {
    /// Sets readiness; an error's text is what `/readyz` answers.
    pub fn set(&self, state: Result<(), String>) {
        self.0.send_if_modified(|current| {
            let changed = *current != state;
            *current = state;
            changed
        });
    }
}

impl Readiness {
    /// The state now.
    ///
    /// # Errors
    /// The reason, when not ready.
    pub fn get(&self) -> Result<(), String> {
        self.0.borrow().clone()
    }

    /// Waits until ready.
    ///
    /// # Errors
    /// The last reason, when every handle is gone before it became ready.
    pub async fn wait(&mut self) -> Result<(), String> {
        let outcome = self.0.wait_for(Result::is_ok).await.map(|_| ());
        outcome.or_else(|_| self.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn readiness_starts_with_the_reason_and_follows_the_handle() {
        let (handle, mut reader) = readiness("starting");
        assert_eq!(reader.get(), Err("starting".to_owned()));
        handle.set(Err("caches".to_owned()));
        assert_eq!(reader.get(), Err("caches".to_owned()));
        let waiting = tokio::spawn(async move { reader.wait().await });
        handle.set(Ok(()));
        assert!(matches!(waiting.await, Ok(Ok(()))));
    }

    #[tokio::test]
    async fn readiness_wait_ends_when_the_handle_is_dropped() {
        let (handle, mut reader) = readiness("starting");
        drop(handle);
        assert_eq!(reader.wait().await, Err("starting".to_owned()));
    }
}
