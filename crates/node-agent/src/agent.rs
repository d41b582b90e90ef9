//! The agent's rounds: work on the node, then report its state to readiness, metrics, the Lease and the pod's readiness gate.

use std::rc::Rc;
use std::time::Duration;

use dynamic_config::ConfigStatus;
use extension_config::ReasonCode;
use extension_config::desired_state::Phase;
use extension_config::names::event;
use extension_config::node_report::{NodeReport, Stage};
use node_plan::{Backend, Desired, Journal, NodePolicy, RestartRequest, absent_cpus};
use observability::ErrorChain;
use tokio::sync::watch;
use tracing::Instrument;

use crate::converge::{Outcome, converge};
use crate::desired_file::{DesiredFileError, Mounted};
use crate::effects::{EffectError, Node};
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
        self.tell_policy_problem(&inputs.policy).await;
        match converge(&mut self.node, &Timing::REAL, &inputs).await {
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
        let Details { restarts, in_effect, retry_at, awaits_slot, backend } = details;
        // Nothing about configurations may stand in the way of a removal.
        let config_status =
            if stage == Stage::Installed { self.config_status.borrow().clone() } else { ConfigStatus::default() };
        let InEffect { mut warnings, policy, problem } =
            if stage == Stage::Installed { in_effect } else { InEffect::default() };
        warnings.extend(config_status.warnings);
        let policy_problem = problem.map(|problem| (problem, vec![ReasonCode::PolicyInvalid]));
        let config_problem = config_status.problem.map(|problem| {
            let code = report::code_of_event(problem.reason);
            (problem.message, code.into_iter().collect())
        });
        let problem = config_problem.or(policy_problem).filter(|_| message.is_empty());
        let (message, codes) = problem.unwrap_or((message, codes));
        let settled = matches!(stage, Stage::Installed | Stage::Clean) && message.is_empty();
        self.telemetry.readiness.set(if settled { Ok(()) } else { Err(format!("{}: {message}", stage.as_str())) });
        self.telemetry.metrics.stage_is(stage);
        let report = NodeReport {
            stage,
            phase: mounted.state.phase.as_str().to_owned(),
            desired: mounted.hash.clone(),
            since: self.node.now(),
            restarts,
            message: message.clone(),
            warnings,
            config: config_status.accepted.map(|source| source.to_string()).or(policy),
            retry_at,
            awaits_slot,
            backend: backend.map(|backend| report::backend_word(backend).to_owned()),
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            codes: codes.into_iter().map(|code| code.as_str().to_owned()).collect(),
        };
        self.telemetry.metrics.reported(&report);
        if !self.reported.as_ref().is_some_and(|last| report.says_the_same(last)) {
            self.write_report(report, settled && mounted.state.phase == Phase::Remove).await;
        }
        self.set_readiness_gate(settled, &message).await;
    }

    /// `leaving`: nothing of the extension shall stay in the shoot either.
    async fn write_report(&mut self, report: NodeReport, leaving: bool) {
        tracing::info!(stage = report.stage.as_str(), reason = report.message, "assessed the node");
        let last = self.reported.clone();
        self.record_event(last.as_ref().map(|last| last.stage), report.stage, &report.message).await;
        let warned = last.map(|last| last.warnings).unwrap_or_default();
        if !report.warnings.is_empty() && report.warnings != warned {
            let warnings = report.warnings.join("; ");
            tracing::warn!(warnings, "found warnings about the configuration in effect");
            self.shoot
                .publish_event(true, event::CONFIG_WARNING, &format!("the configuration is in effect, but {warnings}"))
                .await;
        }
        let written = if leaving { self.shoot.delete_report().await } else { self.shoot.write_report(&report).await };
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

    /// Records an Event on the Node when the stage changes. The first round of an agent on a node that is as desired is no change.
    async fn record_event(&self, last: Option<Stage>, stage: Stage, message: &str) {
        match stage {
            Stage::RolledBack if last != Some(stage) => {
                self.shoot.publish_event(true, event::ROLLED_BACK, message).await;
            }
            Stage::Blocked if last != Some(stage) => self.shoot.publish_event(true, event::BLOCKED, message).await,
            Stage::Installed if last.is_some_and(|last| last != stage) => {
                let note = match self.backend {
                    Some(Backend::Plugin) => "a policy of nri-plugins places the containers",
                    Some(Backend::Proxy) | None => "kubelet runs through cri-resmgr",
                };
                self.shoot.publish_event(false, event::INSTALLED, note).await;
            }
            Stage::Clean if last.is_some_and(|last| last != stage) => {
                let note = match self.backend {
                    Some(Backend::Plugin) => {
                        "the policy of nri-plugins is removed; running containers have the CPUs and memory back that they had without it"
                    }
                    Some(Backend::Proxy) | None => {
                        "cri-resmgr is removed; CPU and memory pins of running containers stay until they are recreated"
                    }
                };
                self.shoot.publish_event(false, event::REMOVED, note).await;
            }
            _ => {}
        }
    }

    /// Says what is wrong with the node's policy, once: the node keeps the one that it has, or waits for its first.
    async fn tell_policy_problem(&mut self, policy: &NodePolicy) {
        let problem = match policy {
            NodePolicy::Awaited => return,
            NodePolicy::Missing | NodePolicy::Invalid { .. } | NodePolicy::Valid { .. } => policy.problem(),
        };
        if let Some(problem) = problem.as_ref().filter(|_| problem != self.policy_problem) {
            tracing::warn!(problem, "found a problem with the node's policy");
            self.shoot.publish_event(true, event::CONFIG_INVALID, problem).await;
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
