//! Expressions and classes: what is changed, and the finding for it.

use serde_json::{Value, json};

use super::broken::all_are_found;
use super::{BALLOONS, TOPOLOGY_AWARE};
use crate::Kind;

#[test]
fn expressions_that_choose_nothing_are_refused() {
    let of = |expression: Value| json!({ "balloonTypes": [{ "name": "a", "matchExpressions": [expression] }] });
    let place = "spec.balloonTypes[0].matchExpressions[0]";
    for (expression, expected) in [
        (json!({ "key": "Name", "operator": "Exists" }), "key: is \"Name\", allowed: id, uid"),
        (
            json!({ "key": "name", "operator": "Exists", "values": ["a"] }),
            "values: has 1 values, allowed with Exists: none",
        ),
        (json!({ "key": "name", "operator": "Equals" }), "values: has 0 values, allowed with Equals: one"),
        (json!({ "key": "name", "operator": "In" }), "values: has 0 values, allowed with In: at least one"),
        (json!({ "key": "name", "operator": "Matches", "values": ["["] }), "values[0]: is \"[\", must be a pattern"),
    ] {
        all_are_found(BALLOONS, &[(of(expression), &format!("{place}.{expected}"))]);
    }
    all_are_found(
        BALLOONS,
        &[(
            json!({ "preserve": { "matchExpressions": [{ "key": "pod", "operator": "Exists" }] } }),
            "spec.preserve.matchExpressions[0].key: is \"pod\"",
        )],
    );
}

#[test]
fn classes_that_no_binary_or_runtime_takes_are_refused() {
    let class = |more: &Value| {
        let mut class = json!({ "name": "a" });
        class.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        class
    };
    let cpu = |more: Value| json!({ "sharedPoolCPUClass": "a", "cpuClasses": [class(&more)] });
    all_are_found(
        TOPOLOGY_AWARE,
        &[
            (cpu(json!({ "name": "" })), "spec.cpuClasses[0].name: has 0 bytes"),
            (
                json!({ "sharedPoolCPUClass": "a", "cpuClasses": [{ "name": "a" }, { "name": "a" }] }),
                "spec.cpuClasses[1].name: is \"a\"",
            ),
            (cpu(json!({ "pctPriority": "high", "sstClosID": 0 })), "sstClosID: stands beside pctPriority"),
            (cpu(json!({ "pctMinFreq": "1GHz" })), "pctMinFreq: is \"1GHz\", allowed: only beside pctPriority"),
            (
                cpu(json!({ "pctMaxFreq": "turbo", "sstClosID": 1 })),
                "pctMaxFreq: is \"turbo\", allowed: only beside pctPriority",
            ),
            (cpu(json!({ "publishExtendedResource": true })), "publishExtendedResource: is true, allowed: only beside"),
            (
                cpu(json!({ "minFreq": "2GHz", "maxFreq": "1500MHz" })),
                "minFreq: is 2000000 kHz, allowed: at most maxFreq, 1500000 kHz",
            ),
            (
                json!({ "sharedPoolCPUClass": "a", "cpuClasses": [{ "name": "a", "pctPriority": "low" }, { "name": "b", "pctPriority": "low" }] }),
                "spec.cpuClasses[1].pctPriority: is low, as that of cpuClasses[0]",
            ),
            (
                json!({ "sharedPoolCPUClass": "a", "cpuClasses": [{ "name": "a", "pctPriority": "low" }, { "name": "b", "sstClosID": 1 }] }),
                "spec.cpuClasses: has pctPriority in one class and sstClosID in another",
            ),
            (json!({ "cpuClasses": [{ "name": "a" }] }), "spec.sharedPoolCPUClass: is missing"),
            (
                json!({ "cpuClasses": [{ "name": "a" }], "sharedPoolCPUClass": "b" }),
                "spec.sharedPoolCPUClass: is \"b\", allowed: a class of cpuClasses",
            ),
            (
                json!({ "cpuClasses": [{ "name": "a" }], "sharedPoolCPUClass": "a", "reservedPoolCPUClass": "b" }),
                "spec.reservedPoolCPUClass: is \"b\"",
            ),
            (
                json!({ "cpuClasses": [{ "name": "a" }], "sharedPoolCPUClass": "a", "defaultExclusiveCPUClass": "b" }),
                "spec.defaultExclusiveCPUClass: is \"b\"",
            ),
            (
                json!({ "namespaceSchedulingClasses": { "n": "x" } }),
                "spec.namespaceSchedulingClasses.n: is \"x\", allowed: a class of schedulingClasses",
            ),
            (
                json!({ "podQoSSchedulingClasses": { "burstable": "x" } }),
                "spec.podQoSSchedulingClasses.burstable: is \"x\"",
            ),
            (
                json!({ "schedulingClasses": [{ "name": "a" }], "podQoSSchedulingClasses": { "Best": "a" } }),
                "spec.podQoSSchedulingClasses.Best: there is no such key, allowed: BestEffort, Burstable, Guaranteed",
            ),
            (
                json!({ "schedulingClasses": [{ "name": "a" }], "podQoSSchedulingClasses": { "Burstable": "a", "burstable": "a" } }),
                "spec.podQoSSchedulingClasses.burstable: is given twice",
            ),
        ],
    );
    let scheduling = |more: Value| json!({ "schedulingClasses": [class(&more)] });
    let cases = [
        (
            json!({ "schedulingClasses": [{ "name": "a" }, { "name": "a" }] }),
            "spec.schedulingClasses[1].name: is \"a\"",
        ),
        (scheduling(json!({ "nice": 20 })), "nice: is 20, must be a whole number from -20 to 19"),
        (scheduling(json!({ "ioPriority": 8 })), "ioPriority: is 8, must be a whole number from 0 to 7"),
        (scheduling(json!({ "policy": "fifo" })), "priority: is 0, allowed: 1 to 99 with fifo and rr"),
        (scheduling(json!({ "policy": "batch", "priority": 1 })), "priority: is 1, allowed: 0 with another policy"),
        (
            scheduling(json!({ "policy": "other", "period": 1 })),
            "spec.schedulingClasses[0]: has runtime, deadline or period",
        ),
        (scheduling(json!({ "policy": "deadline" })), "has runtime 0, deadline 0, period 0, allowed: 0 < runtime"),
        (scheduling(json!({ "policy": "deadline", "runtime": 5, "deadline": 4 })), "has runtime 5, deadline 4"),
    ];
    for kind in Kind::ALL {
        all_are_found(kind, &cases);
    }
    all_are_found(
        BALLOONS,
        &[(
            json!({ "control": { "cpu": { "classes": { "a": { "minFreq": 2_000_000, "maxFreq": 1_000_000 } } } } }),
            "spec.control.cpu.classes.a.minFreq: is 2000000 kHz, allowed: at most maxFreq, 1000000 kHz",
        )],
    );
}
