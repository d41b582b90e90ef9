//! How much of what others write is read, and how much is said about it.

/// Bytes of a policy's books. Those of 250 containers take about 3 MiB.
pub const BOOKS_BYTES: u64 = 16 << 20;
/// Containers of a node that are compared; kubelet allows 110 pods unless configured otherwise. What is beyond is not compared, which is reported.
pub const CONTAINERS: usize = 4096;
/// Misses that are reported one by one.
pub const MISSES: usize = 5;
/// Characters of a name or a value in a message.
pub const WORD_CHARACTERS: usize = 80;

/// The text, or its beginning and an ellipsis.
pub(super) fn cut(text: &str) -> String {
    match text.char_indices().nth(WORD_CHARACTERS) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}
