//! The tree of modules and keys that the daemon knows, with the kind of each value.

use super::{cpus, number, quantity, rdt, value};

/// What a value must be.
pub(crate) enum Kind {
    Bool,
    /// Any text.
    Text,
    /// A text; a bare number is taken for one, as the daemon does.
    TextOrNumber,
    /// A whole number within bounds.
    Integer(i64, i64),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// One of these words in any letter case.
    Word(&'static [&'static str]),
    /// A list, each item of this kind.
    List(&'static Kind),
    /// A map with free keys, each value of this kind.
    Map(&'static Kind),
    /// A module: a map with exactly these keys allowed.
    Object(&'static [Field]),
    /// A map with these keys allowed, in any letter case: the daemon compares keys exactly in modules, and here without regard to case.
    Struct(&'static [Field]),
    /// A value with a grammar of its own: the test, and what is allowed.
    Checked(fn(&serde_json::Value) -> bool, &'static str),
}

pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
}

const fn field(name: &'static str, kind: Kind) -> Field {
    Field { name, kind }
}

/// Policies that the daemon has.
pub(crate) const POLICIES: &[&str] = &[
    "none",
    "static",
    "static-plus",
    "static-pools",
    "podpools",
    "topology-aware",
    "memtier",
    "balloons",
    "dynamic-pools",
];

const COUNT: Kind = Kind::Integer(0, i32::MAX as i64);
const KHZ: Kind = Kind::Integer(0, u32::MAX as i64);
const TEXTS: Kind = Kind::List(&Kind::Text);
const PRIORITY: Kind = Kind::Integer(0, 3);
const DURATION: Kind = Kind::Checked(value::is_duration_value, "a duration such as 10s or 1m30s");

/// Top-level keys.
pub(crate) const MODULES: &[Field] = &[
    field("policy", Kind::Object(POLICY)),
    field("rdt", Kind::Object(RDT)),
    field("blockio", Kind::Object(&[field("Classes", Kind::Map(&Kind::List(&Kind::Struct(BLOCK_DEVICES))))])),
    field("cpu", Kind::Object(&[field("classes", Kind::Map(&Kind::Struct(CPU_CLASS)))])),
    field("logger", Kind::Object(LOGGER)),
    field("dump", Kind::Object(DUMP)),
    field("instrumentation", Kind::Object(INSTRUMENTATION)),
    field("resource-manager", Kind::Object(&[field("control", Kind::Object(CONTROL))])),
];

const POLICY: &[Field] = &[
    field("Active", Kind::OneOf(POLICIES)),
    field("AvailableResources", Kind::Checked(cpus::is_constraint_set, cpus::CONSTRAINT_SET)),
    field("ReservedResources", Kind::Checked(cpus::is_constraint_set, cpus::CONSTRAINT_SET)),
    field("static", Kind::Object(STATIC)),
    field("static-pools", Kind::Object(STATIC_POOLS)),
    field("topology-aware", Kind::Object(TOPOLOGY_AWARE)),
    field("memtier", Kind::Object(TOPOLOGY_AWARE)),
    field("balloons", Kind::Object(BALLOONS)),
    field("podpools", Kind::Object(PODPOOLS)),
    field("dynamic-pools", Kind::Object(DYNAMIC_POOLS)),
];

const STATIC: &[Field] =
    &[field("RelaxedIsolation", Kind::Bool), field("Rdt", Kind::Checked(value::is_tristate, "true, false, auto"))];

const STATIC_POOLS: &[Field] = &[
    field("pools", Kind::Map(&Kind::Struct(STATIC_POOL))),
    field("ConfDirPath", Kind::Text),
    field("ConfFilePath", Kind::Text),
    field("LabelNode", Kind::Bool),
    field("TaintNode", Kind::Bool),
];
const STATIC_POOL: &[Field] = &[field("exclusive", Kind::Bool), field("cpuLists", Kind::List(&Kind::Struct(CPU_LIST)))];
const CPU_LIST: &[Field] =
    &[field("Socket", COUNT), field("Cpuset", Kind::Checked(cpus::is_cpuset_value, "a list of CPUs such as 0-3,8"))];

const TOPOLOGY_AWARE: &[Field] = &[
    field("PinCPU", Kind::Bool),
    field("PinMemory", Kind::Bool),
    field("PreferIsolatedCPUs", Kind::Bool),
    field("PreferSharedCPUs", Kind::Bool),
    field("ReservedPoolNamespaces", TEXTS),
    field("ColocatePods", Kind::Bool),
    field("ColocateNamespaces", Kind::Bool),
];

const BALLOONS: &[Field] = &[
    field("PinCPU", Kind::Bool),
    field("PinMemory", Kind::Bool),
    field("IdleCPUClass", Kind::Text),
    field("ReservedPoolNamespaces", TEXTS),
    field("AllocatorTopologyBalancing", Kind::Bool),
    field("PreferSpreadOnPhysicalCores", Kind::Bool),
    field("BalloonTypes", Kind::List(&Kind::Struct(BALLOON_TYPE))),
];
const BALLOON_TYPE: &[Field] = &[
    field("Name", Kind::Text),
    field("Namespaces", TEXTS),
    field("MinCPUs", COUNT),
    field("MaxCPUs", COUNT),
    field("MinBalloons", COUNT),
    field("MaxBalloons", COUNT),
    field("AllocatorPriority", PRIORITY),
    field("CpuClass", Kind::Text),
    field("PreferSpreadingPods", Kind::Bool),
    field("PreferPerNamespaceBalloon", Kind::Bool),
    field("PreferNewBalloons", Kind::Bool),
    field("PreferSpreadOnPhysicalCores", Kind::Bool),
    field("AllocatorTopologyBalancing", Kind::Bool),
    field("ShareIdleCPUsInSame", Kind::Word(&["system", "package", "die", "numa", "core", "thread"])),
];

const PODPOOLS: &[Field] =
    &[field("PinCPU", Kind::Bool), field("PinMemory", Kind::Bool), field("Pools", Kind::List(&Kind::Struct(POD_POOL)))];
const POD_POOL: &[Field] = &[
    field("Name", Kind::Text),
    field("CPU", Kind::Checked(number::is_positive, "a whole number of CPUs from 1, without a unit")),
    field("MaxPods", Kind::Integer(-1, i32::MAX as i64)),
    field("Instances", Kind::Checked(value::is_instances, "a number, \"N CPUs\" or \"N %\"")),
    field("FillOrder", Kind::OneOf(&["Balanced", "Packed", "FirstFree"])),
];

const DYNAMIC_POOLS: &[Field] = &[
    field("PinCPU", Kind::Bool),
    field("PinMemory", Kind::Bool),
    field("ReservedPoolNamespaces", TEXTS),
    field("DynamicPoolTypes", Kind::List(&Kind::Struct(DYNAMIC_POOL_TYPE))),
];
const DYNAMIC_POOL_TYPE: &[Field] = &[
    field("Name", Kind::Text),
    field("Namespaces", TEXTS),
    field("CpuClass", Kind::Text),
    field("AllocatorPriority", PRIORITY),
];

const RDT: &[Field] =
    &[field("options", Kind::Struct(RDT_OPTIONS)), field("partitions", Kind::Map(&Kind::Struct(RDT_PARTITION)))];
const RDT_OPTIONS: &[Field] = &[
    field("mode", Kind::OneOf(&["Full", "Discovery", "Disabled"])),
    field("monitoringDisabled", Kind::Bool),
    field("l2", OPTIONAL),
    field("l3", OPTIONAL),
    field("mb", OPTIONAL),
];
const OPTIONAL: Kind = Kind::Struct(&[field("optional", Kind::Bool)]);
const CACHE: Kind = Kind::Checked(rdt::is_cache_allocation, rdt::CACHE_ALLOCATION);
const BANDWIDTH: Kind = Kind::Checked(rdt::is_bandwidth_allocation, rdt::BANDWIDTH_ALLOCATION);
const RDT_PARTITION: &[Field] = &[
    field("l2Allocation", CACHE),
    field("l3Allocation", CACHE),
    field("mbAllocation", BANDWIDTH),
    field("classes", Kind::Map(&Kind::Struct(RDT_CLASS))),
];
const RDT_CLASS: &[Field] = &[
    field("l2Allocation", CACHE),
    field("l3Allocation", CACHE),
    field("mbAllocation", BANDWIDTH),
    field(
        "kubernetes",
        Kind::Struct(&[field("denyPodAnnotation", Kind::Bool), field("denyContainerAnnotation", Kind::Bool)]),
    ),
];

const BLOCK_DEVICES: &[Field] = &[
    field("Devices", TEXTS),
    field("ThrottleReadBps", BYTES),
    field("ThrottleWriteBps", BYTES),
    field("ThrottleReadIOPS", BYTES),
    field("ThrottleWriteIOPS", BYTES),
    field("Weight", Kind::Checked(quantity::is_weight, "a number from 10 to 1000")),
];
const BYTES: Kind = Kind::Checked(quantity::is_quantity, "a quantity such as 50M, 1Ti or 1000");

const CPU_CLASS: &[Field] = &[
    field("minFreq", KHZ),
    field("maxFreq", KHZ),
    field("energyPerformancePreference", KHZ),
    field("uncoreMinFreq", KHZ),
    field("uncoreMaxFreq", KHZ),
];

const LOGGER: &[Field] = &[
    field("Debug", Kind::Checked(value::is_debug, "a text such as \"on:policy,off:cache\"")),
    field("LogSource", Kind::Bool),
    field("Klog", Kind::Map(&Kind::TextOrNumber)),
];
const DUMP: &[Field] = &[
    field("Debug", Kind::Bool),
    field("Disabled", Kind::Bool),
    field("File", Kind::Text),
    field(
        "Config",
        Kind::Checked(value::is_dump, "a list of regular expressions such as \"full:.*,short:.*Stop.*,off:.*List.*\""),
    ),
];
const INSTRUMENTATION: &[Field] = &[
    field("HTTPEndpoint", Kind::Text),
    field("PrometheusExport", Kind::Bool),
    field("Sampling", Kind::Checked(value::is_sampling, "disabled, production, testing or a number from 0 to 1")),
    field(
        "ReportPeriod",
        Kind::Checked(value::is_nanoseconds, "a whole number of nanoseconds, such as 15000000000 for 15 s"),
    ),
    field("JaegerCollector", Kind::Text),
    field("JaegerAgent", Kind::Text),
];

const CONTROLLER_STATE: Kind = Kind::Word(&["disabled", "disable", "required", "mandatory", "optional", "relaxed"]);
const CONTROL: &[Field] = &[
    field(
        "Controllers",
        Kind::Object(&[
            field("cpu", CONTROLLER_STATE),
            field("cri", CONTROLLER_STATE),
            field("rdt", CONTROLLER_STATE),
            field("blockio", CONTROLLER_STATE),
            field("memory", CONTROLLER_STATE),
            field("page-migration", CONTROLLER_STATE),
        ]),
    ),
    field(
        "page-migration",
        Kind::Object(&[
            field("PageScanInterval", DURATION),
            field("PageMoveInterval", DURATION),
            field("MaxPageMoveCount", COUNT),
        ]),
    ),
];
