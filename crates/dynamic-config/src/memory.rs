//! What must be remembered because it cannot be observed.

use std::collections::BTreeMap;

use extension_config::cri_resmgr::RestartBoundState;
use serde::{Deserialize, Serialize};

use crate::adjustments::Errors;
use crate::selection::Source;

/// Outlives the agent, until the next boot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Memory {
    /// The run of the daemon that was seen last.
    pub(crate) run: Option<Run>,
    /// The configuration that is not pushed until it changes.
    pub(crate) refused: Option<Refused>,
    /// The configuration for which a run was ended last: it is done once for each.
    pub(crate) renewed_for: Option<String>,
    /// Hash of the configuration with which the daemon is being started anew on our account, until it has answered.
    pub(crate) starting: Option<Source>,
}

/// One run of the daemon, from its start to its end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Run {
    /// systemd's name for it.
    pub(crate) invocation: String,
    /// Hash of the configuration that it started with, where that was not the static one.
    pub(crate) started_with: Option<String>,
    /// What it was given since and accepted.
    pub(crate) accepted: Option<Source>,
    /// Keys whose values it keeps until it is restarted; `None` when not known.
    pub(crate) kept: Option<RestartBoundState>,
    /// Adjustments that are in effect: name and hash of what was sent; `None` when not known.
    pub(crate) adjustments: Option<BTreeMap<String, String>>,
    /// Adjustments that it refused.
    pub(crate) faults: BTreeMap<String, Fault>,
    /// Why it must end.
    pub(crate) end: Option<String>,
}

/// An adjustment that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Fault {
    /// Hash of what was sent.
    pub(crate) spec: String,
    /// Hash of the whole set where the fault is one of the set and not of this adjustment alone.
    pub(crate) set: Option<String>,
    /// The daemon's words.
    pub(crate) errors: Errors,
}

/// Who refused a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum By {
    /// The agent's own check: it was not pushed.
    Check,
    /// The daemon, in its answer.
    Daemon,
    /// The daemon, by not coming up with it.
    Start,
}

/// A configuration that is not pushed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Refused {
    pub(crate) source: Source,
    pub(crate) by: By,
    /// Keys that the check found wrong.
    pub(crate) keys: Vec<String>,
}
