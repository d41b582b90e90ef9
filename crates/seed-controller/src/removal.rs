//! Taking cri-resmgr off the nodes of a shoot: which step is next. Pure.

mod memory;
pub(crate) mod nodes;
pub(crate) mod sleep;

use std::time::Duration;

use extension_config::desired_state::Phase;
use extension_config::names;
use gardener_api::ManagedResource;
use gardener_api::constants::condition_type::{RESOURCES_HEALTHY, RESOURCES_PROGRESSING};
use gardener_extension::managed_resources::{Health, health, is_applied, is_proven};

pub(crate) use memory::Removals;

/// What is known when an Extension is to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Situation {
    /// The whole shoot is being deleted: its nodes vanish, there is nothing to clean.
    pub(crate) shoot_is_deleting: bool,
    /// This process saw the proof that every node is clean.
    pub(crate) proven: bool,
    /// The ManagedResource.
    pub(crate) found: Found,
}

/// State of the ManagedResource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// There is none.
    Nothing,
    /// It is being deleted.
    Deleting,
    /// It is there.
    Present,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Write the removal phase and check whether it is proven.
    Apply,
    /// Somebody else deletes it. Wait until it is gone, to write it again: an object that vanished proves nothing about nodes.
    AwaitForeignDeletion,
    /// Delete it and wait until it is gone.
    Delete,
}

/// The next step. [`Step::Delete`] ends when there is nothing left to delete.
pub(crate) fn next(situation: Situation) -> Step {
    match situation {
        Situation { shoot_is_deleting: true, .. }
        | Situation { proven: true, found: Found::Nothing | Found::Deleting, .. } => Step::Delete,
        // Proven once and still there: our request to delete it did not arrive. The proof is checked again, it costs nothing.
        Situation { found: Found::Present | Found::Nothing, .. } => Step::Apply,
        Situation { found: Found::Deleting, .. } => Step::AwaitForeignDeletion,
    }
}

/// Whether it delivers an installation, of whatever version.
pub(crate) fn is_installation(resource: Option<&ManagedResource>) -> bool {
    let labels = resource.and_then(|resource| resource.spec.inject_labels.as_ref());
    labels.and_then(|labels| labels.get(names::PHASE_KEY)).is_some_and(|phase| phase == Phase::Install.as_str())
}

/// State of a ManagedResource that was read.
pub(crate) fn found(resource: Option<&ManagedResource>) -> Found {
    match resource {
        None => Found::Nothing,
        Some(resource) if resource.metadata.deletion_timestamp.is_some() => Found::Deleting,
        Some(_) => Found::Present,
    }
}

/// How far the proof is that every node is clean.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Proof {
    /// It is.
    Complete,
    /// The conditions say so, but the health check may be older than the roll-out that it is about. Check again after this time, at
    /// the same state.
    Unconfirmed(Duration),
    /// Not yet; this is awaited.
    Awaited(String),
}

/// What a removal waits for.
pub(crate) const AWAITED: &str = "waiting until cri-resmgr is removed from all nodes";
/// The phase that a ManagedResource must carry.
const REMOVING: (&str, &str) = (names::PHASE_KEY, Phase::Remove.as_str());

/// The generation of the removal's objects, if they are in the shoot. What nodes said before proves nothing of it.
pub(crate) fn applied_generation(resource: &ManagedResource) -> Option<i64> {
    resource.metadata.generation.filter(|_| is_applied(resource, REMOVING))
}

/// Judges by what the shoot itself says: the removal phase is written there, and no node is awaited. This names nodes, and does not
/// wait for ever for one that is dead, whose pod keeps the ManagedResource unhealthy. `tally` is of a check that began when the present
/// [`applied_generation`] was there.
pub(crate) fn proof_by_nodes(resource: &ManagedResource, tally: &nodes::Tally) -> Proof {
    if !is_applied(resource, REMOVING) {
        return Proof::Awaited(awaited_by_nodes(resource));
    }
    tally.message().map_or(Proof::Complete, Proof::Awaited)
}

/// What is awaited before the nodes have said anything.
pub(crate) fn awaited_by_nodes(resource: &ManagedResource) -> String {
    if is_applied(resource, REMOVING) {
        return format!("{AWAITED}: the shoot is being asked");
    }
    format!("waiting until the removal of cri-resmgr is written to the shoot: {}", detail(resource))
}

/// How long the conditions must stand unchanged where their times do not say their order. gardener-resource-manager checks
/// again within milliseconds after a DaemonSet's health changed; this is for a busy one.
pub(crate) const CONFIRMATION: Duration = Duration::from_secs(20);

/// Judges by the ManagedResource alone, where the shoot cannot be asked. `unchanged_for`: how long the resource has been seen in
/// exactly this state.
///
/// gardener-resource-manager takes a DaemonSet for healthy, whatever its pods are, while it rolls out with `maxUnavailable: 100%`,
/// and checks health and roll-out independently. So "healthy" may have been written before the new pods existed, and "rolled
/// out" when they existed and were not ready: for a moment the two together claim what neither says. A health check from after
/// the roll-out is strict. Times of conditions have whole seconds, so only a later second counts.
pub(crate) fn proof(resource: &ManagedResource, unchanged_for: Duration) -> Proof {
    if !is_proven(resource, REMOVING) {
        return Proof::Awaited(format!("{AWAITED}: {}", detail(resource)));
    }
    let since = |type_| resource.condition(type_).and_then(|found| found.last_transition_time.as_ref());
    let in_order = match (since(RESOURCES_HEALTHY), since(RESOURCES_PROGRESSING)) {
        (Some(healthy), Some(rolled_out)) => healthy.0 > rolled_out.0,
        _ => false,
    };
    if in_order || unchanged_for >= CONFIRMATION {
        Proof::Complete
    } else {
        Proof::Unconfirmed(CONFIRMATION.saturating_sub(unchanged_for))
    }
}

fn detail(resource: &ManagedResource) -> String {
    match health(resource) {
        Health::Unhealthy(detail) | Health::Progressing(detail) => detail,
        Health::Healthy => "the roll-out is not yet confirmed".to_owned(),
    }
}

#[cfg(test)]
mod tests;
