//! From one backend to the other, on a node that has pods (docs/decisions/0008-handover.md).
//!
//! The new one is installed and proven beside the one that works, which then leaves, and is taken away last. Nothing remembers how far that went: the
//! journal has a record for each backend, so the next plan begins where the last one was cut off.

use kubelet_config::Endpoint;

use super::planner::Way;
use super::removal::{self, Keep};
use super::{Plan, Target, install, proxy};
use crate::budget;
use crate::desired::Installation;
use crate::hold::{Hold, PacedChange, SlotHold};
use crate::kind::Backend;
use crate::observed::Observed;
use crate::restart::Cause;
use crate::step::Step;

/// Backends that are here, wholly or in part: two only in the middle of a handover. What is seen counts as what is remembered: the journal may have been
/// lost in the middle, and begun anew for one of them.
pub(super) fn present(observed: &Observed) -> Vec<Backend> {
    let remembers = |backend| observed.journal.as_ref().is_some_and(|journal| journal.has(backend));
    let is_seen = |backend: Backend| backend.footprint().own_trace(&observed.of(backend));
    Backend::ALL.into_iter().filter(|backend| remembers(*backend) || is_seen(*backend)).collect()
}

/// Whether the daemon of a backend may have been started: from then on containers are where it has them. Files alone are nothing that was begun.
pub(super) fn is_begun(observed: &Observed, backend: Backend) -> bool {
    let view = observed.of(backend);
    let is_remembered = view.journal.as_ref().is_some_and(|journal| journal.applied.is_some());
    is_remembered || view.daemon.is_up() || (view.journal.is_none() && backend.footprint().own_trace(&view))
}

/// Why a node that has the other backend alone must not be led to the wanted one.
pub(super) fn forbidden(installation: &Installation, here: Backend) -> Option<Hold> {
    let wanted = installation.backend.backend();
    match &installation.handover {
        Some(handover) if handover.from == here => {
            (!handover.unaccepted.is_empty()).then(|| Hold::Unaccepted(handover.unaccepted.clone()))
        }
        Some(_) | None => Some(Hold::OtherBackend { here, wanted }),
    }
}

/// The other backend goes on as it was proven, and is healed, while the wanted one is held.
pub(super) fn stay(observed: &Observed, installation: &Installation, here: Backend, held: Plan) -> Plan {
    let Some(proven) = installation.proven_of(observed, here) else { return held };
    let kept = install::plan_proven(observed, &proven);
    let mut holds = held.holds;
    holds.extend(kept.holds);
    Plan {
        target: if kept.steps.is_empty() { held.target } else { Target::Held },
        steps: kept.steps,
        holds,
        retry_at: held.retry_at.into_iter().chain(kept.retry_at).min(),
        // A restart of what is in use with other inputs takes a slot as ever: a new agent may bring some.
        awaits_slot: held.awaits_slot || kept.awaits_slot,
    }
}

/// Back to what was proven: of the other backend where that is here, which makes the wanted one leave.
pub(super) fn back(observed: &Observed, before: &Installation, hold: Hold, retry_at: Option<u64>) -> Plan {
    let kept = install::plan_back(observed, before);
    let backend = before.backend.backend();
    let other = present(observed).into_iter().find(|other| *other != backend);
    let mut plan = match other {
        Some(other) if kept.is_settled() => leave(observed, other, Way::Back),
        _ => Plan { target: Target::Before, ..kept },
    };
    plan.holds.insert(0, hold);
    plan.retry_at = plan.retry_at.into_iter().chain(retry_at).min();
    plan
}

/// The wanted backend works: the other one leaves, and is taken away. kubelet is led off the proxy by a plan of its own, since that may fail and lead
/// back; what comes after it may be repeated, and leads nowhere else. On the way back it waits for nobody.
pub(super) fn leave(observed: &Observed, leaving: Backend, way: Way) -> Plan {
    if leaving == Backend::Proxy {
        let plan = kubelet_leaves(observed, way);
        if !plan.is_settled() {
            return plan;
        }
    }
    let (cause, because) = match way {
        Way::Onward => (Cause::Switch, "the other backend has taken over"),
        Way::Back => (Cause::Rollback, "the other backend goes on"),
    };
    let keep = Keep::Other { cause, goes_too: false };
    Plan::held(Target::OtherGone, removal::steps(observed, leaving, keep, because), Vec::new())
}

fn kubelet_leaves(observed: &Observed, way: Way) -> Plan {
    let target = if way == Way::Onward { Target::Installed } else { Target::Before };
    let mut plan = Plan::held(target, Vec::new(), Vec::new());
    let journal = observed.journal.as_ref().map(|journal| journal.of(Backend::Proxy)).unwrap_or_default();
    if way == Way::Onward && observed.kubelet.endpoint() == Some(Endpoint::Proxy) {
        let change = PacedChange::LeaveProxy;
        if let Some(at) = budget::next_switch(&journal, observed.now) {
            plan.retry_at = Some(at);
            let restarts = journal.restarts.len();
            plan.holds.push(Hold::RestartBudget { because: change, restarts, next_at: at });
            return plan;
        }
        if let Some(by) = SlotHold::of(&observed.slot) {
            plan.awaits_slot = !matches!(by, SlotHold::Stopped { .. });
            plan.holds.push(Hold::Slot { change, by });
            return plan;
        }
    }
    let cause = if way == Way::Onward { Cause::Switch } else { Cause::Rollback };
    proxy::switch_to_containerd(&observed.of(Backend::Proxy), &journal, cause, &mut plan.steps);
    plan
}

/// Backends of which something has to go: those that are here, and one of which only a directory is left, as when an agent died after it made that, and
/// the journal was lost. It is no installation to be healed or held for, but the proof of a removal fails while it stands.
fn left(observed: &Observed) -> Vec<Backend> {
    let present = present(observed);
    let stands =
        |backend: Backend| backend.footprint().own_directory_stands(&observed.of(backend), backend.other().footprint());
    Backend::ALL.into_iter().filter(|backend| present.contains(backend) || stands(*backend)).collect()
}

/// Steps to a node without any of ours. The proxy goes first: the plugin takes the pins of both with it.
pub(super) fn clean(observed: &Observed, keep: Keep, because: &str) -> Vec<Step> {
    let left = left(observed);
    let first = left.first().copied().unwrap_or(Backend::Proxy);
    let keep = if left.len() > 1 { Keep::Other { cause: keep.cause(), goes_too: true } } else { keep };
    removal::steps(observed, first, keep, because)
}
