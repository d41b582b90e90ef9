//! `extensions.gardener.cloud/v1alpha1` Extension (`pkg/apis/extensions/v1alpha1/types_extension.go`).

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::condition::Condition;
use crate::constants::{OPERATION_ANNOTATION, class};
use crate::operation::{LastError, LastOperation};
use crate::raw::RawJson;
use crate::read::{Faults, Part, Reader, object};

/// What gardenlet asks an extension controller to do for one shoot, and what came of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Extension {
    /// Name, finalizers, annotations and the like; never `managedFields`, which repeat the nesting of the whole object.
    pub metadata: ObjectMeta,
    /// What is wanted.
    pub spec: ExtensionSpec,
    /// What came of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<ExtensionStatus>,
    /// What of it could not be read, and counts as absent.
    #[serde(skip)]
    pub faults: Faults,
}

object!(Extension, "extensions.gardener.cloud", "extensions", NamespaceResourceScope);

/// What is wanted from an extension for one shoot.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExtensionSpec {
    /// Which controller is responsible.
    #[serde(rename = "type")]
    pub type_: String,
    /// `shoot` (also meant by an absent field), `seed` or `garden`; an empty string is none of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// Copy of the Shoot's entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider_config: Option<RawJson>,
}

/// What came of it. Lifecycle and health write different fields of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExtensionStatus {
    /// Health; an atomic list.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<AnyCondition>,
    /// The last operation's error, if it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<LastError>,
    /// The last operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_operation: Option<LastOperation>,
    /// Generation that the last finished operation saw; Go drops a zero.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Free for the extension.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider_status: Option<RawJson>,
}

/// A condition. Who writes one writes the whole list, so that others' have to be kept whatever they are.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum AnyCondition {
    /// As we know them.
    Known(Condition),
    /// Of another version.
    Other(Value),
}

impl Part for Extension {
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

impl Part for ExtensionSpec {
    fn read(reader: &mut Reader, raw: &RawValue) -> Option<Self> {
        let [type_, class, provider_config] = reader.members(raw, ["type", "class", "providerConfig"])?;
        Some(Self {
            type_: reader.leaf(type_).unwrap_or_default(),
            class: reader.leaf(class),
            provider_config: provider_config.raw(),
        })
    }
}

impl Part for ExtensionStatus {
    fn read(reader: &mut Reader, raw: &RawValue) -> Option<Self> {
        let [conditions, last_error, last_operation, observed_generation, provider_status] = reader
            .members(raw, ["conditions", "lastError", "lastOperation", "observedGeneration", "providerStatus"])?;
        Some(Self {
            conditions: reader.list(conditions, |reader, item| {
                let known = Condition::read(reader, item).map(AnyCondition::Known);
                known.or_else(|| serde_json::from_str(item.get()).ok().map(AnyCondition::Other))
            }),
            last_error: reader.part(last_error),
            last_operation: reader.part(last_operation),
            observed_generation: reader.leaf(observed_generation),
            provider_status: provider_status.raw(),
        })
    }
}

impl Extension {
    /// One that is not there yet.
    #[must_use]
    pub fn new(name: &str, spec: ExtensionSpec) -> Self {
        Self { metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() }, spec, ..Self::default() }
    }

    /// The class that counts: an absent field means `shoot`.
    #[must_use]
    pub fn class(&self) -> &str {
        self.spec.class.as_deref().unwrap_or(class::SHOOT)
    }

    /// Value of the operation annotation.
    #[must_use]
    pub fn operation_annotation(&self) -> Option<&str> {
        self.metadata.annotations.as_ref()?.get(OPERATION_ANNOTATION).map(String::as_str)
    }

    /// The last operation, if there was one.
    #[must_use]
    pub fn last_operation(&self) -> Option<&LastOperation> {
        self.status.as_ref()?.last_operation.as_ref()
    }

    /// The last error, if there is one.
    #[must_use]
    pub fn last_error(&self) -> Option<&LastError> {
        self.status.as_ref()?.last_error.as_ref()
    }

    /// The conditions, other writers' included.
    #[must_use]
    pub fn conditions(&self) -> &[AnyCondition] {
        self.status.as_ref().map_or(&[], |status| &status.conditions)
    }

    /// The condition of that type, if there is one that can be read.
    #[must_use]
    pub fn condition(&self, type_: &str) -> Option<&Condition> {
        self.conditions().iter().find_map(|condition| condition.known(type_))
    }
}

impl AnyCondition {
    /// The condition, if it is one of that type.
    #[must_use]
    pub fn known(&self, type_: &str) -> Option<&Condition> {
        match self {
            Self::Known(condition) if condition.type_ == type_ => Some(condition),
            _ => None,
        }
    }

    /// Whether it is of that type, whatever else of it can be read.
    #[must_use]
    pub fn is_of(&self, type_: &str) -> bool {
        match self {
            Self::Known(condition) => condition.type_ == type_,
            Self::Other(value) => value["type"] == type_,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{LastOperationState, LastOperationType};

    #[test]
    fn minimal_and_null_objects_decode() -> Result<(), serde_json::Error> {
        for text in [
            r#"{"apiVersion":"extensions.gardener.cloud/v1alpha1","kind":"Extension","metadata":{"name":"e"},"spec":{}}"#,
            r#"{"metadata":{"name":"e"},"spec":{"type":null,"class":null,"providerConfig":null},"status":null}"#,
            r#"{"metadata":{"name":"e"},"spec":{"type":"","new":[]},"status":{"conditions":null,"lastError":null,"lastOperation":null,"observedGeneration":null}}"#,
        ] {
            let extension: Extension = serde_json::from_str(text)?;
            assert_eq!(extension.class(), "shoot");
            assert!(extension.last_operation().is_none() && extension.conditions().is_empty());
            assert!(extension.spec.provider_config.is_none() && extension.faults.is_empty());
        }
        let empty_class: Extension = serde_json::from_str(r#"{"metadata":{},"spec":{"class":""}}"#)?;
        assert_eq!(empty_class.class(), "", "an explicit empty string matches no class");
        for text in ["[]", "7", r#""text""#, "null"] {
            assert!(serde_json::from_str::<Extension>(text).is_err(), "{text}");
        }
        Ok(())
    }

    /// Nested lists and maps at every place where somebody may write them, and where the API server repeats them.
    #[test]
    fn no_depth_anywhere_makes_an_extension_undecodable() -> Result<(), serde_json::Error> {
        for levels in [130, 200, 10_000] {
            let lists = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
            let maps = format!("{}1{}", r#"{"f:a":"#.repeat(levels), "}".repeat(levels));
            for deep in [&lists, &maps] {
                let text = format!(
                    r#"{{"metadata":{{"managedFields":[{{"fieldsV1":{deep}}}],"name":"e","generation":3,"new":{deep}}},
                        "spec":{{"type":"t","providerConfig":{deep},"new":{deep}}},
                        "status":{{"lastOperation":{{"state":"Error","type":"Create","description":"d","new":{deep}}},
                            "state":{deep},"providerStatus":{deep},"new":{deep}}},
                        "new":{deep}}}"#
                );
                let extension: Extension = serde_json::from_str(&text)?;
                assert_eq!(extension.metadata.generation, Some(3));
                assert_eq!(extension.spec.type_, "t");
                assert!(extension.spec.provider_config.as_ref().is_some_and(|raw| raw.get() == deep));
                assert!(extension.last_operation().is_some_and(|last| last.state == LastOperationState::Error));
                assert!(extension.faults.is_empty(), "{}", extension.faults);
                // Deep where something else belongs.
                let text = format!(
                    r#"{{"metadata":{{"name":"e"}},"spec":{{"class":{deep}}},"status":{{"lastOperation":{{"type":{deep}}}}}}}"#
                );
                let extension: Extension = serde_json::from_str(&text)?;
                assert_eq!(extension.faults.paths(), ["spec.class", "status.lastOperation.type"]);
            }
        }
        Ok(())
    }

    #[test]
    fn a_status_of_another_shape_is_read_field_by_field() -> Result<(), serde_json::Error> {
        let foreign = serde_json::json!({ "type": "Foreign", "status": { "is": "an object now" } });
        let text = serde_json::json!({
            "metadata": { "name": "e" },
            "spec": { "type": "t" },
            "status": {
                "lastOperation": { "type": "Migrate", "state": "Succeeded", "progress": "all", "lastUpdateTime": "9999-12-31T23:59:59-23:00" },
                "lastError": ["retyped"],
                "observedGeneration": "3",
                "conditions": [foreign, { "type": "Ours", "status": "True" }, { "new": "without a type" }],
            },
        });
        let extension: Extension = serde_json::from_value(text)?;
        let last = extension.last_operation().expect("the rest of it");
        assert_eq!((last.type_, last.state), (LastOperationType::Migrate, LastOperationState::Succeeded));
        assert!(last.last_update_time.is_none() && extension.last_error().is_none());
        assert!(extension.condition("Ours").is_some());
        let (first, last) = (&extension.conditions()[0], &extension.conditions()[2]);
        assert_eq!(serde_json::to_value(first)?, foreign, "it can be written back as it is");
        assert_eq!(serde_json::to_value(last)?, serde_json::json!({ "new": "without a type" }));
        assert_eq!(
            extension.faults.paths(),
            [
                "status.conditions[]",
                "status.lastError",
                "status.lastOperation.lastUpdateTime",
                "status.lastOperation.progress",
                "status.observedGeneration"
            ]
        );
        let absent: Extension = serde_json::from_str(r#"{"metadata":{},"status":{"lastOperation":"none"}}"#)?;
        assert!(absent.last_operation().is_none());
        Ok(())
    }
}
