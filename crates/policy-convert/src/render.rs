//! A conversion as a text for people, as Markdown and as JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use extension_config::ConfigKey;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::convert::Conversion;
use crate::report::{Entry, Report, Verdict};
use crate::rule::Grade;

/// Why there is no text.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// YAML could not be written.
    #[error("cannot write YAML: {0}")]
    Yaml(String),
    /// JSON could not be written.
    #[error("cannot write JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// The sections `backend` and `nri` of a providerConfig; nothing where no policy came of it.
#[must_use]
pub fn provider_config(conversion: &Conversion) -> Value {
    let mut policies = Map::new();
    let (mut groups, mut nodes) = (Map::new(), Map::new());
    for (slot, policy) in &conversion.policies {
        let policy = json!({ "kind": policy.kind.name(), "spec": policy.spec });
        match slot {
            ConfigKey::Group(name) => drop(groups.insert(name.clone(), policy)),
            ConfigKey::Node(name) => drop(nodes.insert(name.clone(), policy)),
            _ => drop(policies.insert("default".to_owned(), policy)),
        }
    }
    for (name, some) in [("groups", groups), ("nodes", nodes)] {
        if !some.is_empty() {
            policies.insert(name.to_owned(), some.into());
        }
    }
    if policies.is_empty() {
        return Value::Null;
    }
    json!({ "backend": "nri-plugins", "nri": { "policies": policies } })
}

fn yaml(value: &impl Serialize) -> Result<String, Error> {
    serde_saphyr::to_string(value).map_err(|error| Error::Yaml(error.to_string()))
}

/// For a terminal.
///
/// # Errors
/// When YAML cannot be written.
pub fn text(conversion: &Conversion, accepted: &BTreeSet<String>) -> Result<String, Error> {
    let mut out = String::new();
    let report = &conversion.report;
    let mut line = |text: &str| {
        // Writing to a text cannot fail.
        let _ = writeln!(out, "{text}");
    };
    line(&format!("# {}", report.verdict(accepted).text()));
    line(&format!("# {}", counts(report)));
    line("");
    let section = provider_config(conversion);
    if section.is_null() {
        line("# no policy came of it");
    } else {
        let is_draft = report.verdict(accepted) == Verdict::NeedsDecision;
        let draft = if is_draft { "; a draft, until everything is decided" } else { "" };
        line(&format!("# for the providerConfig, in its typed form{draft}"));
        line(yaml(&section)?.trim_end());
    }
    if !conversion.labels.is_empty() {
        line("\n# labels of nodes");
        for label in &conversion.labels {
            line(&format!(
                "kubectl label node --selector {}={} {}={}",
                label.of.0, label.of.1, label.add.0, label.add.1
            ));
        }
    }
    if !conversion.patches.is_empty() {
        line("\n# annotations to add, before nodes are moved");
        line(yaml(&conversion.patches)?.trim_end());
    }
    for grade in Grade::ALL {
        let entries: Vec<&Entry> = report.entries().filter(|entry| entry.grade == grade).collect();
        if entries.is_empty() {
            continue;
        }
        line(&format!("\n# {} ({})", grade.name(), entries.len()));
        let width = entries.iter().map(|entry| entry.id.chars().count()).max().unwrap_or(0).min(MOST_WIDTH);
        for entry in entries {
            let becomes = entry.becomes.as_deref().map(|place| format!("-> {place}")).unwrap_or_default();
            let mark = if accepted.contains(&entry.id) { " (accepted)" } else { "" };
            line(visible(&format!("{:width$}  {becomes}{mark}", entry.id)).trim_end());
            if !entry.text.is_empty() && grade != Grade::Same {
                line(&visible(&format!("    {}", entry.text)));
            }
        }
    }
    if !report.notes.is_empty() {
        line(&format!("\n# worth knowing of the new policies ({})", report.notes.len()));
    }
    for note in &report.notes {
        line(&visible(&format!("{}: {}", note.path, note.text)));
    }
    Ok(out)
}

/// Widest column of ids; a longer one pushes what follows it.
const MOST_WIDTH: usize = 90;

fn counts(report: &Report) -> String {
    let of =
        |grade: Grade| format!("{} {}", report.entries().filter(|entry| entry.grade == grade).count(), grade.name());
    Grade::ALL.map(of).join(", ")
}

/// A file may hold what a terminal takes for a command.
fn visible(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { '\u{fffd}' } else { character }).collect()
}

/// For a page.
///
/// # Errors
/// When YAML cannot be written.
pub fn markdown(conversion: &Conversion, accepted: &BTreeSet<String>) -> Result<String, Error> {
    let report = &conversion.report;
    let mut out = format!("**{}**: {}\n", report.verdict(accepted).text(), counts(report));
    let section = provider_config(conversion);
    if !section.is_null() {
        let _ = write!(out, "\n```yaml\n{}```\n", yaml(&section)?);
    }
    for label in &conversion.labels {
        let _ = write!(
            out,
            "\nNodes with the label `{}={}` get `{}={}`.\n",
            label.of.0, label.of.1, label.add.0, label.add.1
        );
    }
    if !conversion.patches.is_empty() {
        let _ = write!(out, "\nAnnotations to add:\n\n```yaml\n{}```\n", yaml(&conversion.patches)?);
    }
    out.push_str("\n| | id | becomes | |\n|---|---|---|---|\n");
    for grade in Grade::ALL {
        for entry in report.entries().filter(|entry| entry.grade == grade) {
            let cell = |text: &str| visible(text).replace('|', "\\|");
            let becomes = entry.becomes.as_deref().map(|place| format!("`{}`", cell(place))).unwrap_or_default();
            let _ = writeln!(out, "| {} | `{}` | {becomes} | {} |", grade.name(), cell(&entry.id), cell(&entry.text));
        }
    }
    for note in &report.notes {
        let _ = write!(out, "\n`{}`: {}\n", visible(&note.path), visible(&note.text));
    }
    Ok(out)
}

#[derive(Serialize)]
struct Json<'a> {
    verdict: Verdict,
    #[serde(rename = "providerConfig")]
    provider_config: Value,
    labels: Vec<Value>,
    annotations: &'a BTreeMap<String, BTreeMap<String, String>>,
    report: &'a Report,
}

/// For programs.
///
/// # Errors
/// When JSON cannot be written.
pub fn json(conversion: &Conversion, accepted: &BTreeSet<String>) -> Result<String, Error> {
    let labels = conversion.labels.iter();
    let pair = |(key, value): &(String, String)| json!({ "key": key, "value": value });
    let all = Json {
        verdict: conversion.report.verdict(accepted),
        provider_config: provider_config(conversion),
        labels: labels.map(|label| json!({ "of": pair(&label.of), "add": pair(&label.add) })).collect(),
        annotations: &conversion.patches,
        report: &conversion.report,
    };
    Ok(serde_json::to_string_pretty(&all)? + "\n")
}
