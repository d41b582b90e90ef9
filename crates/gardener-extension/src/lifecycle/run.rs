//! One operation from its beginning to what became of it.

use std::sync::Arc;
use std::time::Duration;

use gardener_api::{Extension, LastOperationState};
use jiff::Timestamp;
use kube::ResourceExt as _;
use observability::ErrorChain;
use serde_json::json;
use tokio::time::Instant;

use super::extension_client::ExtensionClient;
use super::{Lifecycle, ReconcileOutcome, ShootContext};
use crate::operation::{Operation, Triggers};
use crate::status::Failure;
use crate::transition::{self, Log, Observed, Transition};
use crate::writers::Turn;
use crate::{ActuatorError, Context, Error, EventSink, Notice, Outcome, Progress, ProviderStatus, reason};

/// Shortest time between two reconciliations of something pending; what is awaited wakes us sooner through its watch.
const SHORTEST_REQUEUE: Duration = Duration::from_millis(100);

/// A retry stays silent for so long: most fail or succeed at once, and the status would only flicker.
const SILENT_RETRY: Duration = Duration::from_millis(500);

/// An operation under way.
pub(super) struct Run {
    pub(super) extension: Extension,
    pub(super) operation: Operation,
    pub(super) triggers: Triggers,
    pub(super) events: EventSink,
    /// The status says that it has begun.
    pub(super) start_recorded: bool,
    /// Generation that the actuator is shown.
    pub(super) generation: Option<i64>,
}

impl Lifecycle {
    /// Carries one step out: the one place where an operation writes the status, logs and publishes. What the API refuses will be refused
    /// again: that has to show where people look for it, and not in a log alone.
    pub(super) async fn write(
        &self,
        _turn: &Turn<'_>,
        api: &ExtensionClient,
        run: &Run,
        transition: Transition,
    ) -> Result<Extension, Error> {
        let is_failure = matches!(transition.log, Some(Log::Failed { .. }));
        // What failed shows even if the status cannot be written.
        if is_failure {
            log(api, run, transition.log.as_ref());
        }
        let written = api.patch_status(&transition.patch).await;
        if let Err(error) = &written
            && error.is_refused()
        {
            self.metrics.engine_error(reason::STATUS_REFUSED);
            let note = format!("the status cannot be written: {}", ErrorChain(error));
            if self.object_states.record_refusal(&api.key, &note) {
                run.events.publish(Notice::warning(reason::STATUS_REFUSED, run.operation.as_str(), note)).await;
            }
        }
        let extension = written?;
        self.cache.record_write(&extension);
        if !is_failure {
            log(api, run, transition.log.as_ref());
        }
        for event in transition.events {
            run.events.publish(event).await;
        }
        Ok(extension)
    }

    pub(super) async fn operate(
        &self,
        api: &ExtensionClient,
        mut run: Run,
        shoot_context: ShootContext,
    ) -> Result<ReconcileOutcome, Error> {
        let context = Context {
            client: self.client.clone(),
            namespace: run.extension.namespace().unwrap_or_default(),
            extension: Arc::new(run.extension.clone()),
            cluster: shoot_context.cluster,
            shoot: shoot_context.shoot,
            events: run.events.clone(),
            provider_config_limit: self.config.provider_config_limit,
            cache: Arc::clone(&self.cache),
        };
        run.generation = run.extension.metadata.generation;
        let started = Instant::now();
        let deadline = self.config.operation_deadline;
        let retries = run.extension.last_operation().is_some_and(|last| last.state == LastOperationState::Error);
        let record_start_late = !run.start_recorded && retries && !self.object_states.is_pending(&api.key);
        let outcome = {
            let mut actuator_call =
                std::pin::pin!(tokio::time::timeout(deadline, self.call_actuator(run.operation, &context)));
            tokio::select! {
                biased;
                outcome = &mut actuator_call => outcome,
                () = tokio::time::sleep(SILENT_RETRY), if record_start_late => {
                    // The actuator goes on meanwhile; the error before stays visible.
                    let late = transition::started(run.operation, Timestamp::now());
                    let recording = async {
                        let turn = self.writers.turn(&api.key).await;
                        self.write(&turn, api, &run, late).await
                    };
                    let (outcome, start_recorded) = tokio::join!(actuator_call, recording);
                    // Not its annotation: the actuator serves the request that it was shown.
                    run.extension.status = start_recorded?.status;
                    outcome
                }
            }
        };
        let elapsed = started.elapsed();
        let result = match &outcome {
            Ok(Ok(Outcome { progress: Progress::Done, .. })) => reason::DONE,
            Ok(Ok(Outcome { progress: Progress::Pending { .. }, .. })) => reason::PENDING,
            Ok(Err(error)) => error.reason(),
            Err(_) => reason::DEADLINE_EXCEEDED,
        };
        self.metrics.operation(run.operation, result, elapsed);
        match outcome {
            Ok(Ok(Outcome { progress: Progress::Done, provider_status })) => self.done(api, run, provider_status).await,
            Ok(Ok(Outcome { progress: Progress::Pending { message, requeue_after }, provider_status })) => {
                self.pending(api, &run, &message, requeue_after, provider_status).await
            }
            Ok(Err(error)) => Ok(self.failed(api, &run, &Failure::of_actuator(run.operation, &error), result).await),
            Err(_) => Ok(self.failed(api, &run, &Failure::deadline(run.operation, deadline), result).await),
        }
    }

    async fn call_actuator(&self, operation: Operation, context: &Context) -> Result<Outcome, ActuatorError> {
        match operation {
            Operation::Create | Operation::Reconcile => self.actuator.reconcile(context).await,
            Operation::Delete => self.actuator.delete(context).await,
            Operation::ForceDelete => self.actuator.force_delete(context).await,
            Operation::Migrate => self.actuator.migrate(context).await,
            Operation::Restore => self.actuator.restore(context).await,
        }
    }

    /// Writes a step, if there is one, with the providerStatus that the actuator wants.
    async fn write_with(
        &self,
        api: &ExtensionClient,
        run: &Run,
        step: Option<Transition>,
        provider_status: Option<ProviderStatus>,
    ) -> Result<(), Error> {
        let limit = self.config.provider_config_limit;
        let observed = self.observed(run.operation);
        match transition::with_provider_status(step, &run.extension, provider_status, limit, observed) {
            Some(step) => {
                let turn = self.writers.turn(&api.key).await;
                self.write(&turn, api, run, step).await.map(drop)
            }
            None => Ok(()),
        }
    }

    /// Where the Extension goes nobody observes what is behind it any more, and what was found goes, too.
    fn observed(&self, operation: Operation) -> Observed<'_> {
        let stays = matches!(operation, Operation::Create | Operation::Reconcile | Operation::Restore);
        Observed { key: &self.config.observation.key, stays }
    }

    /// The end of an operation, with the health condition that is due by then: one write for both.
    async fn complete(
        &self,
        api: &ExtensionClient,
        run: &Run,
        provider_status: Option<ProviderStatus>,
    ) -> Result<(), Error> {
        let now = Timestamp::now();
        let step = transition::completed(&run.extension, run.operation, run.generation, run.triggers, now);
        let limit = self.config.provider_config_limit;
        let observed = self.observed(run.operation);
        let step = transition::with_provider_status(step, &run.extension, provider_status, limit, observed);
        let Some(step) = step else { return Ok(()) };
        let turn = self.writers.turn(&api.key).await;
        let due = self.health.due_when_complete(&api.key, now);
        if let Some((version, conditions)) = due {
            // The list is atomic: with the version, nobody else's condition can get lost.
            let mut both = step.clone();
            both.patch["metadata"] = json!({ "resourceVersion": version });
            both.patch["status"]["conditions"] = json!(conditions);
            match self.write(&turn, api, run, both).await {
                // Somebody else wrote. The end has no need of the version, and the condition comes later.
                Err(error) if error.is_conflict() => {}
                written => return written.map(drop),
            }
        }
        self.write(&turn, api, run, step).await.map(drop)
    }

    async fn done(
        &self,
        api: &ExtensionClient,
        run: Run,
        provider_status: Option<ProviderStatus>,
    ) -> Result<ReconcileOutcome, Error> {
        let operation = run.operation;
        self.complete(api, &run, provider_status).await?;
        match operation {
            Operation::Delete | Operation::ForceDelete => api.remove_finalizer(&self.config.finalizer).await?,
            Operation::Migrate => api.release().await?,
            Operation::Restore => {
                let _turn = self.writers.turn(&api.key).await;
                if let Some(extension) = api.finish_request(&run.extension).await? {
                    self.cache.record(&extension);
                }
            }
            Operation::Create | Operation::Reconcile => {}
        }
        Ok(ReconcileOutcome::Done(operation))
    }

    async fn pending(
        &self,
        api: &ExtensionClient,
        run: &Run,
        message: &str,
        requeue_after: Duration,
        provider_status: Option<ProviderStatus>,
    ) -> Result<ReconcileOutcome, Error> {
        let now = Timestamp::now();
        let since_deletion = run
            .extension
            .metadata
            .deletion_timestamp
            .as_ref()
            .map(|deleted| Duration::try_from(now.duration_since(deleted.0)).unwrap_or_default());
        let waited = self.object_states.record_wait(&api.key, since_deletion.unwrap_or_default());
        let left = self.config.overdue_after.saturating_sub(waited);
        let requeue_after = requeue_after.max(SHORTEST_REQUEUE);
        let (step, requeue_after) = if left.is_zero() {
            let failure = Failure::overdue(run.operation, message);
            let (extension, generation) = (&run.extension, run.generation);
            let step = transition::failed(extension, run.operation, &failure, reason::OVERDUE, generation, now);
            (step, requeue_after)
        } else {
            let step = transition::waiting(&run.extension, run.operation, message, now);
            (step, requeue_after.min(left.max(SHORTEST_REQUEUE)))
        };
        self.write_with(api, run, step, provider_status).await?;
        Ok(ReconcileOutcome::Pending(requeue_after))
    }

    /// A failure to write the error must not hide it.
    async fn failed(
        &self,
        api: &ExtensionClient,
        run: &Run,
        failure: &Failure,
        reason: &'static str,
    ) -> ReconcileOutcome {
        let now = Timestamp::now();
        let step = transition::failed(&run.extension, run.operation, failure, reason, run.generation, now);
        if let Err(error) = self.write_with(api, run, step, None).await {
            tracing::warn!(object.r#ref = %api, error = %ErrorChain(&error), "cannot write the error to the status");
        }
        ReconcileOutcome::Failed
    }
}

fn log(object: &ExtensionClient, run: &Run, log: Option<&Log>) {
    let operation = run.operation.as_str();
    match log {
        None => {}
        Some(Log::Started) => {
            tracing::info!(object.r#ref = %object, operation, triggers = ?run.triggers.names(), "started the operation");
        }
        Some(Log::Waiting(awaited)) => {
            tracing::info!(object.r#ref = %object, operation, awaited, "waiting within the operation");
        }
        Some(Log::Failed { reason, error }) => {
            tracing::warn!(object.r#ref = %object, operation, reason, error, "failed the operation");
        }
        Some(Log::Completed) => tracing::info!(object.r#ref = %object, operation, "completed the operation"),
    }
}
