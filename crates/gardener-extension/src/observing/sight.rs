//! Whether anything is to be seen behind an Extension. Pure.

use std::sync::Arc;

use gardener_api::constants::operation::MIGRATE;
use gardener_api::{Extension, LastOperationState, LastOperationType, ManagedResource};

use crate::cache::{ClusterFacts, Seen};
use crate::managed_resources::{Health, health};

/// What there is to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    /// Nothing, and nobody to be asked: not made yet, going, or on its way to or from another seed.
    Nothing,
    /// The shoot is hibernated.
    Asleep,
    /// Something. Other words of the ManagedResources are reason to look at it anew.
    Something { good: bool, progressing: bool },
}

impl Sight {
    /// The ManagedResources are healthy.
    pub(super) fn is_good(self) -> bool {
        matches!(self, Self::Something { good: true, .. })
    }
}

pub(super) fn sight(
    extension: &Extension,
    cluster: Option<&ClusterFacts>,
    resources: &[Option<Seen<ManagedResource>>],
) -> Sight {
    let served = extension.metadata.deletion_timestamp.is_none()
        && extension.operation_annotation() != Some(MIGRATE)
        && extension.last_operation().is_some_and(|last| match last.type_ {
            LastOperationType::Create | LastOperationType::Restore => last.state == LastOperationState::Succeeded,
            LastOperationType::Reconcile => true,
            _ => false,
        })
        && cluster.is_some_and(ClusterFacts::is_at_home);
    if !served {
        return Sight::Nothing;
    }
    if cluster.is_some_and(|facts| facts.hibernation_requested) {
        return Sight::Asleep;
    }
    let found: Option<Vec<&Arc<ManagedResource>>> = resources.iter().map(|seen| seen.as_ref()?.as_ref().ok()).collect();
    let Some(found) = found.filter(|found| found.iter().all(|one| one.metadata.deletion_timestamp.is_none())) else {
        return Sight::Nothing;
    };
    let words: Vec<Health> = found.iter().map(|one| health(one)).collect();
    Sight::Something {
        good: words.iter().all(|word| *word == Health::Healthy),
        progressing: words.iter().any(|word| matches!(word, Health::Progressing(_))),
    }
}
