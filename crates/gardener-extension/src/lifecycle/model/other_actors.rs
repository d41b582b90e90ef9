//! What others do to the objects.

use gardener_api::constants::{OPERATION_ANNOTATION, TIMESTAMP_ANNOTATION};
use serde_json::{Value, json};

use super::{ExternalEvent, FOREIGN, FakeSeed, TYPE, finalizers};

impl FakeSeed {
    /// Somebody else does something.
    pub(in crate::lifecycle) fn apply(&mut self, event: ExternalEvent) {
        let now = self.tick();
        match event {
            ExternalEvent::Annotate(operation) => {
                if self.extension.is_none() {
                    self.create();
                }
                let timestamp = now.to_string();
                let Some(extension) = &mut self.extension else { return };
                let annotation = &mut extension["metadata"]["annotations"][OPERATION_ANNOTATION];
                if *annotation == "wait-for-state" && operation == "unknown" {
                    // Nobody ends that wait without a request.
                    return;
                }
                *annotation = json!(operation);
                extension["metadata"]["annotations"][TIMESTAMP_ANNOTATION] = json!(timestamp);
                self.requested_at = matches!(operation, "reconcile" | "restore" | "migrate").then_some(now);
                self.bump();
            }
            ExternalEvent::Delete => {
                let Some(extension) = &mut self.extension else { return };
                if extension["metadata"]["deletionTimestamp"].is_null() {
                    extension["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
                    self.deletion_requested = true;
                    self.requested_at = None;
                    self.bump();
                }
                self.end_if_free();
            }
            ExternalEvent::ChangeSpec => {
                let Some(extension) = &mut self.extension else { return };
                let generation = extension["metadata"]["generation"].as_i64().unwrap_or_default();
                extension["metadata"]["generation"] = json!(generation + 1);
                extension["spec"]["providerConfig"] = json!({ "change": now });
                self.bump();
            }
            ExternalEvent::ForeignFinalizer(hold) => {
                let Some(extension) = &mut self.extension else { return };
                let mut all = finalizers(extension);
                all.retain(|found| found != FOREIGN);
                // The API refuses new finalizers on an object in deletion.
                if hold && extension["metadata"]["deletionTimestamp"].is_null() {
                    all.push(FOREIGN.to_owned());
                }
                extension["metadata"]["finalizers"] = json!(all);
                self.bump();
                self.end_if_free();
            }
            ExternalEvent::ShootFailed(failed) => {
                self.shoot_failed = failed;
                self.failed_throughout &= failed;
                self.cluster_changed = true;
            }
            ExternalEvent::ShootMigrating(migrating) => {
                self.shoot_migrating = migrating;
                self.cluster_changed = true;
            }
            ExternalEvent::Force => {
                self.force = true;
                self.cluster_changed = true;
            }
            ExternalEvent::Cluster(there) => {
                self.cluster_missing = !there;
                self.cluster_changed = true;
            }
        }
    }

    fn create(&mut self) {
        self.uids += 1;
        (self.done, self.deletion_requested, self.force) = (None, false, false);
        self.provider_status = None;
        self.extension = Some(json!({
            "apiVersion": "extensions.gardener.cloud/v1alpha1", "kind": "Extension",
            "metadata": {
                "name": "e", "namespace": "ns", "uid": self.uids.to_string(), "generation": 1,
                "labels": { "foreign": "label" }, "annotations": {},
            },
            "spec": { "type": TYPE },
            "status": {
                "conditions": [{ "type": "Foreign", "status": "True", "reason": "R", "message": "m",
                    "lastTransitionTime": "2026-01-01T00:00:00Z", "lastUpdateTime": "2026-01-01T00:00:00Z" }],
                "providerStatus": { "kept": true },
            },
        }));
    }

    pub(super) fn bump(&mut self) {
        self.revision += 1;
        if let Some(extension) = &mut self.extension {
            extension["metadata"]["resourceVersion"] = json!(self.revision.to_string());
        }
    }

    pub(super) fn end_if_free(&mut self) {
        let free = |extension: &Value| {
            !extension["metadata"]["deletionTimestamp"].is_null() && finalizers(extension).is_empty()
        };
        if self.extension.as_ref().is_some_and(free) {
            self.extension = None;
        }
    }
}
