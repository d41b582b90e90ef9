//! The writes on one Extension, each the smallest merge patch that does it.

use std::fmt;

use gardener_api::Extension;
use gardener_api::constants::{OPERATION_ANNOTATION, TIMESTAMP_ANNOTATION};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};
use serde_json::{Value, json};

use crate::Error;
use crate::call::call;
use crate::key::Key;

/// How often a write is tried again when somebody else wrote in between, before the back-off takes over.
const CONFLICT_RETRIES: usize = 5;

/// See the module.
pub(super) struct ExtensionClient {
    api: Api<Extension>,
    pub(super) key: Key,
    parameters: PatchParams,
}

/// The same operation asked for again is another request: gardenlet stamps each.
fn request(extension: &Extension) -> (Option<&str>, Option<&String>) {
    (extension.operation_annotation(), extension.annotations().get(TIMESTAMP_ANNOTATION))
}

impl fmt::Display for ExtensionClient {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.key.fmt(formatter)
    }
}

impl ExtensionClient {
    /// Writes in the name of `field_manager`.
    pub(super) fn new(client: &Client, field_manager: &str, key: Key) -> Self {
        let parameters = PatchParams { field_manager: Some(field_manager.to_owned()), ..PatchParams::default() };
        Self { api: Api::namespaced(client.clone(), &key.namespace), key, parameters }
    }

    pub(super) async fn get(&self) -> Result<Option<Extension>, Error> {
        call("get", self.object(), self.api.get_opt(&self.key.name)).await
    }

    /// Takes the operation annotation away; fails with a conflict when somebody else wrote in between, so that no newer
    /// request is lost.
    pub(super) async fn remove_annotation(&self, extension: &Extension) -> Result<Extension, Error> {
        self.patch_locked(extension, json!({ "annotations": { OPERATION_ANNOTATION: null } })).await
    }

    /// Takes the operation annotation away if it still is the request that was served. `None` when there is nothing to take.
    pub(super) async fn finish_request(&self, served: &Extension) -> Result<Option<Extension>, Error> {
        let mut tries = 0;
        loop {
            let Some(now) = self.get().await? else { return Ok(None) };
            if now.operation_annotation().is_none() || request(&now) != request(served) {
                return Ok(None);
            }
            match self.remove_annotation(&now).await {
                Err(error) if error.is_conflict() && tries < CONFLICT_RETRIES => tries += 1,
                outcome => return outcome.map(Some),
            }
        }
    }

    /// Takes our finalizer away. An object that is gone is fine.
    pub(super) async fn remove_finalizer(&self, finalizer: &str) -> Result<(), Error> {
        let mut tries = 0;
        loop {
            let Some(now) = self.get().await? else { return Ok(()) };
            let before = now.metadata.finalizers.clone().unwrap_or_default();
            let after: Vec<&String> = before.iter().filter(|found| *found != finalizer).collect();
            if after.len() == before.len() {
                return Ok(());
            }
            match self.patch_locked(&now, json!({ "finalizers": after })).await {
                Err(error) if error.is_conflict() && tries < CONFLICT_RETRIES => tries += 1,
                Err(error) if !error.is_not_found() => return Err(error),
                _ => return Ok(()),
            }
        }
    }

    /// Takes all finalizers (others' too) and the operation annotation away in one write, so that no crash can come between
    /// them. An object that is gone is fine.
    pub(super) async fn release(&self) -> Result<(), Error> {
        let metadata = json!({ "finalizers": null, "annotations": { OPERATION_ANNOTATION: null } });
        match self.patch(json!({ "metadata": metadata })).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    /// Patches the status; only the fields in the patch.
    pub(super) async fn patch_status(&self, patch: &Value) -> Result<Extension, Error> {
        call("patch status of", self.object(), async {
            self.api.patch_status(&self.key.name, &self.parameters, &Patch::Merge(patch)).await
        })
        .await
    }

    /// Patches the metadata; fails with a conflict when somebody else wrote in between.
    pub(super) async fn patch_locked(&self, seen: &Extension, mut metadata: Value) -> Result<Extension, Error> {
        let version = seen.metadata.resource_version.as_deref();
        let version = version.ok_or_else(|| Error::Incomplete { object: self.object(), field: "resourceVersion" })?;
        metadata["resourceVersion"] = json!(version);
        self.patch(json!({ "metadata": metadata })).await
    }

    async fn patch(&self, patch: Value) -> Result<Extension, Error> {
        call("patch", self.object(), async {
            self.api.patch(&self.key.name, &self.parameters, &Patch::Merge(&patch)).await
        })
        .await
    }

    fn object(&self) -> String {
        format!("Extension {}", self.key)
    }
}
