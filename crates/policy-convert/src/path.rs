//! Places in a document, as texts. No two places of one input have the same.

use std::fmt::Write as _;

use extension_config::ConfigKey;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::limits;

/// The path of a key below another path.
pub(crate) fn below(parent: &str, key: &str) -> String {
    let mut path = parent.to_owned();
    // The first key stands behind the name of its document.
    if !parent.ends_with('/') {
        path.push('.');
    }
    push(&mut path, key);
    path
}

/// The path of a list's item.
pub(crate) fn item(parent: &str, index: usize) -> String {
    format!("{parent}[{index}]")
}

/// The name of a slot's document, before the paths of its keys.
pub(crate) fn slot(slot: &ConfigKey) -> String {
    // Letters, digits, '-', '_' and '.' by the rules of such names.
    format!("{slot}/")
}

/// The name of another object, before the paths of its keys.
pub(crate) fn object(kind: &str, name: &str) -> String {
    let mut path = format!("{kind}:");
    push(&mut path, name);
    path.push('/');
    path
}

/// Adds one key. What could be taken for more than one key, or is no plain text, stands in quotes; of a long one its beginning and a hash.
fn push(path: &mut String, key: &str) {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if !key.is_empty() && key.len() <= limits::KEY_CHARACTERS && key.bytes().all(is_plain) {
        path.push_str(key);
        return;
    }
    let shown = limits::cut(key, limits::KEY_CHARACTERS);
    // Writing to a text cannot fail.
    let _ = write!(path, "\"{}\"", shown.escape_debug());
    if shown.len() != key.len() {
        let hash = hex::encode(Sha256::digest(key.as_bytes()));
        let _ = write!(path, "#{}", hash.get(..16).unwrap_or_default());
    }
}

/// Whether a value is a map or list whose parts have paths of their own.
fn has_parts(value: &Value, level: usize) -> bool {
    level < limits::DEPTH
        && match value {
            Value::Object(map) => !map.is_empty(),
            Value::Array(items) => items.iter().any(|item| item.is_object() || item.is_array()),
            _ => false,
        }
}

/// Calls `each` with the path of each leaf key of a value: of what is no map, of an empty map, and of a list of plain values.
pub(crate) fn leaves(value: &Value, path: &str, level: usize, each: &mut impl FnMut(String)) {
    match value {
        Value::Object(map) if has_parts(value, level) => {
            for (key, value) in map {
                leaves(value, &below(path, key), level + 1, each);
            }
        }
        Value::Array(items) if has_parts(value, level) => {
            for (index, value) in items.iter().enumerate() {
                leaves(value, &item(path, index), level + 1, each);
            }
        }
        _ => each(path.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn all(value: &Value) -> Vec<String> {
        let mut found = Vec::new();
        leaves(value, &slot(&ConfigKey::Default), 0, &mut |path| found.push(path));
        found
    }

    #[test]
    fn leaves_are_values_empty_maps_and_lists_of_plain_values() {
        let value = json!({"policy": {"Active": "none", "balloons": {}, "a": {"b.c": 1}}, "x": [1, 2], "y": [{"z": null}, 3], "": 0});
        assert_eq!(
            all(&value),
            [
                "default/\"\"",
                "default/policy.Active",
                "default/policy.a.\"b.c\"",
                "default/policy.balloons",
                "default/x",
                "default/y[0].z",
                "default/y[1]"
            ]
        );
        assert_eq!(all(&json!(null)), ["default/"]);
    }

    #[test]
    fn long_keys_that_begin_alike_have_paths_of_their_own() {
        let (one, other) = ("k".repeat(5000) + "a", "k".repeat(5000) + "b");
        assert_ne!(below("d/", &one), below("d/", &other));
        assert!(below("d/", &one).len() < 100);
    }
}
