//! How many slots a shoot has, how often a node asks for one, and what counts as the same change.

use std::time::Duration;

use extension_config::desired_state::hash8;
use node_plan::{Slot, Wait};
use observability::ErrorChain;

use crate::effects::{SwitchPermit, SwitchRequest};
use crate::shoot::ShootError;

/// One of so many nodes may switch, and always one.
const NODES_PER_SLOT: u32 = 10;
/// After so many roll-backs with one change no node begins with it any more.
pub(super) const ROLLBACK_LIMIT: usize = 2;
/// How soon a node that waits asks again: the more nodes, the later, so that the API server sees some 50 of them a second at most.
const SHORTEST_WAIT: Duration = Duration::from_secs(3);
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(30);
const ASKING_PER_SECOND: u32 = 50;

/// Nothing is known of the slots, so nothing that takes one is begun.
pub(super) fn unknown(reason: &ShootError) -> SwitchPermit {
    SwitchPermit {
        slot: Slot::Waiting(Wait::SlotsUnknown(ErrorChain(reason).to_string())),
        reported: false,
        stopped_now: false,
        again_in: LONGEST_WAIT,
    }
}

/// What failures count against: another desired state or another payload is something new.
pub(super) fn change(request: &SwitchRequest) -> String {
    hash8(&format!("{} {}", request.desired, request.attempt))
}

/// Slots of a shoot with so many nodes.
pub(super) fn slots(nodes: u32) -> u32 {
    (nodes / NODES_PER_SLOT).max(1)
}

/// How soon a node asks again.
pub(super) fn wait(nodes: u32) -> Duration {
    Duration::from_secs(u64::from(nodes / ASKING_PER_SECOND)).clamp(SHORTEST_WAIT, LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_a_tenth_of_the_nodes_and_at_least_one() {
        let table = [(0, 1, 3), (1, 1, 3), (9, 1, 3), (19, 1, 3), (20, 2, 3), (100, 10, 3), (1000, 100, 20)];
        for (nodes, expected, seconds) in table {
            assert_eq!((slots(nodes), wait(nodes)), (expected, Duration::from_secs(seconds)), "{nodes} nodes");
        }
        assert_eq!(wait(100_000), LONGEST_WAIT);
    }

    #[test]
    fn a_desired_state_or_payload_that_differs_is_another_change() {
        let of = |desired: &str, attempt: &str| {
            change(&SwitchRequest {
                desired: desired.into(),
                attempt: attempt.into(),
                failed_at: None,
                finishes: false,
            })
        };
        assert_eq!(of("a", "x"), of("a", "x"));
        assert_ne!(of("a", "x"), of("b", "x"));
        assert_ne!(of("a", "x"), of("a", "y"));
    }
}
