//! Compares a document with the schema.

use serde_json::{Map, Value};

use super::document::Finding;
use super::schema::{Field, Kind};
use super::value::shown;

/// Reports every key and value that the schema does not allow.
pub(crate) fn object(map: &Map<String, Value>, fields: &[Field], path: &str, findings: &mut Vec<Finding>) {
    for (key, value) in map {
        let path = join(path, key);
        if let Some(field) = fields.iter().find(|field| field.name == key) {
            self::value(value, &field.kind, &path, findings);
        } else {
            let allowed: Vec<_> = fields.iter().map(|field| field.name).collect();
            findings.push(Finding::new(path, format!("there is no such key, allowed: {}", allowed.join(", "))));
        }
    }
}

fn value(value: &Value, kind: &Kind, path: &str, findings: &mut Vec<Finding>) {
    let mut wrong =
        |expected: &str| findings.push(Finding::new(path, format!("must be {expected}, is {}", shown(value))));
    match (kind, value) {
        (Kind::Bool, Value::Bool(_))
        | (Kind::Text, Value::String(_))
        | (Kind::TextOrNumber, Value::String(_) | Value::Number(_) | Value::Bool(_)) => {}
        (Kind::Bool, _) => wrong("true or false"),
        (Kind::Text | Kind::TextOrNumber, _) => wrong("a text (in quotes where it looks like something else)"),
        (Kind::Integer(low, high), _) => {
            if value.as_i64().is_none_or(|number| number < *low || number > *high) {
                wrong(&match (*low, *high) {
                    (low, high) if high == i64::from(i32::MAX) || high == i64::from(u32::MAX) => {
                        format!("a whole number of at least {low}")
                    }
                    (low, high) => format!("a whole number from {low} to {high}"),
                });
            }
        }
        (Kind::OneOf(words), _) => {
            if value.as_str().is_none_or(|text| !words.contains(&text)) {
                wrong(&format!("one of {}", words.join(", ")));
            }
        }
        (Kind::Checked(test, expected), _) => {
            if !test(value) {
                wrong(expected);
            }
        }
        (Kind::List(kind), Value::Array(items)) => {
            for (index, item) in items.iter().enumerate() {
                self::value(item, kind, &format!("{path}[{index}]"), findings);
            }
        }
        (Kind::List(_), _) => wrong("a list"),
        (Kind::Map(kind), Value::Object(map)) => {
            for (key, item) in map {
                self::value(item, kind, &join(path, key), findings);
            }
        }
        (Kind::Object(fields), Value::Object(map)) => object(map, fields, path, findings),
        (Kind::Map(_) | Kind::Object(_), _) => wrong("a map"),
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}
