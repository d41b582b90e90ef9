//! Regular expressions as Go reads them: which are surely none.
//!
//! No parser: whoever thinks of file names writes `*Create*`, forgets a bracket or ends with a backslash, and the daemon ends. Rarer faults
//! (an unknown class, a range backwards) are not found.

use std::iter::Peekable;
use std::str::Chars;

/// What stands before the next character.
#[derive(Clone, Copy, PartialEq)]
enum Before {
    /// Nothing that could be repeated.
    Nothing,
    Something,
    /// A repetition, which may be made lazy by a `?`, but not be repeated.
    Repeated,
    Lazy,
}

/// Whether the daemon ends with this method pattern; it takes those without any of these characters, and `*`, as they are.
pub(super) fn is_surely_wrong(text: &str) -> bool {
    text != "*" && text.contains(['.', '*', '?', '+', '(', ')', '[', ']', '|']) && wrong(text).is_some()
}

fn wrong(text: &str) -> Option<()> {
    // Literal stretches and groups with flags have rules of their own.
    if text.contains("\\Q") || text.contains("(?") {
        return None;
    }
    let mut rest = text.chars().peekable();
    let mut before = Before::Nothing;
    let mut open = 0_usize;
    while let Some(c) = rest.next() {
        before = match (c, before) {
            ('*' | '+' | '?', Before::Something) => Before::Repeated,
            ('?', Before::Repeated) => Before::Lazy,
            ('*' | '+' | '?', _) => return Some(()),
            ('(', _) => {
                open += 1;
                Before::Nothing
            }
            (')', _) if open == 0 => return Some(()),
            (')', _) => {
                open -= 1;
                Before::Something
            }
            ('|', _) => Before::Nothing,
            ('[', _) if !class(&mut rest) => return Some(()),
            ('\\', _) if rest.next().is_none() => return Some(()),
            _ => Before::Something,
        };
    }
    (open > 0).then_some(())
}

/// Whether a class of characters has its end.
fn class(rest: &mut Peekable<Chars<'_>>) -> bool {
    rest.next_if_eq(&'^');
    let mut is_first = true;
    while let Some(c) = rest.next() {
        match c {
            ']' if !is_first => return true,
            '\\' if rest.next().is_none() => return false,
            // A named class within: [:alpha:].
            '[' if rest.next_if_eq(&':').is_some() => while rest.next_if(|c| *c != ']').is_some() {},
            _ => {}
        }
        is_first = false;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::is_surely_wrong;

    #[test]
    fn patterns_are_accepted_as_go_does() {
        for text in [
            "",
            "*",
            "RunPodSandbox",
            "{",
            "\\",
            ".*",
            ".*Create.*",
            "((Create)|(Start)).*",
            "a*?",
            "a+?b??",
            "[]a]",
            "[^]]*",
            "[[:alpha:]]+",
            "\\(.",
            "\\Q*\\E",
            "(?i)a",
            "a|",
            "|a",
            "()",
            "^*",
            "[\\]]",
            ".{2}",
            "]",
            "a{,2}.",
        ] {
            assert!(!is_surely_wrong(text), "{text}");
        }
        for text in
            ["*Create*", "+.", "?", "(*a)", "a|*", "a**", "a*?*", "a+*", "(a", "a)", "[a.", "[]", "[^].", ".\\", "(a|b"]
        {
            assert!(is_surely_wrong(text), "{text}");
        }
    }
}
