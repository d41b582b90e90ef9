//! Version constraints of the image vector: `>= 1.30, < 1.33`, `~1.31`, `1.32.x`, alternatives by `||`.

use std::cmp::Ordering;

/// Alternatives, each a list of conditions that must all hold.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Constraint(Vec<Vec<Condition>>);

#[derive(Debug, PartialEq, Eq)]
struct Condition {
    operator: Operator,
    /// Major, minor, patch as far as given; `x` ends them.
    parts: Vec<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    Tilde,
    Caret,
}

/// A version without anything behind the numbers.
pub(super) type Version = [u64; 3];

/// Reads `v1.33.2-gke.1` as 1.33.2, as Gardener does before it compares.
pub(super) fn normalized(text: &str) -> Option<Version> {
    let text = text.strip_prefix('v').unwrap_or(text);
    let text = text.split(['-', '+', '~']).next()?;
    let parts = parts(text)?;
    (!parts.is_empty()).then(|| padded(&parts))
}

impl Constraint {
    pub(super) fn parse(text: &str) -> Option<Self> {
        text.split("||").map(conditions).collect::<Option<Vec<_>>>().map(Self)
    }

    pub(super) fn matches(&self, version: Version) -> bool {
        self.0.iter().any(|all| all.iter().all(|condition| condition.matches(version)))
    }

    /// Whether a text begins with `=` or a whole version; such an entry is preferred to a range.
    pub(super) fn is_exact(text: &str) -> bool {
        let first = text.trim().split([',', ' ', '|']).next().unwrap_or_default();
        text.trim().starts_with('=') || parts(first.strip_prefix('v').unwrap_or(first)).is_some_and(|p| p.len() == 3)
    }
}

fn conditions(text: &str) -> Option<Vec<Condition>> {
    if let Some((low, high)) = text.split_once(" - ") {
        let low = Condition { operator: Operator::GreaterOrEqual, parts: parts(low.trim())? };
        let high = Condition { operator: Operator::LessOrEqual, parts: parts(high.trim())? };
        return Some(vec![low, high]);
    }
    let mut found = Vec::new();
    // An operator may stand apart from its version.
    let mut pending = String::new();
    for word in text.split([',', ' ']).filter(|word| !word.is_empty()) {
        pending.push_str(word);
        if !word.ends_with(['=', '<', '>', '~', '^', '!']) {
            found.push(condition(&std::mem::take(&mut pending))?);
        }
    }
    (pending.is_empty() && !found.is_empty()).then_some(found)
}

fn condition(text: &str) -> Option<Condition> {
    const OPERATORS: [(&str, Operator); 11] = [
        (">=", Operator::GreaterOrEqual),
        ("=>", Operator::GreaterOrEqual),
        ("<=", Operator::LessOrEqual),
        ("=<", Operator::LessOrEqual),
        ("!=", Operator::NotEqual),
        ("~>", Operator::Tilde),
        ("=", Operator::Equal),
        (">", Operator::Greater),
        ("<", Operator::Less),
        ("~", Operator::Tilde),
        ("^", Operator::Caret),
    ];
    let (operator, version) = OPERATORS
        .iter()
        .find_map(|(sign, operator)| text.strip_prefix(sign).map(|rest| (*operator, rest)))
        .unwrap_or((Operator::Equal, text));
    Some(Condition { operator, parts: parts(version.strip_prefix('v').unwrap_or(version))? })
}

fn parts(text: &str) -> Option<Vec<u64>> {
    let mut found = Vec::new();
    let mut open = false;
    let words: Vec<&str> = text.split('.').collect();
    if words.len() > 3 {
        return None;
    }
    for word in words {
        match word {
            "x" | "X" | "*" => open = true,
            _ if open || word.is_empty() || !word.bytes().all(|byte| byte.is_ascii_digit()) => return None,
            _ => found.push(word.parse().ok()?),
        }
    }
    Some(found)
}

fn padded(parts: &[u64]) -> Version {
    let part = |index| parts.get(index).copied().unwrap_or(0);
    [part(0), part(1), part(2)]
}

impl Condition {
    fn matches(&self, version: Version) -> bool {
        let given = self.parts.len();
        let same = |length: usize| version[..length.min(given)] == self.parts[..length.min(given)];
        // Compared only as far as given: 1.30.5 is not greater than 1.30, and is "at most" 1.30.
        let order = version[..given].cmp(&self.parts[..]);
        match self.operator {
            Operator::Equal => same(3),
            Operator::NotEqual => !same(3),
            Operator::Greater => order == Ordering::Greater,
            Operator::GreaterOrEqual => order != Ordering::Less,
            Operator::Less => order == Ordering::Less,
            Operator::LessOrEqual => order != Ordering::Greater,
            Operator::Tilde => same(2) && version >= padded(&self.parts),
            Operator::Caret => {
                let significant = self.parts.iter().position(|part| *part != 0).map_or(given, |index| index + 1);
                same(significant) && version >= padded(&self.parts)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constraints_match_versions_as_gardener_does() {
        let cases = [
            ("1.30", "1.30.7", true),
            ("1.30", "1.31.0", false),
            ("1.30.x", "1.30.7", true),
            ("*", "1.2.3", true),
            ("= 1.30.7", "1.30.7", true),
            ("!=1.30.7", "1.30.7", false),
            (">= 1.30, < 1.33", "1.32.9", true),
            (">= 1.30, < 1.33", "1.33.0", false),
            (">= 1.30 < 1.33", "1.29.9", false),
            ("> 1.30", "1.30.5", false),
            ("> 1.30", "1.31.0", true),
            ("<= 1.30", "1.30.5", true),
            ("~1.31", "1.31.4", true),
            ("~1.31.2", "1.31.1", false),
            ("~1.31.2", "1.32.0", false),
            ("^1.31", "1.40.0", true),
            ("^1.31", "2.0.0", false),
            ("^0.2.3", "0.3.0", false),
            ("< 1.20 || >= 1.30", "1.31.0", true),
            ("< 1.20 || >= 1.30", "1.25.0", false),
            ("1.30 - 1.32", "1.32.5", true),
            ("1.30 - 1.32", "1.33.0", false),
        ];
        for (constraint, version, expected) in cases {
            let parsed = Constraint::parse(constraint).unwrap();
            assert_eq!(parsed.matches(normalized(version).unwrap()), expected, "{constraint} {version}");
        }
    }

    #[test]
    fn texts_that_are_no_constraint_are_refused() {
        for text in ["", ">=", "a", "1.x.2", "1.2.3.4", "1..2", ">= 1.30 ||", "1.30-", "==1"] {
            assert_eq!(Constraint::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn versions_are_normalized() {
        assert_eq!(normalized("v1.33.2-gke.1"), Some([1, 33, 2]));
        assert_eq!(normalized("1.33+build"), Some([1, 33, 0]));
        assert_eq!(normalized(""), None);
        assert_eq!(normalized("latest"), None);
    }

    #[test]
    fn constraints_of_one_exact_version_are_recognized() {
        for (text, expected) in
            [("1.30.2", true), ("= 1.30", true), ("1.30", false), (">= 1.30.2", false), ("1.30.2, x", true)]
        {
            assert_eq!(Constraint::is_exact(text), expected, "{text}");
        }
    }
}
