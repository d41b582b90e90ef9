//! From what is to what shall be.

mod install;
mod pacing;
mod planner;
mod plugin;
mod previous;
mod proxy;
mod removal;

pub use removal::leftovers;

use crate::budget;
use crate::desired::{Desired, Installation};
use crate::hold::Hold;
use crate::journal::Journal;
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
    /// Something is withheld until a slot is held ([`crate::Slot`]): first the onto-the-proxy restart of kubelet, then any restart of a daemon
    /// that kubelet runs through with other inputs. Healing, going back and removing need none.
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
            let backend = present(observed).unwrap_or(Backend::Proxy);
            Plan::held(Target::Clean, removal::steps(observed, backend, removal::Keep::Nothing, because), Vec::new())
        }
        Desired::Installed(installation) => installed(observed, installation),
    }
}

/// The backend that is here, wholly or in part. There is one at a time: a node goes from one to the other by a removal.
fn present(observed: &Observed) -> Option<Backend> {
    let remembered = observed.journal.as_ref().and_then(Journal::backend);
    remembered.or_else(|| Backend::ALL.into_iter().find(|backend| has_trace(observed, *backend)))
}

/// Whether something is here that is of this backend and of no other one.
fn has_trace(observed: &Observed, backend: Backend) -> bool {
    let others = || Backend::ALL.into_iter().filter(|other| *other != backend);
    let is_shared = |path: &str| others().any(|other| other.footprint().files.contains(&path));
    let footprint = backend.footprint();
    let observed = observed.of(backend);
    footprint.files.iter().any(|path| !is_shared(path) && footprint.is_ours(&observed, path))
}

fn installed(observed: &Observed, installation: &Installation) -> Plan {
    let backend = installation.backend.backend();
    if let Some(other) = present(observed).filter(|other| *other != backend) {
        let hold = Hold::OtherBackend { here: other, wanted: backend };
        return Plan::held(Target::Installed, Vec::new(), vec![hold]);
    }
    let refused = refusals(observed, installation);
    if !refused.is_empty() {
        let leave = refused.iter().any(|refusal| refusal.consequence() == Consequence::Leave);
        let (target, steps) = if leave {
            let because: Vec<String> = refused.iter().map(Refusal::to_string).collect();
            (Target::Clean, removal::steps(observed, backend, removal::Keep::Nothing, &because.join("; ")))
        } else {
            (Target::Installed, Vec::new())
        };
        return Plan::held(target, steps, refused.into_iter().map(Hold::Refused).collect());
    }
    let inputs = installation.attempt();
    if let Some(backoff) = budget::in_force(observed.journal.as_ref(), &inputs, observed.now) {
        if let Some(before) = installation.before(observed) {
            return install::plan_back(observed, &before, backoff);
        }
        let steps = removal::steps(observed, backend, removal::Keep::Journal, &backoff.reason);
        return Plan {
            target: Target::RolledBack,
            steps,
            holds: vec![Hold::RolledBack(backoff.into())],
            retry_at: Some(backoff.not_before),
            awaits_slot: false,
        };
    }
    install::plan(observed, installation)
}

#[cfg(test)]
mod tests;
