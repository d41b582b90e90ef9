//! The one text for what a document says.
//!
//! JSON on one line, keys sorted: every text is in quotes, so that no reader takes `yes`, `0o17` or `1:30` for anything else, and every
//! character that some reader of YAML takes for a line break, or refuses, is escaped. Sorted, because the order of keys means nothing to the
//! daemon and must not make a difference that restarts it.

use std::io;

use serde::Serialize;
use serde_json::ser::Formatter;

use crate::limits;

/// Writes a value; equal values give equal texts. `None`: the text would be longer than `most` bytes.
pub(crate) fn text(value: &impl Serialize, most: usize) -> Option<String> {
    let mut bounded = Bounded { bytes: Vec::new(), most };
    value.serialize(&mut serde_json::Serializer::with_formatter(&mut bounded, Escaping)).ok()?;
    String::from_utf8(bounded.bytes).ok()
}

/// Length of a key in canonical form, without its quotes; more than the limit when it is too long.
pub(crate) fn length_of_key(key: &str) -> usize {
    text(&key, limits::NAME_BYTES + 2).map_or(key.len().max(limits::NAME_BYTES + 1), |text| text.len() - 2)
}

/// Bytes of a value as JSON, counted up to the first one that is too many. `Err`: how many are allowed.
pub(crate) fn is_within(value: &impl Serialize, most: usize) -> bool {
    value.serialize(&mut serde_json::Serializer::new(Counting { left: most })).is_ok()
}

struct Escaping;

impl Formatter for Escaping {
    fn write_string_fragment<W: ?Sized + io::Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((at, character)) = rest.char_indices().find(|(_, character)| is_escaped(*character)) {
            writer.write_all(&rest.as_bytes()[..at])?;
            write!(writer, "\\u{:04x}", u32::from(character))?;
            rest = &rest[at + character.len_utf8()..];
        }
        writer.write_all(rest.as_bytes())
    }
}

/// DEL, C1 controls (with U+0085, a line break in YAML 1.1), the blank that is none, the other two line breaks, the byte order mark, and
/// what is no character. Those below U+0020 are escaped by JSON's own rules.
fn is_escaped(character: char) -> bool {
    matches!(character, '\u{7f}'..='\u{a0}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

struct Bounded {
    bytes: Vec<u8>,
    most: usize,
}

impl io::Write for Bounded {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + buffer.len() > self.most {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(buffer);
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Counting {
    left: usize,
}

impl io::Write for Counting {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.left = self.left.checked_sub(buffer.len()).ok_or(io::ErrorKind::FileTooLarge)?;
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{length_of_key, text};

    #[test]
    fn canonical_json_escapes_characters_that_yaml_readers_take_differently() {
        let value = json!({"b": "a\u{2028}b\u{2029}c\u{85}d\u{7f}e\u{feff}f\u{a0}\u{ffff}\u{1f600}\n\u{1}", "a": ["yes", 1, null]});
        let expected = r#"{"a":["yes",1,null],"b":"a\u2028b\u2029c\u0085d\u007fe\ufefff\u00a0\uffff😀\n\u0001"}"#;
        assert_eq!(text(&value, 1000).as_deref(), Some(expected));
        assert_eq!(text(&value, expected.len()).as_deref(), Some(expected));
        assert_eq!(text(&value, expected.len() - 1), None);
    }

    #[test]
    fn length_of_a_key_counts_its_escaped_form() {
        assert_eq!(length_of_key("abc"), 3);
        assert_eq!(length_of_key("\u{7f}"), 6);
        assert!(length_of_key(&"\u{7f}".repeat(100)) > 253);
        assert_eq!(length_of_key(&"a".repeat(253)), 253);
        assert_eq!(length_of_key(&"a".repeat(1_000_000)), 1_000_000);
    }
}
