//! Where the work shows while it goes on: metrics, readiness, and what the dynamic configuration may do meanwhile.

use dynamic_config::Duty;
use extension_config::names::node;
use extension_config::node_report::Stage;
use node_plan::{Action, BackendSpec, Desired, Journal, Phase, Plan, StaticConfig, UnitAction, budget};
use observability::ReadinessHandle;
use tokio::sync::watch;

use crate::metrics::Metrics;
use crate::report;

/// Handles of all of them; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Telemetry {
    pub(crate) metrics: Metrics,
    pub(crate) readiness: ReadinessHandle,
    pub(crate) duty: watch::Sender<Duty>,
}

impl Telemetry {
    /// It was decided what the node is to become, given its journal: what is handed to the daemon has to fit, before anything is begun.
    pub(crate) fn decided(&self, desired: &Desired, journal: Option<&Journal>, now: u64) {
        let duty = duty(desired, journal, now);
        self.duty.send_if_modified(|current| {
            let changed = *current != duty;
            *current = duty;
            changed
        });
    }

    /// A plan is begun: from now on the node is not as desired.
    pub(crate) fn begin(&self, plan: &Plan) {
        self.metrics.stage_is(Stage::Working);
        self.readiness.set(Err(format!("{}: {}", Stage::Working.as_str(), report::message(plan))));
    }

    /// A step was done.
    pub(crate) fn done(&self, action: &Action) {
        match action {
            Action::RestartKubelet { cause } => self.metrics.kubelet_restarted(cause.as_str()),
            Action::Unit(UnitAction::Restart { unit }) if unit == node::DAEMON_UNIT => self.metrics.daemon_restarted(),
            Action::File(_)
            | Action::Unit(_)
            | Action::ResetPins
            | Action::Check(_)
            | Action::Prove(_)
            | Action::Journal(_) => {}
        }
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
    let BackendSpec::Proxy(proxy) = &installation.backend else { return Duty::Off };
    match (&proxy.config, phase) {
        (StaticConfig::Force(_), _) => Duty::Off,
        (_, Some(Phase::RolledBack)) => Duty::RolledBack,
        // Another configuration than the one that may be pushed on top of.
        _ if budget::in_force(journal, &installation.attempt(), now).is_some() => Duty::RolledBack,
        (config, Some(Phase::Installing | Phase::Installed)) if started => {
            let fallback = config.text().unwrap_or(extension_config::effective::BUILT_IN_FALLBACK).to_owned();
            Duty::Serve { fallback }
        }
        _ => Duty::Undecided,
    }
}
