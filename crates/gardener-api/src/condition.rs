//! Gardener's Condition (`pkg/apis/core/v1beta1/types_common.go`).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::lenient::null_as_default;
use crate::read::{Part, Reader};

/// One condition in a status. The lists are atomic under server-side apply: whoever writes one writes them all.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Condition {
    /// What it is about; see [`crate::constants::condition_type`].
    #[serde(rename = "type", deserialize_with = "null_as_default")]
    pub type_: String,
    /// Whether it holds.
    #[serde(deserialize_with = "null_as_default")]
    pub status: ConditionStatus,
    /// When `status` last changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<Time>,
    /// When anything in it last changed (gardenlet up to v1.57 judges staleness by it).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_update_time: Option<Time>,
    /// A fixed word for programs.
    #[serde(deserialize_with = "null_as_default")]
    pub reason: String,
    /// A sentence for people.
    #[serde(deserialize_with = "null_as_default")]
    pub message: String,
    /// Error codes; see [`crate::constants::error_code`].
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_default")]
    pub codes: Vec<String>,
}

/// Status of a [`Condition`]. Gardener adds `Progressing` to Kubernetes' three; a word we do not know is kept as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ConditionStatus {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// Nobody knows.
    #[default]
    Unknown,
    /// It does not hold yet, within the time allowed.
    Progressing,
    /// A word of another version.
    #[serde(untagged)]
    Other(String),
}

/// As a whole: who writes the list has to write back what is read. Without a type it is none.
impl Part for Condition {
    fn read(reader: &mut Reader, raw: &RawValue) -> Option<Self> {
        reader.value(raw, |condition: &Self| !condition.type_.is_empty())
    }
}

/// The condition of that type, if the list has one.
#[must_use]
pub fn find<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_condition_survives_the_round_trip() -> Result<(), serde_json::Error> {
        let text = serde_json::json!({
            "type": "Foreign", "status": "Sideways", "reason": "r", "message": "m", "codes": ["X"],
            "lastTransitionTime": "2026-01-02T03:04:05Z", "lastUpdateTime": "2026-01-02T03:04:06Z",
        });
        let condition: Condition = serde_json::from_value(text.clone())?;
        assert_eq!(condition.status, ConditionStatus::Other("Sideways".to_owned()));
        assert_eq!(serde_json::to_value(&condition)?, text);
        Ok(())
    }

    #[test]
    fn nulls_and_nothing_decode() -> Result<(), serde_json::Error> {
        let empty: Condition = serde_json::from_str("{}")?;
        let nulls: Condition = serde_json::from_str(
            r#"{"type":null,"status":null,"reason":null,"message":null,"codes":null,"lastTransitionTime":null,"lastUpdateTime":null}"#,
        )?;
        assert_eq!(empty, nulls);
        assert_eq!(empty.status, ConditionStatus::Unknown);
        Ok(())
    }
}
