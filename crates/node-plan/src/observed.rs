//! What a node is, as far as it matters to us.

use std::collections::{BTreeMap, BTreeSet};

use extension_config::cri_resmgr::CpuSet;
use extension_config::names::node;
use kubelet_config::{Endpoint, Settings, effective_endpoint};

use crate::entry::Entry;
use crate::journal::Journal;
use crate::kind::Backend;
use crate::pins::Misses;
use crate::slot::Slot;

/// A unit as systemd shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unit {
    /// `loaded`, `not-found`, `bad-setting`, `masked`, …
    pub load_state: String,
    /// `active`, `inactive`, `activating`, `failed`, …
    pub active_state: String,
    /// `running`, `auto-restart`, `dead`, …
    pub sub_state: String,
    /// Invocation id in hexadecimal digits; empty when it never ran.
    pub invocation: String,
    /// Main process; 0 when there is none.
    pub main_pid: u32,
    /// Automatic restarts since the last manual one.
    pub n_restarts: u32,
    /// File of the unit.
    pub fragment: String,
    /// Drop-ins that are loaded.
    pub drop_ins: BTreeSet<String>,
}

impl Unit {
    /// Started and not on its way down.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.active_state == "active"
    }

    /// Its start is under way, or awaited after a crash.
    #[must_use]
    pub fn is_activating(&self) -> bool {
        self.active_state == "activating"
    }

    /// systemd has given it up.
    #[must_use]
    pub fn is_failed(&self) -> bool {
        self.active_state == "failed"
    }

    /// There is something to stop.
    #[must_use]
    pub fn is_up(&self) -> bool {
        !matches!(self.active_state.as_str(), "" | "inactive" | "failed")
    }
}

/// kubelet's unit, process and configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kubelet {
    /// `kubelet.service` as systemd shows it.
    pub unit: Unit,
    /// `ExecStart` command lines, variables unresolved.
    pub exec_start: Vec<Vec<String>>,
    /// Words of the running main process; `None` when there is none.
    pub command_line: Option<Vec<String>>,
    /// Its settings, those of the running process where there is one; else why they cannot be read.
    pub settings: Result<Settings, String>,
}

impl Kubelet {
    /// What the running main process uses; `None` when there is none.
    #[must_use]
    pub fn endpoint(&self) -> Option<Endpoint> {
        let words = self.command_line.as_ref()?;
        Some(match &self.settings {
            Ok(settings) => settings.endpoint(words).map_or(Endpoint::Containerd, |found| Endpoint::of(&found.value)),
            Err(_) => effective_endpoint(words),
        })
    }
}

/// Free space in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Below `/opt`.
    pub opt: u64,
    /// Below `/etc`.
    pub etc: u64,
    /// Below `/var/lib`.
    pub var_lib: u64,
    /// Below `/run`; systemd refuses to reload with less than 16 MiB.
    pub run: u64,
}

/// Name and version of a runtime as it says them (`containerd`, `v2.3.7`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuntimeVersion {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// What containerd lets plugins do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Nri {
    /// Its socket for plugins is there.
    pub socket: bool,
    /// Plugins that it starts itself, by the names of their files.
    pub prelaunched: Vec<String>,
}

/// The policy plugin.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plugin {
    /// Its unit.
    pub unit: Unit,
    /// Its pid file names the unit's main process: it has registered with containerd and was not dropped, which would have ended it.
    pub registered: bool,
    /// Containers that are not as it has them; `None` where that was not checked.
    pub misses: Option<Misses>,
}

/// What was found on a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// Seconds since 1970.
    pub now: u64,
    /// What stands at each of [`crate::watched_paths`]; a missing key is [`Entry::Absent`].
    pub entries: BTreeMap<String, Entry>,
    /// The journal; `None` when there is none.
    pub journal: Option<Journal>,
    /// kubelet.
    pub kubelet: Kubelet,
    /// The daemon's unit.
    pub daemon: Unit,
    /// The guard's service.
    pub guard: Unit,
    /// The guard's timer.
    pub timer: Unit,
    /// CRI `Version` and `Status` are answered through the proxy.
    pub proxy_answers: bool,
    /// CRI `Version` is answered by containerd itself.
    pub containerd_answers: bool,
    /// What it answers.
    pub runtime: Option<RuntimeVersion>,
    /// What it lets plugins do.
    pub nri: Nri,
    /// The policy plugin.
    pub plugin: Plugin,
    /// Free space.
    pub space: Space,
    /// systemd's version as it says it: `252.39-1~deb12u1`.
    pub systemd: String,
    /// Architecture of the machine, by Rust's name.
    pub architecture: String,
    /// CPUs that are online; `None` when that cannot be read.
    pub cpus: Option<CpuSet>,
    /// The slot for what is paced.
    pub slot: Slot,
}

impl Observed {
    /// The node as the part of planning that is the same for all backends looks at it: journal, daemon and its answer are this backend's.
    #[must_use]
    pub fn of(&self, backend: Backend) -> Self {
        let journal = self.journal.as_ref().map(|journal| journal.of(backend));
        match backend {
            Backend::Proxy => Self { journal, ..self.clone() },
            Backend::Plugin => Self {
                journal,
                daemon: self.plugin.unit.clone(),
                guard: Unit::default(),
                timer: Unit::default(),
                proxy_answers: self.plugin.registered,
                ..self.clone()
            },
        }
    }

    /// Whether nothing is remembered of the backend that this is the view of ([`Self::of`]), which may be here all the same.
    pub(crate) fn is_forgotten(&self) -> bool {
        self.journal.as_ref().is_none_or(|journal| !journal.has(Backend::Proxy))
    }

    /// What stands at a path.
    #[must_use]
    pub fn entry(&self, path: &str) -> &Entry {
        self.entries.get(path).unwrap_or(&Entry::Absent)
    }

    /// Whether systemd has our override loaded.
    #[must_use]
    pub fn override_loaded(&self) -> bool {
        self.kubelet.unit.drop_ins.contains(node::KUBELET_DROP_IN)
    }
}
