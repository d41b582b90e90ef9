use serde_json::{Value, json};

use super::*;

fn object(value: &Value) -> Object {
    serde_json::from_str(&value.to_string()).unwrap()
}

#[test]
fn only_the_gate_of_a_removing_pod_says_clean() {
    let gate = |status: &str| json!([{ "type": names::NODE_AS_DESIRED, "status": status }]);
    let ready = json!([{ "type": "Ready", "status": "True" }, { "type": "ContainersReady", "status": "True" }]);
    for (phase, deleting, conditions, expected) in [
        (json!("Remove"), Value::Null, gate("True"), Some(Agent::Done)),
        (json!("Remove"), Value::Null, gate("False"), Some(Agent::AtWork)),
        (json!("Remove"), Value::Null, ready, Some(Agent::AtWork)),
        (json!("Remove"), Value::Null, Value::Null, Some(Agent::AtWork)),
        (json!("Remove"), json!("2026-01-01T00:00:00Z"), gate("True"), None),
        (json!("Install"), Value::Null, gate("True"), None),
        // What cannot be read is never good.
        (
            json!("Remove"),
            Value::Null,
            json!([{ "type": names::NODE_AS_DESIRED, "status": true }]),
            Some(Agent::AtWork),
        ),
        (json!("Remove"), Value::Null, json!({ "type": names::NODE_AS_DESIRED }), Some(Agent::AtWork)),
        (json!("Remove"), json!(7), gate("True"), None),
        (json!(["Remove"]), Value::Null, gate("True"), None),
    ] {
        let pod = object(&json!({
            "metadata": { "name": "p", "annotations": { names::PHASE_KEY: phase }, "deletionTimestamp": deleting },
            "status": { "conditions": conditions },
        }));
        assert_eq!(agent(&pod), expected, "{phase} {deleting} {conditions}");
    }
    assert_eq!(agent(&object(&json!({ "metadata": { "name": "p" } }))), None);
}

#[test]
fn a_node_is_away_since_its_condition_changed() {
    let node = |conditions: Value| {
        let metadata = json!({ "name": "n", "creationTimestamp": "2026-01-01T00:00:00Z" });
        object(&json!({ "metadata": metadata, "status": { "conditions": conditions } }))
    };
    let time = |text: &str| Some(text.parse::<Timestamp>().unwrap());
    let ready =
        |status: &str| json!([{ "type": "Ready", "status": status, "lastTransitionTime": "2026-01-02T00:00:00Z" }]);
    assert_eq!(away_since(&node(ready("True"))), None);
    for status in ["False", "Unknown"] {
        assert_eq!(away_since(&node(ready(status))), time("2026-01-02T00:00:00Z"));
    }
    for conditions in [json!([{ "type": "Ready", "status": "Unknown" }]), Value::Null, json!([17, "Ready"]), json!({})]
    {
        assert_eq!(away_since(&node(conditions)), time("2026-01-01T00:00:00Z"));
    }
}

#[test]
fn a_report_is_shown_in_short() {
    let lease =
        |report: &str| object(&json!({ "metadata": { "annotations": { names::NODE_REPORT_ANNOTATION: report } } }));
    let reported = |message: &str| json!({ "stage": "Blocked", "phase": "Remove", "message": message }).to_string();
    assert_eq!(report(&lease(&reported("no space"))).unwrap().message, "no space");
    assert_eq!(report(&lease(&reported(&"é".repeat(1000)))).unwrap().message.chars().count(), REASON);
    assert_eq!(report(&lease(&reported(&"x".repeat(limits::REPORT)))), None);
    assert_eq!(report(&lease("{")), None);
}
