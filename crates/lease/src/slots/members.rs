//! Which holders may be none of the crowd. Pure: what is looked up, and where, is the caller's.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

/// So many names are looked up for one ask, so that a forged record costs no more calls than asking does.
const LOOK_UPS: usize = 3;
/// Who was found is taken for a member for so long.
const KNOWN_FOR: Duration = Duration::from_secs(600);
/// Longest name of a Kubernetes object, bytes.
const NAME_LIMIT: usize = 253;

/// Remembers who is a member of the crowd.
#[derive(Debug, Default)]
pub struct Members {
    found: BTreeMap<String, Instant>,
}

impl Members {
    /// Whom of `holders` to look for now: a few of those that were not found lately. Who is no holder any more is forgotten.
    pub fn to_look_up<'a>(&mut self, holders: &'a [String], now: Instant) -> Vec<&'a str> {
        self.found.retain(|name, since| now.duration_since(*since) < KNOWN_FOR && holders.contains(name));
        let unknown = holders.iter().filter(|name| !self.found.contains_key(*name));
        unknown.map(String::as_str).take(LOOK_UPS).collect()
    }

    /// This one is a member.
    pub fn found(&mut self, name: &str, now: Instant) {
        self.found.insert(name.to_owned(), now);
    }
}

/// Whether an object can have this name (RFC 1123 subdomain). What cannot be one need not be looked up, and does not get into the path of a request.
#[must_use]
pub fn is_object_name(name: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_label = |label: &str| {
        let bytes = label.as_bytes();
        bytes.first().copied().is_some_and(alphanumeric)
            && bytes.last().copied().is_some_and(alphanumeric)
            && bytes.iter().all(|byte| alphanumeric(*byte) || *byte == b'-')
    };
    name.len() <= NAME_LIMIT && name.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(all: &[&str]) -> Vec<String> {
        all.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn only_a_few_unknown_holders_are_looked_up_at_a_time_and_none_twice() {
        let (mut members, start) = (Members::default(), Instant::now());
        let holders = names(&["a", "b", "c", "d", "e"]);
        assert_eq!(members.to_look_up(&holders, start), ["a", "b", "c"]);
        members.found("a", start);
        members.found("c", start);
        assert_eq!(members.to_look_up(&holders, start), ["b", "d", "e"], "who could not be looked up is due again");
        for name in ["b", "d", "e"] {
            members.found(name, start + Duration::from_secs(1));
        }
        assert_eq!(members.to_look_up(&holders, start + Duration::from_secs(599)), [""; 0]);
        assert_eq!(members.to_look_up(&holders, start + KNOWN_FOR), ["a", "c"], "a Node can go");
        assert_eq!(members.to_look_up(&names(&["b"]), start + KNOWN_FOR), [""; 0]);
        assert_eq!(members.found.len(), 1, "who is no holder is forgotten");
    }

    #[test]
    fn only_valid_object_names_are_put_into_a_path() {
        let longest = "a".repeat(NAME_LIMIT);
        for good in ["a", "worker-1", "ip-10-0-0-1.eu-west-1.compute.internal", "0", longest.as_str()] {
            assert!(is_object_name(good), "{good}");
        }
        let too_long = "a".repeat(NAME_LIMIT + 1);
        for bad in
            ["", ".", "..", "a..b", "a/b", "../secrets", "A", "a_b", "-a", "a-", "a?b", "a%2fb", "ä", too_long.as_str()]
        {
            assert!(!is_object_name(bad), "{bad}");
        }
    }
}
