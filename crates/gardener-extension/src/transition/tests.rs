use gardener_api::LastOperationState;
use proptest::prelude::*;

use super::*;
use crate::operation::Trigger;

const STAYS: Observed<'_> = Observed { key: "nodes", stays: true };
const LIMIT: usize = 1024;

fn now() -> Timestamp {
    "2026-01-02T03:04:05Z".parse().unwrap()
}

fn extension(status: &Value) -> Extension {
    serde_json::from_value(json!({ "metadata": { "name": "e", "generation": 3 }, "status": status })).unwrap()
}

fn after(extension: &Extension, transition: &Transition) -> Extension {
    let mut object = json!(extension);
    json_patch::merge(&mut object, &transition.patch);
    serde_json::from_value(object).unwrap()
}

fn wanted(value: &Value) -> ProviderStatus {
    let events = vec![Notice::warning("ConfigurationWarning", "Validate", "w".to_owned())];
    ProviderStatus { value: value.clone(), events }
}

fn provider_status(extension: &Extension) -> Value {
    extension.status.as_ref().unwrap().provider_status.as_ref().unwrap().read(LIMIT).unwrap()
}

#[test]
fn completion_and_provider_status_are_one_write() {
    let begun = after(&extension(&json!({ "providerStatus": { "a": 1, "b": 2 } })), &started(Operation::Create, now()));
    let done = completed(&begun, Operation::Create, Some(3), Trigger::Changed.into(), now());
    let both = with_provider_status(done, &begun, Some(wanted(&json!({ "b": 2, "c": 3 }))), LIMIT, STAYS).unwrap();
    assert_eq!(both.patch["status"]["providerStatus"], json!({ "a": null, "c": 3 }));
    assert_eq!(both.log, Some(Log::Completed));
    let reasons: Vec<&str> = both.events.iter().map(|event| event.reason).collect();
    assert_eq!(reasons, ["ConfigurationWarning"], "the status says that it is done");
    let complete = after(&begun, &both);
    assert_eq!(complete.last_operation().unwrap().state, LastOperationState::Succeeded);
    assert_eq!(provider_status(&complete), json!({ "b": 2, "c": 3 }));
}

#[test]
fn unchanged_provider_status_adds_neither_write_nor_event() {
    let object = extension(&json!({ "providerStatus": { "a": 1 } }));
    let same = Some(wanted(&json!({ "a": 1 })));
    assert_eq!(with_provider_status(None, &object, same.clone(), LIMIT, STAYS), None);
    assert_eq!(with_provider_status(None, &object, None, LIMIT, STAYS), None);
    let begun = started(Operation::Create, now());
    assert_eq!(with_provider_status(Some(begun.clone()), &object, same, LIMIT, STAYS), Some(begun));
}

#[test]
fn changed_provider_status_is_written_when_nothing_else_is() {
    let object = extension(&json!({ "providerStatus": { "a": 1 } }));
    let alone = with_provider_status(None, &object, Some(wanted(&json!({ "a": 2 }))), LIMIT, STAYS).unwrap();
    assert_eq!(alone.patch, json!({ "status": { "providerStatus": { "a": 2 } } }));
    assert_eq!((alone.log, alone.events.len()), (None, 1));
    let unreadable = extension(&json!({ "providerStatus": "x".repeat(2 * LIMIT) }));
    let anew = with_provider_status(None, &unreadable, Some(wanted(&json!({ "a": 2 }))), LIMIT, STAYS).unwrap();
    assert_eq!(anew.patch, json!({ "status": { "providerStatus": { "a": 2 } } }));
}

#[test]
fn failure_is_logged_and_published_without_the_users_text() {
    let failure = Failure {
        description: "configs.x: hunter2".to_owned(),
        note: "configs.x: no such key".to_owned(),
        codes: Vec::new(),
    };
    let object = extension(&json!(null));
    let step = failed(&object, Operation::Reconcile, &failure, "BadConfig", Some(3), now()).unwrap();
    assert!(step.patch.to_string().contains("hunter2"), "the owner sees it in the status");
    assert!(!format!("{:?} {:?}", step.log, step.events).contains("hunter2"));
    assert_eq!(step.events, [Notice::warning("BadConfig", "Reconcile", "configs.x: no such key".to_owned())]);
    let known = after(&object, &step);
    assert_eq!(failed(&known, Operation::Reconcile, &failure, "BadConfig", Some(3), now()), None);
}

#[test]
fn waiting_is_written_once_for_each_message() {
    let begun = after(&extension(&json!(null)), &started(Operation::Delete, now()));
    let step = waiting(&begun, Operation::Delete, "node a", now()).unwrap();
    assert_eq!((&step.log, step.events.len()), (&Some(Log::Waiting("node a".to_owned())), 0));
    let known = after(&begun, &step);
    assert_eq!(waiting(&known, Operation::Delete, "node a", now()), None);
    assert!(waiting(&known, Operation::Delete, "node b", now()).is_some());
}

#[test]
fn what_somebody_else_writes_stays_until_the_extension_goes() {
    let nodes = json!({ "nodes": { "count": 3 }, "a": 1 });
    let object = extension(&json!({ "providerStatus": nodes }));
    // As whoever knows nothing of it says it, and whoever repeats what stood there.
    for value in [json!({ "a": 2 }), json!({ "a": 2, "nodes": { "count": 7 } })] {
        let step = with_provider_status(None, &object, Some(wanted(&value)), LIMIT, STAYS).unwrap();
        assert_eq!(step.patch, json!({ "status": { "providerStatus": { "a": 2 } } }));
        let gone = Observed { stays: false, ..STAYS };
        let step = with_provider_status(None, &object, Some(wanted(&value)), LIMIT, gone).unwrap();
        assert_eq!(step.patch, json!({ "status": { "providerStatus": { "a": 2, "nodes": null } } }));
    }
    assert_eq!(with_provider_status(None, &object, Some(wanted(&json!({ "a": 1 }))), LIMIT, STAYS), None);
    let none = extension(&json!({ "providerStatus": { "a": 1 } }));
    let step = with_provider_status(None, &none, Some(wanted(&nodes)), LIMIT, STAYS);
    assert_eq!(step, None, "nobody else makes it");
}

proptest! {
    #[test]
    fn difference_makes_the_new_value_of_the_old(
        old in proptest::collection::btree_map("[a-c]", "[x-z]", 0..4),
        new in proptest::collection::btree_map("[a-c]", "[x-z]", 0..4),
    ) {
        let (old, new) = (json!({ "configs": old }), json!({ "configs": new }));
        let mut target = old.clone();
        json_patch::merge(&mut target, &difference(&old, &new));
        prop_assert_eq!(target, new);
    }
}

#[test]
fn completion_is_an_event_after_a_failure_and_where_the_extension_comes_or_goes() {
    let well = extension(&json!({}));
    let failed = extension(&json!({ "lastError": { "description": "d" } }));
    for (object, operation, reported) in [
        (&well, Operation::Create, false),
        (&well, Operation::Reconcile, false),
        (&failed, Operation::Reconcile, true),
        (&well, Operation::Delete, true),
        (&well, Operation::Migrate, true),
        (&well, Operation::Restore, true),
    ] {
        let done = completed(object, operation, Some(3), Trigger::Changed.into(), now()).unwrap();
        let reasons: Vec<&str> = done.events.iter().map(|event| event.reason).collect();
        assert_eq!(reasons, if reported { vec!["Succeeded"] } else { vec![] }, "{operation:?}");
    }
}
