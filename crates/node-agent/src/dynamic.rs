//! Dynamic configuration and Adjustments: handed to the running daemon, beside the work on the node and never in its way.
//!
//! What to do is decided by [`dynamic_config::Core`]; here its inputs are fed to it, and what it decides is carried out.

mod cache;
mod config_socket;
mod real;
#[cfg(test)]
mod tests;
mod watches;

use std::collections::BTreeMap;
use std::time::Duration;

use dynamic_config::{Adjustment, Answer, ConfigStatus, Core, DaemonMode, Data, Memory, Problem, Push, StatusWrite};
use extension_config::NodeEvent;
use extension_config::cri_resmgr::CpuSet;
use futures::StreamExt;
use futures::stream::LocalBoxStream;
use observability::ErrorChain;
use tokio::sync::watch;
use tokio::time::Instant;

pub(crate) use config_socket::ConfigSocket;
#[cfg(test)]
pub(crate) use real::memory_file;
pub(crate) use real::{RealDaemonEnvironment, remembered};
pub(crate) use watches::{TOO_LONG, policy_watches, watches};

use crate::metrics::Metrics;
use crate::shoot::ShootError;

/// The net below all events.
const RESYNC: Duration = Duration::from_secs(60);
/// Events come in bursts: one check serves those that come within this time.
const QUIET: Duration = Duration::from_millis(250);
/// A daemon that starts has no socket for a moment.
const FIRST_RETRY: Duration = Duration::from_millis(250);
const LONGEST_RETRY: Duration = Duration::from_secs(15);
/// A configuration that cannot be handed over for so long is a problem.
const PATIENCE: Duration = Duration::from_secs(60);

/// Something that came from the API server.
#[derive(Debug)]
pub(crate) enum Input {
    /// All ConfigMaps with dynamic configurations.
    Maps(BTreeMap<String, Data>),
    /// The group of our node.
    Group(Option<String>),
    /// All Adjustments.
    Adjustments(BTreeMap<String, Adjustment>),
    /// One Adjustment, changed or gone.
    Adjustment(String, Option<Adjustment>),
}

/// What is around, but for the daemon's socket.
pub(crate) trait DaemonEnvironment {
    /// The run of the daemon that is up.
    async fn run(&mut self) -> Option<String>;
    /// Waits until that may have changed.
    async fn run_changed(&mut self);
    /// The CPUs of the machine; `None` when they cannot be read.
    fn cpus(&self) -> Option<CpuSet>;
    /// The configuration that the daemon keeps over its restarts.
    fn cached(&self) -> Option<Data>;
    /// Keeps what must outlive the agent.
    fn remember(&self, memory: &Memory);
    /// Writes into the status of an Adjustment. Error: why it has to be tried again.
    async fn write_status(&self, write: &StatusWrite) -> Result<(), ShootError>;
}

/// Tries again later, and later.
#[derive(Debug, Default)]
struct Retry {
    failures: u32,
    since: Option<Instant>,
    at: Option<Instant>,
}

impl Retry {
    fn failed(&mut self) -> Duration {
        let now = Instant::now();
        let wait = (FIRST_RETRY * (1 << self.failures.min(8))).min(LONGEST_RETRY);
        self.failures = self.failures.saturating_add(1);
        self.since.get_or_insert(now);
        self.at = Some(now + wait);
        wait
    }

    fn is_due(&self) -> bool {
        self.at.is_none_or(|at| at <= Instant::now())
    }

    fn is_old(&self) -> bool {
        self.since.is_some_and(|since| since.elapsed() >= PATIENCE)
    }
}

/// The part of the agent that serves the daemon's `Config` service.
pub(crate) struct Dynamic<S> {
    core: Core,
    environment: S,
    config_socket: ConfigSocket,
    daemon_mode: watch::Receiver<DaemonMode>,
    config_status: watch::Sender<ConfigStatus>,
    metrics: Metrics,
    inputs: LocalBoxStream<'static, Input>,
    pushes: Retry,
    writes: Retry,
    undelivered: Option<String>,
    last_run: Option<String>,
    recorded: Option<Problem>,
}

impl<S: DaemonEnvironment> Dynamic<S> {
    pub(crate) fn new(
        core: Core,
        environment: S,
        config_socket: ConfigSocket,
        (daemon_mode, config_status): (watch::Receiver<DaemonMode>, watch::Sender<ConfigStatus>),
        metrics: Metrics,
        inputs: LocalBoxStream<'static, Input>,
    ) -> Self {
        Self {
            core,
            environment,
            config_socket,
            daemon_mode,
            config_status,
            metrics,
            inputs,
            pushes: Retry::default(),
            writes: Retry::default(),
            undelivered: None,
            last_run: None,
            recorded: None,
        }
    }

    /// Runs until it is dropped.
    pub(crate) async fn run(mut self) {
        loop {
            self.run_until_idle().await;
            let next = [self.pushes.at, self.writes.at].into_iter().flatten().min();
            let wake = next.unwrap_or_else(|| Instant::now() + RESYNC);
            if self.event(wake).await {
                let quiet = Instant::now() + QUIET;
                while self.event(quiet).await {}
            }
        }
    }

    /// Waits for something to happen, at the latest until then. Whether something did.
    async fn event(&mut self, until: Instant) -> bool {
        tokio::select! {
            Some(input) = self.inputs.next() => {
                match input {
                    Input::Maps(maps) => self.core.set_maps(maps),
                    Input::Group(group) => self.core.set_group(group),
                    Input::Adjustments(all) => self.core.set_adjustments(all),
                    Input::Adjustment(name, adjustment) => self.core.set_adjustment(&name, adjustment),
                }
            }
            Ok(()) = self.daemon_mode.changed() => {}
            () = self.environment.run_changed(), if self.core.serves() => {}
            () = tokio::time::sleep_until(until) => return false,
        }
        true
    }

    /// Does all that there is to do.
    async fn run_until_idle(&mut self) {
        let daemon_mode = self.daemon_mode.borrow_and_update().clone();
        self.core.set_daemon_mode(daemon_mode);
        self.core.set_cpus(self.environment.cpus());
        let run = if self.core.serves() { self.environment.run().await } else { None };
        if run != self.last_run {
            self.pushes = Retry::default();
        }
        self.core.set_run(run.as_deref(), || self.environment.cached());
        self.last_run = run;
        self.push().await;
        self.save();
        self.report();
        self.write_statuses().await;
    }

    async fn push(&mut self) {
        if !self.pushes.is_due() {
            return;
        }
        while let Some(push) = self.core.next_push() {
            match self.config_socket.push(&push).await {
                Ok(answer) => {
                    self.pushes = Retry::default();
                    self.undelivered = None;
                    self.core.answered(&push, &answer);
                    self.note(&push, &answer);
                    // What it accepted must be known to the next agent, too.
                    self.save();
                }
                Err(reason) => {
                    let wait = self.pushes.failed();
                    self.metrics.pushed(kind(&push), "failed");
                    tracing::debug!(what = kind(&push), %reason, retry_in = ?wait, "failed to push to cri-resmgr");
                    self.undelivered = Some(reason);
                    return;
                }
            }
        }
        self.pushes = Retry::default();
        self.undelivered = None;
    }

    fn note(&self, push: &Push, answer: &Answer) {
        let outcome = if *answer == Answer::Accepted { "accepted" } else { "refused" };
        self.metrics.pushed(kind(push), outcome);
        match push {
            Push::Config { source, .. } => tracing::info!(%source, outcome, "pushed a configuration to cri-resmgr"),
            Push::Adjustments { set } => tracing::info!(count = set.len(), outcome, "pushed Adjustments to cri-resmgr"),
        }
    }

    fn save(&self) {
        // Without a duty the agent's directories may be on their way out.
        if self.core.serves() {
            self.environment.remember(self.core.memory());
        }
    }

    fn report(&mut self) {
        let mut config_status = self.core.config_status();
        if config_status.problem.is_none()
            && self.pushes.is_old()
            && let Some(reason) = &self.undelivered
        {
            let message = format!("nothing can be pushed to cri-resmgr: {reason}");
            config_status.problem = Some(Problem { reason: NodeEvent::ConfigUndelivered, message });
        }
        if config_status.problem != self.recorded {
            if let Some(problem) = &config_status.problem {
                tracing::warn!(problem = problem.message, "found a problem with the dynamic configuration");
            }
            self.recorded.clone_from(&config_status.problem);
        }
        self.config_status.send_if_modified(|current| {
            let changed = *current != config_status;
            *current = config_status;
            changed
        });
    }

    async fn write_statuses(&mut self) {
        if !self.writes.is_due() {
            return;
        }
        for write in self.core.status_writes() {
            if let Err(error) = self.environment.write_status(&write).await {
                let wait = self.writes.failed();
                tracing::warn!(adjustment = write.name, reason = %ErrorChain(&error), retry_in = ?wait, "failed to write the status of an Adjustment");
                return;
            }
            self.metrics.status_written();
            self.core.wrote(&write);
        }
        self.writes = Retry::default();
    }
}

fn kind(push: &Push) -> &'static str {
    match push {
        Push::Config { .. } => "config",
        Push::Adjustments { .. } => "adjustments",
    }
}
