//! Steps: what is done, by kind, and what it restarts.

use kubelet_config::Endpoint;
use serde::Serialize;

use crate::journal::Change;
use crate::kind::Backend;
use crate::managed_file::Source;
use crate::restart::Cause;

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

/// A change of the host's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileAction {
    /// Make a directory, 0755, owned by root.
    MakeDirectory {
        /// Absolute path on the host.
        path: String,
    },
    /// Put a file in place atomically.
    Write {
        /// Absolute path on the host.
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
        /// Absolute path on the host.
        path: String,
        /// Target, as written into it.
        target: String,
    },
    /// Remove a file or a link.
    Remove {
        /// Absolute path on the host.
        path: String,
    },
    /// Remove a directory if nothing is in it.
    RemoveDirectory {
        /// Absolute path on the host.
        path: String,
    },
    /// Remove a directory with all that is in it (only the daemon's own).
    RemoveTree {
        /// Absolute path on the host.
        path: String,
    },
    /// Give an entry another name in the same directory; nothing may stand there. What is gone meanwhile is nobody's any more.
    Rename {
        /// Absolute path on the host.
        from: String,
        /// Absolute path on the host.
        to: String,
    },
}

/// A call of systemd about its units.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UnitAction {
    /// Have systemd read the unit files again.
    Reload,
    /// Start a unit (a running one is left alone).
    Start {
        /// Name with its suffix: `kubelet.service`.
        unit: String,
    },
    /// Stop a unit; one that does not exist is stopped.
    Stop {
        /// Name with its suffix: `kubelet.service`.
        unit: String,
    },
    /// Restart a unit, with its start counter set to zero first.
    Restart {
        /// Name with its suffix: `kubelet.service`.
        unit: String,
    },
    /// Forget that a unit failed.
    ResetFailed {
        /// Name with its suffix: `kubelet.service`.
        unit: String,
    },
}

/// A condition that is waited for; without it the rest of the plan must not happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// CRI `Version` and `Status` are answered through the proxy.
    DaemonAnswers,
    /// systemd has loaded the override, or has not.
    Override {
        /// Whether it must be loaded.
        loaded: bool,
    },
    /// kubelet runs well on an endpoint.
    Kubelet {
        /// The runtime that kubelet must use.
        endpoint: Endpoint,
    },
    /// Another observation of the node finds nothing that we made.
    Clean,
    /// Another observation finds nothing of this backend; the other one is on the node, too.
    NothingLeftOf {
        /// Which one.
        backend: Backend,
    },
    /// The policy plugin has registered with containerd, which has not dropped it within this time: longer than an answer of it may take.
    PluginRegistered {
        /// Seconds that its process must live on.
        settle_seconds: u64,
    },
    /// Every container that runs is where the policy plugin has it.
    PinsEffective,
}

/// Something that is found out before anything changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    /// A policy's program takes its document on this machine. It runs as nobody, apart from everything, and cannot reach containerd.
    DryRun {
        /// Host path of the program.
        program: &'static str,
        /// The document.
        document: String,
    },
}

/// A change of the journal that has no other effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JournalAction {
    /// Only the step's changes are written.
    Record,
    /// Remove the journal, our directories and the lock: the last step of a removal.
    Forget,
}

/// One thing to do, by the kind of what carries it out. All of them may be repeated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Change files.
    File(FileAction),
    /// Change what systemd runs.
    Unit(UnitAction),
    /// Restart kubelet, with its start counter set to zero first. Not one of the units: it costs the node its runtime for a moment, so it
    /// has a cause and a budget.
    RestartKubelet {
        /// What the restart is for.
        cause: Cause,
    },
    /// Give all containers what they would have if no policy had placed them.
    ResetPins,
    /// Find something out before anything changes.
    Check(Check),
    /// Wait for a condition.
    Prove(Proof),
    /// Change the journal alone.
    Journal(JournalAction),
}

impl From<FileAction> for Action {
    fn from(action: FileAction) -> Self {
        Self::File(action)
    }
}

impl From<UnitAction> for Action {
    fn from(action: UnitAction) -> Self {
        Self::Unit(action)
    }
}

impl From<Proof> for Action {
    fn from(proof: Proof) -> Self {
        Self::Prove(proof)
    }
}

impl From<Check> for Action {
    fn from(check: Check) -> Self {
        Self::Check(check)
    }
}

impl From<JournalAction> for Action {
    fn from(action: JournalAction) -> Self {
        Self::Journal(action)
    }
}

impl Action {
    /// What it restarts.
    #[must_use]
    pub fn restarts(&self) -> Restarts {
        use extension_config::names::node;
        match self {
            Self::RestartKubelet { .. } => Restarts::Kubelet,
            Self::Unit(UnitAction::Restart { unit } | UnitAction::Start { unit } | UnitAction::Stop { unit })
                if unit == node::DAEMON_UNIT || unit == node::PLUGIN_UNIT =>
            {
                Restarts::Daemon
            }
            Self::File(_) | Self::Unit(_) | Self::ResetPins | Self::Check(_) | Self::Prove(_) | Self::Journal(_) => {
                Restarts::Nothing
            }
        }
    }
}

impl std::fmt::Display for FileAction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::MakeDirectory { path } => write!(f, "make directory {path}"),
            Self::Write { path, mode, .. } => write!(f, "write {path} (mode {mode:04o})"),
            Self::MakeLink { path, target } => write!(f, "link {path} to {target}"),
            Self::Remove { path } => write!(f, "remove {path}"),
            Self::RemoveDirectory { path } => write!(f, "remove directory {path} if empty"),
            Self::RemoveTree { path } => write!(f, "remove {path} with its content"),
            Self::Rename { from, to } => write!(f, "rename {from} to {to}"),
        }
    }
}

impl std::fmt::Display for UnitAction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Reload => f.write_str("have systemd reload its units"),
            Self::Start { unit } => write!(f, "start {unit}"),
            Self::Stop { unit } => write!(f, "stop {unit}"),
            Self::Restart { unit } => write!(f, "restart {unit}"),
            Self::ResetFailed { unit } => write!(f, "reset the failed state of {unit}"),
        }
    }
}

impl std::fmt::Display for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::DaemonAnswers => f.write_str("prove that the proxy answers"),
            Self::Override { loaded: true } => f.write_str("prove that systemd has loaded the override"),
            Self::Override { loaded: false } => f.write_str("prove that systemd has dropped the override"),
            Self::Kubelet { endpoint } => write!(f, "prove that kubelet runs well on {endpoint}"),
            Self::Clean => f.write_str("prove that nothing is left"),
            Self::NothingLeftOf { backend } => write!(f, "prove that nothing is left of {}", backend.name()),
            Self::PluginRegistered { .. } => f.write_str("prove that the policy is registered with containerd"),
            Self::PinsEffective => f.write_str("prove that containers are where the policy has them"),
        }
    }
}

impl std::fmt::Display for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::DryRun { program, .. } => write!(f, "try out the policy's document with {program}"),
        }
    }
}

impl std::fmt::Display for JournalAction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Record => f.write_str("write the journal"),
            Self::Forget => f.write_str("remove the journal and the lock"),
        }
    }
}

impl std::fmt::Display for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(action) => action.fmt(f),
            Self::Unit(action) => action.fmt(f),
            Self::RestartKubelet { cause } => write!(f, "restart kubelet.service ({})", cause.as_str()),
            Self::ResetPins => f.write_str("reset the CPUs, memory nodes and shares of all containers"),
            Self::Check(check) => check.fmt(f),
            Self::Prove(proof) => proof.fmt(f),
            Self::Journal(action) => action.fmt(f),
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
    /// What was observed that makes the step necessary.
    pub evidence: String,
}

impl Step {
    pub(crate) fn new(action: impl Into<Action>, evidence: impl Into<String>) -> Self {
        Self { before: Vec::new(), action: action.into(), after: Vec::new(), evidence: evidence.into() }
    }

    pub(crate) fn before(mut self, change: Change) -> Self {
        self.before.push(change);
        self
    }

    pub(crate) fn after(mut self, change: Change) -> Self {
        self.after.push(change);
        self
    }

    /// The step with its changes in the record of this backend.
    pub(crate) fn of(mut self, backend: Backend) -> Self {
        for change in self.before.iter_mut().chain(&mut self.after) {
            *change = change.clone().of(backend);
        }
        self
    }
}
