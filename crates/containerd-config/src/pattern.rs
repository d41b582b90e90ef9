//! Patterns for names in a directory, as Go has them (`path/filepath.Match`, Go 1.26).

use std::iter::Peekable;
use std::str::Chars;

/// A pattern for one name. A dot at the beginning is a character like any other, as in Go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamePattern(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    /// `*`
    Any,
    /// `?`
    One,
    /// `[a-z]`, `[^a]`
    Class { negated: bool, ranges: Vec<(char, char)> },
    /// Itself.
    Literal(char),
}

impl Part {
    fn takes(&self, found: char) -> bool {
        match self {
            Self::Any | Self::One => true,
            Self::Class { negated, ranges } => {
                ranges.iter().any(|(low, high)| *low <= found && found <= *high) != *negated
            }
            Self::Literal(wanted) => *wanted == found,
        }
    }
}

/// Whether Go sees more than a name in it.
pub(crate) fn has_meta(text: &str) -> bool {
    text.contains(['*', '?', '[', '\\'])
}

impl NamePattern {
    /// `None` where Go says "syntax error in pattern".
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = Vec::new();
        let mut rest = text.chars().peekable();
        while let Some(next) = rest.next() {
            parts.push(match next {
                // Several are as good as one, and cost less.
                '*' if parts.last() == Some(&Part::Any) => continue,
                '*' => Part::Any,
                '?' => Part::One,
                '[' => class(&mut rest)?,
                '\\' => Part::Literal(rest.next()?),
                literal => Part::Literal(literal),
            });
        }
        Some(Self(parts))
    }

    /// Whether the name fits. Takes at most the product of the two lengths.
    pub(crate) fn matches(&self, name: &str) -> bool {
        let name: Vec<char> = name.chars().collect();
        let (mut part, mut at) = (0, 0);
        // The last `*`, and how far it reaches.
        let mut star: Option<(usize, usize)> = None;
        while at < name.len() {
            match self.0.get(part) {
                Some(Part::Any) => {
                    star = Some((part, at));
                    part += 1;
                }
                Some(wanted) if wanted.takes(name[at]) => {
                    part += 1;
                    at += 1;
                }
                _ => {
                    let Some((of, reach)) = star else { return false };
                    star = Some((of, reach + 1));
                    part = of + 1;
                    at = reach + 1;
                }
            }
        }
        self.0[part..].iter().all(|part| *part == Part::Any)
    }
}

/// What follows a `[`.
fn class(rest: &mut Peekable<Chars<'_>>) -> Option<Part> {
    let negated = rest.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    loop {
        if !ranges.is_empty() && rest.next_if_eq(&']').is_some() {
            return Some(Part::Class { negated, ranges });
        }
        let low = in_class(rest)?;
        let high = if rest.next_if_eq(&'-').is_some() { in_class(rest)? } else { low };
        ranges.push((low, high));
    }
}

fn in_class(rest: &mut Peekable<Chars<'_>>) -> Option<char> {
    match rest.next()? {
        '-' | ']' => None,
        '\\' => rest.next(),
        literal => Some(literal),
    }
}

#[cfg(test)]
mod tests {
    use super::NamePattern;

    #[test]
    fn names_match_as_in_go() {
        for (pattern, name, fits) in [
            ("*.toml", "a.toml", true),
            ("*.toml", ".toml", true),
            ("*.toml", ".hidden.toml", true),
            ("*.toml", "a.toml.bak", false),
            ("**.toml", "a.toml", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("*", "", true),
            ("?*", "", false),
            ("?*", "é", true),
            ("[0-9][0-9]-*", "10-a", true),
            ("[0-9][0-9]-*", "x0-a", false),
            ("[^a]*", "b", true),
            ("[^a]*", "a", false),
            ("[\\]]*", "]a", true),
            ("[[]*", "[a", true),
            ("\\**", "*a", true),
            ("\\**", "a", false),
            ("*]", "a]", true),
        ] {
            assert_eq!(NamePattern::parse(pattern).unwrap().matches(name), fits, "{pattern} {name}");
        }
        for pattern in ["[", "[]", "[]a]*", "[^]", "[a", "[a-]", "[-a]", "*\\", "[\\"] {
            assert_eq!(NamePattern::parse(pattern), None, "{pattern}");
        }
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        let pattern = NamePattern::parse(&"a*".repeat(2000)).unwrap();
        assert!(!pattern.matches(&format!("{}b", "a".repeat(255))));
    }
}
