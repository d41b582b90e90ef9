//! A node in memory: its files, units and processes, as far as the planner looks at them and its steps change them.

use std::collections::{BTreeMap, BTreeSet};

use extension_config::names::node;
use node_plan::{Entry, FileAction, Journal, MARKER, Source, Unit};

use crate::effects::{EffectError, Result, UnitView};

/// What kubelet's flag names.
const KUBELET_CONFIG: &str = "/k";

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Thing {
    Directory,
    File { sha256: String, mode: u32, marked: bool },
    Link(String),
}

/// A unit's process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) active: bool,
    pub(crate) failed: bool,
    pub(crate) starts: u32,
}

/// What a drop-in of kubelet's unit says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(not(test), expect(dead_code, reason = "for tests of the agent only"))]
pub(crate) enum LaterDropIn {
    EnvironmentFile(&'static str),
    NoExecStartPre,
}

/// Everything on the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) now: u64,
    pub(crate) things: BTreeMap<String, Thing>,
    pub(crate) journal: Option<Journal>,
    pub(crate) daemon: Process,
    pub(crate) timer: Process,
    pub(crate) kubelet: Process,
    pub(crate) on_proxy: bool,
    pub(crate) loaded: BTreeSet<String>,
    /// The daemon that is started now answers.
    pub(crate) daemon_works: bool,
    /// But one with this content does not.
    pub(crate) broken_daemon: &'static str,
    /// How long a look at the proxy takes, in seconds.
    pub(crate) proxy_hangs_for: u64,
    /// kubelet stays up on the proxy.
    pub(crate) kubelet_works_on_proxy: bool,
    /// The texts that are read of it, by path.
    pub(crate) texts: BTreeMap<String, String>,
    /// What the host gives to kubelet itself, in `KUBELET_EXTRA_ARGS`.
    pub(crate) own_arguments: &'static str,
    /// A drop-in that is read after ours.
    pub(crate) later_drop_in: Option<LaterDropIn>,
}

impl State {
    /// A node on which nothing of ours was ever done.
    pub(crate) fn new(now: u64) -> Self {
        let things = ["/etc/default", "/etc/systemd/system/multi-user.target.wants"];
        Self {
            now,
            things: things.map(|path| (path.to_owned(), Thing::Directory)).into(),
            journal: None,
            daemon: Process::default(),
            timer: Process::default(),
            kubelet: Process { active: true, failed: false, starts: 1 },
            on_proxy: false,
            loaded: BTreeSet::new(),
            daemon_works: true,
            broken_daemon: "",
            proxy_hangs_for: 0,
            kubelet_works_on_proxy: true,
            texts: BTreeMap::from([(KUBELET_CONFIG.to_owned(), "cpuManagerPolicy: none\n".to_owned())]),
            own_arguments: "",
            later_drop_in: None,
        }
    }

    pub(crate) fn proxy_answers(&self) -> bool {
        let is_broken =
            matches!(self.things.get(node::DAEMON), Some(Thing::File { sha256, .. }) if sha256 == self.broken_daemon);
        self.daemon.active && self.daemon_works && !is_broken
    }

    pub(crate) fn entry(&self, path: &str) -> Entry {
        match self.things.get(path) {
            None => Entry::Absent,
            Some(Thing::Directory) => {
                let empty =
                    !self.things.keys().any(|other| other.strip_prefix(path).is_some_and(|rest| rest.starts_with('/')));
                Entry::Directory {
                    empty: empty && !path.starts_with("/etc/default") && !path.ends_with("multi-user.target.wants"),
                }
            }
            Some(Thing::File { sha256, mode, marked }) => {
                Entry::File { sha256: sha256.clone(), mode: *mode, own: true, marked: *marked }
            }
            Some(Thing::Link(target)) => Entry::Link { target: target.clone() },
        }
    }

    /// Files of [`Self::texts`] in a directory.
    pub(crate) fn list(&self, directory: &str) -> Vec<(String, bool)> {
        let below = self.texts.keys().filter_map(|path| path.strip_prefix(directory)?.strip_prefix('/'));
        below.filter(|name| !name.contains('/')).map(|name| (name.to_owned(), false)).collect()
    }

    /// Carries out a change of files.
    pub(crate) fn change(&mut self, action: &FileAction) {
        match action {
            FileAction::MakeDirectory { path } => {
                self.things.insert(path.clone(), Thing::Directory);
            }
            FileAction::Write { path, mode, source, sha256 } => {
                let marked = matches!(source, Source::Text(text) if text.starts_with(MARKER));
                self.things.insert(path.clone(), Thing::File { sha256: sha256.clone(), mode: *mode, marked });
            }
            FileAction::MakeLink { path, target } => {
                self.things.insert(path.clone(), Thing::Link(target.clone()));
            }
            FileAction::Remove { path } => {
                self.things.remove(path);
            }
            FileAction::RemoveDirectory { path } => {
                if self.entry(path) == (Entry::Directory { empty: true }) {
                    self.things.remove(path);
                }
            }
            FileAction::RemoveTree { path } => {
                self.things.retain(|other, _| other != path && !other.starts_with(&format!("{path}/")));
            }
            FileAction::Rename { from, to } => {
                let below = |path: &String| path == from || path.starts_with(&format!("{from}/"));
                let moved: Vec<String> = self.things.keys().filter(|path| below(path)).cloned().collect();
                for path in moved {
                    if let Some(thing) = self.things.remove(&path) {
                        self.things.insert(format!("{to}{}", &path[from.len()..]), thing);
                    }
                }
            }
        }
    }

    /// daemon-reload.
    pub(crate) fn reload(&mut self) {
        let files = self.things.iter().filter(|(path, thing)| path.contains("systemd") && **thing != Thing::Directory);
        self.loaded = files.map(|(path, _)| path.clone()).collect();
    }

    pub(crate) fn stop(&mut self, unit: &str) {
        let process = if unit == node::DAEMON_UNIT { &mut self.daemon } else { &mut self.timer };
        process.active = false;
    }

    pub(crate) fn reset_failed(&mut self, unit: &str) {
        match unit {
            node::KUBELET_UNIT => self.kubelet.failed = false,
            node::DAEMON_UNIT => self.daemon.failed = false,
            _ => {}
        }
    }

    pub(crate) fn unit(&self, name: &str) -> UnitView {
        let idle = Process::default();
        let (process, file, letter) = match name {
            node::DAEMON_UNIT => (&self.daemon, node::DAEMON_UNIT_FILE, 'd'),
            node::GUARD_TIMER => (&self.timer, node::GUARD_TIMER_FILE, 't'),
            node::GUARD_UNIT => (&idle, node::GUARD_UNIT_FILE, 'g'),
            _ => (&self.kubelet, "", 'k'),
        };
        let load_state = if file.is_empty() || self.loaded.contains(file) { "loaded" } else { "not-found" };
        let active_state = if process.active {
            "active"
        } else if process.failed {
            "failed"
        } else {
            "inactive"
        };
        let mut view = UnitView {
            unit: Unit {
                load_state: load_state.into(),
                active_state: active_state.into(),
                sub_state: "running".into(),
                invocation: if process.starts == 0 { String::new() } else { format!("{letter}{}", process.starts) },
                main_pid: u32::from(process.active),
                n_restarts: 0,
                fragment: file.into(),
                drop_ins: BTreeSet::new(),
            },
            ..UnitView::default()
        };
        if file.is_empty() {
            let fixed = format!(
                "/opt/bin/kubelet --config={KUBELET_CONFIG} --container-runtime-endpoint=unix:///run/containerd/containerd.sock"
            );
            view.exec_start = vec![format!("{fixed} $KUBELET_EXTRA_ARGS").split(' ').map(str::to_owned).collect()];
            view.unit.drop_ins = self.loaded.iter().filter(|file| *file == node::KUBELET_DROP_IN).cloned().collect();
            if self.loaded.contains(node::KUBELET_DROP_IN) {
                view.exec_start_pre = vec![vec![node::GATE.to_owned(), "gate".to_owned()]];
                view.environment_files = vec![node::RUNTIME_ENV.to_owned()];
                match self.later_drop_in {
                    Some(LaterDropIn::EnvironmentFile(path)) => view.environment_files.push(path.to_owned()),
                    Some(LaterDropIn::NoExecStartPre) => view.exec_start_pre.clear(),
                    None => {}
                }
            }
            let more = if self.on_proxy { node::KUBELET_ENDPOINT_ARGUMENT } else { "" };
            view.command_line = process.active.then(|| format!("{fixed} {} {more}", self.own_arguments));
        }
        view
    }

    pub(crate) fn start(&mut self, unit: &str, again: bool) -> Result<()> {
        if unit == node::KUBELET_UNIT {
            self.on_proxy = self.loaded.contains(node::KUBELET_DROP_IN) && self.proxy_answers();
            let up = !self.on_proxy || self.kubelet_works_on_proxy;
            self.kubelet = Process { active: up, failed: !up, starts: self.kubelet.starts + 1 };
            if self.on_proxy {
                let env = Thing::File { sha256: String::new(), mode: 0o600, marked: false };
                self.things.insert(node::RUNTIME_ENV.into(), env);
            }
            return Ok(());
        }
        let file = format!("{}/{unit}", node::UNIT_DIR);
        if !self.loaded.contains(&file) {
            return Err(EffectError::Proof(format!("{unit} is not loaded")));
        }
        let process = if unit == node::DAEMON_UNIT { &mut self.daemon } else { &mut self.timer };
        if again || !process.active {
            *process = Process { active: true, failed: false, starts: process.starts + 1 };
        }
        if unit == node::DAEMON_UNIT {
            for path in [node::DAEMON_STATE_DIR, node::DAEMON_RUN_DIR] {
                self.things.insert(path.into(), Thing::Directory);
            }
        }
        Ok(())
    }
}
