use proptest::prelude::*;

use super::*;

const DURATION: Duration = Duration::from_secs(300);

fn config() -> SlotsConfig {
    SlotsConfig {
        namespace: "ns".into(),
        name: "slots".into(),
        annotation: "a".into(),
        duration: DURATION,
        failure_limit: 2,
    }
}

fn wall(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).expect("a time")
}

static NOBODY: BTreeSet<String> = BTreeSet::new();

fn request(name: &str, slots: usize) -> SlotRequest<'_> {
    SlotRequest { name, change: "c", failed_at: None, slots, may_begin: true, non_members: &NOBODY }
}

fn holders(record: &Record) -> Vec<&str> {
    record.holders.iter().map(|holder| holder.name.as_str()).collect()
}

fn record(names: &[&str], failures: &[(&str, u64, &str)]) -> Record {
    Record {
        holders: names.iter().map(|name| Holder { name: (*name).to_owned(), renewed: wall(0) }).collect(),
        failures: failures
            .iter()
            .map(|(name, at, change)| Failure { name: (*name).to_owned(), at: *at, change: (*change).to_owned() })
            .collect(),
    }
}

/// Names, times and changes.
type Failures = &'static [(&'static str, u64, &'static str)];
/// Holders and failures before, slots; verdict and holders after.
type Case = (&'static [&'static str], Failures, usize, SlotDecision, &'static [&'static str]);

#[test]
fn decision_for_every_state_of_the_record() {
    use SlotDecision::{Full, Held, Stopped};
    let none: Failures = &[];
    let cases: [Case; 12] = [
        (&[], none, 1, Held, &["me"]),
        (&["a"], none, 1, Full, &["a"]),
        (&["a"], none, 2, Held, &["a", "me"]),
        (&["a", "b"], none, 2, Full, &["a", "b"]),
        // Held already, also when there are fewer slots by now.
        (&["me"], none, 1, Held, &["me"]),
        (&["a", "me", "b"], none, 1, Held, &["a", "me", "b"]),
        // There is always one.
        (&[], none, 0, Held, &["me"]),
        // One failure, failures with something else: go on.
        (&[], &[("a", 1, "c")], 1, Held, &["me"]),
        (&[], &[("a", 1, "c"), ("b", 1, "other"), ("b", 2, "other")], 1, Held, &["me"]),
        // Two are enough, whoever they are of.
        (&[], &[("a", 1, "c"), ("b", 1, "c")], 1, Stopped, &[]),
        (&["a", "me"], &[("a", 1, "c"), ("a", 2, "c")], 9, Stopped, &["a"]),
        (&["a"], &[("me", 1, "c"), ("me", 2, "c")], 1, Stopped, &["a"]),
    ];
    for (names, failures, slots, decision, left) in cases {
        let before = record(names, failures);
        let (next, response) =
            Observer::default().take(&before, &request("me", slots), &config(), Instant::now(), wall(1));
        assert_eq!((response.decision, holders(&next)), (decision, left.to_vec()), "{before:?}");
        assert_eq!(next.failures, before.failures);
    }
}

#[test]
fn a_silent_holder_is_waited_for_by_the_own_monotonic_clock() {
    let start = Instant::now();
    let mut observer = Observer::default();
    let mut observe = |record: &Record, seconds: u64| {
        // The clock on the wall is far ahead, and means nothing.
        observer
            .take(record, &request("me", 1), &config(), start + Duration::from_secs(seconds), wall(1_000_000))
            .1
            .decision
    };
    let mut silent = record(&["a"], &[]);
    assert_eq!(observe(&silent, 0), SlotDecision::Full);
    assert_eq!(observe(&silent, 299), SlotDecision::Full);
    silent.holders[0].renewed = wall(-50);
    assert_eq!(observe(&silent, 300), SlotDecision::Full, "any change is a sign of life");
    assert_eq!(observe(&silent, 599), SlotDecision::Full);
    // Gone and here again: counted anew.
    assert_eq!(observe(&record(&["b"], &[]), 600), SlotDecision::Full);
    assert_eq!(observe(&silent, 601), SlotDecision::Full);
    assert_eq!(observe(&silent, 900), SlotDecision::Full);
    assert_eq!(observe(&silent, 901), SlotDecision::Held);
}

#[test]
fn a_slot_request_repeated_soon_writes_nothing() {
    let held = record(&["me"], &[]);
    for (seconds, writes) in [(0, false), (74, false), (75, true), (-1, true)] {
        let (next, response) =
            Observer::default().take(&held, &request("me", 1), &config(), Instant::now(), wall(seconds));
        assert_eq!((response.decision, next != held), (SlotDecision::Held, writes), "after {seconds} s");
    }
    let full = record(&["a"], &[]);
    assert_eq!(Observer::default().take(&full, &request("me", 1), &config(), Instant::now(), wall(9)).0, full);
    assert_eq!(give_back(&full, &request("me", 1), &config()).0, full);
}

#[test]
fn a_failure_counts_once_and_the_second_one_stops_the_roll_out() {
    let failed = |name, at| SlotRequest { failed_at: Some(at), ..request(name, 1) };
    let (one, response) = give_back(&record(&["a"], &[]), &failed("a", 7), &config());
    assert_eq!((holders(&one), one.failures.len(), response.stopped_now), (vec![], 1, false));
    let (again, response) = give_back(&one, &failed("a", 7), &config());
    assert_eq!((&again, response.stopped_now), (&one, false));
    let (two, response) = give_back(&one, &failed("a", 8), &config());
    assert_eq!((two.failures.len(), response.stopped_now), (2, true));
    let (more, response) = give_back(&two, &failed("b", 9), &config());
    assert_eq!((&more, response.stopped_now), (&two, false), "past the limit nothing grows");
    // Recorded with the next attempt, because it could not be recorded before.
    let (next, response) = Observer::default().take(&one, &failed("b", 9), &config(), Instant::now(), wall(0));
    assert_eq!((next.failures.len(), response.decision, response.stopped_now), (2, SlotDecision::Stopped, true));
}

#[test]
fn only_the_newest_failures_are_remembered() {
    let mut all = Record::default();
    for number in 0..100 {
        let change = format!("c{number}");
        let request = SlotRequest { change: &change, failed_at: Some(number), ..request("a", 1) };
        all = give_back(&all, &request, &config()).0;
    }
    assert_eq!(all.failures.len(), REMEMBERED);
    assert_eq!(all.failures.last().unwrap().at, 99);
}

#[test]
fn the_slot_record_is_json() {
    let text = serde_json::to_string(&record(&["a"], &[("b", 7, "c")])).unwrap();
    assert_eq!(
        text,
        r#"{"holders":[{"name":"a","renewed":"2027-01-15T08:00:00Z"}],"failures":[{"name":"b","at":7,"change":"c"}]}"#
    );
    assert_eq!(Record::read(&text).unwrap(), record(&["a"], &[("b", 7, "c")]));
    assert_eq!(Record::read("{}").unwrap(), Record::default());
}

/// Holders before, strangers, slots; verdict and holders after.
type Forgery = (&'static [&'static str], &'static [&'static str], usize, SlotDecision, &'static [&'static str]);

#[test]
fn a_holder_that_is_no_node_of_the_shoot_takes_no_slot() {
    use SlotDecision::{Full, Held};
    let cases: [Forgery; 6] = [
        (&["ghost"], &[], 1, Full, &["ghost"]),
        (&["ghost"], &["ghost"], 1, Held, &["me"]),
        (&["ghost", "a"], &["ghost"], 1, Full, &["a"]),
        (&["ghost", "a"], &["ghost"], 2, Held, &["a", "me"]),
        (&["x", "y", "z"], &["x", "z"], 1, Full, &["y"]),
        // The asker knows best that it is there.
        (&["me", "ghost"], &["me", "ghost"], 1, Held, &["me"]),
    ];
    for (names, non_members, slots, decision, left) in cases {
        let non_members: BTreeSet<String> = non_members.iter().map(|name| (*name).to_owned()).collect();
        let request = SlotRequest { non_members: &non_members, ..request("me", slots) };
        let (next, response) =
            Observer::default().take(&record(names, &[]), &request, &config(), Instant::now(), wall(1));
        assert_eq!((response.decision, holders(&next)), (decision, left.to_vec()), "{names:?}");
        let others: Vec<&str> = left.iter().copied().filter(|name| *name != "me").collect();
        assert_eq!(response.others, others);
    }
}

#[test]
fn a_forged_slot_record_is_read_within_limits() {
    let entry = |name: &str| format!(r#"{{"name":"{name}","renewed":"2027-01-15T08:00:00Z"}}"#);
    let of = |holders: &[String], failures: &[String]| {
        format!(r#"{{"holders":[{}],"failures":[{}]}}"#, holders.join(","), failures.join(","))
    };
    let many = |count: usize| -> Vec<String> { (0..count).map(|number| entry(&format!("n{number}"))).collect() };
    let failure = |name: &str, change: &str| format!(r#"{{"name":"{name}","at":1,"change":"{change}"}}"#);
    let long = "n".repeat(NAME_LIMIT + 1);
    assert_eq!(Record::read(&of(&many(HOLDER_LIMIT), &[])).unwrap().holders.len(), HOLDER_LIMIT);
    let too_many = |holders, failures| Err(Unreadable::TooMany { holders, failures });
    assert_eq!(Record::read(&of(&many(HOLDER_LIMIT + 1), &[])), too_many(HOLDER_LIMIT + 1, 0));
    assert_eq!(Record::read(&of(&[], &vec![failure("a", "c"); REMEMBERED + 1])), too_many(0, REMEMBERED + 1));
    assert_eq!(Record::read(&of(&[entry(&long)], &[])), Err(Unreadable::LongName(long.len())));
    assert_eq!(Record::read(&of(&[], &[failure(&long, "c")])), Err(Unreadable::LongName(long.len())));
    assert_eq!(Record::read(&of(&[], &[failure("a", &long)])), Err(Unreadable::LongName(long.len())));
    assert_eq!(Record::read(&" ".repeat(RECORD_LIMIT + 1)), Err(Unreadable::TooLong(RECORD_LIMIT + 1)));
    let secret = r#"{"holders":"do not tell"}"#;
    let error = Record::read(secret).unwrap_err();
    assert!(matches!(error, Unreadable::NoRecord { .. }) && !error.to_string().contains("tell"), "{error}");
    // One name, ten entries: one slot.
    assert_eq!(holders(&Record::read(&of(&vec![entry("a"); 10], &[])).unwrap()), ["a"]);
}

#[test]
fn a_record_with_the_most_holders_is_still_read() {
    let name = |number: usize| format!("{number:0>NAME_LIMIT$}");
    let mut record = Record::default();
    for number in 0..HOLDER_LIMIT + 10 {
        let (name, change) = (name(number), "c".repeat(CHANGE_LIMIT));
        let request = SlotRequest { change: &change, failed_at: None, ..request(&name, 10_000) };
        record = Observer::default().take(&record, &request, &config(), Instant::now(), wall(1)).0;
    }
    for number in 0..REMEMBERED {
        let (name, change) = (name(number), format!("{number:0>CHANGE_LIMIT$}"));
        let failed = SlotRequest { change: &change, failed_at: Some(u64::MAX), ..request(&name, 1) };
        let with_failure = with_failure(&record, &failed, &config()).0;
        record = with_failure;
    }
    assert_eq!((record.holders.len(), record.failures.len()), (HOLDER_LIMIT, REMEMBERED));
    assert_eq!(Record::read(&serde_json::to_string(&record).unwrap()).unwrap(), record);
}

/// What may happen to a crowd of which each has its own clock and memory.
#[derive(Clone, Debug)]
enum Happening {
    Take(usize),
    GiveBack(usize),
    Fail(usize),
    /// Loses its memory, and does not know that it held a slot.
    Restart(usize),
    Time(u64),
}

fn happening() -> impl Strategy<Value = Happening> {
    let who = 0..5_usize;
    prop_oneof![
        4 => who.clone().prop_map(Happening::Take),
        2 => who.clone().prop_map(Happening::GiveBack),
        1 => who.clone().prop_map(Happening::Fail),
        1 => who.prop_map(Happening::Restart),
        2 => (1..400_u64).prop_map(Happening::Time),
    ]
}

proptest! {
    /// Whatever stands in the annotation: reading it ends, keeps the limits, and gives each name one slot.
    #[test]
    fn any_annotation_is_read_within_limits_and_gives_each_name_one_slot(
        names in prop::collection::vec("[a-c]{1,2}", 0..40),
        failures in 0..20_usize,
        noise in ".{0,40}",
        cut in 0..4000_usize,
    ) {
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let failures = vec![("a", 1, "c"); failures];
        let mut text = serde_json::to_string(&record(&names, &failures)).unwrap();
        if let Ok(read) = Record::read(&text) {
            let unique: BTreeSet<&str> = names.iter().copied().collect();
            prop_assert_eq!(read.holders.len(), unique.len());
            prop_assert!(read.failures.len() <= REMEMBERED);
        } else {
            prop_assert!(failures.len() > REMEMBERED);
        }
        text.truncate(cut.min(text.len()));
        text.push_str(&noise);
        if let Ok(read) = Record::read(&text) {
            prop_assert!(read.holders.len() <= HOLDER_LIMIT && read.failures.len() <= REMEMBERED);
        }
    }

    /// Who is never a Node holds nobody up, however often it is renewed and whatever else stands there.
    #[test]
    fn holders_that_are_no_nodes_never_delay_a_slot(non_members in prop::collection::btree_set("g[a-z]{1,3}", 1..30), slots in 0..5_usize) {
        let names: Vec<&str> = non_members.iter().map(String::as_str).collect();
        let request = SlotRequest { non_members: &non_members, ..request("me", slots) };
        let (next, response) = Observer::default().take(&record(&names, &[]), &request, &config(), Instant::now(), wall(1));
        prop_assert_eq!((response.decision, holders(&next)), (SlotDecision::Held, vec!["me"]));
    }

    /// Never more at work than slots, as long as nobody works longer than a slot lasts; nobody begins after two failures; and when all are
    /// done everybody gets a slot in the end.
    #[test]
    fn many_nodes_never_exceed_the_slots_and_all_get_one_in_the_end(slots in 1..4_usize, all in prop::collection::vec(happening(), 0..60)) {
        let names = ["a", "b", "c", "d", "e"];
        let config = config();
        let mut observers: Vec<Observer> = names.iter().map(|_| Observer::default()).collect();
        // Until when each works; a slot must be renewed before it ends.
        let mut works: Vec<Option<u64>> = vec![None; names.len()];
        let (mut record, mut now, start) = (Record::default(), 0_u64, Instant::now());
        let mut failed = 0;
        for one in all {
            let clock = start + Duration::from_secs(now);
            let stopped = failed >= config.failure_limit;
            match one {
                Happening::Take(who) => {
                    let wall = wall(i64::try_from(now).unwrap());
                    let (next, response) = observers[who].take(&record, &request(names[who], slots), &config, clock, wall);
                    record = next;
                    prop_assert_eq!(response.decision == SlotDecision::Stopped, stopped);
                    works[who] = (response.decision == SlotDecision::Held).then_some(now + DURATION.as_secs() - 75);
                }
                Happening::GiveBack(who) => {
                    record = give_back(&record, &request(names[who], slots), &config).0;
                    works[who] = None;
                }
                Happening::Fail(who) => {
                    let before = record.failures.len();
                    let request = SlotRequest { failed_at: Some(now), ..request(names[who], slots) };
                    record = give_back(&record, &request, &config).0;
                    failed += record.failures.len() - before;
                    works[who] = None;
                }
                Happening::Restart(who) => {
                    observers[who] = Observer::default();
                    works[who] = None;
                }
                Happening::Time(seconds) => {
                    now += seconds;
                    for until in &mut works {
                        *until = until.filter(|until| now < *until);
                    }
                }
            }
            let working = works.iter().filter(|until| until.is_some()).count();
            prop_assert!(working <= slots, "{working} at work: {record:?}");
        }
        prop_assert!(failed <= config.failure_limit);
        if failed < config.failure_limit {
            for (who, name) in names.iter().enumerate() {
                // Holders that were forgotten run out: one check to see them, one when their time is over.
                for _ in 0..2 {
                    let clock = start + Duration::from_secs(now);
                    record = observers[who].take(&record, &request(name, slots), &config, clock, wall(i64::try_from(now).unwrap())).0;
                    now += DURATION.as_secs() + 1;
                }
                prop_assert!(holders(&record).contains(name), "{record:?}");
                record = give_back(&record, &request(name, slots), &config).0;
            }
        }
    }
}

/// The annotation of the Lease, as it is: agents of all versions read and write it at the same time.
#[test]
fn a_slot_record_equals_its_golden_file() {
    let golden = include_str!("golden/full.json").trim_end();
    let holder = |name: &str, seconds| Holder { name: name.to_owned(), renewed: wall(seconds) };
    let full = Record {
        holders: vec![holder("a", 0), holder("b", 1)],
        failures: vec![Failure { name: "c".to_owned(), at: 1_800_000_000, change: "0123abcd/89abcdef".to_owned() }],
    };
    assert_eq!(serde_json::to_string(&full).unwrap(), golden);
    assert_eq!(Record::read(golden).unwrap(), full);
    assert_eq!(serde_json::to_string(&Record::default()).unwrap(), r#"{"holders":[],"failures":[]}"#);
}

/// While nobody may begin who is at work goes on, failures count, and nothing is written for who only asks.
#[test]
fn while_nobody_may_begin_holders_go_on_and_no_slot_is_taken() {
    let take = |before: &Record, request: SlotRequest<'_>| {
        Observer::default().take(before, &request, &config(), Instant::now(), wall(1))
    };
    let stopped = SlotRequest { may_begin: false, ..request("me", 9) };
    let (free, busy) = (record(&[], &[]), record(&["a"], &[]));
    for before in [&free, &busy] {
        let (next, response) = take(before, stopped);
        assert_eq!((response.decision, &next), (SlotDecision::Free, before));
    }
    let (next, response) = take(&record(&["a", "me"], &[]), stopped);
    assert_eq!((response.decision, holders(&next)), (SlotDecision::Held, vec!["a", "me"]));
    let (next, response) = take(&record(&[], &[("a", 1, "c")]), SlotRequest { failed_at: Some(7), ..stopped });
    assert_eq!((response.decision, response.stopped_now, next.failures.len()), (SlotDecision::Stopped, true, 2));
}
