//! A node in memory that fails, or lets the agent die, at any call that a test names.

use std::cell::Cell;
use std::time::Duration;

use extension_config::cri_resmgr::CpuSet;
use kubelet_config::Files as _;
use node_plan::pins::Misses;
use node_plan::testing::{NodeState, SPACE};
use node_plan::{
    Action, Backend, Blob, Cause, Desired, Entry, FileAction, Journal, Nri, Plan, Programs, RuntimeVersion, Slot, Step,
    UnitAction, Wait,
};

use crate::effects::{
    Clock, EffectError, Files, NoAnswer, Node, Plugins, Probe, Progress, Registration, Result, Slots, Socket,
    SwitchPermit, SwitchRequest, UnitView, Units,
};
use crate::memory;
use crate::metrics::Metrics;

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

/// The programs of an agent's image of this version.
pub(crate) fn programs(version: &str) -> Programs {
    Programs { daemon: blob(version), gate: blob("gate"), balloons: blob(version), topology_aware: blob(version) }
}

pub(crate) struct Fake {
    pub(crate) state: NodeState,
    pub(crate) fail_at: Option<(usize, Failure)>,
    /// A cell, because reading a file counts as well and changes nothing.
    pub(crate) calls: Cell<usize>,
    pub(crate) locked: bool,
    /// The slot is taken.
    pub(crate) holds_slot: bool,
    /// The programs of the agent's image.
    programs: Programs,
    /// Failures that were recorded in the shoot.
    pub(crate) reported: Vec<u64>,
    pub(crate) metrics: Metrics,
}

impl Fake {
    pub(crate) fn new() -> Self {
        Self::from_state(NodeState::default())
    }

    pub(crate) fn from_state(state: NodeState) -> Self {
        Self {
            state,
            fail_at: None,
            calls: Cell::new(0),
            locked: false,
            holds_slot: false,
            programs: programs("v1"),
            reported: Vec::new(),
            metrics: Metrics::default(),
        }
    }

    /// Counts a call; when and with what it is to fail.
    fn count(&self, what: &str) -> Option<(Failure, EffectError)> {
        let number = self.calls.replace(self.calls.get() + 1);
        let (at, failure) = self.fail_at?;
        (at == number).then(|| (failure, EffectError::Injected(format!("call {number}: {what}"))))
    }

    /// Counts a call, and carries it out unless it is the one to fail.
    fn call<T>(&mut self, what: &str, effect: impl FnOnce(&mut NodeState) -> Result<T>) -> Result<T> {
        match self.count(what) {
            Some((Failure::Before, error)) => Err(error),
            Some((Failure::After, error)) => {
                drop(effect(&mut self.state));
                Err(error)
            }
            None => effect(&mut self.state),
        }
    }

    fn change_units(&mut self, action: &UnitAction) -> Result<()> {
        self.call(&action.to_string(), |state| memory::change_units(state, action))
    }

    /// The same for a call that only reads.
    fn read<T>(&self, what: &str, value: impl FnOnce(&NodeState) -> T) -> Result<T> {
        match self.count(what) {
            Some((_, error)) => Err(error),
            None => Ok(value(&self.state)),
        }
    }
}

impl Node for Fake {
    fn programs(&self) -> &Programs {
        &self.programs
    }

    fn take_restarted(&mut self) -> bool {
        // Nobody else restarts kubelet here.
        true
    }
}

impl Files for Fake {
    fn entry(&mut self, path: &str) -> Result<Entry> {
        self.read(path, |state| state.entry(path))
    }

    fn read_text(&self, path: &str) -> Result<Option<String>> {
        self.read(path, |state| state.texts.get(path).cloned())
    }

    fn list(&self, path: &str, most: usize) -> Result<Vec<(String, bool)>> {
        self.read(path, |state| state.list(path, most).unwrap_or_default())
    }

    fn free_space(&self, path: &str) -> Result<u64> {
        self.read(path, |_| SPACE)
    }

    fn journal(&self) -> Result<Option<Journal>> {
        self.read("read the journal", |state| state.journal.clone())
    }

    fn write_journal(&mut self, journal: &Journal) -> Result<()> {
        assert!(self.locked, "the journal is written without the lock");
        self.call("write the journal", |state| {
            state.journal = Some(journal.clone());
            Ok(())
        })
    }

    fn change(&mut self, action: &FileAction) -> Result<()> {
        assert!(self.locked && self.state.journal.is_some(), "{action} without lock or journal");
        self.call(&action.to_string(), |state| {
            state.change_files(action);
            Ok(())
        })
    }

    fn forget(&mut self) -> Result<()> {
        self.call("forget", |state| {
            state.journal = None;
            Ok(())
        })
    }

    fn lock(&mut self) -> Result<()> {
        self.locked = true;
        Ok(())
    }

    fn unlock(&mut self) {
        self.locked = false;
    }
}

impl Units for Fake {
    async fn version(&mut self) -> Result<String> {
        self.read("version", |state| state.systemd.clone())
    }

    async fn unit(&mut self, name: &str) -> Result<UnitView> {
        self.read(name, |state| memory::unit(state, name))
    }

    async fn reload(&mut self) -> Result<()> {
        self.change_units(&UnitAction::Reload)
    }

    async fn start(&mut self, unit: &str) -> Result<()> {
        self.change_units(&UnitAction::Start { unit: unit.to_owned() })
    }

    async fn stop(&mut self, unit: &str) -> Result<()> {
        self.change_units(&UnitAction::Stop { unit: unit.to_owned() })
    }

    async fn restart(&mut self, unit: &str) -> Result<()> {
        self.change_units(&UnitAction::Restart { unit: unit.to_owned() })
    }

    async fn reset_failed(&mut self, unit: &str) -> Result<()> {
        self.change_units(&UnitAction::ResetFailed { unit: unit.to_owned() })
    }
}

impl Probe for Fake {
    async fn answers(&mut self, socket: Socket) -> std::result::Result<(), NoAnswer> {
        let state = &mut self.state;
        if socket == Socket::Proxy {
            state.now += state.proxy_hangs_for;
        }
        let good = socket == Socket::Containerd || state.proxy_answers();
        if good { Ok(()) } else { Err(NoAnswer::Silent(socket.path())) }
    }

    async fn heartbeat(&self) -> Option<u64> {
        Some(self.state.now)
    }

    fn cpus(&self) -> Option<CpuSet> {
        self.state.cpu_set()
    }
}

impl Plugins for Fake {
    async fn runtime(&mut self) -> Option<RuntimeVersion> {
        self.state.containerd_answers.then(|| self.state.runtime.clone())
    }

    fn nri(&mut self) -> Result<Nri> {
        self.read("nri", |state| state.nri.clone())
    }

    fn registration(&mut self) -> Result<Option<Registration>> {
        self.read("registration", memory::registration)
    }

    async fn misses(&mut self, _registered_at: u64) -> Result<Misses> {
        self.read("misses", NodeState::misses)
    }

    async fn reset_pins(&mut self) -> Result<usize> {
        self.call("reset pins", memory::reset_pins)
    }

    async fn try_out(&mut self, program: &str, document: &str) -> Result<()> {
        self.call("try out", |state| memory::try_out(state, program, document))
    }
}

impl Clock for Fake {
    fn now(&self) -> u64 {
        self.state.now
    }

    fn uptime(&self) -> Duration {
        Duration::from_secs(self.now())
    }

    async fn pause(&mut self, time: Duration) -> Result<()> {
        // Whole seconds, and some for any wait: a poll that took none would never end.
        self.state.now += time.as_secs().max(u64::from(!time.is_zero()));
        Ok(())
    }
}

impl Slots for Fake {
    async fn take_slot(&mut self, request: &SwitchRequest) -> SwitchPermit {
        self.reported.extend(request.failed_at);
        // What ends what was begun is not held by a stop of switches.
        let is_halted = matches!(self.state.slot, Slot::Waiting(Wait::Halted { .. }));
        let slot = if is_halted && request.finishes { Slot::Held } else { self.state.slot.clone() };
        self.holds_slot = slot == Slot::Held;
        SwitchPermit { slot, reported: true, stopped_now: false, again_in: Duration::from_secs(3) }
    }

    async fn give_back_slot(&mut self, request: &SwitchRequest) -> bool {
        self.reported.extend(request.failed_at);
        self.holds_slot = false;
        true
    }
}

impl Progress for Fake {
    fn decided(&self, _desired: &Desired, _journal: Option<&Journal>) {}

    fn begin(&self, _plan: &Plan) {}

    fn done(&mut self, step: &Step) {
        let action = &step.action;
        if matches!(action, Action::RestartKubelet { cause: Cause::Switch }) {
            assert!(self.holds_slot, "{action} without a slot");
        }
        self.metrics.step_done(action);
    }

    fn failed(&mut self, step: &Step, error: &EffectError) {
        self.metrics.step_failed(&step.action, error);
    }

    fn rolled_back(&self, tried: Backend) {
        self.metrics.rolled_back(tried);
    }
}
