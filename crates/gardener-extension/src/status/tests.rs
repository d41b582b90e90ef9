use super::*;

fn now() -> Timestamp {
    "2026-01-02T03:04:05.678Z".parse().expect("a time")
}

fn extension(status: &Value) -> Extension {
    let object = json!({ "metadata": { "name": "e", "generation": 3 }, "status": status });
    serde_json::from_value(object).expect("an Extension")
}

fn after(extension: &Extension, patch: &Value) -> Extension {
    let mut object = json!(extension);
    json_patch::merge(&mut object, patch);
    serde_json::from_value(object).expect("an Extension")
}

fn failure(codes: &[&str]) -> Failure {
    Failure {
        description: "It broke".to_owned(),
        note: "It broke".to_owned(),
        codes: codes.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn a_life() {
    let fresh = extension(&json!(null));
    let begun = after(&fresh, &processing(Operation::Create, now()));
    assert_eq!(
        json!(begun)["status"],
        json!({"lastOperation": {"type": "Create", "state": "Processing", "progress": 1,
            "description": "Creating Extension", "lastUpdateTime": "2026-01-02T03:04:05Z"}})
    );

    let patch = failed(&begun, Operation::Create, &failure(&["C"]), Some(3), now()).expect("a change");
    let broken = after(&begun, &patch);
    assert_eq!(
        json!(broken)["status"],
        json!({"lastOperation": {"type": "Create", "state": "Error", "progress": 50, "description": "It broke",
                "lastUpdateTime": "2026-01-02T03:04:05Z"},
            "lastError": {"description": "It broke", "codes": ["C"], "lastUpdateTime": "2026-01-02T03:04:05Z"},
            "observedGeneration": 3})
    );
    assert_eq!(failed(&broken, Operation::Create, &failure(&["C"]), Some(3), now()), None, "unchanged");
    assert!(failed(&broken, Operation::Create, &failure(&[]), Some(3), now()).is_some(), "other codes");
    assert!(failed(&broken, Operation::Create, &failure(&["C"]), Some(4), now()).is_some(), "another generation");
    assert!(failed(&broken, Operation::Reconcile, &failure(&["C"]), Some(3), now()).is_some(), "another operation");

    let again = after(&broken, &failed(&broken, Operation::Create, &failure(&[]), Some(3), now()).expect("a change"));
    assert!(again.last_error().is_some_and(|error| error.codes.is_empty()), "old codes go");

    let retried = after(&broken, &processing(Operation::Create, now()));
    assert!(retried.last_error().is_some(), "the old error stays visible");

    let patch = succeeded(&retried, Operation::Create, Some(3), Trigger::Retry.into(), now()).expect("a change");
    assert_eq!(patch["status"]["lastError"], Value::Null);
    assert!(patch["status"].as_object().is_some_and(|status| status.contains_key("lastError")), "an explicit null");
    let done = after(&retried, &patch);
    assert_eq!(
        json!(done)["status"],
        json!({"lastOperation": {"type": "Create", "state": "Succeeded", "progress": 100,
                "description": "Successfully created Extension", "lastUpdateTime": "2026-01-02T03:04:05Z"},
            "observedGeneration": 3})
    );
    assert_eq!(succeeded(&done, Operation::Reconcile, Some(3), Trigger::Resync.into(), now()), None);
    assert!(succeeded(&done, Operation::Reconcile, Some(4), Trigger::Resync.into(), now()).is_some());
    for trigger in [Trigger::Changed, Trigger::External, Trigger::Retry, Trigger::DependencyChanged, Trigger::FirstSeen]
    {
        assert!(succeeded(&done, Operation::Reconcile, Some(3), trigger.into(), now()).is_some(), "{trigger:?}");
    }
}

#[test]
fn what_is_pending_is_written_once() {
    let begun = after(&extension(&json!(null)), &processing(Operation::Delete, now()));
    let waiting = after(&begun, &pending(&begun, Operation::Delete, "node a", now()).expect("a change"));
    assert_eq!(waiting.last_operation().map(|last| last.description.as_str()), Some("Deleting Extension: node a"));
    assert_eq!(pending(&waiting, Operation::Delete, "node a", now()), None);
    assert!(pending(&waiting, Operation::Delete, "node b", now()).is_some());
}

#[test]
fn conditions_and_state_are_never_touched() {
    let rich = extension(&json!({"conditions": [{"type": "A", "status": "True"}], "state": {"a": 1},
        "providerStatus": {"b": 2}, "lastError": {"description": "d"}}));
    let patches = [
        processing(Operation::Restore, now()),
        pending(&rich, Operation::Restore, "m", now()).expect("a change"),
        failed(&rich, Operation::Restore, &failure(&[]), Some(1), now()).expect("a change"),
        succeeded(&rich, Operation::Restore, Some(1), Trigger::Changed.into(), now()).expect("a change"),
    ];
    for patch in patches {
        let status = patch["status"].as_object().expect("an object");
        for key in status.keys() {
            assert!(["lastOperation", "lastError", "observedGeneration"].contains(&key.as_str()), "{key}");
        }
    }
}

#[test]
fn what_is_announced() {
    let with = |type_: &str, state: &str| extension(&json!({"lastOperation": {"type": type_, "state": state}}));
    let seen = Trigger::FirstSeen;
    let cases = [
        (extension(&json!(null)), Operation::Create, seen, true),
        (with("Create", "Succeeded"), Operation::Reconcile, Trigger::Changed, true),
        (with("Create", "Succeeded"), Operation::Reconcile, Trigger::External, true),
        (with("Create", "Succeeded"), Operation::Reconcile, Trigger::Resync, false),
        (with("Create", "Error"), Operation::Create, Trigger::Retry, false),
        (with("Create", "Error"), Operation::Create, Trigger::Changed, true),
        (with("Create", "Error"), Operation::Create, seen, false),
        (with("Create", "Processing"), Operation::Create, seen, false),
        (with("Delete", "Processing"), Operation::Delete, Trigger::DependencyChanged, false),
        (with("Delete", "Error"), Operation::Delete, Trigger::DependencyChanged, false),
        (with("Reconcile", "Error"), Operation::Delete, Trigger::Retry, true),
        (with("Reconcile", "Aborted"), Operation::Reconcile, seen, true),
        (with("Odd", "Odd"), Operation::Reconcile, seen, true),
    ];
    let asks = |annotation: &str| {
        let mut extension = with("Create", "Error");
        let annotation = (gardener_api::constants::OPERATION_ANNOTATION.to_owned(), annotation.to_owned());
        extension.metadata.annotations = Some([annotation].into());
        extension
    };
    // A retry that finds a new request before its event finds it.
    let cases = cases.into_iter().chain([
        (asks("reconcile"), Operation::Create, Trigger::Retry, true),
        (asks("restore"), Operation::Create, Trigger::Retry, false),
    ]);
    for (extension, operation, trigger, expected) in cases {
        let last = extension.last_operation().cloned();
        assert_eq!(
            must_record_start(&extension, operation, trigger.into()),
            expected,
            "{last:?} {operation:?} {trigger:?}"
        );
    }
}

#[test]
fn only_the_owners_mistakes_carry_a_code() {
    let owner = ActuatorError::configuration("BadConfig", "configs.x: no such key");
    let failure = Failure::of_actuator(Operation::Reconcile, &owner);
    assert_eq!(failure.codes, ["ERR_CONFIGURATION_PROBLEM"]);
    assert_eq!(failure.description, "Error reconciling Extension: configs.x: no such key");
    let other =
        ActuatorError::transient("ApiError", "read the thing").with_source(std::io::Error::other("broken pipe"));
    let failure = Failure::of_actuator(Operation::Delete, &other);
    assert!(failure.codes.is_empty());
    assert_eq!(failure.description, "Error deleting Extension: read the thing: broken pipe");
    assert!(Failure::overdue(Operation::Delete, "m").codes.is_empty());
    assert!(Failure::deadline(Operation::Delete, Duration::from_secs(1)).codes.is_empty());
}

/// Field case D04: a removal that waits for longer than a minute, as for a hibernated shoot to wake up, after a configuration that was refused.
#[test]
fn waiting_for_too_long_carries_no_code_and_is_reported_once() {
    let refused =
        failed(&extension(&json!(null)), Operation::Create, &failure(&["ERR_X"]), Some(3), now()).expect("a change");
    let broken = after(&extension(&json!(null)), &refused);
    let message = "the shoot is hibernated, and this ends after it wakes up: waiting for x";
    let overdue = Failure::overdue(Operation::Delete, message);
    let waiting = after(&broken, &failed(&broken, Operation::Delete, &overdue, Some(3), now()).expect("a change"));
    let error = waiting.last_error().expect("an error");
    assert!(error.codes.is_empty() && error.description.ends_with(message), "{error:?}");
    assert!(!json!(waiting).to_string().contains("ERR_"), "{waiting:?}");
    assert_eq!(failed(&waiting, Operation::Delete, &overdue, Some(3), now()), None);
}

/// Tens of thousands of findings, or a text of megabytes, become a text that the API takes; and the second time nothing changes.
#[test]
fn texts_are_bounded() {
    let long = "ä".repeat(1 << 20);
    let owner = ActuatorError::configuration("BadConfig", long.clone()).with_summary(long.clone());
    let failures = [
        Failure::of_actuator(Operation::Reconcile, &owner),
        Failure::of_actuator(Operation::Delete, &ActuatorError::transient("ApiError", long.clone())),
        Failure::overdue(Operation::Delete, &long),
    ];
    for failure in failures {
        assert!(failure.description.len() <= STATUS_TEXT_LIMIT && failure.note.len() <= STATUS_TEXT_LIMIT);
        assert!(failure.description.ends_with(" bytes more"), "{}", failure.description);
        let before = extension(&json!(null));
        let patch = failed(&before, Operation::Delete, &failure, Some(3), now()).expect("a change");
        assert!(patch.to_string().len() < 3 * STATUS_TEXT_LIMIT);
        assert_eq!(failed(&after(&before, &patch), Operation::Delete, &failure, Some(3), now()), None);
    }
    let before = extension(&json!(null));
    let patch = pending(&before, Operation::Delete, &long, now()).expect("a change");
    assert!(patch.to_string().len() < 2 * STATUS_TEXT_LIMIT);
    assert_eq!(pending(&after(&before, &patch), Operation::Delete, &long, now()), None);
}
