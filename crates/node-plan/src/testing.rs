//! A node in memory: its files, its units and kubelet, as far as planning looks at them and steps change them. The planner's tests, the agent's and the
//! simulation's nodes are this one; nothing of it ships.
//!
//! Its assertions are rules that a plan keeps in any order of crashes: no file without its directory, no overwriting by a rename, no binary without its
//! content.

mod files;
mod units;

use std::collections::{BTreeMap, BTreeSet};

use extension_config::cri_resmgr::CpuSet;
use extension_config::names::node;
use kubelet_config::{Endpoint, of_process, read_settings};

use crate::entry::Entry;
use crate::journal::Journal;
use crate::kind::Backend;
use crate::observed::{Kubelet, Nri, Observed, Plugin, RuntimeVersion, Space};
use crate::pins::{Container, Difference, Miss, Misses};
use crate::slot::Slot;
use crate::step::{Action, Check, JournalAction, Proof};
use crate::{Change, leftovers, leftovers_of};

/// The file that kubelet's `--config` names.
pub const KUBELET_CONFIG: &str = "/k";
/// More than anything takes, bytes.
pub const SPACE: u64 = 1 << 30;

/// A unit's process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Process {
    /// It runs.
    pub active: bool,
    /// systemd has given it up.
    pub failed: bool,
    /// How often it was started; names the run.
    pub starts: u32,
}

/// A drop-in of kubelet's unit that is read after ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaterDropIn {
    /// It reads variables from another file.
    EnvironmentFile(&'static str),
    /// It empties `ExecStartPre`.
    NoExecStartPre,
}

/// Everything on the node.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "facts of a node, in any combination")]
pub struct NodeState {
    /// Seconds since 1970.
    pub now: u64,
    /// What stands at each path; [`Entry::Directory`]'s `empty` is not kept but found.
    pub entries: BTreeMap<String, Entry>,
    /// The journal.
    pub journal: Option<Journal>,
    /// The daemon.
    pub daemon: Process,
    /// The guard's timer.
    pub timer: Process,
    /// The policy plugin.
    pub plugin: Process,
    /// A policy plugin that runs registers.
    pub plugin_works: bool,
    /// But one with this content does not.
    pub broken_plugin: &'static str,
    /// A document with this in it is not taken by its program; empty: all are.
    pub bad_document: &'static str,
    /// Containers have what a policy gave them.
    pub pinned: bool,
    /// Containers, by name, that are not where the policy has them.
    pub missed: BTreeSet<&'static str>,
    /// They are missed again after each start of it.
    pub stays_missed: bool,
    /// What containerd says of itself.
    pub runtime: RuntimeVersion,
    /// What it lets plugins do.
    pub nri: Nri,
    /// kubelet.
    pub kubelet: Process,
    /// Where kubelet was led at its last start.
    pub endpoint: Endpoint,
    /// Unit files that systemd has read.
    pub loaded: BTreeSet<String>,
    /// A daemon that runs answers.
    pub daemon_works: bool,
    /// But one with this content does not.
    pub broken_daemon: &'static str,
    /// How long a check of the proxy takes, seconds.
    pub proxy_hangs_for: u64,
    /// kubelet stays up on the proxy.
    pub kubelet_works_on_proxy: bool,
    /// kubelet stays up on containerd.
    pub kubelet_works_on_containerd: bool,
    /// `ExecStart` of kubelet's unit.
    pub kubelet_command: String,
    /// What the host gives to kubelet itself, in `KUBELET_EXTRA_ARGS`.
    pub kubelet_own_arguments: &'static str,
    /// A drop-in of its unit that is read after ours.
    pub later_drop_in: Option<LaterDropIn>,
    /// Texts that are read of the host, by path.
    pub texts: BTreeMap<String, String>,
    /// Online CPUs as the kernel lists them; empty: they cannot be read.
    pub cpus: &'static str,
    /// containerd answers.
    pub containerd_answers: bool,
    /// What is answered to a node that asks for a slot.
    pub slot: Slot,
    /// systemd's version.
    pub systemd: String,
}

impl Default for NodeState {
    fn default() -> Self {
        Self::new(10_000)
    }
}

impl NodeState {
    /// A node on which nothing of ours was ever done.
    #[must_use]
    pub fn new(now: u64) -> Self {
        let directories = ["/etc/default", "/etc/systemd/system/multi-user.target.wants"];
        Self {
            now,
            entries: directories.map(|path| (path.to_owned(), Entry::Directory { empty: false })).into(),
            journal: None,
            daemon: Process::default(),
            timer: Process::default(),
            plugin: Process::default(),
            plugin_works: true,
            broken_plugin: "",
            bad_document: "",
            pinned: false,
            missed: BTreeSet::new(),
            stays_missed: false,
            runtime: RuntimeVersion { name: "containerd".into(), version: "v2.3.7".into() },
            nri: Nri { socket: true, prelaunched: Vec::new() },
            kubelet: Process { active: true, failed: false, starts: 1 },
            endpoint: Endpoint::Containerd,
            loaded: BTreeSet::new(),
            daemon_works: true,
            broken_daemon: "",
            proxy_hangs_for: 0,
            kubelet_works_on_proxy: true,
            kubelet_works_on_containerd: true,
            kubelet_command: format!(
                "/opt/bin/kubelet --config={KUBELET_CONFIG} \
                 --container-runtime-endpoint=unix:///run/containerd/containerd.sock $KUBELET_EXTRA_ARGS"
            ),
            kubelet_own_arguments: "",
            later_drop_in: None,
            texts: BTreeMap::from([(KUBELET_CONFIG.to_owned(), "cpuManagerPolicy: none\n".to_owned())]),
            cpus: "0-3\n",
            containerd_answers: true,
            slot: Slot::Held,
            systemd: "252.39-1~deb12u1".into(),
        }
    }

    /// Whether CRI calls are answered through the daemon.
    #[must_use]
    pub fn proxy_answers(&self) -> bool {
        let is_broken = self.entries.get(node::DAEMON).is_some_and(|entry| entry.has_content(self.broken_daemon));
        self.daemon.active && self.daemon_works && !is_broken
    }

    /// Whether the policy plugin has registered with containerd.
    #[must_use]
    pub fn plugin_registered(&self) -> bool {
        let is_broken = self.entries.get(node::PLUGIN).is_some_and(|entry| entry.has_content(self.broken_plugin));
        self.plugin.active && self.plugin_works && !is_broken
    }

    /// Containers that are not where the policy plugin has them.
    #[must_use]
    pub fn misses(&self) -> Misses {
        let miss = |name: &&'static str| Miss {
            container: Container { id: (*name).to_owned(), name: (*name).to_owned() },
            difference: Difference::NotInBooks,
        };
        Misses { of: 3, not_looked_at: 0, misses: self.missed.iter().map(miss).collect() }
    }

    /// kubelet runs, and runs on the proxy.
    #[must_use]
    pub fn is_on_proxy(&self) -> bool {
        self.kubelet.active && self.endpoint == Endpoint::Proxy
    }

    /// Online CPUs.
    #[must_use]
    pub fn cpu_set(&self) -> Option<CpuSet> {
        CpuSet::of_kernel(self.cpus)
    }

    /// The whole node as a planner sees it.
    #[must_use]
    pub fn observe(&self) -> Observed {
        let service = &Backend::Proxy.footprint().service;
        let command_line = self.kubelet_command_line().map(|line| of_process(&line));
        let exec_start = self.kubelet_exec_start();
        let settings = read_settings(self, command_line.as_deref(), &exec_start[0]);
        Observed {
            now: self.now,
            entries: self.entries.keys().map(|path| (path.clone(), self.entry(path))).collect(),
            journal: self.journal.clone(),
            kubelet: Kubelet { unit: self.unit(node::KUBELET_UNIT), exec_start, command_line, settings },
            daemon: self.unit(service.unit),
            guard: self.unit(node::GUARD_UNIT),
            timer: self.unit(node::GUARD_TIMER),
            proxy_answers: self.proxy_answers(),
            containerd_answers: self.containerd_answers,
            runtime: self.containerd_answers.then(|| self.runtime.clone()),
            nri: self.nri.clone(),
            plugin: Plugin {
                unit: self.unit(node::PLUGIN_UNIT),
                registered: self.plugin_registered(),
                misses: self.plugin_registered().then(|| self.misses()),
            },
            space: Space { opt: SPACE, etc: SPACE, var_lib: SPACE, run: SPACE },
            systemd: self.systemd.clone(),
            architecture: "x86_64".into(),
            cpus: self.cpu_set(),
            slot: self.slot.clone(),
        }
    }

    /// Writes changes into the journal.
    pub fn record(&mut self, changes: &[Change]) {
        if changes.is_empty() {
            return;
        }
        let journal = self.journal.get_or_insert_default();
        for change in changes {
            journal.apply(change);
        }
    }

    /// Carries out an action; false when it fails.
    ///
    /// # Panics
    /// When the action breaks a rule that every plan keeps.
    pub fn act(&mut self, action: &Action) -> bool {
        match action {
            Action::File(action) => self.change_files(action),
            Action::Unit(action) => return self.change_units(action),
            Action::RestartKubelet { .. } => self.restart_kubelet(),
            Action::ResetPins => {
                assert!(!self.plugin.active, "the policy would assert its pins");
                self.pinned &= !self.containerd_answers;
                return self.containerd_answers;
            }
            Action::Check(Check::DryRun { program, document }) => {
                assert!(matches!(self.entry(program), Entry::File { .. }), "there is no {program} to try out");
                return self.bad_document.is_empty() || !document.contains(self.bad_document);
            }
            Action::Prove(proof) => return self.prove(*proof),
            Action::Journal(JournalAction::Record) => {}
            Action::Journal(JournalAction::Forget) => self.journal = None,
        }
        true
    }

    fn prove(&self, proof: Proof) -> bool {
        match proof {
            Proof::DaemonAnswers => self.proxy_answers(),
            Proof::Override { loaded } => self.has_override_loaded() == loaded,
            Proof::Kubelet { endpoint } => self.kubelet.active && self.endpoint == endpoint && self.runtime_answers(),
            Proof::PluginRegistered { .. } => self.plugin_registered(),
            Proof::PinsEffective => self.plugin_registered() && self.missed.is_empty(),
            Proof::NothingLeftOf { backend } => {
                assert_eq!(leftovers_of(&self.observe(), backend), Vec::<String>::new());
                true
            }
            Proof::Clean => {
                assert_eq!(leftovers(&self.observe()), Vec::<String>::new());
                true
            }
        }
    }

    fn runtime_answers(&self) -> bool {
        self.endpoint != Endpoint::Proxy || self.proxy_answers()
    }
}
