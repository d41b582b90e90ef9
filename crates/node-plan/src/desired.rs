//! What the node is to become.

use std::collections::BTreeMap;

use extension_config::desired_state::{self, DesiredState, Phase};

use crate::backend::{BackendSpec, ProxySpec};
use crate::blob::{Blob, sha256};
use crate::journal::{self, Journal};
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
        daemon: Blob,
        gate: Blob,
    ) -> Self {
        let install = || match &state.backend {
            desired_state::Backend::CriResmgr(wanted) => {
                let backend = BackendSpec::Proxy(ProxySpec {
                    config: StaticConfig::of(wanted),
                    extra_options: wanted.extra_options.clone(),
                    daemon,
                    daemon_is_kept: false,
                });
                Self::Installed(Box::new(Installation { backend, gate, restart_request: None }))
            }
            desired_state::Backend::NriPlugins(_) => {
                Self::Undecided { because: "this agent does not know the backend nri-plugins".to_owned() }
            }
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
