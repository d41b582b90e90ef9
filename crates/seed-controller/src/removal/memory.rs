//! What this process remembers of removals under way. All of it can be lost: then it is proven once more.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use gardener_api::ManagedResource;

use super::{Proof, proof};

/// By the Extension's uid.
#[derive(Debug, Default)]
pub(crate) struct Removals(Mutex<HashMap<String, Memory>>);

#[derive(Debug)]
struct Memory {
    /// Every node was proven clean.
    proven: bool,
    /// Resource version of the ManagedResource as last seen, and since when it has been this one.
    version: Option<String>,
    since: Instant,
}

impl Removals {
    /// Judges the proof, and remembers it when it is complete.
    pub(crate) fn judge(&self, extension: &str, resource: &ManagedResource, now: Instant) -> Proof {
        let version = &resource.metadata.resource_version;
        let mut removals = self.lock();
        let memory = removals.entry(extension.to_owned()).or_insert_with(|| Memory {
            proven: false,
            version: version.clone(),
            since: now,
        });
        if memory.version != *version || version.is_none() {
            (memory.version, memory.since) = (version.clone(), now);
        }
        let judged = proof(resource, now.saturating_duration_since(memory.since));
        memory.proven = judged == Proof::Complete;
        judged
    }

    /// Whether the last judgement was that every node is clean.
    pub(crate) fn is_proven(&self, extension: &str) -> bool {
        self.lock().get(extension).is_some_and(|memory| memory.proven)
    }

    /// The removal has ended.
    pub(crate) fn forget(&self, extension: &str) {
        self.lock().remove(extension);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Memory>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
