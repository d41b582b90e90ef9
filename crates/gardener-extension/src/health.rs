//! The health condition of an Extension: from the ManagedResources to what gardenlet's care controller reads. With it goes what was observed behind
//! the Extension: one writer, and one write for both.

mod condition;

use std::sync::Arc;
use std::time::Duration;

use gardener_api::{AnyCondition, Extension, LastOperationState, ManagedResource};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use observability::ErrorChain;
use serde_json::{Map, Value, json};

use crate::backoff::Backoff;
use crate::cache::Cache;
use crate::call::call;
use crate::config::ControllerConfig;
use crate::key::Key;
use crate::managed_resources;
use crate::observing::{self, Observing};
use crate::operation::{Trigger, Triggers};
use crate::queue::Requeue;
use crate::writers::Writers;
use crate::{Error, backoff, transition};
#[cfg(test)]
pub(crate) use condition::REASONS;
use condition::{Check, Subject};

/// After a condition could not be written: soon, and when that fails, too, at longer intervals; nobody counts them.
const BACKOFF: Backoff = Backoff { first: Duration::from_millis(640), factor: 64, cap: Duration::from_secs(41) };

/// Keeps the health conditions.
pub(crate) struct HealthKeeper {
    pub(crate) client: Client,
    pub(crate) config: Arc<ControllerConfig>,
    pub(crate) cache: Arc<Cache>,
    pub(crate) writers: Arc<Writers>,
    /// What is seen behind the Extensions, if somebody observes them.
    pub(crate) observing: Option<Arc<Observing>>,
}

/// What is due.
#[derive(Debug, PartialEq)]
enum Due {
    /// The status says it already.
    Nothing,
    /// There is nothing to say of it, until something changes.
    Unjudged,
    /// There is nothing to say of it yet.
    Later(Duration),
    /// A write upon this version.
    Write(String, Changes),
}

/// What is to be written.
#[derive(Debug, PartialEq)]
struct Changes {
    /// The whole list.
    conditions: Option<Vec<AnyCondition>>,
    /// What was observed: a merge patch of its value.
    observed: Option<Value>,
}

impl HealthKeeper {
    /// Looks at one Extension. Everything is read from the cache: in a healthy landscape this costs no call at all.
    pub(crate) async fn reconcile(&self, key: &Key, triggers: Triggers) -> Requeue {
        if self.config.health.managed_resources.is_empty() {
            return Requeue::Nothing;
        }
        if let Some(observing) = &self.observing {
            observing.notice(key);
        }
        match self.write(key).await {
            Ok(Due::Nothing | Due::Write(..)) => Requeue::After(self.config.health.resync, Trigger::Resync.into()),
            Ok(Due::Later(wait)) => Requeue::After(wait, Trigger::Resync.into()),
            Ok(Due::Unjudged) => Requeue::Nothing,
            Err(error) if error.is_not_found() => Requeue::Nothing,
            Err(error) => {
                // After a conflict the watch delivers the newer object, which leads here again anyway.
                let failures = if triggers.contains(Trigger::Retry) { 2 } else { 1 };
                if !error.is_conflict() {
                    tracing::warn!(object.r#ref = %key, error = %ErrorChain(&error), "cannot write the health condition");
                }
                Requeue::After(BACKOFF.delay(failures, backoff::random()), Trigger::Retry.into())
            }
        }
    }

    async fn write(&self, key: &Key) -> Result<Due, Error> {
        // Most reconciliations find nothing, and need no turn for that.
        let due = self.due(key, self.cache.extension(key).as_deref(), Timestamp::now())?;
        if !matches!(due, Due::Write(..)) {
            return Ok(due);
        }
        let _turn = self.writers.turn(key).await;
        let due = self.due(key, self.cache.extension(key).as_deref(), Timestamp::now())?;
        let Due::Write(version, changes) = &due else { return Ok(due) };
        // The list is atomic: with the version, nobody else's condition can get lost.
        let mut patch = json!({ "metadata": { "resourceVersion": version }, "status": {} });
        if let Some(conditions) = &changes.conditions {
            patch["status"]["conditions"] = json!(conditions);
        }
        if let Some(observed) = &changes.observed {
            let mut provider_status = Map::new();
            provider_status.insert(self.config.observation.key.clone(), observed.clone());
            patch["status"]["providerStatus"] = provider_status.into();
        }
        let api: Api<Extension> = Api::namespaced(self.client.clone(), &key.namespace);
        let parameters = PatchParams { field_manager: Some(self.config.name.clone()), ..PatchParams::default() };
        let written = call("patch status of", object(key), async {
            api.patch_status(&key.name, &parameters, &Patch::Merge(&patch)).await
        })
        .await?;
        self.cache.record_write(&written);
        Ok(due)
    }

    /// The list that belongs into the write that ends an operation, and the version upon which it is made.
    pub(crate) fn due_when_complete(&self, key: &Key, now: Timestamp) -> Option<(String, Vec<AnyCondition>)> {
        // Before everything is listed, what is not there yet would seem to be missing.
        if !self.cache.is_synced() {
            return None;
        }
        let mut extension = Extension::clone(&*self.cache.extension(key)?);
        let last = extension.status.as_mut()?.last_operation.as_mut()?;
        (last.state, last.last_update_time) = (LastOperationState::Succeeded, Some(Time(now)));
        match self.due(key, Some(&extension), now) {
            Ok(Due::Write(version, Changes { conditions: Some(conditions), .. })) => Some((version, conditions)),
            _ => None,
        }
    }

    fn due(&self, key: &Key, extension: Option<&Extension>, now: Timestamp) -> Result<Due, Error> {
        let Some(extension) = extension.filter(|_| !self.config.health.managed_resources.is_empty()) else {
            return Ok(Due::Unjudged);
        };
        let cluster = self.cache.cluster(&key.namespace);
        let observation = self.observing.as_ref().and_then(|observing| observing.latest(key));
        let detail = self.observing.as_ref().and_then(|observing| observing.detail(key, extension));
        let subject = Subject {
            extension,
            hibernated: cluster.is_some_and(|facts| facts.hibernation_requested),
            checks: self.checks(key),
            detail: detail.as_deref(),
        };
        if let Some(wait) = condition::too_early(&subject, &self.config.health, now) {
            return Ok(Due::Later(wait));
        }
        let Some(wanted) = condition::judge(&subject, &self.config.health, now) else { return Ok(Due::Unjudged) };
        let before = extension.conditions();
        let conditions = condition::merge(before, wanted, self.config.health.refresh_after, now);
        let observed = observation.and_then(|observation| self.observed(extension, &observation.status));
        if conditions.is_none() && observed.is_none() {
            return Ok(Due::Nothing);
        }
        let version = extension.metadata.resource_version.clone();
        let version = version.ok_or_else(|| Error::Incomplete { object: object(key), field: "resourceVersion" })?;
        Ok(Due::Write(version, Changes { conditions, observed }))
    }

    /// What makes the status say what was observed, unless it does.
    fn observed(&self, extension: &Extension, wanted: &Value) -> Option<Value> {
        match observing::current_status(extension, &self.config.observation.key) {
            Some(before) if before == *wanted => None,
            Some(before) => Some(transition::difference(&before, wanted)),
            None => Some(wanted.clone()),
        }
    }

    fn checks(&self, key: &Key) -> Vec<Check> {
        self.config
            .health
            .managed_resources
            .iter()
            .map(|name| {
                let resource = Key { namespace: key.namespace.clone(), name: name.clone() };
                match self.cache.managed_resource(&resource) {
                    None => Check::Unreported(format!("ManagedResource {resource} does not exist")),
                    Some(Err(error)) => Check::Unknown(format!("ManagedResource {resource} cannot be read: {error}")),
                    Some(Ok(found)) => match managed_resources::health(&found) {
                        managed_resources::Health::Healthy => Check::Good,
                        managed_resources::Health::Progressing(text) => {
                            Check::Progressing(format!("ManagedResource {resource}: {text}"))
                        }
                        managed_resources::Health::Unhealthy(text) if is_unreported(&found) => {
                            Check::Unreported(format!("ManagedResource {resource}: {text}"))
                        }
                        managed_resources::Health::Unhealthy(text) => {
                            Check::Failing(format!("ManagedResource {resource}: {text}"))
                        }
                    },
                }
            })
            .collect()
    }
}

/// gardener-resource-manager has not said anything of it yet.
fn is_unreported(resource: &ManagedResource) -> bool {
    resource.status.as_ref().is_none_or(|status| status.conditions.is_empty())
}

fn object(key: &Key) -> String {
    format!("Extension {key}")
}

#[cfg(test)]
mod tests;
