//! How systemd splits `$KUBELET_EXTRA_ARGS` into arguments, as far as it decides what may be appended.
//!
//! systemd.service(5), "Command lines": an unquoted `$NAME` is split at white space; quotes of either kind keep white space and are
//! removed; a backslash takes the next character as it is. An open quote at the end is tolerated, and would swallow what we append.

use std::ops::Range;

/// The words of a value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Words {
    words: Vec<(Range<usize>, String)>,
    /// A quote or a backslash at the end is waiting for more.
    pub(crate) is_open: bool,
}

impl Words {
    pub(crate) fn of(text: &str) -> Self {
        let mut words = Vec::new();
        let mut current: Option<(usize, String)> = None;
        let mut quote: Option<char> = None;
        let mut escaped = false;
        for (position, character) in text.char_indices() {
            let separates = matches!(character, ' ' | '\t' | '\n' | '\r');
            if separates && quote.is_none() && !escaped {
                words.extend(current.take().map(|(start, word)| (start..position, word)));
                continue;
            }
            let (_, word) = current.get_or_insert_with(|| (position, String::new()));
            if escaped {
                word.push(character);
                escaped = false;
            } else if character == '\\' {
                escaped = true;
            } else if quote == Some(character) {
                quote = None;
            } else if quote.is_none() && matches!(character, '"' | '\'') {
                quote = Some(character);
            } else {
                word.push(character);
            }
        }
        words.extend(current.map(|(start, word)| (start..text.len(), word)));
        Self { words, is_open: quote.is_some() || escaped }
    }

    /// The text without the words that equal `unwanted`; every other byte stays, but for the white space before a removed word.
    pub(crate) fn without(&self, text: &str, unwanted: &str) -> String {
        let mut kept = String::new();
        let (mut copied, mut previous_end) = (0, 0);
        for (range, word) in &self.words {
            if word == unwanted {
                kept.push_str(&text[copied..previous_end]);
                copied = range.end;
            }
            previous_end = range.end;
        }
        kept.push_str(&text[copied..]);
        if copied > 0 { kept.trim_start().to_owned() } else { kept }
    }

    #[cfg(test)]
    pub(crate) fn texts(&self) -> Vec<&str> {
        self.words.iter().map(|(_, word)| word.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_as_systemd_does() {
        let cases: &[(&str, &[&str], bool)] = &[
            ("", &[], false),
            ("  \t ", &[], false),
            ("--a --b=c", &["--a", "--b=c"], false),
            (r#"--node-ip="::""#, &["--node-ip=::"], false),
            (r#"--b="x y" '' z"#, &["--b=x y", "", "z"], false),
            (r"--b=x\ y", &["--b=x y"], false),
            (r#"--b='"' "'""#, &["--b=\"", "'"], false),
            (r#"--b="x y"#, &["--b=x y"], true),
            (r"--b=x\", &["--b=x"], true),
        ];
        for (text, words, is_open) in cases {
            let found = Words::of(text);
            assert_eq!(found.texts(), *words, "{text}");
            assert_eq!(found.is_open, *is_open, "{text}");
        }
    }

    #[test]
    fn removes_whole_words_only() {
        let cases = [
            ("--x", "--x", ""),
            ("--a --x", "--x", "--a"),
            ("--x --a", "--x", "--a"),
            ("--a  --x --b='c  d' --x", "--x", "--a --b='c  d'"),
            ("--a --xy", "--x", "--a --xy"),
            (" --a ", "--x", " --a "),
            (r#"--a="--x b" "--x""#, "--x", r#"--a="--x b""#),
        ];
        for (text, unwanted, expected) in cases {
            assert_eq!(Words::of(text).without(text, unwanted), expected, "{text}");
        }
    }
}
