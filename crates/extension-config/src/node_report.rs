//! What each node agent reports about its node: JSON in an annotation of a Lease of its own in the shoot. The controller reads it to name
//! nodes to people; it decides nothing by it that the pods' readiness gate does not say.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::names;

/// Where a node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Stage {
    /// kubelet runs through the daemon, proven.
    Installed,
    /// Nothing of ours is there.
    Clean,
    /// On the way to one of them.
    Working,
    /// Something is in the way.
    Blocked,
    /// Went back to containerd after a failure.
    RolledBack,
    /// Not known what the node shall be; and any word of an agent newer than the reader.
    #[serde(other)]
    Undecided,
}

impl Stage {
    /// Every stage.
    pub const ALL: [Self; 6] =
        [Self::Installed, Self::Clean, Self::Working, Self::Blocked, Self::RolledBack, Self::Undecided];

    /// The word for it, as in the JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Installed => "Installed",
            Self::Clean => "Clean",
            Self::Working => "Working",
            Self::Blocked => "Blocked",
            Self::RolledBack => "RolledBack",
            Self::Undecided => "Undecided",
        }
    }
}

/// The JSON in the node's Lease. Readers ignore fields that they do not know, and take absent ones for empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeReport {
    /// Where the node stands.
    pub stage: Stage,
    /// Phase of the desired state that this is about.
    #[serde(default)]
    pub phase: String,
    /// Hash of the desired state.
    #[serde(default)]
    pub desired: String,
    /// Seconds since 1970 from which on it is so.
    #[serde(default)]
    pub since: u64,
    /// Restarts of kubelet that the agent caused within the last ten minutes of work.
    #[serde(default)]
    pub restarts: usize,
    /// Why it is not as desired; empty when it is.
    #[serde(default)]
    pub message: String,
    /// What the owner of a configuration should know although it is in effect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Name and hash of the dynamic configuration that the daemon has accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<String>,
    /// Seconds since 1970 at which what is held may go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_at: Option<u64>,
    /// What the node waits for is a slot: other nodes switch before it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub awaits_slot: bool,
    /// [`CRI_RESMGR`] or [`NRI_PLUGINS`]; absent where neither is on the node, and from agents of before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
    /// The agent's own version; absent from agents of before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What stands in the message, in its order, each as the word of a [`crate::ReasonCode`]: agents before them wrote none, and newer ones may write others.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub codes: Vec<String>,
    /// Seconds since 1970 from which on the node has waited for the slot that it waits for now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slot_since: Option<u64>,
    /// What was published in Events. For the next agent, which must not publish it again; readers have no use for it.
    #[serde(default, skip_serializing_if = "Published::is_empty")]
    pub published: Published,
}

/// What was published in Events.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Published {
    /// What was published last of each topic, as long as it holds.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub topics: BTreeMap<String, Word>,
    /// When each reason was published last, seconds since 1970.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub at: BTreeMap<String, u64>,
}

impl Published {
    /// Nothing was published.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.topics.is_empty() && self.at.is_empty()
    }
}

/// What was said of a topic.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Word {
    /// Of the Event ([`crate::NodeEvent::as_str`]).
    pub reason: String,
    /// What distinguishes it from others with this reason: a word or a short hash. Empty: not known, and as good as any.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub about: String,
}

/// The proxy, in [`NodeReport::backend`].
pub const CRI_RESMGR: &str = "cri-resmgr";
/// A policy of nri-plugins, in [`NodeReport::backend`].
pub const NRI_PLUGINS: &str = "nri-plugins";

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde asks for it")]
fn is_false(value: &bool) -> bool {
    !*value
}

impl NodeReport {
    /// Whether the same is said of the node: but for the time, and what was published.
    #[must_use]
    pub fn says_the_same(&self, other: &Self) -> bool {
        Self { since: other.since, published: other.published.clone(), ..self.clone() } == *other
    }
}

/// Name of the Lease in [`names::SHOOT_NAMESPACE`] that carries a node's report.
#[must_use]
pub fn lease_name(node: &str) -> String {
    format!("{}{node}", names::NODE_REPORT_LEASE_PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_have_the_same_name_in_json_and_display() {
        for stage in Stage::ALL {
            assert_eq!(serde_json::to_value(stage).unwrap(), stage.as_str());
            assert_eq!(serde_json::from_value::<Stage>(stage.as_str().into()).unwrap(), stage);
        }
    }

    #[test]
    fn node_reports_of_other_versions_are_read() {
        let newer = r#"{"stage":"Sleeping","phase":"Remove","message":"m","more":{"a":1}}"#;
        let report: NodeReport = serde_json::from_str(newer).unwrap();
        assert_eq!((report.stage, report.message.as_str(), report.retry_at), (Stage::Undecided, "m", None));
        assert_eq!((report.awaits_slot, report.backend, report.version), (false, None, None), "agents of before");
        assert!(serde_json::from_str::<NodeReport>("{}").is_err(), "without a stage it says nothing");
    }

    #[test]
    fn a_report_with_another_time_alone_says_the_same() {
        let report: NodeReport = serde_json::from_str(r#"{"stage":"Clean","since":7}"#).unwrap();
        assert!(report.says_the_same(&NodeReport { since: 8, ..report.clone() }));
        assert!(!report.says_the_same(&NodeReport { restarts: 1, ..report.clone() }));
    }

    #[test]
    fn the_lease_is_named_after_the_node() {
        assert_eq!(lease_name("n1"), "cri-resmgr-node-n1");
    }
}
