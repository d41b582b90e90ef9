//! What the rules look at, read from a spec that the schema allows.

use std::collections::BTreeMap;

use serde::Deserialize;

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Spec {
    pub(crate) agent: Agent,
    pub(crate) available_resources: BTreeMap<String, String>,
    pub(crate) balloon_types: Vec<BalloonType>,
    pub(crate) control: Control,
    pub(crate) cpu_classes: Vec<CpuClass>,
    #[serde(rename = "defaultExclusiveCPUClass")]
    pub(crate) default_exclusive_cpu_class: String,
    #[serde(rename = "idleCPUClass")]
    pub(crate) idle_cpu_class: String,
    pub(crate) instrumentation: Instrumentation,
    pub(crate) load_classes: Vec<LoadClass>,
    pub(crate) log: Log,
    pub(crate) namespace_scheduling_classes: BTreeMap<String, String>,
    #[serde(rename = "pinCPU")]
    pub(crate) pin_cpu: bool,
    pub(crate) pin_memory: bool,
    #[serde(rename = "podQoSSchedulingClasses")]
    pub(crate) pod_qos_scheduling_classes: BTreeMap<String, String>,
    pub(crate) preserve: Preserve,
    #[serde(rename = "reservedPoolCPUClass")]
    pub(crate) reserved_pool_cpu_class: String,
    pub(crate) reserved_resources: BTreeMap<String, String>,
    pub(crate) scheduling_classes: Vec<SchedulingClass>,
    #[serde(rename = "sharedPoolCPUClass")]
    pub(crate) shared_pool_cpu_class: String,
    pub(crate) show_containers_in_nrt: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Agent {
    #[serde(rename = "podResourceAPI")]
    pub(crate) pod_resource_api: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Control {
    pub(crate) blockio: BlockIo,
    pub(crate) cpu: OldCpuClasses,
    pub(crate) rdt: Rdt,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct BlockIo {
    pub(crate) enable: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct OldCpuClasses {
    pub(crate) classes: BTreeMap<String, OldCpuClass>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct OldCpuClass {
    #[serde(rename = "maxFreq")]
    pub(crate) highest: u64,
    #[serde(rename = "minFreq")]
    pub(crate) lowest: u64,
    #[serde(rename = "uncoreMaxFreq")]
    pub(crate) uncore_highest: u64,
    #[serde(rename = "uncoreMinFreq")]
    pub(crate) uncore_lowest: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Rdt {
    pub(crate) enable: bool,
    pub(crate) partitions: BTreeMap<String, RdtPartition>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RdtPartition {
    pub(crate) classes: BTreeMap<String, RdtClass>,
    #[serde(flatten)]
    pub(crate) caches: RdtClass,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct RdtClass {
    pub(crate) l2_allocation: BTreeMap<String, CacheShare>,
    pub(crate) l3_allocation: BTreeMap<String, CacheShare>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct CacheShare {
    pub(crate) code: Option<String>,
    pub(crate) data: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Instrumentation {
    pub(crate) http_endpoint: String,
    pub(crate) log_exporter: String,
    pub(crate) metrics_exporter: String,
    pub(crate) prometheus_export: bool,
    pub(crate) tracing_collector: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Log {
    pub(crate) klog: Klog,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Klog {
    pub(crate) log_dir: Option<String>,
    pub(crate) log_file: Option<String>,
    pub(crate) logtostderr: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Preserve {
    pub(crate) match_expressions: Vec<Expression>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Expression {
    pub(crate) key: String,
    pub(crate) operator: String,
    pub(crate) values: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct LoadClass {
    pub(crate) name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct CpuClass {
    pub(crate) max_freq: String,
    pub(crate) min_freq: String,
    pub(crate) name: String,
    pub(crate) pct_max_freq: String,
    pub(crate) pct_min_freq: String,
    pub(crate) pct_priority: String,
    pub(crate) publish_extended_resource: bool,
    #[serde(rename = "sstClosID")]
    pub(crate) sst_clos_id: Option<u64>,
    pub(crate) uncore_max_freq: String,
    pub(crate) uncore_min_freq: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct SchedulingClass {
    pub(crate) deadline: u64,
    pub(crate) name: String,
    pub(crate) period: u64,
    pub(crate) policy: String,
    pub(crate) priority: u64,
    pub(crate) runtime: u64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct BalloonType {
    pub(crate) allocator_topology_balancing: Option<bool>,
    pub(crate) component_creation: String,
    pub(crate) components: Vec<Component>,
    pub(crate) cpu_class: String,
    pub(crate) group_by: String,
    pub(crate) loads: Vec<String>,
    pub(crate) match_expressions: Vec<Expression>,
    pub(crate) max_balloons: u64,
    #[serde(rename = "maxCPUs")]
    pub(crate) max_cpus: u64,
    pub(crate) min_balloons: u64,
    #[serde(rename = "minCPUs")]
    pub(crate) min_cpus: u64,
    pub(crate) name: String,
    pub(crate) namespaces: Vec<String>,
    pub(crate) prefer_close_to_devices: Vec<String>,
    pub(crate) prefer_core_type: String,
    pub(crate) prefer_isol_cpus: bool,
    pub(crate) prefer_spread_on_physical_cores: Option<bool>,
    pub(crate) scheduling_class: String,
    #[serde(rename = "shareIdleCPUsInSame")]
    pub(crate) share_idle_cpus_in_same: String,
    pub(crate) show_containers_in_nrt: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Component {
    pub(crate) balloon_type: String,
}
