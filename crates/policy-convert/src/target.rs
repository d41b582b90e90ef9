//! The map that a key's value goes into, in the new policy.

use serde_json::{Map, Value};

use crate::key::Key;
use crate::report::Report;

/// A map of a policy that is being written, and its path.
#[derive(Debug, Default)]
pub(crate) struct Target {
    pub(crate) map: Map<String, Value>,
    pub(crate) path: String,
}

/// Whether a key has a value; of one without it is noted that it does nothing.
pub(crate) fn given(key: Option<Key>, report: &mut Report) -> Option<Key> {
    let key = key?;
    if key.value.is_null() {
        report.no_effect(key, "is empty");
        return None;
    }
    Some(key)
}

/// A whole number, also one that is written as `2.0`, as the daemon takes it.
pub(crate) fn whole(value: &Value) -> Option<u64> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole, not negative and below 2^53")]
    let of_float = |number: f64| (number.fract() == 0.0 && (0.0..9e15).contains(&number)).then_some(number as u64);
    value.as_u64().or_else(|| value.as_f64().and_then(of_float))
}

/// A list of texts.
pub(crate) fn texts(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
}

impl Target {
    pub(crate) fn of(path: &str) -> Self {
        Self { map: Map::new(), path: path.to_owned() }
    }

    /// Where a key of it stands.
    pub(crate) fn place(&self, name: &str) -> String {
        format!("{}.{name}", self.path)
    }

    pub(crate) fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.map.insert(name.to_owned(), value.into());
    }

    /// A key that means the same there, with this value.
    pub(crate) fn same(&mut self, key: Key, name: &str, value: impl Into<Value>, report: &mut Report) {
        report.same(key, &self.place(name));
        self.put(name, value);
    }

    /// `true` or `false`.
    pub(crate) fn switch(&mut self, key: Option<Key>, name: &str, report: &mut Report) {
        let Some(key) = given(key, report) else { return };
        match key.value.as_bool() {
            Some(value) => self.same(key, name, value, report),
            None => report.invalid(key, "true or false"),
        }
    }

    /// A text.
    pub(crate) fn text(&mut self, key: Option<Key>, name: &str, report: &mut Report) -> Option<String> {
        let key = given(key, report)?;
        let text = key.value.as_str().map(str::to_owned);
        match &text {
            Some(value) => self.same(key, name, value.clone(), report),
            None => report.invalid(key, "a text"),
        }
        text
    }

    /// A list of texts.
    pub(crate) fn texts(&mut self, key: Option<Key>, name: &str, report: &mut Report) -> Vec<String> {
        let Some(key) = given(key, report) else { return Vec::new() };
        let Some(values) = texts(&key.value) else {
            report.invalid(key, "a list of texts");
            return Vec::new();
        };
        self.same(key, name, values.clone(), report);
        values
    }

    /// A number of CPUs or balloons; 0, or nothing, is 0.
    pub(crate) fn count(&mut self, key: Option<Key>, name: &str, report: &mut Report) -> u64 {
        let Some(key) = given(key, report) else { return 0 };
        let Some(value) = whole(&key.value) else {
            report.invalid(key, "a whole number of at least 0");
            return 0;
        };
        self.same(key, name, value, report);
        value
    }
}
