//! How systemd splits `$KUBELET_EXTRA_ARGS` into arguments, and what may be appended.
//!
//! systemd.service(5), "Command lines": an unquoted `$NAME` is split at white space; quotes of either kind keep white space and are
//! removed; a backslash takes the next character as it is. An open quote at the end is tolerated, and would swallow what we append.

use std::ops::Range;

use crate::flags::occurrences;

/// The words of a value.
#[derive(Debug, PartialEq, Eq)]
pub struct Words {
    words: Vec<(Range<usize>, String)>,
    /// A quote or a backslash at the end is waiting for more.
    pub is_open: bool,
}

impl Words {
    /// Splits a value.
    #[must_use]
    pub fn of(text: &str) -> Self {
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

    /// The text without those occurrences of a flag whose value is unwanted; every other byte stays, but for the white space before a removed
    /// word.
    #[must_use]
    pub fn without(&self, text: &str, flag: &str, is_unwanted: impl Fn(&str) -> bool) -> String {
        let words = self.texts();
        let mut kept = String::new();
        let mut copied = 0;
        for found in occurrences(&words, flag).into_iter().filter(|found| is_unwanted(found.value)) {
            let before = found.words.start.checked_sub(1).map_or(0, |previous| self.words[previous].0.end);
            kept.push_str(&text[copied..before.max(copied)]);
            copied = self.words[found.words.end - 1].0.end;
        }
        kept.push_str(&text[copied..]);
        if copied > 0 { kept.trim_start().to_owned() } else { kept }
    }

    /// The words, without their quotes.
    #[must_use]
    pub fn texts(&self) -> Vec<&str> {
        self.words.iter().map(|(_, word)| word.as_str()).collect()
    }
}

/// The words of a process's command line as systemd's `GetUnitProcesses` gives it: joined by blanks, and quoted where a shell would need it
/// from systemd 248 on. In one of an older systemd a quote may be part of a word; then white space alone separates.
#[must_use]
pub fn of_process(command_line: &str) -> Vec<String> {
    let words = Words::of(command_line);
    if words.is_open {
        return command_line.split_whitespace().map(str::to_owned).collect();
    }
    words.words.into_iter().map(|(_, word)| word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_systemd_does() {
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
    fn removal_of_a_flag_leaves_other_words_unchanged() {
        let cases = [
            ("--x=1", ""),
            ("--a --x=1", "--a"),
            ("--x=1 --a", "--a"),
            ("--a  --x=1 --b='c  d' --x 1", "--a --b='c  d'"),
            ("--x 1 --x=1 --x '1'", ""),
            ("--a --x=2 --xy=1 --x 1", "--a --x=2 --xy=1"),
            (" --a ", " --a "),
            (r#"--a="--x=1 b" "--x=1""#, r#"--a="--x=1 b""#),
            ("--a --x", "--a --x"),
        ];
        for (text, expected) in cases {
            assert_eq!(Words::of(text).without(text, "x", |value| value == "1"), expected, "{text}");
        }
    }

    #[test]
    fn command_line_of_any_systemd_version_is_split_into_words() {
        for (line, words) in [
            (r#"kubelet "--a=b c" --d"#, vec!["kubelet", "--a=b c", "--d"]),
            ("kubelet --a=it's --d", vec!["kubelet", "--a=it's", "--d"]),
        ] {
            assert_eq!(of_process(line), words, "{line}");
        }
    }
}
