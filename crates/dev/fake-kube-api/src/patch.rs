//! Patches: RFC 7396 (merge), RFC 6902 (JSON), and strategic merge patches without directives.

use serde::Deserialize as _;
use serde_json::Value;

use super::Failure;
use super::object::as_object;

pub(super) use json_patch::merge;

/// Lists whose items a strategic merge patch distinguishes by a member (`patchMergeKey`); every other list is replaced.
const MERGED: [(&str, &str); 9] = [
    ("conditions", "type"),
    ("containers", "name"),
    ("initContainers", "name"),
    ("env", "name"),
    ("volumes", "name"),
    ("imagePullSecrets", "name"),
    ("volumeMounts", "mountPath"),
    ("ownerReferences", "uid"),
    ("addresses", "type"),
];

/// A strategic merge patch.
pub(super) fn strategic(target: &mut Value, patch: &Value) -> Result<(), Failure> {
    let Value::Object(patch) = patch else {
        target.clone_from(patch);
        return Ok(());
    };
    let members = as_object(target);
    for (name, value) in patch {
        if name.starts_with('$') {
            return Err(Failure::bad_request(&format!("the directive {name} is not known here")));
        }
        let key = MERGED.iter().find(|(list, _)| list == name).map(|(_, key)| *key);
        match (value, key) {
            (Value::Null, _) => drop(members.remove(name)),
            (Value::Array(items), Some(key)) => {
                merge_items(members.entry(name.clone()).or_insert_with(|| Value::Array(Vec::new())), items, key)?;
            }
            _ => strategic(members.entry(name.clone()).or_insert(Value::Null), value)?,
        }
    }
    Ok(())
}

fn merge_items(target: &mut Value, items: &[Value], key: &str) -> Result<(), Failure> {
    if !target.is_array() {
        *target = Value::Array(Vec::new());
    }
    for item in items {
        if item[key].is_null() {
            return Err(Failure::bad_request(&format!("map: {item} does not contain declared merge key: {key}")));
        }
        let Some(known) = target.as_array_mut() else { continue };
        match known.iter_mut().find(|known| known[key] == item[key]) {
            Some(known) => strategic(known, item)?,
            None => known.push(item.clone()),
        }
    }
    Ok(())
}

/// A JSON patch, all of it or nothing.
pub(super) fn json(target: &mut Value, operations: &Value) -> Result<(), Failure> {
    let patch = json_patch::Patch::deserialize(operations)
        .map_err(|error| Failure::bad_request(&format!("the body is no JSON patch: {error}")))?;
    json_patch::patch(target, &patch).map_err(|error| Failure::unprocessable(&error.to_string()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn merge_patches_follow_the_examples_of_rfc_7386() {
        for (target, patch, result) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": [1]}), json!({"a": [2, 3]}), json!({"a": [2, 3]})),
            (json!({"a": "x"}), json!({"a": {"b": {"c": null}}}), json!({"a": {"b": {}}})),
            (json!({}), json!({"a": {"b": 1}}), json!({"a": {"b": 1}})),
        ] {
            let mut merged = target.clone();
            merge(&mut merged, &patch);
            assert_eq!(merged, result, "{target} + {patch}");
        }
    }

    #[test]
    fn strategic_patches_merge_lists_by_their_keys() {
        let mut target =
            json!({"status": {"conditions": [{"type": "A", "status": "True", "reason": "x"}], "other": [1, 2]}});
        let patch = json!({"status": {
            "conditions": [{"type": "B", "status": "True"}, {"type": "A", "status": "False", "reason": null}], "other": [3],
        }});
        strategic(&mut target, &patch).unwrap();
        let wanted =
            json!({"conditions": [{"type": "A", "status": "False"}, {"type": "B", "status": "True"}], "other": [3]});
        assert_eq!(target["status"], wanted);
        for bad in [json!({"conditions": [{"status": "True"}]}), json!({"$patch": "replace"})] {
            assert_eq!(strategic(&mut target, &bad).unwrap_err().code, 400, "{bad}");
        }
    }

    #[test]
    fn json_patches_add_replace_and_remove() {
        let mut target = json!({"a": {"b/c": [1, 2]}});
        let patch = json!([
            {"op": "test", "path": "/a/b~1c/0", "value": 1},
            {"op": "add", "path": "/a/b~1c/-", "value": 3},
            {"op": "remove", "path": "/a/b~1c/0"},
            {"op": "move", "from": "/a/b~1c/0", "path": "/x"},
            {"op": "replace", "path": "/x", "value": 9},
        ]);
        json(&mut target, &patch).unwrap();
        assert_eq!(target, json!({"a": {"b/c": [3]}, "x": 9}));
        for (bad, code) in [
            (json!([{"op": "remove", "path": "/y"}]), 422),
            (json!([{"op": "test", "path": "/x", "value": 1}]), 422),
            (json!({}), 400),
        ] {
            assert_eq!(json(&mut target, &bad).unwrap_err().code, code, "{bad}");
        }
    }
}
