//! The page about each field of the providerConfig: what it means, what it is without, and what a change of it does.

use std::collections::BTreeSet;

use anyhow::{Context as _, bail};
use serde_json::{Map, Value};

use super::row;

pub(super) const PAGE: &str = "docs/provider-config.md";
pub(super) const SCHEMA: &str = "docs/provider-config.schema.json";

/// Before the tables.
const HEAD: &str = "# The providerConfig, field by field

What a shoot's owner writes into `spec.extensions[].providerConfig` of the Shoot. This page is made by `cargo xtask reference` out of the
[schema](provider-config.schema.json); `cargo xtask test` fails where it is not current. What is checked beyond it, which keys are left out, and all limits stand in
[configuration.md](configuration.md), whole configurations in [examples/provider-config](../examples/provider-config/README.md); `cargo xtask check FILE` says
[what would come of one](installation.md#check-before-you-apply). A field that is not here is refused.

- **Without a providerConfig** a shoot gets the backend `cri-resmgr` on every worker pool that it can serve, with the operator's base configuration; without that, with the policy `none`, which
  changes no container.
- **What `configs` leaves out comes from the operator's base configuration**, key by key, before the default that stands here. So where the base has a `default`, a shoot that sets `fallback` alone
  runs with that `default`: set both. The Extension tells the origin of each (`status.providerStatus.configs`).
- **A node takes one configuration; they are never merged**: `force`, else that of the node, of its group, `default`, `fallback`
  ([more](operations.md#dynamic-configuration)). The last column says what a change does on nodes that have the backend already.
- The original's untyped form, without `apiVersion` and `kind`, is read, too: the keys of `configs` are then `fallback`, `force`, `default`, `node.NODE`, `group.GROUP` and
  `EXTRA_OPTIONS`, each a text, and `nodeSelector` stands for `selection.matchLabels`. The base configuration has the same keys.
";

/// Which sections there are, in the order of the page: the field that each is about, and what else is to be said of it.
const SECTIONS: [(&str, &str, &str); 5] = [
    ("", "The whole", ""),
    (
        "configs",
        "configs: the backend cri-resmgr",
        "A configuration is cri-resmgr's own, as YAML text or as an object; [upstream's documentation](https://intel.github.io/cri-resource-manager/stable/docs/policy/index.html) has the keys of each policy.",
    ),
    (
        "nri",
        "nri: the backend nri-plugins",
        "A `spec` is upstream's, of the kind that stands beside it: [balloons](https://containers.github.io/nri-plugins/stable/docs/resource-policy/policy/balloons.html), [topology-aware](https://containers.github.io/nri-plugins/stable/docs/resource-policy/policy/topology-aware.html).",
    ),
    (
        "migration",
        "migration: from one backend to the other",
        "The way is told in [migration-to-nri.md](migration-to-nri.md).",
    ),
    (
        "selection",
        "selection: which nodes",
        "Both conditions must hold. Pools that cannot be served are left alone and named ([which](operations.md#worker-pools-that-are-left-alone)).",
    ),
];

/// The page for a schema.
pub(super) fn page(schema: &str) -> anyhow::Result<String> {
    let schema: Value = serde_json::from_str(schema)?;
    let mut walk = Walk { schema: &schema, seen: BTreeSet::new() };
    let mut page = HEAD.to_owned();
    let mut rows = Vec::new();
    walk.fields("", &schema, &mut rows)?;
    for (section, title, about) in SECTIONS {
        page.extend(["\n## ", title, "\n\n"]);
        if !about.is_empty() {
            page.extend([about, "\n\n"]);
        }
        page += "| field | without it | what it means | a change |\n|---|---|---|---|\n";
        for found in rows.iter().filter(|found| found.section() == section) {
            page += &row(&[&found.name(), &found.default, &found.meaning, &found.effect]);
        }
    }
    if let Some(lost) = rows.iter().find(|found| !SECTIONS.iter().any(|(section, ..)| found.section() == *section)) {
        bail!("no section of the page is about {}", lost.path);
    }
    Ok(page)
}

/// What there is to say of a field.
#[derive(Debug)]
struct Field {
    path: String,
    kind: String,
    default: String,
    meaning: String,
    effect: String,
}

impl Field {
    fn section(&self) -> &str {
        self.path.split_once('.').map_or("", |(first, _)| first)
    }

    fn name(&self) -> String {
        format!("`{}`, {}", self.path, self.kind)
    }
}

struct Walk<'a> {
    schema: &'a Value,
    /// Definitions of which the fields stand on the page already.
    seen: BTreeSet<String>,
}

impl<'a> Walk<'a> {
    /// Adds the fields of an object and of all in it. One that says what a change of it does has a row.
    fn fields(&mut self, path: &str, object: &'a Value, rows: &mut Vec<Field>) -> anyhow::Result<()> {
        let Some(properties) = object["properties"].as_object() else { return Ok(()) };
        for (name, field) in properties {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            let (definition, inner) = self.resolved(field)?;
            // Of a map, the values are what matters.
            let (path, (definition, inner)) = match &inner["additionalProperties"] {
                values @ Value::Object(of) if of.contains_key("$ref") => {
                    (format!("{path}.NAME"), self.resolved(values)?)
                }
                _ => (path, (definition, inner)),
            };
            let has_fields = inner["properties"].is_object();
            match (field["x-effect"].as_str(), field["x-default"].as_str()) {
                (Some(effect), Some(default)) => rows.push(Field {
                    kind: if has_fields {
                        "an object".to_owned()
                    } else {
                        kind(inner).with_context(|| path.clone())?
                    },
                    default: default.to_owned(),
                    meaning: meaning(field, inner).with_context(|| path.clone())?,
                    effect: effect.to_owned(),
                    path: path.clone(),
                }),
                (None, None) if has_fields => {}
                _ => {
                    bail!("{path} does not say what it is without it (`x-default`) and what a change does (`x-effect`)")
                }
            }
            if definition.is_none_or(|definition| self.seen.insert(definition)) {
                self.fields(&path, inner, rows)?;
            }
        }
        Ok(())
    }

    /// What a schema stands for, and the definition's name if it is one. That it may be null says nothing to people.
    fn resolved(&self, schema: &'a Value) -> anyhow::Result<(Option<String>, &'a Value)> {
        let schema = match schema["anyOf"].as_array().map(Vec::as_slice) {
            Some([one, null]) if null["type"] == "null" => one,
            _ => schema,
        };
        let Some(reference) = schema["$ref"].as_str() else { return Ok((None, schema)) };
        let name = reference.strip_prefix("#/$defs/").with_context(|| format!("{reference} is no definition"))?;
        let found = self.schema["$defs"].get(name).with_context(|| format!("there is no {reference}"))?;
        Ok((Some(name.to_owned()), found))
    }
}

/// What a value is, in words.
fn kind(schema: &Value) -> anyhow::Result<String> {
    let is = |kind: &str| match &schema["type"] {
        Value::String(only) => only == kind,
        Value::Array(some) => some.iter().any(|one| one == kind),
        _ => false,
    };
    let words = if let Some(choices) = schema["oneOf"].as_array() {
        let choices: Vec<String> =
            choices.iter().filter_map(|choice| choice["const"].as_str()).map(|word| format!("`{word}`")).collect();
        return Ok(choices.join(" or "));
    } else if schema["anyOf"].is_array() {
        "a text or an object"
    } else if is("array") {
        "a list of texts"
    } else if is("object") && schema["additionalProperties"]["type"] == "string" {
        "a map of texts"
    } else if is("object") {
        "an object"
    } else if is("string") {
        "a text"
    } else {
        bail!("a kind of value that the page has no words for: {schema}")
    };
    Ok(words.to_owned())
}

/// The description, with that of each choice.
fn meaning(field: &Value, inner: &Value) -> anyhow::Result<String> {
    let of = |value: &Map<String, Value>| value.get("description").and_then(Value::as_str).map(str::to_owned);
    let mut text = field.as_object().and_then(of).context("has no description")?.replace('\n', " ");
    for choice in inner["oneOf"].as_array().into_iter().flatten() {
        let word = choice["const"].as_str().context("a choice without a word")?;
        let about = choice.as_object().and_then(of).context("a choice without a description")?;
        text.extend([" `", word, "`: ", about.as_str()]);
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn page_of(properties: &Value) -> anyhow::Result<String> {
        let config = json!({ "properties": { "fallback": {
            "type": "string", "description": "What.", "x-default": "none", "x-effect": "a restart" } } });
        page(&json!({ "properties": properties, "$defs": { "Configs": config } }).to_string())
    }

    #[test]
    fn a_field_has_a_row_in_its_section() {
        let page = page_of(&json!({ "configs": { "$ref": "#/$defs/Configs", "description": "All." } })).unwrap();
        let (_, section) = page.split_once("## configs").unwrap();
        assert!(section.contains("\n| `configs.fallback`, a text | none | What. | a restart |\n"), "{section}");
    }

    #[test]
    fn a_field_that_does_not_say_all_is_an_error() {
        for (properties, expected) in [
            (json!({ "a": { "type": "string", "description": "x" } }), "a does not say what it is without it"),
            (json!({ "a": { "type": "string", "description": "x", "x-effect": "x" } }), "a does not say"),
            (json!({ "a": { "type": "string", "x-effect": "x", "x-default": "x" } }), "a: has no description"),
            (
                json!({ "a": { "type": "number", "description": "x", "x-effect": "x", "x-default": "x" } }),
                "a: a kind of value",
            ),
            (json!({ "a": { "$ref": "#/$defs/Gone", "x-effect": "x", "x-default": "x" } }), "there is no #/$defs/Gone"),
            (json!({ "other": { "$ref": "#/$defs/Configs" } }), "no section of the page is about other.fallback"),
        ] {
            let error = format!("{:#}", page_of(&properties).unwrap_err());
            assert!(error.contains(expected), "{error}");
        }
    }
}
