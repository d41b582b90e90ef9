//! `run`: work, report, wait for a reason to look again.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use dynamic_config::{Core, Duty, Standing};
use extension_config::desired_state::Phase;
use extension_config::names;
use extension_config::node_report::{NodeReport, Stage};
use futures::StreamExt;
use host::HostRoot;
use node_plan::{Desired, Journal, Renewal, StaticConfig, budget};
use observability::{BuildInfo, ErrorChain, LogConfig, ReadinessHandle, Server};
use prometheus_client::registry::Registry;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::cli::RunOptions;
use crate::converge::converge;
use crate::desired_file::{self, Mounted};
use crate::dynamic::{self, Dynamic, Handover, RealSurroundings};
use crate::effects::{EffectError, Witnesses};
use crate::metrics::Metrics;
use crate::payload::Images;
use crate::prove::Timing;
use crate::real::{Cluster, RealNode, Telemetry};
use crate::report;
use crate::wake::Wake;

/// The net below all events.
const RESYNC: Duration = Duration::from_secs(60);
/// Wait after an error; doubled up to [`LONGEST_RETRY`].
const FIRST_RETRY: Duration = Duration::from_secs(5);
const LONGEST_RETRY: Duration = Duration::from_secs(120);

struct Agent {
    options: RunOptions,
    root: HostRoot,
    node: RealNode,
    cluster: Rc<Cluster>,
    readiness: ReadinessHandle,
    metrics: Metrics,
    reported: RefCell<Option<NodeReport>>,
    gated: RefCell<Option<bool>>,
    invocation: RefCell<Option<String>>,
    failures: u32,
    duty: watch::Sender<Duty>,
    standing: watch::Receiver<Standing>,
}

/// Runs until SIGTERM or SIGINT. Neither is an order to remove anything.
pub(crate) async fn run(options: RunOptions) -> anyhow::Result<()> {
    observability::logging::init(&LogConfig { level: options.log_level.clone(), format: options.log_format })?;
    let (stop, stopping) = watch::channel(false);
    let mut registry = Registry::default();
    BuildInfo { name: env!("CARGO_BIN_NAME"), version: env!("CARGO_PKG_VERSION"), revision: "" }
        .register(&mut registry);
    let metrics = Metrics::register(&mut registry);
    let (readiness, reader) = observability::readiness::readiness("the node was not looked at yet");
    let server = Server::new().with_health(|| Ok(())).with_readiness(reader).with_metrics(Arc::new(registry));
    let bound = server.bind(options.listen).await?;
    let mut stopped = stopping.clone();
    let serving = tokio::spawn(bound.run(async move { drop(stopped.wait_for(|stop| *stop).await) }));

    let images = Images::load(&options.node.payload, &options.node.gate)?;
    let root = HostRoot::open(&options.node.host_root).context("open the host root")?;
    let name = options.node.node_name.clone();
    let cluster = Rc::new(Cluster::connect(name, options.node.kubeconfig.as_deref()).await);
    let telemetry = Telemetry { metrics: metrics.clone(), readiness: readiness.clone() };
    let node = RealNode::new(root.clone(), images, Rc::clone(&cluster), stopping, Some(telemetry));
    let (duty, duties) = watch::channel(Duty::default());
    let (standing, standings) = watch::channel(Standing::default());
    let name = options.node.node_name.clone();
    let dynamic = Dynamic::new(
        Core::new(name.clone(), dynamic::remembered(&root)),
        RealSurroundings::new(root.clone(), Rc::clone(&cluster)),
        Handover::new(root.own_view(names::node::CONFIG_SOCKET), name.clone()),
        (duties, standing),
        metrics.clone(),
        cluster
            .client()
            .map_or_else(|| futures::stream::pending().boxed_local(), |client| dynamic::watches(client, &name)),
    );
    let mut agent = Agent {
        options,
        root,
        node,
        cluster,
        readiness,
        metrics,
        reported: RefCell::default(),
        gated: RefCell::default(),
        invocation: RefCell::default(),
        failures: 0,
        duty,
        standing: standings,
    };
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("asked to stop; what was begun is taken up by the next agent");
        stop.send_replace(true);
    });
    tokio::select! {
        () = agent.work() => {}
        () = dynamic.run() => {}
    }
    serving.await.context("serve HTTP")
}

impl Agent {
    async fn work(&mut self) {
        let mut wake = Wake::new();
        loop {
            // Before the look: what changes while we work is a reason to look again at once.
            wake.renew(&self.root, &self.options.node.desired_state, &self.node).await;
            let wait = self.round().await;
            let why = tokio::select! {
                why = wake.next(&self.node) => why,
                Ok(()) = self.standing.changed() => "the dynamic configuration",
                stopped = self.node.pause(wait) => match stopped {
                    Err(_stopping) => return,
                    Ok(()) => "time",
                },
            };
            tracing::debug!(%why, "looking again");
            wake.gather().await;
        }
    }

    /// One round of work; how long to wait for the next when nothing happens.
    async fn round(&mut self) -> Duration {
        let mounted = match desired_file::read(&self.options.node.desired_state) {
            Ok(mounted) => mounted,
            Err(error) => return self.failed(&ErrorChain(&error).to_string(), None).await,
        };
        let labels = self.cluster.labels().await;
        self.node.desires(&mounted.hash);
        let images = self.node.images();
        let desire = |journal: Option<&Journal>| {
            let mut desired =
                Desired::decide(&mounted.state, labels.as_ref(), journal, images.daemon.clone(), images.gate.clone());
            let duty = duty(&desired, journal, self.node.now());
            self.duty.send_if_modified(|current| {
                let changed = *current != duty;
                *current = duty;
                changed
            });
            if let Desired::Installed(installation) = &mut desired {
                installation.renewal = self.standing.borrow().renewal.as_ref().map(|renewal| Renewal {
                    invocation: renewal.invocation.clone(),
                    because: renewal.because.clone(),
                });
            }
            desired
        };
        match converge(&self.node, &Timing::REAL, desire).await {
            Ok(outcome) => {
                self.failures = 0;
                self.count_foreign_restart(&outcome);
                let stage = report::stage(&outcome.plan);
                let message = report::message(&outcome.plan);
                let restarts = report::restarts(outcome.observed.journal.as_ref());
                self.tell(stage, &message, &mounted, restarts, outcome.plan.retry_at).await;
                if outcome.plan.awaits_slot {
                    return self.node.ask_again().min(RESYNC);
                }
                let now = outcome.observed.now;
                let retry = outcome.plan.retry_at.map(|at| Duration::from_secs(at.saturating_sub(now).max(1)));
                retry.map_or(RESYNC, |retry| retry.min(RESYNC))
            }
            Err(EffectError::Stopping) => Duration::ZERO,
            Err(error) => self.failed(&ErrorChain(&error).to_string(), Some(&mounted)).await,
        }
    }

    async fn failed(&mut self, reason: &str, mounted: Option<&Mounted>) -> Duration {
        self.metrics.failed();
        self.failures = self.failures.saturating_add(1);
        let wait = (FIRST_RETRY * (1 << self.failures.saturating_sub(1).min(8))).min(LONGEST_RETRY);
        tracing::error!(%reason, retry_in = ?wait, "the node is not as desired");
        if let Some(mounted) = mounted {
            self.tell(Stage::Working, reason, mounted, 0, None).await;
        } else {
            self.metrics.stage_is(Stage::Undecided);
            self.readiness.set(Err(reason.to_owned()));
        }
        wait
    }

    /// Readiness, metric, Lease, and last the pod's gate: once it is open in the phase `Remove`, the agent may be taken away.
    async fn tell(&self, stage: Stage, message: &str, mounted: &Mounted, restarts: usize, retry_at: Option<u64>) {
        // Nothing about configurations may stand in the way of a removal.
        let standing = if stage == Stage::Installed { self.standing.borrow().clone() } else { Standing::default() };
        let problem = standing.problem.map(|problem| problem.message);
        let message = problem.as_deref().filter(|_| message.is_empty()).unwrap_or(message);
        let settled = matches!(stage, Stage::Installed | Stage::Clean) && message.is_empty();
        self.readiness.set(if settled { Ok(()) } else { Err(format!("{}: {message}", stage.as_str())) });
        self.metrics.stage_is(stage);
        let report = NodeReport {
            stage,
            phase: mounted.state.phase.as_str().to_owned(),
            desired: mounted.hash.clone(),
            since: self.node.now(),
            restarts,
            message: message.to_owned(),
            config: standing.accepted.map(|source| source.to_string()),
            retry_at,
        };
        if !self.reported.borrow().as_ref().is_some_and(|last| report.says_the_same(last)) {
            self.write_report(report, settled && mounted.state.phase == Phase::Remove).await;
        }
        self.gate(settled, message).await;
    }

    /// `leaving`: nothing of the extension shall stay in the shoot either.
    async fn write_report(&self, report: NodeReport, leaving: bool) {
        tracing::info!(stage = report.stage.as_str(), message = report.message, "the node");
        let last = self.reported.borrow().as_ref().map(|last| last.stage);
        self.announce(last, report.stage, &report.message).await;
        let written = if leaving { self.cluster.withdraw_report().await } else { self.cluster.report(&report).await };
        match written {
            Ok(()) => *self.reported.borrow_mut() = Some(report),
            Err(reason) => tracing::warn!(%reason, "the report could not be written"),
        }
    }

    /// The pod's readiness gate, when it has to change.
    async fn gate(&self, as_desired: bool, message: &str) {
        let Some(pod) = &self.options.node.pod_name else { return };
        if *self.gated.borrow() == Some(as_desired) {
            return;
        }
        match self.cluster.gate(pod, as_desired, message).await {
            Ok(()) => *self.gated.borrow_mut() = Some(as_desired),
            Err(reason) => tracing::warn!(%reason, "the readiness gate of the pod could not be written"),
        }
    }

    /// What people should see on the Node: changes of the stage. The first look of an agent at a node that is as desired is no news.
    async fn announce(&self, last: Option<Stage>, stage: Stage, message: &str) {
        match stage {
            Stage::RolledBack if last != Some(stage) => self.cluster.event(true, "CriResmgrRolledBack", message).await,
            Stage::Blocked if last != Some(stage) => self.cluster.event(true, "CriResmgrBlocked", message).await,
            Stage::Installed if last.is_some_and(|last| last != stage) => {
                self.cluster.event(false, "CriResmgrInstalled", "kubelet runs through cri-resmgr").await;
            }
            Stage::Clean if last.is_some_and(|last| last != stage) => {
                let note =
                    "cri-resmgr is removed; CPU and memory pins of running containers stay until they are recreated";
                self.cluster.event(false, "CriResmgrRemoved", note).await;
            }
            _ => {}
        }
    }

    /// A new run of kubelet that no step of ours began was caused by somebody else.
    fn count_foreign_restart(&self, outcome: &crate::converge::Outcome) {
        let now = outcome.observed.kubelet.unit.invocation.clone();
        let mut last = self.invocation.borrow_mut();
        if last.as_ref().is_some_and(|last| *last != now) && !self.node.take_restarted() {
            self.metrics.kubelet_restarted("foreign");
        }
        *last = Some(now);
    }
}

/// What the daemon may be given. Ours takes configurations when it was started by us and not with a forced configuration.
fn duty(desired: &Desired, journal: Option<&Journal>, now: u64) -> Duty {
    let installation = match desired {
        Desired::Undecided { .. } => return Duty::Undecided,
        Desired::Clean { .. } => return Duty::Off,
        Desired::Installed(installation) => installation,
    };
    let phase = journal.map(|journal| journal.phase);
    let started = journal.is_some_and(|journal| journal.applied.is_some());
    match (&installation.config, phase) {
        (StaticConfig::Force(_), _) => Duty::Off,
        (_, Some(node_plan::Phase::RolledBack)) => Duty::RolledBack,
        // Another configuration than the one that may be pushed on top of.
        _ if budget::in_force(journal, &installation.attempt(), now).is_some() => Duty::RolledBack,
        (config, Some(node_plan::Phase::Installing | node_plan::Phase::Installed)) if started => {
            let fallback = config.text().unwrap_or(extension_config::effective::BUILT_IN_FALLBACK).to_owned();
            Duty::Serve { fallback }
        }
        _ => Duty::Undecided,
    }
}
