//! Compares a document with the schema, and writes keys and whole numbers in the one way in which they travel.

use serde_json::{Map, Value};

use super::json::length_of_key;
use super::number::integer;
use super::report::{Finding, Place, Report, Steps, TooComplex};
use super::schema::{Field, Kind};
use super::value::shown;
use crate::limits;

/// Reports every key and value that the schema does not allow.
pub(crate) fn object(
    map: &mut Map<String, Value>,
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

/// Gives keys the spelling of the schema. Of a key that is there in two spellings the daemon would take one.
fn spell(map: &mut Map<String, Value>, fields: &[Field], place: &Place<'_>, findings: &mut Report) {
    let other = |key: &str| fields.iter().find(|field| field.name.eq_ignore_ascii_case(key) && field.name != key);
    let others: Vec<_> = map.keys().filter_map(|key| Some((key.clone(), other(key)?.name))).collect();
    for (key, name) in others {
        let Some(value) = map.remove(&key) else { continue };
        if map.contains_key(name) {
            findings
                .push(|| Finding::new(Place::Key(place, &key).to_string(), format!("is given twice, also as {name}")));
        } else {
            map.insert(name.to_owned(), value);
        }
    }
}

fn value(
    value: &mut Value,
    kind: &Kind,
    place: &Place<'_>,
    findings: &mut Report,
    steps: &mut Steps,
) -> Result<(), TooComplex> {
    steps.take(1)?;
    let mut wrong = |value: &Value, expected: &str| {
        findings.push(|| Finding::new(place.to_string(), format!("must be {expected}, is {}", shown(value))));
    };
    match (kind, &mut *value) {
        (Kind::Bool, Value::Bool(_))
        | (Kind::Text, Value::String(_))
        | (Kind::TextOrNumber, Value::String(_) | Value::Number(_) | Value::Bool(_)) => {}
        (Kind::Bool, value) => wrong(value, "true or false"),
        (Kind::Text | Kind::TextOrNumber, value) => {
            wrong(value, "a text (in quotes where it looks like something else)");
        }
        (Kind::Integer(low, high), value) => match integer(value).filter(|number| (*low..=*high).contains(number)) {
            // 2.0 is 2 for the daemon, too.
            Some(number) => *value = number.into(),
            None if [i64::from(i32::MAX), i64::from(u32::MAX)].contains(high) => {
                wrong(value, &format!("a whole number of at least {low}"));
            }
            None => wrong(value, &format!("a whole number from {low} to {high}")),
        },
        (Kind::OneOf(words), value) => {
            if value.as_str().is_none_or(|text| !words.contains(&text)) {
                wrong(value, &format!("one of {}", words.join(", ")));
            }
        }
        (Kind::Word(words), value) => {
            if value.as_str().is_none_or(|text| !words.iter().any(|word| word.eq_ignore_ascii_case(text))) {
                wrong(value, &format!("one of {}", words.join(", ")));
            }
        }
        (Kind::Checked(test, expected), value) => {
            steps.take(size(value))?;
            if !test(value) {
                wrong(value, expected);
            }
        }
        (Kind::List(kind), Value::Array(items)) => {
            for (index, item) in items.iter_mut().enumerate() {
                self::value(item, kind, &Place::Item(place, index), findings, steps)?;
            }
        }
        (Kind::List(_), value) => wrong(value, "a list"),
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
        (Kind::Struct(fields), Value::Object(map)) => {
            spell(map, fields, place, findings);
            object(map, fields, place, findings, steps)?;
        }
        (Kind::Map(_) | Kind::Object(_) | Kind::Struct(_), value) => wrong(value, "a map"),
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
