//! Is our schema that of the CRDs?
//!
//! Needs the Go module github.com/containers/nri-plugins, as `go list -m -f {{.Dir}}` names it:
//! `NRI_PLUGINS_MODULE=/path cargo test -p nri-policy --test upstream -- --ignored --nocapture`.

#![expect(clippy::unwrap_used, reason = "all of it is a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use nri_policy::Kind;
use nri_policy::schema::{Default, Field, Schema, Words};
use serde_json::{Map, Value, json};

/// What a schema may say without meaning anything for a check.
const TEXTS: [&str; 2] = ["description", "example"];

/// What was compared, and where the two differ.
#[derive(Default)]
struct Comparison {
    keys: usize,
    facts: usize,
    differences: Vec<String>,
}

impl Comparison {
    fn expect(&mut self, path: &str, what: &str, ours: &Value, theirs: Option<&Value>) {
        self.facts += 1;
        if ours != theirs.unwrap_or(&Value::Null) {
            self.differences.push(format!("{path}: {what}: ours {ours}, the CRD's {theirs:?}"));
        }
    }

    fn object(&mut self, path: &str, fields: &[Field], theirs: &Map<String, Value>) {
        let none = Map::new();
        let properties = theirs.get("properties").and_then(Value::as_object).unwrap_or(&none);
        let ours: BTreeSet<&str> = fields.iter().map(|field| field.name).collect();
        let names: BTreeSet<&str> = properties.keys().map(String::as_str).collect();
        for name in ours.symmetric_difference(&names) {
            let owner = if ours.contains(name) { "only ours" } else { "only the CRD's" };
            self.differences.push(format!("{path}.{name}: is {owner}"));
        }
        if ours.len() != fields.len() {
            self.differences.push(format!("{path}: we have a key twice"));
        }
        let required: BTreeSet<&str> = theirs
            .get("required")
            .and_then(Value::as_array)
            .map(|names| names.iter().filter_map(Value::as_str).collect())
            .unwrap_or_default();
        for field in fields {
            let Some(theirs) = properties.get(field.name) else { continue };
            let path = format!("{path}.{}", field.name);
            self.keys += 1;
            self.expect(&path, "required", &field.is_required.into(), Some(&required.contains(field.name).into()));
            let default = field.default.as_ref().map_or(Value::Null, written);
            self.expect(&path, "default", &default, theirs.get("default"));
            self.value(&path, &field.schema, theirs);
        }
    }

    fn value(&mut self, path: &str, ours: &Schema, theirs: &Value) {
        let theirs = theirs.as_object().unwrap();
        // What we expect of everything that is neither text nor compared below.
        let mut said: BTreeMap<&str, Value> = BTreeMap::new();
        match ours {
            Schema::Bool => drop(said.insert("type", json!("boolean"))),
            Schema::Integer(bounds) => {
                said.insert("type", json!("integer"));
                said.extend(bounds.minimum.map(|minimum| ("minimum", json!(minimum))));
                said.extend(bounds.format.map(|format| ("format", json!(format))));
                let low = bounds.minimum.unwrap_or(i64::MIN);
                assert!(bounds.allowed.0 >= low && bounds.allowed.0 <= bounds.allowed.1, "{path}: our bounds");
            }
            Schema::Text(text) => {
                said.insert("type", json!("string"));
                said.extend(text.format.map(|format| ("format", json!(format))));
                match text.words {
                    Words::Any | Words::Binary(_) | Words::EnumOfList(_) => {}
                    Words::Enum(words) => drop(said.insert("enum", json!(words))),
                    Words::Rule(words) => {
                        self.expect(path, "rule", &json!(words), words_of_rule(theirs).as_ref());
                        said.insert("x-kubernetes-validations", theirs["x-kubernetes-validations"].clone());
                    }
                }
            }
            Schema::List { item, is_set } => {
                said.insert("type", json!("array"));
                if *is_set {
                    said.insert("x-kubernetes-list-type", json!("set"));
                }
                if let Schema::Text(text) = item
                    && let Words::EnumOfList(words) = text.words
                {
                    said.insert("enum", json!(words));
                }
                match theirs.get("items") {
                    Some(theirs) => self.value(&format!("{path}[]"), item, theirs),
                    None => self.differences.push(format!("{path}: the CRD's is no list")),
                }
            }
            Schema::Map(item) => {
                said.insert("type", json!("object"));
                match theirs.get("additionalProperties") {
                    Some(theirs) => self.value(&format!("{path}.*"), item, theirs),
                    None => self.differences.push(format!("{path}: the CRD's has no free keys")),
                }
            }
            Schema::Object(fields) => {
                said.insert("type", json!("object"));
                self.object(path, fields, theirs);
            }
        }
        let compared = match ours {
            Schema::List { .. } => &["items", "default"][..],
            Schema::Map(_) => &["additionalProperties", "default"],
            Schema::Object(_) => &["properties", "required", "default"],
            _ => &["default"],
        };
        for (word, value) in theirs {
            if !TEXTS.contains(&word.as_str())
                && !compared.contains(&word.as_str())
                && !said.contains_key(word.as_str())
            {
                self.differences.push(format!("{path}: only the CRD says {word}: {value}"));
            }
        }
        for (word, value) in said {
            self.expect(path, word, &value, theirs.get(word));
        }
    }
}

/// Words of a rule `self == 'A' || self == 'B'`; none when it is another.
fn words_of_rule(schema: &Map<String, Value>) -> Option<Value> {
    let rules = schema.get("x-kubernetes-validations")?.as_array()?;
    let [rule] = rules.as_slice() else { return None };
    let words: Option<Vec<&str>> =
        rule["rule"].as_str()?.split(" || ").map(|part| part.strip_prefix("self == '")?.strip_suffix('\'')).collect();
    Some(json!(words?))
}

fn written(default: &Default) -> Value {
    match default {
        Default::Bool(value) => json!(value),
        Default::Text(text) => json!(text),
        Default::Texts(texts) => json!(texts),
        Default::Object(entries) => entries.iter().map(|(key, value)| ((*key).to_owned(), written(value))).collect(),
    }
}

#[test]
#[ignore = "needs the Go module of nri-plugins in NRI_PLUGINS_MODULE"]
fn the_schema_is_that_of_the_crds() {
    let module = std::env::var_os("NRI_PLUGINS_MODULE").unwrap_or_else(|| {
        panic!("NRI_PLUGINS_MODULE is not set; it names the folder of the Go module github.com/containers/nri-plugins")
    });
    for kind in Kind::ALL {
        let plural = kind.name().to_ascii_lowercase().replace("policy", "policies");
        let path = PathBuf::from(&module).join(format!("config/crd/bases/config.nri_{plural}.yaml"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let crd: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(crd["spec"]["names"]["kind"], kind.name());
        let versions = crd["spec"]["versions"].as_array().unwrap();
        assert_eq!(versions.len(), 1, "{kind}: versions");
        let group = crd["spec"]["group"].as_str().unwrap();
        assert_eq!(format!("{group}/{}", versions[0]["name"].as_str().unwrap()), nri_policy::API_VERSION);
        let spec = &versions[0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        let mut comparison = Comparison::default();
        comparison.value("spec", &Schema::Object(kind.fields()), spec);
        println!(
            "{kind}: {} keys, {} facts compared, {} differ",
            comparison.keys,
            comparison.facts,
            comparison.differences.len()
        );
        assert!(comparison.differences.is_empty(), "{}", comparison.differences.join("\n"));
        assert!(comparison.keys > 100, "{kind}: {} keys are too few to be all", comparison.keys);
    }
}
