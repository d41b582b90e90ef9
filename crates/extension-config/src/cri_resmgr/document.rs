//! From a YAML text to a checked document.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::named_cpus::NamedCpus;
use super::report::{Finding, Place, Report, Steps, TooComplex};
use super::restart_bound::RestartBoundState;
use super::{json, policy, rdt, schema, sieve, walk};
use crate::limits;

const EMPTY: &str = "is empty; leave it out, or write what is meant: policy: {Active: none}";

/// A configuration without faults.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    /// The policy that it activates.
    pub active: String,
    /// What works, but perhaps not as its author thinks.
    pub warnings: Vec<Finding>,
    /// Keys that the daemon is not given, and why.
    pub left_out: Vec<Finding>,
    /// What the daemon is given.
    tree: Map<String, Value>,
    canonical: String,
    kept: RestartBoundState,
}

impl Checked {
    /// What of it stays in a running daemon until that is restarted.
    #[must_use]
    pub fn kept(&self) -> RestartBoundState {
        self.kept.clone()
    }

    /// The one text for what was read, without what is left out: JSON on one line, keys sorted, and a line break. Go's YAML library reads
    /// the same from it as we do.
    #[must_use]
    pub fn canonical(&self) -> &str {
        &self.canonical
    }

    /// The CPUs that it names by number, as far as its policy uses them.
    #[must_use]
    pub fn named_cpus(&self) -> Vec<NamedCpus> {
        NamedCpus::of(&self.tree, &self.active)
    }

    /// The form in which a running daemon takes it: a canonical text for each top-level key.
    #[must_use]
    pub fn by_module(&self) -> BTreeMap<String, String> {
        let text = |value| json::text(value, limits::CONFIGURATION_BYTES).unwrap_or_default();
        self.tree.iter().map(|(key, value)| (key.clone(), text(value))).collect()
    }
}

/// Checks one configuration.
///
/// # Errors
/// What is wrong, in the order of the document's keys: the first [`limits::FINDINGS`].
pub fn check(text: &str) -> Result<Checked, Vec<Finding>> {
    check_within(text, &mut Steps::default())
}

/// The canonical form of a text; that of a canonical text is the text itself. Comments are not part of it.
///
/// # Errors
/// As [`check`].
pub fn canonical(text: &str) -> Result<String, Vec<Finding>> {
    check(text).map(|checked| checked.canonical)
}

/// Checks one of several configurations that share a number of steps.
pub(crate) fn check_within(text: &str, steps: &mut Steps) -> Result<Checked, Vec<Finding>> {
    is_short(text.len()).and_then(|()| read(text, steps)).map_err(of_all).and_then(|map| check_document(map, steps))
}

/// Checks a configuration in the form in which a running daemon takes it: a YAML text for each top-level key.
///
/// # Errors
/// As [`check`].
pub fn check_modules(modules: &BTreeMap<String, String>) -> Result<Checked, Vec<Finding>> {
    let steps = &mut Steps::default();
    is_short(modules.iter().map(|(key, text)| key.len() + text.len()).sum()).map_err(of_all)?;
    if modules.values().all(|text| text.trim().is_empty()) {
        return Err(of_all(EMPTY.to_owned()));
    }
    let mut document = Map::new();
    let mut findings = Report::of_at_most(limits::FINDINGS);
    for (key, text) in modules {
        match parse(text, steps) {
            Ok(value) => drop(document.insert(key.clone(), value)),
            Err(message) => findings.push(|| Finding::new(key, message)),
        }
    }
    if findings.is_empty() { check_document(document, steps) } else { Err(findings.into_findings()) }
}

fn of_all(message: String) -> Vec<Finding> {
    vec![Finding::new("", message)]
}

fn is_short(bytes: usize) -> Result<(), String> {
    let most = limits::CONFIGURATION_BYTES;
    if bytes <= most { Ok(()) } else { Err(format!("has {bytes} bytes, allowed: {most}")) }
}

fn check_document(document: Map<String, Value>, steps: &mut Steps) -> Result<Checked, Vec<Finding>> {
    let mut findings = Report::of_at_most(limits::FINDINGS);
    let mut warnings = Report::of_at_most(limits::WARNINGS);
    let mut left_out = Report::of_at_most(limits::WARNINGS);
    let checked = check_tree(nest(document, &mut findings), &mut findings, &mut left_out, &mut warnings, steps);
    if !findings.is_empty() {
        return Err(findings.into_findings());
    }
    let (tree, active) = checked.map_err(|error| of_all(format!("is {error}")))?;
    let most = limits::CONFIGURATION_BYTES;
    let Some(mut canonical) = json::text(&tree, most - 1) else {
        return Err(of_all(format!(
            "has more than {most} bytes when it is written as JSON without anchors, allowed: {most}"
        )));
    };
    canonical.push('\n');
    let kept = RestartBoundState::of(&tree, &active);
    let (warnings, left_out) = (warnings.into_findings(), left_out.into_findings());
    Ok(Checked { active, warnings, left_out, tree, canonical, kept })
}

fn check_tree(
    mut tree: Map<String, Value>,
    findings: &mut Report,
    left_out: &mut Report,
    warnings: &mut Report,
    steps: &mut Steps,
) -> Result<(Map<String, Value>, String), TooComplex> {
    walk::object(&mut tree, schema::MODULES, &Place::Document, findings, steps)?;
    let active = policy::check(&tree, findings, warnings);
    if findings.is_empty() {
        rdt::check(&tree, findings, steps)?;
    }
    sieve::sift(&mut tree, findings, left_out);
    Ok((tree, active))
}

fn read(text: &str, steps: &mut Steps) -> Result<Map<String, Value>, String> {
    match parse(text, steps)? {
        Value::Object(map) if !map.is_empty() => Ok(map),
        Value::Object(_) | Value::Null => Err(EMPTY.into()),
        _ => Err("must be a map of modules".into()),
    }
}

fn parse(text: &str, steps: &mut Steps) -> Result<Value, String> {
    steps.take(text.len()).map_err(|error| format!("is {error}"))?;
    // What is written is bounded by the text's length; this bounds what anchors make of it.
    let mut aliases = serde_saphyr::options::AliasLimits::default();
    aliases.max_total_replayed_events = limits::REPEATED_VALUES;
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: limits::DEPTH,
            max_documents: 2,
            max_nodes: limits::CONFIGURATION_BYTES + limits::REPEATED_VALUES,
            max_recorded_anchor_bytes: 16 * limits::CONFIGURATION_BYTES,
            max_total_scalar_bytes: 4 * limits::CONFIGURATION_BYTES,
        },
        alias_limits: aliases,
        // As YAML 1.1, and with it the daemon, reads `010`.
        legacy_octal_numbers: true,
    };
    let read = serde_saphyr::from_str_with_options(text, options).map_err(|error| not_yaml(&error));
    // What it was for the reader, anchors included; at most, where it gave up.
    let read_values = match &read {
        Ok(value) => values(value),
        Err(_) if text.contains('*') => MOST_EVENTS * limits::REPEATED_VALUES,
        Err(_) => 0,
    };
    steps.take(STEPS_OF_A_VALUE * read_values).map_err(|error| format!("is {error}"))?;
    read
}

/// To read a value takes longer than to read a byte.
const STEPS_OF_A_VALUE: usize = 4;
/// What the reader has for one value: it may begin, have a key, and end.
const MOST_EVENTS: usize = 4;

/// How many values it is.
fn values(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.iter().map(|item| 1 + values(item)).sum(),
        Value::Object(map) => map.values().map(|item| 1 + values(item)).sum(),
        _ => 0,
    }
}

/// Without the snippet: the message may end up where a configuration's text must not.
fn not_yaml(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().render_with_formatter(&serde_saphyr::UserMessageFormatter);
    format!("is not one YAML document: {text}")
}

/// Puts dotted keys (`policy.balloons`) where they belong. Giving the same child both ways is a fault.
fn nest(document: Map<String, Value>, findings: &mut Report) -> Map<String, Value> {
    // Plain keys first: they are the parents.
    let (mut tree, dotted): (Map<_, _>, Map<_, _>) = document.into_iter().partition(|(key, _)| !key.contains('.'));
    for (key, value) in dotted {
        if key.split('.').nth(MOST_NAMES).is_some() {
            findings.push(|| Finding::new(&key, "there is no such key"));
            continue;
        }
        let mut names: Vec<&str> = key.split('.').collect();
        let Some(last) = names.pop() else { continue };
        let mut at = Some(&mut tree);
        for name in names {
            at = at.and_then(|map| map.entry(name).or_insert_with(|| Value::Object(Map::new())).as_object_mut());
        }
        match at {
            Some(map) if !map.contains_key(last) => drop(map.insert(last.to_owned(), value)),
            Some(_) => findings.push(|| Finding::new(&key, "is given twice, as a dotted key and within its parent")),
            None => findings.push(|| Finding::new(&key, "its parent is not a map")),
        }
    }
    tree
}

/// Names in a dotted key: more than any key of the schema has.
const MOST_NAMES: usize = 8;
