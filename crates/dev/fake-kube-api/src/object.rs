//! Looking into objects.

use serde_json::{Map, Value};

/// A text at a JSON pointer; empty where there is none.
#[must_use]
pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The members of `metadata`, made where they are missing.
pub(super) fn metadata(object: &mut Value) -> &mut Map<String, Value> {
    member(object, "metadata")
}

/// A member that is an object, made where it is missing or something else.
pub(super) fn member<'a>(object: &'a mut Value, name: &str) -> &'a mut Map<String, Value> {
    let slot = as_object(object).entry(name).or_insert_with(|| Value::Object(Map::new()));
    as_object(slot)
}

/// The value as an object, made one where it is something else.
pub(super) fn as_object(value: &mut Value) -> &mut Map<String, Value> {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(members) => members,
        // Made an object just above.
        _ => unreachable!(),
    }
}

/// Copies members from one `metadata` to another, or takes them away where there are none.
pub(super) fn keep(from: &Value, to: &mut Value, members: &[&str]) {
    for name in members {
        let kept = from.pointer(&format!("/metadata/{name}")).cloned();
        match kept {
            Some(value) => drop(metadata(to).insert((*name).to_owned(), value)),
            None => drop(metadata(to).remove(*name)),
        }
    }
}

/// Nulls mean "not there" everywhere but in patches.
pub(super) fn without_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(without_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(without_nulls),
        _ => {}
    }
}

/// The finalizers.
pub(super) fn finalizers(object: &Value) -> Vec<&str> {
    let all = object.pointer("/metadata/finalizers").and_then(Value::as_array);
    all.into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Whether its deletion was asked for.
pub(super) fn is_deleting(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some()
}

/// The same object but for who owns which field.
pub(super) fn is_same(one: &Value, other: &Value) -> bool {
    let bare = |object: &Value| {
        let mut object = object.clone();
        for name in ["managedFields", "resourceVersion"] {
            metadata(&mut object).remove(name);
        }
        object
    };
    bare(one) == bare(other)
}

/// `PartialObjectMetadata` of an object.
pub(super) fn only_metadata(object: &Value) -> Value {
    serde_json::json!({
        "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": object["metadata"],
    })
}
