//! Compares a document with the schema.

use serde_json::{Map, Value};

use super::json::length_of_key;
use super::report::{Finding, Place, Report, Steps, TooComplex};
use super::schema::{Field, Kind};
use super::value::shown;
use crate::limits;

/// Reports every key and value that the schema does not allow.
pub(crate) fn object(
    map: &Map<String, Value>,
    fields: &[Field],
    place: &Place<'_>,
    findings: &mut Report,
    steps: &mut Steps,
) -> Result<(), TooComplex> {
    for (key, value) in map {
        let place = Place::Key(place, key);
        if let Some(field) = fields.iter().find(|field| field.name == key) {
            self::value(value, &field.kind, &place, findings, steps)?;
        } else {
            steps.take(1)?;
            findings.push(|| {
                let allowed: Vec<_> = fields.iter().map(|field| field.name).collect();
                Finding::new(place.to_string(), format!("there is no such key, allowed: {}", allowed.join(", ")))
            });
        }
    }
    Ok(())
}

fn value(
    value: &Value,
    kind: &Kind,
    place: &Place<'_>,
    findings: &mut Report,
    steps: &mut Steps,
) -> Result<(), TooComplex> {
    steps.take(1)?;
    let mut wrong = |expected: &str| {
        findings.push(|| Finding::new(place.to_string(), format!("must be {expected}, is {}", shown(value))));
    };
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
            steps.take(size(value))?;
            if !test(value) {
                wrong(expected);
            }
        }
        (Kind::List(kind), Value::Array(items)) => {
            for (index, item) in items.iter().enumerate() {
                self::value(item, kind, &Place::Item(place, index), findings, steps)?;
            }
        }
        (Kind::List(_), _) => wrong("a list"),
        (Kind::Map(kind), Value::Object(map)) => {
            for (key, item) in map {
                let place = Place::Key(place, key);
                let length = length_of_key(key);
                if length > limits::NAME_BYTES {
                    let message = format!("the name has {length} bytes, allowed: {}", limits::NAME_BYTES);
                    findings.push(|| Finding::new(place.to_string(), message));
                }
                self::value(item, kind, &place, findings, steps)?;
            }
        }
        (Kind::Object(fields), Value::Object(map)) => object(map, fields, place, findings, steps)?,
        (Kind::Map(_) | Kind::Object(_), _) => wrong("a map"),
    }
    Ok(())
}

/// Steps that a value with a grammar of its own takes: its bytes and its parts.
fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(|item| 1 + size(item)).sum(),
        Value::Object(map) => map.iter().map(|(key, item)| 1 + key.len() + size(item)).sum(),
        _ => 1,
    }
}
