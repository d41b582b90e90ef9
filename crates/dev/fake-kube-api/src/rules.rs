//! What a write may change, and the form in which objects are stored.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::Failure;
use super::object::{finalizers, is_deleting, is_same, keep, member, metadata, text, without_nulls};
use super::resource::Resource;
use super::writer::Writer;

/// Fields that a write of this kind does not reach stay as they are.
pub(super) fn protect(resource: &Resource, writer: &Writer, old: &Value, new: &mut Value) {
    if writer.subresource.is_some() {
        let status = new.get("status").cloned();
        *new = old.clone();
        if let Some(members) = new.as_object_mut() {
            match status {
                Some(status) => drop(members.insert("status".to_owned(), status)),
                None => drop(members.remove("status")),
            }
        }
    } else if resource.status
        && let Some(members) = new.as_object_mut()
    {
        match old.get("status") {
            Some(status) => drop(members.insert("status".to_owned(), status.clone())),
            None => drop(members.remove("status")),
        }
    }
    keep(
        old,
        new,
        &[
            "name",
            "namespace",
            "uid",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "generation",
            "resourceVersion",
            "managedFields",
            "generateName",
        ],
    );
    if resource.generation && specification(resource, old) != specification(resource, new) {
        bump_generation(new);
    }
}

/// What the generation counts changes of.
fn specification(resource: &Resource, object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(members) = object.as_object_mut() {
        members.remove("metadata");
        if resource.status {
            members.remove("status");
        }
    }
    object
}

pub(super) fn bump_generation(object: &mut Value) {
    if let Some(generation) = object["metadata"]["generation"].as_i64() {
        object["metadata"]["generation"] = json!(generation + 1);
    }
}

/// An apply to the object owns nothing of its status, and one to the status nothing else.
pub(super) fn only_writable(resource: &Resource, writer: &Writer, object: &mut Value) {
    let Some(members) = object.as_object_mut() else { return };
    if writer.subresource.is_some() {
        members.retain(|name, _| matches!(name.as_str(), "apiVersion" | "kind" | "metadata" | "status"));
        let kept = ["name", "namespace", "resourceVersion", "uid"];
        metadata(object).retain(|name, _| kept.contains(&name.as_str()));
    } else if resource.status {
        members.remove("status");
    }
}

/// Brings what was written into the form that is stored.
pub(super) fn normalize(resource: &Resource, object: &mut Value) {
    without_nulls(object);
    object["apiVersion"] = json!(resource.api_version());
    object["kind"] = json!(resource.kind);
    if resource.kind == "Secret"
        && let Some(Value::Object(texts)) = object.as_object_mut().and_then(|members| members.remove("stringData"))
    {
        for (name, value) in texts {
            let encoded = STANDARD.encode(value.as_str().unwrap_or_default());
            member(object, "data").insert(name, json!(encoded));
        }
    }
}

pub(super) fn check_identity(resource: &Resource, object: &Value, name: &str) -> Result<(), Failure> {
    let found = text(object, "/metadata/name");
    if !found.is_empty() && found != name {
        let what = format!("the name of the object ({found}) does not match the name on the URL ({name})");
        return Err(Failure::bad_request(&what));
    }
    let (kind, api_version) = (text(object, "/kind"), text(object, "/apiVersion"));
    if (!kind.is_empty() && kind != resource.kind) || (!api_version.is_empty() && api_version != resource.api_version())
    {
        return Err(Failure::bad_request(&format!("{api_version} {kind} in the request for {}", resource.qualified())));
    }
    Ok(())
}

pub(super) fn check_version(resource: &Resource, old: &Value, new: &Value, name: &str) -> Result<(), Failure> {
    for member in ["/metadata/resourceVersion", "/metadata/uid"] {
        let wanted = text(new, member);
        if !wanted.is_empty() && wanted != text(old, member) {
            return Err(Failure::outdated(resource, name));
        }
    }
    Ok(())
}

pub(super) fn check_change(resource: &Resource, old: &Value, new: &Value, name: &str) -> Result<(), Failure> {
    let invalid = |what: &str| Err(Failure::invalid(resource, name, what));
    if is_deleting(old) && finalizers(new).iter().any(|finalizer| !finalizers(old).contains(finalizer)) {
        return invalid(
            "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted",
        );
    }
    if old["immutable"] == true && !is_same(&json!({ "data": old["data"] }), &json!({ "data": new["data"] })) {
        return invalid("data: Forbidden: field is immutable when `immutable` is set");
    }
    if resource.group == "apps" && old.pointer("/spec/selector") != new.pointer("/spec/selector") {
        return invalid("spec.selector: Invalid value: field is immutable");
    }
    Ok(())
}
