use proptest::prelude::*;

use super::*;

const TIMING: Timing = Timing {
    lease_duration: Duration::from_secs(15),
    renew_deadline: Duration::from_secs(10),
    retry_period: Duration::from_secs(2),
};

fn who(identity: &str) -> Candidate<'_> {
    Candidate { namespace: "ns", name: "lock", identity }
}

fn wall(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).expect("a time")
}

fn lease(holder: Option<&str>, renewed: i64, duration: Option<i32>) -> Lease {
    Lease {
        metadata: ObjectMeta { resource_version: Some("7".to_owned()), ..ObjectMeta::default() },
        spec: Some(LeaseSpec {
            holder_identity: holder.map(str::to_owned),
            renew_time: Some(MicroTime(wall(renewed))),
            acquire_time: Some(MicroTime(wall(-100))),
            lease_duration_seconds: duration,
            lease_transitions: Some(4),
            ..LeaseSpec::default()
        }),
    }
}

#[derive(Debug, PartialEq)]
enum Kind {
    Create,
    Renew,
    Take,
    Wait,
}

fn kind(action: &Action) -> Kind {
    match action {
        Action::Create(_) => Kind::Create,
        Action::Wait => Kind::Wait,
        Action::Replace(lease) => match lease.spec.as_ref().and_then(|spec| spec.lease_transitions) {
            Some(4) => Kind::Renew,
            _ => Kind::Take,
        },
    }
}

#[test]
fn decision_for_every_state_of_the_record() {
    let now = Instant::now();
    let cases = [
        (None, Kind::Create),
        (Some(lease(Some("me"), 0, Some(15))), Kind::Renew),
        (Some(lease(Some("other"), 0, Some(15))), Kind::Wait),
        // Long gone by the clock on the wall, but that is another host's clock.
        (Some(lease(Some("other"), -100_000, Some(15))), Kind::Wait),
        (Some(lease(Some(""), 0, Some(1))), Kind::Take),
        (Some(lease(None, 0, None)), Kind::Take),
        (Some(Lease::default()), Kind::Take),
    ];
    for (lease, expected) in cases {
        let action = Observer::default().decide(lease.as_ref(), &who("me"), TIMING, now, wall(0));
        assert_eq!(kind(&action), expected, "{lease:?}");
    }
}

#[test]
fn a_silent_holder_is_waited_for_by_the_own_monotonic_clock() {
    let start = Instant::now();
    let after = |seconds| start + Duration::from_secs(seconds);
    for (promised, endures) in [(Some(15), 15), (Some(60), 60), (Some(1), 15), (None, 15), (Some(-5), 15)] {
        let mut observer = Observer::default();
        let silent = lease(Some("other"), 0, promised);
        let mut observe =
            |lease: &Lease, seconds| kind(&observer.decide(Some(lease), &who("me"), TIMING, after(seconds), wall(0)));
        assert_eq!(observe(&silent, 0), Kind::Wait);
        assert_eq!(observe(&silent, endures - 1), Kind::Wait, "{promised:?}");
        let renewed = lease(Some("other"), 1, promised);
        assert_eq!(observe(&renewed, endures), Kind::Wait, "it renewed: the clock starts again");
        assert_eq!(observe(&renewed, 2 * endures - 1), Kind::Wait);
        assert_eq!(observe(&renewed, 2 * endures), Kind::Take);
    }
}

#[test]
fn the_leader_record_counts_transitions_and_keeps_the_acquire_time() {
    let renewed =
        Observer::default().decide(Some(&lease(Some("me"), 0, Some(15))), &who("me"), TIMING, Instant::now(), wall(9));
    let Action::Replace(renewed) = renewed else { panic!("expected a renewal: {renewed:?}") };
    assert_eq!(renewed.metadata.resource_version.as_deref(), Some("7"), "under the version that was read");
    let spec = renewed.spec.clone().expect("a spec");
    assert_eq!(spec.acquire_time, Some(MicroTime(wall(-100))));
    assert_eq!(spec.renew_time, Some(MicroTime(wall(9))));
    assert_eq!((spec.lease_duration_seconds, spec.lease_transitions), (Some(15), Some(4)));

    let free = released(&renewed, "me", wall(10)).expect("ours to release");
    assert_eq!(free.spec.as_ref().and_then(|spec| spec.holder_identity.as_deref()), Some(""));
    assert_eq!(released(&renewed, "other", wall(10)), None, "never another's");

    let taken = Observer::default().decide(Some(&free), &who("other"), TIMING, Instant::now(), wall(11));
    let Action::Replace(taken) = taken else { panic!("expected to take: {taken:?}") };
    let spec = taken.spec.expect("a spec");
    assert_eq!(spec.acquire_time, Some(MicroTime(wall(11))));
    assert_eq!(spec.lease_transitions, Some(5));
}

/// One process in the simulation below: it reads, and later writes what it decided, if nobody wrote in between.
struct Process {
    name: String,
    observer: Observer,
    /// Difference of its wall clock.
    skew: i64,
    /// Decided, not yet written: version, record, when it was begun.
    intent: Option<(u64, Lease, Instant)>,
    held_until: Option<Instant>,
}

proptest! {
    /// Processes with wrong wall clocks that pause anywhere (also between deciding and writing) never hold the lease at the
    /// same time, measured as the fence does: from the beginning of a successful write, for the renew deadline.
    #[test]
    fn leader_election_never_has_two_leaders(
        steps in prop::collection::vec((0_usize..3, 0_u64..9_000), 1..200),
        skews in prop::collection::vec(-100_000_i64..100_000, 3),
    ) {
        let start = Instant::now();
        let mut elapsed = 0;
        let mut stored: Option<Lease> = None;
        let mut version = 0_u64;
        let mut processes: Vec<Process> = skews
            .iter()
            .enumerate()
            .map(|(index, skew)| Process {
                name: format!("p{index}"),
                observer: Observer::default(),
                skew: *skew,
                intent: None,
                held_until: None,
            })
            .collect();
        for (index, pause) in steps {
            elapsed += pause;
            let now = start + Duration::from_millis(elapsed);
            let process = &mut processes[index];
            if let Some((read, lease, begun)) = process.intent.take() {
                if read == version {
                    stored = Some(lease);
                    version += 1;
                    process.held_until = Some(begun + TIMING.renew_deadline);
                }
            } else {
                let wall = wall(process.skew + i64::try_from(elapsed / 1000).expect("small"));
                match process.observer.decide(stored.as_ref(), &who(&process.name), TIMING, now, wall) {
                    Action::Create(lease) | Action::Replace(lease) => process.intent = Some((version, lease, now)),
                    Action::Wait => process.held_until = process.held_until.filter(|until| *until > now),
                }
            }
            let holders: Vec<&str> = processes
                .iter()
                .filter(|process| process.held_until.is_some_and(|until| until > now))
                .map(|process| process.name.as_str())
                .collect();
            prop_assert!(holders.len() <= 1, "{holders:?} after {elapsed} ms");
        }
    }
}
