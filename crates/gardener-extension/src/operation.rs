//! Which operation is asked for. Pure; the one place that decides it.

mod trigger;

#[cfg(test)]
mod tests;

use gardener_api::constants::operation as annotation;
use gardener_api::{Extension, LastOperationState, LastOperationType, Shoot};

pub use trigger::{Trigger, Triggers};

/// The operation annotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Annotation {
    /// None, or a value that means nothing to extensions.
    Absent,
    /// `reconcile`.
    Reconcile,
    /// `restore`.
    Restore,
    /// `migrate`.
    Migrate,
    /// `wait-for-state`.
    WaitForState,
}

/// Everything that the decision depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts; the tests walk through all their combinations")]
pub struct Situation {
    /// The operation annotation.
    pub annotation: Annotation,
    /// The deletion timestamp is set.
    pub deleting: bool,
    /// Our finalizer is there.
    pub finalizer: bool,
    /// Type and state of the last operation.
    pub last: Option<(LastOperationType, LastOperationState)>,
    /// The spec changed since the last operation, and the controller is told to act on that instead of on the annotation.
    pub spec_changed: bool,
    /// The Shoot is in state Failed.
    pub shoot_failed: bool,
    /// The Shoot's control plane goes to another seed.
    pub shoot_migrating: bool,
    /// The Shoot's owner asked for a deletion without waiting.
    pub force_deletion: bool,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decision {
    /// Leave it alone.
    Ignore(Ignored),
    /// Only take the operation annotation away: the request comes too late.
    DropAnnotation,
    /// Do this.
    Run(Operation),
}

/// Why an Extension is left alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ignored {
    /// Gardener gave the Shoot up.
    ShootFailed,
    /// The Shoot's control plane goes to another seed: what is written here now would hold that up, or outlive it.
    ShootMigrating,
    /// Its state has not been written yet.
    WaitsForState,
    /// It went to another seed.
    Migrated,
    /// It is being deleted, and we never worked on it or are done.
    NoFinalizer,
    /// Nobody asked for anything.
    NotRequested,
}

/// An operation of an extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operation {
    /// The first reconciliation.
    Create,
    /// Any later one.
    Reconcile,
    /// Removal, verified.
    Delete,
    /// Removal without waiting.
    ForceDelete,
    /// Letting go.
    Migrate,
    /// Taking over.
    Restore,
}

impl Operation {
    /// As it stands in the status.
    #[must_use]
    pub fn last_operation_type(self) -> LastOperationType {
        match self {
            Self::Create => LastOperationType::Create,
            Self::Reconcile => LastOperationType::Reconcile,
            Self::Delete | Self::ForceDelete => LastOperationType::Delete,
            Self::Migrate => LastOperationType::Migrate,
            Self::Restore => LastOperationType::Restore,
        }
    }

    /// Word for metrics, logs and Events.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "Create",
            Self::Reconcile => "Reconcile",
            Self::Delete => "Delete",
            Self::ForceDelete => "ForceDelete",
            Self::Migrate => "Migrate",
            Self::Restore => "Restore",
        }
    }
}

impl Situation {
    /// Reads it off the objects. `shoot` is `None` in a namespace that is not a shoot's, and as long as it is not known.
    #[must_use]
    pub fn of(extension: &Extension, shoot: Option<&Shoot>, finalizer: &str, act_on_spec: bool) -> Self {
        let observed = extension.status.as_ref().and_then(|status| status.observed_generation);
        Self {
            annotation: match extension.operation_annotation() {
                Some(annotation::RECONCILE) => Annotation::Reconcile,
                Some(annotation::RESTORE) => Annotation::Restore,
                Some(annotation::MIGRATE) => Annotation::Migrate,
                Some(annotation::WAIT_FOR_STATE) => Annotation::WaitForState,
                _ => Annotation::Absent,
            },
            deleting: extension.metadata.deletion_timestamp.is_some(),
            finalizer: extension.metadata.finalizers.iter().flatten().any(|found| found == finalizer),
            last: extension.last_operation().map(|last| (last.type_, last.state)),
            spec_changed: act_on_spec && observed != extension.metadata.generation,
            shoot_failed: shoot.is_some_and(Shoot::is_failed),
            shoot_migrating: shoot.is_some_and(Shoot::is_migrating),
            force_deletion: shoot.is_some_and(Shoot::is_force_deleted),
        }
    }
}

/// Decides (contract: predicates, entry checks, operation type, dispatch; in this order of weight):
///
/// 1. A failed Shoot and `wait-for-state` stop everything.
/// 2. The type of the operation follows from annotation, deletion and last operation; `migrate` wins over a deletion.
/// 3. After Migrate/Succeeded only migrate and restore count, even if the object is being deleted. Our finalizer is gone by then;
///    if it is not, the migration was cut off before its last write, and is finished.
/// 4. Without our finalizer a deletion is none of our business.
/// 5. Something must ask for it: see [`is_requested`].
/// 6. While the Shoot migrates nothing is installed; what was asked for is done when that is over. Letting go, taking over and removal go on.
#[must_use]
pub fn decide(situation: Situation, triggers: Triggers) -> Decision {
    if situation.shoot_failed {
        return Decision::Ignore(Ignored::ShootFailed);
    }
    if situation.annotation == Annotation::WaitForState {
        return Decision::Ignore(Ignored::WaitsForState);
    }
    let operation = operation(situation);
    let migrated = situation.last == Some((LastOperationType::Migrate, LastOperationState::Succeeded));
    if migrated && !matches!(operation, Operation::Migrate | Operation::Restore) {
        if situation.finalizer {
            return Decision::Run(Operation::Migrate);
        }
        return match situation.annotation {
            Annotation::Reconcile => Decision::DropAnnotation,
            _ => Decision::Ignore(Ignored::Migrated),
        };
    }
    if matches!(operation, Operation::Delete | Operation::ForceDelete) && !situation.finalizer {
        return Decision::Ignore(Ignored::NoFinalizer);
    }
    if !is_requested(situation, triggers) {
        return Decision::Ignore(Ignored::NotRequested);
    }
    if situation.shoot_migrating && matches!(operation, Operation::Create | Operation::Reconcile) {
        return Decision::Ignore(Ignored::ShootMigrating);
    }
    Decision::Run(operation)
}

fn operation(situation: Situation) -> Operation {
    use LastOperationState::Succeeded;
    if situation.annotation == Annotation::Migrate {
        return Operation::Migrate;
    }
    if situation.deleting {
        return if situation.force_deletion { Operation::ForceDelete } else { Operation::Delete };
    }
    if situation.annotation == Annotation::Restore {
        return Operation::Restore;
    }
    match situation.last {
        None => Operation::Create,
        Some((LastOperationType::Create, state)) if state != Succeeded => Operation::Create,
        Some((LastOperationType::Migrate, state)) if state != Succeeded => Operation::Migrate,
        Some((LastOperationType::Restore, state)) if state != Succeeded => Operation::Restore,
        Some(_) => Operation::Reconcile,
    }
}

/// The object asks (annotation, deletion, never worked on), or the process does (a retry, a changed base configuration, the
/// periodic look, an awaited object that changed, an operation that a former process left unfinished).
fn is_requested(situation: Situation, triggers: Triggers) -> bool {
    let annotated = matches!(situation.annotation, Annotation::Reconcile | Annotation::Restore | Annotation::Migrate);
    let unfinished = situation.last.is_none_or(|(_, state)| state != LastOperationState::Succeeded);
    annotated
        || situation.deleting
        || situation.last.is_none()
        || situation.spec_changed
        || (triggers.contains(Trigger::Seen) && unfinished)
        || triggers.forces()
}
