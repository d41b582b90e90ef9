//! One reconciliation of one Extension: read, decide, act, report. The order of the writes is such that a crash between any two loses no
//! request: the status says Processing before the annotation goes.

mod begin;
mod extension_client;
#[cfg(test)]
mod model;
mod object_state;
mod run;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use gardener_api::constants::{ROLE_LABEL, role};
use gardener_api::{Cluster, Extension, Shoot};
use k8s_openapi::api::core::v1::Namespace;
use kube::runtime::events::Recorder;
use kube::{Api, Client, Resource as _, ResourceExt as _};
use observability::ErrorChain;
use tracing::Instrument as _;
use tracing::field::Empty;

use crate::backoff::Backoff;
use crate::cache::{Cache, EXTENSION_LIMIT, LeanCluster};
use crate::call::call;
use crate::config::ControllerConfig;
use crate::health::HealthKeeper;
use crate::key::Key;
use crate::operation::{
    Annotation, Decision, Ignored, Operation, ShootSituation, Situation, Trigger, Triggers, decide,
};
use crate::queue::Requeue;
use crate::reason;
use crate::writers::Writers;
use crate::{Actuator, Error, EventSink, Metrics, Notice, backoff, status};
use begin::{ExtensionSource, StartOutcome};
use extension_client::ExtensionClient;
pub(crate) use object_state::PerObjectState;
use run::Run;

/// Between two tries of an operation: most failures are conflicts that are over at once, and a cure is noticed within minutes.
const OPERATION_BACKOFF: Backoff =
    Backoff { first: Duration::from_millis(5), factor: 2, cap: Duration::from_secs(5 * 60) };

/// Everything a reconciliation needs.
pub(crate) struct Lifecycle {
    pub(crate) client: Client,
    pub(crate) config: Arc<ControllerConfig>,
    pub(crate) actuator: Arc<dyn Actuator>,
    pub(crate) recorder: Recorder,
    pub(crate) metrics: Metrics,
    pub(crate) cache: Arc<Cache>,
    pub(crate) writers: Arc<Writers>,
    pub(crate) health: Arc<HealthKeeper>,
    pub(crate) object_states: PerObjectState,
}

/// How a reconciliation ended.
enum ReconcileOutcome {
    Gone,
    Ignored(Ignored),
    /// The request came too late; its annotation is gone now.
    AnnotationDropped,
    /// Somebody asked for something else in the meantime.
    Superseded,
    Done(Operation),
    Pending(Duration),
    Failed,
}

/// The objects around an Extension.
#[derive(Default)]
struct ShootContext {
    cluster: Option<Arc<Cluster>>,
    shoot: Option<Arc<Shoot>>,
}

impl Lifecycle {
    /// Reconciles the object and says when to do so again. Everything that is logged meanwhile, by the actuator too, is in a span with the object
    /// and, once they are known, operation and generation.
    pub(crate) async fn reconcile(&self, key: &Key, triggers: Triggers) -> Requeue {
        let span = tracing::info_span!("reconcile", object.r#ref = %key, operation = Empty, generation = Empty);
        self.reconcile_in_span(key, triggers).instrument(span).await
    }

    async fn reconcile_in_span(&self, key: &Key, triggers: Triggers) -> Requeue {
        // A change of what is awaited means nothing when nothing is.
        let triggers = if self.object_states.take_blocked(key) {
            triggers.union(Trigger::DependencyChanged.into())
        } else if self.object_states.is_unfinished(key) {
            triggers
        } else {
            triggers.without(Trigger::DependencyChanged)
        };
        if triggers.is_user_request() {
            self.object_states.reset_backoff(key);
        }
        match self.try_reconcile(key, triggers).await {
            Ok(outcome) => self.handle_outcome(key, triggers, &outcome),
            Err(error) => {
                self.metrics.engine_error(error.reason());
                let failures = self.object_states.count_failure(key);
                if triggers.is_user_request() {
                    self.object_states.mark_repeated(key);
                }
                let delay = OPERATION_BACKOFF.delay(failures, backoff::random());
                let text = ErrorChain(&error).to_string();
                if error.is_conflict() || !self.object_states.record_error(key, &text) {
                    tracing::debug!(object.r#ref = %key, error = text, delay_ms = delay.as_millis(), "retrying after an error");
                } else {
                    tracing::warn!(object.r#ref = %key, error = text, "cannot reconcile the Extension; retrying");
                }
                Requeue::After(delay, triggers.union(Trigger::Retry.into()))
            }
        }
    }

    fn handle_outcome(&self, key: &Key, triggers: Triggers, outcome: &ReconcileOutcome) -> Requeue {
        match outcome {
            ReconcileOutcome::Ignored(Ignored::NotRequested) if triggers.contains(Trigger::FirstSeen) => {
                // Spread over the second half of the period: a restart must not reconcile all of them at once.
                let part = 1.0 - 0.5 * backoff::random();
                Requeue::After(self.config.resync.mul_f64(part), Trigger::Resync.into())
            }
            ReconcileOutcome::Ignored(Ignored::NotRequested) => Requeue::Unchanged,
            // The track stays: when the Shoot is retried, what was unfinished goes on.
            ReconcileOutcome::Ignored(_) | ReconcileOutcome::AnnotationDropped => Requeue::Nothing,
            // As a retry, too: the status may say already that something has begun.
            ReconcileOutcome::Superseded => {
                Requeue::After(Duration::ZERO, Triggers::from(Trigger::Changed).union(Trigger::Retry.into()))
            }
            ReconcileOutcome::Done(Operation::Create | Operation::Reconcile | Operation::Restore) => {
                self.object_states.forget(key);
                Requeue::After(self.config.resync, Trigger::Resync.into())
            }
            ReconcileOutcome::Gone | ReconcileOutcome::Done(_) => {
                self.object_states.forget(key);
                Requeue::Nothing
            }
            ReconcileOutcome::Pending(delay) => Requeue::After(*delay, Trigger::DependencyChanged.into()),
            ReconcileOutcome::Failed => {
                let failures = self.object_states.count_failure(key);
                Requeue::After(OPERATION_BACKOFF.delay(failures, backoff::random()), Trigger::Retry.into())
            }
        }
    }

    async fn try_reconcile(&self, key: &Key, triggers: Triggers) -> Result<ReconcileOutcome, Error> {
        let api = self.api(key);
        // Most requests need no read: the first write is made upon the version that the watch has shown, so that it says whether that was the last.
        if let Some(known) = self.cache.extension(key)
            && let Some(outcome) = self.try_reconcile_cached(&api, &known, triggers).await?
        {
            return Ok(outcome);
        }
        let Some(extension) = api.get().await? else { return Ok(ReconcileOutcome::Gone) };
        if !self.config.serves(&extension) {
            return Ok(ReconcileOutcome::Gone);
        }
        self.object_states.reset_if_recreated(key, extension.uid());
        self.publish_faults(key, &extension).await;
        let mut decision = self.decide(&extension, triggers);
        let mut shoot_context = ShootContext::default();
        // Most reconciliations end without another call: the Shoot can only forbid, never ask.
        if !matches!(decision, Decision::Ignore { .. }) {
            shoot_context = self.shoot_context(&extension, decision).await?;
            decision = decision.given(ShootSituation::of(shoot_context.shoot.as_deref()));
        }
        match decision {
            Decision::Ignore { reason, blocked } => {
                if blocked {
                    self.object_states.mark_blocked(key);
                    tracing::debug!(object.r#ref = %key, ?reason, "leaving the Extension alone");
                }
                Ok(ReconcileOutcome::Ignored(reason))
            }
            Decision::DropAnnotation => {
                let _turn = self.writers.turn(key).await;
                let extension = api.remove_annotation(&extension).await?;
                self.cache.record(&extension);
                Ok(ReconcileOutcome::AnnotationDropped)
            }
            Decision::Run(operation) => {
                let run = self.run(extension, operation, triggers);
                let begun = self.begin(&api, run, ExtensionSource::Read).await?;
                let StartOutcome::Run(run) = begun else { return Ok(ReconcileOutcome::Superseded) };
                self.operate(&api, *run, shoot_context).await
            }
        }
    }

    /// What is known is enough where it asks for nothing (whatever comes later has an event of its own), and to begin with where an operation runs
    /// whose beginning is written. `None`: it has to be read.
    async fn try_reconcile_cached(
        &self,
        api: &ExtensionClient,
        known: &Extension,
        triggers: Triggers,
    ) -> Result<Option<ReconcileOutcome>, Error> {
        if !self.config.serves(known) {
            return Ok(None);
        }
        let decision = self.decide(known, triggers);
        if let Decision::Ignore { reason: Ignored::NotRequested, .. } = decision {
            self.object_states.reset_if_recreated(&api.key, known.uid());
            self.publish_faults(&api.key, known).await;
            return Ok(Some(ReconcileOutcome::Ignored(Ignored::NotRequested)));
        }
        let Decision::Run(operation) = decision else { return Ok(None) };
        if !status::must_record_start(known, operation, triggers) {
            return Ok(None);
        }
        let shoot_context = self.shoot_context(known, decision).await?;
        let decision = decision.given(ShootSituation::of(shoot_context.shoot.as_deref()));
        let Decision::Run(operation) = decision else { return Ok(None) };
        self.object_states.reset_if_recreated(&api.key, known.uid());
        self.publish_faults(&api.key, known).await;
        match self.begin(api, self.run(known.clone(), operation, triggers), ExtensionSource::Known).await? {
            StartOutcome::Run(run) => self.operate(api, *run, shoot_context).await.map(Some),
            StartOutcome::Superseded => Ok(Some(ReconcileOutcome::Superseded)),
            StartOutcome::Outdated => Ok(None),
        }
    }

    fn decide(&self, extension: &Extension, triggers: Triggers) -> Decision {
        let act_on_spec = self.config.ignore_operation_annotation;
        decide(Situation::of(extension, &self.config.finalizer, act_on_spec), triggers)
    }

    fn run(&self, extension: Extension, operation: Operation, triggers: Triggers) -> Run {
        let span = tracing::Span::current();
        span.record("operation", operation.as_str());
        if let Some(generation) = extension.metadata.generation {
            span.record("generation", generation);
        }
        let events = self.events(&extension);
        Run { extension, operation, triggers, events, start_recorded: false, generation: None }
    }

    /// Cluster and Shoot, in the namespace of a shoot; elsewhere there is neither.
    async fn shoot_context(&self, extension: &Extension, decision: Decision) -> Result<ShootContext, Error> {
        let namespace = &*extension.namespace().unwrap_or_default();
        let clusters: Api<Cluster> = Api::all(self.client.clone());
        let object = format!("Cluster {namespace}");
        if trusts_known_cluster(extension, decision)
            && let Some(LeanCluster { cluster, shoot, .. }) = self.cache.trusted_cluster(namespace, extension)
        {
            return Ok(ShootContext { cluster: Some(cluster), shoot });
        }
        if let Some(LeanCluster { version, cluster, shoot }) = self.cache.lean_cluster(namespace) {
            // Its event may be late: whether what is known is the last is asked, and not its whole text.
            let now = call("get metadata of", object.clone(), clusters.get_metadata(namespace)).await?;
            if now.metadata.resource_version.as_ref() == Some(&version) {
                return Ok(ShootContext { cluster: Some(cluster), shoot });
            }
        }
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let found = call("get", format!("Namespace {namespace}"), namespaces.get(namespace)).await?;
        if found.labels().get(ROLE_LABEL).is_none_or(|label| label != role::SHOOT) {
            return Ok(ShootContext::default());
        }
        let cluster = call("get", object.clone(), clusters.get(namespace)).await?;
        // Without any Shoot nobody knows whether it may be touched. One of which a part cannot be read is worked on all the same.
        let shoot = cluster.shoot().map_err(|error| Error::Undecodable { object, fault: error.to_string() })?;
        Ok(ShootContext { cluster: Some(Arc::new(cluster)), shoot: shoot.map(Arc::new) })
    }

    /// Says what of an object cannot be read: once, on the object that its owner reads, and without a code, as it is not the owner's
    /// mistake. What is wrong with the providerConfig the actuator says.
    async fn publish_faults(&self, key: &Key, extension: &Extension) {
        let own = (!extension.faults.is_empty()).then(|| format!("this Extension is {}", extension.faults));
        let size = self
            .cache
            .is_too_large(key)
            .then(|| format!("this Extension has more than {EXTENSION_LIMIT} bytes; its health is not looked after"));
        let shoot = self.cache.cluster(&key.namespace).and_then(|facts| facts.undecodable);
        let shoot = shoot.map(|fault| format!("the Shoot in Cluster {} is {fault}", key.namespace));
        let note = [own, size, shoot].into_iter().flatten().collect::<Vec<_>>().join("; ");
        if self.cache.record_fault(key, &note) && !note.is_empty() {
            self.events(extension).publish(Notice::warning(reason::UNDECODABLE, "Read", note)).await;
        }
    }

    fn events(&self, extension: &Extension) -> EventSink {
        EventSink::new(self.recorder.clone(), extension.object_ref(&()))
    }

    fn api(&self, key: &Key) -> ExtensionClient {
        ExtensionClient::new(&self.client, &self.config.name, key.clone())
    }
}

/// Whether the Cluster that the watch has shown is good enough. Who asks for an installation has written the Cluster before, and done much else in
/// between; if its event is late all the same, the Extension is worked on once more when it comes. What we begin by ourselves, and what takes
/// something away, checks whether there is a newer one.
fn trusts_known_cluster(extension: &Extension, decision: Decision) -> bool {
    matches!(decision, Decision::Run(Operation::Create | Operation::Reconcile))
        && Annotation::of(extension) == Annotation::Reconcile
}
