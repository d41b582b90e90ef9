//! The shoot's switch slots: how many nodes may leave their runtime for another at the same time (docs/decisions/0005-switch-slots.md).

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

use extension_config::desired_state::hash8;
use extension_config::names;
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::GetParams;
use kube::{Api, Client};
use lease::slots::{Answer, Ask, Members, Verdict, is_object_name};
use lease::{Slots, SlotsConfig};
use node_plan::Slot;
use tokio::time::Instant;

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
/// The same doubt about the record is told again after so long.
const TELL_AGAIN: Duration = Duration::from_secs(3600);
/// So many characters of a name that somebody may have forged are shown.
const SHOWN: usize = 63;

/// Asks for this node's slot.
pub(crate) struct Pace {
    client: Client,
    slots: Slots,
    node_name: String,
    members: RefCell<Members>,
    doubts: RefCell<Doubts>,
}

/// Something about the record that people should look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Doubt {
    /// Reason of the Event.
    pub(crate) reason: &'static str,
    /// What it says.
    pub(crate) note: String,
}

/// The doubt that is still to be told, and when which one was told.
#[derive(Debug, Default)]
struct Doubts {
    due: Option<Doubt>,
    told: Option<(&'static str, Instant)>,
}

impl Doubts {
    fn raise(&mut self, doubt: Doubt, now: Instant) {
        let told_lately = |(reason, at): (&str, Instant)| reason == doubt.reason && now.duration_since(at) < TELL_AGAIN;
        if !self.told.is_some_and(told_lately) {
            self.told = Some((doubt.reason, now));
            self.due = Some(doubt);
        }
    }
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
        let slots = Slots::new(client.clone(), config);
        let (members, doubts) = (RefCell::default(), RefCell::default());
        Self { slots, client, node_name: node_name.to_owned(), members, doubts }
    }

    /// Takes or renews the slot.
    pub(super) async fn take(&self, request: &Request) -> Permit {
        let crowd = match self.crowd().await {
            Ok(crowd) => crowd,
            Err(reason) => return Self::unknown(&reason),
        };
        let change = change(request);
        let slots = slots(crowd.nodes);
        let nobody = BTreeSet::new();
        let ask = Ask {
            name: &self.node_name,
            change: &change,
            failed_at: request.failed_at,
            slots: usize::try_from(slots).unwrap_or(1),
            strangers: &nobody,
        };
        let answer = match self.take_from_nodes_only(ask, crowd.owner.as_ref()).await {
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

    /// Takes the slot. Whoever may write the record may forge it, so where others hold all slots it is asked whether they are Nodes.
    async fn take_from_nodes_only(
        &self,
        ask: Ask<'_>,
        owner: Option<&OwnerReference>,
    ) -> Result<Answer, lease::slots::SlotsError> {
        let answer = self.slots.take(&ask, owner).await?;
        if let Some(reason) = answer.unreadable {
            self.raise(names::event::SWITCHES_UNREADABLE, &format!("what stands there counts as nothing: {reason}"));
        }
        if answer.verdict != Verdict::Full {
            return Ok(answer);
        }
        let strangers = self.strangers(&answer.others).await;
        let Some(first) = strangers.first() else { return Ok(answer) };
        let shown: String = first.chars().take(SHOWN).collect();
        self.raise(
            names::event::SLOT_IGNORED,
            &format!("{shown:?} holds a slot and is no Node of this shoot; it does not count"),
        );
        self.slots.take(&Ask { strangers: &strangers, ..ask }, owner).await
    }

    /// Those of `holders` that are no Nodes. Who cannot be looked up now counts.
    async fn strangers(&self, holders: &[String]) -> BTreeSet<String> {
        let due = self.members.borrow_mut().to_look_up(holders, Instant::now());
        let mut strangers = BTreeSet::new();
        let look = async {
            for name in due {
                match self.is_node(name).await {
                    Ok(true) => self.members.borrow_mut().found(name, Instant::now()),
                    Ok(false) => drop(strangers.insert(name.to_owned())),
                    Err(error) => {
                        tracing::warn!(error = %observability::ErrorChain(&error), "failed to look up the holder of a switch slot");
                    }
                }
            }
        };
        // Longer would hold up the agent; the next ask goes on.
        drop(tokio::time::timeout(DEADLINE, look).await);
        strangers
    }

    async fn is_node(&self, name: &str) -> kube::Result<bool> {
        if !is_object_name(name) {
            return Ok(false);
        }
        let nodes: Api<Node> = Api::all(self.client.clone());
        // The API server's cache knows of most; who is not there may be new.
        Ok(nodes.get_metadata_opt_with(name, &GetParams::any()).await?.is_some()
            || nodes.get_metadata_opt(name).await?.is_some())
    }

    fn raise(&self, reason: &'static str, what: &str) {
        let note = format!("Lease {}: {what}", names::SWITCH_LEASE);
        tracing::warn!(reason, note, "doubted the record of the switch slots");
        self.doubts.borrow_mut().raise(Doubt { reason, note }, Instant::now());
    }

    /// What people should be told now.
    pub(super) fn doubt(&self) -> Option<Doubt> {
        self.doubts.borrow_mut().due.take()
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
    pub(super) async fn give_back(&self, request: &Request) -> Result<bool, String> {
        let change = change(request);
        let (failed_at, strangers) = (request.failed_at, &BTreeSet::new());
        let ask = Ask { name: &self.node_name, change: &change, failed_at, slots: 1, strangers };
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
fn change(request: &Request) -> String {
    hash8(&format!("{} {}", request.desired, request.attempt))
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
    fn a_doubt_is_told_once_an_hour() {
        let (mut doubts, start) = (Doubts::default(), Instant::now());
        let mut told = |reason, seconds| {
            doubts.raise(Doubt { reason, note: String::new() }, start + Duration::from_secs(seconds));
            doubts.due.take().is_some()
        };
        assert!(told("a", 0));
        assert!(!told("a", 3599));
        assert!(told("b", 3599), "another one");
        assert!(told("b", 7199));
    }

    #[test]
    fn another_desired_state_or_payload_is_another_change() {
        let of = |desired: &str, attempt: &str| {
            change(&Request { desired: desired.into(), attempt: attempt.into(), failed_at: None })
        };
        assert_eq!(of("a", "x"), of("a", "x"));
        assert_ne!(of("a", "x"), of("b", "x"));
        assert_ne!(of("a", "x"), of("a", "y"));
    }
}
