//! Text of others, made fit for a terminal. What an agent, a kubelet or whoever is root on a node has written may hold escape sequences, and megabytes of them.

use std::fmt::Write as _;

/// The text on one line, without anything that a terminal obeys, at most so many characters. Reads no more of it than it gives.
pub(crate) fn clean(text: &str, most: usize) -> String {
    let mut cleaned: String = text.chars().take(most).map(harmless).collect();
    if text.chars().nth(most).is_some() {
        cleaned.pop();
        cleaned.push('…');
    }
    cleaned
}

fn harmless(character: char) -> char {
    match character {
        '\n' | '\r' | '\t' => ' ',
        character if is_command(character) => '\u{fffd}',
        character => character,
    }
}

/// What changes more than the place where it stands: controls (escape sequences begin with one), and what reorders or hides the text around it.
fn is_command(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// JSON that means the same and holds nothing that a terminal obeys: it may be shown, too.
pub(crate) fn clean_json(json: &str) -> String {
    let mut cleaned = String::with_capacity(json.len());
    for character in json.chars() {
        // A newline stands between values only: within a string it is written as `\n`.
        if character != '\n' && is_command(character) {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                // Writing to a String cannot fail.
                let _ = write!(cleaned, "\\u{unit:04x}");
            }
        } else {
            cleaned.push(character);
        }
    }
    cleaned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_left() {
        for (hostile, expected) in [
            ("a\u{1b}[2Jb", "a\u{fffd}[2Jb"),
            ("a\u{1b}]0;title\u{7}b", "a\u{fffd}]0;title\u{fffd}b"),
            ("a\u{9b}31mb", "a\u{fffd}31mb"),
            ("a\r\nb\tc", "a  b c"),
            ("\u{202e}dlrow", "\u{fffd}dlrow"),
            ("a\u{200b}b\u{feff}", "a\u{fffd}b\u{fffd}"),
            ("\u{8}\u{7f}\0", "\u{fffd}\u{fffd}\u{fffd}"),
            ("größer, 日本", "größer, 日本"),
        ] {
            assert_eq!(clean(hostile, 100), expected, "{hostile:?}");
        }
    }

    #[test]
    fn a_long_text_is_cut_with_an_ellipsis() {
        assert_eq!(clean("abcdef", 6), "abcdef");
        assert_eq!(clean("abcdef", 4), "abc…");
        assert_eq!(clean("äöüß", 3), "äö…");
        assert_eq!(clean(&"x".repeat(8 << 20), 5), "xxxx…");
        assert_eq!(clean("", 0), "");
    }

    #[test]
    fn cleaned_json_means_the_same() {
        let text = "\u{1b}[2J\u{9b}x\u{202e}\u{7f}\u{e0041}ä\n\"";
        let value = serde_json::json!({ (text): [text] });
        for json in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
            let cleaned = clean_json(&json);
            assert_eq!(serde_json::from_str::<serde_json::Value>(&cleaned).unwrap(), value);
            assert!(!cleaned.chars().any(|character| character != '\n' && is_command(character)), "{cleaned:?}");
        }
    }
}
