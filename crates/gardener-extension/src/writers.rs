//! One writer at a time for each Extension: what lifecycle and health write is based on each other's last write, so that neither makes the
//! other's version stale.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;

use tokio::sync::{Mutex, MutexGuard};

use crate::key::Key;

/// So many can be written at a time; those of one share wait for each other for the time of a call or two.
const SHARES: usize = 256;

/// See the module.
#[derive(Debug)]
pub(crate) struct Writers {
    shares: Box<[Mutex<()>]>,
    hasher: RandomState,
}

impl Default for Writers {
    fn default() -> Self {
        Self { shares: (0..SHARES).map(|_| Mutex::default()).collect(), hasher: RandomState::new() }
    }
}

/// The right to write one Extension, until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn<'a>(#[expect(dead_code, reason = "held, and never read")] MutexGuard<'a, ()>);

impl Writers {
    /// Waits for the turn. Whoever has it reads anew what it writes upon: from the cache, which has our own last write.
    pub(crate) async fn turn(&self, key: &Key) -> Turn<'_> {
        let share = usize::try_from(self.hasher.hash_one(key) % self.shares.len() as u64).unwrap_or_default();
        Turn(self.shares[share].lock().await)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn second_turn_of_a_key_comes_after_the_first() {
        let (writers, key) = (Writers::default(), Key { namespace: "ns".to_owned(), name: "e".to_owned() });
        let first = writers.turn(&key).await;
        let second = writers.turn(&key);
        tokio::pin!(second);
        assert!(futures::poll!(&mut second).is_pending());
        drop(first);
        second.await;
    }
}
