//! gardener-resource-manager's part at full speed, without any shoot: finalizer, conditions, the token, and the end of a ManagedResource.

use std::sync::Arc;

use extension_config::names;
use futures::StreamExt as _;
use kube::Client;
use kube::api::{DynamicObject, Patch, PatchParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::kinds::Kind;

const FINALIZER: &str = "resources.gardener.cloud/gardener-resource-manager";
/// Objects at a time.
const AT_A_TIME: usize = 8;

/// Works until it is dropped.
pub(crate) fn start(client: &Client) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let workers = Arc::new(Semaphore::new(AT_A_TIME));
    let resources = watcher::Config::default().fields(&format!("metadata.name={}", names::SHOOT_MANAGED_RESOURCE));
    tasks.spawn(follow(client.clone(), Kind::ManagedResource, resources, Arc::clone(&workers)));
    let tokens = watcher::Config::default().labels("resources.gardener.cloud/purpose=token-requestor");
    tasks.spawn(follow(client.clone(), Kind::Secret, tokens, workers));
    tasks
}

async fn follow(client: Client, kind: Kind, config: watcher::Config, workers: Arc<Semaphore>) {
    let events = watcher(kind.all(&client), config).default_backoff().touched_objects();
    let mut events = std::pin::pin!(events);
    let mut work = JoinSet::new();
    while let Some(event) = events.next().await {
        let Ok(object) = event else { continue };
        let Some(patch) = next(kind, &object) else { continue };
        let Ok(permit) = Arc::clone(&workers).acquire_owned().await else { return };
        let client = client.clone();
        work.spawn(async move {
            // What fails here is tried again at the object's next event; a run that waits for it says so.
            drop(patch.send(&client, kind, &object).await);
            drop(permit);
        });
        while work.try_join_next().is_some() {}
    }
}

/// A merge patch.
#[derive(Debug, PartialEq)]
pub(crate) enum Write {
    /// Of everything but the status.
    Metadata(Value),
    Status(Value),
}

impl Write {
    async fn send(&self, client: &Client, kind: Kind, object: &DynamicObject) -> Result<(), kube::Error> {
        let name = object.metadata.name.as_deref().unwrap_or_default();
        let api = kind.of(client, object.metadata.namespace.as_deref().unwrap_or_default());
        let parameters = PatchParams::default();
        match self {
            Self::Metadata(patch) => api.patch(name, &parameters, &Patch::Merge(patch)).await.map(drop),
            Self::Status(patch) => api.patch_status(name, &parameters, &Patch::Merge(patch)).await.map(drop),
        }
    }
}

/// The one write that an object needs next.
pub(crate) fn next(kind: Kind, object: &DynamicObject) -> Option<Write> {
    match kind {
        Kind::Secret => {
            let is_filled = !object.data["data"]["token"].is_null();
            // "t".
            (!is_filled).then(|| Write::Metadata(json!({ "data": { "token": "dA==" } })))
        }
        Kind::ManagedResource => {
            let has_finalizer = object.metadata.finalizers.iter().flatten().any(|found| found == FINALIZER);
            if object.metadata.deletion_timestamp.is_some() {
                return has_finalizer.then(|| Write::Metadata(json!({ "metadata": { "finalizers": null } })));
            }
            if !has_finalizer {
                return Some(Write::Metadata(json!({ "metadata": { "finalizers": [FINALIZER] } })));
            }
            let generation = object.metadata.generation?;
            let is_observed = object.data["status"]["observedGeneration"].as_i64() == Some(generation);
            (!is_observed).then(|| Write::Status(json!({ "status": status(generation) })))
        }
        _ => None,
    }
}

fn status(generation: i64) -> Value {
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let condition = |type_: &str, status: &str, reason: &str| {
        json!({ "type": type_, "status": status, "reason": reason, "message": "All resources are fine.",
            "lastTransitionTime": now, "lastUpdateTime": now })
    };
    json!({
        "observedGeneration": generation,
        "conditions": [
            condition("ResourcesApplied", "True", "ApplySucceeded"),
            condition("ResourcesHealthy", "True", "ResourcesHealthy"),
            condition("ResourcesProgressing", "False", "ResourcesRolledOut"),
        ],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resource(value: &Value) -> DynamicObject {
        let mut object = json!({ "apiVersion": "resources.gardener.cloud/v1alpha1", "kind": "ManagedResource" });
        object["metadata"] = value["metadata"].clone();
        object["status"] = value["status"].clone();
        serde_json::from_value(object).expect("an object")
    }

    #[test]
    fn resource_gets_finalizer_then_status_then_nothing() {
        let young = resource(&json!({ "metadata": { "name": "r", "generation": 2 } }));
        assert!(matches!(next(Kind::ManagedResource, &young), Some(Write::Metadata(_))));
        let held = json!({ "metadata": { "name": "r", "generation": 2, "finalizers": [FINALIZER] } });
        assert!(matches!(next(Kind::ManagedResource, &resource(&held)), Some(Write::Status(_))));
        let mut done = held;
        done["status"] = status(2);
        assert_eq!(next(Kind::ManagedResource, &resource(&done)), None);
        done["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        let released = json!({ "metadata": { "finalizers": null } });
        assert_eq!(next(Kind::ManagedResource, &resource(&done)), Some(Write::Metadata(released)));
    }
}
