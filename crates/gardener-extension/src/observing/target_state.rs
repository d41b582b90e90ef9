//! Whether anything is to be seen behind an Extension. Pure.

use std::sync::Arc;

use gardener_api::constants::operation::MIGRATE;
use gardener_api::{Extension, LastOperationState, LastOperationType, ManagedResource};

use crate::cache::{ClusterFacts, LastSeen};
use crate::managed_resources::{Health, health};

/// What there is to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TargetState {
    /// Nothing, and nobody to be asked: not made yet, going, or on its way to or from another seed.
    Absent,
    /// The shoot is hibernated.
    Hibernated,
    /// Something. Other words of the ManagedResources are reason to observe it anew.
    Present { good: bool, progressing: bool },
}

impl TargetState {
    /// The ManagedResources are healthy.
    pub(super) fn is_good(self) -> bool {
        matches!(self, Self::Present { good: true, .. })
    }
}

pub(super) fn target_state(
    extension: &Extension,
    cluster: Option<&ClusterFacts>,
    resources: &[Option<LastSeen<ManagedResource>>],
) -> TargetState {
    let served = extension.metadata.deletion_timestamp.is_none()
        && extension.operation_annotation() != Some(MIGRATE)
        && extension.last_operation().is_some_and(|last| match last.type_ {
            LastOperationType::Create | LastOperationType::Restore => last.state == LastOperationState::Succeeded,
            LastOperationType::Reconcile => true,
            _ => false,
        })
        && cluster.is_some_and(ClusterFacts::is_at_home);
    if !served {
        return TargetState::Absent;
    }
    if cluster.is_some_and(|facts| facts.hibernation_requested) {
        return TargetState::Hibernated;
    }
    let found: Option<Vec<&Arc<ManagedResource>>> = resources.iter().map(|seen| seen.as_ref()?.as_ref().ok()).collect();
    let Some(found) = found.filter(|found| found.iter().all(|one| one.metadata.deletion_timestamp.is_none())) else {
        return TargetState::Absent;
    };
    let words: Vec<Health> = found.iter().map(|one| health(one)).collect();
    TargetState::Present {
        good: words.iter().all(|word| *word == Health::Healthy),
        progressing: words.iter().any(|word| matches!(word, Health::Progressing(_))),
    }
}
