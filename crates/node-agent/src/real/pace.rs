//! The shoot's switch slots: how many nodes may leave their runtime for another at the same time (docs/decisions/0005-switch-slots.md).

use std::time::Duration;

use extension_config::desired_state::hash8;
use extension_config::names;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Api, Client};
use lease::slots::{Ask, Verdict};
use lease::{Slots, SlotsConfig};
use node_plan::Slot;

use super::cluster::DEADLINE;
use crate::effects::{Permit, Request};

/// One of so many nodes may switch, and always one.
const NODES_PER_SLOT: u32 = 10;
/// After so many roll-backs with one change no node begins with it any more.
const ROLLBACK_LIMIT: usize = 2;
/// Longer than any switch with its proof and its way back (60 s for the daemon, 90 s for kubelet on either side).
const DURATION: Duration = Duration::from_secs(300);
/// How soon a node that waits asks again: the more nodes, the later, so that the API server sees some 50 of them a second at most.
const SHORTEST_WAIT: Duration = Duration::from_secs(3);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
const ASKING_PER_SECOND: u32 = 50;

/// Asks for this node's slot.
pub(crate) struct Pace {
    client: Client,
    slots: Slots,
    node_name: String,
}

/// What the DaemonSet of the agents tells.
struct Crowd {
    nodes: u32,
    owner: Option<OwnerReference>,
}

impl Pace {
    pub(super) fn new(client: Client, node_name: &str) -> Self {
        let config = SlotsConfig {
            namespace: names::SHOOT_NAMESPACE.to_owned(),
            name: names::SWITCH_LEASE.to_owned(),
            annotation: names::SWITCHES_ANNOTATION.to_owned(),
            duration: DURATION,
            failure_limit: ROLLBACK_LIMIT,
        };
        Self { slots: Slots::new(client.clone(), config), client, node_name: node_name.to_owned() }
    }

    /// Takes or renews the slot. `desired`: hash of the desired state.
    pub(super) async fn take(&self, desired: &str, request: &Request) -> Permit {
        let crowd = match self.crowd().await {
            Ok(crowd) => crowd,
            Err(reason) => return Self::unknown(&reason),
        };
        let change = change(desired, request);
        let slots = slots(crowd.nodes);
        let ask = Ask {
            name: &self.node_name,
            change: &change,
            failed_at: request.failed_at,
            slots: usize::try_from(slots).unwrap_or(1),
        };
        let answer = match self.slots.take(&ask, crowd.owner.as_ref()).await {
            Ok(answer) => answer,
            Err(error) => return Self::unknown(&observability::ErrorChain(&error).to_string()),
        };
        let slot = match answer.verdict {
            Verdict::Held => Slot::Held,
            Verdict::Full | Verdict::Free => Slot::Waiting(format!("other nodes do so now, {slots} at a time")),
            Verdict::Stopped => Slot::Stopped(stopped()),
        };
        Permit { slot, told: true, stopped_now: answer.stopped_now, again_in: wait(crowd.nodes) }
    }

    /// Nothing is known of the slots, so nothing that takes one is begun.
    pub(super) fn unknown(reason: &str) -> Permit {
        Permit {
            slot: Slot::Waiting(format!("no slot can be asked for: {reason}")),
            told: false,
            stopped_now: false,
            again_in: LONGEST_WAIT,
        }
    }

    /// Gives the slot back and tells a failure.
    pub(super) async fn give_back(&self, desired: &str, request: &Request) -> Result<bool, String> {
        let change = change(desired, request);
        let ask = Ask { name: &self.node_name, change: &change, failed_at: request.failed_at, slots: 1 };
        // Only a failure may have to be written where no Lease is.
        let owner = self.crowd().await.ok().and_then(|crowd| crowd.owner);
        let answer = self.slots.give_back(&ask, owner.as_ref()).await;
        answer.map(|answer| answer.stopped_now).map_err(|error| observability::ErrorChain(&error).to_string())
    }

    /// Nothing of the slots shall stay in the shoot.
    pub(super) async fn withdraw(&self) -> Result<(), String> {
        self.slots.delete().await.map_err(|error| observability::ErrorChain(&error).to_string())
    }

    async fn crowd(&self) -> Result<Crowd, String> {
        let sets: Api<DaemonSet> = Api::namespaced(self.client.clone(), names::SHOOT_NAMESPACE);
        let set = match tokio::time::timeout(DEADLINE, sets.get_opt(names::NODE_AGENT)).await {
            Ok(Ok(set)) => set,
            Ok(Err(error)) => return Err(observability::ErrorChain(&error).to_string()),
            Err(_elapsed) => return Err(format!("no answer of the API server within {DEADLINE:?}")),
        };
        let nodes =
            set.as_ref().and_then(|set| set.status.as_ref()).map_or(0, |status| status.desired_number_scheduled);
        let owner = set.and_then(|set| {
            Some(OwnerReference {
                api_version: "apps/v1".to_owned(),
                kind: "DaemonSet".to_owned(),
                name: set.metadata.name?,
                uid: set.metadata.uid?,
                ..OwnerReference::default()
            })
        });
        Ok(Crowd { nodes: u32::try_from(nodes).unwrap_or(0), owner })
    }
}

/// What stops further switches, for people.
pub(crate) fn stopped() -> String {
    format!(
        "{ROLLBACK_LIMIT} roll-backs in the shoot: no switch is begun before the configuration or the version changes"
    )
}

/// What failures count against: another desired state or another payload is something new.
fn change(desired: &str, request: &Request) -> String {
    hash8(&format!("{desired} {}", request.attempt))
}

fn slots(nodes: u32) -> u32 {
    (nodes / NODES_PER_SLOT).max(1)
}

fn wait(nodes: u32) -> Duration {
    Duration::from_secs(u64::from(nodes / ASKING_PER_SECOND)).clamp(SHORTEST_WAIT, LONGEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_of_the_nodes_and_always_one() {
        let table = [(0, 1, 3), (1, 1, 3), (9, 1, 3), (19, 1, 3), (20, 2, 3), (100, 10, 3), (1000, 100, 20)];
        for (nodes, expected, seconds) in table {
            assert_eq!((slots(nodes), wait(nodes)), (expected, Duration::from_secs(seconds)), "{nodes} nodes");
        }
        assert_eq!(wait(100_000), LONGEST_WAIT);
    }

    #[test]
    fn another_desired_state_or_payload_is_another_change() {
        let request = |attempt: &str| Request { attempt: attempt.into(), failed_at: None };
        assert_eq!(change("a", &request("x")), change("a", &request("x")));
        assert_ne!(change("a", &request("x")), change("b", &request("x")));
        assert_ne!(change("a", &request("x")), change("a", &request("y")));
    }
}
