//! `runtime.v1.RuntimeService`: containers, what they were made with, and changes of their resources.

use std::collections::HashMap;
use std::time::Duration;

use serde::Deserialize;

use crate::error::{CriError, Phase};
use crate::runtime::RuntimeClient;

const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
const POD_NAME: &str = "io.kubernetes.pod.name";
const CONTAINER_NAME: &str = "io.kubernetes.container.name";

/// What a container does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContainerState {
    /// Made, not started.
    Created,
    /// Runs.
    Running,
    /// At its end.
    Exited,
    /// The runtime does not know.
    Unknown,
}

/// A container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerInfo {
    /// Its id.
    pub id: String,
    /// `NAMESPACE/POD/NAME` by kubelet's labels; parts that are missing are empty.
    pub name: String,
    /// What it does.
    pub state: ContainerState,
}

/// What the runtime has written down of a container; `None` where it does not say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerRecord {
    /// Shares of CPU time that kubelet asked for when it was made, 1024 for a whole CPU.
    pub asked_shares: Option<u64>,
    /// CPUs of its specification, which plugins and updates have changed, as the kernel lists them; empty: all.
    pub cpus: String,
    /// Memory nodes, likewise.
    pub mems: String,
    /// Where its control group is (`linux.cgroupsPath` of its specification).
    pub cgroups_path: Option<String>,
}

/// Resources of a container that are to change; what is `None` stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResourceUpdate {
    /// Shares of CPU time.
    pub cpu_shares: Option<u64>,
    /// CPUs, as the kernel lists them.
    pub cpus: Option<String>,
    /// Memory nodes, likewise.
    pub mems: Option<String>,
}

impl RuntimeClient {
    /// All containers, in the runtime's order; sandboxes are none.
    pub async fn containers(&self, limit: Duration) -> Result<Vec<ContainerInfo>, CriError> {
        let reply: ListContainersResponse = self
            .connection
            .call(Phase::ListContainers, "/runtime.v1.RuntimeService/ListContainers", ListContainersRequest {}, limit)
            .await?;
        Ok(reply.containers.into_iter().map(ContainerInfo::from).collect())
    }

    /// What the runtime has written down of a container. Its own texts are read (`verbose`), in the form of containerd 1.7 and later.
    pub async fn record(&self, id: &str, limit: Duration) -> Result<ContainerRecord, CriError> {
        let request = ContainerStatusRequest { container_id: id.to_owned(), verbose: true };
        let reply: ContainerStatusResponse = self
            .connection
            .call(Phase::ContainerStatus, "/runtime.v1.RuntimeService/ContainerStatus", request, limit)
            .await?;
        Ok(ContainerRecord::of(reply.info.get("info").map_or("", String::as_str)))
    }

    /// Changes resources of a container.
    pub async fn update(&self, id: &str, update: ResourceUpdate, limit: Duration) -> Result<(), CriError> {
        let resources = LinuxContainerResources {
            cpu_shares: update.cpu_shares.and_then(|shares| i64::try_from(shares).ok()).unwrap_or_default(),
            cpuset_cpus: update.cpus.unwrap_or_default(),
            cpuset_mems: update.mems.unwrap_or_default(),
        };
        let request = UpdateContainerResourcesRequest { container_id: id.to_owned(), linux: Some(resources) };
        let path = "/runtime.v1.RuntimeService/UpdateContainerResources";
        let _: UpdateContainerResourcesResponse =
            self.connection.call(Phase::UpdateContainerResources, path, request, limit).await?;
        Ok(())
    }
}

impl ContainerRecord {
    /// Reads containerd's verbose information, a JSON text; one that is another's says nothing.
    fn of(info: &str) -> Self {
        let info: Info = serde_json::from_str(info).unwrap_or_default();
        let asked = info.config.and_then(|config| config.linux).and_then(|linux| linux.resources);
        let asked_shares = asked.and_then(|asked| u64::try_from(asked.cpu_shares).ok()).filter(|shares| *shares > 0);
        let Some(linux) = info.runtime_spec.and_then(|spec| spec.linux) else {
            return Self { asked_shares, ..Self::default() };
        };
        let cpu = linux.resources.and_then(|resources| resources.cpu).unwrap_or_default();
        let cgroups_path = Some(linux.cgroups_path).filter(|path| !path.is_empty());
        Self { asked_shares, cpus: cpu.cpus, mems: cpu.mems, cgroups_path }
    }
}

#[derive(Default, Deserialize)]
struct Info {
    config: Option<InfoConfig>,
    #[serde(rename = "runtimeSpec")]
    runtime_spec: Option<InfoSpec>,
}

#[derive(Deserialize)]
struct InfoConfig {
    linux: Option<InfoLinux>,
}

#[derive(Deserialize)]
struct InfoLinux {
    resources: Option<InfoResources>,
}

#[derive(Deserialize)]
struct InfoResources {
    #[serde(default)]
    cpu_shares: i64,
}

#[derive(Deserialize)]
struct InfoSpec {
    linux: Option<InfoSpecLinux>,
}

#[derive(Deserialize)]
struct InfoSpecLinux {
    #[serde(default, rename = "cgroupsPath")]
    cgroups_path: String,
    resources: Option<InfoSpecResources>,
}

#[derive(Deserialize)]
struct InfoSpecResources {
    cpu: Option<InfoSpecCpu>,
}

#[derive(Default, Deserialize)]
struct InfoSpecCpu {
    #[serde(default)]
    cpus: String,
    #[serde(default)]
    mems: String,
}

impl From<Container> for ContainerInfo {
    fn from(container: Container) -> Self {
        let label = |name: &str| container.labels.get(name).map_or("", String::as_str);
        let name = format!("{}/{}/{}", label(POD_NAMESPACE), label(POD_NAME), label(CONTAINER_NAME));
        let state = match container.state {
            0 => ContainerState::Created,
            1 => ContainerState::Running,
            2 => ContainerState::Exited,
            _ => ContainerState::Unknown,
        };
        Self { id: container.id, name, state }
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ListContainersRequest {}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ListContainersResponse {
    #[prost(message, repeated, tag = "1")]
    pub(crate) containers: Vec<Container>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Container {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(int32, tag = "6")]
    pub(crate) state: i32,
    #[prost(map = "string, string", tag = "8")]
    pub(crate) labels: HashMap<String, String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ContainerStatusRequest {
    #[prost(string, tag = "1")]
    pub(crate) container_id: String,
    #[prost(bool, tag = "2")]
    pub(crate) verbose: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct ContainerStatusResponse {
    #[prost(map = "string, string", tag = "2")]
    pub(crate) info: HashMap<String, String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct UpdateContainerResourcesRequest {
    #[prost(string, tag = "1")]
    pub(crate) container_id: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) linux: Option<LinuxContainerResources>,
}

/// A runtime changes only what is neither zero nor empty.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct LinuxContainerResources {
    #[prost(int64, tag = "3")]
    pub(crate) cpu_shares: i64,
    #[prost(string, tag = "6")]
    pub(crate) cpuset_cpus: String,
    #[prost(string, tag = "7")]
    pub(crate) cpuset_mems: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct UpdateContainerResourcesResponse {}

#[cfg(test)]
mod tests {
    use super::ContainerRecord;

    #[test]
    fn a_record_is_in_the_runtime_s_own_text_or_unknown() {
        let text = r#"{"sandboxID":"s","pid":7,"config":{"metadata":{"name":"a"},"linux":{"resources":{"cpu_period":100000,
            "cpu_shares":102,"hugepage_limits":[{"page_size":"2MB"}]},"security_context":{}}},
            "runtimeSpec":{"ociVersion":"1.2.0","linux":{"resources":{"cpu":{"shares":2,"cpus":"1"}},"cgroupsPath":"a.slice:b:c"}}}"#;
        let record = ContainerRecord {
            asked_shares: Some(102),
            cpus: "1".to_owned(),
            mems: String::new(),
            cgroups_path: Some("a.slice:b:c".to_owned()),
        };
        assert_eq!(ContainerRecord::of(text), record);
        for unknown in ["", "{}", "[]", "{\"config\":{\"linux\":null}}", "{\"config\":{\"linux\":{\"resources\":{}}}}"]
        {
            assert_eq!(ContainerRecord::of(unknown), ContainerRecord::default(), "{unknown}");
        }
    }
}
