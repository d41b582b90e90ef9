//! What must be remembered because it cannot be observed.

use std::collections::BTreeSet;

use nri_policy::Kind;
use serde::{Deserialize, Serialize};

use crate::blob::Blob;
use crate::kind::Backend;
use crate::restart::{GIVEN_UP_WINDOW_SECONDS, Restart, WINDOW_SECONDS};
use crate::static_config::StaticConfig;

/// Where the work on a node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Phase {
    /// Under way to an installed node.
    #[default]
    Installing,
    /// Installed, and kubelet was seen to run well on the proxy.
    Installed,
    /// Under way to a clean node.
    Removing,
    /// Cleaned after a failure; only the journal is left, to remember the back-off.
    RolledBack,
}

/// What the running daemon was started with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Applied {
    /// [`crate::Installation::inputs`] of all that the daemon runs with; empty when not known.
    pub inputs: String,
    /// The policy in its static configuration.
    pub policy: String,
    /// Invocation of the unit *before* that start. Written before the start, so that after a crash any other invocation is known to run with
    /// the inputs, and none is restarted twice.
    pub previous_invocation: String,
}

impl Applied {
    /// A daemon of ours was started, but the journal that said how is lost.
    pub(crate) fn unknown(policy: String) -> Self {
        Self { inputs: String::new(), policy, previous_invocation: String::new() }
    }
}

/// A try that failed, and when the next one may come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Backoff {
    /// Failures in a row.
    pub failures: u32,
    /// Seconds since 1970 of the last one.
    pub failed_at: u64,
    /// Seconds since 1970 before which nothing is tried again with the same inputs.
    pub not_before: u64,
    /// What failed.
    pub reason: String,
    /// Inputs of the try; others may be tried at once.
    pub inputs: String,
    /// The failure is recorded in the shoot, where it counts against the limit of roll-backs.
    #[serde(default, rename = "told")]
    pub reported: bool,
}

/// What was last seen to run well. Should its successor fail, the node goes back to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Proven {
    /// kubelet ran well through it.
    Proxy(ProvenProxy),
    /// Containers were where it had them.
    Plugin(ProvenPlugin),
}

impl Proven {
    /// Its program.
    #[must_use]
    pub fn binary(&self) -> &Blob {
        match self {
            Self::Proxy(proxy) => &proxy.daemon,
            Self::Plugin(plugin) => &plugin.binary,
        }
    }
}

/// What kubelet ran well through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProvenProxy {
    /// The daemon's static configuration.
    pub config: StaticConfig,
    /// Further options of its command line.
    pub extra_options: String,
    /// The daemon.
    pub daemon: Blob,
}

/// A policy of nri-plugins that containers were seen to be placed by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ProvenPlugin {
    /// Which policy.
    pub kind: Kind,
    /// Its whole document.
    pub document: String,
    /// Its program.
    pub binary: Blob,
    /// How long containerd waits for an answer of it, seconds.
    pub request_timeout_seconds: u64,
}

/// What we made on the host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Made {
    /// Files and links.
    pub files: BTreeSet<String>,
    /// Directories.
    pub directories: BTreeSet<String>,
    /// Places of the daemon from which something of others was moved aside, or is about to be.
    #[serde(default)]
    pub aside: BTreeSet<String>,
    /// Those to which it was put back, or is about to be: what stands there is no longer the daemon's.
    #[serde(default)]
    pub put_back: BTreeSet<String>,
}

/// The journal: written before the effects that it speaks of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Journal {
    /// Where the work stands.
    pub phase: Phase,
    /// What we made or were about to make.
    pub made: Made,
    /// Unit files were written that systemd may not have read yet.
    pub reload_pending: bool,
    /// What the daemon was started with; without inputs when a file that it runs with was replaced since.
    pub applied: Option<Applied>,
    /// kubelet was restarted by us and not yet seen to run well.
    pub kubelet_unproven: bool,
    /// kubelet was seen to run well on the proxy since the installation began: a later restart onto it heals.
    pub switched: bool,
    /// Recent restarts of kubelet, oldest first; those outside the window are dropped.
    pub restarts: Vec<Restart>,
    /// Recent times at which systemd had given the daemon up, seconds since 1970, oldest first.
    pub given_up: Vec<u64>,
    /// The last failure.
    pub backoff: Option<Backoff>,
    /// What kubelet ran well through.
    pub proven: Option<Proven>,
    /// The same four of the plugin; what stands above is the proxy's. Only while something of the plugin is on the node: an agent that does not know it
    /// must not take the file for one of its own ([`Journal::version`]).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugin: Option<Box<Record>>,
}

/// What must be remembered of one backend.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Record {
    /// What we made or were about to make for it.
    pub made: Made,
    /// What it was started with.
    pub applied: Option<Applied>,
    /// When it was started again because it did not work, seconds since 1970, of late, oldest first.
    pub given_up: Vec<u64>,
    /// What was proven of it.
    pub proven: Option<Proven>,
}

/// One change of the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The work stands elsewhere.
    Phase(Phase),
    /// These files, links and directories are about to be made.
    Make(Made),
    /// What others have at this place of the daemon is about to be moved aside.
    MovesAside(String),
    /// It was moved aside, and what stands at the place from now on is our daemon's.
    MovedAside(String),
    /// It is about to be put back.
    PutsBack(String),
    /// Everything that we made is gone.
    NothingMade,
    /// Unit files are about to be written.
    ReloadPending(bool),
    /// A file that the daemon runs with is about to be replaced.
    DaemonStale,
    /// The daemon is about to be started with this.
    DaemonStarts(Applied),
    /// systemd has given the daemon up, which is about to be started again.
    DaemonGivenUp(u64),
    /// kubelet is about to be restarted.
    KubeletRestarts(Restart),
    /// kubelet was seen to run well.
    KubeletProven,
    /// A try failed.
    Failed(Backoff),
    /// The failure was recorded in the shoot.
    FailureReported,
    /// kubelet was seen to run well through this.
    Proven(Proven),
    /// What was proven once does not prove itself any more.
    NothingProven,
    /// This, of the plugin instead of the proxy.
    OfPlugin(Box<Change>),
}

impl Change {
    /// The change in the record of this backend.
    #[must_use]
    pub fn of(self, backend: Backend) -> Self {
        match backend {
            Backend::Proxy => self,
            Backend::Plugin => Self::OfPlugin(Box::new(self)),
        }
    }
}

/// Version of the journal's file with nothing of the plugin.
pub const FIRST_VERSION: u32 = 1;
/// Version of the journal's file with something of the plugin: agents of before keep their hands off.
pub const PLUGIN_VERSION: u32 = 2;
/// Version of the journal's file in the middle of a handover, with something of both: agents that know one backend at a time keep their hands off.
pub const HANDOVER_VERSION: u32 = 3;

impl Journal {
    /// Version of the file that it is written into.
    #[must_use]
    pub fn version(&self) -> u32 {
        match (self.has(Backend::Proxy), self.plugin.is_some()) {
            (true, true) => HANDOVER_VERSION,
            (false, true) => PLUGIN_VERSION,
            (_, false) => FIRST_VERSION,
        }
    }

    /// Whether something is remembered of this backend.
    #[must_use]
    pub fn has(&self, backend: Backend) -> bool {
        match backend {
            Backend::Proxy => self.made != Made::default() || self.applied.is_some(),
            Backend::Plugin => self.plugin.is_some(),
        }
    }

    /// The backend that something is remembered of. In the middle of a handover there are two: then the one counts that is proven, and
    /// the proxy where both are.
    #[must_use]
    pub fn backend(&self) -> Option<Backend> {
        let proven = |backend: &Backend| self.of(*backend).proven.is_some();
        let here = || Backend::ALL.into_iter().filter(|backend| self.has(*backend));
        here().find(proven).or_else(|| here().next())
    }

    /// The journal as one that knows of this backend alone.
    #[must_use]
    pub fn of(&self, backend: Backend) -> Self {
        match backend {
            Backend::Proxy => Self { plugin: None, ..self.clone() },
            Backend::Plugin => {
                let Record { made, applied, given_up, proven } = self.plugin.as_deref().cloned().unwrap_or_default();
                Self { made, applied, given_up, proven, plugin: None, ..self.clone() }
            }
        }
    }

    /// Applies a change to what is remembered of the plugin, and of the node as a whole.
    fn apply_of_plugin(&mut self, change: &Change) {
        let mut own = self.of(Backend::Plugin);
        own.apply(change);
        let Self { made, applied, given_up, proven, .. } = &mut own;
        let record = Record {
            made: std::mem::take(made),
            applied: applied.take(),
            given_up: std::mem::take(given_up),
            proven: proven.take(),
        };
        // Whether kubelet was ever seen to run well on the proxy is the proxy's, too.
        let Self { made, applied, switched, given_up, proven, .. } = std::mem::take(self);
        let plugin = (record != Record::default()).then(|| Box::new(record));
        *self = Self { made, applied, switched, given_up, proven, plugin, ..own };
    }

    /// Applies one change.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Phase(phase) => {
                self.phase = *phase;
                self.switched |= *phase == Phase::Installed;
            }
            Change::Make(made) => {
                self.made.files.extend(made.files.iter().cloned());
                self.made.directories.extend(made.directories.iter().cloned());
            }
            Change::MovesAside(path) => drop(self.made.aside.insert(path.clone())),
            Change::MovedAside(path) => drop(self.made.put_back.remove(path)),
            Change::PutsBack(path) => {
                self.made.aside.remove(path);
                self.made.put_back.insert(path.clone());
            }
            Change::NothingMade => {
                self.made = Made::default();
                self.applied = None;
                self.switched = false;
                self.proven = None;
                self.given_up.clear();
            }
            Change::ReloadPending(pending) => self.reload_pending = *pending,
            Change::DaemonStale => {
                if let Some(applied) = &mut self.applied {
                    applied.inputs.clear();
                }
            }
            Change::DaemonStarts(applied) => self.applied = Some(applied.clone()),
            Change::DaemonGivenUp(at) => {
                self.given_up.retain(|past| past + GIVEN_UP_WINDOW_SECONDS > *at);
                self.given_up.push(*at);
            }
            Change::KubeletRestarts(restart) => {
                self.restarts.retain(|past| past.at + WINDOW_SECONDS > restart.at);
                self.restarts.push(*restart);
                self.kubelet_unproven = true;
            }
            Change::KubeletProven => self.kubelet_unproven = false,
            Change::Failed(backoff) => self.backoff = Some(backoff.clone()),
            Change::Proven(proven) => self.proven = Some(proven.clone()),
            Change::NothingProven => self.proven = None,
            Change::OfPlugin(change) => self.apply_of_plugin(change),
            Change::FailureReported => {
                if let Some(backoff) = &mut self.backoff {
                    backoff.reported = true;
                }
            }
        }
    }
}
