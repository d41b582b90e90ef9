//! Values of any shape, read up to a limit: what is deeper or longer is skipped, not held, and is no error of the list that it stands in.

use std::cell::Cell;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Deepest nesting that is read.
const DEPTH: usize = 16;
/// What a string, and an item of a list, cost besides the text, bytes: a `Value`, and room for a list that grows.
const OVERHEAD: usize = 64;
/// What a map costs that has any entry, bytes: a node of a `BTreeMap` has room for eleven.
const MAP: usize = 640;

/// A value of at most `LIMIT` bytes in memory, roughly.
#[derive(Debug, Clone)]
pub(super) struct Bounded<const LIMIT: usize> {
    /// `None`: it is more than that, or nested too deeply.
    pub(super) value: Option<Value>,
    /// What it takes.
    pub(super) bytes: usize,
}

impl<const LIMIT: usize> Default for Bounded<LIMIT> {
    fn default() -> Self {
        Self { value: Some(Value::Null), bytes: 0 }
    }
}

impl<'de, const LIMIT: usize> Deserialize<'de> for Bounded<LIMIT> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let left = Cell::new(Some(LIMIT));
        let value = Reader { depth: DEPTH, left: &left }.deserialize(deserializer)?;
        Ok(Self { value: left.get().map(|_| value), bytes: LIMIT - left.get().unwrap_or_default() })
    }
}

#[derive(Clone, Copy)]
struct Reader<'a> {
    depth: usize,
    /// Bytes that may still be held; `None` once it was too much.
    left: &'a Cell<Option<usize>>,
}

impl Reader<'_> {
    fn pay(self, bytes: usize) -> bool {
        self.left.set(self.left.get().and_then(|left| left.checked_sub(bytes + OVERHEAD)));
        self.left.get().is_some()
    }

    fn below(self) -> Option<Self> {
        let depth = self.depth.checked_sub(1);
        if depth.is_none() {
            self.left.set(None);
        }
        Some(Self { depth: depth?, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Reader<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        if self.left.get().is_none() {
            // Skipped without recursion.
            IgnoredAny::deserialize(deserializer)?;
            return Ok(Value::Null);
        }
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Reader<'_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("any value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(if self.pay(value.len()) { Value::String(value.to_owned()) } else { Value::Null })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        if let Some(below) = self.below() {
            while let Some(item) = items.next_element_seed(below)? {
                if self.pay(0) {
                    all.push(item);
                }
            }
        }
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut all = Map::new();
        if let Some(below) = self.below() {
            while let Some(key) = items.next_key::<String>()? {
                let value = items.next_value_seed(below)?;
                let node = if all.is_empty() { MAP } else { 0 };
                if self.pay(key.len() + node) {
                    all.insert(key, value);
                }
            }
        }
        while items.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Value::Object(all))
    }
}

#[cfg(test)]
mod tests {
    use super::Bounded;

    fn read(text: &str) -> Option<serde_json::Value> {
        serde_json::from_str::<Bounded<3000>>(text).unwrap().value
    }

    #[test]
    fn a_value_beyond_the_memory_limit_is_skipped_without_an_error() {
        let none = serde_json::from_str::<Bounded<3000>>("null").unwrap();
        assert_eq!((none.value, none.bytes), (Some(serde_json::Value::Null), 0));
        // Few bytes of text, many in memory.
        assert_eq!(read(r#"[{"a":{"b":{}}},{"a":{"b":{}}},{"a":{}}]"#), None);
        let small = r#"{"a":[1,-2,3.5,true,null,"x"],"b":{}}"#;
        assert_eq!(read(small), Some(serde_json::from_str(small).unwrap()));
        assert_eq!(read(&format!("{}{}", "[".repeat(10_000), "]".repeat(10_000))), None);
        assert_eq!(read(&format!("{}1{}", "{\"a\":".repeat(10_000), "}".repeat(10_000))), None);
        assert_eq!(read(&format!("[{}0]", "0,".repeat(10_000))), None);
        assert_eq!(read(&format!("\"{}\"", "x".repeat(10_000))), None);
        assert_eq!(read(&format!("{{\"{}\":1}}", "x".repeat(10_000))), None);
        assert!(serde_json::from_str::<Bounded<3000>>("[1,").is_err(), "a text that is cut off is another matter");
    }
}
