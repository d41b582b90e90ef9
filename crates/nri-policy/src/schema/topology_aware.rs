//! The topology-aware policy: pkg/apis/config/v1alpha1/resmgr/policy/topologyaware of nri-plugins v0.14.0.

use super::shared::{
    AGENT, CONTROL, CONTROLLABLE_INTERRUPTS, CPU_CLASSES, GLOBS, INSTRUMENTATION, LOG, RESOURCES, SCHEDULING_CLASSES,
};
use super::{ANY, Default, Field, Schema, Words, defaulted, field, required, text};

pub(crate) const TOPOLOGY_AWARE: &[Field] = &[
    AGENT,
    field("availableResources", RESOURCES),
    field("colocateNamespaces", Schema::Bool),
    field("colocatePods", Schema::Bool),
    CONTROL,
    CONTROLLABLE_INTERRUPTS,
    CPU_CLASSES,
    defaulted("defaultCPUPriority", text(Words::Enum(&["high", "normal", "low", "none"])), Default::Text("none")),
    field("defaultExclusiveCPUClass", ANY),
    INSTRUMENTATION,
    LOG,
    field("namespaceSchedulingClasses", Schema::Map(&ANY)),
    defaulted("pinCPU", Schema::Bool, Default::Bool(true)),
    defaulted("pinMemory", Schema::Bool, Default::Bool(true)),
    field("podQoSSchedulingClasses", Schema::Map(&ANY)),
    defaulted("preferIsolatedCPUs", Schema::Bool, Default::Bool(true)),
    field("preferSharedCPUs", Schema::Bool),
    field("reservedPoolCPUClass", ANY),
    field("reservedPoolNamespaces", GLOBS),
    required("reservedResources", RESOURCES),
    SCHEDULING_CLASSES,
    field("sharedPoolCPUClass", ANY),
    defaulted(
        "unlimitedBurstable",
        text(Words::Enum(&["system", "package", "die", "numa", "l3cache"])),
        Default::Text("package"),
    ),
];
