//! JSON that somebody else wrote, kept as text.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

/// Deepest nesting that is read. `serde_json` itself gives up at 128, and so does whoever keeps a [`Value`] on a stack.
pub const DEPTH_LIMIT: usize = 127;

/// A value of any size and depth, checked for syntax only. It is skipped without recursion, copied in one piece, and read when
/// somebody asks for it, who says how large it may be.
#[derive(Clone)]
pub struct RawJson(Arc<RawValue>);

/// Why a [`RawJson`] is not read. Says what is allowed, and nothing of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Longer than allowed.
    #[error("{bytes} bytes of JSON are too many: at most {limit} are read")]
    TooLarge {
        /// Length of the text.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
    /// Nested more deeply than [`DEPTH_LIMIT`].
    #[error("lists and maps are nested too deeply: at most {DEPTH_LIMIT} levels are read")]
    TooDeep,
    /// Something else, such as a number beyond all bounds.
    #[error("not JSON that can be read")]
    Odd,
}

impl RawJson {
    /// The text.
    #[must_use]
    pub fn get(&self) -> &str {
        self.0.get()
    }

    pub(crate) fn raw(&self) -> &RawValue {
        &self.0
    }

    /// Reads it, unless it has more than `limit` bytes or is too deep.
    ///
    /// # Errors
    /// Says what is allowed.
    pub fn read(&self, limit: usize) -> Result<Value, Unreadable> {
        let text = self.get();
        if text.len() > limit {
            return Err(Unreadable::TooLarge { bytes: text.len(), limit });
        }
        if depth(text) > DEPTH_LIMIT {
            return Err(Unreadable::TooDeep);
        }
        serde_json::from_str(text).map_err(|_| Unreadable::Odd)
    }
}

/// Levels of lists and maps in a valid text.
fn depth(text: &str) -> usize {
    let (mut deepest, mut level, mut in_text, mut escaped) = (0_usize, 0_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b'[' | b'{' if !in_text => {
                level += 1;
                deepest = deepest.max(level);
            }
            b']' | b'}' if !in_text => level = level.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

impl fmt::Debug for RawJson {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the text: it may be a configuration.
        write!(formatter, "RawJson({} bytes)", self.get().len())
    }
}

impl PartialEq for RawJson {
    fn eq(&self, other: &Self) -> bool {
        self.get() == other.get()
    }
}

impl From<&RawValue> for RawJson {
    fn from(raw: &RawValue) -> Self {
        Self(Arc::from(raw.to_owned()))
    }
}

impl From<&Value> for RawJson {
    fn from(value: &Value) -> Self {
        // A Value always is JSON.
        Self(Arc::from(RawValue::from_string(value.to_string()).unwrap_or_else(|_| RawValue::NULL.to_owned())))
    }
}

impl Serialize for RawJson {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_ref().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for RawJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(|raw| Self(Arc::from(raw)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> RawJson {
        serde_json::from_str(text).expect("JSON")
    }

    #[test]
    fn size_and_depth_are_bounded_before_anything_is_parsed() {
        let lists = |levels: usize| raw(&format!("{}{}", "[".repeat(levels), "]".repeat(levels)));
        let maps = |levels: usize| raw(&format!("{}1{}", r#"{"a":"#.repeat(levels), "}".repeat(levels)));
        for nested in [lists as fn(usize) -> RawJson, maps] {
            assert!(nested(DEPTH_LIMIT).read(10_000).is_ok());
            for levels in [DEPTH_LIMIT + 1, 130, 10_000] {
                assert_eq!(nested(levels).read(1 << 20), Err(Unreadable::TooDeep), "{levels}");
            }
        }
        assert_eq!(raw("[1,2]").read(4), Err(Unreadable::TooLarge { bytes: 5, limit: 4 }));
        assert!(raw("[1,2]").read(5).is_ok());
        let brackets_in_text = format!(r#"["{}\"[[["]"#, "[".repeat(500));
        assert!(raw(&brackets_in_text).read(1000).is_ok(), "brackets in a text are no nesting");
    }

    #[test]
    fn neither_errors_nor_debug_show_the_text() {
        let secret = raw(r#"{"password":"hunter2"}"#);
        for text in [format!("{secret:?}"), secret.read(3).map_err(|error| error.to_string()).unwrap_err()] {
            assert!(!text.contains("hunter2"), "{text}");
        }
    }
}
