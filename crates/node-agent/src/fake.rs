//! A node in memory that fails, or lets the agent die, at any call that a test names.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use extension_config::names::node;
use node_plan::{Action, Cause, Entry, Journal, MARKER, Plan, Slot, Source, Unit};

use crate::effects::{EffectError, Effects, Files, Paced, Permit, Request, Result, Socket, UnitView, Units, Witnesses};

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Thing {
    Directory,
    File { sha256: String, mode: u32, marked: bool },
    Link(String),
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) active: bool,
    pub(crate) failed: bool,
    pub(crate) starts: u32,
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
    /// How long a look at the proxy takes, in seconds.
    pub(crate) proxy_hangs_for: u64,
    /// kubelet stays up on the proxy.
    pub(crate) kubelet_works_on_proxy: bool,
}

/// At which call what goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The call fails, nothing was done.
    Before,
    /// It was done, but the agent hears an error, or is dead.
    After,
}

pub(crate) struct Fake {
    pub(crate) state: RefCell<State>,
    pub(crate) fail_at: Cell<Option<(usize, Failure)>>,
    pub(crate) calls: Cell<usize>,
    pub(crate) locked: Cell<bool>,
    /// What is answered to who asks for a slot.
    pub(crate) slot: RefCell<Slot>,
    /// The slot is taken.
    pub(crate) holds_slot: Cell<bool>,
    /// Failures that the shoot was told of.
    pub(crate) told: RefCell<Vec<u64>>,
}

impl Fake {
    pub(crate) fn new() -> Self {
        let things = ["/etc/default", "/etc/systemd/system/multi-user.target.wants"];
        let state = State {
            now: 10_000,
            things: things.map(|path| (path.to_owned(), Thing::Directory)).into(),
            journal: None,
            daemon: Process::default(),
            timer: Process::default(),
            kubelet: Process { active: true, failed: false, starts: 1 },
            on_proxy: false,
            loaded: BTreeSet::new(),
            daemon_works: true,
            proxy_hangs_for: 0,
            kubelet_works_on_proxy: true,
        };
        Self::from_state(state)
    }

    pub(crate) fn from_state(state: State) -> Self {
        Self {
            state: RefCell::new(state),
            fail_at: Cell::new(None),
            calls: Cell::new(0),
            locked: Cell::new(false),
            slot: RefCell::new(Slot::Held),
            holds_slot: Cell::new(false),
            told: RefCell::default(),
        }
    }

    /// Counts a call, and carries it out unless it is the one to fail.
    fn call<T>(&self, what: &str, effect: impl FnOnce(&mut State) -> Result<T>) -> Result<T> {
        let number = self.calls.get();
        self.calls.set(number + 1);
        let failure = self.fail_at.get().filter(|(at, _)| *at == number).map(|(_, failure)| failure);
        let injected = || EffectError::Injected(format!("call {number}: {what}"));
        match failure {
            Some(Failure::Before) => Err(injected()),
            Some(Failure::After) => {
                drop(effect(&mut self.state.borrow_mut()));
                Err(injected())
            }
            None => effect(&mut self.state.borrow_mut()),
        }
    }
}

impl State {
    fn proxy_answers(&self) -> bool {
        self.daemon.active && self.daemon_works
    }

    fn entry(&self, path: &str) -> Entry {
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

    fn apply(&mut self, action: &Action) {
        match action {
            Action::MakeDirectory { path } => {
                self.things.insert(path.clone(), Thing::Directory);
            }
            Action::WriteFile { path, mode, source, sha256 } => {
                let marked = matches!(source, Source::Text(text) if text.starts_with(MARKER));
                self.things.insert(path.clone(), Thing::File { sha256: sha256.clone(), mode: *mode, marked });
            }
            Action::MakeLink { path, target } => {
                self.things.insert(path.clone(), Thing::Link(target.clone()));
            }
            Action::RemoveFile { path } => {
                self.things.remove(path);
            }
            Action::RemoveDirectory { path } => {
                if self.entry(path) == (Entry::Directory { empty: true }) {
                    self.things.remove(path);
                }
            }
            Action::RemoveTree { path } => {
                self.things.retain(|other, _| other != path && !other.starts_with(&format!("{path}/")));
            }
            other => panic!("{other} is no file action"),
        }
    }

    fn unit(&self, name: &str) -> UnitView {
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
            exec_start: Vec::new(),
            command_line: None,
        };
        if file.is_empty() {
            let fixed =
                "/opt/bin/kubelet --config=/k --container-runtime-endpoint=unix:///run/containerd/containerd.sock";
            view.exec_start = vec![format!("{fixed} $KUBELET_EXTRA_ARGS").split(' ').map(str::to_owned).collect()];
            view.unit.drop_ins = self.loaded.iter().filter(|file| *file == node::KUBELET_DROP_IN).cloned().collect();
            let more = if self.on_proxy { node::KUBELET_ENDPOINT_ARGUMENT } else { "" };
            view.command_line = process.active.then(|| format!("{fixed} {more}"));
        }
        view
    }

    fn start(&mut self, unit: &str, again: bool) -> Result<()> {
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

impl Files for Fake {
    fn entry(&self, path: &str) -> Result<Entry> {
        self.call(path, |state| Ok(state.entry(path)))
    }

    fn read_text(&self, path: &str) -> Result<Option<String>> {
        self.call(path, |_| Ok((path == "/k").then(|| "cpuManagerPolicy: none\n".to_owned())))
    }

    fn free_space(&self, path: &str) -> Result<u64> {
        self.call(path, |_| Ok(1 << 30))
    }

    fn journal(&self) -> Result<Option<Journal>> {
        self.call("read the journal", |state| Ok(state.journal.clone()))
    }

    fn write_journal(&self, journal: &Journal) -> Result<()> {
        assert!(self.locked.get(), "the journal is written without the lock");
        self.call("write the journal", |state| {
            state.journal = Some(journal.clone());
            Ok(())
        })
    }

    fn apply(&self, action: &Action) -> Result<()> {
        assert!(self.locked.get() && self.state.borrow().journal.is_some(), "{action} without lock or journal");
        self.call(&action.to_string(), |state| {
            state.apply(action);
            Ok(())
        })
    }

    fn forget(&self) -> Result<()> {
        self.call("forget", |state| {
            state.journal = None;
            Ok(())
        })
    }
}

impl Units for Fake {
    async fn version(&self) -> Result<String> {
        self.call("version", |_| Ok("252".to_owned()))
    }

    async fn unit(&self, name: &str) -> Result<UnitView> {
        self.call(name, |state| Ok(state.unit(name)))
    }

    async fn reload(&self) -> Result<()> {
        self.call("reload", |state| {
            let files =
                state.things.iter().filter(|(path, thing)| path.contains("systemd") && **thing != Thing::Directory);
            state.loaded = files.map(|(path, _)| path.clone()).collect();
            Ok(())
        })
    }

    async fn start(&self, unit: &str) -> Result<()> {
        self.call(&format!("start {unit}"), |state| state.start(unit, false))
    }

    async fn stop(&self, unit: &str) -> Result<()> {
        self.call(&format!("stop {unit}"), |state| {
            let process = if unit == node::DAEMON_UNIT { &mut state.daemon } else { &mut state.timer };
            process.active = false;
            Ok(())
        })
    }

    async fn restart(&self, unit: &str) -> Result<()> {
        self.call(&format!("restart {unit}"), |state| state.start(unit, true))
    }

    async fn reset_failed(&self, unit: &str) -> Result<()> {
        self.call(&format!("reset {unit}"), |state| {
            if unit == node::KUBELET_UNIT {
                state.kubelet.failed = false;
            }
            Ok(())
        })
    }
}

impl Witnesses for Fake {
    async fn answers(&self, socket: Socket) -> std::result::Result<(), String> {
        let mut state = self.state.borrow_mut();
        if socket == Socket::Proxy {
            state.now += state.proxy_hangs_for;
        }
        let good = socket == Socket::Containerd || state.proxy_answers();
        if good { Ok(()) } else { Err("no answer".to_owned()) }
    }

    async fn heartbeat(&self) -> Option<u64> {
        Some(self.state.borrow().now)
    }

    fn now(&self) -> u64 {
        self.state.borrow().now
    }

    fn uptime(&self) -> Duration {
        Duration::from_secs(self.now())
    }

    async fn pause(&self, time: Duration) -> Result<()> {
        self.state.borrow_mut().now += time.as_secs();
        Ok(())
    }
}

impl Paced for Fake {
    async fn take_slot(&self, request: &Request) -> Permit {
        self.told.borrow_mut().extend(request.failed_at);
        let slot = self.slot.borrow().clone();
        self.holds_slot.set(slot == Slot::Held);
        Permit { slot, told: true, stopped_now: false, again_in: Duration::from_secs(3) }
    }

    async fn give_back_slot(&self, request: &Request) -> bool {
        self.told.borrow_mut().extend(request.failed_at);
        self.holds_slot.set(false);
        true
    }
}

impl Effects for Fake {
    fn lock(&self) -> Result<()> {
        self.locked.set(true);
        Ok(())
    }

    fn unlock(&self) {
        self.locked.set(false);
    }

    fn begin(&self, _plan: &Plan) {}

    fn done(&self, action: &Action) {
        if matches!(action, Action::RestartKubelet { cause: Cause::Switch }) {
            assert!(self.holds_slot.get(), "{action} without a slot");
        }
    }
}
