//! A file that an installation puts on the host.

use nri_policy::Kind;

/// Where a file's content comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Given here.
    Text(String),
    /// The daemon, from the agent's payload.
    Daemon,
    /// The policy of this kind, from the agent's payload.
    Policy(Kind),
    /// Another file of the host.
    Host(&'static str),
    /// The gate, from the agent's image.
    Gate,
}

/// Who reads a file, and so what has to happen after it changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileRole {
    /// The daemon runs with it: restart the daemon.
    Daemon,
    /// The daemon's unit: reload, then restart the daemon.
    DaemonUnit,
    /// Run anew each time: nothing.
    Gate,
    /// The guard's units: reload, then restart the timer.
    GuardUnit,
    /// The override of kubelet: reload.
    Override,
}

/// A file of the installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManagedFile {
    /// Absolute path on the host.
    pub path: &'static str,
    /// Permission bits.
    pub mode: u32,
    /// Content.
    pub source: Source,
    /// SHA-256 of the content.
    pub sha256: String,
    /// Who reads it.
    pub role: FileRole,
}
