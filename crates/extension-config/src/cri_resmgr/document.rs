//! From a YAML text to a checked document.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::kept::Kept;
use super::{policy, schema, walk};

const EMPTY: &str = "is empty; leave it out, or write what is meant: policy: {Active: none}";

/// Something in a configuration that is wrong, or worth a warning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where: `policy.balloons.BalloonTypes[0].Name`; empty for the whole.
    pub path: String,
    /// What, and what is allowed.
    pub message: String,
}

impl Finding {
    pub(crate) fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

/// A configuration without faults.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    /// The policy that it activates.
    pub active: String,
    /// What works, but perhaps not as its author thinks.
    pub warnings: Vec<Finding>,
    /// Top-level keys as they were written.
    document: Map<String, Value>,
    kept: Kept,
}

impl Checked {
    /// What of it stays in a running daemon until that is restarted.
    #[must_use]
    pub fn kept(&self) -> Kept {
        self.kept.clone()
    }

    /// The form in which a running daemon takes it: a YAML text for each top-level key.
    ///
    /// # Errors
    /// When a value cannot be written as YAML.
    pub fn by_module(&self) -> Result<BTreeMap<String, String>, serde_saphyr::ser_error::Error> {
        self.document.iter().map(|(key, value)| Ok((key.clone(), serde_saphyr::to_string(value)?))).collect()
    }
}

/// Checks one configuration.
///
/// # Errors
/// Everything that is wrong, in the order of the document's keys.
pub fn check(text: &str) -> Result<Checked, Vec<Finding>> {
    check_document(read(text).map_err(|message| vec![Finding::new("", message)])?)
}

/// Checks a configuration in the form in which a running daemon takes it: a YAML text for each top-level key.
///
/// # Errors
/// Everything that is wrong.
pub fn check_modules(modules: &BTreeMap<String, String>) -> Result<Checked, Vec<Finding>> {
    if modules.values().all(|text| text.trim().is_empty()) {
        return Err(vec![Finding::new("", EMPTY)]);
    }
    let mut document = Map::new();
    let mut findings = Vec::new();
    for (key, text) in modules {
        match serde_saphyr::from_str::<Value>(text) {
            Ok(value) => drop(document.insert(key.clone(), value)),
            Err(error) => findings.push(Finding::new(key, not_yaml(&error))),
        }
    }
    if findings.is_empty() { check_document(document) } else { Err(findings) }
}

fn check_document(document: Map<String, Value>) -> Result<Checked, Vec<Finding>> {
    let mut findings = Vec::new();
    let tree = nest(&document, &mut findings);
    walk::object(&tree, schema::MODULES, "", &mut findings);
    let mut warnings = Vec::new();
    let active = policy::check(&tree, &mut findings, &mut warnings);
    if !findings.is_empty() {
        return Err(findings);
    }
    let kept = Kept::of(&tree, &active);
    Ok(Checked { active, warnings, document, kept })
}

fn read(text: &str) -> Result<Map<String, Value>, String> {
    match serde_saphyr::from_str::<Value>(text) {
        Ok(Value::Object(map)) if !map.is_empty() => Ok(map),
        Ok(Value::Object(_) | Value::Null) => Err(EMPTY.into()),
        Ok(_) => Err("must be a map of modules".into()),
        Err(error) => Err(not_yaml(&error)),
    }
}

/// Without the snippet: the message may end up where a configuration's text must not.
fn not_yaml(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().render_with_formatter(&serde_saphyr::UserMessageFormatter);
    format!("is not one YAML document: {text}")
}

/// Puts dotted keys (`policy.balloons`) where they belong. Giving the same child both ways is a fault.
fn nest(document: &Map<String, Value>, findings: &mut Vec<Finding>) -> Map<String, Value> {
    let mut tree = Map::new();
    // Plain keys first: they are the parents.
    let (plain, dotted): (Vec<_>, Vec<_>) = document.iter().partition(|(key, _)| !key.contains('.'));
    for (key, value) in plain {
        tree.insert(key.clone(), value.clone());
    }
    for (key, value) in dotted {
        let mut names: Vec<&str> = key.split('.').collect();
        let Some(last) = names.pop() else { continue };
        let mut at = Some(&mut tree);
        for name in names {
            at = at.and_then(|map| map.entry(name).or_insert_with(|| Value::Object(Map::new())).as_object_mut());
        }
        match at {
            Some(map) if !map.contains_key(last) => drop(map.insert(last.to_owned(), value.clone())),
            Some(_) => findings.push(Finding::new(key, "is given twice, as a dotted key and within its parent")),
            None => findings.push(Finding::new(key, "its parent is not a map")),
        }
    }
    tree
}
