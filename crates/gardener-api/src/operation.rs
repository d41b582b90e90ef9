//! Gardener's LastOperation and LastError (`pkg/apis/core/v1beta1/types_common.go`).

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::read::{Part, Reader};

/// What an operator did last.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LastOperation {
    /// A sentence for people; nothing in Gardener parses it.
    pub description: String,
    /// When this was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_update_time: Option<Time>,
    /// Percent, 0 to 100.
    pub progress: i32,
    /// How far it came.
    pub state: LastOperationState,
    /// What was done.
    #[serde(rename = "type")]
    pub type_: LastOperationType,
}

/// State of a [`LastOperation`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LastOperationState {
    /// Under way.
    Processing,
    /// Done.
    Succeeded,
    /// Failed for now; it is tried again.
    Error,
    /// Failed for good (Shoots only).
    Failed,
    /// Not begun.
    Pending,
    /// Given up.
    Aborted,
    /// A word of another version. Never written by us.
    #[default]
    #[serde(other)]
    Unknown,
}

/// Type of a [`LastOperation`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum LastOperationType {
    /// The first reconciliation.
    Create,
    /// Any later one.
    Reconcile,
    /// Removal.
    Delete,
    /// Letting go before a control-plane migration.
    Migrate,
    /// Taking over after one.
    Restore,
    /// A word of another version. Never written by us.
    #[default]
    #[serde(other)]
    Unknown,
}

/// The error of the last operation; absent when it succeeded.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LastError {
    /// A sentence for people.
    pub description: String,
    /// Of the task that failed (Shoots only).
    #[serde(rename = "taskID", skip_serializing_if = "Option::is_none")]
    pub task_id: Option<String>,
    /// Error codes; see [`crate::constants::error_code`].
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub codes: Vec<String>,
    /// When this was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_update_time: Option<Time>,
}

impl Part for LastOperation {
    fn read(reader: &mut Reader, raw: &RawValue) -> Option<Self> {
        let [description, time, progress, state, type_] =
            reader.members(raw, ["description", "lastUpdateTime", "progress", "state", "type"])?;
        Some(Self {
            description: reader.leaf(description).unwrap_or_default(),
            last_update_time: reader.leaf(time),
            progress: reader.leaf(progress).unwrap_or_default(),
            state: reader.leaf(state).unwrap_or_default(),
            type_: reader.leaf(type_).unwrap_or_default(),
        })
    }
}

impl Part for LastError {
    fn read(reader: &mut Reader, raw: &RawValue) -> Option<Self> {
        let [description, task_id, codes, time] =
            reader.members(raw, ["description", "taskID", "codes", "lastUpdateTime"])?;
        Some(Self {
            description: reader.leaf(description).unwrap_or_default(),
            task_id: reader.leaf(task_id),
            codes: reader.leaf(codes).unwrap_or_default(),
            last_update_time: reader.leaf(time),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_other_versions_and_nulls_decode() -> Result<(), serde_json::Error> {
        let raw: Box<RawValue> = serde_json::from_str(
            r#"{"type":"LiveMigrate","state":"Dreaming","progress":null,"description":null,"lastUpdateTime":null,"new":1}"#,
        )?;
        let (operation, faults) = Reader::whole::<LastOperation>(&raw).expect("an object");
        assert!(operation == LastOperation::default() && faults.is_empty());
        let raw: Box<RawValue> = serde_json::from_str(r#"{"description":"d","codes":null}"#)?;
        let (error, _) = Reader::whole::<LastError>(&raw).expect("an object");
        assert!(error.description == "d" && error.codes.is_empty());
        Ok(())
    }

    #[test]
    fn times_are_written_in_whole_seconds() -> Result<(), Box<dyn std::error::Error>> {
        let operation = LastOperation {
            last_update_time: Some(Time("2026-01-02T03:04:05.999999Z".parse()?)),
            ..LastOperation::default()
        };
        assert_eq!(serde_json::to_value(operation)?["lastUpdateTime"], "2026-01-02T03:04:05Z");
        Ok(())
    }
}
