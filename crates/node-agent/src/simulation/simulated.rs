//! A node in memory as its agent sees it.

use std::rc::Rc;
use std::time::Duration;

use extension_config::cri_resmgr::CpuSet;
use kubelet_config::Files as _;
use node_plan::pins::Misses;
use node_plan::testing::SPACE;
use node_plan::{
    Backend, Desired, Entry, FileAction, Journal, Nri, Plan, Programs, Restarts, RuntimeVersion, Step, UnitAction,
};
use tokio::sync::watch;

use super::{Clock, MemoryNode, blob};
use crate::effects::{
    Clock as _, EffectError, Files, NoAnswer, Node, Plugins, Probe, Progress, Registration, Result, Slots, Socket,
    SwitchPermit, SwitchRequest, UnitView, Units,
};
use crate::memory;
use crate::shoot::{ShootApi, SwitchSlots};
use crate::telemetry::Telemetry;

pub(super) struct SimulatedNode {
    node: MemoryNode,
    shoot: Rc<ShootApi>,
    slots: SwitchSlots,
    clock: Clock,
    stop: watch::Receiver<bool>,
    telemetry: Telemetry,
    locked: bool,
    restarted: bool,
    programs: Programs,
}

impl Drop for SimulatedNode {
    fn drop(&mut self) {
        self.unlock();
    }
}

impl SimulatedNode {
    pub(super) fn new(
        node: MemoryNode,
        shoot: Rc<ShootApi>,
        clock: Clock,
        stop: watch::Receiver<bool>,
        telemetry: Telemetry,
    ) -> Self {
        Self {
            node,
            slots: SwitchSlots::new(Rc::clone(&shoot)),
            shoot,
            clock,
            stop,
            telemetry,
            locked: false,
            restarted: false,
            programs: Programs {
                daemon: blob("daemon"),
                gate: blob("gate"),
                balloons: blob("balloons"),
                topology_aware: blob("topology-aware"),
            },
        }
    }

    fn change_units(&self, action: &UnitAction) -> Result<()> {
        memory::change_units(&mut self.node.state(), action)
    }
}

impl Node for SimulatedNode {
    fn programs(&self) -> &Programs {
        &self.programs
    }

    fn take_restarted(&mut self) -> bool {
        std::mem::take(&mut self.restarted)
    }
}

impl Files for SimulatedNode {
    fn entry(&mut self, path: &str) -> Result<Entry> {
        Ok(self.node.state().entry(path))
    }

    fn read_text(&self, path: &str) -> Result<Option<String>> {
        Ok(self.node.state().texts.get(path).cloned())
    }

    fn list(&self, path: &str, most: usize) -> Result<Vec<(String, bool)>> {
        Ok(self.node.state().list(path, most).unwrap_or_default())
    }

    fn free_space(&self, _path: &str) -> Result<u64> {
        Ok(SPACE)
    }

    fn journal(&self) -> Result<Option<Journal>> {
        Ok(self.node.state().journal.clone())
    }

    fn write_journal(&mut self, journal: &Journal) -> Result<()> {
        self.node.state().journal = Some(journal.clone());
        Ok(())
    }

    fn change(&mut self, action: &FileAction) -> Result<()> {
        self.node.state().change_files(action);
        Ok(())
    }

    fn forget(&mut self) -> Result<()> {
        self.node.state().journal = None;
        Ok(())
    }

    fn lock(&mut self) -> Result<()> {
        if !self.locked && !self.node.lock() {
            let what = format!("the lock of {}", self.node.name());
            return Err(EffectError::Job { what, result: "held by another agent".to_owned() });
        }
        self.locked = true;
        Ok(())
    }

    fn unlock(&mut self) {
        if std::mem::take(&mut self.locked) {
            self.node.unlock();
        }
    }
}

impl Units for SimulatedNode {
    async fn version(&mut self) -> Result<String> {
        Ok(self.node.state().systemd.clone())
    }

    async fn unit(&mut self, name: &str) -> Result<UnitView> {
        Ok(memory::unit(&self.node.state(), name))
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

impl Probe for SimulatedNode {
    async fn answers(&mut self, socket: Socket) -> std::result::Result<(), NoAnswer> {
        if socket == Socket::Containerd || self.node.state().proxy_answers() {
            return Ok(());
        }
        Err(NoAnswer::Silent(socket.path()))
    }

    async fn heartbeat(&self) -> Option<u64> {
        self.shoot.heartbeat().await
    }

    fn cpus(&self) -> Option<CpuSet> {
        None
    }
}

impl Plugins for SimulatedNode {
    async fn runtime(&mut self) -> Option<RuntimeVersion> {
        Some(self.node.state().runtime.clone())
    }

    fn nri(&mut self) -> Result<Nri> {
        Ok(self.node.state().nri.clone())
    }

    fn registration(&mut self) -> Result<Option<Registration>> {
        Ok(memory::registration(&self.node.state()))
    }

    async fn misses(&mut self, _registered_at: u64) -> Result<Misses> {
        Ok(self.node.state().misses())
    }

    async fn reset_pins(&mut self) -> Result<usize> {
        memory::reset_pins(&mut self.node.state())
    }

    async fn try_out(&mut self, program: &str, document: &str) -> Result<()> {
        memory::try_out(&mut self.node.state(), program, document)
    }
}

impl crate::effects::Clock for SimulatedNode {
    fn now(&self) -> u64 {
        self.clock.now().as_secs()
    }

    fn uptime(&self) -> Duration {
        self.clock.uptime()
    }

    async fn pause(&mut self, time: Duration) -> Result<()> {
        let stop = &mut self.stop;
        if *stop.borrow_and_update() {
            return Err(EffectError::Stopping);
        }
        if time.is_zero() {
            return Ok(());
        }
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => Err(EffectError::Stopping),
            () = self.clock.sleep(time) => Ok(()),
        }
    }
}

impl Slots for SimulatedNode {
    async fn take_slot(&mut self, request: &SwitchRequest) -> SwitchPermit {
        self.slots.take_slot(request).await
    }

    async fn give_back_slot(&mut self, request: &SwitchRequest) -> bool {
        self.slots.give_back_slot(request).await
    }
}

impl Progress for SimulatedNode {
    fn decided(&self, desired: &Desired, journal: Option<&Journal>) {
        self.telemetry.decided(desired, journal, self.now());
    }

    fn begin(&self, plan: &Plan) {
        self.telemetry.begin(plan);
    }

    fn done(&mut self, step: &Step) {
        if step.action.restarts() == Restarts::Kubelet {
            self.restarted = true;
        }
        self.telemetry.done(&step.action);
    }

    fn failed(&mut self, step: &Step, error: &EffectError) {
        self.telemetry.metrics.step_failed(&step.action, error);
    }

    fn rolled_back(&self, tried: Backend) {
        self.telemetry.metrics.rolled_back(tried);
    }
}
