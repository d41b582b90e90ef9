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

/// Everything about the Extension itself that the decision depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Situation {
    /// The operation annotation.
    pub annotation: Annotation,
    /// The deletion timestamp is set.
    pub deleting: bool,
    /// Our finalizer is there.
    pub finalizer: bool,
    /// Type and state of the last operation.
    pub last: Option<(LastOperationType, LastOperationState)>,
    /// The spec changed since the last operation, and the controller is configured to act on that instead of on the annotation.
    pub spec_changed: bool,
}

/// What the Shoot has to say about an operation. It can forbid one or make it another, and never asks for one, so it needs to be read only
/// for an Extension that asks for something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ShootSituation {
    /// The Shoot is in state Failed.
    pub failed: bool,
    /// The Shoot's control plane goes to another seed.
    pub migrating: bool,
    /// The Shoot's owner asked for a deletion without waiting.
    pub force_deletion: bool,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Decision {
    /// Leave it alone.
    Ignore {
        /// Why.
        reason: Ignored,
        /// But for that an operation would run.
        blocked: bool,
    },
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
    /// Reads it off the Extension.
    #[must_use]
    pub fn of(extension: &Extension, finalizer: &str, act_on_spec: bool) -> Self {
        let observed = extension.status.as_ref().and_then(|status| status.observed_generation);
        Self {
            annotation: Annotation::of(extension),
            deleting: extension.metadata.deletion_timestamp.is_some(),
            finalizer: extension.metadata.finalizers.iter().flatten().any(|found| found == finalizer),
            last: extension.last_operation().map(|last| (last.type_, last.state)),
            spec_changed: act_on_spec && observed != extension.metadata.generation,
        }
    }
}

impl Annotation {
    /// Reads it off the Extension.
    #[must_use]
    pub fn of(extension: &Extension) -> Self {
        match extension.operation_annotation() {
            Some(annotation::RECONCILE) => Self::Reconcile,
            Some(annotation::RESTORE) => Self::Restore,
            Some(annotation::MIGRATE) => Self::Migrate,
            Some(annotation::WAIT_FOR_STATE) => Self::WaitForState,
            _ => Self::Absent,
        }
    }
}

impl ShootSituation {
    /// Reads it off the Shoot; `None` in a namespace that is not a shoot's.
    #[must_use]
    pub fn of(shoot: Option<&Shoot>) -> Self {
        Self {
            failed: shoot.is_some_and(Shoot::is_failed),
            migrating: shoot.is_some_and(Shoot::is_migrating),
            force_deletion: shoot.is_some_and(Shoot::is_force_deleted),
        }
    }
}

/// Decides what the Extension asks for, before its Shoot is read (contract: predicates, entry checks, operation type, dispatch; in this
/// order of weight); [`Decision::given`] is the Shoot's part.
///
/// 1. `wait-for-state` stops everything.
/// 2. The type of the operation follows from annotation, deletion and last operation; `migrate` wins over a deletion.
/// 3. After Migrate/Succeeded only migrate and restore count, even if the object is being deleted. Our finalizer is gone by then;
///    if it is not, the migration was cut off before its last write, and is finished.
/// 4. Without our finalizer a deletion is none of our business.
/// 5. Something must ask for it: see [`is_requested`].
#[must_use]
pub fn decide(situation: Situation, triggers: Triggers) -> Decision {
    let ignore = |reason| Decision::Ignore { reason, blocked: false };
    if situation.annotation == Annotation::WaitForState {
        let without = Situation { annotation: Annotation::Absent, ..situation };
        let blocked = matches!(decide(without, triggers), Decision::Run(_));
        return Decision::Ignore { reason: Ignored::WaitsForState, blocked };
    }
    let operation = operation(situation);
    let migrated = situation.last == Some((LastOperationType::Migrate, LastOperationState::Succeeded));
    if migrated && !matches!(operation, Operation::Migrate | Operation::Restore) {
        if situation.finalizer {
            return Decision::Run(Operation::Migrate);
        }
        return match situation.annotation {
            Annotation::Reconcile => Decision::DropAnnotation,
            _ => ignore(Ignored::Migrated),
        };
    }
    if operation == Operation::Delete && !situation.finalizer {
        return ignore(Ignored::NoFinalizer);
    }
    if !is_requested(situation, triggers) {
        return ignore(Ignored::NotRequested);
    }
    Decision::Run(operation)
}

impl Decision {
    /// The decision once the Shoot is known:
    ///
    /// 1. A failed Shoot stops everything.
    /// 2. While the Shoot migrates nothing is installed; what was asked for is done when that is over. Letting go, taking over and removal
    ///    go on.
    /// 3. A deletion that is forced does not wait.
    #[must_use]
    pub fn given(self, shoot: ShootSituation) -> Self {
        let blocked = |reason| Self::Ignore { reason, blocked: true };
        match self {
            Self::Ignore { .. } => self,
            _ if shoot.failed => blocked(Ignored::ShootFailed),
            Self::Run(Operation::Create | Operation::Reconcile) if shoot.migrating => blocked(Ignored::ShootMigrating),
            Self::Run(Operation::Delete) if shoot.force_deletion => Self::Run(Operation::ForceDelete),
            Self::Run(_) | Self::DropAnnotation => self,
        }
    }
}

/// As if no deletion were forced: that only the Shoot knows.
fn operation(situation: Situation) -> Operation {
    use LastOperationState::Succeeded;
    if situation.annotation == Annotation::Migrate {
        return Operation::Migrate;
    }
    if situation.deleting {
        return Operation::Delete;
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
        || (triggers.contains(Trigger::FirstSeen) && unfinished)
        || triggers.forces()
}
