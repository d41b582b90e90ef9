//! The part of `core.gardener.cloud/v1beta1` Shoot that an extension reads out of a Cluster.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::constants::{FORCE_DELETION_ANNOTATION, is_go_true};
use crate::lenient::null_as_default;
use crate::operation::{LastOperation, LastOperationState, LastOperationType};

/// A Shoot, as far as it concerns us.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Shoot {
    /// Name, annotations and the like.
    #[serde(deserialize_with = "null_as_default")]
    pub metadata: ShootMetadata,
    /// What is wanted.
    #[serde(deserialize_with = "null_as_default")]
    pub spec: ShootSpec,
    /// What is.
    #[serde(deserialize_with = "null_as_default")]
    pub status: ShootStatus,
}

/// Metadata of a Shoot. Not the full type: a field of another shape must not make the whole Shoot undecodable.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ShootMetadata {
    /// Name in the project.
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
    /// Namespace of the project in the garden.
    #[serde(deserialize_with = "null_as_default")]
    pub namespace: String,
    /// Unique id.
    #[serde(deserialize_with = "null_as_default")]
    pub uid: String,
    /// Annotations.
    #[serde(deserialize_with = "null_as_default")]
    pub annotations: BTreeMap<String, String>,
    /// Labels.
    #[serde(deserialize_with = "null_as_default")]
    pub labels: BTreeMap<String, String>,
    /// When its deletion was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deletion_timestamp: Option<Time>,
    /// Generation of its spec.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
}

/// Spec of a Shoot.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ShootSpec {
    /// Extensions that the owner enabled or disabled.
    #[serde(deserialize_with = "null_as_default")]
    pub extensions: Vec<ShootExtension>,
    /// Kubernetes version.
    #[serde(deserialize_with = "null_as_default")]
    pub kubernetes: Kubernetes,
    /// Hibernation.
    #[serde(deserialize_with = "null_as_default")]
    pub hibernation: Hibernation,
    /// Infrastructure and workers.
    #[serde(deserialize_with = "null_as_default")]
    pub provider: Provider,
    /// Region.
    #[serde(deserialize_with = "null_as_default")]
    pub region: String,
    /// Purpose, such as `production`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub purpose: Option<String>,
}

/// One entry of `spec.extensions`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ShootExtension {
    /// Type of the extension.
    #[serde(rename = "type", deserialize_with = "null_as_default")]
    pub type_: String,
    /// Its configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider_config: Option<Value>,
    /// Switched off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
}

/// `spec.kubernetes`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Kubernetes {
    /// Such as `1.33.2`.
    #[serde(deserialize_with = "null_as_default")]
    pub version: String,
}

/// `spec.hibernation`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hibernation {
    /// Asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

/// `spec.provider`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Provider {
    /// Infrastructure.
    #[serde(rename = "type", deserialize_with = "null_as_default")]
    pub type_: String,
    /// Worker pools; none = a workerless shoot.
    #[serde(deserialize_with = "null_as_default")]
    pub workers: Vec<Worker>,
}

/// A worker pool.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Worker {
    /// Name, the value of the nodes' label [`crate::constants::WORKER_POOL_LABEL`].
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
    /// Labels of its nodes.
    #[serde(deserialize_with = "null_as_default")]
    pub labels: BTreeMap<String, String>,
    /// Annotations of its nodes.
    #[serde(deserialize_with = "null_as_default")]
    pub annotations: BTreeMap<String, String>,
    /// Machines.
    #[serde(deserialize_with = "null_as_default")]
    pub machine: Machine,
    /// Fewest nodes.
    #[serde(deserialize_with = "null_as_default")]
    pub minimum: i32,
    /// Most nodes.
    #[serde(deserialize_with = "null_as_default")]
    pub maximum: i32,
    /// Container runtime.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cri: Option<WorkerCri>,
    /// Kubernetes version of the pool, where it differs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<WorkerKubernetes>,
}

/// `workers[].machine`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Machine {
    /// Machine type.
    #[serde(rename = "type", deserialize_with = "null_as_default")]
    pub type_: String,
    /// `amd64` (also meant by an absent field) or `arm64`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
}

/// `workers[].cri`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkerCri {
    /// `containerd`, or `docker` on old shoots.
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
}

/// `workers[].kubernetes`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WorkerKubernetes {
    /// Such as `1.32.5`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Kubelet settings, as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubelet: Option<Value>,
}

/// Status of a Shoot.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ShootStatus {
    /// Equals the namespace in the seed.
    #[serde(rename = "technicalID", deserialize_with = "null_as_default")]
    pub technical_id: String,
    /// Hibernation is finished.
    #[serde(rename = "hibernated", deserialize_with = "null_as_default")]
    pub hibernated: bool,
    /// What gardenlet did last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_operation: Option<LastOperation>,
    /// Name of its seed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed_name: Option<String>,
}

impl Shoot {
    /// Decodes the raw value of a Cluster; `None` for null and for an empty object.
    ///
    /// # Errors
    /// When the value is something else than a Shoot.
    pub fn from_raw(raw: &Value) -> Result<Option<Self>, serde_json::Error> {
        match raw {
            Value::Null => Ok(None),
            Value::Object(fields) if fields.is_empty() => Ok(None),
            // serde would read an array as a struct by position.
            Value::Array(_) => Err(serde::de::Error::custom("a Shoot is an object, not a list")),
            _ => Self::deserialize(raw).map(Some),
        }
    }

    /// Gardener gave up on it; extensions leave it alone until it is retried.
    #[must_use]
    pub fn is_failed(&self) -> bool {
        self.status.last_operation.as_ref().is_some_and(|operation| operation.state == LastOperationState::Failed)
    }

    /// Its owner asked for a deletion that waits for nothing.
    #[must_use]
    pub fn is_force_deleted(&self) -> bool {
        self.metadata.annotations.get(FORCE_DELETION_ANNOTATION).is_some_and(|value| is_go_true(value))
    }

    /// Its deletion was asked for.
    #[must_use]
    pub fn is_deleting(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }

    /// Hibernation is asked for (it may still be under way).
    #[must_use]
    pub fn is_hibernation_requested(&self) -> bool {
        self.spec.hibernation.enabled == Some(true)
    }

    /// Hibernation is asked for and finished.
    #[must_use]
    pub fn is_hibernated(&self) -> bool {
        self.is_hibernation_requested() && self.status.hibernated
    }

    /// gardenlet's first run on it is the last one so far.
    #[must_use]
    pub fn is_in_creation(&self) -> bool {
        self.status.last_operation.as_ref().is_none_or(|operation| operation.type_ == LastOperationType::Create)
    }

    /// The owner's entry for an extension type, if there is one.
    #[must_use]
    pub fn extension(&self, type_: &str) -> Option<&ShootExtension> {
        self.spec.extensions.iter().find(|extension| extension.type_ == type_)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shoot(raw: &Value) -> Result<Shoot, Box<dyn std::error::Error>> {
        Ok(Shoot::from_raw(raw)?.ok_or("no shoot")?)
    }

    #[test]
    fn nulls_decode_everywhere() -> Result<(), Box<dyn std::error::Error>> {
        let decoded = shoot(&json!({
            "metadata": {"name": null, "annotations": null, "labels": null, "managedFields": "odd"},
            "spec": {"extensions": null, "kubernetes": null, "hibernation": null, "region": null,
                     "provider": {"type": null, "workers": [
                        {"name": "a", "cri": null, "machine": null, "labels": null, "minimum": null, "kubernetes": null}]}},
            "status": null,
        }))?;
        assert_eq!(decoded.spec.provider.workers.len(), 1);
        assert!(!decoded.is_failed() && !decoded.is_deleting() && !decoded.is_hibernated() && decoded.is_in_creation());
        Ok(())
    }

    #[test]
    fn derived_states() -> Result<(), Box<dyn std::error::Error>> {
        let failed = shoot(&json!({"status": {"lastOperation": {"state": "Failed", "type": "Create"}}}))?;
        assert!(failed.is_failed());
        let asleep = shoot(&json!({"spec": {"hibernation": {"enabled": true}}, "status": {"hibernated": true}}))?;
        assert!(asleep.is_hibernated() && asleep.is_hibernation_requested());
        let falling_asleep =
            shoot(&json!({"spec": {"hibernation": {"enabled": true}}, "status": {"hibernated": false}}))?;
        assert!(!falling_asleep.is_hibernated() && falling_asleep.is_hibernation_requested());
        let going = shoot(&json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z",
            "annotations": {"confirmation.gardener.cloud/force-deletion": "True"}}}))?;
        assert!(going.is_deleting() && going.is_force_deleted());
        let entry = shoot(&json!({"spec": {"extensions": [{"type": "x", "providerConfig": {"a": 1}}]}}))?;
        assert!(entry.extension("x").is_some_and(|extension| extension.provider_config.is_some()));
        assert!(entry.extension("y").is_none());
        Ok(())
    }
}
