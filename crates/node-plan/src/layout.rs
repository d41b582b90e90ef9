//! What an installation puts on the host, and who owns what is found there.

use extension_config::names::node;

use crate::desired::{Installation, StaticConfig, sha256};
use crate::entry::Entry;
use crate::journal::Journal;
use crate::observed::Observed;
use crate::texts;

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

/// Links that enable our units, with their targets.
pub(crate) const LINKS: [(&str, &str); 2] =
    [(node::DAEMON_UNIT_LINK, node::DAEMON_UNIT_FILE), (node::GUARD_TIMER_LINK, node::GUARD_TIMER_FILE)];

/// Directories that may have to be made, outermost first. Those of the journal and of the lock are the executor's.
pub(crate) const DIRECTORIES: [&str; 10] = [
    "/opt/intel",
    "/opt/intel/bin",
    "/opt/gardener-extension-cri-resmgr",
    node::GATE_DIR,
    "/etc/default",
    node::CONFIG_DIR,
    "/etc/systemd/system/multi-user.target.wants",
    "/etc/systemd/system/timers.target.wants",
    "/etc/systemd/system.control",
    node::KUBELET_DROP_IN_DIR,
];

/// Directories with names of ours alone: everything in them is ours, journal or not.
const OWN_DIRECTORIES: [&str; 2] = ["/opt/gardener-extension-cri-resmgr", node::GATE_DIR];

/// Every file that any version of an installation may have put there.
pub(crate) const FILES: [&str; 10] = [
    node::DAEMON,
    node::KEPT_DAEMON,
    node::GATE,
    node::FALLBACK_CONFIG,
    node::FORCE_CONFIG,
    node::ENVIRONMENT_FILE,
    node::DAEMON_UNIT_FILE,
    node::GUARD_UNIT_FILE,
    node::GUARD_TIMER_FILE,
    node::KUBELET_DROP_IN,
];

/// What the Go original's installation script leaves and this one never makes.
pub(crate) const PREDECESSOR_FILE: &str = "/etc/cri-resmgr/EXTRA_OPTIONS.cfg";

/// The daemon's cache of configuration, policy and allocations.
pub(crate) const DAEMON_CACHE: &str = "/var/lib/cri-resmgr/cache";

/// Where journal and lock are. Without a journal they are what an interrupted removal has left, or the lock of another agent.
pub(crate) const BOOKKEEPING: [&str; 2] = [node::STATE_DIR, node::RUN_DIR];

/// What the daemon makes itself (deleted at removal), and the name under which waits what stood there before us.
pub(crate) const DAEMON_PLACES: [(&str, &str); 3] = [
    (node::DAEMON_STATE_DIR, node::ASIDE_STATE_DIR),
    (node::DAEMON_RUN_DIR, node::ASIDE_RUN_DIR),
    (node::DAEMON_PID_FILE, node::ASIDE_PID_FILE),
];

/// What the daemon makes itself; deleted at removal.
#[must_use]
pub fn daemon_paths() -> [&'static str; 3] {
    DAEMON_PLACES.map(|(path, _)| path)
}

/// Every path that the planner wants to know about.
#[must_use]
pub fn watched_paths() -> Vec<&'static str> {
    let mut paths: Vec<&'static str> = Vec::new();
    paths.extend(DIRECTORIES);
    paths.extend(FILES);
    paths.extend(LINKS.map(|(path, _)| path));
    paths.extend(DAEMON_PLACES.into_iter().flat_map(|(path, aside)| [path, aside]));
    paths.extend(BOOKKEEPING);
    paths.extend([DAEMON_CACHE, node::RUNTIME_ENV, PREDECESSOR_FILE]);
    paths
}

impl Installation {
    /// The files of this installation, in the order in which they are put in place.
    #[must_use]
    pub fn files(&self) -> Vec<ManagedFile> {
        let text = |path, mode, text: String, role| {
            let sha256 = sha256(text.as_bytes());
            ManagedFile { path, mode, source: Source::Text(text), sha256, role }
        };
        let mut files = vec![
            ManagedFile {
                path: node::DAEMON,
                mode: 0o755,
                source: if self.daemon_is_kept { Source::Host(node::KEPT_DAEMON) } else { Source::Daemon },
                sha256: self.daemon.sha256.clone(),
                role: FileRole::Daemon,
            },
            ManagedFile {
                path: node::GATE,
                mode: 0o755,
                source: Source::Gate,
                sha256: self.gate.sha256.clone(),
                role: FileRole::Gate,
            },
        ];
        match &self.config {
            StaticConfig::BuiltIn => {}
            StaticConfig::Fallback(config) => {
                files.push(text(node::FALLBACK_CONFIG, 0o644, texts::configuration(config), FileRole::Daemon));
            }
            StaticConfig::Force(config) => {
                files.push(text(node::FORCE_CONFIG, 0o644, texts::configuration(config), FileRole::Daemon));
            }
        }
        files.push(text(node::ENVIRONMENT_FILE, 0o644, texts::environment(self), FileRole::Daemon));
        files.push(text(node::DAEMON_UNIT_FILE, 0o644, texts::daemon_unit(), FileRole::DaemonUnit));
        files.push(text(node::GUARD_UNIT_FILE, 0o644, texts::guard_unit(), FileRole::GuardUnit));
        files.push(text(node::GUARD_TIMER_FILE, 0o644, texts::guard_timer(), FileRole::GuardUnit));
        files.push(text(node::KUBELET_DROP_IN, 0o644, texts::kubelet_override(), FileRole::Override));
        files
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

/// Whether what stands at one of our paths was put there by us: the journal says so, it carries our marker, or it is in a directory of ours.
pub(crate) fn is_ours(observed: &Observed, path: &str) -> bool {
    let in_journal = observed.journal.as_ref().is_some_and(|journal| journal.made.files.contains(path));
    match observed.entry(path) {
        Entry::File { marked, .. } => {
            in_journal || *marked || in_own_directory(path) || (path == node::DAEMON && our_unit_runs_it(observed))
        }
        // A mask is somebody's intention, also where our unit used to stand.
        Entry::Link { .. } if observed.entry(path).is_mask() => false,
        Entry::Link { target } => {
            in_journal || LINKS.iter().any(|(link, to)| *link == path && to == target && is_ours(observed, to))
        }
        Entry::Absent | Entry::Directory { .. } | Entry::Other => false,
    }
}

/// A binary carries no marker, but a unit of ours that runs it tells the same.
fn our_unit_runs_it(observed: &Observed) -> bool {
    matches!(observed.entry(node::DAEMON_UNIT_FILE), Entry::File { marked: true, .. })
}

fn in_own_directory(path: &str) -> bool {
    OWN_DIRECTORIES.iter().any(|directory| path.starts_with(directory))
}

/// Whether a directory was made by us.
pub(crate) fn is_our_directory(journal: Option<&Journal>, path: &str) -> bool {
    OWN_DIRECTORIES.contains(&path) || journal.is_some_and(|journal| journal.made.directories.contains(path))
}

/// Whether what stands at a place of the daemon is not the daemon's: a daemon of ours was never started, or what stood there before us was put
/// back already.
pub(crate) fn is_foreign_state(observed: &Observed, (path, aside): (&str, &str)) -> bool {
    if observed.entry(path).is_absent() {
        return false;
    }
    let Some(journal) = &observed.journal else { return !any_trace(observed) };
    let was_moved = journal.made.aside.contains(path) && !observed.entry(aside).is_absent();
    journal.made.put_back.contains(path) || (journal.applied.is_none() && !was_moved)
}

/// Whether something of others waits under our name for its place to become free.
pub(crate) fn waits_aside(observed: &Observed, (path, aside): (&str, &str)) -> bool {
    !observed.entry(aside).is_absent()
        && (observed.entry(path).is_absent() || !is_foreign_state(observed, (path, aside)))
}

/// Whether we ever installed here: then the daemon's own files are ours to delete.
pub(crate) fn any_trace(observed: &Observed) -> bool {
    observed.journal.as_ref().is_some_and(|journal| !journal.made.files.is_empty())
        || FILES.iter().any(|path| is_ours(observed, path))
}
