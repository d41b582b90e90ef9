//! One look at one Extension: read, decide, act, report. The order of the writes is such that a crash between any two loses no
//! request: the status says Processing before the annotation goes.

mod begin;
mod extension_client;
#[cfg(test)]
mod model;
mod run;
#[cfg(test)]
mod tests;
mod track;

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
use crate::queue::Next;
use crate::reason;
use crate::writers::Writers;
use crate::{Actuator, Error, EventSink, Metrics, Notice, backoff, status};
use begin::{Basis, Begun};
use extension_client::ExtensionClient;
use run::Run;
pub(crate) use track::Tracks;

/// Between two tries of an operation: most failures are conflicts that are over at once, and a cure is noticed within minutes.
const OPERATION_BACKOFF: Backoff =
    Backoff { first: Duration::from_millis(5), factor: 2, cap: Duration::from_secs(5 * 60) };

/// Everything a look needs.
pub(crate) struct Lifecycle {
    pub(crate) client: Client,
    pub(crate) config: Arc<ControllerConfig>,
    pub(crate) actuator: Arc<dyn Actuator>,
    pub(crate) recorder: Recorder,
    pub(crate) metrics: Metrics,
    pub(crate) cache: Arc<Cache>,
    pub(crate) writers: Arc<Writers>,
    pub(crate) health: Arc<HealthKeeper>,
    pub(crate) tracks: Tracks,
}

/// How a look ended.
enum Ending {
    Gone,
    Ignored(Ignored),
    /// The request came too late; its annotation is gone now.
    AnnotationDropped,
    /// Somebody asked for something else in the meantime.
    Overtaken,
    Done(Operation),
    Pending(Duration),
    Failed,
}

/// The objects around an Extension.
#[derive(Default)]
struct Surroundings {
    cluster: Option<Arc<Cluster>>,
    shoot: Option<Arc<Shoot>>,
}

impl Lifecycle {
    /// Looks at the object and says when to look again. Everything that is logged meanwhile, by the actuator too, is in a span with the object
    /// and, once they are known, operation and generation.
    pub(crate) async fn look(&self, key: &Key, triggers: Triggers) -> Next {
        let span = tracing::info_span!("reconcile", object.r#ref = %key, operation = Empty, generation = Empty);
        self.look_in_span(key, triggers).instrument(span).await
    }

    async fn look_in_span(&self, key: &Key, triggers: Triggers) -> Next {
        // A change of what is awaited means nothing when nothing is.
        let triggers = if self.tracks.take_blocked(key) {
            triggers.union(Trigger::Awaited.into())
        } else if self.tracks.is_unfinished(key) {
            triggers
        } else {
            triggers.without(Trigger::Awaited)
        };
        if triggers.is_loud() {
            self.tracks.reset_backoff(key);
        }
        match self.attempt(key, triggers).await {
            Ok(ending) => self.settle(key, triggers, &ending),
            Err(error) => {
                self.metrics.engine_error(error.reason());
                let failures = self.tracks.count_failure(key);
                if triggers.is_loud() {
                    self.tracks.mark_repeated(key);
                }
                let delay = OPERATION_BACKOFF.delay(failures, backoff::random());
                let text = ErrorChain(&error).to_string();
                if error.is_conflict() || !self.tracks.record_error(key, &text) {
                    tracing::debug!(object.r#ref = %key, error = text, delay_ms = delay.as_millis(), "retrying after an error");
                } else {
                    tracing::warn!(object.r#ref = %key, error = text, "cannot reconcile the Extension; retrying");
                }
                Next::After(delay, triggers.union(Trigger::Retry.into()))
            }
        }
    }

    fn settle(&self, key: &Key, triggers: Triggers, ending: &Ending) -> Next {
        match ending {
            Ending::Ignored(Ignored::NotRequested) if triggers.contains(Trigger::Seen) => {
                // Spread over the second half of the period: a restart must not look at all of them at once.
                let part = 1.0 - 0.5 * backoff::random();
                Next::After(self.config.resync.mul_f64(part), Trigger::Resync.into())
            }
            Ending::Ignored(Ignored::NotRequested) => Next::Unchanged,
            // The track stays: when the Shoot is retried, what was unfinished goes on.
            Ending::Ignored(_) | Ending::AnnotationDropped => Next::Nothing,
            // As a retry, too: the status may say already that something has begun.
            Ending::Overtaken => {
                Next::After(Duration::ZERO, Triggers::from(Trigger::Changed).union(Trigger::Retry.into()))
            }
            Ending::Done(Operation::Create | Operation::Reconcile | Operation::Restore) => {
                self.tracks.forget(key);
                Next::After(self.config.resync, Trigger::Resync.into())
            }
            Ending::Gone | Ending::Done(_) => {
                self.tracks.forget(key);
                Next::Nothing
            }
            Ending::Pending(delay) => Next::After(*delay, Trigger::Awaited.into()),
            Ending::Failed => {
                let failures = self.tracks.count_failure(key);
                Next::After(OPERATION_BACKOFF.delay(failures, backoff::random()), Trigger::Retry.into())
            }
        }
    }

    async fn attempt(&self, key: &Key, triggers: Triggers) -> Result<Ending, Error> {
        let api = self.api(key);
        // Most requests need no read: the first write is made upon the version that the watch has shown, so that it says whether that was the last.
        if let Some(known) = self.cache.extension(key)
            && let Some(ending) = self.attempt_known(&api, &known, triggers).await?
        {
            return Ok(ending);
        }
        let Some(extension) = api.get().await? else { return Ok(Ending::Gone) };
        if !self.config.serves(&extension) {
            return Ok(Ending::Gone);
        }
        self.tracks.reset_if_recreated(key, extension.uid());
        self.publish_faults(key, &extension).await;
        let mut decision = self.decide(&extension, triggers);
        let mut surroundings = Surroundings::default();
        // Most looks end without another call: the Shoot can only forbid, never ask.
        if !matches!(decision, Decision::Ignore { .. }) {
            surroundings = self.surroundings(&extension, decision).await?;
            decision = decision.given(ShootSituation::of(surroundings.shoot.as_deref()));
        }
        match decision {
            Decision::Ignore { reason, blocked } => {
                if blocked {
                    self.tracks.mark_blocked(key);
                    tracing::debug!(object.r#ref = %key, ?reason, "leaving the Extension alone");
                }
                Ok(Ending::Ignored(reason))
            }
            Decision::DropAnnotation => {
                let _turn = self.writers.turn(key).await;
                let extension = api.remove_annotation(&extension).await?;
                self.cache.record(&extension);
                Ok(Ending::AnnotationDropped)
            }
            Decision::Run(operation) => {
                let run = self.run(extension, operation, triggers);
                let begun = self.begin(&api, run, Basis::Read).await?;
                let Begun::Run(run) = begun else { return Ok(Ending::Overtaken) };
                self.operate(&api, *run, surroundings).await
            }
        }
    }

    /// What is known is enough where it asks for nothing (whatever comes later has an event of its own), and to begin with where an operation runs
    /// whose beginning is written. `None`: it has to be read.
    async fn attempt_known(
        &self,
        api: &ExtensionClient,
        known: &Extension,
        triggers: Triggers,
    ) -> Result<Option<Ending>, Error> {
        if !self.config.serves(known) {
            return Ok(None);
        }
        let decision = self.decide(known, triggers);
        if let Decision::Ignore { reason: Ignored::NotRequested, .. } = decision {
            self.tracks.reset_if_recreated(&api.key, known.uid());
            self.publish_faults(&api.key, known).await;
            return Ok(Some(Ending::Ignored(Ignored::NotRequested)));
        }
        let Decision::Run(operation) = decision else { return Ok(None) };
        if !status::announces(known, operation, triggers) {
            return Ok(None);
        }
        let surroundings = self.surroundings(known, decision).await?;
        let decision = decision.given(ShootSituation::of(surroundings.shoot.as_deref()));
        let Decision::Run(operation) = decision else { return Ok(None) };
        self.tracks.reset_if_recreated(&api.key, known.uid());
        self.publish_faults(&api.key, known).await;
        match self.begin(api, self.run(known.clone(), operation, triggers), Basis::Known).await? {
            Begun::Run(run) => self.operate(api, *run, surroundings).await.map(Some),
            Begun::Overtaken => Ok(Some(Ending::Overtaken)),
            Begun::Outdated => Ok(None),
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
        Run { extension, operation, triggers, events, announced: false, generation: None }
    }

    /// Cluster and Shoot, in the namespace of a shoot; elsewhere there is neither.
    async fn surroundings(&self, extension: &Extension, decision: Decision) -> Result<Surroundings, Error> {
        let namespace = &*extension.namespace().unwrap_or_default();
        let clusters: Api<Cluster> = Api::all(self.client.clone());
        let object = format!("Cluster {namespace}");
        if trusts_known_cluster(extension, decision)
            && let Some(LeanCluster { cluster, shoot, .. }) = self.cache.trusted_cluster(namespace, extension)
        {
            return Ok(Surroundings { cluster: Some(cluster), shoot });
        }
        if let Some(LeanCluster { version, cluster, shoot }) = self.cache.lean_cluster(namespace) {
            // Its event may be late: whether what is known is the last is asked, and not its whole text.
            let now = call("get metadata of", object.clone(), clusters.get_metadata(namespace)).await?;
            if now.metadata.resource_version.as_ref() == Some(&version) {
                return Ok(Surroundings { cluster: Some(cluster), shoot });
            }
        }
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let found = call("get", format!("Namespace {namespace}"), namespaces.get(namespace)).await?;
        if found.labels().get(ROLE_LABEL).is_none_or(|label| label != role::SHOOT) {
            return Ok(Surroundings::default());
        }
        let cluster = call("get", object.clone(), clusters.get(namespace)).await?;
        // Without any Shoot nobody knows whether it may be touched. One of which a part cannot be read is worked on all the same.
        let shoot = cluster.shoot().map_err(|error| Error::Undecodable { object, fault: error.to_string() })?;
        Ok(Surroundings { cluster: Some(Arc::new(cluster)), shoot: shoot.map(Arc::new) })
    }

    /// Says what of an object cannot be read: once, on the object that its owner looks at, and without a code, as it is not the owner's
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
/// something away, looks whether there is a newer one.
fn trusts_known_cluster(extension: &Extension, decision: Decision) -> bool {
    matches!(decision, Decision::Run(Operation::Create | Operation::Reconcile))
        && Annotation::of(extension) == Annotation::Reconcile
}
