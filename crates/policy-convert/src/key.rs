//! A key that was taken out of a document, before anything is said of it.

use serde_json::Value;

use crate::limits;
use crate::path;

/// A key that was taken out of a document. It has to be given to a report.
#[must_use]
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) path: String,
    pub(crate) value: Value,
    /// How deep it lies.
    pub(crate) level: usize,
}

impl Key {
    /// The value, for a sentence.
    pub(crate) fn shown(&self) -> String {
        match &self.value {
            Value::String(text) => format!("\"{}\"", limits::cut(text, limits::VALUE_CHARACTERS).escape_debug()),
            Value::Array(items) => format!("a list of {}", items.len()),
            Value::Object(map) => format!("a map of {}", map.len()),
            other => other.to_string(),
        }
    }

    /// Its items, if it is a list.
    pub(crate) fn into_items(self) -> Result<Vec<Self>, Self> {
        let Self { path, value, level } = self;
        match value {
            // A list without a map is one key.
            Value::Array(items)
                if level < limits::DEPTH && items.iter().any(|item| item.is_object() || item.is_array()) =>
            {
                let item = |(index, value)| Self { path: path::item(&path, index), value, level: level + 1 };
                Ok(items.into_iter().enumerate().map(item).collect())
            }
            value => Err(Self { path, value, level }),
        }
    }
}
