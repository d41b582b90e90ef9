use gardener_api::ExtensionSpec;
use serde_json::{Value, json};

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).expect("a time")
}

fn extension(object: &Value) -> Extension {
    let mut extension: Extension = serde_json::from_value(object.clone()).expect("an object");
    let status = extension.status.get_or_insert_default();
    status.last_operation.get_or_insert_with(gardener_api::LastOperation::default);
    extension
}

fn desired_condition(
    extension: &Extension,
    hibernated: bool,
    checks: Vec<Check>,
    now: Timestamp,
) -> Option<DesiredCondition> {
    judge(&Subject { extension, hibernated, checks, detail: None }, &HealthConfig::default(), now)
}

/// Judged with what was seen of nodes.
fn explained(checks: Vec<Check>, detail: &str, now: Timestamp) -> DesiredCondition {
    let extension = &extension(&json!({}));
    let subject = Subject { extension, hibernated: false, checks, detail: Some(detail) };
    judge(&subject, &HealthConfig::default(), now).expect("a desired_condition")
}

fn bad(text: &str) -> Check {
    Check::Failing(text.to_owned())
}

fn slow(text: &str) -> Check {
    Check::Progressing(text.to_owned())
}

#[test]
fn outcomes_become_conditions() {
    let invalid = "Error during apply of object \"v1/ConfigMap/kube-system/x\": ConfigMap \"x\" is invalid: data";
    let unknown = Check::Unknown("u".to_owned());
    let cases: Vec<(Vec<Check>, ConditionStatus, &str, &str, bool)> = vec![
        (vec![Check::Good], ConditionStatus::True, SUCCESSFUL, "All health checks are successful.", false),
        (vec![bad("x")], ConditionStatus::False, UNSUCCESSFUL, "x.", false),
        (vec![bad("x."), bad("y")], ConditionStatus::False, UNSUCCESSFUL, "1) x. 2) y.", false),
        (vec![bad("x"), unknown.clone()], ConditionStatus::Unknown, ERROR, "u.", false),
        (vec![bad("x"), slow("y")], ConditionStatus::False, UNSUCCESSFUL, "x.", false),
        (vec![Check::Good, slow("y")], ConditionStatus::Progressing, PROGRESSING, "y.", false),
        (vec![bad(invalid)], ConditionStatus::False, UNSUCCESSFUL, &format!("{invalid}."), true),
    ]
    .into_iter()
    .map(|(checks, status, reason, message, code)| (checks, status, reason, &*message.to_owned().leak(), code))
    .collect();
    for (checks, status, reason, message, code) in cases {
        let found =
            desired_condition(&extension(&json!({})), false, checks.clone(), at(0)).expect("a desired_condition");
        assert_eq!((found.status, found.reason, found.message.as_str()), (status, reason, message), "{checks:?}");
        assert_eq!(found.codes, if code { vec!["ERR_CONFIGURATION_PROBLEM"] } else { vec![] }, "{checks:?}");
    }
    let asleep = desired_condition(&extension(&json!({})), true, vec![bad("x")], at(0)).expect("a desired_condition");
    assert_eq!((asleep.status, asleep.reason), (ConditionStatus::True, SUCCESSFUL));
}

/// A node's own text explains; it makes nothing good or bad, and no mistake of it the owner's.
#[test]
fn nodes_explain_what_is_not_good_and_no_more() {
    let mine = "Not as desired are 1 of 3 nodes: n (RolledBack: error during apply of object x: y is invalid: z)";
    let found = explained(vec![bad("x")], mine, at(0));
    assert_eq!((found.status, found.message), (ConditionStatus::False, format!("x. {mine}.")));
    assert!(found.codes.is_empty());
    let found = explained(vec![slow("x")], mine, at(0));
    assert_eq!((found.status, found.message), (ConditionStatus::Progressing, format!("x. {mine}.")));
    assert!(found.codes.is_empty());
    let found = explained(vec![Check::Good], mine, at(0));
    assert_eq!((found.status, found.message.as_str()), (ConditionStatus::True, "All health checks are successful."));
    let found = explained(vec![Check::Unknown("u".to_owned())], mine, at(0));
    assert_eq!((found.status, found.message.as_str()), (ConditionStatus::Unknown, "u."));
}

#[test]
fn the_code_needs_the_whole_pattern_in_one_line() {
    let with = |text: &str| codes(&[&text.to_owned()]);
    assert!(with("error during apply of object \"a\": x\n is invalid:").is_empty());
    assert!(with("x is invalid: error during apply of object \"a\"").is_empty());
    assert!(with("error during apply of object \"a\": forbidden").is_empty());
    assert_eq!(with("1 ERROR DURING APPLY OF OBJECT \"a\": b IS INVALID: c"), ["ERR_CONFIGURATION_PROBLEM"]);
}

#[test]
fn who_leaves_or_was_never_touched_is_not_judged() {
    let untouched = Extension::new("e", ExtensionSpec::default());
    assert_eq!(desired_condition(&untouched, false, vec![Check::Good], at(0)), None);
    for object in [
        json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}),
        json!({"metadata": {"annotations": {"gardener.cloud/operation": "migrate"}}}),
        json!({"status": {"lastOperation": {"type": "Migrate", "state": "Error"}}}),
        json!({"status": {"lastOperation": {"type": "Migrate", "state": "Succeeded"}}}),
    ] {
        assert_eq!(desired_condition(&extension(&object), false, vec![Check::Good], at(0)), None, "{object}");
    }
}

#[test]
fn progressing_has_its_time() {
    let with = |status: &str, transition: Timestamp| {
        extension(&json!({"status": {"conditions": [{"type": "SystemComponentsHealthy", "status": status,
            "lastTransitionTime": transition.to_string()}]}}))
    };
    let status = |extension: &Extension| {
        desired_condition(extension, false, vec![slow("x")], at(1000))
            .map(|desired_condition| (desired_condition.status, desired_condition.reason))
    };
    let progressing = Some((ConditionStatus::Progressing, PROGRESSING));
    let failed = Some((ConditionStatus::False, UNSUCCESSFUL));
    assert_eq!(status(&extension(&json!({}))), progressing);
    assert_eq!(status(&with("True", at(0))), progressing);
    assert_eq!(status(&with("False", at(999))), failed);
    assert_eq!(status(&with("Progressing", at(700))), progressing, "just within 5 minutes");
    assert_eq!(status(&with("Progressing", at(699))), failed);
    assert_eq!(status(&with("Unknown", at(699))), failed);
    assert_eq!(status(&with("Unknown", at(2000))), progressing, "a clock ahead of ours");
}

fn ours(conditions: &[AnyCondition]) -> &Condition {
    conditions[1].known("SystemComponentsHealthy").expect("ours")
}

#[test]
fn times_move_only_when_they_should() {
    let good =
        || desired_condition(&extension(&json!({})), false, vec![Check::Good], at(0)).expect("a desired_condition");
    let refresh = Some(Duration::from_secs(120));
    // Of a shape that is not known here, too.
    let foreign = AnyCondition::Other(json!({"type": "Foreign", "status": {"is": "an object"}}));
    let first = merge(std::slice::from_ref(&foreign), good(), refresh, at(0)).expect("a write");
    assert_eq!(first.len(), 2);
    assert_eq!(first[0], foreign);
    assert_eq!(ours(&first).last_transition_time, Some(Time(at(0))));

    assert_eq!(merge(&first, good(), refresh, at(119)), None, "nothing new, nothing stale");
    assert_eq!(merge(&first, good(), None, at(100_000)), None, "newer gardenlets look at the lease");

    let refreshed = merge(&first, good(), refresh, at(120)).expect("a write");
    assert_eq!(ours(&refreshed).last_transition_time, Some(Time(at(0))));
    assert_eq!(ours(&refreshed).last_update_time, Some(Time(at(120))));

    let other_text = DesiredCondition { message: "other".to_owned(), ..good() };
    let updated = merge(&first, other_text, refresh, at(5)).expect("a write");
    assert_eq!(ours(&updated).last_transition_time, Some(Time(at(0))));
    assert_eq!(ours(&updated).last_update_time, Some(Time(at(5))));

    let failing = desired_condition(&extension(&json!({})), false, vec![bad("x")], at(6)).expect("a desired_condition");
    let turned = merge(&first, failing, refresh, at(6)).expect("a write");
    assert_eq!(ours(&turned).last_transition_time, Some(Time(at(6))));
    assert_eq!(turned[0], foreign, "others' conditions stay");
}

#[test]
fn messages_are_bounded_and_a_bounded_one_is_no_change() {
    let judged = || {
        desired_condition(&extension(&json!({})), false, vec![bad(&"x".repeat(1 << 20))], at(0))
            .expect("a desired_condition")
    };
    assert!(judged().message.len() <= STATUS_TEXT_LIMIT);
    let written = merge(&[], judged(), None, at(0)).expect("a write");
    assert_eq!(merge(&written, judged(), None, at(1)), None);
}

#[test]
fn our_condition_is_written_anew_where_it_cannot_be_read() {
    let odd = AnyCondition::Other(json!({"type": "SystemComponentsHealthy", "status": 7}));
    let judged =
        desired_condition(&extension(&json!({})), false, vec![Check::Good], at(0)).expect("a desired_condition");
    let written = merge(&[odd], judged, None, at(0)).expect("a write");
    assert!(written.len() == 1 && written[0].known("SystemComponentsHealthy").is_some());
}

#[test]
fn first_operation_is_not_judged_until_it_ends() {
    let with_last_operation = |type_: &str, state: &str| {
        extension(
            &json!({ "status": { "lastOperation": { "type": type_, "state": state, "progress": 1, "description": "" } } }),
        )
    };
    for (type_, state, judged) in [
        ("Create", "Processing", false),
        ("Restore", "Processing", false),
        ("Create", "Error", true),
        ("Create", "Succeeded", true),
        ("Reconcile", "Processing", true),
    ] {
        let found = desired_condition(&with_last_operation(type_, state), false, vec![bad("x")], at(0));
        assert_eq!(found.is_some(), judged, "{type_} {state}");
    }
}

#[test]
fn first_judgement_waits_for_a_first_report() {
    let unreported = || vec![Check::Unreported("r".to_owned())];
    let wait = |extension: &Extension, hibernated: bool, checks: Vec<Check>, now: Timestamp| {
        too_early(&Subject { extension, hibernated, checks, detail: None }, &HealthConfig::default(), now)
    };
    let done = |more: Value| {
        let mut status = json!({ "lastOperation": {
            "type": "Create", "state": "Succeeded", "progress": 100, "description": "", "lastUpdateTime": at(0).to_string(),
        } });
        json_patch::merge(&mut status, &more);
        extension(&json!({ "status": status }))
    };
    let young = done(json!({}));
    assert_eq!(wait(&young, false, unreported(), at(4)), Some(Duration::from_secs(6)));
    assert_eq!(wait(&young, false, unreported(), at(10)), None, "then it fails");
    let failing = desired_condition(&young, false, unreported(), at(10)).expect("a desired_condition");
    assert_eq!((failing.status, failing.message.as_str()), (ConditionStatus::False, "r."));
    assert_eq!(wait(&young, false, vec![Check::Good], at(4)), None, "what is reported is judged");
    assert_eq!(wait(&young, true, unreported(), at(4)), None, "nothing is checked while it sleeps");
    let condition =
        json!({ "type": HealthConfig::default().condition_type, "status": "True", "reason": "r", "message": "m" });
    let known = done(json!({ "conditions": [condition] }));
    assert_eq!(wait(&known, false, unreported(), at(4)), None, "what vanished fails at once");
}
