//! One table for each part: what is changed, and the finding for it.

use serde_json::{Value, json};

use super::{BALLOONS, NONE, TOPOLOGY_AWARE, findings};
use crate::Kind;

pub(super) fn all_are_found(kind: Kind, cases: &[(Value, &str)]) {
    for (more, expected) in cases {
        let found = findings(kind, more, &NONE);
        assert!(
            found.iter().any(|finding| finding.contains(expected)),
            "{more}\nexpected {expected}\nfound {found:#?}"
        );
    }
}

#[test]
fn keys_and_values_that_the_schema_does_not_have_are_refused() {
    let cases = [
        (json!({ "pinCpu": true }), "spec.pinCpu: there is no such key in this letter case, allowed: pinCPU"),
        (json!({ "colour": 1 }), "spec.colour: there is no such key, allowed: agent, "),
        (json!({ "pinCPU": "true" }), "spec.pinCPU: is \"true\", must be true or false (without quotes)"),
        (
            json!({ "agent": { "x": 1 } }),
            "spec.agent.x: there is no such key, allowed: nodeResourceTopology, podResourceAPI",
        ),
        (json!({ "agent": true }), "spec.agent: is true, must be a map"),
        (json!({ "reservedResources": null }), "spec.reservedResources: is missing, and must be there"),
        (json!({ "reservedPoolNamespaces": "a" }), "spec.reservedPoolNamespaces: is \"a\", must be a list"),
        (
            json!({ "reservedPoolNamespaces": [1] }),
            "spec.reservedPoolNamespaces[0]: is 1, must be a text in quotes, a pattern",
        ),
        (json!({ "log": { "klog": { "v": "4" } } }), "spec.log.klog.v: is \"4\", must be a whole number from 0 to 10"),
        (
            json!({ "log": { "klog": { "V": 4 } } }),
            "spec.log.klog.V: there is no such key in this letter case, allowed: v",
        ),
        (json!({ "control": { "cpu": {} } }), "spec.control.cpu.classes: is missing"),
        (
            json!({ "control": { "rdt": { "options": { "l2": {} } } } }),
            "spec.control.rdt.options.l2.optional: is missing",
        ),
        (
            json!({ "control": { "rdt": { "partitions": { "p": { "l3Allocation": { "all": "50%" } } } } } }),
            "spec.control.rdt.partitions.p.l3Allocation.all: is \"50%\", must be a map",
        ),
        (
            json!({ "control": { "rdt": { "partitions": { "p": { "mbAllocation": { "all": ["50"] } } } } } }),
            "spec.control.rdt.partitions.p.mbAllocation.all[0]: is \"50\", must be a share of the memory's bandwidth",
        ),
        (
            json!({ "instrumentation": { "reportPeriod": 15 } }),
            "reportPeriod: is 15, must be a text in quotes, a duration",
        ),
        (
            json!({ "instrumentation": { "reportPeriod": "15" } }),
            "reportPeriod: is \"15\", must be a duration such as 30s",
        ),
        (json!({ "instrumentation": { "metricsExporter": "x" } }), "must be one of prometheus, otlp-http, otlp-grpc"),
        (json!({ "instrumentation": { "samplingRatePerMillion": 1_000_001 } }), "from 0 to 1000000"),
        (
            json!({ "schedulingClasses": [{ "name": "a", "flags": ["x"] }] }),
            "spec.schedulingClasses[0].flags[0]: is \"x\", must be one of reset-on-fork, reclaim",
        ),
        (json!({ "schedulingClasses": [{ "policy": "other" }] }), "spec.schedulingClasses[0].name: is missing"),
        (
            json!({ "cpuClasses": [{ "name": "a", "minFreq": 800_000 }] }),
            "minFreq: is 800000, must be a text in quotes, a frequency",
        ),
        (json!({ "cpuClasses": [{ "name": "a", "minFreq": "fast" }] }), "minFreq: is \"fast\", must be a frequency"),
        (json!({ "cpuClasses": [{ "name": "a", "sstClosID": -1 }] }), "sstClosID: is -1, must be a whole number"),
        (
            json!({ "control": { "cpu": { "classes": { "a": { "minFreq": "1GHz" } } } } }),
            "classes.a.minFreq: is \"1GHz\", must be a whole number",
        ),
    ];
    for kind in Kind::ALL {
        all_are_found(kind, &cases);
    }
}

#[test]
fn keys_and_values_that_one_of_the_schemas_does_not_have_are_refused() {
    all_are_found(
        TOPOLOGY_AWARE,
        &[
            (json!({ "balloonTypes": [] }), "spec.balloonTypes: there is no such key"),
            (json!({ "unlimitedBurstable": "core" }), "must be one of system, package, die, numa, l3cache"),
            (json!({ "defaultCPUPriority": "High" }), "is \"High\", must be one of high, normal, low, none"),
        ],
    );
    let of_type = |key: &str, value: Value| json!({ "balloonTypes": [{ "name": "a", key: value }] });
    all_are_found(
        BALLOONS,
        &[
            (json!({ "preferIsolatedCPUs": true }), "spec.preferIsolatedCPUs: there is no such key"),
            (json!({ "turboDomain": "galaxy" }), "must be one of package, system"),
            (json!({ "balloonTypes": [{}] }), "spec.balloonTypes[0].name: is missing"),
            (
                of_type("allocatorPriority", json!("urgent")),
                "spec.balloonTypes[0].allocatorPriority: is \"urgent\", must be one of high, normal",
            ),
            (of_type("allocatorPriority", json!(0)), "is 0, must be a text in quotes, one of high"),
            (of_type("shareIdleCPUsInSame", json!("galaxy")), "must be one of \"\", system, package"),
            (
                of_type("irqMode", json!("Sink")),
                "spec.balloonTypes[0].irqMode: is \"Sink\", must be one of \"\", sink, isolate",
            ),
            (of_type("irqClaim", json!(["["])), "irqClaim[0]: is \"[\", must be a pattern"),
            (of_type("maxCPUs", json!(-1)), "maxCPUs: is -1, must be a whole number from 0 to 8192"),
            (of_type("minCPUs", json!(-1)), "minCPUs: is -1, must be a whole number from 0 to 8192"),
            (of_type("minCPUs", json!(1.5)), "minCPUs: is 1.5, must be a whole number"),
            (of_type("minCPUs", json!("1")), "minCPUs: is \"1\", must be a whole number"),
            (of_type("memoryTypes", json!(["dram"])), "memoryTypes[0]: is \"dram\", must be one of DRAM, HBM, PMEM"),
            (of_type("memoryTypes", json!(["HBM", "HBM"])), "memoryTypes[1]: \"HBM\" is given twice"),
            (of_type("loads", json!(["x", "x"])), "loads[1]: \"x\" is given twice"),
            (of_type("preferCoreType", json!("")), "must be one of efficient, performance"),
            (of_type("namespaces", json!([""])), "namespaces[0]: is \"\", must be a pattern"),
            (of_type("components", json!([{}])), "components[0].balloonType: is missing"),
            (
                of_type("matchExpressions", json!([{ "key": "name", "operator": "Is" }])),
                "must be one of Equals, NotEqual",
            ),
            (
                json!({ "loadClasses": [{ "name": "a", "level": "numa" }] }),
                "spec.loadClasses[0].level: is \"numa\", must be one of l2cache, core",
            ),
        ],
    );
}

#[test]
fn resources_that_mean_nothing_or_contradict_are_refused() {
    let of =
        |reserved: Value, available: Value| json!({ "reservedResources": reserved, "availableResources": available });
    let cases = [
        (of(json!({ "CPU": "1" }), json!({})), "spec.reservedResources.CPU: there is no such key (letter case counts)"),
        (
            of(json!({ "CPU": "1" }), json!({})),
            "spec.reservedResources.cpu: is missing, and without it nothing is reserved",
        ),
        (of(json!({}), json!({})), "spec.reservedResources.cpu: is missing"),
        (of(json!({ "cpu": "1", "memory": "1Gi" }), json!({})), "spec.reservedResources.memory: there is no such key"),
        (of(json!({ "cpu": 1 }), json!({})), "spec.reservedResources.cpu: is 1, must be a text in quotes"),
        (
            of(json!({ "cpu": "0-3" }), json!({})),
            "is \"0-3\", allowed: cpuset:0-3,8, exclude-cpuset:0-3,8, or a number of CPUs such as 2 or 750m, in quotes; for a list of CPUs write cpuset:0-3",
        ),
        (of(json!({ "cpu": "0" }), json!({})), "is \"0\", allowed:"),
        (of(json!({ "cpu": "cpuset:" }), json!({})), "is \"cpuset:\", allowed:"),
        (of(json!({ "cpu": "cgroup:/x" }), json!({})), "allowed: cpuset:"),
        (
            of(json!({ "cpu": "1" }), json!({ "CPU": "cpuset:0-3" })),
            "spec.availableResources.CPU: there is no such key",
        ),
        (
            of(json!({ "cpu": "1" }), json!({ "cpu": "4" })),
            "spec.availableResources.cpu: is \"4\", allowed: cpuset:0-3,8 or exclude-cpuset:0-3,8",
        ),
        (of(json!({ "cpu": "1" }), json!({ "cpu": "0-3" })), "; for a list of CPUs write cpuset:0-3"),
        (
            of(json!({ "cpu": "cpuset:0,9" }), json!({ "cpu": "cpuset:0-3" })),
            "is \"cpuset:0,9\", of which 9 are not in availableResources",
        ),
        (
            of(json!({ "cpu": "cpuset:0-3" }), json!({ "cpu": "exclude-cpuset:2-9" })),
            "of which 2-3 are not in availableResources",
        ),
        (
            of(json!({ "cpu": "exclude-cpuset:0-3" }), json!({ "cpu": "cpuset:1-2" })),
            "leaves nothing that could be reserved",
        ),
        (of(json!({ "cpu": "5" }), json!({ "cpu": "cpuset:0-3" })), "is \"5\", availableResources has 4 CPUs"),
        (
            of(json!({ "cpu": "cpuset:0-3" }), json!({ "cpu": "cpuset:0-3" })),
            "leaves no CPU of availableResources for other pods",
        ),
        (
            of(json!({ "cpu": "4" }), json!({ "cpu": "cpuset:0-3" })),
            "leaves no CPU of availableResources for other pods",
        ),
    ];
    for kind in Kind::ALL {
        all_are_found(kind, &cases);
    }
}

#[test]
fn balloon_types_that_cannot_be_made_are_refused() {
    let of = |types: Value| json!({ "balloonTypes": types });
    let composite = |key: &str, value: Value| {
        of(json!([{ "name": "a" }, { "name": "b", "components": [{ "balloonType": "a" }], key: value }]))
    };
    all_are_found(
        BALLOONS,
        &[
            (
                of(json!([{ "name": "a" }, { "name": "b" }, { "name": "a" }])),
                "spec.balloonTypes[2].name: is \"a\", as another before it",
            ),
            (of(json!([{ "name": "" }])), "spec.balloonTypes[0].name: has 0 bytes"),
            (
                of(json!([{ "name": "a", "minCPUs": 3, "maxCPUs": 2 }])),
                "spec.balloonTypes[0].minCPUs: is 3, allowed: at most maxCPUs, 2",
            ),
            (
                of(json!([{ "name": "a", "minBalloons": 3, "maxBalloons": 2 }])),
                "minBalloons: is 3, allowed: at most maxBalloons, 2",
            ),
            (of(json!([{ "name": "reserved", "minBalloons": 2 }])), "minBalloons: is 2, allowed: 0 or 1"),
            (of(json!([{ "name": "reserved", "maxBalloons": 2 }])), "maxBalloons: is 2, allowed: 0 or 1"),
            (
                of(json!([{ "name": "reserved", "minCPUs": 2 }])),
                "minCPUs: is 2, allowed: 1, as reservedResources rounded up",
            ),
            (
                json!({ "reservedResources": { "cpu": "3" }, "balloonTypes": [{ "name": "reserved", "maxCPUs": 2 }] }),
                "maxCPUs: is 2, allowed: at least 3, as reservedResources",
            ),
            (
                of(json!([{ "name": "a", "loads": ["x"] }])),
                "spec.balloonTypes[0].loads[0]: is \"x\", allowed: a class of loadClasses",
            ),
            (
                of(json!([{ "name": "a", "schedulingClass": "x" }])),
                "schedulingClass: is \"x\", allowed: a class of schedulingClasses",
            ),
            (of(json!([{ "name": "a", "groupBy": "${x}" }])), "groupBy: is \"${x}\", allowed: a text with references"),
            (
                of(json!([{ "name": "a", "preferCloseToDevices": ["podresourceapi:x"] }])),
                "pod-resources hints are left out",
            ),
            (
                of(json!([{ "name": "a", "componentCreation": "all" }])),
                "componentCreation: is \"all\", allowed: only beside components",
            ),
            (
                of(json!([{ "name": "a", "components": [{ "balloonType": "b" }] }])),
                "components[0].balloonType: is \"b\", allowed: the name of a balloon type",
            ),
            (
                of(json!([{ "name": "a", "components": [{ "balloonType": "reserved" }] }])),
                "there is one reserved balloon",
            ),
            (
                of(json!([{ "name": "a", "components": [{ "balloonType": "default" }] }])),
                "the implicit default type has one balloon",
            ),
            (
                of(json!([{ "name": "a", "components": [{ "balloonType": "a" }] }])),
                "spec.balloonTypes[0].components: the type contains itself",
            ),
            (
                of(
                    json!([{ "name": "a", "components": [{ "balloonType": "b" }] }, { "name": "b", "components": [{ "balloonType": "a" }] }]),
                ),
                "spec.balloonTypes[0].components: the type contains itself",
            ),
            (composite("cpuClass", json!("x")), "spec.balloonTypes[1].cpuClass: stands beside components"),
            (
                composite("preferSpreadOnPhysicalCores", json!(false)),
                "preferSpreadOnPhysicalCores: stands beside components",
            ),
            (
                composite("allocatorTopologyBalancing", json!(true)),
                "allocatorTopologyBalancing: stands beside components",
            ),
            (composite("preferCloseToDevices", json!(["x"])), "preferCloseToDevices: stands beside components"),
            (composite("preferIsolCpus", json!(true)), "preferIsolCpus: stands beside components"),
            (composite("preferCoreType", json!("efficient")), "preferCoreType: stands beside components"),
            (
                json!({ "availableResources": { "cpu": "cpuset:0-3" }, "balloonTypes": [{ "name": "a", "minBalloons": 2, "minCPUs": 2 }] }),
                "spec.balloonTypes: own 5 CPUs from the start (minBalloons x minCPUs, and reserved), allowed: 4",
            ),
            (
                json!({ "loadClasses": [{ "name": "a", "level": "core" }, { "name": "a", "level": "core" }] }),
                "spec.loadClasses[1].name: is \"a\", as another",
            ),
        ],
    );
}

#[test]
fn what_is_left_out_or_reaches_beyond_the_plugin_is_refused() {
    let cases = [
        (
            json!({ "agent": { "podResourceAPI": true } }),
            "spec.agent.podResourceAPI: is true, allowed: false; pod-resources hints are left out",
        ),
        (
            json!({ "control": { "blockio": { "enable": true } } }),
            "spec.control.blockio.enable: is true, allowed: false; block-I/O classes are left out",
        ),
        (
            json!({ "control": { "rdt": { "partitions": { "p": { "classes": { "c": { "l2Allocation": { "all": { "code": "50%" } } } } } } } } }),
            "spec.control.rdt.partitions.p.classes.c.l2Allocation.all: has only code",
        ),
        (
            json!({ "control": { "rdt": { "partitions": { "p": { "l3Allocation": { "0": { "data": "50%" } } } } } } }),
            "spec.control.rdt.partitions.p.l3Allocation.0: has only data",
        ),
        (
            json!({ "log": { "klog": { "log_dir": "/etc" } } }),
            "spec.log.klog.log_dir: is \"/etc\", allowed: no such key",
        ),
        (json!({ "log": { "klog": { "log_file": "/etc/passwd" } } }), "spec.log.klog.log_file: is \"/etc/passwd\""),
        (json!({ "log": { "klog": { "logtostderr": false } } }), "spec.log.klog.logtostderr: is false, allowed: true"),
        (
            json!({ "instrumentation": { "httpEndpoint": ":8891" } }),
            "httpEndpoint: is \":8891\", must be a loopback address",
        ),
        (
            json!({ "instrumentation": { "httpEndpoint": "0.0.0.0:8891" } }),
            "must be a loopback address of the node with a port",
        ),
        (
            json!({ "instrumentation": { "httpEndpoint": "127.0.0.1" } }),
            "must be a loopback address of the node with a port",
        ),
        (
            json!({ "instrumentation": { "prometheusExport": true, "metricsExporter": "otlp-http" } }),
            "spec.instrumentation.metricsExporter: is otlp-http, allowed: prometheus",
        ),
    ];
    for kind in Kind::ALL {
        all_are_found(kind, &cases);
    }
}
