//! Metrics of the agent.

use extension_config::node_report::Stage;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

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

/// Handles of all metrics; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Metrics {
    kubelet_restarts: Family<CauseLabel, Counter>,
    daemon_restarts: Counter,
    stage: Family<StageLabel, Gauge>,
    failures: Counter,
    pushes: Family<PushLabel, Counter>,
    status_writes: Counter,
}

impl Metrics {
    /// Registers them, with all known labels at zero.
    pub(crate) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        for cause in ["switch", "rollback", "heal", "remove", "foreign"] {
            drop(metrics.kubelet_restarts.get_or_create(&CauseLabel { cause }));
        }
        registry.register(
            "cri_resmgr_kubelet_restarts",
            "Restarts of kubelet by cause; foreign ones are not ours",
            metrics.kubelet_restarts.clone(),
        );
        registry.register(
            "cri_resmgr_daemon_restarts",
            "Starts and restarts of cri-resmgr by the agent",
            metrics.daemon_restarts.clone(),
        );
        for what in ["config", "adjustments"] {
            for outcome in ["accepted", "refused", "failed"] {
                drop(metrics.pushes.get_or_create(&PushLabel { what, outcome }));
            }
        }
        registry.register(
            "cri_resmgr_pushes",
            "Configurations and sets of Adjustments handed to cri-resmgr, by its answer; failed ones did not arrive",
            metrics.pushes.clone(),
        );
        registry.register(
            "cri_resmgr_adjustment_status_writes",
            "Writes into the status of Adjustments",
            metrics.status_writes.clone(),
        );
        registry.register("cri_resmgr_node_stage", "1 for the stage that the node is in", metrics.stage.clone());
        registry.register(
            "cri_resmgr_node_failures",
            "Rounds of work that ended with an error",
            metrics.failures.clone(),
        );
        metrics
    }

    pub(crate) fn kubelet_restarted(&self, cause: &'static str) {
        self.kubelet_restarts.get_or_create(&CauseLabel { cause }).inc();
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
}
