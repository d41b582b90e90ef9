//! A node in memory that fails, or lets the agent die, at any call that a test names.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use extension_config::cri_resmgr::CpuSet;
use node_plan::{Action, Blob, Cause, Desired, Entry, FileAction, Journal, Plan, Slot};

pub(crate) use crate::memory::State;

use crate::effects::{
    Clock, EffectError, Files, Node, Permit, Probe, Progress, Request, Result, Slots, Socket, UnitView, Units,
};

/// At which call what goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The call fails, nothing was done.
    Before,
    /// It was done, but the agent hears an error, or is dead.
    After,
}

/// A program of the agent's image.
pub(crate) fn blob(name: &str) -> Blob {
    Blob { sha256: name.into(), size: 1, architecture: std::env::consts::ARCH.into(), needs: None }
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
    /// CPUs of the machine.
    pub(crate) cpus: RefCell<Option<CpuSet>>,
    /// The daemon and the gate of the agent's image.
    payload: (Blob, Blob),
    /// Failures that the shoot was told of.
    pub(crate) told: RefCell<Vec<u64>>,
}

impl Fake {
    pub(crate) fn new() -> Self {
        Self::from_state(State::new(10_000))
    }

    pub(crate) fn from_state(state: State) -> Self {
        Self {
            state: RefCell::new(state),
            fail_at: Cell::new(None),
            calls: Cell::new(0),
            locked: Cell::new(false),
            slot: RefCell::new(Slot::Held),
            holds_slot: Cell::new(false),
            cpus: RefCell::default(),
            payload: (blob("v1"), blob("gate")),
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

impl Node for Fake {
    fn payload(&self) -> (&Blob, &Blob) {
        (&self.payload.0, &self.payload.1)
    }

    fn take_restarted(&self) -> bool {
        // Nobody else restarts kubelet here.
        true
    }
}

impl Files for Fake {
    fn entry(&self, path: &str) -> Result<Entry> {
        self.call(path, |state| Ok(state.entry(path)))
    }

    fn read_text(&self, path: &str) -> Result<Option<String>> {
        self.call(path, |state| Ok(state.texts.get(path).cloned()))
    }

    fn list(&self, path: &str, _most: usize) -> Result<Vec<(String, bool)>> {
        self.call(path, |state| Ok(state.list(path)))
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

    fn change(&self, action: &FileAction) -> Result<()> {
        assert!(self.locked.get() && self.state.borrow().journal.is_some(), "{action} without lock or journal");
        self.call(&action.to_string(), |state| {
            state.change(action);
            Ok(())
        })
    }

    fn forget(&self) -> Result<()> {
        self.call("forget", |state| {
            state.journal = None;
            Ok(())
        })
    }

    fn lock(&self) -> Result<()> {
        self.locked.set(true);
        Ok(())
    }

    fn unlock(&self) {
        self.locked.set(false);
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
            state.reload();
            Ok(())
        })
    }

    async fn start(&self, unit: &str) -> Result<()> {
        self.call(&format!("start {unit}"), |state| state.start(unit, false))
    }

    async fn stop(&self, unit: &str) -> Result<()> {
        self.call(&format!("stop {unit}"), |state| {
            state.stop(unit);
            Ok(())
        })
    }

    async fn restart(&self, unit: &str) -> Result<()> {
        self.call(&format!("restart {unit}"), |state| state.start(unit, true))
    }

    async fn reset_failed(&self, unit: &str) -> Result<()> {
        self.call(&format!("reset {unit}"), |state| {
            state.reset_failed(unit);
            Ok(())
        })
    }
}

impl Probe for Fake {
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

    fn cpus(&self) -> Option<CpuSet> {
        self.cpus.borrow().clone()
    }
}

impl Clock for Fake {
    fn now(&self) -> u64 {
        self.state.borrow().now
    }

    fn uptime(&self) -> Duration {
        Duration::from_secs(self.now())
    }

    async fn pause(&self, time: Duration) -> Result<()> {
        // Whole seconds, and some for any wait: a poll that took none would never end.
        self.state.borrow_mut().now += time.as_secs().max(u64::from(!time.is_zero()));
        Ok(())
    }
}

impl Slots for Fake {
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

impl Progress for Fake {
    fn decided(&self, _desired: &Desired, _journal: Option<&Journal>) {}

    fn begin(&self, _plan: &Plan) {}

    fn done(&self, action: &Action) {
        if matches!(action, Action::RestartKubelet { cause: Cause::Switch }) {
            assert!(self.holds_slot.get(), "{action} without a slot");
        }
    }
}
