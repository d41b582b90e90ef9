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
};

/// Nothing special about the Shoot.
const CALM: ShootSituation = ShootSituation { failed: false, migrating: false, force_deletion: false };

const ANNOTATIONS: [Annotation; 5] =
    [Annotation::Absent, Annotation::Reconcile, Annotation::Restore, Annotation::Migrate, Annotation::WaitForState];
const TYPES: [Type; 6] = [Type::Create, Type::Reconcile, Type::Delete, Type::Migrate, Type::Restore, Type::Unknown];
const STATES: [State; 7] =
    [State::Processing, State::Succeeded, State::Error, State::Failed, State::Pending, State::Aborted, State::Unknown];

fn lasts() -> Vec<Option<(Type, State)>> {
    let pairs = TYPES.into_iter().flat_map(|type_| STATES.into_iter().map(move |state| Some((type_, state))));
    std::iter::once(None).chain(pairs).collect()
}

fn all() -> impl Iterator<Item = (Situation, ShootSituation, Triggers)> {
    let mut cases = Vec::new();
    for annotation in ANNOTATIONS {
        for last in lasts() {
            for bits in 0_u8..64 {
                let bit = |index: u8| bits & (1 << index) != 0;
                let situation =
                    Situation { annotation, last, deleting: bit(0), finalizer: bit(1), spec_changed: bit(2) };
                let shoot = ShootSituation { failed: bit(3), force_deletion: bit(4), migrating: bit(5) };
                for set in 0_u8..64 {
                    let triggers = ALL
                        .into_iter()
                        .filter(|trigger| set & *trigger as u8 != 0)
                        .fold(Triggers::default(), |sum, trigger| sum.union(trigger.into()));
                    cases.push((situation, shoot, triggers));
                }
            }
        }
    }
    cases.into_iter()
}

/// The contract's rules, written as a table of first matches: the second opinion on [`decide`] and [`Decision::given`].
fn table(s: Situation, shoot: ShootSituation, t: Triggers) -> Decision {
    use Annotation as A;
    use Decision::{DropAnnotation, Run};
    let ignore = |reason| Decision::Ignore { reason, blocked: false };
    let blocked = |reason| Decision::Ignore { reason, blocked: true };
    let migrated = s.last == Some((Type::Migrate, State::Succeeded));
    let open = |type_| s.last.is_some_and(|(found, state)| found == type_ && state != State::Succeeded);
    let forced = t.contains(Trigger::Retry)
        || t.contains(Trigger::DependencyChanged)
        || t.contains(Trigger::External)
        || t.contains(Trigger::Resync)
        || t.contains(Trigger::FirstSeen) && s.last.is_none_or(|(_, state)| state != State::Succeeded);
    let asked = matches!(s.annotation, A::Reconcile | A::Restore | A::Migrate)
        || s.deleting
        || s.last.is_none()
        || s.spec_changed
        || forced;
    let restored = s.annotation == A::Restore && !s.deleting;
    let left_over = migrated && s.finalizer && !restored;
    let waits = s.annotation == A::WaitForState;
    let would_run =
        left_over || !migrated && if s.deleting { s.finalizer } else { s.last.is_none() || s.spec_changed || forced };
    let rows: [(bool, Decision); 18] = [
        // What the Extension itself does not ask for.
        (waits && would_run, blocked(Ignored::WaitsForState)),
        (waits, ignore(Ignored::WaitsForState)),
        (
            migrated && !s.finalizer && !restored && !matches!(s.annotation, A::Migrate | A::Reconcile),
            ignore(Ignored::Migrated),
        ),
        (s.deleting && !s.finalizer && !migrated && s.annotation != A::Migrate, ignore(Ignored::NoFinalizer)),
        (!asked && !left_over, ignore(Ignored::NotRequested)),
        // What its Shoot forbids, and what is left.
        (shoot.failed, blocked(Ignored::ShootFailed)),
        (s.annotation == A::Migrate, Run(Operation::Migrate)),
        (left_over, Run(Operation::Migrate)),
        (migrated && s.annotation == A::Reconcile, DropAnnotation),
        (s.deleting && shoot.force_deletion, Run(Operation::ForceDelete)),
        (s.deleting, Run(Operation::Delete)),
        (s.annotation == A::Restore, Run(Operation::Restore)),
        (open(Type::Migrate), Run(Operation::Migrate)),
        (open(Type::Restore), Run(Operation::Restore)),
        (shoot.migrating, blocked(Ignored::ShootMigrating)),
        (s.last.is_none(), Run(Operation::Create)),
        (open(Type::Create), Run(Operation::Create)),
        (true, Run(Operation::Reconcile)),
    ];
    rows.into_iter().find(|(holds, _)| *holds).expect("the last row always holds").1
}

#[test]
fn every_situation_is_decided_as_the_table_says() {
    let mut count = 0_u32;
    for (situation, shoot, triggers) in all() {
        let decision = decide(situation, triggers).given(shoot);
        assert_eq!(decision, table(situation, shoot, triggers), "{situation:?} {shoot:?} {:?}", triggers.names());
        count += 1;
    }
    assert_eq!(count, 5 * 43 * 64 * 64);
}

#[test]
fn named_cases_of_the_contract() {
    use Decision::{DropAnnotation, Run};
    let ignore = |reason| Decision::Ignore { reason, blocked: false };
    let blocked = |reason| Decision::Ignore { reason, blocked: true };
    let fresh = Situation { last: None, finalizer: false, ..QUIET };
    let changed = Triggers::from(Trigger::Changed);
    let seen = Triggers::from(Trigger::FirstSeen);
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
        ("spec changed, not asked", QUIET, changed, ignore(Ignored::NotRequested)),
        ("spec changed, acting on it", Situation { spec_changed: true, ..QUIET }, changed, Run(Operation::Reconcile)),
        ("waits", Situation { annotation: Annotation::WaitForState, ..fresh }, seen, blocked(Ignored::WaitsForState)),
        ("restored", Situation { annotation: Annotation::Restore, ..fresh }, changed, Run(Operation::Restore)),
        (
            "shoot failed",
            Situation { annotation: Annotation::Reconcile, ..QUIET },
            changed,
            blocked(Ignored::ShootFailed),
        ),
        ("left in error", Situation { last: last(Type::Create, State::Error), ..QUIET }, seen, Run(Operation::Create)),
        (
            "in error, own status write",
            Situation { last: last(Type::Create, State::Error), ..QUIET },
            changed,
            ignore(Ignored::NotRequested),
        ),
        ("succeeded before the start", QUIET, seen, ignore(Ignored::NotRequested)),
        ("deleted", Situation { deleting: true, ..QUIET }, changed, Run(Operation::Delete)),
        ("deleted by force", Situation { deleting: true, ..QUIET }, changed, Run(Operation::ForceDelete)),
        (
            "deleted, not ours",
            Situation { deleting: true, finalizer: false, ..QUIET },
            changed,
            ignore(Ignored::NoFinalizer),
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
            ignore(Ignored::Migrated),
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
            ignore(Ignored::Migrated),
        ),
        ("base configuration", QUIET, Trigger::External.into(), Run(Operation::Reconcile)),
    ];
    for (name, situation, triggers, expected) in cases {
        let shoot = match name {
            "shoot failed" => ShootSituation { failed: true, ..CALM },
            "deleted by force" => ShootSituation { force_deletion: true, ..CALM },
            _ => CALM,
        };
        assert_eq!(decide(situation, triggers).given(shoot), expected, "{name}");
    }
}

#[test]
fn a_migrating_shoot_is_let_go_and_cleaned_up_but_not_installed() {
    use Decision::Run;
    let ignore = |reason| Decision::Ignore { reason, blocked: false };
    let blocked = |reason| Decision::Ignore { reason, blocked: true };
    let migrating = ShootSituation { migrating: true, ..CALM };
    let changed = Triggers::from(Trigger::Changed);
    for (situation, triggers, expected) in [
        (Situation { annotation: Annotation::Reconcile, ..QUIET }, changed, blocked(Ignored::ShootMigrating)),
        (Situation { last: None, ..QUIET }, changed, blocked(Ignored::ShootMigrating)),
        (QUIET, Trigger::External.into(), blocked(Ignored::ShootMigrating)),
        (QUIET, changed, ignore(Ignored::NotRequested)),
        (Situation { annotation: Annotation::Migrate, ..QUIET }, changed, Run(Operation::Migrate)),
        (Situation { annotation: Annotation::Restore, ..QUIET }, changed, Run(Operation::Restore)),
        // A stale one: gardenlet waits for it.
        (Situation { deleting: true, ..QUIET }, changed, Run(Operation::Delete)),
    ] {
        assert_eq!(decide(situation, triggers).given(migrating), expected, "{situation:?}");
    }
}
