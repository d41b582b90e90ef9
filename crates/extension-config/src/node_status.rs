//! What `cri-resmgr-node-agent status --output json` prints: one check of a node, for programs. Readers ignore fields that they do not know, and take absent
//! ones for empty, as agents of other versions may be asked.

use serde::{Deserialize, Serialize};

use crate::node_report::Stage;

/// One check of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// The agent's version.
    #[serde(default)]
    pub agent: String,
    /// Name of the node.
    #[serde(default)]
    pub node: String,
    /// Where it stands by this look: the steps that are left are not begun by it.
    pub stage: Stage,
    /// What it shall be, for people.
    #[serde(default)]
    pub desired: String,
    /// Hash of the desired state.
    #[serde(default)]
    pub desired_state: String,
    /// Phase of the desired state.
    #[serde(default)]
    pub phase: String,
    /// Why it is not as desired although nothing can be done now.
    #[serde(default)]
    pub holds: Vec<HoldStatus>,
    /// What is left to do, in this order.
    #[serde(default)]
    pub steps: Vec<StepStatus>,
    /// The units that matter.
    #[serde(default)]
    pub units: Vec<UnitStatus>,
    /// What kubelet runs on; absent when it does not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubelet_endpoint: Option<String>,
    /// systemd has our override of kubelet loaded.
    #[serde(default)]
    pub override_loaded: bool,
    /// The proxy answers CRI calls.
    #[serde(default)]
    pub proxy_answers: bool,
    /// containerd answers CRI calls.
    #[serde(default)]
    pub containerd_answers: bool,
    /// Name and version of the runtime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    /// The journal's phase.
    #[serde(default)]
    pub journal: String,
    /// Restarts of kubelet that the agent caused recently.
    #[serde(default)]
    pub restarts: Vec<RestartStatus>,
    /// What of ours stands on the host.
    #[serde(default)]
    pub files: Vec<String>,
    /// The last steps that the agent of this pod has taken, the newest last.
    #[serde(default)]
    pub taken: Vec<TakenStep>,
    /// Where the running containers are, by their names.
    #[serde(default)]
    pub containers: Vec<ContainerStatus>,
    /// More containers that run and are not listed: there are too many of them, or their control groups cannot be seen.
    #[serde(default)]
    pub containers_left_out: usize,
    /// What could not be looked at, and why.
    #[serde(default)]
    pub unknown: Vec<String>,
}

/// A step that was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TakenStep {
    /// When it ended, seconds since 1970.
    pub at: u64,
    /// What was done, why, and what it restarted.
    #[serde(flatten)]
    pub step: StepStatus,
    /// Why it failed; absent when it did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// A running container as the kernel has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerStatus {
    /// `NAMESPACE/POD/CONTAINER`.
    pub name: String,
    /// CPUs that it may use, as the kernel lists them.
    #[serde(default)]
    pub cpus: String,
    /// Memory nodes, likewise.
    #[serde(default)]
    pub mems: String,
}

/// A hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HoldStatus {
    /// [`crate::ReasonCode`] by its word.
    pub code: String,
    /// For people.
    pub message: String,
}

/// A step of the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepStatus {
    /// What is done.
    pub action: String,
    /// What makes it necessary.
    #[serde(default)]
    pub because: String,
    /// What it restarts: `kubelet`, `daemon`, or nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarts: Option<String>,
}

/// A unit as systemd shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UnitStatus {
    /// `kubelet`, `cri-resmgr`, `guard`, `timer` or `policy`.
    pub name: String,
    /// `loaded`, `not-found`, …
    #[serde(default)]
    pub load: String,
    /// `active`, `failed`, …
    #[serde(default)]
    pub active: String,
    /// `running`, `dead`, …
    #[serde(default)]
    pub sub: String,
    /// Automatic restarts since the last manual one.
    #[serde(default)]
    pub restarts: u32,
}

/// A restart of kubelet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RestartStatus {
    /// Seconds since 1970.
    pub at: u64,
    /// `switch`, `rollback`, `heal` or `remove`.
    #[serde(default)]
    pub cause: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_of_another_version_is_read() {
        let newer = r#"{"stage":"Sleeping","more":[1],"holds":[{"code":"New","message":"m","x":1}]}"#;
        let status: NodeStatus = serde_json::from_str(newer).unwrap();
        assert_eq!((status.stage, status.holds[0].code.as_str(), status.steps.len()), (Stage::Undecided, "New", 0));
    }
}
