//! From texts to what is converted: providerConfigs, Shoots, ConfigMaps, Adjustments, objects with annotations, and the daemon's own files.

use std::collections::BTreeMap;

use extension_config::cri_resmgr::module_names;
use extension_config::{ConfigKey, names, provider_config};
use serde_json::{Map, Value, json};

use crate::input::Input;
use crate::limits;

/// A file of which nothing can be said.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {}{message}", if .field.is_empty() { String::new() } else { format!("{}: ", .field) })]
pub struct Unreadable {
    /// Its name.
    pub file: String,
    /// The field, where it is about one.
    pub field: String,
    /// What is wrong, and what is allowed.
    pub message: String,
}

/// What was read, and what was passed over.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reading {
    /// To be converted.
    pub input: Input,
    /// Objects of other kinds: file and kind.
    pub skipped: Vec<String>,
    /// Where each slot stands.
    origins: BTreeMap<String, String>,
}

const KINDS: &str = "a providerConfig, a Shoot, a ConfigMap cri-resmgr-config.NAME, an Adjustment, a Pod or what makes pods, or a configuration of cri-resmgr \
                     (a map with a key such as policy)";

/// Reads one file's documents, beside what was read before. A plain configuration of the daemon is taken for the slot `plain`.
///
/// # Errors
/// The first thing that cannot be read.
pub fn read(file: &str, text: &str, plain: &ConfigKey, reading: &mut Reading) -> Result<(), Unreadable> {
    let at = |message: String| Unreadable { file: file.to_owned(), field: String::new(), message };
    if text.len() > limits::FILE_BYTES {
        return Err(at(format!("has {} bytes, allowed: {}", text.len(), limits::FILE_BYTES)));
    }
    let documents = parse(text).map_err(at)?;
    if documents.is_empty() {
        return Err(at(format!("has no document, allowed: {KINDS}")));
    }
    documents.into_iter().try_for_each(|document| one(file, document, plain, reading))
}

/// All documents of a text, as the daemon reads YAML; empty ones are left out.
fn parse(text: &str) -> Result<Vec<Value>, String> {
    let mut aliases = serde_saphyr::options::AliasLimits::default();
    aliases.max_total_replayed_events = limits::REPEATED_VALUES;
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: limits::READ_DEPTH,
            max_documents: limits::DOCUMENTS,
            max_nodes: limits::VALUES,
            max_total_scalar_bytes: 2 * limits::FILE_BYTES,
        },
        alias_limits: aliases,
        // As YAML 1.1, and with it the daemon, reads `010`.
        legacy_octal_numbers: true,
    };
    // Without the lines around it: a file may hold a Secret beside what is converted.
    let why =
        |error: serde_saphyr::Error| error.without_snippet().render_with_formatter(&serde_saphyr::UserMessageFormatter);
    serde_saphyr::from_multiple_with_options(text, options)
        .map_err(|error| format!("is neither YAML nor JSON: {}", why(error)))
}

fn one(file: &str, document: Value, plain: &ConfigKey, reading: &mut Reading) -> Result<(), Unreadable> {
    let at = |field: &str, message: String| Unreadable { file: file.to_owned(), field: field.to_owned(), message };
    let Value::Object(mut fields) = document else {
        return Err(at("", format!("is no map of fields, allowed: {KINDS}")));
    };
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
    let (version, kind) = (text("apiVersion").to_owned(), text("kind").to_owned());
    let group = version.split_once('/').map_or("", |(group, _)| group);
    let name = fields.get("metadata").and_then(|metadata| metadata["name"].as_str()).unwrap_or_default().to_owned();
    let is_own = group == names::API_GROUP || kind == provider_config::KIND;
    let is_untyped = kind.is_empty()
        && version.is_empty()
        && (fields.contains_key("configs") || fields.contains_key("nodeSelector"));
    if is_own || is_untyped {
        return of_provider_config(file, "", &Value::Object(fields), reading);
    }
    if let Some(Value::Array(extensions)) =
        fields.get_mut("spec").and_then(|spec| spec.get_mut("extensions")).map(Value::take)
    {
        let mut ours = extensions.into_iter().enumerate().filter(|(_, of)| of["type"] == names::EXTENSION_TYPE);
        return ours.try_for_each(|(index, of)| {
            let field = format!("spec.extensions[{index}].providerConfig");
            of_provider_config(file, &field, of.get("providerConfig").unwrap_or(&Value::Null), reading)
        });
    }
    match (group, kind.as_str()) {
        ("", "ConfigMap") if name == names::BASE_CONFIG_MAP => {
            let base = json!({ "configs": fields.remove("data") });
            of_provider_config(file, "data", &base, reading)
        }
        ("", "ConfigMap") if name.starts_with(names::DYNAMIC_CONFIG_MAP_PREFIX) => {
            of_config_map(file, &name, &mut fields, reading)
        }
        ("criresmgr.intel.com", "Adjustment") => {
            let name = qualified("", &fields);
            let spec = fields.remove("spec").unwrap_or_default();
            match reading.input.adjustments.insert(name.clone(), spec) {
                None => Ok(()),
                Some(_) => Err(at("metadata.name", format!("the Adjustment {name} is given twice, allowed: once"))),
            }
        }
        (_, kind) if kind.ends_with("List") && fields.get("items").is_some_and(Value::is_array) => {
            let Some(Value::Array(items)) = fields.remove("items") else { return Ok(()) };
            // A list in a list is no list of Kubernetes.
            let is_list = |item: &Value| item["kind"].as_str().is_some_and(|kind| kind.ends_with("List"));
            items.into_iter().filter(|item| !is_list(item)).try_for_each(|item| one(file, item, plain, reading))
        }
        (_, kind) if !kind.is_empty() || !version.is_empty() => {
            if let Some(found) = annotations(kind, &fields) {
                let owner = qualified(kind, &fields);
                reading.input.annotations.entry(owner).or_default().extend(found);
            } else {
                reading.skipped.push(format!("{file}: {kind} {name}"));
            }
            Ok(())
        }
        _ if fields.keys().any(|key| is_module(key)) => put(file, "", plain.clone(), Value::Object(fields), reading),
        _ => Err(at("", format!("has neither a kind nor a field by which it is known, allowed: {KINDS}"))),
    }
}

/// Dots of a module's name stand for levels.
fn is_module(key: &str) -> bool {
    let top = key.split('.').next().unwrap_or_default();
    module_names().any(|module| module == top)
}

fn put(file: &str, field: &str, slot: ConfigKey, document: Value, reading: &mut Reading) -> Result<(), Unreadable> {
    if let Some(other) = reading.origins.insert(slot.to_string(), file.to_owned()) {
        let message = format!("the configuration {slot} is given twice, also in {other}; allowed: once in all files");
        return Err(Unreadable { file: file.to_owned(), field: field.to_owned(), message });
    }
    reading.input.documents.insert(slot, document);
    Ok(())
}

fn of_provider_config(file: &str, field: &str, value: &Value, reading: &mut Reading) -> Result<(), Unreadable> {
    let decoded = provider_config::decode(Some(value));
    let at = |field: &str, message: String| Unreadable { file: file.to_owned(), field: field.to_owned(), message };
    let decoded = decoded.map_err(|problems| at(field, problems.to_string()))?;
    for (slot, written) in decoded.configs {
        let field = if field.is_empty() { written.field } else { format!("{field}.{}", written.field) };
        let document = match slot {
            ConfigKey::ExtraOptions => Value::String(written.text),
            _ => single(&written.text).map_err(|message| at(&field, message))?,
        };
        put(file, &field, slot, document, reading)?;
    }
    Ok(())
}

/// The one document of a text.
pub(crate) fn single(text: &str) -> Result<Value, String> {
    let mut documents = parse(text)?;
    if documents.len() > 1 {
        return Err(format!("has {} documents, allowed: one", documents.len()));
    }
    Ok(documents.pop().unwrap_or_default())
}

/// A YAML text for each module (pkg/config/data.go of cri-resource-manager v0.9.2).
fn of_config_map(
    file: &str,
    name: &str,
    fields: &mut Map<String, Value>,
    reading: &mut Reading,
) -> Result<(), Unreadable> {
    let at = |field: &str, message: String| Unreadable { file: file.to_owned(), field: field.to_owned(), message };
    let key = name.strip_prefix(names::DYNAMIC_CONFIG_MAP_PREFIX).unwrap_or_default();
    let Some(slot) = ConfigKey::parse(key).filter(ConfigKey::is_dynamic) else {
        let prefix = names::DYNAMIC_CONFIG_MAP_PREFIX;
        return Err(at(
            "metadata.name",
            format!("is {name:?}, allowed: {prefix}default, {prefix}group.NAME, {prefix}node.NAME"),
        ));
    };
    let mut modules = Map::new();
    match fields.remove("data") {
        None | Some(Value::Null) => {}
        Some(Value::Object(data)) => {
            for (module, text) in data {
                let field = format!("data.{module}");
                let Value::String(text) = text else { return Err(at(&field, "must be a text".to_owned())) };
                modules.insert(module, single(&text).map_err(|message| at(&field, message))?);
            }
        }
        Some(_) => return Err(at("data", "must be a map of texts".to_owned())),
    }
    put(file, "metadata.name", slot, Value::Object(modules), reading)
}

/// Kind, namespace and name of an object.
fn qualified(kind: &str, fields: &Map<String, Value>) -> String {
    let of =
        |name: &str| fields.get("metadata").and_then(|metadata| metadata[name].as_str()).unwrap_or_default().to_owned();
    let (namespace, name) = (of("namespace"), of("name"));
    let place = if namespace.is_empty() { name } else { format!("{namespace}/{name}") };
    if kind.is_empty() { place } else { format!("{kind} {place}") }
}

/// Annotations of a pod, or of the pods that an object makes; nothing for an object that makes none.
fn annotations(kind: &str, fields: &Map<String, Value>) -> Option<BTreeMap<String, String>> {
    let pointer = match kind {
        "Pod" => "/metadata/annotations",
        "PodTemplate" => "/template/metadata/annotations",
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "ReplicationController" | "Job" => {
            "/spec/template/metadata/annotations"
        }
        "CronJob" => "/spec/jobTemplate/spec/template/metadata/annotations",
        _ => return None,
    };
    let object = Value::Object(fields.clone());
    let found = object.pointer(pointer).and_then(Value::as_object).into_iter().flatten();
    Some(found.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned())).collect())
}
