//! Log lines read as strictly as possible, for tests.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Reads a line as JSON in which no object, at any depth, has a key twice. `serde_json::Value` alone would keep the last value and not
/// mention the others.
///
/// # Errors
/// The text is not JSON, or the key that it has twice.
pub fn parse(line: &str) -> Result<Value, serde_json::Error> {
    serde_json::from_str::<Unique>(line).map(|Unique(value)| value)
}

struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Unique;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON with unique keys")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Unique, A::Error> {
        let mut map = Map::new();
        while let Some((key, Unique(value))) = entries.next_entry::<String, Unique>()? {
            if map.contains_key(&key) {
                return Err(A::Error::custom(format_args!("duplicate key {key:?}")));
            }
            map.insert(key, value);
        }
        Ok(Unique(map.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Unique, A::Error> {
        let mut all = Vec::new();
        while let Some(Unique(item)) = items.next_element()? {
            all.push(item);
        }
        Ok(Unique(all.into()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Unique, E> {
        Ok(Unique(text.into()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Unique, E> {
        Ok(Unique(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Unique, E> {
        Ok(Unique(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Unique, E> {
        Ok(Unique(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Unique, E> {
        Ok(Unique(value.into()))
    }

    fn visit_unit<E>(self) -> Result<Unique, E> {
        Ok(Unique(Value::Null))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_with_unique_keys_is_read_like_any_json() {
        let line = r#"{"a":[{"b":1,"c":null}],"b":true,"c":{"b":-1,"d":0.5}}"#;
        assert_eq!(parse(line).unwrap(), serde_json::from_str::<Value>(line).unwrap());
    }

    #[test]
    fn a_line_with_a_duplicate_key_at_any_depth_is_refused() {
        for (line, key) in [
            (r#"{"message":"a","message":"b"}"#, "message"),
            (r#"{"span":{"a":1,"b":1,"a":1}}"#, "a"),
            (r#"[{"a":"","b":0.5,"a":-1}]"#, "a"),
            (r#"{"a":[{"b":1.5,"b":null}]}"#, "b"),
        ] {
            let error = parse(line).unwrap_err().to_string();
            assert!(error.starts_with(&format!("duplicate key {key:?}")), "{line}: {error}");
        }
    }
}
