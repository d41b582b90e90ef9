//! A small node in memory: files, three units, kubelet.

use std::collections::{BTreeMap, BTreeSet};

use extension_config::cri_resmgr::CpuSet;
use extension_config::names::node;
use kubelet_config::{Endpoint, Setting, Settings};

use crate::backend::proxy::StaticConfig;
use crate::backend::{BackendSpec, ProxySpec};
use crate::blob::Blob;
use crate::desired::{Desired, Installation};
use crate::entry::{Entry, MARKER};
use crate::journal::{Change, Journal};
use crate::layout::Source;
use crate::observed::{Kubelet, Observed, Slot, Space, Unit};
use crate::plan::{Plan, plan, residue};
use crate::step::{Action, FileAction, JournalAction, Proof, Restarts, Step, UnitAction};

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Process {
    pub(super) active: bool,
    pub(super) failed: bool,
    pub(super) starts: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Model {
    pub(super) now: u64,
    pub(super) entries: BTreeMap<String, Entry>,
    pub(super) journal: Option<Journal>,
    pub(super) daemon: Process,
    pub(super) timer: Process,
    pub(super) kubelet: Process,
    pub(super) endpoint: Endpoint,
    /// Unit files that systemd has read.
    pub(super) loaded: BTreeSet<String>,
    /// A daemon that was started answers.
    pub(super) daemon_works: bool,
    /// But this version does not.
    pub(super) broken: &'static str,
    /// kubelet runs well on the proxy.
    pub(super) kubelet_likes_proxy: bool,
    pub(super) cpu_manager: String,
    pub(super) cpus: &'static str,
    pub(super) command: String,
    pub(super) containerd: bool,
    pub(super) slot: Slot,
    pub(super) systemd: String,
}

/// Where an execution is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    BeforeEffect,
    AfterEffect,
    AfterStep,
}

pub(super) const CUTS: [Cut; 3] = [Cut::BeforeEffect, Cut::AfterEffect, Cut::AfterStep];

fn marked(path: &str, sha256: &str, mode: u32) -> Entry {
    Entry::File {
        sha256: sha256.into(),
        mode,
        own: true,
        marked: ![node::DAEMON, node::KEPT_DAEMON, node::GATE].contains(&path),
    }
}

impl Default for Model {
    fn default() -> Self {
        let mut entries = BTreeMap::new();
        for path in ["/etc/default", "/etc/systemd/system/multi-user.target.wants"] {
            entries.insert(path.to_owned(), Entry::Directory { empty: false });
        }
        let up = Process { active: true, failed: false, starts: 1 };
        Self {
            now: 10_000,
            entries,
            journal: None,
            daemon: Process::default(),
            timer: Process::default(),
            kubelet: up,
            endpoint: Endpoint::Containerd,
            loaded: BTreeSet::new(),
            daemon_works: true,
            broken: "",
            kubelet_likes_proxy: true,
            cpu_manager: "none".into(),
            cpus: "0-3\n",
            command: "/opt/bin/kubelet --container-runtime-endpoint=unix:///run/containerd/containerd.sock $KUBELET_EXTRA_ARGS"
                .into(),
            containerd: true,
            slot: Slot::Held,
            systemd: "252.39-1~deb12u1".into(),
        }
    }
}

impl Model {
    /// Of the running kubelet.
    fn words(&self) -> Vec<String> {
        let mut words: Vec<String> = self.command.split(' ').map(str::to_owned).collect();
        words.retain(|word| !word.starts_with('$'));
        match self.endpoint {
            Endpoint::Containerd => {}
            Endpoint::Proxy => words.push(node::KUBELET_ENDPOINT_ARGUMENT.to_owned()),
            Endpoint::Foreign => words.push("--container-runtime-endpoint=/run/other.sock".to_owned()),
        }
        words
    }

    pub(super) fn observe(&self) -> Observed {
        let unit = |process: &Process, file: &str, name: &str| Unit {
            load_state: if self.loaded.contains(file) || file.is_empty() { "loaded" } else { "not-found" }.into(),
            active_state: if process.active {
                "active"
            } else if process.failed {
                "failed"
            } else {
                "inactive"
            }
            .into(),
            sub_state: String::new(),
            invocation: if process.starts == 0 { String::new() } else { format!("{name}{}", process.starts) },
            main_pid: u32::from(process.active),
            n_restarts: 0,
            fragment: file.into(),
            drop_ins: BTreeSet::new(),
        };
        let mut kubelet = unit(&self.kubelet, "", "k");
        if self.loaded.contains(node::KUBELET_DROP_IN) {
            kubelet.drop_ins.insert(node::KUBELET_DROP_IN.into());
        }
        let mut entries = self.entries.clone();
        let paths: Vec<String> = entries.keys().cloned().collect();
        for (path, entry) in &mut entries {
            if let Entry::Directory { empty } = entry
                && !path.starts_with("/etc/default")
                && !path.ends_with("multi-user.target.wants")
            {
                *empty = !paths
                    .iter()
                    .any(|other| other.strip_prefix(path.as_str()).is_some_and(|rest| rest.starts_with('/')));
            }
        }
        Observed {
            now: self.now,
            entries,
            journal: self.journal.clone(),
            kubelet: Kubelet {
                unit: kubelet,
                exec_start: vec![self.command.split(' ').map(str::to_owned).collect()],
                command_line: self.kubelet.active.then(|| self.words()),
                settings: Ok(Settings {
                    cpu_manager: Some(Setting { value: self.cpu_manager.clone(), origin: "/k".into() }),
                    ..Settings::default()
                }),
            },
            daemon: unit(&self.daemon, node::DAEMON_UNIT_FILE, "d"),
            guard: unit(&Process::default(), node::GUARD_UNIT_FILE, "g"),
            timer: unit(&self.timer, node::GUARD_TIMER_FILE, "t"),
            proxy_answers: self.proxy_answers(),
            containerd_answers: self.containerd,
            space: Space { opt: 1 << 30, etc: 1 << 30, var_lib: 1 << 30, run: 1 << 30 },
            systemd: self.systemd.clone(),
            architecture: "x86_64".into(),
            cpus: CpuSet::of_kernel(self.cpus),
            slot: self.slot.clone(),
        }
    }

    fn observe_entry(&self, path: &str) -> &Entry {
        self.entries.get(path).unwrap_or(&Entry::Absent)
    }

    pub(super) fn proxy_answers(&self) -> bool {
        let is_broken = self.observe_entry(node::DAEMON).has_content(self.broken);
        self.daemon.active && self.daemon_works && !is_broken
    }

    pub(super) fn plan(&self, desired: &Desired) -> Plan {
        plan(&self.observe(), desired)
    }

    /// Files and directories, without the daemon's own.
    pub(super) fn tree(&self) -> BTreeMap<String, Entry> {
        self.entries.clone()
    }

    fn record(&mut self, changes: &[Change]) {
        if !changes.is_empty() {
            let mut journal = self.journal.clone().unwrap_or_default();
            for change in changes {
                journal.apply(change);
            }
            self.journal = Some(journal);
        }
    }

    /// Carries out a step up to the cut; false when its proof fails.
    pub(super) fn step(&mut self, step: &Step, cut: Cut) -> bool {
        self.record(&step.before);
        if cut == Cut::BeforeEffect {
            return true;
        }
        if !self.act(&step.action) {
            return false;
        }
        if cut == Cut::AfterStep && step.action != JournalAction::Forget.into() {
            self.record(&step.after);
        }
        true
    }

    fn kubelet_is_well(&self, endpoint: Endpoint) -> bool {
        let well = endpoint != Endpoint::Proxy || (self.proxy_answers() && self.kubelet_likes_proxy);
        self.kubelet.active && self.endpoint == endpoint && well
    }

    pub(super) fn act(&mut self, action: &Action) -> bool {
        match action {
            Action::File(action) => self.change_files(action),
            Action::Unit(action) => return self.change_units(action),
            Action::RestartKubelet { .. } => self.restart_kubelet(),
            Action::Prove(proof) => return self.prove(*proof),
            Action::Journal(JournalAction::Record) => {}
            Action::Journal(JournalAction::Forget) => self.journal = None,
        }
        true
    }

    fn change_files(&mut self, action: &FileAction) {
        match action {
            FileAction::MakeDirectory { path } => {
                self.entries.insert(path.clone(), Entry::Directory { empty: true });
            }
            FileAction::Write { path, mode, source, sha256 } => {
                if let Source::Text(text) = source {
                    assert!(text.starts_with(MARKER), "{path}");
                }
                if let Source::Host(from) = source {
                    assert!(
                        self.entries.get(*from).is_some_and(|entry| entry.has_content(sha256)),
                        "{path} from {from}"
                    );
                }
                assert!(self.has_parent(path), "{path} without its directory");
                self.entries.insert(path.clone(), marked(path, sha256, *mode));
            }
            FileAction::MakeLink { path, target } => {
                assert!(self.has_parent(path), "{path} without its directory");
                self.entries.insert(path.clone(), Entry::Link { target: target.clone() });
            }
            FileAction::Remove { path } => {
                assert!(!matches!(self.entries.get(path), Some(Entry::Directory { .. })));
                self.entries.remove(path);
            }
            FileAction::RemoveDirectory { path } => {
                let empty = matches!(self.observe().entry(path), Entry::Directory { empty: true });
                if empty {
                    self.entries.remove(path);
                }
            }
            FileAction::RemoveTree { path } => {
                self.entries.retain(|entry, _| entry != path && !entry.starts_with(&format!("{path}/")));
            }
            FileAction::Rename { from, to } => {
                assert!(!self.entries.contains_key(to), "{to} is overwritten");
                let below = |path: &str, of: &str| path == of || path.starts_with(&format!("{of}/"));
                let moved: Vec<String> = self.entries.keys().filter(|path| below(path, from)).cloned().collect();
                for path in moved {
                    let entry = self.entries.remove(&path).unwrap_or(Entry::Absent);
                    self.entries.insert(format!("{to}{}", &path[from.len()..]), entry);
                }
            }
        }
    }

    fn change_units(&mut self, action: &UnitAction) -> bool {
        match action {
            UnitAction::Reload => {
                let files = self
                    .entries
                    .iter()
                    .filter(|(path, entry)| path.contains("systemd") && !matches!(entry, Entry::Directory { .. }));
                self.loaded = files.map(|(path, _)| path.clone()).collect();
            }
            UnitAction::Start { unit } => return self.start(unit, false),
            UnitAction::Restart { unit } => return self.start(unit, true),
            UnitAction::Stop { unit } => {
                if unit == node::DAEMON_UNIT {
                    assert!(self.endpoint != Endpoint::Proxy || !self.kubelet.active || self.journal.is_some());
                }
                self.process(unit).active = false;
            }
            UnitAction::ResetFailed { unit } => self.process(unit).failed = false,
        }
        true
    }

    fn restart_kubelet(&mut self) {
        self.kubelet = Process { active: true, failed: false, starts: self.kubelet.starts + 1 };
        let proxy = self.loaded.contains(node::KUBELET_DROP_IN) && self.proxy_answers();
        self.endpoint = if proxy { Endpoint::Proxy } else { Endpoint::Containerd };
        if proxy {
            self.entries.insert(node::RUNTIME_ENV.into(), marked("", "", 0o600));
        }
    }

    fn prove(&self, proof: Proof) -> bool {
        match proof {
            Proof::DaemonAnswers => self.proxy_answers(),
            Proof::Override { loaded } => self.loaded.contains(node::KUBELET_DROP_IN) == loaded,
            Proof::Kubelet { endpoint } => self.kubelet_is_well(endpoint),
            Proof::Clean => {
                assert_eq!(residue(&self.observe()), Vec::<String>::new());
                true
            }
        }
    }

    fn process(&mut self, unit: &str) -> &mut Process {
        match unit {
            node::DAEMON_UNIT => &mut self.daemon,
            _ => &mut self.timer,
        }
    }

    fn start(&mut self, unit: &str, again: bool) -> bool {
        let file = format!("{}/{unit}", node::UNIT_DIR);
        if !self.loaded.contains(&file) {
            return false;
        }
        let process = self.process(unit);
        if again || !process.active {
            *process = Process { active: true, failed: false, starts: process.starts + 1 };
        }
        if unit == node::DAEMON_UNIT {
            for path in [node::DAEMON_STATE_DIR, node::DAEMON_RUN_DIR] {
                self.entries.insert(path.into(), Entry::Directory { empty: true });
            }
            self.entries.insert(node::DAEMON_PID_FILE.into(), marked("", "", 0o644));
            self.entries.insert("/var/lib/cri-resmgr/cache".into(), marked("", "daemon", 0o644));
        }
        true
    }

    fn has_parent(&self, path: &str) -> bool {
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        parent == node::UNIT_DIR || matches!(self.entries.get(parent), Some(Entry::Directory { .. }))
    }

    /// Observes, plans and executes until nothing is left or a proof fails; the number of kubelet restarts.
    pub(super) fn converge(&mut self, desired: &Desired) -> Result<u32, Action> {
        let before = self.kubelet.starts;
        for _ in 0..6 {
            let steps = self.plan(desired).steps;
            if steps.is_empty() {
                return Ok(self.kubelet.starts - before);
            }
            for step in &steps {
                if !self.step(step, Cut::AfterStep) {
                    return Err(step.action.clone());
                }
            }
        }
        panic!("does not settle: {:?}", self.plan(desired).steps);
    }

    /// Executes the plan up to the cut of its `count`th step, as far as there are so many.
    pub(super) fn interrupt(&mut self, desired: &Desired, count: usize, cut: Cut) {
        let steps = self.plan(desired).steps;
        for (number, step) in steps.iter().enumerate().take(count + 1) {
            self.step(step, if number == count { cut } else { Cut::AfterStep });
        }
    }
}

pub(super) fn file(content: &str) -> Entry {
    marked(node::DAEMON, content, 0o755)
}

pub(super) fn blob(name: &str) -> Blob {
    Blob { sha256: name.into(), size: 40 << 20, architecture: "x86_64".into(), needs: None }
}

pub(super) fn installation(policy: &str, version: &str) -> Installation {
    let backend = BackendSpec::Proxy(ProxySpec {
        config: StaticConfig::Fallback(format!("policy:\n  Active: {policy}\n")),
        extra_options: String::new(),
        daemon: blob(version),
        daemon_is_kept: false,
    });
    Installation { backend, gate: blob("gate"), renewal: None }
}

pub(super) fn proxy(installation: &mut Installation) -> &mut ProxySpec {
    let BackendSpec::Proxy(proxy) = &mut installation.backend;
    proxy
}

pub(super) fn install(policy: &str, version: &str) -> Desired {
    Desired::Installed(Box::new(installation(policy, version)))
}

pub(super) fn remove() -> Desired {
    Desired::Clean { because: "off".into() }
}

pub(super) fn restarts(plan: &Plan, what: Restarts) -> usize {
    plan.steps.iter().filter(|step| step.action.restarts() == what).count()
}
