//! The balloons policy: pkg/apis/config/v1alpha1/resmgr/policy/balloons of nri-plugins v0.14.0.

use super::shared::{
    AGENT, CONTROL, CONTROLLABLE_INTERRUPTS, CPU_CLASSES, EXPRESSIONS, GLOB, GLOBS, INSTRUMENTATION, LOG, RESOURCES,
    SCHEDULING_CLASSES, TEXTS,
};
use super::{ANY, Default, Field, Schema, Words, defaulted, field, integer, list, required, set, text};
use crate::limits;

/// CPUs, or balloons. A negative number loads, and then refuses every container.
const COUNT: Schema = integer(0, limits::CPUS as i64);

pub(crate) const BALLOONS: &[Field] = &[
    AGENT,
    field("allocatorTopologyBalancing", Schema::Bool),
    field("availableResources", RESOURCES),
    field("balloonTypes", list(&Schema::Object(BALLOON_TYPE))),
    CONTROL,
    CONTROLLABLE_INTERRUPTS,
    CPU_CLASSES,
    field("idleCPUClass", ANY),
    INSTRUMENTATION,
    field(
        "loadClasses",
        list(&Schema::Object(&[
            required("level", text(Words::Enum(&["l2cache", "core"]))),
            required("name", ANY),
            field("overloadsLevelInBalloon", Schema::Bool),
        ])),
    ),
    LOG,
    defaulted("pinCPU", Schema::Bool, Default::Bool(true)),
    defaulted("pinMemory", Schema::Bool, Default::Bool(true)),
    field("preferSpreadOnPhysicalCores", Schema::Bool),
    field("preserve", Schema::Object(&[EXPRESSIONS])),
    field("reservedPoolNamespaces", GLOBS),
    required("reservedResources", RESOURCES),
    SCHEDULING_CLASSES,
    field("showContainersInNrt", Schema::Bool),
    defaulted("turboDomain", text(Words::Enum(&["package", "system"])), Default::Text("package")),
];

const BALLOON_TYPE: &[Field] = &[
    defaulted("allocatorPriority", text(Words::Enum(&["high", "normal", "low", "none"])), Default::Text("high")),
    field("allocatorTopologyBalancing", Schema::Bool),
    field("componentCreation", text(Words::Enum(&["", "all", "balance-balloons"]))),
    field("components", list(&Schema::Object(&[required("balloonType", ANY)]))),
    field("cpuClass", ANY),
    field("groupBy", ANY),
    field("hideHyperthreads", Schema::Bool),
    field("irqClaim", list(&GLOB)),
    field("irqMode", text(Words::Binary(&["", "sink", "isolate"]))),
    field("loads", set(&ANY)),
    EXPRESSIONS,
    field("maxBalloons", COUNT),
    field("maxCPUs", COUNT),
    field("memoryTypes", set(&text(Words::Rule(&["DRAM", "HBM", "PMEM"])))),
    field("minBalloons", COUNT),
    field("minCPUs", COUNT),
    required("name", ANY),
    field("namespaces", GLOBS),
    field("pinMemory", Schema::Bool),
    field("preferCloseToDevices", TEXTS),
    field("preferCoreType", text(Words::Enum(&["efficient", "performance"]))),
    defaulted("preferIsolCpus", Schema::Bool, Default::Bool(false)),
    field("preferNewBalloons", Schema::Bool),
    field("preferPerNamespaceBalloon", Schema::Bool),
    field("preferSpreadOnPhysicalCores", Schema::Bool),
    field("preferSpreadingPods", Schema::Bool),
    field("schedulingClass", ANY),
    field(
        "shareIdleCPUsInSame",
        text(Words::Enum(&["", "system", "package", "die", "numa", "l2cache", "core", "thread"])),
    ),
    field("showContainersInNrt", Schema::Bool),
];
