//! The beginning of an operation: the status says so, then the finalizer comes, and the annotation goes, in one write. A crash between the two
//! loses no request.

use gardener_api::Extension;
use gardener_api::constants::OPERATION_ANNOTATION;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::Lifecycle;
use super::extension_client::ExtensionClient;
use super::run::Run;
use crate::operation::{Annotation, Operation};
use crate::writers::Turn;
use crate::{Error, status, transition};

/// How often the request is taken up again when somebody else wrote in between, before the back-off takes over.
const CONFLICT_RETRIES: usize = 5;

/// Where the Extension of a run comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ExtensionSource {
    /// A watch, or our own last write. Somebody may have written since, so that only the first write can show it.
    Known,
    /// It was read just now.
    Read,
}

/// What became of a beginning.
pub(super) enum StartOutcome {
    /// It has begun.
    Run(Box<Run>),
    /// Somebody asked for something else in the meantime.
    Superseded,
    /// What was known is not the last; nothing was written.
    Outdated,
}

impl Lifecycle {
    pub(super) async fn begin(
        &self,
        api: &ExtensionClient,
        mut run: Run,
        source: ExtensionSource,
    ) -> Result<StartOutcome, Error> {
        let (asked, deleting) = (Annotation::of(&run.extension), is_deleting(&run.extension));
        let turn = self.writers.turn(&api.key).await;
        run.start_recorded = status::must_record_start(&run.extension, run.operation, run.triggers);
        if source == ExtensionSource::Known && !self.cache.is_last(&run.extension) {
            return Ok(StartOutcome::Outdated);
        }
        if run.start_recorded {
            let mut step = transition::started(run.operation, Timestamp::now());
            if source == ExtensionSource::Known {
                step.patch["metadata"] = json!({ "resourceVersion": run.extension.metadata.resource_version });
            }
            run.extension = match self.write(&turn, api, &run, step).await {
                Err(error) if source == ExtensionSource::Known && (error.is_conflict() || error.is_not_found()) => {
                    return Ok(StartOutcome::Outdated);
                }
                written => written?,
            };
        }
        let mut tries = 0;
        loop {
            if Annotation::of(&run.extension) != asked || is_deleting(&run.extension) != deleting {
                return Ok(StartOutcome::Superseded);
            }
            let Some(change) = self.change(&run) else { return Ok(StartOutcome::Run(Box::new(run))) };
            run.extension = match self.take_up(&turn, api, &run.extension, change).await {
                Err(error) if error.is_conflict() && tries < CONFLICT_RETRIES => match api.get().await? {
                    Some(extension) => extension,
                    None => return Ok(StartOutcome::Superseded),
                },
                taken => {
                    run.extension = taken?;
                    if asked == Annotation::Reconcile {
                        self.cache.record(&run.extension);
                    }
                    return Ok(StartOutcome::Run(Box::new(run)));
                }
            };
            tries += 1;
        }
    }

    /// What has to change in the metadata before the work.
    fn change(&self, run: &Run) -> Option<Value> {
        let mut change = Map::new();
        if matches!(run.operation, Operation::Create | Operation::Reconcile | Operation::Restore) {
            let mut finalizers = run.extension.metadata.finalizers.clone().unwrap_or_default();
            if !finalizers.contains(&self.config.finalizer) {
                finalizers.push(self.config.finalizer.clone());
                change.insert("finalizers".to_owned(), json!(finalizers));
            }
        }
        // The others stay until the operation is done.
        if Annotation::of(&run.extension) == Annotation::Reconcile {
            change.insert("annotations".to_owned(), json!({ OPERATION_ANNOTATION: null }));
        }
        (!change.is_empty()).then(|| change.into())
    }

    async fn take_up(
        &self,
        _turn: &Turn<'_>,
        api: &ExtensionClient,
        seen: &Extension,
        change: Value,
    ) -> Result<Extension, Error> {
        let extension = api.patch_locked(seen, change).await?;
        self.cache.record_write(&extension);
        Ok(extension)
    }
}

fn is_deleting(extension: &Extension) -> bool {
    extension.metadata.deletion_timestamp.is_some()
}
