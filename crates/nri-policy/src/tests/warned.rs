use serde_json::{Value, json};

use super::{BALLOONS, NONE, TOPOLOGY_AWARE, checked};

#[test]
fn what_does_little_or_needs_something_is_warned_of() {
    let of_type = |key: &str, value: Value| json!({ "balloonTypes": [{ "name": "a", key: value }] });
    let cpu = |key: &str, value: Value| json!({ "sharedPoolCPUClass": "a", "cpuClasses": [{ "name": "a", "pctPriority": "high", key: value }] });
    let metrics = |key: &str, value: Value| json!({ "instrumentation": { key: value } });
    for (kind, more, expected) in [
        (
            BALLOONS,
            json!({ "control": { "rdt": { "enable": true } } }),
            "spec.control.rdt.enable: is true: the plugin does not start on a node",
        ),
        (BALLOONS, json!({ "showContainersInNrt": true }), "spec.showContainersInNrt: has no effect"),
        (
            BALLOONS,
            of_type("showContainersInNrt", json!(true)),
            "spec.balloonTypes[0].showContainersInNrt: has no effect",
        ),
        (BALLOONS, of_type("cpuClass", json!("x")), "spec.balloonTypes[0].cpuClass: is \"x\", which is no CPU class"),
        (BALLOONS, json!({ "idleCPUClass": "x" }), "spec.idleCPUClass: is \"x\", which is no CPU class"),
        (
            BALLOONS,
            json!({ "balloonTypes": [{ "name": "default", "maxCPUs": 2 }] }),
            "spec.balloonTypes[0].maxBalloons: is absent or 0",
        ),
        (
            BALLOONS,
            json!({ "balloonTypes": [{ "name": "a", "preferIsolCpus": true, "shareIdleCPUsInSame": "numa" }] }),
            "shareIdleCPUsInSame: stands beside preferIsolCpus",
        ),
        (
            BALLOONS,
            json!({ "cpuClasses": [{ "name": "a" }], "control": { "cpu": { "classes": { "a": {} } } } }),
            "spec.control.cpu.classes: \"a\" has no effect",
        ),
        (
            BALLOONS,
            json!({ "control": { "cpu": { "classes": { "a": { "maxFreq": 800 } } } } }),
            "spec.control.cpu.classes.a.maxFreq: is 800 kHz, below 100 MHz",
        ),
        (TOPOLOGY_AWARE, cpu("minFreq", json!("800")), "spec.cpuClasses[0].minFreq: is 800 kHz, below 100 MHz"),
        (TOPOLOGY_AWARE, cpu("publishExtendedResource", json!(true)), "publishExtendedResource: has no effect"),
        (
            TOPOLOGY_AWARE,
            json!({ "control": { "cpu": { "classes": {"a": {}} } } }),
            "spec.control.cpu.classes: has no effect with this policy",
        ),
        (TOPOLOGY_AWARE, json!({ "sharedPoolCPUClass": "a" }), "spec.sharedPoolCPUClass: has no effect"),
        (TOPOLOGY_AWARE, json!({ "pinCPU": false, "pinMemory": false }), "no container is pinned to anything"),
        (TOPOLOGY_AWARE, metrics("prometheusExport", json!(true)), "spec.instrumentation.httpEndpoint: is absent"),
        (
            TOPOLOGY_AWARE,
            metrics("tracingCollector", json!("otlp-grpc")),
            "spec.instrumentation.tracingCollector: is otlp-grpc",
        ),
    ] {
        let checked = checked(kind, &more, &NONE);
        let warnings: Vec<_> = checked.warnings().iter().map(ToString::to_string).collect();
        assert!(
            warnings.iter().any(|warning| warning.contains(expected)),
            "{more}\nexpected {expected}\nfound {warnings:#?}"
        );
        assert_eq!(checked.needs_resctrl(), more["control"]["rdt"]["enable"] == true);
    }
}

#[test]
fn what_is_usual_is_not_warned_of() {
    for (kind, more) in [
        (
            BALLOONS,
            json!({ "cpuClasses": [{ "name": "a", "minFreq": "800MHz", "maxFreq": "turbo" }], "balloonTypes": [{ "name": "x", "cpuClass": "a" }] }),
        ),
        (BALLOONS, json!({ "control": { "cpu": { "classes": { "a": {} } } }, "idleCPUClass": "a" })),
        (BALLOONS, json!({ "balloonTypes": [{ "name": "default", "maxCPUs": 2, "maxBalloons": 1 }] })),
        (
            TOPOLOGY_AWARE,
            json!({ "pinMemory": false, "instrumentation": { "httpEndpoint": "[::1]:8891", "prometheusExport": true } }),
        ),
    ] {
        assert_eq!(checked(kind, &more, &NONE).warnings(), [], "{more}");
    }
}
