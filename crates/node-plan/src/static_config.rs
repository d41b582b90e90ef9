//! The daemon's static configuration.

use extension_config::desired_state::Daemon;
use serde::{Deserialize, Serialize};

/// The daemon's static configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum StaticConfig {
    /// None at all: the daemon's built-in one.
    BuiltIn,
    /// Text of `fallback.cfg`.
    Fallback(String),
    /// Text of `force.cfg`; the daemon refuses to have both.
    Force(String),
}

impl StaticConfig {
    /// The configuration of a desired state. `forceConfig` wins, because the daemon refuses both.
    #[must_use]
    pub fn of(daemon: &Daemon) -> Self {
        match (&daemon.force_config, &daemon.fallback_config) {
            (Some(force), _) => Self::Force(force.clone()),
            (None, Some(fallback)) => Self::Fallback(fallback.clone()),
            (None, None) => Self::BuiltIn,
        }
    }

    /// The text, if there is one.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::BuiltIn => None,
            Self::Fallback(text) | Self::Force(text) => Some(text),
        }
    }

    /// Name of the policy that the text makes active, in whatever style of YAML it is written. The controller has checked the text; one that a
    /// newer controller accepts and this agent does not has no known policy, which costs at most a needless reset of the daemon's state.
    #[must_use]
    pub fn active_policy(&self) -> String {
        let checked = self.text().and_then(|text| extension_config::cri_resmgr::check(text).ok());
        checked.map(|checked| checked.active).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::StaticConfig;

    #[test]
    fn the_active_policy_is_found_in_every_style_of_yaml() {
        for (text, policy) in [
            ("policy:\n  Active: static-pools\n", "static-pools"),
            ("{\"policy\": {\"Active\": \"static-pools\"}}", "static-pools"),
            ("policy: {Active: static-pools}", "static-pools"),
            ("policy.Active: static-pools\n", "static-pools"),
            ("logger:\n  Debug: 'on:policy'\n", "none"),
            ("# policy:\n#   Active: static\npolicy:\n  # Active: memtier\n  Active: 'none'\n", "none"),
            ("nonsense: [", ""),
        ] {
            assert_eq!(StaticConfig::Fallback(text.into()).active_policy(), policy, "{text:?}");
            assert_eq!(StaticConfig::Force(text.into()).active_policy(), policy, "{text:?}");
        }
        assert_eq!(StaticConfig::BuiltIn.active_policy(), "");
    }
}
