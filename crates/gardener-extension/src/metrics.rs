//! Metrics of the engine.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::Operation;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabels {
    operation: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    operation: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

const SEEN: &str = "seen";
const UNSEEN: &str = "unseen";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabels {
    kind: &'static str,
}

type Durations = Family<OperationLabels, Histogram, fn() -> Histogram>;

/// Counters, gauges and histograms; cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics {
    operations: Family<ResultLabels, Counter>,
    durations: Durations,
    engine_errors: Family<ResultLabels, Counter>,
    undecodable: Family<KindLabels, Counter>,
    watch_errors: Family<KindLabels, Counter>,
    queued: Gauge,
    working: Gauge,
    extensions: Gauge,
    observations: Family<OutcomeLabels, Counter>,
}

impl Metrics {
    /// Registers everything under the prefix `extension`.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            operations: Family::default(),
            durations: Durations::new_with_constructor(|| {
                Histogram::new([0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0])
            }),
            engine_errors: Family::default(),
            undecodable: Family::default(),
            watch_errors: Family::default(),
            queued: Gauge::default(),
            working: Gauge::default(),
            extensions: Gauge::default(),
            observations: Family::default(),
        };
        for outcome in [SEEN, UNSEEN] {
            drop(metrics.observations.get_or_create(&OutcomeLabels { outcome }));
        }
        let registry = registry.sub_registry_with_prefix("extension");
        registry.register(
            "operations",
            "Calls of the actuator by operation and result: done, pending, or the reason of the error",
            metrics.operations.clone(),
        );
        registry.register_with_unit(
            "operation_duration",
            "Time of one call of the actuator",
            Unit::Seconds,
            metrics.durations.clone(),
        );
        registry.register(
            "engine_errors",
            "Runs that ended in an API error outside the actuator, by reason",
            metrics.engine_errors.clone(),
        );
        registry.register(
            "undecodable_objects",
            "Objects on a watch that are not what their kind says",
            metrics.undecodable.clone(),
        );
        registry.register("watch_errors", "Interruptions of a watch", metrics.watch_errors.clone());
        registry.register("queue_length", "Extensions that wait for a worker", metrics.queued.clone());
        registry.register("workers_busy", "Extensions that are worked on", metrics.working.clone());
        registry.register("objects", "Extensions of the type that exist", metrics.extensions.clone());
        registry.register(
            "observations",
            "Looks at what is behind an Extension by outcome; of unseen ones the Extension's status has the reason",
            metrics.observations.clone(),
        );
        metrics
    }

    pub(crate) fn operation(&self, operation: Operation, result: &'static str, elapsed: Duration) {
        let operation = operation.as_str();
        self.operations.get_or_create(&ResultLabels { operation, result }).inc();
        self.durations.get_or_create(&OperationLabels { operation }).observe(elapsed.as_secs_f64());
    }

    pub(crate) fn engine_error(&self, reason: &'static str) {
        self.engine_errors.get_or_create(&ResultLabels { operation: "Engine", result: reason }).inc();
    }

    pub(crate) fn undecodable(&self, kind: &'static str) {
        self.undecodable.get_or_create(&KindLabels { kind }).inc();
    }

    pub(crate) fn watch_error(&self, kind: &'static str) {
        self.watch_errors.get_or_create(&KindLabels { kind }).inc();
    }

    pub(crate) fn queue(&self, (queued, working): (usize, usize)) {
        self.queued.set(i64::try_from(queued).unwrap_or(i64::MAX));
        self.working.set(i64::try_from(working).unwrap_or(i64::MAX));
    }

    pub(crate) fn observed(&self, is_seen: bool) {
        let outcome = if is_seen { SEEN } else { UNSEEN };
        self.observations.get_or_create(&OutcomeLabels { outcome }).inc();
    }

    pub(crate) fn extensions(&self, count: usize) {
        self.extensions.set(i64::try_from(count).unwrap_or(i64::MAX));
    }
}
