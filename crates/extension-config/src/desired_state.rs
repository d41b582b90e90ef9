//! The desired state of the nodes: what the seed controller hands to every node agent.
//!
//! It travels as JSON in a ConfigMap whose name carries [`DesiredState::hash8`], so that a new pod can never see an old text. Agents of an
//! older version may meet it: unknown fields are ignored, an unknown `apiVersion`, `kind` or `phase` is refused.
//!
//! There are two versions of the format, and a state is always written in the older one that can say it: what older agents can carry out they go on
//! carrying out. v1alpha1 knows one backend, cri-resmgr, and no way to it from another. A removal needs no backend, because it goes by the node's journal: it is v1alpha1 whatever
//! the node runs. v1alpha2 names the backend, and a reader that does not know the name refuses: one that ignored it would install another.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::names;

/// `apiVersion` of a state with the backend cri-resmgr, and of every removal.
pub const API_VERSION: &str = "node.cri-resmgr.extensions.gardener.cloud/v1alpha1";
/// `apiVersion` of a state that names its backend.
pub const API_VERSION_2: &str = "node.cri-resmgr.extensions.gardener.cloud/v1alpha2";
/// `kind` of the format.
pub const KIND: &str = "DesiredState";

/// What every node of a shoot is to become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredState {
    /// Whether selected nodes get the backend or lose it.
    pub phase: Phase,
    /// Which nodes are to have the backend; every other one is made and kept clean.
    pub selection: Selection,
    /// What the selected nodes get. A removal says nothing of it.
    pub backend: Backend,
    /// Selected nodes that have the other backend may be led from it to this one; `None`: they stay as they are, and say so. A removal says nothing of it.
    pub handover: Option<Handover>,
}

/// That nodes may be led from one backend to the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Handover {
    /// The backend that they have.
    pub from: BackendKind,
    /// Ids of what the owner accepts to lose by it: of a node's own configuration, which only the node knows.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub accepted: BTreeSet<String>,
    /// Names of the ConfigMaps with configurations for the former backend that the controller keeps up: all others are somebody else's.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub delivered: BTreeSet<String>,
}

/// A backend by its key in v1alpha2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum BackendKind {
    /// cri-resmgr, a CRI proxy.
    CriResmgr,
    /// A policy plugin of nri-plugins.
    NriPlugins,
}

/// What decides about the CPUs and memory of a node's containers, and what is the same for every node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Backend {
    /// cri-resmgr, a CRI proxy.
    CriResmgr(Daemon),
    /// A policy plugin of nri-plugins.
    NriPlugins(NriPlugins),
}

impl Default for Backend {
    /// The one of v1alpha1, with nothing configured.
    fn default() -> Self {
        Self::CriResmgr(Daemon::default())
    }
}

/// What holds for the plugin on every node. Policies differ between nodes and are not in here: they travel in ConfigMaps of their own
/// ([`names::POLICY_CONFIG_MAP_PREFIX`]), so that a new policy is no roll-out of agents.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NriPlugins {
    /// Ids of the risks (`nri_policy::Risk`) that the owner accepts in policies.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub accepted: BTreeSet<String>,
}

/// Direction in which agents work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Phase {
    /// Selected nodes run kubelet through the daemon.
    Install,
    /// Every node is made as it was before.
    Remove,
}

impl Phase {
    /// The value in JSON, in the pod template's annotation and in the ManagedResource's `injectLabels`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Install => "Install",
            Self::Remove => "Remove",
        }
    }
}

impl std::fmt::Display for Phase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which nodes are to have the backend. All conditions must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Selection {
    /// Names of worker pools; `None` means every pool, an empty list none.
    #[serde(default)]
    pub worker_pools: Option<Vec<String>>,
    /// Labels that the node must all carry.
    #[serde(default)]
    pub match_labels: BTreeMap<String, String>,
    /// Names of worker pools that are left alone, for what the Shoot says of their nodes. An agent that does not know them refuses on its node.
    /// Left out when there are none: the text, and so its name, is the one of before.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub excluded_pools: BTreeSet<String>,
}

impl Selection {
    /// Whether a node with these labels is selected. The pool is the node's label `worker.gardener.cloud/pool`.
    #[must_use]
    pub fn matches(&self, node_labels: &BTreeMap<String, String>) -> bool {
        let pool = node_labels.get(names::WORKER_POOL_LABEL);
        let in_pool = self.worker_pools.as_ref().is_none_or(|pools| pool.is_some_and(|pool| pools.contains(pool)))
            && pool.is_none_or(|pool| !self.excluded_pools.contains(pool));
        in_pool && self.match_labels.iter().all(|(key, value)| node_labels.get(key) == Some(value))
    }
}

/// The daemon's static configuration, placed on the host by the agent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Daemon {
    /// Text of `fallback.cfg` (YAML).
    #[serde(default)]
    pub fallback_config: Option<String>,
    /// Text of `force.cfg` (YAML). Set: the daemon runs with `--force-config` and without `--fallback-config`.
    #[serde(default)]
    pub force_config: Option<String>,
    /// Further options of the daemon's command line, separated by blanks.
    #[serde(default)]
    pub extra_options: String,
}

/// Why a text is not a desired state that this version understands.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Not JSON, or a field of the wrong type, or an unknown phase.
    #[error("the desired state cannot be read")]
    Malformed(#[source] serde_json::Error),
    /// Written by another generation of the controller.
    #[error(
        "the desired state has apiVersion {api_version:?} and kind {kind:?}, this agent reads {API_VERSION:?} or {API_VERSION_2:?} and {KIND:?}"
    )]
    Unsupported {
        /// What the text says.
        api_version: String,
        /// What the text says.
        kind: String,
    },
}

/// v1alpha1.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Version1<'a> {
    api_version: &'a str,
    kind: &'a str,
    phase: Phase,
    selection: &'a Selection,
    daemon: &'a Daemon,
}

/// v1alpha1, without what was checked already.
#[derive(Deserialize)]
struct Fields1 {
    phase: Phase,
    #[serde(default)]
    selection: Selection,
    #[serde(default)]
    daemon: Daemon,
}

/// v1alpha2.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Version2<'a> {
    api_version: &'a str,
    kind: &'a str,
    phase: Phase,
    selection: &'a Selection,
    backend: &'a Backend,
    #[serde(skip_serializing_if = "Option::is_none")]
    handover: Option<&'a Handover>,
}

/// v1alpha2, without what was checked already. An enum of which exactly one variant must be written: two backends, none, or one that is not
/// known are errors.
#[derive(Deserialize)]
struct Fields2 {
    phase: Phase,
    #[serde(default)]
    selection: Selection,
    backend: Backend,
    #[serde(default)]
    handover: Option<Handover>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TypeMeta {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
}

impl DesiredState {
    /// The JSON text. Equal states give equal bytes.
    pub fn encode(&self) -> Result<String, serde_json::Error> {
        let Self { phase, selection, backend, handover } = self;
        let handover = handover.as_ref();
        let (phase, kind) = (*phase, KIND);
        let of_version_1 =
            |daemon| serde_json::to_string(&Version1 { api_version: API_VERSION, kind, phase, selection, daemon });
        match (phase, backend) {
            (Phase::Install, Backend::CriResmgr(daemon)) if handover.is_none() => of_version_1(daemon),
            (Phase::Remove, Backend::CriResmgr(daemon)) => of_version_1(daemon),
            (Phase::Remove, Backend::NriPlugins(_)) => of_version_1(&Daemon::default()),
            (Phase::Install, _) => {
                let api_version = API_VERSION_2;
                serde_json::to_string(&Version2 { api_version, kind, phase, selection, backend, handover })
            }
        }
    }

    /// Reads the JSON text, ignoring fields that it does not know, but for those of a backend.
    pub fn decode(text: &str) -> Result<Self, DecodeError> {
        // The type first: a text of another generation may not have our fields at all, and must say so rather than "missing field".
        let meta: TypeMeta = serde_json::from_str(text).map_err(DecodeError::Malformed)?;
        match (meta.api_version.as_str(), meta.kind.as_str()) {
            (API_VERSION, KIND) => {
                let Fields1 { phase, selection, daemon } =
                    serde_json::from_str(text).map_err(DecodeError::Malformed)?;
                Ok(Self { phase, selection, backend: Backend::CriResmgr(daemon), handover: None })
            }
            (API_VERSION_2, KIND) => {
                let Fields2 { phase, selection, backend, handover } =
                    serde_json::from_str(text).map_err(DecodeError::Malformed)?;
                Ok(Self { phase, selection, backend, handover })
            }
            _ => Err(DecodeError::Unsupported { api_version: meta.api_version, kind: meta.kind }),
        }
    }

    /// First eight hexadecimal digits of the SHA-256 of [`Self::encode`].
    pub fn hash8(&self) -> Result<String, serde_json::Error> {
        Ok(hash8(&self.encode()?))
    }

    /// Name of the ConfigMap that carries this state.
    pub fn config_map_name(&self) -> Result<String, serde_json::Error> {
        Ok(format!("{}{}", names::DESIRED_STATE_CONFIG_MAP_PREFIX, self.hash8()?))
    }
}

/// SHA-256 of a text in hexadecimal digits: by this the agent's pod knows the one text that it is meant to follow.
#[must_use]
pub fn sha256(text: &str) -> String {
    hex::encode(Sha256::digest(text.as_bytes()))
}

/// First eight hexadecimal digits of the SHA-256 of a text.
#[must_use]
pub fn hash8(text: &str) -> String {
    let mut digits = sha256(text);
    digits.truncate(8);
    digits
}

#[cfg(test)]
mod tests;
