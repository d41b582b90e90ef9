//! The cases. `docs/configuration.md` says what is behind those in which the daemon answers otherwise.

use Answer::{Accepted, Given, Refused, Restart, Warned};
use Input::{Change, Modules, Object, Options, Text};

/// Who wrote what.
pub(super) enum Input {
    /// One configuration of the daemon; it is tried on every way that it may come.
    Text(&'static str),
    /// The same as an object, in the typed providerConfig.
    Object(&'static str),
    /// A ConfigMap for running daemons: key and text of each module.
    Modules(&'static [(&'static str, &'static str)]),
    /// The extra options of an untyped providerConfig, and those of the base configuration.
    Options(&'static str),
    /// What runs, and what is to run next.
    Change(&'static str, &'static str),
}

pub(super) enum Answer {
    Accepted,
    /// Accepted, and this is what the daemon is given.
    Given(&'static str),
    /// Accepted with a warning of this.
    Warned(&'static str),
    /// Refused; this is named.
    Refused(&'static str),
    /// The daemon is restarted; the reason.
    Restart(&'static str),
}

pub(super) const CASES: &[(&str, Input, Answer)] = &[
    ("E01", Options("EXTRA_OPTIONS=\"--metrics-interval 5s\"\n"), Given("--metrics-interval 5s")),
    ("E01", Options("EXTRA_OPTIONS=\"--metrics-interval 5s\""), Given("--metrics-interval 5s")),
    ("E01", Options("# how often\r\nEXTRA_OPTIONS='--metrics-interval=5s'\r\n"), Given("--metrics-interval=5s")),
    ("E01", Options("\u{feff}EXTRA_OPTIONS=--metrics-interval 5s\n"), Given("--metrics-interval 5s")),
    ("E01", Options("--metrics-interval 5s\n"), Given("--metrics-interval 5s")),
    ("E01", Options("EXTRA_OPTIONS=\"--relay-socket /x\"\n"), Refused("--relay-socket is set by the extension")),
    ("E01", Options("OTHER=\"--metrics-interval 5s\"\n"), Refused("\"OTHER\" has no meaning here")),
    ("E03", Options("EXTRA_OPTIONS=\"--metrics-interval=10s\"\n"), Given("--metrics-interval=10s")),
    (
        "E04",
        Text(
            "policy: {Active: balloons, ReservedResources: {CPU: 1}, balloons: {BalloonTypes: [{Name: a, CPUClass: b}]}}\ncpu: {classes: {b: {maxFreq: 1}}}",
        ),
        Given(
            r#"{"cpu":{"classes":{"b":{"maxFreq":1}}},"policy":{"Active":"balloons","ReservedResources":{"CPU":1},"balloons":{"BalloonTypes":[{"CpuClass":"b","Name":"a"}]}}}"#,
        ),
    ),
    (
        "E04",
        Text("policy: {Active: none, balloons: {IdleCpuClass: ''}}"),
        Refused("policy.balloons.IdleCpuClass: there is no such key"),
    ),
    (
        "E06",
        Text("policy: {Active: balloons, ReservedResources: {CPU: 1}, balloons: {IdleCPUClass: idle}}"),
        Warned("policy.balloons.IdleCPUClass: \"idle\" is not a class of cpu.classes"),
    ),
    (
        "E06",
        Text(
            "policy: {Active: balloons, ReservedResources: {CPU: 1}, balloons: {BalloonTypes: [{Name: a, CpuClass: b}]}}",
        ),
        Warned("policy.balloons.BalloonTypes[0].CpuClass: \"b\" is not a class of cpu.classes"),
    ),
    (
        "E07",
        Text("policy: {Active: balloons, ReservedResources: {CPU: 0}}"),
        Refused("policy.ReservedResources.CPU: is 0, policy balloons needs more"),
    ),
    (
        "E07",
        Text("policy: {Active: topology-aware, ReservedResources: {CPU: 0m}}"),
        Refused("policy topology-aware needs more"),
    ),
    ("E07", Text("policy: {Active: memtier, ReservedResources: {CPU: '0'}}"), Refused("policy memtier needs more")),
    ("E07", Text("policy: {Active: podpools, ReservedResources: {CPU: 0.0}}"), Refused("policy podpools needs more")),
    (
        "E07",
        Text("policy: {Active: dynamic-pools, ReservedResources: {cpu: 0}}"),
        Refused("policy dynamic-pools needs more"),
    ),
    (
        "E07",
        Text("policy: {Active: static}"),
        Refused("policy.ReservedResources.CPU: is missing, policy static needs it"),
    ),
    ("E07", Text("policy: {Active: static, ReservedResources: {CPU: 0}}"), Accepted),
    ("E07", Text("policy: {Active: static-plus, ReservedResources: {CPU: 0}}"), Accepted),
    ("E07", Text("policy: {Active: none, ReservedResources: {CPU: 0}}"), Accepted),
    (
        "E08",
        Text("policy: {Active: podpools, ReservedResources: {CPU: 1}, podpools: {Pools: [{Name: a, CPU: 2000m}]}}"),
        Refused("policy.podpools.Pools[0].CPU: must be a whole number"),
    ),
    (
        "E08",
        Text("policy: {Active: podpools, ReservedResources: {CPU: 1}, podpools: {Pools: [{Name: a, CPU: '2.0'}]}}"),
        Refused("policy.podpools.Pools[0].CPU: must be a whole number"),
    ),
    (
        "E08",
        Text("policy: {Active: podpools, ReservedResources: {CPU: 1}, podpools: {Pools: [{Name: a, CPU: 2}]}}"),
        Accepted,
    ),
    (
        "E08",
        Text(
            "policy: {Active: podpools, AvailableResources: {CPU: 0-3}, ReservedResources: {CPU: 1}, podpools: {Pools: [{Name: a, CPU: 2, Instances: 2}]}}",
        ),
        Refused("policy.podpools.Pools[0].CPU: must come to no more CPUs than are left"),
    ),
    (
        "E12",
        Text("rdt: {partitions: {a: {l3Allocation: 60%}, b: {l3Allocation: 50%}}}"),
        Refused("rdt.partitions: l3Allocation (unified, cache id all): all partitions together ask for 110%"),
    ),
    (
        "E12",
        Text("rdt: {partitions: {a: {classes: {x: {}}}, b: {classes: {x: {}}}}}"),
        Refused("rdt.partitions.b.classes.x: is a class of partition a, too"),
    ),
    (
        "E12",
        Text("rdt: {partitions: {c: {l3Allocation: '0xf0f'}}}"),
        Refused("rdt.partitions.c.l3Allocation: must be a share"),
    ),
    (
        "E12",
        Text("rdt: {partitions: {a: {l3Allocation: 60%, classes: {x: {l3Allocation: 100%}}}, b: {l3Allocation: 40%}}}"),
        Accepted,
    ),
    (
        "E13",
        Text("rdt: {partitions: {a: {l3Allocation: {0: 50%, 1: '0xf0'}}}}"),
        Given(r#"{"rdt":{"partitions":{"a":{"l3Allocation":{"0":"50%","1":"0xf0"}}}}}"#),
    ),
    (
        "E13",
        Text("rdt: {partitions: {a: {l3Allocation: 50%, classes: {x: {l3Allocation: {0: '0x0'}}}}}}"),
        Refused("rdt.partitions.a.classes.x.l3Allocation: must be a share"),
    ),
    (
        "E15",
        Change(
            "policy: {Active: balloons, AvailableResources: {CPU: 0-3}, ReservedResources: {CPU: 1}}",
            "policy: {Active: balloons, AvailableResources: {CPU: 0-7}, ReservedResources: {CPU: 1}}",
        ),
        Restart("policy balloons reads policy.AvailableResources at its start only"),
    ),
    (
        "E16",
        Text("policy: {Active: balloons, AvailableResources: {CPU: 0}, ReservedResources: {CPU: 1}}"),
        Refused("policy.AvailableResources.CPU: must be a list of CPUs"),
    ),
    ("E17", Text("\u{feff}policy:\n  Active: none\n"), Given(r#"{"policy":{"Active":"none"}}"#)),
    ("E17", Text("\u{feff}# ours\r\npolicy:\r\n  Active: none\r\n"), Given(r#"{"policy":{"Active":"none"}}"#)),
    ("E17", Text("%YAML 1.1\n---\npolicy: {Active: none}\n...\n"), Given(r#"{"policy":{"Active":"none"}}"#)),
    ("E17", Text("policy: {Active: none}\n\u{feff}cpu: {}"), Refused("is not one YAML document")),
    (
        "E17",
        Text(
            "policy: {Active: balloons, ReservedResources: {CPU: 010}, balloons: {BalloonTypes: [{Name: a, MaxCPUs: 010}]}}",
        ),
        Given(
            r#"{"policy":{"Active":"balloons","ReservedResources":{"CPU":8},"balloons":{"BalloonTypes":[{"MaxCPUs":8,"Name":"a"}]}}}"#,
        ),
    ),
    ("E17", Modules(&[("policy", "\u{feff}Active: none\r\n")]), Given(r#"{"policy":{"Active":"none"}}"#)),
    (
        "E18",
        Object(
            r#"{"cpu": {"classes": {"on": {}, "no": {}, "1e3": {}, "12:30": {}, "~": {}, "<<": {}, "010": {}}}, "policy": {"balloons": {"IdleCPUClass": "on"}}}"#,
        ),
        Given(
            r#"{"cpu":{"classes":{"010":{},"12:30":{},"1e3":{},"<<":{},"no":{},"on":{},"~":{}}},"policy":{"balloons":{"IdleCPUClass":"on"}}}"#,
        ),
    ),
    ("E19", Text("logger: {Debug: 'policy,cache,'}"), Accepted),
    ("E19", Text("logger: {Debug: 'enabled:policy,disabled:cache'}"), Accepted),
    ("E19", Text("dump: {Config: 'full:.*Create.*,.*Start.*'}"), Accepted),
    ("E19", Text("dump: {Config: 'verbose:.*'}"), Accepted),
    ("E19", Text("dump: {Config: 'off:.*,name:RunPodSandbox'}"), Accepted),
    ("E19", Text("instrumentation: {Sampling: Testing}"), Accepted),
    ("E19", Text("resource-manager: {control: {Controllers: {rdt: mandatory, cpu: disable}}}"), Accepted),
    ("E19", Text("blockio: {Classes: {a: [{Devices: [/dev/vda], ThrottleReadBps: 1Ti}]}}"), Accepted),
    (
        "E20",
        Text("cpu: {classes: {a: {minFreq: 2000000, maxFreq: 1500000}}}"),
        Refused("cpu.classes.a.minFreq: must not be more than maxFreq"),
    ),
    (
        "E21",
        Modules(&[
            (
                "policy",
                "Active: topology-aware\nAvailableResources:\n  cpu: cpuset:0-7\nReservedResources:\n  cpu: cpuset:0-1\nstatic-pools:\n  pools: {a: {cpuLists: [{Cpuset: '2,3', Socket: 0}], exclusive: true}}\n",
            ),
            (
                "rdt",
                "options: {mode: Full, l3: {optional: true}}\npartitions:\n  a: {l3Allocation: 60%, mbAllocation: [100%], classes: {Guaranteed: {l3Allocation: 100%}}}\n  b: {l3Allocation: 40%, mbAllocation: [50%]}\n",
            ),
        ]),
        Accepted,
    ),
    (
        "E23",
        Text("policy: {Active: balloons, AvailableResources: {CPU: 0-3}, ReservedResources: {CPU: 'cpuset:3-4'}}"),
        Warned("policy.ReservedResources.CPU: these are not among the available CPUs, and are not reserved: 4"),
    ),
    (
        "E23",
        Text("policy: {Active: balloons, AvailableResources: {CPU: 0-3}, ReservedResources: {CPU: 'cpuset:4'}}"),
        Refused("policy.ReservedResources.CPU: must be among the available CPUs, these are not: 4"),
    ),
    (
        "E23",
        Text(
            "policy: {Active: topology-aware, AvailableResources: {CPU: 0-3}, ReservedResources: {CPU: 'cpuset:3-4'}}",
        ),
        Refused("policy.ReservedResources.CPU: must be among the available CPUs, these are not: 4"),
    ),
    ("E26", Text("cpu: {classes: {1: {maxFreq: 1}}}"), Given(r#"{"cpu":{"classes":{"1":{"maxFreq":1}}}}"#)),
];
