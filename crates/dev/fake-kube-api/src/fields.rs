//! Which fields an object has, and who owns them: `metadata.managedFields`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

/// A field, in the words of `FieldsV1`: `f:NAME` a member, `k:{…}` an item of a keyed list, `v:…` an item of a set, `.` the item itself.
pub(super) type FieldPath = Vec<String>;

/// Fields.
pub(super) type FieldSet = BTreeSet<FieldPath>;

/// Lists whose items are distinguished by these members. Every other list is one value.
const KEYED: [(&str, &[&str]); 9] = [
    ("containers", &["name"]),
    ("initContainers", &["name"]),
    ("env", &["name"]),
    ("volumes", &["name"]),
    ("imagePullSecrets", &["name"]),
    ("volumeMounts", &["mountPath"]),
    ("ports", &["containerPort", "protocol"]),
    ("ownerReferences", &["uid"]),
    ("addresses", &["type"]),
];

/// Lists of texts in which each is an item of its own.
const SETS: [&str; 1] = ["finalizers"];

/// Members of `metadata` that belong to the server.
const SERVER: [&str; 11] = [
    "name",
    "namespace",
    "generateName",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "selfLink",
];

/// How a list is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ListKind {
    Keyed(&'static [&'static str]),
    Set,
    Atomic,
}

pub(super) fn list_kind(name: &str, items: &[Value]) -> ListKind {
    if SETS.contains(&name) && items.iter().all(Value::is_string) {
        return ListKind::Set;
    }
    match KEYED.iter().find(|(known, _)| *known == name) {
        Some((_, keys)) if items.iter().all(|item| item.get(keys[0]).is_some()) => ListKind::Keyed(keys),
        _ => ListKind::Atomic,
    }
}

/// What names an item of a keyed list.
pub(super) fn item_key(item: &Value, keys: &[&str]) -> String {
    let mut named = Map::new();
    for key in keys {
        // The only key with a default.
        let value = item.get(*key).cloned().or_else(|| (*key == "protocol").then(|| json!("TCP")));
        if let Some(value) = value {
            named.insert((*key).to_owned(), value);
        }
    }
    format!("k:{}", Value::Object(named))
}

/// All fields of an object that somebody can own, with their values.
pub(super) fn leaves(object: &Value) -> BTreeMap<FieldPath, Value> {
    let mut found = BTreeMap::new();
    let Some(members) = object.as_object() else { return found };
    for (name, value) in members {
        match name.as_str() {
            "apiVersion" | "kind" => {}
            "metadata" => {
                for (name, value) in value.as_object().into_iter().flatten() {
                    if !SERVER.contains(&name.as_str()) {
                        visit(name, value, &vec!["f:metadata".to_owned(), format!("f:{name}")], &mut found);
                    }
                }
            }
            _ => visit(name, value, &vec![format!("f:{name}")], &mut found),
        }
    }
    found
}

fn visit(name: &str, value: &Value, path: &FieldPath, found: &mut BTreeMap<FieldPath, Value>) {
    let below = |element: String| {
        let mut longer = path.clone();
        longer.push(element);
        longer
    };
    match value {
        Value::Object(members) if !members.is_empty() => {
            for (name, value) in members {
                visit(name, value, &below(format!("f:{name}")), found);
            }
        }
        Value::Array(items) if !items.is_empty() => match list_kind(name, items) {
            ListKind::Atomic => drop(found.insert(path.clone(), value.clone())),
            ListKind::Set => {
                for item in items {
                    found.insert(below(format!("v:{item}")), item.clone());
                }
            }
            ListKind::Keyed(keys) => {
                for item in items {
                    let item_path = below(item_key(item, keys));
                    let mut itself = item_path.clone();
                    itself.push(".".to_owned());
                    found.insert(itself, Value::Null);
                    visit("", item, &item_path, found);
                }
            }
        },
        _ => drop(found.insert(path.clone(), value.clone())),
    }
}

/// For people: `.metadata.labels.a`.
pub(super) fn display(path: &FieldPath) -> String {
    let element = |element: &String| match element.split_at_checked(2) {
        Some(("f:", name)) => format!(".{name}"),
        Some((_, rest)) => format!("[{rest}]"),
        None => String::new(),
    };
    path.iter().map(element).collect()
}

/// Takes a field away, and what is empty without it.
pub(super) fn remove(value: &mut Value, path: &[String]) {
    let Some((first, rest)) = path.split_first() else { return };
    match (first.split_at_checked(2), value) {
        (Some(("f:", name)), Value::Object(members)) => {
            let Some(member) = members.get_mut(name) else { return };
            let had_content = !is_empty(member);
            if !rest.is_empty() {
                remove(member, rest);
            }
            if rest.is_empty() || (had_content && is_empty(member)) {
                members.remove(name);
            }
        }
        (Some(("v:", item)), Value::Array(items)) => {
            items.retain(|found| found != &serde_json::from_str::<Value>(item).unwrap_or_default());
        }
        (Some(("k:", key)), Value::Array(items)) => {
            let Ok(Value::Object(key)) = serde_json::from_str::<Value>(key) else { return };
            let names: Vec<&str> = key.keys().map(String::as_str).collect();
            let wanted = item_key(&Value::Object(key.clone()), &names);
            let Some(position) = items.iter().position(|item| item_key(item, &names) == wanted) else { return };
            if rest == ["."] {
                items.remove(position);
            } else {
                remove(&mut items[position], rest);
            }
        }
        _ => {}
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(members) => members.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// `FieldsV1` of a set.
pub(super) fn to_fields_v1(set: &FieldSet) -> Value {
    let mut root = Value::Object(Map::new());
    for path in set {
        let mut at = &mut root;
        for element in path {
            at = &mut at[element];
            if at.is_null() {
                *at = Value::Object(Map::new());
            }
        }
    }
    root
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn managed_fields_are_found_shown_and_removed() {
        let mut object = json!({
            "apiVersion": "v1", "kind": "X",
            "metadata": { "name": "x", "uid": "1", "labels": { "a": "b" }, "finalizers": ["one/two"] },
            "spec": { "containers": [{ "name": "c", "image": "i" }], "list": [1, 2], "empty": {} },
        });
        let found: Vec<String> = leaves(&object).keys().map(display).collect();
        assert_eq!(
            found,
            [
                ".metadata.finalizers[\"one/two\"]",
                ".metadata.labels.a",
                ".spec.containers[{\"name\":\"c\"}]",
                ".spec.containers[{\"name\":\"c\"}].image",
                ".spec.containers[{\"name\":\"c\"}].name",
                ".spec.empty",
                ".spec.list",
            ]
        );
        for path in leaves(&object).keys() {
            remove(&mut object, path);
        }
        assert_eq!(object, json!({ "apiVersion": "v1", "kind": "X", "metadata": { "name": "x", "uid": "1" } }));
    }

    #[test]
    fn field_sets_are_encoded_as_the_api_does() {
        let set = leaves(&json!({ "metadata": { "labels": { "a": "b" } }, "spec": { "x": 1, "y": 2 } }));
        let set: FieldSet = set.into_keys().collect();
        assert_eq!(
            to_fields_v1(&set),
            json!({ "f:metadata": { "f:labels": { "f:a": {} } }, "f:spec": { "f:x": {}, "f:y": {} } })
        );
    }
}
