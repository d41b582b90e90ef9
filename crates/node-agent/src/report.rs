//! A node's stage, and why.

use extension_config::node_report::{CRI_RESMGR, NRI_PLUGINS, Stage};
use extension_config::{NodeEvent, ReasonCode};
use node_plan::{Backend, Hold, Journal, Phase, Plan, Restarts, Target};

/// Stage of a node for which this plan was made.
pub(crate) fn stage(plan: &Plan) -> Stage {
    match (plan.is_settled(), plan.target) {
        (true, Target::Installed | Target::Held | Target::OtherGone) => Stage::Installed,
        (true, Target::Clean) => Stage::Clean,
        (_, Target::RolledBack | Target::Before) => Stage::RolledBack,
        (_, Target::Unchanged) => Stage::Undecided,
        (false, _) if plan.steps.is_empty() && !plan.awaits_slot => Stage::Blocked,
        _ => Stage::Working,
    }
}

/// The word for a backend in the report.
pub(crate) fn backend_word(backend: Backend) -> &'static str {
    match backend {
        Backend::Proxy => CRI_RESMGR,
        Backend::Plugin => NRI_PLUGINS,
    }
}

/// Restarts in the journal.
pub(crate) fn restarts(journal: Option<&Journal>) -> usize {
    journal.map_or(0, |journal| journal.restarts.len())
}

/// One paragraph for people: what stands in the way, then what is to do.
pub(crate) fn message(plan: &Plan) -> String {
    let mut parts: Vec<String> = plan.holds.iter().map(Hold::to_string).collect();
    if let Some(step) = plan.steps.first() {
        let kubelet = if plan.restarts(Restarts::Kubelet) { ", with a restart of kubelet.service" } else { "" };
        parts.push(format!("{} steps to do{kubelet}; next: {} ({})", plan.steps.len(), step.action, step.evidence));
    }
    parts.join("; ")
}

/// What stands in [`message`], each by its word.
pub(crate) fn codes(plan: &Plan) -> Vec<ReasonCode> {
    let under_way = plan.steps.first().map(|_| ReasonCode::UnderWay);
    plan.holds.iter().map(Hold::code).chain(under_way).collect()
}

/// What an Event about the dynamic configuration is among reports.
pub(crate) fn code_of_event(event: NodeEvent) -> Option<ReasonCode> {
    match event {
        NodeEvent::ConfigInvalid => Some(ReasonCode::ConfigInvalid),
        NodeEvent::ConfigRefused => Some(ReasonCode::ConfigRefused),
        NodeEvent::ConfigUnsettled => Some(ReasonCode::ConfigUnsettled),
        NodeEvent::ConfigUndelivered => Some(ReasonCode::ConfigUndelivered),
        NodeEvent::Installed
        | NodeEvent::Moved
        | NodeEvent::Removed
        | NodeEvent::RolledBack
        | NodeEvent::Blocked
        | NodeEvent::Healed
        | NodeEvent::Held
        | NodeEvent::SlotOverdue
        | NodeEvent::SwitchesStopped
        | NodeEvent::SwitchesUnreadable
        | NodeEvent::SlotIgnored
        | NodeEvent::ConfigInEffect
        | NodeEvent::ConfigWarning => None,
    }
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
