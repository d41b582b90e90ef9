//! What the node is to become.

use std::collections::BTreeMap;

use extension_config::desired_state::{Daemon, DesiredState, Phase};
use extension_config::names::node;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::journal::{self, Journal, Proven};
use crate::observed::Observed;

/// A file that the agent's image carries: the daemon or the gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blob {
    /// SHA-256 of the content, in hexadecimal digits.
    pub sha256: String,
    /// Length in bytes.
    pub size: u64,
    /// Architecture of the ELF file by Rust's name (`x86_64`), or what stands for it when it is no ELF file.
    pub architecture: String,
    /// The newest version of the host's C library that it asks for (`GLIBC_2.34`); `None` when it is linked statically. The agent does not
    /// see the host's own: it tells this when the program does not start.
    #[serde(default)]
    pub needs: Option<String>,
}

/// The daemon's static configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StaticConfig {
    /// None at all: the daemon's built-in one.
    BuiltIn,
    /// Text of `fallback.cfg`.
    Fallback(String),
    /// Text of `force.cfg`; the daemon refuses to have both.
    Force(String),
}

impl StaticConfig {
    /// The configuration of a desired state. `forceConfig` wins, because the daemon refuses both.
    #[must_use]
    pub fn of(daemon: &Daemon) -> Self {
        match (&daemon.force_config, &daemon.fallback_config) {
            (Some(force), _) => Self::Force(force.clone()),
            (None, Some(fallback)) => Self::Fallback(fallback.clone()),
            (None, None) => Self::BuiltIn,
        }
    }

    /// The text, if there is one.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::BuiltIn => None,
            Self::Fallback(text) | Self::Force(text) => Some(text),
        }
    }

    /// Name of the policy that the text makes active, in whatever style of YAML it is written. The controller has checked the text; one that a
    /// newer controller accepts and this agent does not has no known policy, which costs at most a needless reset of the daemon's state.
    #[must_use]
    pub fn active_policy(&self) -> String {
        let checked = self.text().and_then(|text| extension_config::cri_resmgr::check(text).ok());
        checked.map(|checked| checked.active).unwrap_or_default()
    }
}

/// Everything that an installation is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installation {
    /// The daemon's static configuration.
    pub config: StaticConfig,
    /// Further options of the daemon's command line.
    pub extra_options: String,
    /// The daemon.
    pub daemon: Blob,
    /// The image carries another daemon; this one was kept on the host.
    pub daemon_is_kept: bool,
    /// The gate.
    pub gate: Blob,
    /// A run of the daemon that has to end. Not one of the inputs: whatever runs afterwards is as good.
    pub renewal: Option<Renewal>,
}

impl Installation {
    /// What is remembered of it once it is proven.
    pub(crate) fn to_remember(&self) -> Proven {
        Proven { config: self.config.clone(), extra_options: self.extra_options.clone(), daemon: self.daemon.clone() }
    }

    /// The one that was proven before this one; `None` when that was the same, or its daemon is not at hand any more.
    #[must_use]
    pub fn before(&self, observed: &Observed) -> Option<Self> {
        let proven = observed.journal.as_ref()?.proven.as_ref()?;
        let daemon_is_kept = proven.daemon.sha256 != self.daemon.sha256;
        let is_there = |path: &str| observed.entry(path).has_content(&proven.daemon.sha256);
        if daemon_is_kept && !is_there(node::KEPT_DAEMON) && !is_there(node::DAEMON) {
            return None;
        }
        let before = Self {
            config: proven.config.clone(),
            extra_options: proven.extra_options.clone(),
            daemon: proven.daemon.clone(),
            daemon_is_kept,
            gate: self.gate.clone(),
            renewal: None,
        };
        (before.inputs() != self.inputs()).then_some(before)
    }
}

/// A run of the daemon that has to end although it runs with the right files: what was pushed to it cannot take effect in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewal {
    /// The run; when another one is up, all is done.
    pub invocation: String,
    /// Why.
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
        let install = || {
            Self::Installed(Box::new(Installation {
                config: StaticConfig::of(&state.daemon),
                extra_options: state.daemon.extra_options.clone(),
                daemon,
                daemon_is_kept: false,
                gate,
                renewal: None,
            }))
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

/// SHA-256 in hexadecimal digits.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

#[cfg(test)]
mod tests {
    use super::StaticConfig;

    #[test]
    fn the_policy_is_found_in_every_style() {
        for (text, policy) in [
            ("policy:\n  Active: static-pools\n", "static-pools"),
            ("{\"policy\": {\"Active\": \"static-pools\"}}", "static-pools"),
            ("policy: {Active: static-pools}", "static-pools"),
            ("policy.Active: static-pools\n", "static-pools"),
            ("logger:\n  Debug: 'on:policy'\n", "none"),
            ("# policy:\n#   Active: static\npolicy:\n  # Active: memtier\n  Active: 'none'\n", "none"),
            ("nonsense: [", ""),
        ] {
            assert_eq!(StaticConfig::Fallback(text.into()).active_policy(), policy, "{text:?}");
            assert_eq!(StaticConfig::Force(text.into()).active_policy(), policy, "{text:?}");
        }
        assert_eq!(StaticConfig::BuiltIn.active_policy(), "");
    }
}
