//! The health condition of an Extension: from the ManagedResources to what gardenlet's care controller reads.

mod condition;

use std::sync::Arc;
use std::time::Duration;

use gardener_api::Extension;
use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use observability::ErrorChain;
use serde_json::json;

use crate::backoff::Backoff;
use crate::cache::Cache;
use crate::call::call;
use crate::config::ControllerConfig;
use crate::key::Key;
use crate::managed_resources;
use crate::operation::{Trigger, Triggers};
use crate::queue::Next;
use crate::{Error, backoff};
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
}

impl HealthKeeper {
    /// Looks at one Extension. Everything is read from the cache: in a healthy landscape this costs no call at all.
    pub(crate) async fn look(&self, key: &Key, triggers: Triggers) -> Next {
        if self.config.health.managed_resources.is_empty() {
            return Next::Nothing;
        }
        let Some(extension) = self.cache.extension(key) else { return Next::Nothing };
        match self.write(key, &extension).await {
            Ok(true) => Next::After(self.config.health.resync, Trigger::Resync.into()),
            Ok(false) => Next::Nothing,
            Err(error) if error.is_not_found() => Next::Nothing,
            Err(error) => {
                // After a conflict the watch delivers the newer object, which leads here again anyway.
                let failures = if triggers.contains(Trigger::Retry) { 2 } else { 1 };
                if !error.is_conflict() {
                    tracing::warn!(object.r#ref = %key, error = %ErrorChain(&error), "cannot write the health condition");
                }
                Next::After(BACKOFF.delay(failures, backoff::random()), Trigger::Retry.into())
            }
        }
    }

    /// Answers whether to look again.
    async fn write(&self, key: &Key, extension: &Extension) -> Result<bool, Error> {
        let now = Timestamp::now();
        let cluster = self.cache.cluster(&key.namespace);
        let subject = Subject {
            extension,
            hibernated: cluster.is_some_and(|facts| facts.hibernation_requested),
            checks: self.checks(key),
        };
        let Some(wanted) = condition::judge(&subject, &self.config.health, now) else { return Ok(false) };
        let before = extension.conditions();
        let Some(conditions) = condition::merge(before, wanted, self.config.health.refresh_after, now) else {
            return Ok(true);
        };
        let object = format!("Extension {key}");
        let Some(version) = extension.metadata.resource_version.as_deref() else {
            return Err(Error::Incomplete { object, field: "resourceVersion" });
        };
        // The list is atomic: with the version, nobody else's condition can get lost.
        let patch = json!({ "metadata": { "resourceVersion": version }, "status": { "conditions": conditions } });
        let api: Api<Extension> = Api::namespaced(self.client.clone(), &key.namespace);
        let parameters = PatchParams { field_manager: Some(self.config.name.clone()), ..PatchParams::default() };
        call("patch status of", object, async {
            api.patch_status(&key.name, &parameters, &Patch::Merge(&patch)).await
        })
        .await?;
        Ok(true)
    }

    fn checks(&self, key: &Key) -> Vec<Check> {
        self.config
            .health
            .managed_resources
            .iter()
            .map(|name| {
                let resource = Key { namespace: key.namespace.clone(), name: name.clone() };
                match self.cache.managed_resource(&resource) {
                    None => Check::Failing(format!("ManagedResource {resource} does not exist")),
                    Some(Err(error)) => Check::Unknown(format!("ManagedResource {resource} cannot be read: {error}")),
                    Some(Ok(found)) => match managed_resources::health(&found) {
                        managed_resources::Health::Healthy => Check::Good,
                        managed_resources::Health::Progressing(text) => {
                            Check::Progressing(format!("ManagedResource {resource}: {text}"))
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
