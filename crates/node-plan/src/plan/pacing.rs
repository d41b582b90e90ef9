//! What only a few nodes of a shoot do at a time (docs/decisions/0005-switch-slots.md).

use kubelet_config::Endpoint;

use super::planner::Planner;
use crate::hold::{Hold, PacedChange, SlotHold};
use crate::journal::Applied;

impl Planner<'_> {
    /// Whether a daemon that kubelet runs through, and that answers, is to be restarted with other inputs than it was started with. What heals
    /// a damaged node, or goes on with what was begun (whose inputs the journal does not know any more), is none of that.
    pub(super) fn changes_in_use(&self) -> bool {
        let inputs = self.installation.inputs();
        let other = |applied: &Applied| !applied.inputs.is_empty() && applied.inputs != inputs;
        // A daemon whose unit or binary is gone would not come up again.
        let service = &self.footprint.service;
        let is_whole = [service.file, service.binary].iter().all(|path| !self.observed.entry(path).is_absent());
        is_whole
            && self.journal.applied.as_ref().is_some_and(other)
            && self.observed.daemon.is_active()
            && self.observed.proxy_answers
            && self.observed.kubelet.endpoint() == Some(Endpoint::Proxy)
    }

    /// Whether what only a few nodes do at a time may begin; else it is held.
    pub(super) fn may_begin(&mut self, change: PacedChange) -> bool {
        let Some(by) = SlotHold::of(&self.observed.slot) else { return true };
        self.awaits_slot = !matches!(by, SlotHold::Stopped { .. });
        self.holds.push(Hold::Slot { change, by });
        false
    }
}
