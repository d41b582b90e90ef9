//! Writes: create, replace, patch, apply, delete.

use serde_json::{Value, json};

use super::Failure;
use super::apply::{self, Manager};
use super::object::{finalizers, is_deleting, member, metadata, text};
use super::patch;
use super::resource::Resource;
use super::rules::{bump_generation, check_change, check_identity, check_version, normalize, only_writable, protect};
use super::store::{Key, State, Store};
use super::writer::Writer;

/// A change of an object that is there.
#[derive(Debug)]
pub(super) enum Change<'a> {
    Replace(&'a Value),
    Merge(&'a Value),
    Json(&'a Value),
    Strategic(&'a Value),
    Apply { object: &'a Value, force: bool },
}

/// What deletion was asked for.
#[derive(Debug, Clone, Default)]
pub(super) struct Preconditions {
    pub(super) uid: Option<String>,
    pub(super) resource_version: Option<String>,
}

/// How a deletion ended.
#[derive(Debug)]
pub(super) enum Deleted {
    /// It is gone; as it was last.
    Gone(Value),
    /// Its finalizers are awaited; as it is now.
    Pending(Value),
}

impl Store {
    /// Creates an object.
    ///
    /// # Errors
    /// As the API refuses.
    pub fn create(
        &self,
        group: &str,
        plural: &str,
        namespace: &str,
        object: Value,
        writer: &Writer,
    ) -> Result<Value, Failure> {
        let resource = Resource::by_plural(group, plural)?;
        let mut state = self.lock();
        let created = create(&mut state, resource, namespace, object, writer)?;
        self.broadcast_change(state);
        Ok(created)
    }

    /// Applies an object server-side, by force, creating it where it is missing.
    ///
    /// # Errors
    /// As the API refuses.
    pub fn apply(&self, object: &Value, writer: &Writer) -> Result<Value, Failure> {
        let resource = Resource::by_kind(text(object, "/apiVersion"), text(object, "/kind"))?;
        let (namespace, name) = (text(object, "/metadata/namespace"), text(object, "/metadata/name"));
        Ok(self.change(resource, namespace, name, &Change::Apply { object, force: true }, writer)?.0)
    }

    /// Merges a patch into an object.
    ///
    /// # Errors
    /// As the API refuses.
    pub fn merge(
        &self,
        group: &str,
        plural: &str,
        namespace: &str,
        name: &str,
        patch: &Value,
        writer: &Writer,
    ) -> Result<Value, Failure> {
        let resource = Resource::by_plural(group, plural)?;
        Ok(self.change(resource, namespace, name, &Change::Merge(patch), writer)?.0)
    }

    /// Merges a patch into a built-in object, items of keyed lists one by one.
    pub fn strategic(
        &self,
        plural: &str,
        namespace: &str,
        name: &str,
        patch: &Value,
        writer: &Writer,
    ) -> Result<Value, Failure> {
        let resource = Resource::by_plural("", plural)?;
        Ok(self.change(resource, namespace, name, &Change::Strategic(patch), writer)?.0)
    }

    /// Asks for the deletion of an object.
    ///
    /// # Errors
    /// As the API refuses.
    pub fn delete(&self, group: &str, plural: &str, namespace: &str, name: &str) -> Result<(), Failure> {
        let resource = Resource::by_plural(group, plural)?;
        self.remove(resource, namespace, name, &Preconditions::default()).map(drop)
    }

    /// Gives the object as it is now, and whether it was created.
    pub(super) fn change(
        &self,
        resource: &'static Resource,
        namespace: &str,
        name: &str,
        change: &Change<'_>,
        writer: &Writer,
    ) -> Result<(Value, bool), Failure> {
        let mut state = self.lock();
        let key = Key::new(resource, namespace, name);
        let Some(stored) = state.get(&key).cloned() else {
            let Change::Apply { object, .. } = change else { return Err(Failure::not_found(resource, name)) };
            if writer.subresource.is_some() {
                return Err(Failure::not_found(resource, name));
            }
            let created = create_applied(&mut state, resource, &key, object, writer)?;
            self.broadcast_change(state);
            return Ok((created, true));
        };
        let old = Value::clone(&stored.object);
        let mut managers = stored.managers;
        let mut new = match change {
            Change::Replace(object) => Value::clone(object),
            Change::Merge(patch) => {
                let mut new = old.clone();
                patch::merge(&mut new, patch);
                new
            }
            Change::Strategic(patch) => {
                let mut new = old.clone();
                patch::strategic(&mut new, patch)?;
                new
            }
            Change::Json(patch) => {
                let mut new = old.clone();
                patch::json(&mut new, patch)?;
                new
            }
            Change::Apply { object, force } => {
                check_identity(resource, object, name)?;
                let mut object = Value::clone(object);
                normalize(resource, &mut object);
                only_writable(resource, writer, &mut object);
                apply::apply(&old, &object, &mut managers, writer, *force)?
            }
        };
        let is_apply = matches!(change, Change::Apply { .. });
        check_identity(resource, &new, name)?;
        check_version(resource, &old, &new, name)?;
        normalize(resource, &mut new);
        protect(resource, writer, &old, &mut new);
        check_change(resource, &old, &new, name)?;
        if !is_apply {
            apply::updated(&old, &new, &mut managers, writer);
        }
        let answer = finish_write(&mut state, &key, &old, new, managers);
        self.broadcast_change(state);
        Ok((answer, false))
    }

    pub(super) fn remove(
        &self,
        resource: &'static Resource,
        namespace: &str,
        name: &str,
        preconditions: &Preconditions,
    ) -> Result<Deleted, Failure> {
        let mut state = self.lock();
        let key = Key::new(resource, namespace, name);
        let stored = state.get(&key).cloned().ok_or_else(|| Failure::not_found(resource, name))?;
        let mut object = Value::clone(&stored.object);
        for (wanted, member) in [(&preconditions.uid, "uid"), (&preconditions.resource_version, "resourceVersion")] {
            let found = text(&object, &format!("/metadata/{member}"));
            if let Some(wanted) = wanted
                && wanted != found
            {
                let what = format!("{member} in precondition: {wanted}, {member} in object meta: {found}");
                return Err(Failure::precondition(resource, name, &what));
            }
        }
        if finalizers(&object).is_empty() {
            state.remove(&key);
            self.broadcast_change(state);
            return Ok(Deleted::Gone(object));
        }
        if !is_deleting(&object) {
            metadata(&mut object).insert("deletionTimestamp".to_owned(), json!(now()));
            metadata(&mut object).insert("deletionGracePeriodSeconds".to_owned(), json!(0));
            bump_generation(&mut object);
            object = Value::clone(&state.put(key, object, stored.managers));
            self.broadcast_change(state);
        }
        Ok(Deleted::Pending(object))
    }
}

fn create(
    state: &mut State,
    resource: &'static Resource,
    namespace: &str,
    mut object: Value,
    writer: &Writer,
) -> Result<Value, Failure> {
    if !text(&object, "/metadata/resourceVersion").is_empty() {
        return Err(Failure::bad_request("resourceVersion should not be set on objects to be created"));
    }
    let prefix = text(&object, "/metadata/generateName").to_owned();
    if text(&object, "/metadata/name").is_empty() && !prefix.is_empty() {
        let suffix = &unique()[..5];
        metadata(&mut object).insert("name".to_owned(), json!(format!("{prefix}{suffix}")));
    }
    let name = text(&object, "/metadata/name").to_owned();
    if name.is_empty() {
        return Err(Failure::invalid(resource, "", "metadata.name: Required value: name or generateName is required"));
    }
    check_identity(resource, &object, &name)?;
    let key = Key::new(resource, namespace, &name);
    if state.get(&key).is_some() {
        return Err(Failure::exists(resource, &name));
    }
    check_namespace(state, resource, namespace)?;
    normalize(resource, &mut object);
    born(resource, namespace, &mut object);
    let mut managers = Vec::new();
    apply::updated(&json!({}), &object, &mut managers, writer);
    Ok(Value::clone(&state.put(key, object, managers)))
}

fn create_applied(
    state: &mut State,
    resource: &'static Resource,
    key: &Key,
    object: &Value,
    writer: &Writer,
) -> Result<Value, Failure> {
    check_identity(resource, object, &key.name)?;
    if !text(object, "/metadata/resourceVersion").is_empty() || !text(object, "/metadata/uid").is_empty() {
        return Err(Failure::outdated(resource, &key.name));
    }
    check_namespace(state, resource, &key.namespace)?;
    let mut object = object.clone();
    normalize(resource, &mut object);
    only_writable(resource, writer, &mut object);
    let mut managers = Vec::new();
    let mut new = apply::apply(&json!({}), &object, &mut managers, writer, true)?;
    born(resource, &key.namespace, &mut new);
    Ok(Value::clone(&state.put(key.clone(), new, managers)))
}

/// What the server gives to a new object.
fn born(resource: &Resource, namespace: &str, object: &mut Value) {
    if resource.status {
        member(object, "spec");
        object.as_object_mut().map(|members| members.remove("status"));
    }
    if resource.kind == "Namespace" {
        object["status"] = json!({ "phase": "Active" });
    }
    let members = metadata(object);
    for name in [
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "resourceVersion",
        "managedFields",
        "selfLink",
        "generation",
    ] {
        members.remove(name);
    }
    members.insert("uid".to_owned(), json!(unique()));
    members.insert("creationTimestamp".to_owned(), json!(now()));
    if resource.generation {
        members.insert("generation".to_owned(), json!(1));
    }
    if resource.namespaced {
        members.insert("namespace".to_owned(), json!(namespace));
    }
}

/// Stores what was changed, or takes it away when it only waited for its last finalizer.
fn finish_write(state: &mut State, key: &Key, old: &Value, new: Value, managers: Vec<Manager>) -> Value {
    if is_deleting(old) && finalizers(&new).is_empty() {
        state.remove(key);
        return new;
    }
    Value::clone(&state.put(key.clone(), new, managers))
}

fn check_namespace(state: &State, resource: &Resource, namespace: &str) -> Result<(), Failure> {
    let namespaces = Resource::by_plural("", "namespaces")?;
    if resource.namespaced && state.get(&Key::new(namespaces, "", namespace)).is_none() {
        return Err(Failure::not_found(namespaces, namespace));
    }
    Ok(())
}

/// As `metadata.creationTimestamp` has it.
fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Something in the form of a UUID that no other object has.
fn unique() -> String {
    use std::hash::{BuildHasher as _, Hasher as _};
    let number = || std::collections::hash_map::RandomState::new().build_hasher().finish();
    let (high, low) = (number(), number());
    let node = low & 0xffff_ffff_ffff;
    format!(
        "{:08x}-{:04x}-4{:03x}-8{:03x}-{node:012x}",
        high >> 32,
        (high >> 16) & 0xffff,
        high & 0xfff,
        (low >> 48) & 0xfff
    )
}
