//! What a shoot's sleep means for a removal. Pure.
//!
//! When all nodes are gone gardenlet scales gardener-resource-manager and the API server to zero (`HibernateControlPlane` in Gardener's
//! `botanist/controlplane.go`, v1.149.3), so nothing that is written for the shoot arrives there before it wakes up. The phase `Remove` is written
//! all the same: at wake-up the Worker, and so every node, comes after the resource manager (`waitUntilWorkerReady` in
//! `reconciler_reconcile.go`), and finds the removal. Nobody waits meanwhile: gardenlet skips that for a hibernated Shoot (`WaitCleanupStaleResources`).

use gardener_api::Shoot;

/// Whether a shoot sleeps, by what is asked for and what has been reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sleep {
    Awake,
    /// Hibernation is under way: nodes go, then the control plane.
    FallingAsleep,
    Asleep,
    /// The control plane comes, then nodes.
    WakingUp,
}

impl Sleep {
    /// A shoot in deletion counts as awake: gardenlet starts its API server and its resource manager for that (`reconciler_delete.go`).
    pub(crate) fn of(shoot: Option<&Shoot>) -> Self {
        let Some(shoot) = shoot.filter(|shoot| !shoot.is_deleting()) else { return Self::Awake };
        match (shoot.is_hibernation_requested(), shoot.status.hibernated) {
            (false, false) => Self::Awake,
            (true, false) => Self::FallingAsleep,
            (true, true) => Self::Asleep,
            (false, true) => Self::WakingUp,
        }
    }

    /// Whether anything can be proven now. In a shoot that sleeps the ManagedResource reports the time before; and one that is hibernated again
    /// before it was quite awake may still have nodes. Nothing ends in its sleep in any case: what was deleted goes at wake-up.
    pub(crate) fn can_prove(self) -> bool {
        self != Self::Asleep
    }

    /// What is awaited, and what has to happen first.
    pub(crate) fn explain(self, awaited: String) -> String {
        match self {
            Self::Awake => awaited,
            Self::FallingAsleep => {
                format!("the shoot is being hibernated, and what is not done before ends after it wakes up: {awaited}")
            }
            Self::Asleep => format!("the shoot is hibernated, and this ends after it wakes up: {awaited}"),
            Self::WakingUp => format!("the shoot is waking up: {awaited}"),
        }
    }
}

#[cfg(test)]
mod orders;
#[cfg(test)]
mod tests;
