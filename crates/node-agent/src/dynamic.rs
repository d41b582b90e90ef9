//! Dynamic configuration and Adjustments: handed to the running daemon, beside the work on the node and never in its way.
//!
//! What to do is decided by [`dynamic_config::Core`]; here it is told what happens, and what it says is carried out.

mod cache;
mod handover;
mod real;
#[cfg(test)]
mod tests;
mod watches;

use std::collections::BTreeMap;
use std::time::Duration;

use dynamic_config::{Adjustment, Answer, Core, Data, Duty, Memory, Problem, Push, Standing, StatusWrite};
use extension_config::cri_resmgr::CpuSet;
use extension_config::names::event;
use futures::StreamExt;
use futures::stream::LocalBoxStream;
use observability::ErrorChain;
use tokio::sync::watch;
use tokio::time::Instant;

pub(crate) use handover::Handover;
#[cfg(test)]
pub(crate) use real::memory_file;
pub(crate) use real::{RealSurroundings, remembered};
pub(crate) use watches::watches;

use crate::metrics::Metrics;
use crate::shoot::ShootError;

/// The net below all events.
const RESYNC: Duration = Duration::from_secs(60);
/// Events come in bursts: one look serves those that come within this time.
const QUIET: Duration = Duration::from_millis(250);
/// A daemon that starts has no socket for a moment.
const FIRST_RETRY: Duration = Duration::from_millis(250);
const LONGEST_RETRY: Duration = Duration::from_secs(15);
/// A configuration that cannot be handed over for so long is a problem.
const PATIENCE: Duration = Duration::from_secs(60);

/// Something that the API server told.
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
pub(crate) trait Surroundings {
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
    /// Tells people.
    async fn announce(&self, problem: &Problem);
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
    surroundings: S,
    handover: Handover,
    duty: watch::Receiver<Duty>,
    standing: watch::Sender<Standing>,
    metrics: Metrics,
    inputs: LocalBoxStream<'static, Input>,
    pushes: Retry,
    writes: Retry,
    undelivered: Option<String>,
    last_run: Option<String>,
    announced: Option<Problem>,
}

impl<S: Surroundings> Dynamic<S> {
    pub(crate) fn new(
        core: Core,
        surroundings: S,
        handover: Handover,
        (duty, standing): (watch::Receiver<Duty>, watch::Sender<Standing>),
        metrics: Metrics,
        inputs: LocalBoxStream<'static, Input>,
    ) -> Self {
        Self {
            core,
            surroundings,
            handover,
            duty,
            standing,
            metrics,
            inputs,
            pushes: Retry::default(),
            writes: Retry::default(),
            undelivered: None,
            last_run: None,
            announced: None,
        }
    }

    /// Runs until it is dropped.
    pub(crate) async fn run(mut self) {
        loop {
            self.settle().await;
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
            Ok(()) = self.duty.changed() => {}
            () = self.surroundings.run_changed(), if self.core.serves() => {}
            () = tokio::time::sleep_until(until) => return false,
        }
        true
    }

    /// Does all that there is to do.
    async fn settle(&mut self) {
        let duty = self.duty.borrow_and_update().clone();
        self.core.set_duty(duty);
        self.core.set_cpus(self.surroundings.cpus());
        let run = if self.core.serves() { self.surroundings.run().await } else { None };
        if run != self.last_run {
            self.pushes = Retry::default();
        }
        self.core.set_run(run.as_deref(), || self.surroundings.cached());
        self.last_run = run;
        self.push().await;
        self.save();
        self.tell().await;
        self.write_statuses().await;
    }

    async fn push(&mut self) {
        if !self.pushes.is_due() {
            return;
        }
        while let Some(push) = self.core.next_push() {
            match self.handover.push(&push).await {
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
            self.surroundings.remember(self.core.memory());
        }
    }

    async fn tell(&mut self) {
        let mut standing = self.core.standing();
        if standing.problem.is_none()
            && self.pushes.is_old()
            && let Some(reason) = &self.undelivered
        {
            let message = format!("nothing can be pushed to cri-resmgr: {reason}");
            standing.problem = Some(Problem { reason: event::CONFIG_UNDELIVERED, message });
        }
        if standing.problem != self.announced {
            if let Some(problem) = &standing.problem {
                tracing::warn!(problem = problem.message, "found a problem with the dynamic configuration");
                self.surroundings.announce(problem).await;
            }
            self.announced.clone_from(&standing.problem);
        }
        self.standing.send_if_modified(|current| {
            let changed = *current != standing;
            *current = standing;
            changed
        });
    }

    async fn write_statuses(&mut self) {
        if !self.writes.is_due() {
            return;
        }
        for write in self.core.status_writes() {
            if let Err(error) = self.surroundings.write_status(&write).await {
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
