//! What a node tells: stage, and why.

use node_plan::{Journal, Phase, Plan, Restarts, Target};
use serde::Serialize;

/// Where a node stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub(crate) enum Stage {
    /// kubelet runs through the daemon, proven.
    Installed,
    /// Nothing of ours is there.
    Clean,
    /// On the way to one of them.
    Working,
    /// Something is in the way.
    Blocked,
    /// Went back to containerd after a failure.
    RolledBack,
    /// Not known what the node shall be.
    Undecided,
}

impl Stage {
    pub(crate) const ALL: [Self; 6] =
        [Self::Installed, Self::Clean, Self::Working, Self::Blocked, Self::RolledBack, Self::Undecided];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Installed => "Installed",
            Self::Clean => "Clean",
            Self::Working => "Working",
            Self::Blocked => "Blocked",
            Self::RolledBack => "RolledBack",
            Self::Undecided => "Undecided",
        }
    }

    /// Stage of a node for which this plan was made.
    pub(crate) fn of(plan: &Plan) -> Self {
        match (plan.is_settled(), plan.target) {
            (true, Target::Installed) => Self::Installed,
            (true, Target::Clean) => Self::Clean,
            (_, Target::RolledBack) => Self::RolledBack,
            (_, Target::Unchanged) => Self::Undecided,
            (false, _) if plan.steps.is_empty() => Self::Blocked,
            _ => Self::Working,
        }
    }
}

/// The JSON in the node's Lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    /// Where the node stands.
    pub(crate) stage: Stage,
    /// Phase of the desired state that this is about.
    pub(crate) phase: String,
    /// Hash of the desired state.
    pub(crate) desired: String,
    /// Seconds since 1970 from which on it is so.
    pub(crate) since: u64,
    /// Restarts of kubelet that we caused within the last ten minutes of work.
    pub(crate) restarts: usize,
    /// Why it is not as desired; empty when it is.
    pub(crate) message: String,
    /// Seconds since 1970 at which what is held may go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retry_at: Option<u64>,
}

impl Report {
    /// Whether the same is said, but for the time.
    pub(crate) fn says_the_same(&self, other: &Self) -> bool {
        Self { since: other.since, ..self.clone() } == *other
    }
}

/// Restarts in the journal.
pub(crate) fn restarts(journal: Option<&Journal>) -> usize {
    journal.map_or(0, |journal| journal.restarts.len())
}

/// One paragraph for people: what stands in the way, then what is to do.
pub(crate) fn message(plan: &Plan) -> String {
    let mut parts = plan.holds.clone();
    if let Some(step) = plan.steps.first() {
        let kubelet = if plan.restarts(Restarts::Kubelet) { ", with a restart of kubelet.service" } else { "" };
        parts.push(format!("{} steps to do{kubelet}; next: {} ({})", plan.steps.len(), step.action, step.evidence));
    }
    parts.join("; ")
}

/// A journal's phase in one word.
pub(crate) fn phase_word(journal: Option<&Journal>) -> &'static str {
    match journal.map(|journal| journal.phase) {
        None => "none",
        Some(Phase::Installing) => "Installing",
        Some(Phase::Installed) => "Installed",
        Some(Phase::Removing) => "Removing",
        Some(Phase::RolledBack) => "RolledBack",
    }
}
