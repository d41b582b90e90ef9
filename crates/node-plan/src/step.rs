//! Steps: what is done, what takes it back, what it restarts.

use kubelet_config::Endpoint;
use serde::{Deserialize, Serialize};

use crate::journal::Change;
use crate::layout::Source;

/// Why we restart kubelet; label of the metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// First time onto the proxy.
    Switch,
    /// Back to containerd after a failed proof.
    Rollback,
    /// Back onto the proxy after others moved kubelet away, or a failed kubelet brought back.
    Heal,
    /// Back to containerd because the node is to be clean.
    Remove,
}

impl Cause {
    /// Value of the metric's label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Switch => "switch",
            Self::Rollback => "rollback",
            Self::Heal => "heal",
            Self::Remove => "remove",
        }
    }
}

/// What a step restarts on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Restarts {
    /// Nothing.
    Nothing,
    /// The daemon (kubelet reconnects to it).
    Daemon,
    /// kubelet.
    Kubelet,
}

/// One thing to do. All of them may be repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Only the journal is written.
    Record,
    /// Make a directory, 0755, owned by root.
    MakeDirectory {
        /// Host path.
        path: String,
    },
    /// Put a file in place atomically.
    WriteFile {
        /// Host path.
        path: String,
        /// Permission bits.
        mode: u32,
        /// Where the content comes from.
        source: Source,
        /// SHA-256 that the written file must have.
        sha256: String,
    },
    /// Put a symbolic link in place atomically.
    MakeLink {
        /// Host path.
        path: String,
        /// Target, as written into it.
        target: String,
    },
    /// Remove a file or a link.
    RemoveFile {
        /// Host path.
        path: String,
    },
    /// Remove a directory if nothing is in it.
    RemoveDirectory {
        /// Host path.
        path: String,
    },
    /// Remove a directory with all that is in it (only the daemon's own).
    RemoveTree {
        /// Host path.
        path: String,
    },
    /// Give an entry another name in the same directory; nothing may stand there. What is gone meanwhile is nobody's any more.
    Rename {
        /// Host path.
        from: String,
        /// Host path.
        to: String,
    },
    /// Have systemd read the unit files again.
    Reload,
    /// Start a unit (a running one is left alone).
    Start {
        /// Unit.
        unit: String,
    },
    /// Stop a unit; one that does not exist is stopped.
    Stop {
        /// Unit.
        unit: String,
    },
    /// Restart a unit, with its start counter set to zero first.
    Restart {
        /// Unit.
        unit: String,
    },
    /// Forget that a unit failed.
    ResetFailed {
        /// Unit.
        unit: String,
    },
    /// Restart kubelet, with its start counter set to zero first.
    RestartKubelet {
        /// Why.
        cause: Cause,
    },
    /// Wait until CRI `Version` and `Status` are answered through the proxy.
    ProveDaemon,
    /// See that systemd has loaded the override (or has not).
    ProveOverride {
        /// Whether it must be loaded.
        loaded: bool,
    },
    /// Wait until kubelet runs well on an endpoint.
    ProveKubelet {
        /// Which one.
        endpoint: Endpoint,
    },
    /// Look at the whole node again: nothing that we made may be left.
    ProveClean,
    /// Remove the journal, our directories and the lock: the last step of a removal.
    Forget,
}

impl Action {
    /// What it restarts.
    #[must_use]
    pub fn restarts(&self) -> Restarts {
        use extension_config::names::node;
        match self {
            Self::RestartKubelet { .. } => Restarts::Kubelet,
            Self::Restart { unit } | Self::Start { unit } | Self::Stop { unit } if unit == node::DAEMON_UNIT => {
                Restarts::Daemon
            }
            _ => Restarts::Nothing,
        }
    }
}

impl std::fmt::Display for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Record => f.write_str("write the journal"),
            Self::MakeDirectory { path } => write!(f, "make directory {path}"),
            Self::WriteFile { path, mode, .. } => write!(f, "write {path} (mode {mode:04o})"),
            Self::MakeLink { path, target } => write!(f, "link {path} to {target}"),
            Self::RemoveFile { path } => write!(f, "remove {path}"),
            Self::RemoveDirectory { path } => write!(f, "remove directory {path} if empty"),
            Self::RemoveTree { path } => write!(f, "remove {path} with its content"),
            Self::Rename { from, to } => write!(f, "rename {from} to {to}"),
            Self::Reload => f.write_str("have systemd reload its units"),
            Self::Start { unit } => write!(f, "start {unit}"),
            Self::Stop { unit } => write!(f, "stop {unit}"),
            Self::Restart { unit } => write!(f, "restart {unit}"),
            Self::ResetFailed { unit } => write!(f, "reset the failed state of {unit}"),
            Self::RestartKubelet { cause } => write!(f, "restart kubelet.service ({})", cause.as_str()),
            Self::ProveDaemon => f.write_str("prove that the proxy answers"),
            Self::ProveOverride { loaded: true } => f.write_str("prove that systemd has loaded the override"),
            Self::ProveOverride { loaded: false } => f.write_str("prove that systemd has dropped the override"),
            Self::ProveKubelet { endpoint } => write!(f, "prove that kubelet runs well on {endpoint}"),
            Self::ProveClean => f.write_str("prove that nothing is left"),
            Self::Forget => f.write_str("remove the journal and the lock"),
        }
    }
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What goes into the journal *before* the effect.
    pub before: Vec<Change>,
    /// The effect.
    pub action: Action,
    /// What goes into the journal after the effect.
    pub after: Vec<Change>,
    /// Takes the effect back, in this order; empty where there is nothing to take back.
    pub undo: Vec<Action>,
    /// What was observed that makes the step necessary.
    pub evidence: String,
}

impl Step {
    pub(crate) fn new(action: Action, evidence: impl Into<String>) -> Self {
        Self { before: Vec::new(), action, after: Vec::new(), undo: Vec::new(), evidence: evidence.into() }
    }

    pub(crate) fn before(mut self, change: Change) -> Self {
        self.before.push(change);
        self
    }

    pub(crate) fn after(mut self, change: Change) -> Self {
        self.after.push(change);
        self
    }

    pub(crate) fn undo(mut self, action: Action) -> Self {
        self.undo.push(action);
        self
    }
}
