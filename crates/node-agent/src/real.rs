//! The real node.

mod cluster;
mod files;
mod pace;
mod units;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use extension_config::names::node;
use extension_config::node_report::Stage;
use host::{HostLock, HostRoot, Journal as JournalFile};
use node_plan::{Action, Journal, Plan, Restarts};
use observability::ReadinessHandle;
use tokio::sync::watch;

pub(crate) use cluster::Cluster;

use crate::effects::{EffectError, Effects, Paced, Permit, Request, Result, Socket, Witnesses};
use crate::metrics::Metrics;
use crate::payload::Images;
use crate::report;
use files::Sums;
use units::Bus;

/// Version of the journal's format.
const JOURNAL_VERSION: u32 = 1;
/// Longest wait for an answer of a runtime.
const PROBE: Duration = Duration::from_secs(3);

/// Where the work shows while it goes on.
#[derive(Debug, Clone)]
pub(crate) struct Telemetry {
    pub(crate) metrics: Metrics,
    pub(crate) readiness: ReadinessHandle,
}

/// The node that the agent runs on.
pub(crate) struct RealNode {
    root: HostRoot,
    journal: JournalFile<Journal>,
    images: Images,
    sums: RefCell<HashMap<String, Sums>>,
    bus: Bus,
    cluster: Rc<Cluster>,
    lock: RefCell<Option<HostLock>>,
    stop: watch::Receiver<bool>,
    telemetry: Option<Telemetry>,
    restarted: Cell<bool>,
    begin: Instant,
    /// Hash of the desired state, of which failures are remembered.
    desired: RefCell<String>,
    /// When to ask for a slot again.
    ask_again: Cell<Duration>,
}

impl RealNode {
    pub(crate) fn new(
        root: HostRoot,
        images: Images,
        cluster: Rc<Cluster>,
        stop: watch::Receiver<bool>,
        telemetry: Option<Telemetry>,
    ) -> Self {
        let address = format!("unix:path={}", root.own_view("/run/dbus/system_bus_socket").display());
        Self {
            journal: JournalFile::new(root.clone(), node::JOURNAL, JOURNAL_VERSION),
            bus: Bus::new(address),
            root,
            images,
            sums: RefCell::default(),
            cluster,
            lock: RefCell::default(),
            stop,
            telemetry,
            restarted: Cell::new(false),
            begin: Instant::now(),
            desired: RefCell::default(),
            ask_again: Cell::default(),
        }
    }

    pub(crate) fn bus(&self) -> &Bus {
        &self.bus
    }

    /// Whether we restarted kubelet since the last call.
    pub(crate) fn take_restarted(&self) -> bool {
        self.restarted.replace(false)
    }

    /// What is desired from now on, by its hash.
    pub(crate) fn desires(&self, hash: &str) {
        hash.clone_into(&mut self.desired.borrow_mut());
    }

    /// When to ask for a slot again.
    pub(crate) fn ask_again(&self) -> Duration {
        self.ask_again.get()
    }

    async fn tell_of_stop(&self, stopped_now: bool) {
        if stopped_now {
            self.cluster.event(true, "CriResmgrSwitchesStopped", &pace::stopped()).await;
        }
    }

    pub(crate) fn images(&self) -> &Images {
        &self.images
    }
}

impl Witnesses for RealNode {
    async fn answers(&self, socket: Socket) -> std::result::Result<(), String> {
        match cri_client::probe(&self.root.own_view(socket.path()), PROBE).await {
            Ok(outcome) if outcome.is_ready() => Ok(()),
            Ok(_) => Err(format!("{} answers, but RuntimeReady is not true", socket.path())),
            Err(error) => Err(observability::ErrorChain(&error).to_string()),
        }
    }

    async fn heartbeat(&self) -> Option<u64> {
        self.cluster.heartbeat().await
    }

    fn now(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }

    fn uptime(&self) -> Duration {
        self.begin.elapsed()
    }

    async fn pause(&self, time: Duration) -> Result<()> {
        let mut stop = self.stop.clone();
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

impl Paced for RealNode {
    async fn take_slot(&self, request: &Request) -> Permit {
        let desired = self.desired.borrow().clone();
        let permit = self.cluster.take_slot(&desired, request).await;
        tracing::info!(slot = ?permit.slot, "asked for a switch slot");
        self.ask_again.set(permit.again_in);
        self.tell_of_stop(permit.stopped_now).await;
        permit
    }

    async fn give_back_slot(&self, request: &Request) -> bool {
        let desired = self.desired.borrow().clone();
        match self.cluster.give_back_slot(&desired, request).await {
            Ok(stopped_now) => {
                self.tell_of_stop(stopped_now).await;
                true
            }
            Err(reason) => {
                tracing::warn!(%reason, "the switch slot could not be given back; it ends with its time");
                false
            }
        }
    }
}

impl Effects for RealNode {
    fn lock(&self) -> Result<()> {
        let mut held = self.lock.borrow_mut();
        if held.is_none() {
            *held = Some(self.take_lock()?);
        }
        Ok(())
    }

    fn unlock(&self) {
        *self.lock.borrow_mut() = None;
    }

    fn begin(&self, plan: &Plan) {
        let Some(Telemetry { metrics, readiness }) = &self.telemetry else { return };
        metrics.stage_is(Stage::Working);
        readiness.set(Err(format!("{}: {}", Stage::Working.as_str(), report::message(plan))));
    }

    fn done(&self, action: &Action) {
        if action.restarts() == Restarts::Kubelet {
            self.restarted.set(true);
        }
        let Some(Telemetry { metrics, .. }) = &self.telemetry else { return };
        match (action, action.restarts()) {
            (Action::RestartKubelet { cause }, _) => metrics.kubelet_restarted(cause.as_str()),
            (Action::Restart { .. }, Restarts::Daemon) => metrics.daemon_restarted(),
            _ => {}
        }
    }
}
