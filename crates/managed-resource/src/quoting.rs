//! Values as YAML.

use std::io::{self, Write};

/// Writes a text as a double-quoted YAML scalar in plain ASCII. It means the same to every YAML parser, whatever is in it.
pub(crate) fn quote(text: &str, output: &mut dyn Write) -> io::Result<()> {
    output.write_all(b"\"")?;
    for c in text.chars() {
        match c {
            '"' => output.write_all(b"\\\"")?,
            '\\' => output.write_all(b"\\\\")?,
            '\n' => output.write_all(b"\\n")?,
            '\t' => output.write_all(b"\\t")?,
            ' '..='~' => output.write_all(&[c as u8])?,
            '\0'..='\u{ff}' => write!(output, "\\x{:02x}", u32::from(c))?,
            '\u{100}'..='\u{ffff}' => write!(output, "\\u{:04x}", u32::from(c))?,
            _ => write!(output, "\\U{:08x}", u32::from(c))?,
        }
    }
    output.write_all(b"\"")
}

/// Writes any value in flow style, each text in it quoted.
pub(crate) fn flow(value: &serde_json::Value, output: &mut dyn Write) -> io::Result<()> {
    match value {
        serde_json::Value::String(text) => quote(text, output),
        serde_json::Value::Array(items) => {
            output.write_all(b"[")?;
            for (index, item) in items.iter().enumerate() {
                output.write_all(if index > 0 { b", " } else { b"" })?;
                flow(item, output)?;
            }
            output.write_all(b"]")
        }
        serde_json::Value::Object(map) => {
            output.write_all(b"{")?;
            for (index, (key, item)) in map.iter().enumerate() {
                output.write_all(if index > 0 { b", " } else { b"" })?;
                quote(key, output)?;
                output.write_all(b": ")?;
                flow(item, output)?;
            }
            output.write_all(b"}")
        }
        scalar => write!(output, "{scalar}"),
    }
}
