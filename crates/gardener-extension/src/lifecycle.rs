//! One look at one Extension: read, decide, act, report. The order of the writes is such that a crash between any two loses no
//! request: the status says Processing before the annotation goes.

mod extension_client;
#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
mod track;

use std::sync::Arc;
use std::time::Duration;

use gardener_api::constants::{ROLE_LABEL, role};
use gardener_api::{Cluster, Extension, LastOperationState, Shoot};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Namespace;
use kube::runtime::events::Recorder;
use kube::{Api, Client, Resource as _, ResourceExt as _};
use observability::ErrorChain;
use serde_json::Value;
use tokio::time::Instant;
use tracing::Instrument as _;
use tracing::field::Empty;

use crate::cache::{Cache, EXTENSION_LIMIT};
use crate::call::call;
use crate::config::ControllerConfig;
use crate::key::Key;
use crate::operation::{Annotation, Decision, Ignored, Operation, Situation, Trigger, Triggers, decide};
use crate::queue::Next;
use crate::reason;
use crate::status::{self, Failure};
use crate::text::{STATUS_TEXT_LIMIT, cut};
use crate::{Actuator, ActuatorError, Context, Error, EventSink, Metrics, Outcome, backoff};
use extension_client::ExtensionClient;
pub(crate) use track::Tracks;

/// Shortest time between two looks at something pending; what is awaited wakes us sooner through its watch.
const SHORTEST_REQUEUE: Duration = Duration::from_millis(100);

/// A retry stays silent for so long: most fail or succeed at once, and the status would only flicker.
const SILENT_RETRY: Duration = Duration::from_millis(500);

/// Everything a look needs.
pub(crate) struct Lifecycle {
    pub(crate) client: Client,
    pub(crate) config: Arc<ControllerConfig>,
    pub(crate) actuator: Arc<dyn Actuator>,
    pub(crate) recorder: Recorder,
    pub(crate) metrics: Metrics,
    pub(crate) cache: Arc<Cache>,
    pub(crate) tracks: Tracks,
}

/// How a look ended.
enum Ending {
    Gone,
    Ignored(Ignored),
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

/// An operation under way.
struct Run {
    extension: Extension,
    operation: Operation,
    triggers: Triggers,
    events: EventSink,
    /// Generation that the actuator is shown.
    generation: Option<i64>,
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
        let triggers = if self.tracks.goes_on(key) {
            triggers.union(Trigger::Awaited.into())
        } else if self.tracks.is_unfinished(key) {
            triggers
        } else {
            triggers.without(Trigger::Awaited)
        };
        if triggers.is_loud() {
            self.tracks.forgive(key);
        }
        match self.attempt(key, triggers).await {
            Ok(ending) => self.settle(key, triggers, &ending),
            Err(error) => {
                self.metrics.engine_error(error.reason());
                let failures = self.tracks.failed(key);
                if triggers.is_loud() {
                    self.tracks.repeats(key);
                }
                let delay = backoff::delay(failures, backoff::random());
                let text = ErrorChain(&error).to_string();
                if error.is_conflict() || !self.tracks.is_news(key, &text) {
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
            Ending::Gone => {
                self.tracks.forget(key);
                Next::Nothing
            }
            Ending::Ignored(Ignored::NotRequested) if triggers.contains(Trigger::Seen) => {
                // Spread over the second half of the period: a restart must not look at all of them at once.
                let part = 1.0 - 0.5 * backoff::random();
                Next::After(self.config.resync.mul_f64(part), Trigger::Resync.into())
            }
            Ending::Ignored(Ignored::NotRequested) => Next::Unchanged,
            // The track stays: when the Shoot is retried, what was unfinished goes on.
            Ending::Ignored(_) => Next::Nothing,
            // As a retry, too: the status may say already that something has begun.
            Ending::Overtaken => {
                Next::After(Duration::ZERO, Triggers::from(Trigger::Changed).union(Trigger::Retry.into()))
            }
            Ending::Done(Operation::Create | Operation::Reconcile | Operation::Restore) => {
                self.tracks.finished(key);
                Next::After(self.config.resync, Trigger::Resync.into())
            }
            Ending::Done(_) => {
                self.tracks.finished(key);
                Next::Nothing
            }
            Ending::Pending(delay) => Next::After(*delay, Trigger::Awaited.into()),
            Ending::Failed => {
                let failures = self.tracks.failed(key);
                Next::After(backoff::delay(failures, backoff::random()), Trigger::Retry.into())
            }
        }
    }

    async fn attempt(&self, key: &Key, triggers: Triggers) -> Result<Ending, Error> {
        let api = self.api(key);
        let Some(extension) = api.get().await? else { return Ok(Ending::Gone) };
        if !self.config.serves(&extension) {
            return Ok(Ending::Gone);
        }
        self.tracks.is_of(key, extension.uid());
        self.tell_of_faults(key, &extension).await;
        // Most looks end here, without another call. The Shoot can only forbid, never ask.
        let situation = self.situation(&extension, None);
        if let Decision::Ignore(reason) = decide(situation, triggers) {
            let freed = Situation { annotation: Annotation::Absent, ..situation };
            if reason == Ignored::WaitsForState && matches!(decide(freed, triggers), Decision::Run(_)) {
                self.tracks.held_up(key);
            }
            return Ok(Ending::Ignored(reason));
        }
        let surroundings = self.surroundings(&key.namespace).await?;
        match decide(self.situation(&extension, surroundings.shoot.as_deref()), triggers) {
            Decision::Ignore(reason) => {
                // But for its Shoot it would be worked on.
                self.tracks.held_up(key);
                tracing::debug!(object.r#ref = %key, ?reason, "leaving the Extension alone");
                Ok(Ending::Ignored(reason))
            }
            Decision::DropAnnotation => {
                let extension = api.remove_annotation(&extension).await?;
                self.cache.note(&extension);
                Ok(Ending::Ignored(Ignored::Migrated))
            }
            Decision::Run(operation) => {
                let span = tracing::Span::current();
                span.record("operation", operation.as_str());
                if let Some(generation) = extension.metadata.generation {
                    span.record("generation", generation);
                }
                let events = self.events(&extension);
                let run = Run { extension, operation, triggers, events, generation: None };
                self.operate(&api, run, surroundings).await
            }
        }
    }

    fn situation(&self, extension: &Extension, shoot: Option<&Shoot>) -> Situation {
        Situation::of(extension, shoot, &self.config.finalizer, self.config.ignore_operation_annotation)
    }

    /// Cluster and Shoot, in the namespace of a shoot; elsewhere there is neither.
    async fn surroundings(&self, namespace: &str) -> Result<Surroundings, Error> {
        let namespaces: Api<Namespace> = Api::all(self.client.clone());
        let found = call("get", format!("Namespace {namespace}"), namespaces.get(namespace)).await?;
        if found.labels().get(ROLE_LABEL).is_none_or(|label| label != role::SHOOT) {
            return Ok(Surroundings::default());
        }
        let clusters: Api<Cluster> = Api::all(self.client.clone());
        let object = format!("Cluster {namespace}");
        let cluster = call("get", object.clone(), clusters.get(namespace)).await?;
        // Without any Shoot nobody knows whether it may be touched. One of which a part cannot be read is worked on all the same.
        let shoot = cluster.shoot().map_err(|error| Error::Undecodable { object, fault: error.to_string() })?;
        Ok(Surroundings { cluster: Some(Arc::new(cluster)), shoot: shoot.map(Arc::new) })
    }

    /// Tells what of an object cannot be read: once, on the object that its owner looks at, and without a code, as it is not the owner's
    /// mistake. What is wrong with the providerConfig the actuator says.
    async fn tell_of_faults(&self, key: &Key, extension: &Extension) {
        let own = (!extension.faults.is_empty()).then(|| format!("this Extension is {}", extension.faults));
        let size = self
            .cache
            .is_too_large(key)
            .then(|| format!("this Extension has more than {EXTENSION_LIMIT} bytes; its health is not looked after"));
        let shoot = self.cache.cluster(&key.namespace).and_then(|facts| facts.undecodable);
        let shoot = shoot.map(|fault| format!("the Shoot in Cluster {} is {fault}", key.namespace));
        let note = [own, size, shoot].into_iter().flatten().collect::<Vec<_>>().join("; ");
        if self.cache.is_news(key, &note) && !note.is_empty() {
            self.events(extension).warning(reason::UNDECODABLE, "Read", note).await;
        }
    }

    fn events(&self, extension: &Extension) -> EventSink {
        EventSink::new(self.recorder.clone(), extension.object_ref(&()))
    }

    /// Writes the status. What the API refuses will be refused again: that shows where it is looked for, and not in a log alone.
    async fn write_status(&self, api: &ExtensionClient, run: &Run, patch: &Value) -> Result<Extension, Error> {
        let written = api.patch_status(patch).await;
        if let Err(error) = &written
            && error.is_refused()
        {
            self.metrics.engine_error(reason::STATUS_REFUSED);
            let note = format!("the status cannot be written: {}", ErrorChain(error));
            if self.tracks.is_refusal_news(&api.key, &note) {
                run.events.warning(reason::STATUS_REFUSED, run.operation.as_str(), note).await;
            }
        }
        written
    }

    async fn operate(&self, api: &ExtensionClient, mut run: Run, surroundings: Surroundings) -> Result<Ending, Error> {
        let asked = self.situation(&run.extension, None).annotation;
        if matches!(run.operation, Operation::Create | Operation::Reconcile | Operation::Restore) {
            run.extension = api.add_finalizer(run.extension, &self.config.finalizer).await?;
        }
        let announced = status::announces(&run.extension, run.operation, run.triggers);
        if announced {
            tracing::info!(object.r#ref = %api, operation = run.operation.as_str(), triggers = ?run.triggers.names(), "started the operation");
            let processing = status::processing(run.operation, Timestamp::now());
            run.extension = self.write_status(api, &run, &processing).await?;
        }
        if asked == Annotation::Reconcile {
            run.extension = api.remove_annotation(&run.extension).await?;
            self.cache.note(&run.extension);
        } else if self.situation(&run.extension, None).annotation != asked {
            return Ok(Ending::Overtaken);
        }
        let context = Context {
            client: self.client.clone(),
            namespace: run.extension.namespace().unwrap_or_default(),
            extension: Arc::new(run.extension.clone()),
            cluster: surroundings.cluster,
            shoot: surroundings.shoot,
            events: run.events.clone(),
            provider_config_limit: self.config.provider_config_limit,
        };
        run.generation = run.extension.metadata.generation;
        let started = Instant::now();
        let deadline = self.config.operation_deadline;
        let retries = run.extension.last_operation().is_some_and(|last| last.state == LastOperationState::Error);
        let announce_late = !announced && retries && !self.tracks.is_pending(&api.key);
        let outcome = {
            let mut acting = std::pin::pin!(tokio::time::timeout(deadline, self.act(run.operation, &context)));
            tokio::select! {
                biased;
                outcome = &mut acting => outcome,
                () = tokio::time::sleep(SILENT_RETRY), if announce_late => {
                    // The actuator goes on meanwhile; the error before stays visible.
                    let processing = status::processing(run.operation, Timestamp::now());
                    let (outcome, announced) = tokio::join!(acting, self.write_status(api, &run, &processing));
                    run.extension = announced?;
                    outcome
                }
            }
        };
        let took = started.elapsed();
        match outcome {
            Ok(Ok(Outcome::Done)) => {
                self.metrics.operation(run.operation, reason::DONE, took);
                self.done(api, run).await
            }
            Ok(Ok(Outcome::Pending { message, requeue_after })) => {
                self.metrics.operation(run.operation, reason::PENDING, took);
                self.pending(api, &run, &message, requeue_after).await
            }
            Ok(Err(error)) => {
                self.metrics.operation(run.operation, error.reason(), took);
                let failure = Failure::of_actuator(run.operation, &error);
                Ok(self.failed(api, &run, &failure, error.reason()).await)
            }
            Err(_) => {
                self.metrics.operation(run.operation, reason::DEADLINE_EXCEEDED, took);
                let failure = Failure::deadline(run.operation, deadline);
                Ok(self.failed(api, &run, &failure, reason::DEADLINE_EXCEEDED).await)
            }
        }
    }

    async fn act(&self, operation: Operation, context: &Context) -> Result<Outcome, ActuatorError> {
        match operation {
            Operation::Create | Operation::Reconcile => self.actuator.reconcile(context).await,
            Operation::Delete => self.actuator.delete(context).await,
            Operation::ForceDelete => self.actuator.force_delete(context).await,
            Operation::Migrate => self.actuator.migrate(context).await,
            Operation::Restore => self.actuator.restore(context).await,
        }
    }

    async fn done(&self, api: &ExtensionClient, run: Run) -> Result<Ending, Error> {
        let operation = run.operation;
        let patch = status::succeeded(&run.extension, operation, run.generation, run.triggers, Timestamp::now());
        if let Some(patch) = patch {
            self.write_status(api, &run, &patch).await?;
            tracing::info!(object.r#ref = %api, operation = operation.as_str(), "completed the operation");
            run.events.normal(reason::SUCCEEDED, operation.as_str(), format!("{} is done", operation.as_str())).await;
        }
        match operation {
            Operation::Delete | Operation::ForceDelete => api.remove_finalizer(&self.config.finalizer).await?,
            Operation::Migrate => api.release().await?,
            Operation::Restore => {
                if let Some(extension) = api.finish_request(&run.extension).await? {
                    self.cache.note(&extension);
                }
            }
            Operation::Create | Operation::Reconcile => {}
        }
        Ok(Ending::Done(operation))
    }

    async fn pending(
        &self,
        api: &ExtensionClient,
        run: &Run,
        message: &str,
        requeue_after: Duration,
    ) -> Result<Ending, Error> {
        let now = Timestamp::now();
        let since_deletion = run
            .extension
            .metadata
            .deletion_timestamp
            .as_ref()
            .map(|deleted| Duration::try_from(now.duration_since(deleted.0)).unwrap_or_default());
        let waited = self.tracks.pending(&api.key, since_deletion.unwrap_or_default());
        let left = self.config.overdue_after.saturating_sub(waited);
        let requeue_after = requeue_after.max(SHORTEST_REQUEUE);
        if left.is_zero() {
            let failure = Failure::overdue(run.operation, message);
            self.report(api, run, &failure, reason::OVERDUE).await?;
            return Ok(Ending::Pending(requeue_after));
        }
        if let Some(patch) = status::pending(&run.extension, run.operation, message, now) {
            self.write_status(api, run, &patch).await?;
            let awaited = cut(message.to_owned(), STATUS_TEXT_LIMIT);
            tracing::info!(object.r#ref = %api, operation = run.operation.as_str(), awaited, "waiting within the operation");
        }
        Ok(Ending::Pending(requeue_after.min(left.max(SHORTEST_REQUEUE))))
    }

    /// A failure to write the error must not hide it.
    async fn failed(&self, api: &ExtensionClient, run: &Run, failure: &Failure, reason: &'static str) -> Ending {
        if let Err(error) = self.report(api, run, failure, reason).await {
            tracing::warn!(object.r#ref = %api, error = %ErrorChain(&error), "cannot write the error to the status");
        }
        Ending::Failed
    }

    /// Writes and tells a failure if it is news.
    async fn report(
        &self,
        api: &ExtensionClient,
        run: &Run,
        failure: &Failure,
        reason: &'static str,
    ) -> Result<(), Error> {
        let patch = status::failed(&run.extension, run.operation, failure, run.generation, Timestamp::now());
        let Some(patch) = patch else { return Ok(()) };
        tracing::warn!(
            object.r#ref = %api,
            operation = run.operation.as_str(),
            reason,
            error = failure.note,
            "failed the operation"
        );
        self.write_status(api, run, &patch).await?;
        run.events.warning(reason, run.operation.as_str(), failure.note.clone()).await;
        Ok(())
    }

    fn api(&self, key: &Key) -> ExtensionClient {
        ExtensionClient::new(&self.client, &self.config.name, key.clone())
    }
}
