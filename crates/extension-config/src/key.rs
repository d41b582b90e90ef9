//! The keys of the original's untyped `configs` map.

use std::fmt;

/// One configuration of a shoot: which, and for which nodes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConfigKey {
    /// Static: what a daemon takes that has no other.
    Fallback,
    /// Static: overrules every other.
    Force,
    /// Static: more command line options.
    ExtraOptions,
    /// Dynamic: nodes without one of their own or of their group.
    Default,
    /// Dynamic: the nodes of one group.
    Group(String),
    /// Dynamic: one node.
    Node(String),
}

/// What a key may be; for error messages.
pub(crate) const ALLOWED: &str = "fallback, force, EXTRA_OPTIONS, default, group.NAME, node.NAME";

impl ConfigKey {
    /// Reads a key of the `configs` map. `None` when it is none of them.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "fallback" => Self::Fallback,
            "force" => Self::Force,
            "EXTRA_OPTIONS" => Self::ExtraOptions,
            "default" => Self::Default,
            _ => {
                if let Some(name) = text.strip_prefix("group.").filter(|name| is_subdomain(name)) {
                    Self::Group(name.to_owned())
                } else {
                    Self::Node(text.strip_prefix("node.").filter(|name| is_subdomain(name))?.to_owned())
                }
            }
        })
    }

    /// Whether the node agent pushes it to the running daemon (else it is a file that the daemon reads when it starts).
    #[must_use]
    pub fn is_dynamic(&self) -> bool {
        matches!(self, Self::Default | Self::Group(_) | Self::Node(_))
    }
}

impl fmt::Display for ConfigKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fallback => f.write_str("fallback"),
            Self::Force => f.write_str("force"),
            Self::ExtraOptions => f.write_str("EXTRA_OPTIONS"),
            Self::Default => f.write_str("default"),
            Self::Group(name) => write!(f, "group.{name}"),
            Self::Node(name) => write!(f, "node.{name}"),
        }
    }
}

/// Whether a name can be part of a ConfigMap's name (RFC 1123 subdomain; 200 leaves room for our prefix within 253).
fn is_subdomain(name: &str) -> bool {
    name.len() <= 200
        && name.split('.').all(|label| {
            let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
            let bytes = label.as_bytes();
            bytes.first().copied().is_some_and(alphanumeric)
                && bytes.last().copied().is_some_and(alphanumeric)
                && bytes.iter().all(|byte| alphanumeric(*byte) || *byte == b'-')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn config_keys_survive_parsing_and_display() {
        for text in ["fallback", "force", "EXTRA_OPTIONS", "default", "group.a", "node.ip-10-0-0-1.eu.internal"] {
            assert_eq!(ConfigKey::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn texts_that_are_no_config_key_are_refused() {
        let long = format!("node.{}", "a".repeat(201));
        for text in [
            "",
            "Fallback",
            "extra_options",
            "group.",
            "node.",
            "node.A",
            "node.-a",
            "node.a..b",
            "group.a/b",
            "group",
            &long,
        ] {
            assert_eq!(ConfigKey::parse(text), None, "{text:?}");
        }
    }
}
