//! What this process remembers of removals under way. All of it can be lost: then it is proven once more.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use gardener_api::ManagedResource;

use super::nodes::Tally;
use super::{Proof, proof, proof_by_nodes};

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
    /// The last note about nodes that are not waited for.
    note: Option<String>,
}

impl Removals {
    /// Judges the proof, and remembers it when it is complete. `tally`: what the shoot says, when it could be asked.
    pub(crate) fn judge(
        &self,
        extension: &str,
        resource: &ManagedResource,
        tally: Option<&Tally>,
        now: Instant,
    ) -> Proof {
        let version = &resource.metadata.resource_version;
        let mut removals = self.lock();
        let memory = removals.entry(extension.to_owned()).or_insert_with(|| Memory {
            proven: false,
            version: version.clone(),
            since: now,
            note: None,
        });
        if memory.version != *version || version.is_none() {
            (memory.version, memory.since) = (version.clone(), now);
        }
        let judged = match tally {
            Some(tally) => proof_by_nodes(resource, tally),
            None => proof(resource, now.saturating_duration_since(memory.since)),
        };
        memory.proven = judged == Proof::Complete;
        judged
    }

    /// Whether the last judgement was that every node is clean.
    pub(crate) fn is_proven(&self, extension: &str) -> bool {
        self.lock().get(extension).is_some_and(|memory| memory.proven)
    }

    /// Records the note that is about to be published; returns whether it differs from the last one.
    pub(crate) fn record_note(&self, extension: &str, note: &str) -> bool {
        let mut removals = self.lock();
        let Some(memory) = removals.get_mut(extension) else { return true };
        let changed = memory.note.as_deref() != Some(note);
        memory.note = Some(note.to_owned());
        changed
    }

    /// The removal has ended.
    pub(crate) fn forget(&self, extension: &str) {
        self.lock().remove(extension);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Memory>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
