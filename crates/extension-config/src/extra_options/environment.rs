//! Options as the body of an environment file, the form of the original extension: `EXTRA_OPTIONS="--metrics-interval 5s"`.
//!
//! Read as systemd reads one: lines that begin with `#` or `;` are comments, a value may be in single or double quotes or in none, and a
//! backslash at the end of a line goes on with the next. What systemd skips with a line in its log (no assignment, another variable) is
//! refused here: it would have no effect.

use std::iter::Peekable;
use std::str::Chars;

/// The one variable that the daemon's unit uses.
const VARIABLE: &str = "EXTRA_OPTIONS";

/// Whether a text begins as an environment file does. Options begin with a hyphen.
pub(super) fn is_one(text: &str) -> bool {
    let text = text.trim_start();
    let name = text.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
    text.starts_with(['#', ';']) || name.len() < text.len() && name.trim_start_matches([' ', '\t']).starts_with('=')
}

/// The variable's value; nothing where it is not set.
pub(super) fn options(text: &str) -> Result<String, String> {
    let mut rest = text.chars().peekable();
    let mut found = None;
    while let Some(first) = rest.next() {
        if first.is_ascii_whitespace() {
            continue;
        }
        if matches!(first, '#' | ';') {
            while rest.next_if(|c| *c != '\n').is_some() {}
            continue;
        }
        let mut name = String::from(first);
        name.extend(std::iter::from_fn(|| rest.next_if(|c| !matches!(c, '=' | '\n'))));
        let name = name.trim_end();
        if rest.next() != Some('=') {
            return Err(format!("{:?} is neither a comment nor {VARIABLE}=\"…\"", super::shown(name)));
        }
        if name != VARIABLE {
            return Err(format!("the variable {:?} has no meaning here, allowed: {VARIABLE}", super::shown(name)));
        }
        if found.replace(value(&mut rest)).is_some() {
            return Err(format!("{VARIABLE} is set twice"));
        }
    }
    Ok(found.unwrap_or_default())
}

/// A value up to the end of its line. Quoted parts that touch or have blanks between them are one.
fn value(rest: &mut Peekable<Chars<'_>>) -> String {
    let mut value = String::new();
    while let Some(c) = rest.next() {
        match c {
            '\n' => break,
            '\'' => value.extend(std::iter::from_fn(|| rest.next().filter(|c| *c != '\''))),
            '"' => quoted(rest, &mut value),
            c if c.is_ascii_whitespace() => {}
            c => {
                bare(c, rest, &mut value);
                break;
            }
        }
    }
    value
}

/// Up to the closing quote, or the end of all.
fn quoted(rest: &mut Peekable<Chars<'_>>, value: &mut String) {
    while let Some(c) = rest.next().filter(|c| *c != '"') {
        match (c, rest.peek()) {
            ('\\', Some('\n')) => drop(rest.next()),
            ('\\', Some('"' | '\\' | '`' | '$')) => value.extend(rest.next()),
            _ => value.push(c),
        }
    }
}

/// Up to the end of the line, in which quotes mean nothing any more.
fn bare(first: char, rest: &mut Peekable<Chars<'_>>, value: &mut String) {
    let mut next = Some(first);
    // Blanks at the end do not count, unless a backslash stands before the last of them.
    let mut end = value.len();
    while let Some(c) = next.filter(|c| *c != '\n') {
        if c == '\\' {
            value.extend(rest.next().filter(|c| *c != '\n'));
            end = value.len();
        } else {
            value.push(c);
            if !c.is_ascii_whitespace() {
                end = value.len();
            }
        }
        next = rest.next();
    }
    value.truncate(end);
}

#[cfg(test)]
mod tests {
    use super::{is_one, options};

    #[test]
    fn environment_values_are_read_as_systemd_does() {
        for (text, expected) in [
            ("EXTRA_OPTIONS=\"--metrics-interval 5s\"\n", "--metrics-interval 5s"),
            ("EXTRA_OPTIONS='--metrics-interval 5s'", "--metrics-interval 5s"),
            ("EXTRA_OPTIONS=--metrics-interval 5s  \r\n", "--metrics-interval 5s"),
            ("# of the README\n\n ; another\n EXTRA_OPTIONS = \"-v=2\" \n", "-v=2"),
            ("EXTRA_OPTIONS=\"-v=2 \\\n --disable-ui\"", "-v=2  --disable-ui"),
            ("EXTRA_OPTIONS=-v=2 \\\n--disable-ui\n", "-v=2 --disable-ui"),
            ("EXTRA_OPTIONS=\"-v=2 \"'--disable-ui'", "-v=2 --disable-ui"),
            ("EXTRA_OPTIONS=\"-v=2\" --disable-ui", "-v=2--disable-ui"),
            ("EXTRA_OPTIONS=\"a\\\"b\\\\c\\$d\\e\"", "a\"b\\c$d\\e"),
            ("EXTRA_OPTIONS=a\"b\"", "a\"b\""),
            ("EXTRA_OPTIONS='a\\b'", "a\\b"),
            ("EXTRA_OPTIONS=\"-v=2\n--disable-ui", "-v=2\n--disable-ui"),
            ("EXTRA_OPTIONS=", ""),
            ("EXTRA_OPTIONS=\n# nothing", ""),
            ("# nothing", ""),
            ("", ""),
        ] {
            assert_eq!(options(text).as_deref(), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn an_environment_file_with_settings_without_effect_is_refused() {
        for (text, expected) in [
            (
                "EXTRA_OPTIONS=-v=2\nPOLICY_OPTIONS=x",
                "the variable \"POLICY_OPTIONS\" has no meaning here, allowed: EXTRA_OPTIONS",
            ),
            (
                "export EXTRA_OPTIONS=-v=2",
                "the variable \"export EXTRA_OPTIONS\" has no meaning here, allowed: EXTRA_OPTIONS",
            ),
            ("EXTRA_OPTIONS=-v=2\n--disable-ui", "\"--disable-ui\" is neither a comment nor EXTRA_OPTIONS=\"…\""),
            ("EXTRA_OPTIONS=-v=2\nEXTRA_OPTIONS=-v=3", "EXTRA_OPTIONS is set twice"),
        ] {
            assert_eq!(options(text), Err(expected.to_owned()), "{text:?}");
        }
    }

    #[test]
    fn plain_options_are_not_taken_for_an_environment_file() {
        for text in ["", "--a=b", " -a=b", "-v 2", "a b=c", "=", "\"a\"=b"] {
            assert!(!is_one(text), "{text:?}");
        }
        for text in ["A=", "\n A1_b = c", "# a", ";", "a=b"] {
            assert!(is_one(text), "{text:?}");
        }
    }
}
