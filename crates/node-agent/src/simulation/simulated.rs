//! A node in memory as its agent sees it.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use extension_config::cri_resmgr::CpuSet;
use node_plan::{Action, Blob, Desired, Entry, FileAction, Journal, Plan, Restarts};
use tokio::sync::watch;

use super::{Clock, MemoryNode, blob};
use crate::effects::{
    Clock as _, EffectError, Files, Node, Permit, Probe, Progress, Request, Result, Slots, Socket, UnitView, Units,
};
use crate::real::{Cluster, SwitchSlot};
use crate::telemetry::Telemetry;

/// More than anything takes.
const FREE_SPACE: u64 = 1 << 30;

pub(super) struct SimulatedNode {
    node: MemoryNode,
    cluster: Rc<Cluster>,
    slot: SwitchSlot,
    clock: Clock,
    stop: watch::Receiver<bool>,
    telemetry: Telemetry,
    locked: Cell<bool>,
    restarted: Cell<bool>,
    daemon: Blob,
    gate: Blob,
}

impl Drop for SimulatedNode {
    fn drop(&mut self) {
        self.unlock();
    }
}

impl SimulatedNode {
    pub(super) fn new(
        node: MemoryNode,
        cluster: Rc<Cluster>,
        clock: Clock,
        stop: watch::Receiver<bool>,
        telemetry: Telemetry,
    ) -> Self {
        Self {
            node,
            slot: SwitchSlot::new(Rc::clone(&cluster)),
            cluster,
            clock,
            stop,
            telemetry,
            locked: Cell::new(false),
            restarted: Cell::new(false),
            daemon: blob("daemon"),
            gate: blob("gate"),
        }
    }
}

impl Node for SimulatedNode {
    fn payload(&self) -> (&Blob, &Blob) {
        (&self.daemon, &self.gate)
    }

    fn take_restarted(&self) -> bool {
        self.restarted.replace(false)
    }
}

impl Files for SimulatedNode {
    fn entry(&self, path: &str) -> Result<Entry> {
        Ok(self.node.state().entry(path))
    }

    fn read_text(&self, path: &str) -> Result<Option<String>> {
        Ok(self.node.state().texts.get(path).cloned())
    }

    fn list(&self, path: &str, _most: usize) -> Result<Vec<(String, bool)>> {
        Ok(self.node.state().list(path))
    }

    fn free_space(&self, _path: &str) -> Result<u64> {
        Ok(FREE_SPACE)
    }

    fn journal(&self) -> Result<Option<Journal>> {
        Ok(self.node.state().journal.clone())
    }

    fn write_journal(&self, journal: &Journal) -> Result<()> {
        self.node.state().journal = Some(journal.clone());
        Ok(())
    }

    fn change(&self, action: &FileAction) -> Result<()> {
        self.node.state().change(action);
        Ok(())
    }

    fn forget(&self) -> Result<()> {
        self.node.state().journal = None;
        Ok(())
    }

    fn lock(&self) -> Result<()> {
        if !self.locked.get() && !self.node.lock() {
            let what = format!("the lock of {}", self.node.name());
            return Err(EffectError::Job { what, result: "held by another agent".to_owned() });
        }
        self.locked.set(true);
        Ok(())
    }

    fn unlock(&self) {
        if self.locked.replace(false) {
            self.node.unlock();
        }
    }
}

impl Units for SimulatedNode {
    async fn version(&self) -> Result<String> {
        Ok("252".to_owned())
    }

    async fn unit(&self, name: &str) -> Result<UnitView> {
        Ok(self.node.state().unit(name))
    }

    async fn reload(&self) -> Result<()> {
        self.node.state().reload();
        Ok(())
    }

    async fn start(&self, unit: &str) -> Result<()> {
        self.node.state().start(unit, false)
    }

    async fn stop(&self, unit: &str) -> Result<()> {
        self.node.state().stop(unit);
        Ok(())
    }

    async fn restart(&self, unit: &str) -> Result<()> {
        self.node.state().start(unit, true)
    }

    async fn reset_failed(&self, unit: &str) -> Result<()> {
        self.node.state().reset_failed(unit);
        Ok(())
    }
}

impl Probe for SimulatedNode {
    async fn answers(&self, socket: Socket) -> std::result::Result<(), String> {
        if socket == Socket::Containerd || self.node.state().proxy_answers() {
            return Ok(());
        }
        Err(format!("{} does not answer", socket.path()))
    }

    async fn heartbeat(&self) -> Option<u64> {
        self.cluster.heartbeat().await
    }

    fn cpus(&self) -> Option<CpuSet> {
        None
    }
}

impl crate::effects::Clock for SimulatedNode {
    fn now(&self) -> u64 {
        self.clock.now().as_secs()
    }

    fn uptime(&self) -> Duration {
        self.clock.uptime()
    }

    async fn pause(&self, time: Duration) -> Result<()> {
        let mut stop = self.stop.clone();
        if *stop.borrow_and_update() {
            return Err(EffectError::Stopping);
        }
        if time.is_zero() {
            return Ok(());
        }
        match tokio::time::timeout(self.clock.outside(time), stop.wait_for(|stop| *stop)).await {
            Ok(_) => Err(EffectError::Stopping),
            Err(_elapsed) => Ok(()),
        }
    }
}

impl Slots for SimulatedNode {
    async fn take_slot(&self, request: &Request) -> Permit {
        self.slot.take_slot(request).await
    }

    async fn give_back_slot(&self, request: &Request) -> bool {
        self.slot.give_back_slot(request).await
    }
}

impl Progress for SimulatedNode {
    fn decided(&self, desired: &Desired, journal: Option<&Journal>) {
        self.telemetry.decided(desired, journal, self.now());
    }

    fn begin(&self, plan: &Plan) {
        self.telemetry.begin(plan);
    }

    fn done(&self, action: &Action) {
        if action.restarts() == Restarts::Kubelet {
            self.restarted.set(true);
        }
        self.telemetry.done(action);
    }
}
