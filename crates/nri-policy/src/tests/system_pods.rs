use serde_json::{Value, json};

use super::{BALLOONS, NONE, TOPOLOGY_AWARE, checked, spec};
use crate::{Kind, Risk, check};

/// What is risked, each once.
fn risks(kind: Kind, more: &Value) -> Vec<Risk> {
    let mut risks: Vec<Risk> = match check(kind, &spec(more), &NONE) {
        Ok(_) => Vec::new(),
        Err(findings) => {
            findings.iter().map(|finding| finding.risk.unwrap_or_else(|| panic!("{more}: {finding}"))).collect()
        }
    };
    risks.sort_unstable();
    risks.dedup();
    risks
}

#[test]
fn a_policy_that_may_refuse_system_pods_is_refused() {
    let of = |types: Value| json!({ "balloonTypes": types });
    let of_set = |types: Value| json!({ "reservedResources": { "cpu": "cpuset:0-1" }, "balloonTypes": types });
    let before = |types: Value| {
        let mut types = types.as_array().unwrap().clone();
        types.push(json!({ "name": "reserved" }));
        of(Value::Array(types))
    };
    let label = json!([{ "key": "pod/labels/app", "operator": "Exists" }]);
    let other_namespace = json!([{ "key": "namespace", "operator": "In", "values": ["apps"] }]);
    let fifo = json!([{ "name": "now", "policy": "fifo", "priority": 1 }]);
    let class = |more: &Value| {
        let mut spec = json!({ "schedulingClasses": fifo });
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        spec
    };
    for (more, expected) in [
        // A number of CPUs is owned from the start, and grows.
        (of(json!([])), &[][..]),
        (of(json!([{ "name": "reserved" }])), &[]),
        (of(json!([{ "name": "reserved", "minCPUs": 1 }])), &[]),
        (of(json!([{ "name": "reserved", "maxCPUs": 4 }])), &[Risk::ReservedMayFill]),
        (of(json!([{ "name": "reserved", "minCPUs": 1, "maxCPUs": 1 }])), &[Risk::ReservedMayFill]),
        // CPUs by number are only preferred, unless the type asks for them.
        (of_set(json!([])), &[Risk::ReservedNotHeld]),
        (of_set(json!([{ "name": "reserved" }])), &[Risk::ReservedNotHeld]),
        (of_set(json!([{ "name": "reserved", "minCPUs": 2 }])), &[]),
        (of_set(json!([{ "name": "reserved", "maxCPUs": 2 }])), &[Risk::ReservedMayFill]),
        // The implicit type comes first, whatever else is there.
        (of(json!([{ "name": "a", "namespaces": ["*"], "maxCPUs": 1 }])), &[]),
        (of(json!([{ "name": "a", "matchExpressions": label, "maxCPUs": 1 }])), &[]),
        // A listed one comes where it stands.
        (before(json!([{ "name": "a", "maxCPUs": 1 }])), &[]),
        (before(json!([{ "name": "a", "namespaces": ["kube-*"] }])), &[Risk::SystemPodsNotHeld]),
        (before(json!([{ "name": "a", "namespaces": ["kube-*"], "minCPUs": 1 }])), &[Risk::SystemPodsNotHeld]),
        (before(json!([{ "name": "a", "namespaces": ["kube-*"], "minCPUs": 1, "minBalloons": 1 }])), &[]),
        (
            before(json!([{ "name": "a", "namespaces": ["*"], "minCPUs": 1, "minBalloons": 1, "maxCPUs": 2 }])),
            &[Risk::SystemPodsMayFill],
        ),
        (before(json!([{ "name": "a", "namespaces": ["apps"], "maxCPUs": 2 }])), &[]),
        (
            before(json!([{ "name": "a", "matchExpressions": label, "maxCPUs": 2 }])),
            &[Risk::SystemPodsMayFill, Risk::SystemPodsNotHeld],
        ),
        (before(json!([{ "name": "a", "matchExpressions": other_namespace, "maxCPUs": 2 }])), &[]),
        // What takes all of them hides the rest.
        (
            before(json!([
                { "name": "a", "namespaces": ["*"], "minCPUs": 1, "minBalloons": 1 },
                { "name": "b", "namespaces": ["*"], "maxCPUs": 1 },
            ])),
            &[],
        ),
        (
            of(json!([
                { "name": "a", "namespaces": ["*"], "minCPUs": 1, "minBalloons": 1 },
                { "name": "reserved", "maxCPUs": 1 },
            ])),
            &[],
        ),
        (
            of(json!([{ "name": "reserved", "components": [{ "balloonType": "a" }] }, { "name": "a" }])),
            &[Risk::SystemPodsInComposite],
        ),
        (class(&of(json!([{ "name": "reserved", "schedulingClass": "now" }]))), &[Risk::SystemPodsRealTime]),
        (class(&of(json!([{ "name": "a", "namespaces": ["*"], "schedulingClass": "now" }]))), &[]),
    ] {
        assert_eq!(risks(BALLOONS, &more), expected, "{more}");
    }
    for (more, expected) in [
        (class(&json!({ "namespaceSchedulingClasses": { "kube-system": "now" } })), &[Risk::SystemPodsRealTime][..]),
        (class(&json!({ "namespaceSchedulingClasses": { "apps": "now" } })), &[]),
        (class(&json!({ "podQoSSchedulingClasses": { "Burstable": "now" } })), &[Risk::SystemPodsRealTime]),
        (
            json!({
                "schedulingClasses": [fifo[0], { "name": "usual", "policy": "other" }],
                "podQoSSchedulingClasses": { "Burstable": "now" },
                "namespaceSchedulingClasses": { "kube-system": "usual" },
            }),
            &[],
        ),
    ] {
        assert_eq!(risks(TOPOLOGY_AWARE, &more), expected, "{more}");
    }
}

#[test]
fn a_risk_that_is_accepted_becomes_a_warning_and_no_other_does() {
    let more = json!({
        "reservedResources": { "cpu": "cpuset:0" },
        "balloonTypes": [{ "name": "a", "namespaces": ["kube-system"], "maxCPUs": 1 }, { "name": "reserved" }],
    });
    let both = [Risk::SystemPodsMayFill.id(), Risk::SystemPodsNotHeld.id()];
    let warnings = checked(BALLOONS, &more, &both).warnings().to_vec();
    assert_eq!(warnings.iter().filter_map(|warning| warning.risk).map(Risk::id).collect::<Vec<_>>(), both);
    assert!(warnings[0].message.ends_with("; accepted as system-pods-may-fill"), "{}", warnings[0]);
    let findings = check(BALLOONS, &spec(&more), &both[..1]).unwrap_err();
    assert_eq!(findings.len(), 1);
    assert_eq!(findings[0].risk, Some(Risk::SystemPodsNotHeld));
    assert_eq!(findings[0].path, "spec.balloonTypes[0]");
    assert!(findings[0].message.ends_with("; to allow it, accept system-pods-not-held"), "{}", findings[0]);
}

#[test]
fn an_unknown_id_is_refused() {
    let findings = check(BALLOONS, &spec(&json!({})), &["reserved-may-fill", "all"]).unwrap_err();
    assert_eq!(
        findings.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            "accept[1]: is \"all\", allowed: reserved-may-fill, reserved-not-held, system-pods-may-fill, system-pods-not-held, \
          system-pods-in-composite, system-pods-real-time"
        ]
    );
}
