//! The README of a chart: each of its values with type, default and meaning, out of values.yaml and its schema.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context as _, bail};
use serde::Deserialize;
use serde_json::Value;

use super::row;

/// A chart, and what its README says before the table.
pub(super) struct Chart {
    pub(super) folder: &'static str,
    about: &'static str,
}

pub(super) const CHARTS: [Chart; 3] = [
    Chart {
        folder: "charts/gardener-extension-cri-resmgr",
        about: "Nobody installs it with Helm: a registration hands it to Gardener, and your values with it (`cargo xtask controller-registration --values FILE`,\n\
                [docs/installation.md](../../docs/installation.md#2-register)). `cargo xtask check FILE` judges a file of values.",
    },
    Chart {
        folder: "charts/gardener-extension-cri-resmgr-admission/runtime",
        about: "With gardener-operator it comes with the Extension; without it by Helm, as [docs/admission.md](../../../docs/admission.md) says. The rights that it\n\
                needs in the garden are the chart [application](../application/README.md).",
    },
    Chart {
        folder: "charts/gardener-extension-cri-resmgr-admission/application",
        about: "The other half of the chart [runtime](../runtime/README.md) ([docs/admission.md](../../../docs/admission.md)).",
    },
];

#[derive(Deserialize)]
struct Metadata {
    name: String,
    description: String,
}

impl Chart {
    /// The README of the chart in the repository at `root`.
    pub(super) fn page(&self, root: &Path) -> anyhow::Result<String> {
        let read = |name: &str| {
            std::fs::read_to_string(root.join(self.folder).join(name))
                .with_context(|| format!("{}/{name}", self.folder))
        };
        let Metadata { name, description } = serde_saphyr::from_str(&read("Chart.yaml")?)?;
        let schema = match read("values.schema.json") {
            Ok(text) => serde_json::from_str(&text)?,
            Err(_) => Value::Null,
        };
        let mut page = format!("# {name}\n\n{description}.\n\n{}\n\n", self.about);
        page += "This page is made by `cargo xtask reference` out of `values.yaml` and its schema; `cargo xtask test` fails where it is not current.\n\n";
        page += "| value | type | default | meaning |\n|---|---|---|---|\n";
        for entry in entries(&read("values.yaml")?, &schema).with_context(|| self.folder)? {
            page += &row(&[&format!("`{}`", entry.path), &entry.kind, &entry.default, &entry.meaning]);
        }
        Ok(page)
    }
}

/// A value, as its row.
#[derive(Debug, PartialEq)]
struct Entry {
    path: String,
    kind: String,
    default: String,
    meaning: String,
}

/// Every value, in the order of the file; then those that the schema alone has, which are absent by default.
fn entries(text: &str, schema: &Value) -> anyhow::Result<Vec<Entry>> {
    let values: Value = serde_saphyr::from_str(text)?;
    let mut found: Vec<Entry> = Vec::new();
    // Keys on the way to the line, with their indentation; and below which nothing is looked at any more.
    let mut way: Vec<(usize, &str)> = Vec::new();
    let mut closed: Option<usize> = None;
    let mut comment: Vec<&str> = Vec::new();
    for line in text.lines().chain([""]) {
        let (indent, content) = (line.len() - line.trim_start().len(), line.trim());
        if let Some(said) = content.strip_prefix('#') {
            comment.push(said.trim());
            continue;
        }
        if content.is_empty() {
            if let Some((path, meaning)) = absent(&comment) {
                found.push(Entry {
                    kind: kind(at(schema, schema, path)),
                    default: "absent".to_owned(),
                    meaning,
                    path: path.to_owned(),
                });
            }
            comment.clear();
            continue;
        }
        let said = meaning(&comment);
        comment.clear();
        if closed.is_some_and(|closed| indent > closed) || content.starts_with("- ") {
            continue;
        }
        closed = None;
        let (key, _) = content.split_once(':').with_context(|| format!("no key: {line}"))?;
        way.retain(|(of, _)| *of < indent);
        way.push((indent, key));
        let path = way.iter().map(|(_, key)| *key).collect::<Vec<_>>().join(".");
        let value =
            values.pointer(&format!("/{}", path.replace('.', "/"))).with_context(|| format!("{path} is not read"))?;
        let of_schema = at(schema, schema, &path);
        // A map whose keys are not ours is one value.
        let is_open = value.as_object().is_none_or(serde_json::Map::is_empty)
            || (!schema.is_null() && !of_schema["properties"].is_object());
        if is_open {
            closed = Some(indent);
            let kind = if of_schema.is_null() { kind_of(value).to_owned() } else { kind(of_schema) };
            found.push(Entry { path, kind, default: format!("`{value}`"), meaning: said });
        } else if !said.is_empty() {
            found.push(Entry { path, kind: "object".to_owned(), default: "as below".to_owned(), meaning: said });
        }
    }
    let shown: BTreeSet<String> =
        found.iter().map(|entry| entry.path.split('.').next().unwrap_or_default().to_owned()).collect();
    for (name, of_schema) in schema["properties"].as_object().into_iter().flatten() {
        if !shown.contains(name) {
            let meaning = of_schema["description"].as_str();
            let meaning = meaning
                .with_context(|| format!("values.yaml does not show {name}, and its schema has no description"))?;
            let (kind, default) = (kind(resolved(schema, of_schema)), "absent".to_owned());
            found.push(Entry { path: name.clone(), kind, default, meaning: meaning.to_owned() });
        }
    }
    for Entry { path, meaning, .. } in &found {
        let is_within = |of: &Entry| path.strip_prefix(of.path.as_str()).is_some_and(|rest| rest.starts_with('.'));
        if meaning.is_empty() && path.contains('.') && !found.iter().any(is_within) && !speaks_for_itself(path) {
            bail!("values.yaml has no comment about {path}");
        }
    }
    Ok(found)
}

/// Values of Kubernetes' own, whose names say all.
fn speaks_for_itself(path: &str) -> bool {
    ["vpa.", "podDisruptionBudget.", "metrics.", "health.", "resources."].iter().any(|of| path.starts_with(of))
}

/// What a comment says, without the example behind it.
fn meaning(comment: &[&str]) -> String {
    comment.iter().take_while(|line| !line.is_empty()).copied().collect::<Vec<_>>().join(" ")
}

/// The value that a comment is about which no key follows: it shows one, behind an empty line.
fn absent<'a>(comment: &[&'a str]) -> Option<(&'a str, String)> {
    let example = comment.iter().skip_while(|line| !line.is_empty()).find(|line| !line.is_empty())?;
    Some((example.strip_suffix(':')?, meaning(comment)))
}

/// The schema at a path of values, or null.
fn at<'a>(all: &'a Value, schema: &'a Value, path: &str) -> &'a Value {
    path.split('.').fold(resolved(all, schema), |schema, key| resolved(all, &schema["properties"][key]))
}

fn resolved<'a>(all: &'a Value, schema: &'a Value) -> &'a Value {
    let definition = schema["$ref"].as_str().and_then(|reference| all.pointer(reference.strip_prefix('#')?));
    definition.unwrap_or(schema)
}

/// What a value may be, as its schema says.
fn kind(schema: &Value) -> String {
    let words = |values: &Value| -> Vec<String> {
        values.as_array().into_iter().flatten().map(|value| format!("`{value}`")).collect()
    };
    if schema["enum"].is_array() {
        return words(&schema["enum"]).join(", ");
    }
    if let Some(choices) = schema["oneOf"].as_array() {
        return choices.iter().map(kind).collect::<Vec<_>>().join(" or ");
    }
    let name = match &schema["type"] {
        Value::Array(names) => {
            let names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
            return names.join(" or ");
        }
        name => name.as_str().unwrap_or("any").to_owned(),
    };
    match (schema["minimum"].as_i64(), schema["maximum"].as_i64()) {
        (Some(least), Some(most)) => format!("{name}, {least} to {most}"),
        (Some(least), None) => format!("{name}, at least {least}"),
        _ => name,
    }
}

/// What a value is, where no schema says it.
fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
        Value::Null => "any",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_value_has_its_comment_its_type_and_its_default() {
        let text = "# What a is\n# in two lines.\n#\n# a:\n#   x: 1\na: {}\n\n# Of b.\nb:\n  # Of c.\n  c: 5\n  d: []\n\n# Of e.\n#\n# e:\n#   f: 1\n\nmap:\n  x: 1\n";
        let schema = json!({
            "properties": {
                "a": { "type": "object" },
                "b": { "properties": { "c": { "$ref": "#/definitions/c" }, "d": { "type": ["array", "null"] } } },
                "e": { "oneOf": [{ "type": "string" }, { "type": "object" }] },
                "map": { "type": "object" },
                "z": { "enum": ["x", "y"], "description": "Of z." },
            },
            "definitions": { "c": { "type": "integer", "minimum": 1, "maximum": 9 } },
        });
        let found = entries(text, &schema).unwrap();
        let found: Vec<[&str; 4]> = found
            .iter()
            .map(|entry| [&entry.path, &entry.kind, &entry.default, &entry.meaning].map(String::as_str))
            .collect();
        assert_eq!(
            found,
            [
                ["a", "object", "`{}`", "What a is in two lines."],
                ["b", "object", "as below", "Of b."],
                ["b.c", "integer, 1 to 9", "`5`", "Of c."],
                ["b.d", "array or null", "`[]`", ""],
                ["e", "string or object", "absent", "Of e."],
                ["map", "object", "`{\"x\":1}`", ""],
                ["z", "`\"x\"`, `\"y\"`", "absent", "Of z."],
            ]
        );
    }

    #[test]
    fn a_value_that_nobody_explains_is_an_error() {
        let error = entries("a:\n  b: 1\n", &Value::Null).unwrap_err();
        assert_eq!(error.to_string(), "values.yaml has no comment about a.b");
        let error = entries("# Of a.\na: 1\n", &json!({ "properties": { "z": { "type": "string" } } })).unwrap_err();
        assert_eq!(error.to_string(), "values.yaml does not show z, and its schema has no description");
    }
}
