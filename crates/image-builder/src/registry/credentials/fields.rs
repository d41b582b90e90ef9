//! JSON objects as Go reads them into its structures, so as Docker does: names in any letter case, the last of several values counts, maps are
//! put together, and null stands for what is not there.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::Deserializer;
use serde::de::{MapAccess, Visitor};

/// Something with named fields.
pub(super) trait Fields: Default {
    /// Takes the value of the field of this name, which is in small letters, or passes over it.
    fn take<'de, M: MapAccess<'de>>(&mut self, name: &str, map: &mut M) -> Result<(), M::Error>;
}

/// Reads an object, or null.
pub(super) fn read<'de, T: Fields, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_any(Reader(PhantomData))
}

/// A later map adds to the earlier one, null empties it.
pub(super) fn extend<T>(map: &mut BTreeMap<String, T>, more: Option<BTreeMap<String, T>>) {
    match more {
        Some(more) => map.extend(more),
        None => map.clear(),
    }
}

/// A later text replaces the earlier one, null does not.
pub(super) fn replace(text: &mut Option<String>, next: Option<String>) {
    if next.is_some() {
        *text = next;
    }
}

struct Reader<T>(PhantomData<T>);

impl<'de, T: Fields> Visitor<'de> for Reader<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_unit<E>(self) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<T, M::Error> {
        let mut fields = T::default();
        while let Some(name) = map.next_key::<String>()? {
            fields.take(&fold(&name), &mut map)?;
        }
        Ok(fields)
    }
}

/// Go's folding: beside the letters of ASCII the two others that are a letter of ASCII in another case.
fn fold(name: &str) -> String {
    let folded = name.chars().map(|character| match character {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    });
    folded.collect()
}
