//! `extensions.gardener.cloud/v1alpha1` Extension (`pkg/apis/extensions/v1alpha1/types_extension.go`).

use kube::CustomResource;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::condition::Condition;
use crate::constants::{OPERATION_ANNOTATION, class};
use crate::lenient::null_as_default;
use crate::operation::{LastError, LastOperation};

/// What is wanted from an extension for one shoot.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, CustomResource)]
#[kube(
    group = "extensions.gardener.cloud",
    version = "v1alpha1",
    kind = "Extension",
    namespaced,
    status = "ExtensionStatus",
    schema = "disabled",
    derive = "PartialEq",
    doc = "What gardenlet asks an extension controller to do for one shoot, and what came of it."
)]
#[serde(rename_all = "camelCase", default)]
pub struct ExtensionSpec {
    /// Which controller is responsible.
    #[serde(rename = "type", deserialize_with = "null_as_default")]
    pub type_: String,
    /// `shoot` (also meant by an absent field), `seed` or `garden`; an empty string is none of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// Copy of the Shoot's entry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider_config: Option<Value>,
}

/// What came of it. Lifecycle and health write different fields of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExtensionStatus {
    /// Health; an atomic list.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_default")]
    pub conditions: Vec<Condition>,
    /// The last operation's error, if it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<LastError>,
    /// The last operation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_operation: Option<LastOperation>,
    /// Generation that the last finished operation saw; Go drops a zero.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// State that travels with a control-plane migration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<Value>,
    /// Free for the extension.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider_status: Option<Value>,
}

impl Extension {
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
    pub fn conditions(&self) -> &[Condition] {
        self.status.as_ref().map_or(&[], |status| &status.conditions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        }
        let empty_class: Extension = serde_json::from_str(r#"{"metadata":{},"spec":{"class":""}}"#)?;
        assert_eq!(empty_class.class(), "", "an explicit empty string matches no class");
        Ok(())
    }
}
