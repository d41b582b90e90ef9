//! `resources.gardener.cloud/v1alpha1` ManagedResource (`pkg/apis/resources/v1alpha1/types.go`).

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::LocalObjectReference;
use kube::CustomResource;
use serde::{Deserialize, Serialize};

use crate::condition::{self, Condition};
use crate::lenient::null_as_default;

/// Secrets with manifests that gardener-resource-manager applies and keeps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, CustomResource)]
#[kube(
    group = "resources.gardener.cloud",
    version = "v1alpha1",
    kind = "ManagedResource",
    namespaced,
    status = "ManagedResourceStatus",
    schema = "disabled",
    derive = "PartialEq",
    doc = "Manifests for gardener-resource-manager, and what it made of them."
)]
#[serde(rename_all = "camelCase", default)]
pub struct ManagedResourceSpec {
    /// Which resource manager is responsible; absent = the shoot's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// Secrets in the same namespace; each value is a stream of YAML documents.
    #[serde(deserialize_with = "null_as_default")]
    pub secret_refs: Vec<LocalObjectReference>,
    /// Labels for every object and its pod template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inject_labels: Option<BTreeMap<String, String>>,
    /// Leave the objects behind when the ManagedResource goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_objects: Option<bool>,
    /// Replace the whole label map of the objects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub force_overwrite_labels: Option<bool>,
    /// Replace the whole annotation map of the objects.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub force_overwrite_annotations: Option<bool>,
    /// Delete the volume claims of StatefulSets too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delete_persistent_volume_claims: Option<bool>,
}

/// What gardener-resource-manager reports.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ManagedResourceStatus {
    /// Applied, healthy, progressing.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_default")]
    pub conditions: Vec<Condition>,
    /// Written only after a completed apply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Inventory.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_default")]
    pub resources: Vec<ObjectReference>,
    /// Written only after a completed apply.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secrets_data_checksum: Option<String>,
}

/// One line of the inventory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectReference {
    /// Group and version.
    #[serde(deserialize_with = "null_as_default")]
    pub api_version: String,
    /// Kind.
    #[serde(deserialize_with = "null_as_default")]
    pub kind: String,
    /// Name.
    #[serde(deserialize_with = "null_as_default")]
    pub name: String,
    /// Namespace, empty for cluster-wide objects.
    #[serde(skip_serializing_if = "String::is_empty", deserialize_with = "null_as_default")]
    pub namespace: String,
}

impl ManagedResource {
    /// The condition of that type, if it was reported.
    #[must_use]
    pub fn condition(&self, type_: &str) -> Option<&Condition> {
        condition::find(&self.status.as_ref()?.conditions, type_)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nulls_decode_and_absent_fields_are_not_written() -> Result<(), serde_json::Error> {
        let decoded: ManagedResource = serde_json::from_str(
            r#"{"metadata":{"name":"m"},"spec":{"secretRefs":null,"injectLabels":null,"equivalences":[[]]},
                "status":{"conditions":null,"resources":null}}"#,
        )?;
        assert!(decoded.condition("ResourcesApplied").is_none());
        let spec = serde_json::to_value(ManagedResourceSpec::default())?;
        assert_eq!(spec, serde_json::json!({ "secretRefs": [] }));
        Ok(())
    }
}
