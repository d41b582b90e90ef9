//! From what is to what shall be.

mod handover;
mod install;
mod pacing;
mod planner;
mod plugin;
mod previous;
mod proxy;
mod removal;

pub use removal::{leftovers, leftovers_of};

use planner::Way;

use crate::budget;
use crate::desired::{Desired, Installation};
use crate::hold::Hold;
use crate::kind::Backend;
use crate::observed::Observed;
use crate::preflight::refusals;
use crate::refusal::{Consequence, Refusal};
use crate::step::{Restarts, Step};

/// Where a plan leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Target {
    /// kubelet runs through the daemon.
    Installed,
    /// Nothing of ours is left.
    Clean,
    /// The other backend goes on as it was proven, while the wanted one is held.
    Held,
    /// The backend that another one has taken over from is taken away.
    OtherGone,
    /// Nothing of ours is left but the journal, until a back-off is over.
    RolledBack,
    /// kubelet runs through the daemon as it was before a change that failed, until a back-off is over.
    Before,
    /// Not known: everything stays as it is.
    Unchanged,
}

/// A plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Where it leads to.
    pub target: Target,
    /// In this order. Empty: nothing to do.
    pub steps: Vec<Step>,
    /// Why the node is not as desired even when all steps are done: refusals, back-off, budget, what is awaited.
    pub holds: Vec<Hold>,
    /// Seconds since 1970 at which something that is held may go on.
    pub retry_at: Option<u64>,
    /// Something is withheld until a slot is held ([`crate::Slot`]): the onto-the-proxy restart of kubelet, a restart of a daemon that kubelet runs
    /// through with other inputs, a policy's start with others, kubelet's leaving the proxy for one. Healing, going back and removing need none.
    pub awaits_slot: bool,
}

impl Plan {
    /// Nothing to do and nothing in the way: the node is as desired.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.steps.is_empty() && self.holds.is_empty()
    }

    /// Whether a step restarts this.
    #[must_use]
    pub fn restarts(&self, what: Restarts) -> bool {
        self.steps.iter().any(|step| step.action.restarts() == what)
    }

    fn held(target: Target, steps: Vec<Step>, holds: Vec<Hold>) -> Self {
        Self { target, steps, holds, retry_at: None, awaits_slot: false }
    }
}

/// Steps that lead from the observed node to the desired one.
#[must_use]
pub fn plan(observed: &Observed, desired: &Desired) -> Plan {
    match desired {
        Desired::Undecided { because } => {
            Plan::held(Target::Unchanged, Vec::new(), vec![Hold::Undecided(because.clone())])
        }
        Desired::Clean { because } => {
            Plan::held(Target::Clean, handover::clean(observed, removal::Keep::Nothing, because), Vec::new())
        }
        Desired::Installed(installation) => installed(observed, installation),
    }
}

fn installed(observed: &Observed, installation: &Installation) -> Plan {
    let wanted = installation.backend.backend();
    let other = handover::present(observed).into_iter().find(|backend| *backend != wanted);
    let is_begun = handover::is_begun(observed, wanted);
    if let Some(other) = other.filter(|_| !is_begun)
        && let Some(hold) = handover::forbidden(installation, other)
    {
        let held = Plan::held(Target::Installed, Vec::new(), vec![hold]);
        return handover::stay(observed, installation, other, held);
    }
    let refused = refusals(observed, installation);
    if !refused.is_empty() {
        return not_here(observed, installation, other.map(|other| (other, is_begun)), refused);
    }
    if let Some(backoff) = budget::in_force(observed.journal.as_ref(), &installation.attempt(), observed.now) {
        let retry_at = Some(backoff.not_before);
        if let Some(before) = installation.before(observed) {
            return handover::back(observed, &before, Hold::RolledBackToPrevious(backoff.into()), retry_at);
        }
        let steps = handover::clean(observed, removal::Keep::Journal, &backoff.reason);
        let holds = vec![Hold::RolledBack(backoff.into())];
        return Plan { target: Target::RolledBack, steps, holds, retry_at, awaits_slot: false };
    }
    let plan = install::plan(observed, installation);
    match other {
        Some(other) if plan.is_settled() => handover::leave(observed, other, Way::Onward),
        // It waits for something, a slot perhaps, and the other one works meanwhile.
        Some(other) if plan.steps.is_empty() && !is_begun => handover::stay(observed, installation, other, plan),
        _ => plan,
    }
}

/// The installation must not be on this node: one that is there leaves it, where the reason asks for that. `other`: the other backend where that is
/// here, and whether a handover from it was begun.
fn not_here(
    observed: &Observed,
    installation: &Installation,
    other: Option<(Backend, bool)>,
    refused: Vec<Refusal>,
) -> Plan {
    let leave = refused.iter().any(|refusal| refusal.consequence() == Consequence::Leave);
    let because: Vec<String> = refused.iter().map(Refusal::to_string).collect();
    let held = Plan::held(Target::Installed, Vec::new(), refused.into_iter().map(Hold::Refused).collect());
    match other {
        Some((other, false)) => handover::stay(observed, installation, other, held),
        Some((other, true)) if leave => match installation.proven_of(observed, other) {
            Some(before) => {
                let mut holds = held.holds;
                let first = holds.remove(0);
                let mut plan = handover::back(observed, &before, first, None);
                plan.holds.extend(holds);
                plan
            }
            None => held,
        },
        None if leave => {
            let wanted = installation.backend.backend();
            let steps = removal::steps(observed, wanted, removal::Keep::Nothing, &because.join("; "));
            Plan { target: Target::Clean, steps, ..held }
        }
        Some(_) | None => held,
    }
}

#[cfg(test)]
mod tests;
