//! Limits on what others write: how much of it is read, how much work it may make, and how much is said about it.
//!
//! Each is far above what anybody needs and far below what hurts a controller that serves many shoots. A finding that is due to one names
//! the field, its size and what is allowed.

/// Bytes of a spec as JSON without blanks and with every default written out.
pub const SPEC_BYTES: usize = 64 * 1024;
/// Bytes of a whole document: the spec, and what stands around it.
pub const DOCUMENT_BYTES: usize = SPEC_BYTES + 2048;
/// Values in a spec: maps, lists and what is in them.
pub const VALUES: usize = 16 * 1024;
/// Levels of a spec. The deepest of the schema is 10.
pub const DEPTH: usize = 16;
/// Balloon types, and for each of the other named lists (CPU classes, scheduling classes, load classes) their entries.
pub const NAMED_ENTRIES: usize = 128;
/// Bytes of a key of a free map, and of a name.
pub const NAME_BYTES: usize = 253;
/// Instances of a balloon type, and CPUs of one: more than any machine has.
pub const CPUS: u32 = 8192;
/// Ranges in a list of CPUs: as many as [`CPUS`] can make that do not touch.
pub const CPU_RANGES: usize = 4096;
/// Balloons of which one composite balloon is made, components of components included. The plugin walks all of them for each check, so
/// a short text with types that contain each other twice would keep it busy for ever.
pub const COMPONENT_BALLOONS: u64 = 256;
/// Findings that are reported.
pub const FINDINGS: usize = 20;
/// Warnings that are reported.
pub const WARNINGS: usize = 20;
/// Characters of a path in a finding.
pub const PATH_CHARACTERS: usize = 200;
/// Characters of one message.
pub const MESSAGE_CHARACTERS: usize = 600;
/// Characters of a value in a message.
pub const VALUE_CHARACTERS: usize = 60;

/// The text, or its beginning and an ellipsis.
#[must_use]
pub(crate) fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}
