//! Where the work shows while it goes on: metrics, readiness, and what the dynamic configuration may do meanwhile.

use dynamic_config::DaemonMode;
use extension_config::names::node;
use extension_config::node_report::Stage;
use node_plan::{
    Action, Backend, BackendSpec, Desired, Journal, Phase, Plan, RestartRequest, StaticConfig, UnitAction, budget,
};
use observability::ReadinessHandle;
use tokio::sync::watch;

use crate::converge::Outcome;
use crate::metrics::Metrics;
use crate::report;

/// Handles of all of them; cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Telemetry {
    pub(crate) metrics: Metrics,
    pub(crate) readiness: ReadinessHandle,
    pub(crate) daemon_mode: watch::Sender<DaemonMode>,
}

impl Telemetry {
    /// It was decided what the node is to become, given its journal: what is handed to the daemon has to fit, before anything is begun.
    pub(crate) fn decided(&self, desired: &Desired, journal: Option<&Journal>, now: u64) {
        let daemon_mode = daemon_mode(desired, journal, now);
        self.daemon_mode.send_if_modified(|current| {
            let changed = *current != daemon_mode;
            *current = daemon_mode;
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
        self.metrics.step_done(action);
        match action {
            Action::RestartKubelet { cause } => self.metrics.kubelet_restarted(*cause),
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

/// Distinguishes a heal from all other work: a round had something to do although the one before had ended with the node as desired, and nothing else is
/// wanted since. What was changed while no agent was there is not seen.
#[derive(Debug, Default)]
pub(crate) struct Heals {
    /// What was wanted by the last round, if the node was as desired at its end.
    settled: Option<String>,
}

impl Heals {
    /// A round has ended; the backend that it has healed.
    pub(crate) fn ended(
        &mut self,
        desired: &Desired,
        asked: Option<&RestartRequest>,
        outcome: &Outcome,
    ) -> Option<Backend> {
        let Desired::Installed(installation) = desired else {
            self.settled = None;
            return None;
        };
        let wanted = format!("{} {}", installation.attempt(), asked.map_or("", |asked| asked.invocation.as_str()));
        let settled = outcome.plan.is_settled();
        let same = self.settled.as_ref() == Some(&wanted);
        let heals = outcome.worked && same && settled;
        if settled {
            self.settled = Some(wanted);
        } else if !same {
            self.settled = None;
        }
        heals.then(|| installation.backend.backend())
    }
}

/// What the daemon may be given. Ours takes configurations when it was started by us and not with a forced configuration.
fn daemon_mode(desired: &Desired, journal: Option<&Journal>, now: u64) -> DaemonMode {
    let installation = match desired {
        Desired::Undecided { .. } => return DaemonMode::Undecided,
        Desired::Clean { .. } => return DaemonMode::Off,
        Desired::Installed(installation) => installation,
    };
    let phase = journal.map(|journal| journal.phase);
    let started = journal.is_some_and(|journal| journal.applied.is_some());
    let BackendSpec::Proxy(proxy) = &installation.backend else { return DaemonMode::Off };
    match (&proxy.config, phase) {
        (StaticConfig::Force(_), _) => DaemonMode::Off,
        (_, Some(Phase::RolledBack)) => DaemonMode::RolledBack,
        // Another configuration than the one that may be pushed on top of.
        _ if budget::in_force(journal, &installation.attempt(), now).is_some() => DaemonMode::RolledBack,
        (config, Some(Phase::Installing | Phase::Installed)) if started => {
            let fallback = config.text().unwrap_or(extension_config::effective::BUILT_IN_FALLBACK).to_owned();
            DaemonMode::Serve { fallback }
        }
        _ => DaemonMode::Undecided,
    }
}
