use gardener_extension::Unseen;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// Longest status that there can be, in bytes of JSON.
const LONGEST: usize = 24 << 10;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn node(name: &str, report: &Value) -> Node {
    let report = match report {
        Value::Null => Report::Missing,
        report => AgentReport::read(&report.to_string()).map_or(Report::Unreadable, Report::Present),
    };
    Node { name: name.to_owned(), report }
}

fn rolled(nodes: &[Node], before: &Value, now: i64) -> RollUp {
    roll_up(nodes, &super::before(Some(before)), at(now))
}

#[test]
fn nodes_are_counted_and_who_is_not_as_desired_is_named() {
    let since = at(-60).as_second();
    let report = |more: Value| {
        let mut report = json!({
            "stage": "Installed", "phase": "Install", "desired": "0123abcd", "since": since,
            "backend": "cri-resmgr", "version": "0.1.0",
        });
        json_patch(&mut report, &more);
        report
    };
    let nodes = [
        node("a", &report(json!({}))),
        node("b", &report(json!({ "stage": "Clean", "backend": null, "desired": "89abcdef" }))),
        node("c", &report(json!({ "stage": "Working", "awaitsSlot": true, "message": "waiting for a switch slot" }))),
        node("d", &report(json!({ "stage": "RolledBack", "message": "failed\n3 times", "version": "0.0.9" }))),
        node("e", &report(json!({ "message": "ConfigMap x is not valid" }))),
        node("f", &Value::Null),
        node("g", &json!({ "stage": 7 })),
    ];
    let all = rolled(&nodes, &Value::Null, 0);
    assert!(!all.is_settled());
    assert_eq!(
        all.status(),
        json!({
            "count": 7,
            "stages": { "Installed": 2, "Clean": 1, "Working": 1, "RolledBack": 1 },
            "withoutReport": 2,
            "backends": { "cri-resmgr": 4 },
            "agentVersions": { "0.1.0": 4, "0.0.9": 1 },
            "configurations": { "0123abcd": 4, "89abcdef": 1 },
            "waitingForSlot": { "count": 1, "first": ["c"] },
            "notAsDesired": { "count": 5, "first": [
                { "name": "d", "stage": "RolledBack", "reason": "failed 3 times", "since": "2027-01-15T07:59:00Z" },
                { "name": "e", "stage": "Installed", "reason": "ConfigMap x is not valid", "since": "2027-01-15T07:59:00Z" },
                { "name": "f", "stage": "WithoutReport", "reason": "its agent has not reported", "since": "2027-01-15T08:00:00Z" },
                { "name": "g", "stage": "WithoutReport", "reason": "what its agent has reported cannot be read", "since": "2027-01-15T08:00:00Z" },
                { "name": "c", "stage": "Working", "reason": "waiting for a switch slot", "since": "2027-01-15T07:59:00Z" },
            ] },
        })
    );
    assert_eq!(
        sentence(&all.status()).unwrap(),
        "Not as desired are 5 of 7 nodes: d (RolledBack: failed 3 times), e (Installed: ConfigMap x is not valid), \
         f (WithoutReport: its agent has not reported), g (WithoutReport: what its agent has reported cannot be read), \
         c (Working: waiting for a switch slot)"
    );
    let good = rolled(&nodes[..2], &all.status(), 60);
    assert!(good.is_settled() && sentence(&good.status()).is_none());
    assert_eq!(good.status()["notAsDesired"], Value::Null);
    let none = rolled(&[], &Value::Null, 0);
    assert_eq!(
        (none.status(), sentence(&none.status()), none.is_settled()),
        (json!({ "count": 0, "stages": {} }), None, true)
    );
}

fn json_patch(target: &mut Value, patch: &Value) {
    let (Some(target), Some(patch)) = (target.as_object_mut(), patch.as_object()) else { return };
    target.extend(patch.clone());
}

#[test]
fn a_time_is_that_of_the_stage_and_does_not_move() {
    // (what the agent says, what stood there) -> since
    let reported = |stage: &str, since: Value| json!({ "stage": stage, "since": since, "message": "m" });
    let stood = |stage: &str, since: i64| json!({ "notAsDesired": { "first": [{ "name": "n", "stage": stage, "since": at(since).to_string() }] } });
    let now = 1000;
    for (report, before, since) in [
        (reported("Blocked", json!(at(100).as_second())), Value::Null, 100),
        // It said something else in the same stage.
        (reported("Blocked", json!(at(500).as_second())), stood("Blocked", 100), 100),
        (reported("Blocked", json!(at(500).as_second())), stood("RolledBack", 100), 500),
        // The controller knew of it later.
        (reported("Blocked", json!(at(100).as_second())), stood("Blocked", 500), 100),
        // A clock ahead of ours, none at all, and nonsense.
        (reported("Blocked", json!(at(5000).as_second())), Value::Null, now),
        (reported("Blocked", json!(at(5000).as_second())), stood("Blocked", 900), 900),
        (reported("Blocked", json!(0)), Value::Null, now),
        (reported("Blocked", json!(u64::MAX)), stood("Blocked", 900), 900),
        (Value::Null, Value::Null, now),
        (Value::Null, stood("WithoutReport", 900), 900),
        (
            Value::Null,
            json!({ "notAsDesired": { "first": [{ "name": 7 }, "x", { "name": "n", "stage": "WithoutReport", "since": "never" }] } }),
            now,
        ),
    ] {
        let all = rolled(&[node("n", &report)], &before, now);
        assert_eq!(all.first[0].since, at(since), "{report} {before}");
    }
}

#[test]
fn who_is_held_by_a_stop_of_switches_is_counted_apart_from_who_waits_for_others() {
    let report = |code: &str| json!({ "stage": "Working", "awaitsSlot": true, "message": "m", "codes": [code] });
    let nodes =
        [node("a", &report("SwitchesHalted")), node("b", &report("SlotsTaken")), node("c", &report("SwitchesHalted"))];
    let status = rolled(&nodes, &Value::Null, 0).status();
    assert_eq!(status["heldByHalt"], json!({ "count": 2, "first": ["a", "c"] }));
    assert_eq!(status["waitingForSlot"], json!({ "count": 1, "first": ["b"] }));
}

#[test]
fn whatever_a_node_reports_is_shown_as_one_short_line() {
    for (message, shown) in [
        ("a\r\nb\u{1b}[2Jc\0d", "a  b [2Jc d"),
        ("\u{202e}gnp.exe\u{200b}\u{feff}", "gnp.exe"),
        ("\u{e0041}tag", "tag"),
        ("  ", ""),
    ] {
        let reported = AgentReport::read(&json!({ "stage": "Blocked", "message": message }).to_string()).unwrap();
        assert_eq!(reported.message, shown);
    }
    let long = AgentReport::read(&json!({ "stage": "Blocked", "message": "é".repeat(4000) }).to_string()).unwrap();
    assert_eq!(long.message, format!("{}…", "é".repeat(160)));
    for (key, value) in [
        ("version", json!("0.1.0\n")),
        ("version", json!("x".repeat(41))),
        ("version", json!("")),
        ("desired", json!("<b>")),
        ("backend", json!("another")),
    ] {
        let mut report = json!({ "stage": "Installed" });
        report[key] = value.clone();
        let reported = AgentReport::read(&report.to_string()).unwrap();
        assert_eq!((reported.version, reported.desired, reported.backend), (None, None, None), "{key} {value}");
    }
    for none in ["", "{", "[]", "null", "7", "{}", r#"{"stage":"Blocked","stage":"Clean"}"#, r#"{"stage":"\ud800"}"#] {
        assert_eq!(AgentReport::read(none), None, "{none}");
    }
    let deep = format!(r#"{{"stage":"Blocked","more":{}{}}}"#, "[".repeat(2000), "]".repeat(2000));
    assert!(
        AgentReport::read(&deep).is_none_or(|reported| reported.stage == Stage::Blocked),
        "it is read, or not; nothing overflows"
    );
    for (name, valid) in [("n-1.x", true), ("", false), ("N", false), ("a b", false), (&"x".repeat(254), false)] {
        assert_eq!(valid_name(name), valid, "{name}");
    }
}

#[test]
fn an_unseen_shoot_is_reported_with_its_time() {
    let failed = |reason: &str| Unseen::Failed(reason.to_owned());
    let known = json!({ "count": 3, "stages": { "Installed": 3 } });
    let away = unseen(Some(&known), at(0), &failed("no answer"));
    assert_eq!(away["count"], 3, "what was known stays");
    assert_eq!((&away["unknownSince"], &away["unknownBecause"]), (&json!("2027-01-15T08:00:00Z"), &json!("no answer")));
    let sick = rolled(&[node("n", &json!({ "stage": "Working" }))], &Value::Null, 0).status();
    assert_eq!(sentence(&sick).unwrap(), "Not as desired are 1 of 1 nodes: n (Working)");
    assert_eq!(sentence(&unseen(Some(&sick), at(0), &failed("no answer"))), None, "it may be well by now");
    assert_eq!(unseen(Some(&away), at(60), &failed("no answer")), away, "nothing new");
    let otherwise = unseen(Some(&away), at(60), &failed("refused"));
    assert_eq!((&otherwise["unknownSince"], &otherwise["unknownBecause"]), (&away["unknownSince"], &json!("refused")));
    let asleep = unseen(Some(&otherwise), at(120), &Unseen::Hibernated);
    assert_eq!(asleep, json!({ "unknownSince": "2027-01-15T08:02:00Z", "unknownBecause": "the shoot is hibernated" }));
    assert_eq!(unseen(Some(&asleep), at(180), &Unseen::Hibernated), asleep);
    let waking = unseen(Some(&asleep), at(180), &failed("no answer"));
    assert_eq!(waking, json!({ "unknownSince": "2027-01-15T08:02:00Z", "unknownBecause": "no answer" }));
    assert_eq!(unseen(None, at(0), &failed("x"))["unknownSince"], "2027-01-15T08:00:00Z");
    assert_eq!(unseen(Some(&json!([1])), at(0), &failed("x"))["unknownBecause"], "x");
    // Seen again, nothing of it is left.
    assert_eq!(rolled(&[], &away, 0).status(), json!({ "count": 0, "stages": {} }));
}

/// What hostile and sane agents write.
fn report() -> impl Strategy<Value = Option<String>> {
    let sane = (0_usize..7, any::<u64>(), ".{0,300}", any::<bool>(), "[0-9a-f]{0,9}").prop_map(
        |(stage, since, message, slot, word)| {
            let stage = Stage::ALL.get(stage).map_or("Other", |stage| stage.as_str());
            json!({ "stage": stage, "since": since, "message": message, "awaitsSlot": slot, "desired": word,
                "version": word, "backend": "nri-plugins", "restarts": 3, "warnings": [message] })
            .to_string()
        },
    );
    prop_oneof![
        2 => sane.prop_map(Some),
        1 => any::<Vec<u8>>().prop_map(|bytes| Some(String::from_utf8_lossy(&bytes).into_owned())),
        1 => "\\{\"stage\":\"Blocked\",\"message\":\"(\\\\u[0-9a-f]{4}|.){0,40}\"\\}".prop_map(Some),
        1 => Just(None),
    ]
}

fn nodes(reports: &[Option<String>], count: usize) -> Vec<Node> {
    let of = |number: usize| match reports.get(number % reports.len().max(1)) {
        None | Some(None) => Report::Missing,
        Some(Some(text)) => AgentReport::read(text).map_or(Report::Unreadable, Report::Present),
    };
    (0..count).map(|number| Node { name: format!("{}{number}", "n".repeat(240)), report: of(number) }).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Five thousand nodes, whatever they report: each is counted once, what is said is short, and the next roll-up writes nothing.
    #[test]
    fn each_node_counts_once_and_the_status_is_short_and_stable(
        reports in proptest::collection::vec(report(), 1..60), count in prop_oneof![0_usize..30, Just(5000)], later in 0_i64..1_000_000,
    ) {
        let nodes = nodes(&reports, count);
        let all = rolled(&nodes, &Value::Null, 0);
        let status = all.status();
        prop_assert_eq!(all.stages.values().sum::<usize>() + all.without_report, count);
        prop_assert!(all.not_as_desired + all.stages.get("Installed").copied().unwrap_or(0) + all.stages.get("Clean").copied().unwrap_or(0) >= count);
        let bad = nodes.iter().filter(|node| !is_as_desired(node)).count();
        prop_assert_eq!((all.not_as_desired, all.is_settled(), sentence(&all.status()).is_none()), (bad, bad == 0, bad == 0));
        prop_assert!(status.to_string().len() <= LONGEST, "{}", status.to_string().len());
        prop_assert!(sentence(&all.status()).is_none_or(|text| text.len() < 5 * (260 + 660) && !text.chars().any(char::is_control)));
        // Whatever the order in which the server lists them, and however much later.
        let mut turned = nodes.clone();
        turned.reverse();
        prop_assert_eq!(rolled(&turned, &status, later).status(), status.clone());
        let away = unseen(Some(&status), at(0), &Unseen::Failed("x".to_owned()));
        prop_assert_eq!(rolled(&turned, &away, later).status(), status);
    }
}
