use std::collections::BTreeMap;
use std::sync::Arc;

use extension_config::{CpuManager, Facts, WorkerFacts, resolve};
use gardener_api::{ExtensionSpec, RawJson};

use super::*;

fn effective(statics: usize, others: usize) -> Effective {
    let worker = |name: String, policy: &str| WorkerFacts {
        name,
        cpu_manager: Some(CpuManager { policy: policy.to_owned(), of_pool: true }),
        ..WorkerFacts::default()
    };
    let statics = (0..statics).map(|number| worker(format!("s{number:02}"), "static"));
    let others = (0..others).map(|number| worker(format!("o{number:02}"), "none"));
    resolve(Some(&BTreeMap::new()), None, &Facts { workers: statics.chain(others).collect() }).unwrap()
}

fn owner(status: Option<&Value>) -> Owner {
    let mut extension = Extension::new("e", ExtensionSpec::default());
    if let Some(status) = status {
        extension.status = Some(gardener_api::ExtensionStatus {
            provider_status: Some(RawJson::from(status)),
            ..gardener_api::ExtensionStatus::default()
        });
    }
    Owner { extension: Arc::new(extension), shoot: None }
}

/// Field case N20: reported once, and again only when something of it differs.
#[test]
fn an_event_reports_what_the_status_did_not_say_before() {
    let nobody = owner(None);
    let [none, one, two] = [0, 1, 2].map(|count| effective(count, 1));
    let status = |effective: &Effective| provider_status(effective, &nobody);
    let table = [
        // (reported before, now) -> an Event
        (None, &none, false),
        (None, &one, true),
        (Some(status(&none)), &one, true),
        (Some(status(&one)), &one, false),
        (Some(status(&one)), &two, true),
        (Some(status(&two)), &one, true),
        (Some(status(&one)), &none, false),
        (Some(json!("odd")), &one, true),
        (Some(json!({ "leftAlone": 7 })), &one, true),
    ];
    for (before, now, expected) in table {
        let event = left_alone_note(before.as_ref(), now);
        assert_eq!(event.is_some(), expected, "{before:?}: {event:?}");
    }
    let other = Effective { warnings: Vec::new(), ..one.clone() };
    let with_warnings = json!({ "leftAlone": status(&one)["leftAlone"], "warnings": ["another"] });
    assert_eq!(left_alone_note(Some(&with_warnings), &other), None, "other parts of the status do not count");
    assert_eq!(status(&none).get("leftAlone"), None);
}

#[test]
fn when_nothing_is_left_status_and_event_say_so() {
    let nowhere = effective(2, 0);
    let status = provider_status(&nowhere, &owner(None));
    assert_eq!(status["warnings"], json!([NOWHERE]));
    assert!(left_alone_note(None, &nowhere).unwrap().starts_with(NOWHERE));
    assert_eq!(provider_status(&effective(2, 1), &owner(None))["warnings"], json!([]));
}

#[test]
fn many_pools_are_reported_in_short() {
    let many = effective(70, 1);
    let status = provider_status(&many, &owner(None));
    let reported = status["leftAlone"].as_array().unwrap();
    assert_eq!((reported.len(), &reported[50]), (51, &json!({ "reason": "and 20 more worker pools" })));
    let note = left_alone_note(None, &many).unwrap();
    assert!(note.len() < 1024 && note.ends_with(" and 65 more"), "{} bytes: {note}", note.len());
}

/// What is delivered stays, so what is left alone stays.
#[test]
fn a_configuration_that_is_kept_keeps_what_was_left_alone() {
    let before = provider_status(&effective(1, 1), &owner(None));
    let kept = status_of_kept(&owner(Some(&before)), KEPT, &"too long");
    assert_eq!(kept["leftAlone"], before["leftAlone"]);
    assert_eq!(status_of_kept(&owner(None), KEPT, &"too long").get("leftAlone"), None);
}
