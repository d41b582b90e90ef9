//! The node's units, and kubelet.

use std::collections::BTreeSet;

use extension_config::names::node;
use kubelet_config::Endpoint;

use super::files::unmarked;
use super::{LaterDropIn, NodeState, Process};
use crate::entry::Entry;
use crate::observed::Unit;
use crate::step::UnitAction;

impl NodeState {
    /// A unit as systemd shows it; every other one than those of the daemon is kubelet's.
    #[must_use]
    pub fn unit(&self, name: &str) -> Unit {
        let idle = Process::default();
        let (process, file, letter) = match name {
            node::DAEMON_UNIT => (&self.daemon, node::DAEMON_UNIT_FILE, 'd'),
            node::GUARD_TIMER => (&self.timer, node::GUARD_TIMER_FILE, 't'),
            node::GUARD_UNIT => (&idle, node::GUARD_UNIT_FILE, 'g'),
            node::PLUGIN_UNIT => (&self.plugin, node::PLUGIN_UNIT_FILE, 'p'),
            _ => (&self.kubelet, "", 'k'),
        };
        let load_state = if file.is_empty() || self.loaded.contains(file) { "loaded" } else { "not-found" };
        let (active_state, sub_state) = match process {
            Process { active: true, .. } => ("active", "running"),
            Process { failed: true, .. } => ("failed", "failed"),
            _ => ("inactive", "dead"),
        };
        let has_override = file.is_empty() && self.has_override_loaded();
        Unit {
            load_state: load_state.into(),
            active_state: active_state.into(),
            sub_state: sub_state.into(),
            invocation: if process.starts == 0 { String::new() } else { format!("{letter}{}", process.starts) },
            main_pid: u32::from(process.active),
            n_restarts: 0,
            fragment: file.into(),
            drop_ins: has_override.then(|| node::KUBELET_DROP_IN.to_owned()).into_iter().collect::<BTreeSet<_>>(),
        }
    }

    pub(super) fn has_override_loaded(&self) -> bool {
        self.loaded.contains(node::KUBELET_DROP_IN)
    }

    /// `ExecStart` of kubelet's unit, in words.
    #[must_use]
    pub fn kubelet_exec_start(&self) -> Vec<Vec<String>> {
        vec![self.kubelet_command.split(' ').map(str::to_owned).collect()]
    }

    /// Its `ExecStartPre`, and the files that its variables are read from: our override's, unless a later drop-in says otherwise.
    #[must_use]
    pub fn kubelet_override(&self) -> (Vec<Vec<String>>, Vec<String>) {
        if !self.has_override_loaded() {
            return (Vec::new(), Vec::new());
        }
        let mut exec_start_pre = vec![vec![node::GATE.to_owned(), "gate".to_owned()]];
        let mut environment_files = vec![node::RUNTIME_ENV.to_owned()];
        match self.later_drop_in {
            Some(LaterDropIn::EnvironmentFile(path)) => environment_files.push(path.to_owned()),
            Some(LaterDropIn::NoExecStartPre) => exec_start_pre.clear(),
            None => {}
        }
        (exec_start_pre, environment_files)
    }

    /// Command line of the running kubelet.
    #[must_use]
    pub fn kubelet_command_line(&self) -> Option<String> {
        let gate = match self.endpoint {
            Endpoint::Proxy => node::KUBELET_ENDPOINT_ARGUMENT,
            Endpoint::Containerd | Endpoint::Foreign => "",
        };
        let variable = format!("{} {gate}", self.kubelet_own_arguments);
        self.kubelet.active.then(|| self.kubelet_command.replace("$KUBELET_EXTRA_ARGS", &variable))
    }

    /// Carries out a change of units; false when it fails.
    ///
    /// # Panics
    /// When a proxy that kubelet runs on is stopped by who knows nothing of it.
    pub fn change_units(&mut self, action: &UnitAction) -> bool {
        match action {
            UnitAction::Reload => self.reload(),
            UnitAction::Start { unit } => return self.start(unit, false),
            UnitAction::Restart { unit } => return self.start(unit, true),
            UnitAction::Stop { unit } => {
                let is_in_use = unit == node::DAEMON_UNIT && self.is_on_proxy();
                assert!(!is_in_use || self.journal.is_some(), "{unit} is in use");
                self.process(unit).active = false;
                if unit == node::PLUGIN_UNIT {
                    // systemd removes the directory that it has made for it.
                    self.entries.retain(|path, _| !path.starts_with(node::PLUGIN_RUN_DIR));
                }
            }
            UnitAction::ResetFailed { unit } => self.process(unit).failed = false,
        }
        true
    }

    fn reload(&mut self) {
        let is_unit_file =
            |(path, entry): &(&String, &Entry)| path.contains("systemd") && !matches!(entry, Entry::Directory { .. });
        self.loaded = self.entries.iter().filter(is_unit_file).map(|(path, _)| path.clone()).collect();
    }

    fn process(&mut self, unit: &str) -> &mut Process {
        match unit {
            node::DAEMON_UNIT => &mut self.daemon,
            node::KUBELET_UNIT => &mut self.kubelet,
            node::PLUGIN_UNIT => &mut self.plugin,
            _ => &mut self.timer,
        }
    }

    fn start(&mut self, unit: &str, again: bool) -> bool {
        if unit == node::KUBELET_UNIT {
            self.restart_kubelet();
            return true;
        }
        if !self.loaded.contains(&format!("{}/{unit}", node::UNIT_DIR)) {
            return false;
        }
        let process = self.process(unit);
        if again || !process.active {
            *process = Process { active: true, failed: false, starts: process.starts + 1 };
        }
        if unit == node::PLUGIN_UNIT {
            for path in [node::PLUGIN_STATE_DIR, node::PLUGIN_RUN_DIR] {
                self.entries.insert(path.into(), Entry::Directory { empty: true });
            }
            if self.plugin_registered() {
                self.entries.insert(node::PLUGIN_BOOKS.into(), unmarked("books", 0o640));
                self.pinned = true;
                if !self.stays_missed {
                    self.missed.clear();
                }
            }
        }
        if unit == node::DAEMON_UNIT {
            for path in [node::DAEMON_STATE_DIR, node::DAEMON_RUN_DIR] {
                self.entries.insert(path.into(), Entry::Directory { empty: true });
            }
            self.entries.insert(node::DAEMON_PID_FILE.into(), unmarked("", 0o644));
            self.entries.insert(format!("{}/cache", node::DAEMON_STATE_DIR), unmarked("daemon", 0o644));
        }
        true
    }

    /// Starts kubelet anew, by way of the gate.
    pub fn restart_kubelet(&mut self) {
        let is_led_to_proxy = self.has_override_loaded() && self.proxy_answers();
        self.endpoint = if is_led_to_proxy { Endpoint::Proxy } else { Endpoint::Containerd };
        let stays_up = if is_led_to_proxy { self.kubelet_works_on_proxy } else { self.kubelet_works_on_containerd };
        self.kubelet = Process { active: stays_up, failed: !stays_up, starts: self.kubelet.starts + 1 };
        if is_led_to_proxy {
            self.entries.insert(node::RUNTIME_ENV.into(), unmarked("", 0o600));
        }
    }
}
