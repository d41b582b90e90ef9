//! Compares a spec with the schema, and writes out the defaults.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use crate::finding::{CheckOutcome, Place, quoted, shown};
use crate::limits;
use crate::schema::{Default, Field, Schema, Text, Words};

/// Whether a value is small enough to be checked.
pub(crate) fn measure(spec: &Value) -> Result<(), String> {
    /// Levels, or values, that are left.
    fn count(value: &Value, levels: usize, values: &mut usize) -> Result<(), String> {
        let levels = levels.checked_sub(1).ok_or_else(|| format!("has too many levels, allowed: {}", limits::DEPTH))?;
        *values = values.checked_sub(1).ok_or_else(|| format!("has too many values, allowed: {}", limits::VALUES))?;
        match value {
            Value::Array(items) => items.iter().try_for_each(|item| count(item, levels, values)),
            Value::Object(map) => map.values().try_for_each(|item| count(item, levels, values)),
            _ => Ok(()),
        }
    }
    count(spec, limits::DEPTH, &mut { limits::VALUES })
}

/// Reports every key and value that the schema does not allow, and inserts what is absent and has a default.
pub(crate) fn object(map: &mut Map<String, Value>, fields: &[Field], place: &Place<'_>, outcome: &mut CheckOutcome) {
    for (key, value) in &mut *map {
        let place = place.key(key);
        match fields.iter().find(|field| field.name == key) {
            Some(field) => self::value(value, &field.schema, &place, outcome),
            None => outcome.fault(place, unknown(key, fields)),
        }
    }
    for field in fields.iter().filter(|field| field.is_required && !map.contains_key(field.name)) {
        outcome.fault(place.key(field.name), "is missing, and must be there");
    }
    for (field, default) in fields.iter().filter_map(|field| Some((field, field.default.as_ref()?))) {
        if !map.contains_key(field.name) {
            map.insert(field.name.to_owned(), written(default));
        }
    }
}

fn unknown(key: &str, fields: &[Field]) -> String {
    if let Some(field) = fields.iter().find(|field| field.name.eq_ignore_ascii_case(key)) {
        return format!("there is no such key in this letter case, allowed: {}", field.name);
    }
    let allowed: Vec<_> = fields.iter().map(|field| field.name).collect();
    format!("there is no such key, allowed: {}", allowed.join(", "))
}

fn written(default: &Default) -> Value {
    match default {
        Default::Bool(value) => Value::Bool(*value),
        Default::Text(text) => Value::from(*text),
        Default::Texts(texts) => texts.iter().copied().collect(),
        Default::Object(entries) => {
            entries.iter().map(|(key, value)| ((*key).to_owned(), written(value))).collect::<Map<_, _>>().into()
        }
    }
}

fn value(value: &mut Value, schema: &Schema, place: &Place<'_>, outcome: &mut CheckOutcome) {
    let mut wrong =
        |value: &Value, expected: &str| outcome.fault(place, format!("is {}, must be {expected}", shown(value)));
    match (schema, value) {
        (Schema::Bool, Value::Bool(_)) => {}
        (Schema::Bool, value) => wrong(value, "true or false (without quotes)"),
        (Schema::Integer(bounds), value) => {
            let (low, high) = bounds.allowed;
            if value.as_i64().is_none_or(|number| !(low..=high).contains(&number)) {
                wrong(value, &format!("a whole number from {low} to {high} (without quotes)"));
            }
        }
        (Schema::Text(text), Value::String(value)) => self::text(value, text, place, outcome),
        (Schema::Text(text), value) => wrong(value, &format!("a text in quotes{}", expected(text))),
        (Schema::List { item, is_set }, Value::Array(items)) => list(items, item, *is_set, place, outcome),
        (Schema::List { .. }, value) => wrong(value, "a list"),
        (Schema::Map(schema), Value::Object(map)) => {
            for (key, item) in map {
                let place = place.key(key);
                if key.is_empty() || key.len() > limits::NAME_BYTES {
                    outcome
                        .fault(place, format!("the key has {} bytes, allowed: 1 to {}", key.len(), limits::NAME_BYTES));
                }
                self::value(item, schema, &place, outcome);
            }
        }
        (Schema::Object(fields), Value::Object(map)) => object(map, fields, place, outcome),
        (Schema::Map(_) | Schema::Object(_), value) => wrong(value, "a map"),
    }
}

fn text(value: &str, text: &Text, place: &Place<'_>, outcome: &mut CheckOutcome) {
    let is_word = text.words.list().is_none_or(|words| words.contains(&value));
    let is_right = text.grammar.is_none_or(|(test, _)| test(value));
    if !is_word || !is_right {
        outcome.fault(place, format!("is {}, must be{}", quoted(value), expected(text).trim_start_matches(',')));
    }
}

/// What a text must be, to be added to a message.
fn expected(text: &Text) -> String {
    let of_words = |words: &[&str]| {
        words.iter().map(|word| if word.is_empty() { "\"\"" } else { word }).collect::<Vec<_>>().join(", ")
    };
    match (&text.words, text.grammar) {
        (Words::Any, None) => String::new(),
        (Words::Any, Some((_, expected))) => format!(", {expected}"),
        (words, _) => format!(", one of {}", of_words(words.list().unwrap_or_default())),
    }
}

fn list(items: &mut [Value], schema: &Schema, is_set: bool, place: &Place<'_>, outcome: &mut CheckOutcome) {
    if matches!(schema, Schema::Object(_)) && items.len() > limits::NAMED_ENTRIES {
        outcome.fault(place, format!("has {} entries, allowed: {}", items.len(), limits::NAMED_ENTRIES));
        return;
    }
    for (index, item) in items.iter_mut().enumerate() {
        self::value(item, schema, &place.item(index), outcome);
    }
    if is_set {
        let mut seen = BTreeSet::new();
        for (index, item) in items.iter().enumerate().filter_map(|(index, item)| Some((index, item.as_str()?))) {
            if !seen.insert(item) {
                outcome.fault(place.item(index), format!("{} is given twice, allowed: once", quoted(item)));
            }
        }
    }
}
