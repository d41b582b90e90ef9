//! NRI's messages, with the fields that are sent or looked at (github.com/containerd/nri v0.12.2, pkg/api/api.proto; the
//! same numbers in v0.11.0). Other fields of a plugin's answer are skipped.

use std::collections::BTreeMap;

/// Service of a plugin.
pub(crate) const PLUGIN: &str = "nri.pkg.api.v1alpha1.Plugin";
/// Service of the runtime.
pub(crate) const RUNTIME: &str = "nri.pkg.api.v1alpha1.Runtime";

/// `Event`: what a plugin may subscribe to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    RunPod = 1,
    StopPod = 2,
    RemovePod = 3,
    CreateContainer = 4,
    StartContainer = 6,
    UpdateContainer = 8,
    StopContainer = 10,
    RemoveContainer = 11,
}

impl Event {
    /// Whether a plugin's mask of events has it: bit 0 is event 1. An empty mask is all (pkg/adaptation/plugin.go,
    /// configure).
    pub(crate) fn is_in(self, mask: i32) -> bool {
        mask == 0 || mask & (1 << (self as i32 - 1)) != 0
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Empty {}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct RegisterPluginRequest {
    #[prost(string, tag = "1")]
    pub(crate) plugin_name: String,
    #[prost(string, tag = "2")]
    pub(crate) plugin_idx: String,
    #[prost(string, tag = "3")]
    pub(crate) nri_version: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct UpdateContainersRequest {
    #[prost(message, repeated, tag = "1")]
    pub(crate) update: Vec<ContainerUpdate>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct UpdateContainersResponse {
    #[prost(message, repeated, tag = "1")]
    pub(crate) failed: Vec<ContainerUpdate>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ConfigureRequest {
    #[prost(string, tag = "1")]
    pub(crate) config: String,
    #[prost(string, tag = "2")]
    pub(crate) runtime_name: String,
    #[prost(string, tag = "3")]
    pub(crate) runtime_version: String,
    /// Milliseconds.
    #[prost(int64, tag = "4")]
    pub(crate) registration_timeout: i64,
    /// Milliseconds.
    #[prost(int64, tag = "5")]
    pub(crate) request_timeout: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ConfigureResponse {
    #[prost(int32, tag = "2")]
    pub(crate) events: i32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SynchronizeRequest {
    #[prost(message, repeated, tag = "1")]
    pub(crate) pods: Vec<PodSandbox>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) containers: Vec<Container>,
    #[prost(bool, tag = "3")]
    pub(crate) more: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct SynchronizeResponse {
    #[prost(message, repeated, tag = "1")]
    pub(crate) update: Vec<ContainerUpdate>,
    #[prost(bool, tag = "2")]
    pub(crate) more: bool,
}

/// `CreateContainerRequest` and `StopContainerRequest`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ContainerRequest {
    #[prost(message, optional, tag = "1")]
    pub(crate) pod: Option<PodSandbox>,
    #[prost(message, optional, tag = "2")]
    pub(crate) container: Option<Container>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct CreateContainerResponse {
    #[prost(message, optional, tag = "1")]
    pub(crate) adjust: Option<ContainerAdjustment>,
    #[prost(message, repeated, tag = "2")]
    pub(crate) update: Vec<ContainerUpdate>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct UpdateContainerRequest {
    #[prost(message, optional, tag = "1")]
    pub(crate) pod: Option<PodSandbox>,
    #[prost(message, optional, tag = "2")]
    pub(crate) container: Option<Container>,
    #[prost(message, optional, tag = "3")]
    pub(crate) linux_resources: Option<LinuxResources>,
}

/// `UpdateContainerResponse` and `StopContainerResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct UpdatesResponse {
    #[prost(message, repeated, tag = "1")]
    pub(crate) update: Vec<ContainerUpdate>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StateChangeEvent {
    #[prost(int32, tag = "1")]
    pub(crate) event: i32,
    #[prost(message, optional, tag = "2")]
    pub(crate) pod: Option<PodSandbox>,
    #[prost(message, optional, tag = "3")]
    pub(crate) container: Option<Container>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct PodSandbox {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(string, tag = "2")]
    pub(crate) name: String,
    #[prost(string, tag = "3")]
    pub(crate) uid: String,
    #[prost(string, tag = "4")]
    pub(crate) namespace: String,
    #[prost(btree_map = "string, string", tag = "5")]
    pub(crate) labels: BTreeMap<String, String>,
    #[prost(btree_map = "string, string", tag = "6")]
    pub(crate) annotations: BTreeMap<String, String>,
    #[prost(message, optional, tag = "8")]
    pub(crate) linux: Option<LinuxPodSandbox>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct LinuxPodSandbox {
    #[prost(string, tag = "3")]
    pub(crate) cgroup_parent: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Container {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(string, tag = "2")]
    pub(crate) pod_sandbox_id: String,
    #[prost(string, tag = "3")]
    pub(crate) name: String,
    /// `ContainerState`: 0 unknown, 1 created, 3 running, 4 stopped.
    #[prost(int32, tag = "4")]
    pub(crate) state: i32,
    #[prost(btree_map = "string, string", tag = "5")]
    pub(crate) labels: BTreeMap<String, String>,
    #[prost(btree_map = "string, string", tag = "6")]
    pub(crate) annotations: BTreeMap<String, String>,
    #[prost(message, optional, tag = "11")]
    pub(crate) linux: Option<LinuxContainer>,
    /// Nanoseconds since 1970.
    #[prost(int64, tag = "14")]
    pub(crate) created_at: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct LinuxContainer {
    #[prost(message, optional, tag = "3")]
    pub(crate) resources: Option<LinuxResources>,
    #[prost(message, optional, tag = "4")]
    pub(crate) oom_score_adj: Option<OptionalInt64>,
    #[prost(string, tag = "5")]
    pub(crate) cgroups_path: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Mount {
    #[prost(string, tag = "1")]
    pub(crate) destination: String,
    #[prost(string, tag = "3")]
    pub(crate) source: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct LinuxResources {
    #[prost(message, optional, tag = "1")]
    pub(crate) memory: Option<LinuxMemory>,
    #[prost(message, optional, tag = "2")]
    pub(crate) cpu: Option<LinuxCpu>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct LinuxMemory {
    #[prost(message, optional, tag = "1")]
    pub(crate) limit: Option<OptionalInt64>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct LinuxCpu {
    #[prost(message, optional, tag = "1")]
    pub(crate) shares: Option<OptionalUInt64>,
    #[prost(message, optional, tag = "2")]
    pub(crate) quota: Option<OptionalInt64>,
    #[prost(message, optional, tag = "3")]
    pub(crate) period: Option<OptionalUInt64>,
    #[prost(string, tag = "6")]
    pub(crate) cpus: String,
    #[prost(string, tag = "7")]
    pub(crate) mems: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ContainerAdjustment {
    #[prost(message, repeated, tag = "3")]
    pub(crate) mounts: Vec<Mount>,
    #[prost(message, optional, tag = "6")]
    pub(crate) linux: Option<LinuxContainerAdjustment>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct LinuxContainerAdjustment {
    #[prost(message, optional, tag = "2")]
    pub(crate) resources: Option<LinuxResources>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ContainerUpdate {
    #[prost(string, tag = "1")]
    pub(crate) container_id: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) linux: Option<LinuxContainerUpdate>,
    #[prost(bool, tag = "3")]
    pub(crate) ignore_failure: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct LinuxContainerUpdate {
    #[prost(message, optional, tag = "1")]
    pub(crate) resources: Option<LinuxResources>,
}

/// `OptionalInt` and `OptionalInt64`.
#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct OptionalInt64 {
    #[prost(int64, tag = "1")]
    pub(crate) value: i64,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(crate) struct OptionalUInt64 {
    #[prost(uint64, tag = "1")]
    pub(crate) value: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_bits_from_zero_on() {
        // What nri-plugins v0.14.0 subscribe to.
        let mask = 0b110_1010_1111;
        for event in [
            Event::RunPod,
            Event::StopPod,
            Event::RemovePod,
            Event::CreateContainer,
            Event::StartContainer,
            Event::UpdateContainer,
            Event::StopContainer,
            Event::RemoveContainer,
        ] {
            assert!(event.is_in(mask), "{event:?}");
            assert!(event.is_in(0), "no mask is all");
            assert!(!event.is_in(1 << 4), "{event:?} is not PostCreateContainer");
        }
        assert!(!Event::RunPod.is_in(0b10));
    }
}
