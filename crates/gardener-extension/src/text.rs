//! Texts for people are bounded: a list of findings, an answer of an API or a configuration can be of any length.

/// Longest text in a status: description of the last operation and the last error, message of a condition; in bytes.
pub const STATUS_TEXT_LIMIT: usize = 4096;
/// Longest note of an Event, in bytes; the API takes no more.
pub const EVENT_NOTE_LIMIT: usize = 1024;

/// Cuts between characters, so that the text has at most `limit` bytes with the word on how much is missing.
pub(crate) fn cut(mut text: String, limit: usize) -> String {
    if text.len() <= limit {
        return text;
    }
    // Room for the largest number.
    let mut end = limit.saturating_sub("… and 18446744073709551615 bytes more".len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let missing = text.len() - end;
    text.truncate(end);
    format!("{text}… and {missing} bytes more")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_cut_between_characters_and_say_so() {
        assert_eq!(cut("short".to_owned(), 10), "short");
        for limit in [EVENT_NOTE_LIMIT, STATUS_TEXT_LIMIT] {
            let fits = "ä".repeat(limit / 2);
            assert_eq!(cut(fits.clone(), limit), fits);
            for long in ["ä".repeat(limit), format!("a{}", "€".repeat(1_000_000))] {
                let bytes = long.len();
                let text = cut(long.clone(), limit);
                assert!(text.len() <= limit, "{}", text.len());
                let (kept, missing) = text.split_once("… and ").expect("an ellipsis");
                assert!(long.starts_with(kept) && kept.len() > limit - 50);
                assert_eq!(missing, format!("{} bytes more", bytes - kept.len()));
            }
        }
    }
}
