//! The decisions.

mod adjust;
mod configure;

use std::collections::BTreeMap;

use extension_config::cri_resmgr::{CpuSet, RestartBoundState};
use serde_json::Value;

use crate::adjustments::{Adjustment, Errors};
use crate::config_status::{ConfigStatus, Meant, RestartRequest, needs_repeated_restart, refusal, warnings};
use crate::memory::{By, Memory, Refused, Run};
use crate::selection::{self, Data, Group, Read, Selected, Source};

/// Whether the daemon on this node may be given configurations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum DaemonMode {
    /// Not known: nothing is done.
    #[default]
    Undecided,
    /// No daemon of ours that takes configurations is to run here: nothing is pushed, and what Adjustments say about the node is withdrawn.
    Off,
    /// The daemon was taken off the node after a failure.
    RolledBack,
    /// Our daemon is installed; this is its static configuration.
    Serve {
        /// Text of the fallback configuration.
        fallback: String,
    },
}

/// Something to hand to the daemon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Push {
    /// A whole configuration.
    Config {
        /// Its name and hash.
        source: Source,
        /// Its content, never empty.
        data: Data,
    },
    /// The complete set of adjustments, perhaps empty.
    Adjustments {
        /// Specifications by name.
        set: BTreeMap<String, Value>,
    },
}

/// What the daemon answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// All of it is in effect.
    Accepted,
    /// Nothing of it is (or so it says); errors by adjustment, container or another key, none for a configuration.
    Refused(BTreeMap<String, String>),
}

/// All that is known, and what follows from it.
#[derive(Debug, Clone)]
pub struct Core {
    node: String,
    memory: Memory,
    daemon_mode: DaemonMode,
    /// The static configuration by modules, where a daemon could take it.
    fallback: Option<Data>,
    maps: Option<BTreeMap<String, Data>>,
    group: Group,
    /// CPUs of the machine.
    cpus: Option<CpuSet>,
    adjustments: Option<BTreeMap<String, Adjustment>>,
    /// The run in the memory is up.
    running: bool,
    /// The content that was read last, by its hash, and what came of it.
    read: Option<(String, Result<Read, Vec<String>>)>,
    /// The configuration that is being pushed, checked.
    checked: Option<(String, RestartBoundState)>,
    /// Why the run would have to end once more.
    needs_repeated_restart: Option<(Source, String)>,
    probe: Option<adjust::Probe>,
    written: BTreeMap<String, Option<Errors>>,
}

impl Core {
    /// A core that knows nothing but what an earlier agent remembered.
    #[must_use]
    pub fn new(node: impl Into<String>, memory: Memory) -> Self {
        Self {
            node: node.into(),
            memory,
            daemon_mode: DaemonMode::Undecided,
            fallback: None,
            maps: None,
            group: Group::Unknown,
            cpus: None,
            adjustments: None,
            running: false,
            read: None,
            checked: None,
            needs_repeated_restart: None,
            probe: None,
            written: BTreeMap::new(),
        }
    }

    /// What must outlive the agent.
    #[must_use]
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    /// Whether the node has a daemon that takes what is pushed.
    #[must_use]
    pub fn serves(&self) -> bool {
        matches!(self.daemon_mode, DaemonMode::Serve { .. })
    }

    /// Sets what the daemon may be given from now on.
    pub fn set_daemon_mode(&mut self, daemon_mode: DaemonMode) {
        if daemon_mode == self.daemon_mode {
            return;
        }
        self.fallback = match &daemon_mode {
            DaemonMode::Serve { fallback } => selection::modules_of(fallback),
            _ => None,
        };
        if daemon_mode == DaemonMode::RolledBack
            && let Some(source) = self.memory.starting.take()
        {
            self.memory.refused = Some(Refused { source, by: By::Start, keys: Vec::new() });
        }
        self.daemon_mode = daemon_mode;
    }

    /// The complete list of ConfigMaps with dynamic configurations.
    pub fn set_maps(&mut self, maps: BTreeMap<String, Data>) {
        self.maps = Some(maps);
    }

    /// The group in the node's labels.
    pub fn set_group(&mut self, group: Option<String>) {
        self.group = group.into();
    }

    /// The CPUs of the machine; `None`: not known. What was refused before is checked again when they change.
    pub fn set_cpus(&mut self, cpus: Option<CpuSet>) {
        if cpus == self.cpus {
            return;
        }
        self.cpus = cpus;
        if self.memory.refused.as_ref().is_some_and(|refused| refused.by == By::Check) {
            self.memory.refused = None;
        }
    }

    /// The complete list of Adjustments.
    pub fn set_adjustments(&mut self, adjustments: BTreeMap<String, Adjustment>) {
        self.written.clear();
        self.adjustments = Some(adjustments);
    }

    /// One Adjustment as it stands now; `None`: it is gone. Without effect before the first complete list.
    pub fn set_adjustment(&mut self, name: &str, adjustment: Option<Adjustment>) {
        let Some(adjustments) = &mut self.adjustments else { return };
        let Some(adjustment) = adjustment else {
            adjustments.remove(name);
            self.written.remove(name);
            return;
        };
        if self.written.get(name) == Some(&adjustment.status) {
            self.written.remove(name);
        }
        adjustments.insert(name.to_owned(), adjustment);
    }

    /// The run of the daemon that is up. `cached` gives the configuration that the daemon keeps over its own restarts; it is asked for a run
    /// that was not seen before.
    pub fn set_run(&mut self, invocation: Option<&str>, cached: impl FnOnce() -> Option<Data>) {
        self.running = invocation.is_some();
        let Some(invocation) = invocation else { return };
        if self.memory.run.as_ref().is_some_and(|run| run.invocation == invocation) {
            return;
        }
        let before = self.memory.run.take();
        let ended_by_us = before.as_ref().is_some_and(|run| run.end.is_some());
        if !ended_by_us && self.memory.refused.as_ref().is_some_and(|refused| refused.by == By::Daemon) {
            self.memory.refused = None;
        }
        let cached = cached().filter(|data| !data.is_empty());
        let read = cached.as_ref().map(selection::read);
        let fallback = || self.fallback.as_ref().map(selection::read);
        let kept = read.clone().or_else(fallback).and_then(|read| Some(read.ok()?.kept));
        // What cannot be read is at least not the static configuration.
        let read = read.and_then(Result::ok).map(|read| read.data);
        self.needs_repeated_restart = None;
        self.probe = None;
        self.memory.run = Some(Run {
            invocation: invocation.to_owned(),
            started_with: read.or(cached).as_ref().map(selection::hash),
            accepted: None,
            kept,
            // Adjustments do not outlive a run. A run that was there before us may have some.
            adjustments: before.is_some().then(BTreeMap::new),
            faults: BTreeMap::new(),
            end: None,
        });
    }

    /// What to hand to the daemon now.
    pub fn next_push(&mut self) -> Option<Push> {
        if !self.serves() || !self.running || self.memory.run.as_ref().is_none_or(|run| run.end.is_some()) {
            return None;
        }
        self.next_config().or_else(|| self.next_adjustments())
    }

    /// The daemon's answer to a push. One that never arrived has none.
    pub fn answered(&mut self, push: &Push, answer: &Answer) {
        // Whatever it says, it is up.
        self.memory.starting = None;
        match push {
            Push::Config { source, .. } => self.config_answered(source, answer),
            Push::Adjustments { set } => self.adjustments_answered(set, answer),
        }
    }

    /// What its owner should know of the ConfigMap for this node although the daemon takes it: what of it the daemon is not given, and what works
    /// otherwise than it looks.
    fn warnings(&self) -> Vec<String> {
        match &self.read {
            Some((_, Ok(read))) => {
                let absent = read.absent(self.cpus.as_ref());
                warnings(absent.iter().chain(&read.left_out).chain(&read.warnings))
            }
            _ => Vec::new(),
        }
    }

    /// The status of the dynamic configuration.
    #[must_use]
    pub fn config_status(&self) -> ConfigStatus {
        let meant = self.meant();
        if !self.serves() {
            return ConfigStatus { meant, ..ConfigStatus::default() };
        }
        let run = self.memory.run.as_ref().filter(|_| self.running);
        let restart_request = run.and_then(|run| {
            let because = run.end.clone()?;
            Some(RestartRequest { invocation: run.invocation.clone(), because })
        });
        let refused = self.memory.refused.as_ref();
        let needs_repeated_restart =
            || self.needs_repeated_restart.as_ref().map(|(source, because)| needs_repeated_restart(source, because));
        ConfigStatus {
            accepted: run.and_then(|run| run.accepted.clone()),
            problem: refused.map(refusal).or_else(needs_repeated_restart),
            // One that is refused for its CPUs is reported once.
            warnings: if refused.is_some_and(|refused| refused.by == By::Check) { Vec::new() } else { self.warnings() },
            restart_request,
            meant,
        }
    }

    fn meant(&self) -> Option<Meant> {
        let config_map = match selection::select(self.maps.as_ref(), &self.node, &self.group) {
            Selected::Unknown => return None,
            Selected::Map(name, _) => Some(name.to_owned()),
            Selected::None => None,
        };
        Some(Meant { config_map, adjustments: self.names_in_scope()? })
    }
}

#[cfg(test)]
mod tests;
