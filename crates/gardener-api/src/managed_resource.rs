//! `resources.gardener.cloud/v1alpha1` ManagedResource (`pkg/apis/resources/v1alpha1/types.go`).

use std::collections::BTreeMap;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::LocalObjectReference;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource as _;
use serde::Serialize;
use serde::ser::SerializeStruct as _;
use serde_json::value::RawValue;

use crate::condition::{self, Condition};
use crate::read::{Faults, Part, Reader, object};

/// Manifests for gardener-resource-manager, and what it made of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ManagedResource {
    /// Name, labels and the like.
    pub metadata: ObjectMeta,
    /// What is to be applied.
    pub spec: ManagedResourceSpec,
    /// What came of it; never written.
    pub status: Option<ManagedResourceStatus>,
    /// What of it could not be read, and counts as absent.
    pub faults: Faults,
}

object!(ManagedResource, "resources.gardener.cloud", "managedresources", NamespaceResourceScope);

/// Secrets with manifests that gardener-resource-manager applies and keeps.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ManagedResourceSpec {
    /// Which resource manager is responsible; absent = the shoot's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// Secrets in the same namespace; each value is a stream of YAML documents.
    pub secret_refs: Vec<LocalObjectReference>,
    /// Labels for every object and its pod template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inject_labels: Option<BTreeMap<String, String>>,
    /// Leave the objects behind when the ManagedResource goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep_objects: Option<bool>,
}

/// What gardener-resource-manager reports.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ManagedResourceStatus {
    /// Applied, healthy, progressing.
    pub conditions: Vec<Condition>,
    /// Written only after a completed apply.
    pub observed_generation: Option<i64>,
}

/// As it is applied: without a status.
impl Serialize for ManagedResource {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut object = serializer.serialize_struct("ManagedResource", 4)?;
        object.serialize_field("apiVersion", &Self::api_version(&()))?;
        object.serialize_field("kind", &Self::kind(&()))?;
        object.serialize_field("metadata", &self.metadata)?;
        object.serialize_field("spec", &self.spec)?;
        object.end()
    }
}

impl Part for ManagedResource {
    fn read(reader: &mut Reader, raw: &RawValue) -> Option<Self> {
        let [metadata, spec, status] = reader.members(raw, ["metadata", "spec", "status"])?;
        Some(Self {
            metadata: reader.part(metadata).unwrap_or_default(),
            spec: reader.part(spec).unwrap_or_default(),
            status: reader.part(status),
            faults: Faults::default(),
        })
    }
}

impl Part for ManagedResourceSpec {
    fn read(reader: &mut Reader, raw: &RawValue) -> Option<Self> {
        let [class, secret_refs, inject_labels, keep_objects] =
            reader.members(raw, ["class", "secretRefs", "injectLabels", "keepObjects"])?;
        Some(Self {
            class: reader.leaf(class),
            secret_refs: reader.leaf(secret_refs).unwrap_or_default(),
            inject_labels: reader.leaf(inject_labels),
            keep_objects: reader.leaf(keep_objects),
        })
    }
}

impl Part for ManagedResourceStatus {
    fn read(reader: &mut Reader, raw: &RawValue) -> Option<Self> {
        let [conditions, observed_generation] = reader.members(raw, ["conditions", "observedGeneration"])?;
        Some(Self {
            conditions: reader.list(conditions, Condition::read),
            observed_generation: reader.leaf(observed_generation),
        })
    }
}

impl ManagedResource {
    /// One that is not there yet.
    #[must_use]
    pub fn new(name: &str, spec: ManagedResourceSpec) -> Self {
        Self { metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() }, spec, ..Self::default() }
    }

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
        assert!(decoded.condition("ResourcesApplied").is_none() && decoded.faults.is_empty());
        let spec = serde_json::to_value(ManagedResourceSpec::default())?;
        assert_eq!(spec, serde_json::json!({ "secretRefs": [] }));
        Ok(())
    }

    #[test]
    fn no_depth_and_no_other_shape_makes_it_undecodable() -> Result<(), serde_json::Error> {
        for levels in [130, 10_000] {
            let lists = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
            let maps = format!("{}1{}", r#"{"f:a":"#.repeat(levels), "}".repeat(levels));
            for deep in [&lists, &maps] {
                let text = format!(
                    r#"{{"metadata":{{"name":"m","generation":2,"managedFields":{deep}}},"spec":{{"keepObjects":true,"injectLabels":{deep}}},
                        "status":{{"observedGeneration":2,"resources":{deep},"conditions":[{{"type":"A","status":"True"}},{deep}]}}}}"#
                );
                let found: ManagedResource = serde_json::from_str(&text)?;
                assert_eq!((found.metadata.generation, found.spec.keep_objects), (Some(2), Some(true)));
                assert!(found.condition("A").is_some());
                assert_eq!(found.faults.paths(), ["spec.injectLabels", "status.conditions[]"]);
            }
        }
        Ok(())
    }
}
