//! What is converted.

use std::collections::BTreeMap;

use extension_config::ConfigKey;
use serde_json::Value;

use crate::limits;

/// All that configures cri-resmgr in one shoot.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Input {
    /// The daemon's documents, as read from YAML; [`ConfigKey::ExtraOptions`] is a text.
    pub documents: BTreeMap<ConfigKey, Value>,
    /// `spec` of Adjustments (`criresmgr.intel.com/v1alpha1`), by namespace and name.
    pub adjustments: BTreeMap<String, Value>,
    /// Annotations of pods, or of what makes pods, by kind, namespace and name.
    pub annotations: BTreeMap<String, BTreeMap<String, String>>,
    /// CPUs of the smallest node, if somebody knows it.
    pub node_cpus: Option<u64>,
}

/// There is more than anybody needs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: has more than {allowed} {what}, allowed: {allowed}")]
pub struct TooMuch {
    /// Where.
    pub place: String,
    /// Of what.
    pub what: &'static str,
    /// So many are taken.
    pub allowed: usize,
}

impl Input {
    /// Whether it is within the [`limits`].
    pub(crate) fn measure(&self) -> Result<(), TooMuch> {
        let too_much =
            |place: &str, what, allowed| TooMuch { place: limits::cut(place, limits::KEY_CHARACTERS), what, allowed };
        let count = self.documents.len() + self.adjustments.len() + self.annotations.len();
        if count > limits::DOCUMENTS {
            return Err(too_much("the input", "documents", limits::DOCUMENTS));
        }
        let mut values = limits::VALUES;
        let documents = self.documents.iter().map(|(key, value)| (key.to_string(), value));
        let adjustments = self.adjustments.iter().map(|(name, value)| (name.clone(), value));
        for (name, value) in documents.chain(adjustments) {
            let mut bytes = limits::DOCUMENT_BYTES;
            measure(value, limits::READ_DEPTH, &mut values, &mut bytes)
                .map_err(|(what, allowed)| too_much(&name, what, allowed))?;
        }
        for (owner, annotations) in &self.annotations {
            let bytes: usize = annotations.iter().map(|(key, value)| key.len() + value.len()).sum();
            // Kubernetes allows 256 KiB of annotations.
            if owner.len() + bytes > 4 * limits::DOCUMENT_BYTES {
                return Err(too_much(owner, "bytes", 4 * limits::DOCUMENT_BYTES));
            }
            values = values.checked_sub(annotations.len()).ok_or_else(|| too_much(owner, "values", limits::VALUES))?;
        }
        Ok(())
    }
}

/// Takes a value from what is left; an error names what there is too much of.
fn measure(value: &Value, levels: usize, values: &mut usize, bytes: &mut usize) -> Result<(), (&'static str, usize)> {
    let levels = levels.checked_sub(1).ok_or(("levels", limits::READ_DEPTH))?;
    *values = values.checked_sub(1).ok_or(("values", limits::VALUES))?;
    let mut take = |text: &str| -> Result<(), (&'static str, usize)> {
        *bytes = bytes.checked_sub(text.len()).ok_or(("bytes", limits::DOCUMENT_BYTES))?;
        Ok(())
    };
    match value {
        Value::String(text) => take(text),
        Value::Array(items) => items.iter().try_for_each(|item| measure(item, levels, values, bytes)),
        Value::Object(map) => map.iter().try_for_each(|(key, item)| {
            *bytes = bytes.checked_sub(key.len()).ok_or(("bytes", limits::DOCUMENT_BYTES))?;
            measure(item, levels, values, bytes)
        }),
        _ => Ok(()),
    }
}
