//! The status of the dynamic configuration of a node, for its report and its Events.

use extension_config::NodeEvent;

use crate::memory::{By, Refused};
use crate::selection::Source;

/// Most keys that a message names.
const KEYS: usize = 5;

/// Most warnings that are reported, and characters of each.
const WARNINGS: usize = 5;
const WARNING: usize = 250;

/// A restart of the daemon that is needed once, for a named run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestartRequest {
    /// systemd's name for the run.
    pub invocation: String,
    /// Names and hashes only.
    pub because: String,
}

/// Something that people should see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What the Event is about.
    pub reason: NodeEvent,
    /// Names and hashes only.
    pub message: String,
}

/// The status of the dynamic configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfigStatus {
    /// The configuration that the daemon was given and accepted, of the ones that are pushed.
    pub accepted: Option<Source>,
    /// What is wrong.
    pub problem: Option<Problem>,
    /// What its owner should know although it is in effect; a few, and how many more.
    pub warnings: Vec<String>,
    /// The restart that is needed.
    pub restart_request: Option<RestartRequest>,
    /// What is meant for the node, whether or not a daemon takes it; `None`: not all of it is known yet.
    pub meant: Option<Meant>,
}

/// The objects that are meant for a node, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Meant {
    /// The ConfigMap with its configuration.
    pub config_map: Option<String>,
    /// Adjustments whose scope takes in the node.
    pub adjustments: Vec<String>,
}

pub(crate) fn refusal(refused: &Refused) -> Problem {
    let Refused { source, by, keys } = refused;
    let (reason, message) = match by {
        By::Check => {
            let named: Vec<&str> = keys
                .iter()
                .take(KEYS)
                .map(|key| if key.is_empty() { "the whole document" } else { key.as_str() })
                .collect();
            let more = keys.len().saturating_sub(KEYS);
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            (
                NodeEvent::ConfigInvalid,
                format!("{source} is not valid and is not pushed to cri-resmgr; invalid: {}{more}", named.join(", ")),
            )
        }
        By::Daemon => (
            NodeEvent::ConfigRefused,
            format!(
                "cri-resmgr refused {source} and goes on with what it had; its reason is in the journal of \
                 cri-resource-manager.service"
            ),
        ),
        By::Start => (
            NodeEvent::ConfigRefused,
            format!("cri-resmgr did not come up with {source}; it is not pushed again until it changes"),
        ),
    };
    Problem { reason, message }
}

/// The first few, cut.
pub(crate) fn warnings<'a>(all: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut all = all.peekable();
    let mut shown: Vec<String> = all.by_ref().take(WARNINGS).map(|text| text.chars().take(WARNING).collect()).collect();
    if all.peek().is_some() {
        shown.push(format!("and {} more", all.count()));
    }
    shown
}

pub(crate) fn needs_repeated_restart(source: &Source, because: &str) -> Problem {
    Problem {
        reason: NodeEvent::ConfigUnsettled,
        message: format!("cri-resmgr was restarted once for {source} and would have to be again: {because}"),
    }
}
