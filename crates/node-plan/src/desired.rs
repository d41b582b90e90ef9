//! What the node is to become.

use std::collections::BTreeMap;

use extension_config::desired_state::{self, DesiredState, Phase};
use extension_config::names;
use nri_policy::Kind;

use crate::backend::{BackendSpec, PluginSpec, ProxySpec};
use crate::blob::{Blob, sha256};
use crate::journal::{self, Journal, Proven};
use crate::kind::Backend;
use crate::managed_file::{FileRole, ManagedFile};
use crate::static_config::StaticConfig;

/// Everything that an installation is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    /// What is installed.
    pub backend: BackendSpec,
    /// The gate.
    pub gate: Blob,
    /// A run of the daemon that has to end. Not one of the inputs: whatever runs afterwards is as good.
    pub restart_request: Option<RestartRequest>,
    /// The other backend may be taken over from. Not one of the inputs: it says what is permitted, not what is to run.
    pub handover: Option<Handover>,
}

/// A node with another backend may be led from it to the one that is installed, without a pod being restarted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handover {
    /// From which one.
    pub from: Backend,
    /// Why not yet: what only this node knows of its configuration, and nobody has accepted to lose. A sentence each.
    pub unaccepted: Vec<String>,
}

impl Installation {
    /// The files of this installation, in the order in which they are put in place.
    #[must_use]
    pub fn files(&self) -> Vec<ManagedFile> {
        self.backend.files(&self.gate)
    }

    /// What a failed try is remembered by: another daemon, configuration or gate may be tried at once.
    #[must_use]
    pub fn attempt(&self) -> String {
        sha256(format!("{} {}", self.inputs(), self.gate.sha256).as_bytes())
    }

    /// Digest of everything that the daemon runs with: equal inputs need no restart.
    #[must_use]
    pub fn inputs(&self) -> String {
        let mut all = String::new();
        for file in self.files() {
            if matches!(file.role, FileRole::Daemon | FileRole::DaemonUnit) {
                all.push_str(file.path);
                all.push(' ');
                all.push_str(&file.sha256);
                all.push('\n');
            }
        }
        sha256(all.as_bytes())
    }
}

/// A run of the daemon that has to end although it runs with the right files: what was pushed to it cannot take effect in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestartRequest {
    /// Invocation id of the run, 32 hexadecimal digits; when another run is up, nothing is left to do.
    pub invocation: String,
    /// Reason, as evidence of the step: `cri-resmgr-config.default (1a2b3c4d): the policy changes`.
    pub because: String,
}

/// The programs that an agent has for its node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Programs {
    /// cri-resmgr.
    pub daemon: Blob,
    /// The gate.
    pub gate: Blob,
    /// nri-plugins' policy of balloons.
    pub balloons: Blob,
    /// nri-plugins' policy along the machine's topology.
    pub topology_aware: Blob,
}

impl Programs {
    /// The program of a policy.
    #[must_use]
    pub fn policy(&self, kind: Kind) -> &Blob {
        match kind {
            Kind::BalloonsPolicy => &self.balloons,
            Kind::TopologyAwarePolicy => &self.topology_aware,
        }
    }
}

/// What is known of the policy that a node is to run with nri-plugins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodePolicy {
    /// Whether there is one, and where, is not known yet.
    Awaited,
    /// There is none for this node.
    Missing,
    /// The one for this node cannot be used.
    Invalid {
        /// Name of its ConfigMap.
        source: String,
        /// What is wrong with it.
        problems: Vec<String>,
    },
    /// One that passed all checks.
    Valid {
        /// Name of its ConfigMap.
        source: String,
        /// Which policy.
        kind: Kind,
        /// Its whole document ([`nri_policy::Checked::document`]).
        document: String,
    },
}

impl NodePolicy {
    /// Why there is no policy to install, for people.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        match self {
            Self::Awaited => Some("the node's policy has not been read from the API server yet".to_owned()),
            Self::Missing => Some(format!(
                "there is no policy for this node: none of the ConfigMaps {prefix}node.NAME, {prefix}group.NAME and {prefix}default is there for it",
                prefix = names::POLICY_CONFIG_MAP_PREFIX
            )),
            Self::Invalid { source, problems } => Some(format!("ConfigMap {source}: {}", problems.join("; "))),
            Self::Valid { .. } => None,
        }
    }
}

/// How long containerd waits for a plugin's answer unless its configuration says otherwise, seconds (containerd 2.3, `pkg/nri/config.go`:
/// `plugin_request_timeout`).
const REQUEST_TIMEOUT_SECONDS: u64 = 2;

/// What the node is to become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Desired {
    /// kubelet runs through the daemon.
    Installed(Box<Installation>),
    /// Nothing of ours is there.
    Clean {
        /// Why: removal, or a node that is not selected.
        because: String,
    },
    /// Not known yet (the node's labels cannot be read, or the desired state is not understood): what is installed stays, nothing is begun.
    Undecided {
        /// What is awaited.
        because: String,
    },
}

impl Desired {
    /// What a desired state means for a node with these labels (`None`: they cannot be read now). A node that is installed already was selected
    /// when it was installed, so it is kept as it is, and healed, until its labels can be read again.
    #[must_use]
    pub fn decide(
        state: &DesiredState,
        labels: Option<&BTreeMap<String, String>>,
        journal: Option<&Journal>,
        programs: &Programs,
        policy: &NodePolicy,
    ) -> Self {
        let install = || {
            let backend = match &state.backend {
                desired_state::Backend::CriResmgr(wanted) => BackendSpec::Proxy(ProxySpec {
                    config: StaticConfig::of(wanted),
                    extra_options: wanted.extra_options.clone(),
                    daemon: programs.daemon.clone(),
                    daemon_is_kept: false,
                }),
                desired_state::Backend::NriPlugins(_) => match plugin(policy, journal, programs) {
                    Ok(plugin) => BackendSpec::Plugin(plugin),
                    Err(because) => return Self::Undecided { because },
                },
            };
            let gate = programs.gate.clone();
            let handover = state.handover.as_ref().map(|handover| Handover {
                from: match handover.from {
                    desired_state::BackendKind::CriResmgr => Backend::Proxy,
                    desired_state::BackendKind::NriPlugins => Backend::Plugin,
                },
                unaccepted: Vec::new(),
            });
            Self::Installed(Box::new(Installation { backend, gate, restart_request: None, handover }))
        };
        let under_way = journal.map(|journal| journal.phase);
        match (state.phase, labels) {
            (Phase::Remove, _) => Self::Clean { because: "the extension is switched off".to_owned() },
            (Phase::Install, Some(labels)) if state.selection.matches(labels) => install(),
            (Phase::Install, Some(_)) => Self::Clean { because: "the node is not selected".to_owned() },
            (Phase::Install, None) => match under_way {
                Some(journal::Phase::Removing) => Self::Clean { because: "a removal was under way".to_owned() },
                Some(journal::Phase::Installing | journal::Phase::Installed | journal::Phase::RolledBack) => install(),
                None => {
                    Self::Undecided { because: "the labels of the node cannot be read from the API server".to_owned() }
                }
            },
        }
    }
}

/// The policy for this node. One that is missing or wrong makes no node faulty: what was proven here before stays, and is healed.
fn plugin(policy: &NodePolicy, journal: Option<&Journal>, programs: &Programs) -> Result<PluginSpec, String> {
    let (kind, document) = match (policy, journal.and_then(|journal| journal.of(Backend::Plugin).proven)) {
        (NodePolicy::Valid { kind, document, .. }, _) => (*kind, document.clone()),
        (_, Some(Proven::Plugin(proven))) => (proven.kind, proven.document),
        (other, _) => return Err(other.problem().unwrap_or_default()),
    };
    Ok(PluginSpec {
        kind,
        document,
        binary: programs.policy(kind).clone(),
        binary_is_kept: false,
        request_timeout_seconds: REQUEST_TIMEOUT_SECONDS,
    })
}

#[cfg(test)]
mod tests;
