//! The agent's rounds: work on the node, then report its state to readiness, metrics, the Lease and the pod's readiness gate.

use std::rc::Rc;
use std::time::Duration;

use dynamic_config::ConfigStatus;
use extension_config::desired_state::Phase;
use extension_config::node_report::{NodeReport, Published, Stage};
use extension_config::{NodeEvent, ReasonCode};
use node_plan::{Backend, Desired, Journal, NodePolicy, RestartRequest, absent_cpus};
use observability::ErrorChain;
use tokio::sync::watch;
use tracing::Instrument;

use crate::converge::{Outcome, converge};
use crate::desired_file::{DesiredFileError, Mounted};
use crate::effects::{EffectError, Node};
use crate::events::{self, ConfigProblem, Done};
use crate::inputs::{Goal, Inputs};
use crate::policies::PolicySource;
use crate::prove::Timing;
use crate::report;
use crate::shoot::ShootApi;
use crate::telemetry::{Heals, Telemetry};

/// The net below all events.
const RESYNC: Duration = Duration::from_secs(60);
/// Wait after an error; doubled up to [`LONGEST_RETRY`].
const FIRST_RETRY: Duration = Duration::from_secs(5);
const LONGEST_RETRY: Duration = Duration::from_secs(120);

/// The agent of one node.
pub(crate) struct Agent<N> {
    node: N,
    shoot: Rc<ShootApi>,
    pod: Option<String>,
    telemetry: Telemetry,
    reported: Option<NodeReport>,
    /// What the pod's readiness gate was set to.
    readiness_gate: Option<bool>,
    /// The backend that the node has, or had last.
    backend: Option<Backend>,
    /// The run of kubelet that was seen last.
    invocation: Option<String>,
    failures: u32,
    heals: Heals,
    config_status: watch::Receiver<ConfigStatus>,
    policies: PolicySource,
    /// What was last said to be wrong with the node's policy.
    policy_problem: Option<String>,
    event_state: EventState,
}

/// What was published of the node, and what is still to be.
#[derive(Debug, Default)]
struct EventState {
    /// `None`: what an earlier agent has reported is not known yet.
    published: Option<Published>,
    /// The report of an earlier agent, as long as there is none of ours.
    earlier: Option<NodeReport>,
    /// What was done since the node was last as it was to be.
    done: Done,
    /// What was put right and is not published yet.
    healed: Done,
    /// The report with what was published could not be written.
    is_unwritten: bool,
}

/// What a report says of a round, beside stage and message.
#[derive(Debug, Default)]
struct Details {
    restarts: usize,
    in_effect: InEffect,
    retry_at: Option<u64>,
    awaits_slot: bool,
    /// What is on the node.
    backend: Option<Backend>,
    /// Digest of all that the backend is started with.
    inputs: Option<String>,
    /// A configuration has asked for a restart of the daemon.
    restart_requested: bool,
    policy_problem: Option<ConfigProblem>,
}

/// What a report says of the configuration in effect, beside what the dynamic configuration does.
#[derive(Debug, Default)]
struct InEffect {
    warnings: Vec<String>,
    /// Name of the ConfigMap with the policy.
    policy: Option<String>,
    /// Why what is wanted is not in effect.
    problem: Option<String>,
}

impl<N: Node> Agent<N> {
    /// An agent that writes the gate of `pod`, where it is given; what it hears of the dynamic configuration comes over `config_status`, and the
    /// node's policy for nri-plugins from `policies`.
    pub(crate) fn new(
        node: N,
        shoot: Rc<ShootApi>,
        pod: Option<String>,
        telemetry: Telemetry,
        config_status: watch::Receiver<ConfigStatus>,
        policies: PolicySource,
    ) -> Self {
        Self {
            node,
            shoot,
            pod,
            telemetry,
            reported: None,
            readiness_gate: None,
            backend: None,
            invocation: None,
            failures: 0,
            heals: Heals::default(),
            config_status,
            policies,
            policy_problem: None,
            event_state: EventState::default(),
        }
    }

    /// Its node.
    pub(crate) fn node_mut(&mut self) -> &mut N {
        &mut self.node
    }

    /// One round of work; how long to wait for the next when nothing happens.
    pub(crate) async fn round(&mut self, mounted: Result<Mounted, DesiredFileError>) -> Duration {
        let desired = mounted.as_ref().map_or("", |mounted| &mounted.hash);
        let span = tracing::info_span!("round", node = self.shoot.node_name(), desired);
        // Boxed, or every future that waits for a round would carry it.
        Box::pin(self.work(mounted)).instrument(span).await
    }

    async fn work(&mut self, mounted: Result<Mounted, DesiredFileError>) -> Duration {
        let mounted = match mounted {
            Ok(mounted) => mounted,
            Err(error) => return self.failed(&ErrorChain(&error).to_string(), None).await,
        };
        let inputs = Inputs {
            node: self.shoot.node_name().to_owned(),
            state: mounted.state.clone(),
            hash: mounted.hash.clone(),
            labels: self.shoot.labels().await,
            programs: self.node.programs().clone(),
            policy: self.policies.policy(&mounted.state),
            restart_request: self.config_status.borrow().restart_request.as_ref().map(|restart_request| {
                RestartRequest {
                    invocation: restart_request.invocation.clone(),
                    because: restart_request.because.clone(),
                }
            }),
            meant: self.config_status.borrow().meant.clone(),
        };
        self.note_policy_problem(&inputs.policy);
        match converge(&mut self.node, &Timing::REAL, &inputs, &mut self.event_state.done).await {
            Ok(outcome) => {
                self.failures = 0;
                self.count_foreign_restart(&outcome);
                self.count_heal(&inputs, &outcome);
                self.telemetry.metrics.observed(&outcome.observed);
                let stage = report::stage(&outcome.plan);
                let message = (report::message(&outcome.plan), report::codes(&outcome.plan));
                let backend = outcome.observed.journal.as_ref().and_then(Journal::backend);
                let details = Details {
                    restarts: report::restarts(outcome.observed.journal.as_ref()),
                    in_effect: in_effect(&inputs, &outcome),
                    retry_at: outcome.plan.retry_at,
                    awaits_slot: outcome.plan.awaits_slot,
                    backend,
                    inputs: match inputs.desired(outcome.observed.journal.as_ref()) {
                        Desired::Installed(installation) => Some(installation.inputs()),
                        Desired::Clean { .. } | Desired::Undecided { .. } => None,
                    },
                    restart_requested: inputs.restart_request.is_some(),
                    policy_problem: Some(policy_problem(&inputs.policy)),
                };
                self.backend = backend.or(outcome.had).or(self.backend);
                self.report(stage, message, &mounted, details).await;
                if outcome.plan.awaits_slot {
                    return outcome.ask_again.unwrap_or(FIRST_RETRY).min(RESYNC);
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
        self.telemetry.metrics.failed();
        self.failures = self.failures.saturating_add(1);
        let wait = (FIRST_RETRY * (1 << self.failures.saturating_sub(1).min(8))).min(LONGEST_RETRY);
        tracing::error!(%reason, retry_in = ?wait, "failed to bring the node to the desired state");
        if let Some(mounted) = mounted {
            let message = (reason.to_owned(), vec![ReasonCode::RoundFailed]);
            self.report(Stage::Working, message, mounted, Details::default()).await;
        } else {
            self.telemetry.metrics.stage_is(Stage::Undecided);
            self.telemetry.readiness.set(Err(reason.to_owned()));
        }
        wait
    }

    /// Readiness, metric, Lease, and last the pod's gate: once it is open in the phase `Remove`, the agent may be taken away.
    async fn report(
        &mut self,
        stage: Stage,
        (message, codes): (String, Vec<ReasonCode>),
        mounted: &Mounted,
        details: Details,
    ) {
        let Details { restarts, in_effect, retry_at, awaits_slot, backend, inputs, restart_requested, policy_problem } =
            details;
        let current = self.config_status.borrow().clone();
        let problem = config_problem(&current, policy_problem);
        // Nothing about configurations may stand in the way of a removal.
        let config_status = if stage == Stage::Installed { current.clone() } else { ConfigStatus::default() };
        let InEffect { mut warnings, policy, problem: policy_invalid } =
            if stage == Stage::Installed { in_effect } else { InEffect::default() };
        warnings.extend(config_status.warnings);
        let policy_invalid = policy_invalid.map(|problem| (problem, vec![ReasonCode::PolicyInvalid]));
        let config_invalid = config_status.problem.map(|problem| {
            let code = report::code_of_event(problem.reason);
            (problem.message, code.into_iter().collect())
        });
        let invalid = config_invalid.or(policy_invalid).filter(|_| message.is_empty());
        let (message, codes) = invalid.unwrap_or((message, codes));
        let settled = matches!(stage, Stage::Installed | Stage::Clean) && message.is_empty();
        self.telemetry.readiness.set(if settled { Ok(()) } else { Err(format!("{}: {message}", stage.as_str())) });
        self.telemetry.metrics.stage_is(stage);
        self.remember_earlier().await;
        let now = self.node.now();
        let waits = awaits_slot && events::waits_for_others(&codes);
        let report = NodeReport {
            stage,
            phase: mounted.state.phase.as_str().to_owned(),
            desired: mounted.hash.clone(),
            since: now,
            restarts,
            message: message.clone(),
            warnings,
            config: config_status.accepted.map(|source| source.to_string()).or(policy),
            retry_at,
            awaits_slot,
            backend: backend.map(|backend| report::backend_word(backend).to_owned()),
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            codes: codes.iter().map(|code| code.as_str().to_owned()).collect(),
            slot_since: waits.then(|| self.last_report().and_then(|last| last.slot_since).unwrap_or(now)),
            published: Published::default(),
        };
        self.telemetry.metrics.reported(&report);
        let round = events::Round {
            report: &report,
            now,
            codes: &codes,
            backend: self.backend,
            inputs: inputs.as_deref(),
            in_effect: config_in_effect(&report, &current, self.backend),
            problem: &problem,
            restart_requested,
            done: &self.event_state.done.clone(),
            healed: &Done::default(),
        };
        let has_published = self.publish_changes(round).await;
        let is_changed = !self.reported.as_ref().is_some_and(|last| report.says_the_same(last));
        if is_changed || has_published || self.event_state.is_unwritten {
            let report = NodeReport { published: self.event_state.published.clone().unwrap_or_default(), ..report };
            self.write_report(report, is_changed, settled && mounted.state.phase == Phase::Remove).await;
        }
        self.set_readiness_gate(settled, &message).await;
    }

    /// The last word on the node, this agent's or an earlier one's.
    fn last_report(&self) -> Option<&NodeReport> {
        self.reported.as_ref().or(self.event_state.earlier.as_ref())
    }

    /// Finds out, once, what an earlier agent has reported.
    async fn remember_earlier(&mut self) {
        if self.event_state.published.is_some() {
            return;
        }
        match self.shoot.earlier_report().await {
            Ok(earlier) => {
                self.event_state.published = Some(events::published_before(earlier.as_ref()));
                self.event_state.earlier = earlier;
            }
            Err(error) => tracing::warn!(reason = %ErrorChain(&error), "failed to look at the last node report"),
        }
    }

    /// Publishes what has changed, as soon as it is known what was published before. Returns whether anything was.
    async fn publish_changes(&mut self, round: events::Round<'_>) -> bool {
        let Some(published) = self.event_state.published.clone().filter(|_| self.shoot.can_publish()) else {
            return false;
        };
        if events::is_heal(&published, self.last_report(), &round) {
            let done = std::mem::take(&mut self.event_state.done);
            self.event_state.healed.append(&done);
        }
        let decision = events::decide(&published, &events::Round { healed: &self.event_state.healed, ..round });
        for announcement in &decision.announcements {
            self.shoot.publish_event(announcement.event, &announcement.note).await;
            if announcement.event == NodeEvent::Healed {
                self.event_state.healed = Done::default();
            }
        }
        self.event_state.published = Some(decision.published);
        if !decision.is_pending && !matches!(round.report.stage, Stage::Working | Stage::Undecided) {
            self.event_state.done = Done::default();
        }
        !decision.announcements.is_empty()
    }

    /// `leaving`: nothing of the extension shall stay in the shoot either.
    async fn write_report(&mut self, report: NodeReport, is_changed: bool, leaving: bool) {
        if is_changed {
            tracing::info!(stage = report.stage.as_str(), reason = report.message, "assessed the node");
            let warned = self.last_report().map(|last| last.warnings.as_slice()).unwrap_or_default();
            if !report.warnings.is_empty() && report.warnings != warned {
                let warnings = report.warnings.join("; ");
                tracing::warn!(warnings, "found warnings about the configuration in effect");
            }
        }
        if self.event_state.published.is_none() && !leaving {
            // What an earlier agent has reported stands in the report that this one would replace.
            return;
        }
        let written = if leaving { self.shoot.delete_report().await } else { self.shoot.write_report(&report).await };
        self.event_state.is_unwritten = written.is_err();
        match written {
            Ok(()) => self.reported = Some(report),
            Err(error) => tracing::warn!(reason = %ErrorChain(&error), "failed to write the node report"),
        }
    }

    /// The pod's readiness gate, when it has to change.
    async fn set_readiness_gate(&mut self, as_desired: bool, message: &str) {
        let Some(pod) = &self.pod else { return };
        if self.readiness_gate == Some(as_desired) {
            return;
        }
        match self.shoot.set_readiness_gate(pod, as_desired, message).await {
            Ok(()) => self.readiness_gate = Some(as_desired),
            Err(error) => tracing::warn!(reason = %ErrorChain(&error), "failed to write the readiness gate of the pod"),
        }
    }

    /// Logs what is wrong with the node's policy, once: the node keeps the one that it has, or waits for its first.
    fn note_policy_problem(&mut self, policy: &NodePolicy) {
        let problem = match policy {
            NodePolicy::Awaited => return,
            NodePolicy::Missing | NodePolicy::Invalid { .. } | NodePolicy::Valid { .. } => policy.problem(),
        };
        if let Some(problem) = problem.as_ref().filter(|_| problem != self.policy_problem) {
            tracing::warn!(problem, "found a problem with the node's policy");
        }
        self.policy_problem = problem;
    }

    /// A new run of kubelet that no step of ours began was caused by somebody else.
    fn count_foreign_restart(&mut self, outcome: &Outcome) {
        let now = &outcome.observed.kubelet.unit.invocation;
        let last = self.invocation.replace(now.clone());
        if last.is_some_and(|last| last != *now) && !self.node.take_restarted() {
            self.telemetry.metrics.kubelet_restarted_by_others();
        }
    }

    fn count_heal(&mut self, inputs: &Inputs, outcome: &Outcome) {
        let desired = inputs.desired(outcome.observed.journal.as_ref());
        if let Some(backend) = self.heals.ended(&desired, inputs.restart_request.as_ref(), outcome) {
            self.telemetry.metrics.healed(backend);
        }
    }
}

/// What is to be said of what runs on the node.
fn in_effect(inputs: &Inputs, outcome: &Outcome) -> InEffect {
    let Desired::Installed(installation) = inputs.desired(outcome.observed.journal.as_ref()) else {
        return InEffect::default();
    };
    let warnings = absent_cpus(&outcome.observed, &installation).in_effect;
    let (policy, problem) = match &inputs.policy {
        // Also where nothing is asked for.
        NodePolicy::Awaited => (None, None),
        NodePolicy::Valid { source, .. } => (Some(source.clone()), None),
        problem @ (NodePolicy::Missing | NodePolicy::Invalid { .. }) => {
            (None, problem.problem().map(|problem| format!("{problem}; the last policy goes on")))
        }
    };
    InEffect { warnings, policy, problem }
}

/// What is wrong with the node's policy.
fn policy_problem(policy: &NodePolicy) -> ConfigProblem {
    match policy {
        // Also where nothing is asked for.
        NodePolicy::Awaited => ConfigProblem::Unknown,
        NodePolicy::Valid { .. } => ConfigProblem::None,
        NodePolicy::Missing | NodePolicy::Invalid { .. } => {
            ConfigProblem::Some(NodeEvent::ConfigInvalid, policy.problem().unwrap_or_default())
        }
    }
}

/// What is wrong with what is wanted, by the one or the other backend. `policy`: `None` where the round did not get so far.
fn config_problem(config_status: &ConfigStatus, policy: Option<ConfigProblem>) -> ConfigProblem {
    let dynamic = match &config_status.problem {
        Some(problem) => ConfigProblem::Some(problem.reason, problem.message.clone()),
        None if config_status.meant.is_none() => ConfigProblem::Unknown,
        None => ConfigProblem::None,
    };
    match (dynamic, policy) {
        (some @ ConfigProblem::Some(..), _) | (_, Some(some @ ConfigProblem::Some(..))) => some,
        (ConfigProblem::None, _) | (_, Some(ConfigProblem::None)) => ConfigProblem::None,
        (ConfigProblem::Unknown, _) => ConfigProblem::Unknown,
    }
}

/// Whether the configuration that the backend goes by is the one that the report names, or the static one where it names none.
fn config_in_effect(report: &NodeReport, config_status: &ConfigStatus, backend: Option<Backend>) -> events::InEffect {
    let is_static = match backend {
        // Between a start of the daemon and its first configuration there is none for a moment.
        Some(Backend::Proxy) | None => config_status.meant.as_ref().is_some_and(|meant| meant.config_map.is_none()),
        Some(Backend::Plugin) => false,
    };
    if report.config.is_some() || is_static { events::InEffect::Known } else { events::InEffect::Unknown }
}

#[cfg(test)]
mod tests;
