//! What an installation puts on the host.

use crate::backend::Backend;
use crate::blob::sha256;
use crate::desired::Installation;

/// Where a file's content comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// Given here.
    Text(String),
    /// The daemon, from the agent's payload.
    Daemon,
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
    /// Host path.
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

/// What the daemon makes itself; deleted at removal.
#[must_use]
pub fn daemon_paths() -> Vec<&'static str> {
    Backend::ALL.iter().flat_map(|backend| backend.footprint().own_trees.iter().map(|(path, _)| *path)).collect()
}

/// Every path that the planner wants to know about.
#[must_use]
pub fn watched_paths() -> Vec<&'static str> {
    Backend::ALL.iter().flat_map(|backend| backend.footprint().paths()).collect()
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
