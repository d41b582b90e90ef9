//! Metrics of the agent. Every label has a closed set of values, and every one of them is there from the start, at zero: a node has a fixed number of
//! series ([`SERIES`]), and an alert sees the first event as an increase.

use extension_config::ReasonCode;
use extension_config::node_report::{NodeReport, Stage};
use node_plan::{Action, Backend, Cause, Observed, Proof};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::effects::EffectError;
use crate::report::backend_word;

/// Series of one node, all of `cri_resmgr_…`: what a shoot's Prometheus holds for each.
#[cfg(test)]
pub(crate) const SERIES: usize = 54;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CauseLabel {
    cause: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StageLabel {
    stage: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PushLabel {
    what: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StepLabel {
    kind: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BackendLabel {
    backend: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProofLabel {
    proof: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BuildLabel {
    version: &'static str,
    backend: &'static str,
}

/// Who else restarts kubelet.
const FOREIGN: &str = "foreign";
/// The backend of a node that has none.
const NO_BACKEND: &str = "none";
const DONE: &str = "done";
const FAILED: &str = "failed";

/// Kinds of steps: those of [`Action`].
const STEP_KINDS: [&str; 7] = ["file", "unit", "kubelet", "pins", "check", "proof", "journal"];

fn step_kind(action: &Action) -> &'static str {
    match action {
        Action::File(_) => "file",
        Action::Unit(_) => "unit",
        Action::RestartKubelet { .. } => "kubelet",
        Action::ResetPins => "pins",
        Action::Check(_) => "check",
        Action::Prove(_) => "proof",
        Action::Journal(_) => "journal",
    }
}

/// Proofs: those of [`Proof`].
const PROOFS: [&str; 7] =
    ["daemon_answers", "override", "kubelet", "clean", "nothing_left", "plugin_registered", "pins_effective"];

fn proof_word(proof: Proof) -> &'static str {
    match proof {
        Proof::DaemonAnswers => "daemon_answers",
        Proof::Override { .. } => "override",
        Proof::Kubelet { .. } => "kubelet",
        Proof::Clean => "clean",
        Proof::NothingLeftOf { .. } => "nothing_left",
        Proof::PluginRegistered { .. } => "plugin_registered",
        Proof::PinsEffective => "pins_effective",
    }
}

/// Handles of all metrics; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Metrics {
    kubelet_restarts: Family<CauseLabel, Counter>,
    daemon_restarts: Counter,
    stage: Family<StageLabel, Gauge>,
    failures: Counter,
    pushes: Family<PushLabel, Counter>,
    status_writes: Counter,
    steps: Family<StepLabel, Counter>,
    heals: Family<BackendLabel, Counter>,
    rollbacks: Family<BackendLabel, Counter>,
    proof_failures: Family<ProofLabel, Counter>,
    daemon_up: Family<BackendLabel, Gauge>,
    pin_misses: Gauge,
    config_in_effect: Gauge,
    config_refused: Gauge,
    slot_waiting: Gauge,
    build: Family<BuildLabel, Gauge>,
}

impl Metrics {
    /// Registers them, with all known labels at zero.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        metrics.register_restarts(registry);
        metrics.register_configuration(registry);
        for stage in Stage::ALL {
            drop(metrics.stage.get_or_create(&StageLabel { stage: stage.as_str() }));
        }
        registry.register("cri_resmgr_node_stage", "1 for the stage that the node is in", metrics.stage.clone());
        registry.register(
            "cri_resmgr_node_failures",
            "Rounds of work that ended with an error",
            metrics.failures.clone(),
        );
        metrics.register_work(registry);
        metrics.register_state(registry);
        metrics
    }

    fn register_restarts(&self, registry: &mut Registry) {
        for cause in Cause::ALL.map(Cause::as_str).into_iter().chain([FOREIGN]) {
            drop(self.kubelet_restarts.get_or_create(&CauseLabel { cause }));
        }
        registry.register(
            "cri_resmgr_kubelet_restarts",
            "Restarts of kubelet by cause; foreign ones are not ours",
            self.kubelet_restarts.clone(),
        );
        registry.register(
            "cri_resmgr_daemon_restarts",
            "Starts and restarts of cri-resmgr by the agent",
            self.daemon_restarts.clone(),
        );
    }

    fn register_configuration(&self, registry: &mut Registry) {
        for what in ["config", "adjustments"] {
            for outcome in ["accepted", "refused", "failed"] {
                drop(self.pushes.get_or_create(&PushLabel { what, outcome }));
            }
        }
        registry.register(
            "cri_resmgr_pushes",
            "Configurations and sets of Adjustments handed to cri-resmgr, by its answer; failed ones did not arrive",
            self.pushes.clone(),
        );
        registry.register(
            "cri_resmgr_adjustment_status_writes",
            "Writes into the status of Adjustments",
            self.status_writes.clone(),
        );
        registry.register(
            "cri_resmgr_config_in_effect",
            "1 while a dynamic configuration of cri-resmgr, or a policy of nri-plugins, is in effect",
            self.config_in_effect.clone(),
        );
        registry.register(
            "cri_resmgr_config_refused",
            "1 while the configuration or policy that is wanted is not in effect: not valid, refused, or not delivered",
            self.config_refused.clone(),
        );
    }

    /// What is done on the node, and how it ends.
    fn register_work(&self, registry: &mut Registry) {
        for kind in STEP_KINDS {
            for outcome in [DONE, FAILED] {
                drop(self.steps.get_or_create(&StepLabel { kind, outcome }));
            }
        }
        registry.register("cri_resmgr_steps", "Steps on the node by kind and outcome", self.steps.clone());
        for backend in Backend::ALL.map(backend_word) {
            drop(self.heals.get_or_create(&BackendLabel { backend }));
            drop(self.rollbacks.get_or_create(&BackendLabel { backend }));
        }
        registry.register(
            "cri_resmgr_heals",
            "Times that what somebody else changed was put right on a node that was as desired, by the backend that is wanted",
            self.heals.clone(),
        );
        registry.register(
            "cri_resmgr_rollbacks",
            "Tries that failed and were rolled back, by the backend that was tried",
            self.rollbacks.clone(),
        );
        for proof in PROOFS {
            drop(self.proof_failures.get_or_create(&ProofLabel { proof }));
        }
        registry.register("cri_resmgr_proof_failures", "Proofs that failed", self.proof_failures.clone());
    }

    /// What the node is like.
    fn register_state(&self, registry: &mut Registry) {
        for backend in Backend::ALL.map(backend_word) {
            drop(self.daemon_up.get_or_create(&BackendLabel { backend }));
        }
        registry.register(
            "cri_resmgr_daemon_up",
            "1 while cri-resmgr answers, or the policy of nri-plugins is registered with containerd; as of the last look, at most a minute old",
            self.daemon_up.clone(),
        );
        registry.register(
            "cri_resmgr_pin_misses",
            "Running containers that are not where the policy of nri-plugins has them, as of the last look",
            self.pin_misses.clone(),
        );
        registry.register(
            "cri_resmgr_slot_waiting",
            "1 while the node waits for a slot: other nodes switch before it",
            self.slot_waiting.clone(),
        );
        self.set_backend(None, false);
        registry.register(
            "cri_resmgr_build_info",
            "Version of the agent, and 1 for the backend that the node has",
            self.build.clone(),
        );
    }

    pub(crate) fn kubelet_restarted(&self, cause: Cause) {
        self.kubelet_restarts.get_or_create(&CauseLabel { cause: cause.as_str() }).inc();
    }

    /// Somebody else has restarted kubelet.
    pub(crate) fn kubelet_restarted_by_others(&self) {
        self.kubelet_restarts.get_or_create(&CauseLabel { cause: FOREIGN }).inc();
    }

    pub(crate) fn daemon_restarted(&self) {
        self.daemon_restarts.inc();
    }

    pub(crate) fn failed(&self) {
        self.failures.inc();
    }

    pub(crate) fn pushed(&self, what: &'static str, outcome: &'static str) {
        self.pushes.get_or_create(&PushLabel { what, outcome }).inc();
    }

    pub(crate) fn status_written(&self) {
        self.status_writes.inc();
    }

    pub(crate) fn stage_is(&self, now: Stage) {
        for stage in Stage::ALL {
            self.stage.get_or_create(&StageLabel { stage: stage.as_str() }).set(i64::from(stage == now));
        }
    }

    pub(crate) fn step_done(&self, action: &Action) {
        self.steps.get_or_create(&StepLabel { kind: step_kind(action), outcome: DONE }).inc();
    }

    /// A step failed. An agent that is asked to end has not failed.
    pub(crate) fn step_failed(&self, action: &Action, error: &EffectError) {
        if matches!(error, EffectError::Stopping) {
            return;
        }
        self.steps.get_or_create(&StepLabel { kind: step_kind(action), outcome: FAILED }).inc();
        if let (Action::Prove(proof), true) = (action, error.is_proof()) {
            self.proof_failures.get_or_create(&ProofLabel { proof: proof_word(*proof) }).inc();
        }
    }

    pub(crate) fn healed(&self, backend: Backend) {
        self.heals.get_or_create(&BackendLabel { backend: backend_word(backend) }).inc();
    }

    pub(crate) fn rolled_back(&self, tried: Backend) {
        self.rollbacks.get_or_create(&BackendLabel { backend: backend_word(tried) }).inc();
    }

    /// What a round saw last.
    pub(crate) fn observed(&self, observed: &Observed) {
        for backend in Backend::ALL {
            let up = match backend {
                Backend::Proxy => observed.proxy_answers,
                Backend::Plugin => observed.plugin.registered,
            };
            self.daemon_up.get_or_create(&BackendLabel { backend: backend_word(backend) }).set(i64::from(up));
        }
        let misses = observed.plugin.misses.as_ref().map_or(0, |misses| misses.misses.len());
        self.pin_misses.set(i64::try_from(misses).unwrap_or(i64::MAX));
    }

    /// What the agent says of its node.
    pub(crate) fn reported(&self, report: &NodeReport) {
        let has = |code: ReasonCode| report.codes.iter().any(|word| word == code.as_str());
        if has(ReasonCode::RoundFailed) {
            // Nothing was seen: what was said before stands.
            return;
        }
        let refused = [
            ReasonCode::ConfigInvalid,
            ReasonCode::ConfigRefused,
            ReasonCode::ConfigUndelivered,
            ReasonCode::PolicyInvalid,
        ];
        self.config_refused.set(i64::from(refused.into_iter().any(has)));
        self.config_in_effect.set(i64::from(report.config.is_some()));
        self.slot_waiting.set(i64::from(report.awaits_slot));
        self.set_backend(report.backend.as_deref(), true);
    }

    fn set_backend(&self, backend: Option<&str>, known: bool) {
        let here = backend.unwrap_or(NO_BACKEND);
        for backend in Backend::ALL.map(backend_word).into_iter().chain([NO_BACKEND]) {
            let label = BuildLabel { version: env!("CARGO_PKG_VERSION"), backend };
            self.build.get_or_create(&label).set(i64::from(known && backend == here));
        }
    }
}

#[cfg(test)]
mod tests;
