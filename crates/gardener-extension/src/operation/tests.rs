use gardener_api::LastOperationState as State;
use gardener_api::LastOperationType as Type;

use super::trigger::ALL;
use super::*;

const QUIET: Situation = Situation {
    annotation: Annotation::Absent,
    deleting: false,
    finalizer: true,
    last: Some((Type::Reconcile, State::Succeeded)),
    spec_changed: false,
    shoot_failed: false,
    shoot_migrating: false,
    force_deletion: false,
};

const ANNOTATIONS: [Annotation; 5] =
    [Annotation::Absent, Annotation::Reconcile, Annotation::Restore, Annotation::Migrate, Annotation::WaitForState];
const TYPES: [Type; 6] = [Type::Create, Type::Reconcile, Type::Delete, Type::Migrate, Type::Restore, Type::Unknown];
const STATES: [State; 7] =
    [State::Processing, State::Succeeded, State::Error, State::Failed, State::Pending, State::Aborted, State::Unknown];

fn lasts() -> Vec<Option<(Type, State)>> {
    let pairs = TYPES.into_iter().flat_map(|type_| STATES.into_iter().map(move |state| Some((type_, state))));
    std::iter::once(None).chain(pairs).collect()
}

fn all() -> impl Iterator<Item = (Situation, Triggers)> {
    let mut cases = Vec::new();
    for annotation in ANNOTATIONS {
        for last in lasts() {
            for bits in 0_u8..64 {
                let bit = |index: u8| bits & (1 << index) != 0;
                let situation = Situation {
                    annotation,
                    last,
                    deleting: bit(0),
                    finalizer: bit(1),
                    spec_changed: bit(2),
                    shoot_failed: bit(3),
                    force_deletion: bit(4),
                    shoot_migrating: bit(5),
                };
                for set in 0_u8..64 {
                    let triggers = ALL
                        .into_iter()
                        .filter(|trigger| set & *trigger as u8 != 0)
                        .fold(Triggers::default(), |sum, trigger| sum.union(trigger.into()));
                    cases.push((situation, triggers));
                }
            }
        }
    }
    cases.into_iter()
}

/// The contract's rules, written as a table of first matches: the second opinion on [`decide`].
fn table(s: Situation, t: Triggers) -> Decision {
    use Annotation as A;
    use Decision::{DropAnnotation, Ignore, Run};
    let migrated = s.last == Some((Type::Migrate, State::Succeeded));
    let open = |type_| s.last.is_some_and(|(found, state)| found == type_ && state != State::Succeeded);
    let asked = matches!(s.annotation, A::Reconcile | A::Restore | A::Migrate)
        || s.deleting
        || s.last.is_none()
        || s.spec_changed
        || t.contains(Trigger::Retry)
        || t.contains(Trigger::Awaited)
        || t.contains(Trigger::External)
        || t.contains(Trigger::Resync)
        || t.contains(Trigger::Seen) && s.last.is_none_or(|(_, state)| state != State::Succeeded);
    let restored = s.annotation == A::Restore && !s.deleting;
    let rows: [(bool, Decision); 17] = [
        (s.shoot_failed, Ignore(Ignored::ShootFailed)),
        (s.annotation == A::WaitForState, Ignore(Ignored::WaitsForState)),
        (s.annotation == A::Migrate, Run(Operation::Migrate)),
        (migrated && s.finalizer && !restored, Run(Operation::Migrate)),
        (migrated && s.annotation == A::Reconcile, DropAnnotation),
        (migrated && (s.deleting || s.annotation != A::Restore), Ignore(Ignored::Migrated)),
        (s.deleting && !s.finalizer, Ignore(Ignored::NoFinalizer)),
        (!asked, Ignore(Ignored::NotRequested)),
        (s.deleting && s.force_deletion, Run(Operation::ForceDelete)),
        (s.deleting, Run(Operation::Delete)),
        (s.annotation == A::Restore, Run(Operation::Restore)),
        (open(Type::Migrate), Run(Operation::Migrate)),
        (open(Type::Restore), Run(Operation::Restore)),
        (s.shoot_migrating, Ignore(Ignored::ShootMigrating)),
        (s.last.is_none(), Run(Operation::Create)),
        (open(Type::Create), Run(Operation::Create)),
        (true, Run(Operation::Reconcile)),
    ];
    rows.into_iter().find(|(holds, _)| *holds).expect("the last row always holds").1
}

#[test]
fn every_situation_is_decided_as_the_table_says() {
    let mut count = 0_u32;
    for (situation, triggers) in all() {
        assert_eq!(decide(situation, triggers), table(situation, triggers), "{situation:?} {:?}", triggers.names());
        count += 1;
    }
    assert_eq!(count, 5 * 43 * 64 * 64);
}

#[test]
fn named_cases_of_the_contract() {
    use Decision::{DropAnnotation, Ignore, Run};
    let fresh = Situation { last: None, finalizer: false, ..QUIET };
    let changed = Triggers::from(Trigger::Changed);
    let seen = Triggers::from(Trigger::Seen);
    let last = |type_, state| Some((type_, state));
    let cases = [
        (
            "created with annotation",
            Situation { annotation: Annotation::Reconcile, ..fresh },
            seen,
            Run(Operation::Create),
        ),
        ("created without", fresh, seen, Run(Operation::Create)),
        ("asked again", Situation { annotation: Annotation::Reconcile, ..QUIET }, changed, Run(Operation::Reconcile)),
        ("spec changed, not asked", QUIET, changed, Ignore(Ignored::NotRequested)),
        ("spec changed, acting on it", Situation { spec_changed: true, ..QUIET }, changed, Run(Operation::Reconcile)),
        ("waits", Situation { annotation: Annotation::WaitForState, ..fresh }, seen, Ignore(Ignored::WaitsForState)),
        ("restored", Situation { annotation: Annotation::Restore, ..fresh }, changed, Run(Operation::Restore)),
        (
            "shoot failed",
            Situation { annotation: Annotation::Reconcile, shoot_failed: true, ..QUIET },
            changed,
            Ignore(Ignored::ShootFailed),
        ),
        ("left in error", Situation { last: last(Type::Create, State::Error), ..QUIET }, seen, Run(Operation::Create)),
        (
            "in error, own status write",
            Situation { last: last(Type::Create, State::Error), ..QUIET },
            changed,
            Ignore(Ignored::NotRequested),
        ),
        ("succeeded before the start", QUIET, seen, Ignore(Ignored::NotRequested)),
        ("deleted", Situation { deleting: true, ..QUIET }, changed, Run(Operation::Delete)),
        (
            "deleted by force",
            Situation { deleting: true, force_deletion: true, ..QUIET },
            changed,
            Run(Operation::ForceDelete),
        ),
        (
            "deleted, not ours",
            Situation { deleting: true, finalizer: false, ..QUIET },
            changed,
            Ignore(Ignored::NoFinalizer),
        ),
        (
            "migrate wins over a deletion",
            Situation { annotation: Annotation::Migrate, deleting: true, ..QUIET },
            changed,
            Run(Operation::Migrate),
        ),
        (
            "reconcile after a migration",
            Situation {
                annotation: Annotation::Reconcile,
                last: last(Type::Migrate, State::Succeeded),
                finalizer: false,
                ..QUIET
            },
            changed,
            DropAnnotation,
        ),
        (
            "deleted after a migration",
            Situation { deleting: true, finalizer: false, last: last(Type::Migrate, State::Succeeded), ..QUIET },
            changed,
            Ignore(Ignored::Migrated),
        ),
        (
            "a migration cut off before it let go",
            Situation { deleting: true, last: last(Type::Migrate, State::Succeeded), ..QUIET },
            changed,
            Run(Operation::Migrate),
        ),
        (
            "base configuration after a migration",
            Situation { finalizer: false, last: last(Type::Migrate, State::Succeeded), ..QUIET },
            Trigger::External.into(),
            Ignore(Ignored::Migrated),
        ),
        ("base configuration", QUIET, Trigger::External.into(), Run(Operation::Reconcile)),
    ];
    for (name, situation, triggers, expected) in cases {
        assert_eq!(decide(situation, triggers), expected, "{name}");
    }
}

#[test]
fn a_migrating_shoot_is_let_go_and_cleaned_up_but_not_installed() {
    use Decision::{Ignore, Run};
    let migrating = Situation { shoot_migrating: true, ..QUIET };
    let changed = Triggers::from(Trigger::Changed);
    for (situation, triggers, expected) in [
        (Situation { annotation: Annotation::Reconcile, ..migrating }, changed, Ignore(Ignored::ShootMigrating)),
        (Situation { last: None, ..migrating }, changed, Ignore(Ignored::ShootMigrating)),
        (migrating, Trigger::External.into(), Ignore(Ignored::ShootMigrating)),
        (migrating, changed, Ignore(Ignored::NotRequested)),
        (Situation { annotation: Annotation::Migrate, ..migrating }, changed, Run(Operation::Migrate)),
        (Situation { annotation: Annotation::Restore, ..migrating }, changed, Run(Operation::Restore)),
        // A stale one: gardenlet waits for it.
        (Situation { deleting: true, ..migrating }, changed, Run(Operation::Delete)),
    ] {
        assert_eq!(decide(situation, triggers), expected, "{situation:?}");
    }
}
