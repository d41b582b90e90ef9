//! The real node.

mod files;
mod plugins;
mod units;

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use extension_config::cri_resmgr::CpuSet;
use extension_config::names::node;
use host::{HostLock, HostRoot, StateFile};
use node_plan::{Backend, Desired, FIRST_VERSION, HANDOVER_VERSION, Journal, Plan, Programs, Restarts, Step};
use observability::ErrorChain;
use tokio::sync::watch;

use crate::effects::{
    Clock, EffectError, NoAnswer, Node, Probe, Progress, Result, Slots, Socket, SwitchPermit, SwitchRequest,
};
use crate::payload::PayloadBinaries;
use crate::recent::RecentSteps;
use crate::shoot::{ShootApi, SwitchSlots};
use crate::telemetry::Telemetry;
use files::Sums;
pub(crate) use plugins::Placed;
pub(crate) use units::Bus;

/// Versions of the journal's format.
pub(crate) const JOURNAL_VERSIONS: RangeInclusive<u32> = FIRST_VERSION..=HANDOVER_VERSION;
/// Longest wait for an answer of a runtime.
const PROBE: Duration = Duration::from_secs(3);

/// CPUs that are online. The kernel shows every container those of the machine.
const ONLINE_CPUS: &str = "/sys/devices/system/cpu/online";

/// CPUs of the machine that are online, as the daemon reads them.
pub(crate) fn online_cpus() -> Option<CpuSet> {
    let text = std::fs::read_to_string(ONLINE_CPUS);
    let text = text.map_err(|error| tracing::debug!(%error, "failed to read {ONLINE_CPUS}")).ok()?;
    CpuSet::of_kernel(&text)
}

/// The node that the agent runs on.
pub(crate) struct RealNode {
    root: HostRoot,
    journal: StateFile<Journal>,
    binaries: PayloadBinaries,
    sums: HashMap<String, Sums>,
    bus: Bus,
    shoot: Rc<ShootApi>,
    slots: SwitchSlots,
    lock: Option<HostLock>,
    stop: watch::Receiver<bool>,
    telemetry: Option<Telemetry>,
    recent: Option<RecentSteps>,
    restarted: bool,
    begin: Instant,
}

impl RealNode {
    pub(crate) fn new(
        root: HostRoot,
        binaries: PayloadBinaries,
        shoot: Rc<ShootApi>,
        stop: watch::Receiver<bool>,
        observers: Option<(Telemetry, RecentSteps)>,
    ) -> Self {
        let (telemetry, recent) = observers.unzip();
        Self {
            journal: StateFile::new(root.clone(), node::JOURNAL, JOURNAL_VERSIONS),
            bus: Bus::of(&root),
            root,
            binaries,
            sums: HashMap::new(),
            slots: SwitchSlots::new(Rc::clone(&shoot)),
            shoot,
            lock: None,
            stop,
            telemetry,
            recent,
            restarted: false,
            begin: Instant::now(),
        }
    }

    fn remember(&mut self, step: &Step, error: Option<&EffectError>) {
        let now = self.now();
        if let Some(recent) = &mut self.recent {
            recent.add(step, error.map(|error| ErrorChain(error).to_string()).as_deref(), now);
        }
    }

    pub(crate) fn bus(&mut self) -> &mut Bus {
        &mut self.bus
    }
}

impl Node for RealNode {
    fn programs(&self) -> &Programs {
        &self.binaries.programs
    }

    fn take_restarted(&mut self) -> bool {
        std::mem::take(&mut self.restarted)
    }
}

impl Probe for RealNode {
    async fn answers(&mut self, socket: Socket) -> std::result::Result<(), NoAnswer> {
        let outcome = cri_client::probe(&self.root.path_in_this_namespace(socket.path()), PROBE).await?;
        if outcome.is_ready() { Ok(()) } else { Err(NoAnswer::NotReady(socket.path())) }
    }

    async fn heartbeat(&self) -> Option<u64> {
        self.shoot.heartbeat().await
    }

    fn cpus(&self) -> Option<CpuSet> {
        online_cpus()
    }
}

impl Clock for RealNode {
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    fn now(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }

    fn uptime(&self) -> Duration {
        self.begin.elapsed()
    }

    async fn pause(&mut self, time: Duration) -> Result<()> {
        let stop = &mut self.stop;
        if *stop.borrow_and_update() {
            return Err(EffectError::Stopping);
        }
        if time.is_zero() {
            return Ok(());
        }
        match tokio::time::timeout(time, stop.wait_for(|stop| *stop)).await {
            Ok(_) => Err(EffectError::Stopping),
            Err(_elapsed) => Ok(()),
        }
    }
}

impl Slots for RealNode {
    async fn take_slot(&mut self, request: &SwitchRequest) -> SwitchPermit {
        self.slots.take_slot(request).await
    }

    async fn give_back_slot(&mut self, request: &SwitchRequest) -> bool {
        self.slots.give_back_slot(request).await
    }
}

impl Progress for RealNode {
    fn decided(&self, desired: &Desired, journal: Option<&Journal>) {
        if let Some(telemetry) = &self.telemetry {
            telemetry.decided(desired, journal, self.now());
        }
    }

    fn begin(&self, plan: &Plan) {
        if let Some(telemetry) = &self.telemetry {
            telemetry.begin(plan);
        }
    }

    fn done(&mut self, step: &Step) {
        if step.action.restarts() == Restarts::Kubelet {
            self.restarted = true;
        }
        if let Some(telemetry) = &self.telemetry {
            telemetry.done(&step.action);
        }
        self.remember(step, None);
    }

    fn failed(&mut self, step: &Step, error: &EffectError) {
        if let Some(telemetry) = &self.telemetry {
            telemetry.metrics.step_failed(&step.action, error);
        }
        self.remember(step, Some(error));
    }

    fn rolled_back(&self, tried: Backend) {
        if let Some(telemetry) = &self.telemetry {
            telemetry.metrics.rolled_back(tried);
        }
    }
}
