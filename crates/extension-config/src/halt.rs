//! A stop of all switches: an operator's or owner's word, an annotation, that no node begins to leave its runtime for another.
//!
//! It means the same wherever it stands: on the operator's base configuration in a seed (for all of that seed's shoots), on a shoot's Extension or Shoot, and on
//! the agents' DaemonSet in the shoot, which is where the agents read it and where the controller brings it. It is nothing of the desired state: that would roll
//! out all agents anew.

use std::collections::BTreeMap;

use crate::names;

/// Longest reason, characters.
const REASON: usize = 200;

/// No node begins to switch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Halt {
    reason: String,
}

impl Halt {
    /// By the annotations of an object: `None` without ours, and where it is empty or `false`. `true` gives no reason; anything else is one.
    #[must_use]
    pub fn of(annotations: &BTreeMap<String, String>) -> Option<Self> {
        let value = annotations.get(names::HALT_ANNOTATION)?;
        let line: String =
            value.chars().map(|letter| if is_shown(letter) { letter } else { ' ' }).take(REASON).collect();
        match line.trim() {
            "" | "false" => None,
            "true" => Some(Self::default()),
            reason => Some(Self { reason: reason.to_owned() }),
        }
    }

    /// Why, for people: one line. Empty: nobody has said.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// As it stands in an annotation.
    #[must_use]
    pub fn value(&self) -> &str {
        if self.reason.is_empty() { "true" } else { &self.reason }
    }
}

/// Whether a letter shows as it is, and turns nothing around it.
fn is_shown(letter: char) -> bool {
    !letter.is_control()
        && !matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_halt_is_an_annotation_that_says_so() {
        let of = |value: &str| Halt::of(&BTreeMap::from([(names::HALT_ANNOTATION.to_owned(), value.to_owned())]));
        assert_eq!(Halt::of(&BTreeMap::new()), None);
        for none in ["", " ", "false", " false\n", "\u{200b}"] {
            assert_eq!(of(none), None, "{none:?}");
        }
        for (value, reason) in
            [("true", ""), ("INC-4711", "INC-4711"), (" two\nlines\u{1b}[2J\u{202e} ", "two lines [2J"), ("yes", "yes")]
        {
            assert_eq!(of(value).unwrap().reason(), reason, "{value:?}");
        }
        let long = of(&"é".repeat(5000)).unwrap();
        assert_eq!(long.reason().chars().count(), REASON);
        for halt in [of("true").unwrap(), of("INC-4711").unwrap(), long] {
            assert_eq!(of(halt.value()), Some(halt.clone()), "what is handed on means the same");
        }
    }
}
