//! Limits on what others write: how much of it is read, and how much is said about it.
//!
//! Within them every document has its complete report; the work and the report are proportional to what was written. An error that is due
//! to one of them names what there is too much of, and how much is allowed.

/// Bytes of one file.
pub const FILE_BYTES: usize = 4 << 20;
/// Bytes of one document's texts, keys included: what the extension itself takes of one configuration.
pub const DOCUMENT_BYTES: usize = extension_config::limits::CONFIGURATION_BYTES;
/// Documents: slots, Adjustments and objects with annotations.
pub const DOCUMENTS: usize = 4096;
/// Values of all documents together: maps, lists and what is in them.
pub const VALUES: usize = 256 * 1024;
/// Levels of a document that are looked into; what lies deeper counts as one key. The deepest key of cri-resmgr is on level 7.
pub const DEPTH: usize = 12;
/// Levels of a document that are read at all.
pub const READ_DEPTH: usize = 64;
/// Values that anchors of one file may stand for, beyond those that are written.
pub const REPEATED_VALUES: usize = extension_config::limits::REPEATED_VALUES;
/// Characters of a key that a path shows; a longer one is distinguished by a hash.
pub const KEY_CHARACTERS: usize = 63;
/// Characters of a value in a sentence.
pub const VALUE_CHARACTERS: usize = 60;
/// Characters of one sentence of the report.
pub const TEXT_CHARACTERS: usize = 600;

/// The text, or its beginning and an ellipsis.
#[must_use]
pub(crate) fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}
