use serde_json::{Value, json};

use super::*;

fn resource(generation: i64, observed: &Value, conditions: &[(&str, &str)]) -> ManagedResource {
    let conditions: Vec<Value> = conditions
        .iter()
        .map(|(type_, status)| json!({"type": type_, "status": status, "reason": "R", "message": "m"}))
        .collect();
    serde_json::from_value(json!({
        "metadata": {"name": "mr", "namespace": "ns", "generation": generation},
        "spec": {"secretRefs": [], "injectLabels": {"phase": "Remove"}},
        "status": {"conditions": conditions, "observedGeneration": observed},
    }))
    .expect("a ManagedResource")
}

const APPLIED: (&str, &str) = (RESOURCES_APPLIED, "True");
const HEALTHY: (&str, &str) = (RESOURCES_HEALTHY, "True");
const ROLLED_OUT: (&str, &str) = (RESOURCES_PROGRESSING, "False");

#[test]
fn health_of_every_shape() {
    #[derive(Debug, PartialEq)]
    enum Kind {
        Healthy,
        Progressing,
        Unhealthy,
    }
    use Kind::{Healthy, Progressing, Unhealthy};
    let table = [
        (json!(2), vec![APPLIED, HEALTHY, ROLLED_OUT], Healthy),
        (json!(2), vec![APPLIED, HEALTHY], Healthy),
        (json!(2), vec![APPLIED, HEALTHY, (RESOURCES_PROGRESSING, "Unknown")], Healthy),
        (json!(2), vec![APPLIED, HEALTHY, (RESOURCES_PROGRESSING, "True")], Progressing),
        (json!(1), vec![APPLIED, HEALTHY, ROLLED_OUT], Progressing),
        (json!(null), vec![APPLIED, HEALTHY, ROLLED_OUT], Progressing),
        (json!(2), vec![(RESOURCES_APPLIED, "Progressing"), HEALTHY], Progressing),
        (json!(2), vec![APPLIED, (RESOURCES_HEALTHY, "Unknown")], Progressing),
        (json!(2), vec![(RESOURCES_APPLIED, "False"), HEALTHY], Unhealthy),
        (json!(1), vec![(RESOURCES_APPLIED, "False"), HEALTHY], Unhealthy),
        (json!(2), vec![APPLIED, (RESOURCES_HEALTHY, "False")], Unhealthy),
        (json!(2), vec![APPLIED], Unhealthy),
        (json!(2), vec![HEALTHY], Unhealthy),
        (json!(2), vec![], Unhealthy),
        (json!(2), vec![(RESOURCES_APPLIED, "Odd"), HEALTHY], Unhealthy),
    ];
    for (observed, conditions, expected) in table {
        let found = match health(&resource(2, &observed, &conditions)) {
            Health::Healthy => Healthy,
            Health::Progressing(_) => Progressing,
            Health::Unhealthy(_) => Unhealthy,
        };
        assert_eq!(found, expected, "{observed} {conditions:?}");
    }
}

#[test]
fn only_the_whole_proof_proves() {
    let phase = ("phase", "Remove");
    let whole = [APPLIED, HEALTHY, ROLLED_OUT];
    assert!(is_proven(&resource(2, &json!(2), &whole), phase));
    assert!(!is_proven(&resource(2, &json!(1), &whole), phase), "an old generation");
    assert!(!is_proven(&resource(2, &json!(null), &whole), phase), "never observed");
    assert!(!is_proven(&resource(2, &json!(2), &whole), ("phase", "Install")), "another phase");
    assert!(!is_proven(&resource(2, &json!(2), &whole), ("other", "Remove")), "no such label");
    for index in 0..whole.len() {
        for status in ["False", "Unknown", "True", "Progressing", "Odd", ""] {
            let mut conditions = whole;
            if conditions[index].1 == status {
                continue;
            }
            conditions[index].1 = status;
            assert!(!is_proven(&resource(2, &json!(2), &conditions), phase), "{conditions:?}");
        }
        let mut fewer = whole.to_vec();
        fewer.remove(index);
        assert!(!is_proven(&resource(2, &json!(2), &fewer), phase), "{fewer:?}");
    }
    let mut going = resource(2, &json!(2), &whole);
    going.metadata.deletion_timestamp =
        Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(jiff::Timestamp::UNIX_EPOCH));
    assert!(!is_proven(&going, phase), "being deleted");
    let mut bare = resource(2, &json!(2), &whole);
    bare.status = None;
    assert!(!is_proven(&bare, phase), "no status");
}
