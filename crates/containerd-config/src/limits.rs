//! Limits on what is read of a node. Each is far above what a node has and far below what hurts an agent.

use std::time::Duration;

/// Bytes of one file; the output of `containerd config default` has about 10 KiB.
pub const FILE_BYTES: usize = 1 << 20;
/// Files, the main one included.
pub const FILES: usize = 100;
/// Levels of imports below the main file.
pub const DEPTH: usize = 8;
/// Entries of `imports` in one file.
pub const IMPORTS: usize = 64;
/// Patterns in all files: each looks at all names of its directory.
pub const PATTERNS: usize = 16;
/// Bytes of a pattern's last part: what a name costs grows with it.
pub const PATTERN_BYTES: usize = 64;
/// Names in one directory that a pattern looks at.
pub const NAMES: usize = 1000;
/// Bytes of a path or pattern: Linux' own limit for a path.
pub const PATH_BYTES: usize = 4096;
/// Characters of a foreign value in a message.
pub const VALUE_CHARACTERS: usize = 100;
/// The longest timeout of NRI that is written. All pods of a node wait that long for a plugin that hangs.
pub const LONGEST_TIMEOUT: Duration = Duration::from_secs(600);

/// The text, or its beginning and an ellipsis.
pub(crate) fn cut(text: &str) -> String {
    match text.char_indices().nth(VALUE_CHARACTERS) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}
