//! Server-side apply, and who owns which field after any write.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Failure;
use super::fields::{self, FieldPath, FieldSet, ListKind, item_key, list_kind};
use super::writer::Writer;

/// Somebody who owns fields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Manager {
    pub(super) name: String,
    /// `Apply` or `Update`: the same name owns apart by both ways.
    pub(super) operation: &'static str,
    /// `status`, or nothing.
    pub(super) subresource: Option<&'static str>,
    pub(super) fields: FieldSet,
    pub(super) api_version: String,
    pub(super) time: String,
}

impl Manager {
    fn is(&self, writer: &Writer, operation: &str) -> bool {
        self.name == writer.manager && self.operation == operation && self.subresource == writer.subresource
    }

    pub(super) fn to_json(&self) -> Value {
        let mut entry = json!({
            "manager": self.name, "operation": self.operation, "apiVersion": self.api_version, "time": self.time,
            "fieldsType": "FieldsV1", "fieldsV1": fields::to_fields_v1(&self.fields),
        });
        if let Some(subresource) = self.subresource {
            entry["subresource"] = json!(subresource);
        }
        entry
    }
}

/// What an apply leads to: the object, and what its manager owns from now on.
pub(super) fn apply(
    live: &Value,
    applied: &Value,
    managers: &mut Vec<Manager>,
    writer: &Writer,
    force: bool,
) -> Result<Value, Failure> {
    let wanted = fields::leaves(applied);
    let is_there = fields::leaves(live);
    let mut conflicts = Vec::new();
    for other in managers.iter_mut().filter(|other| !other.is(writer, "Apply")) {
        let contested: Vec<FieldPath> = wanted
            .iter()
            .filter(|(path, value)| other.fields.contains(*path) && is_there.get(*path) != Some(value))
            .map(|(path, _)| path.clone())
            .collect();
        for path in contested {
            conflicts.push((other.name.clone(), fields::display(&path)));
            if force {
                other.fields.remove(&path);
            }
        }
    }
    if !force && !conflicts.is_empty() {
        return Err(Failure::field_conflicts(conflicts));
    }
    let mut result = live.clone();
    let before = managers.iter().position(|manager| manager.is(writer, "Apply"));
    if let Some(position) = before {
        let gone: Vec<FieldPath> =
            managers[position].fields.iter().filter(|path| !is_kept(path, &wanted)).cloned().collect();
        for path in gone {
            let shared = managers.iter().enumerate().any(|(other, manager)| other != position && owns(manager, &path));
            if !shared {
                fields::remove(&mut result, &path);
            }
        }
        managers.remove(position);
    }
    merge("", &mut result, applied);
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    managers.push(Manager {
        name: writer.manager.clone(),
        operation: "Apply",
        subresource: writer.subresource,
        fields: wanted.into_keys().collect(),
        api_version: super::text(applied, "/apiVersion").to_owned(),
        time: now,
    });
    managers.retain(|manager| !manager.fields.is_empty());
    Ok(result)
}

fn is_kept(path: &FieldPath, wanted: &BTreeMap<FieldPath, Value>) -> bool {
    wanted.contains_key(path) || wanted.keys().any(|longer| longer.starts_with(path))
}

/// The field itself, or, where the field is an item of a list, something in it.
fn owns(manager: &Manager, path: &FieldPath) -> bool {
    let stem = path.strip_suffix(&[".".to_owned()]).unwrap_or(path);
    manager.fields.contains(path)
        || (stem.len() < path.len() && manager.fields.iter().any(|field| field.starts_with(stem)))
}

fn merge(name: &str, live: &mut Value, applied: &Value) {
    match (live, applied) {
        (Value::Object(live), Value::Object(applied)) => {
            for (name, value) in applied {
                match live.get_mut(name) {
                    Some(slot) => merge(name, slot, value),
                    None => drop(live.insert(name.clone(), value.clone())),
                }
            }
        }
        (Value::Array(live), Value::Array(applied)) => match list_kind(name, applied) {
            ListKind::Atomic => live.clone_from(applied),
            ListKind::Set => {
                for item in applied {
                    if !live.contains(item) {
                        live.push(item.clone());
                    }
                }
            }
            ListKind::Keyed(keys) => {
                for item in applied {
                    let key = item_key(item, keys);
                    match live.iter_mut().find(|found| item_key(found, keys) == key) {
                        Some(found) => merge("", found, item),
                        None => live.push(item.clone()),
                    }
                }
            }
        },
        (slot, value) => slot.clone_from(value),
    }
}

/// Who owns what after a write that is not an apply: what changed belongs to who changed it, and to nobody else.
pub(super) fn updated(before: &Value, after: &Value, managers: &mut Vec<Manager>, writer: &Writer) {
    let (old, new) = (fields::leaves(before), fields::leaves(after));
    let changed: FieldSet =
        new.iter().filter(|(path, value)| old.get(*path) != Some(value)).map(|(path, _)| path.clone()).collect();
    let gone: Vec<&FieldPath> = old.keys().filter(|path| !new.contains_key(*path)).collect();
    if changed.is_empty() && gone.is_empty() {
        return;
    }
    for manager in managers.iter_mut() {
        manager
            .fields
            .retain(|path| !gone.contains(&path) && (!changed.contains(path) || manager.name == writer.manager));
    }
    if !changed.is_empty() {
        let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        match managers.iter_mut().find(|manager| manager.is(writer, "Update")) {
            Some(manager) => {
                manager.fields.extend(changed);
                manager.time = now;
            }
            None => managers.push(Manager {
                name: writer.manager.clone(),
                operation: "Update",
                subresource: writer.subresource,
                fields: changed,
                api_version: super::text(after, "/apiVersion").to_owned(),
                time: now,
            }),
        }
    }
    managers.retain(|manager| !manager.fields.is_empty());
}
