//! The shoot's switch slots: how many nodes may leave their runtime for another at the same time (docs/decisions/0005-switch-slots.md).

mod pace;
mod warnings;

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use extension_config::{Halt, NodeEvent, names};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::GetParams;
use kube::{Api, Client};
use lease::slots::{Members, SlotDecision, SlotRequest, SlotResponse, is_object_name};
use lease::{Slots as SlotsLease, SlotsConfig};
use node_plan::{Slot, SlotHold, Wait};
use observability::ErrorChain;
use tokio::time::Instant;

use super::ShootApi;
use super::call::{DEADLINE, ShootError, call};
use crate::effects::{Slots, SwitchPermit, SwitchRequest};
use pace::{ROLLBACK_LIMIT, change, slots};
use warnings::SlotWarnings;

/// Longer than any switch with its proof and its way back (60 s for the daemon, 90 s for kubelet on either side).
const DURATION: Duration = Duration::from_secs(300);
/// So many characters of a name that somebody may have forged are shown.
const SHOWN: usize = 63;

/// This node's handle on the shoot's switch slots.
pub(crate) struct SwitchSlots {
    api: Rc<ShootApi>,
    lease: Option<SlotsLease>,
    members: Members,
    warnings: SlotWarnings,
}

/// The DaemonSet of the agents: how many nodes share the slots, who owns their record, and whether they are to be used.
struct AgentDaemonSet {
    scheduled: u32,
    owner: Option<OwnerReference>,
    /// Nobody is to begin.
    halt: Option<Halt>,
}

/// The Lease that holds the record of the slots.
pub(super) fn lease(client: &Client) -> SlotsLease {
    let config = SlotsConfig {
        namespace: names::SHOOT_NAMESPACE.to_owned(),
        name: names::SWITCH_LEASE.to_owned(),
        annotation: names::SWITCHES_ANNOTATION.to_owned(),
        duration: DURATION,
        failure_limit: ROLLBACK_LIMIT,
    };
    SlotsLease::new(client.clone(), config)
}

impl SwitchSlots {
    /// Slots for the node of this API.
    pub(crate) fn new(api: Rc<ShootApi>) -> Self {
        let lease = api.client().map(lease);
        Self { api, lease, members: Members::default(), warnings: SlotWarnings::default() }
    }

    /// Takes or renews the slot.
    async fn take(&mut self, request: &SwitchRequest) -> Result<SwitchPermit, ShootError> {
        let agents = self.agents().await?;
        let (change, slots, nobody) = (change(request), slots(agents.scheduled), BTreeSet::new());
        let node = self.api.node_name().to_owned();
        let slot_request = SlotRequest {
            name: &node,
            change: &change,
            failed_at: request.failed_at,
            slots: usize::try_from(slots).unwrap_or(1),
            may_begin: agents.halt.is_none() || request.finishes,
            non_members: &nobody,
        };
        let response = self.take_from_nodes_only(slot_request, agents.owner.as_ref()).await?;
        let slot = match (response.decision, agents.halt) {
            (SlotDecision::Held, _) => Slot::Held,
            (SlotDecision::Stopped, _) => Slot::Stopped { rollbacks: ROLLBACK_LIMIT },
            (SlotDecision::Free, Some(halt)) => Slot::Waiting(Wait::Halted { reason: halt.reason().to_owned() }),
            (SlotDecision::Full | SlotDecision::Free, _) => Slot::Waiting(Wait::SlotsTaken { slots }),
        };
        let again_in = match slot {
            // Somebody has to end it.
            Slot::Waiting(Wait::Halted { .. }) => pace::LONGEST_WAIT,
            _ => pace::wait(agents.scheduled),
        };
        Ok(SwitchPermit { slot, reported: true, stopped_now: response.stopped_now, again_in })
    }

    /// Takes the slot. Whoever may write the record may forge it, so where others hold all slots it is asked whether they are Nodes.
    async fn take_from_nodes_only(
        &mut self,
        slot_request: SlotRequest<'_>,
        owner: Option<&OwnerReference>,
    ) -> Result<SlotResponse, ShootError> {
        let response = self.lease()?.take(&slot_request, owner).await?;
        if let Some(reason) = response.unreadable {
            self.warnings
                .raise(NodeEvent::SwitchesUnreadable, &format!("what stands there counts as nothing: {reason}"));
        }
        if response.decision != SlotDecision::Full {
            return Ok(response);
        }
        let non_members = self.non_members(&response.others).await?;
        let Some(first) = non_members.first() else { return Ok(response) };
        let shown: String = first.chars().take(SHOWN).collect();
        self.warnings.raise(
            NodeEvent::SlotIgnored,
            &format!("{shown:?} holds a slot and is no Node of this shoot; it does not count"),
        );
        Ok(self.lease()?.take(&SlotRequest { non_members: &non_members, ..slot_request }, owner).await?)
    }

    /// Those of `holders` that are no Nodes. Who cannot be looked up now counts.
    async fn non_members(&mut self, holders: &[String]) -> Result<BTreeSet<String>, ShootError> {
        let client = self.client()?;
        let due = self.members.to_look_up(holders, Instant::now());
        let mut non_members = BTreeSet::new();
        let look_ups = async {
            for name in due {
                match is_node(&client, name).await {
                    Ok(true) => self.members.found(name, Instant::now()),
                    Ok(false) => drop(non_members.insert(name.to_owned())),
                    Err(error) => {
                        tracing::warn!(error = %ErrorChain(&error), "failed to look up the holder of a switch slot");
                    }
                }
            }
        };
        // Longer would hold up the agent; the next ask goes on.
        drop(tokio::time::timeout(DEADLINE, look_ups).await);
        Ok(non_members)
    }

    /// Gives the slot back and reports a failure; whether that stops all further switches.
    async fn give_back(&self, request: &SwitchRequest) -> Result<bool, ShootError> {
        let Ok(lease) = self.lease() else { return Ok(false) };
        let (change, non_members) = (change(request), BTreeSet::new());
        let slot_request = SlotRequest {
            name: self.api.node_name(),
            change: &change,
            failed_at: request.failed_at,
            slots: 1,
            may_begin: false,
            non_members: &non_members,
        };
        // Only a failure may have to be written where no Lease is.
        let owner = self.agents().await.ok().and_then(|agents| agents.owner);
        Ok(lease.give_back(&slot_request, owner.as_ref()).await?.stopped_now)
    }

    async fn agents(&self) -> Result<AgentDaemonSet, ShootError> {
        let sets: Api<DaemonSet> = Api::namespaced(self.client()?, names::SHOOT_NAMESPACE);
        let set = call("get", format!("DaemonSet {}", names::NODE_AGENT), sets.get_opt(names::NODE_AGENT)).await?;
        let status = set.as_ref().and_then(|set| set.status.as_ref());
        let scheduled = status.map_or(0, |status| status.desired_number_scheduled);
        let annotations = set.as_ref().and_then(|set| set.metadata.annotations.as_ref());
        let halt = annotations.and_then(Halt::of);
        let owner = set.and_then(|set| {
            Some(OwnerReference {
                api_version: "apps/v1".to_owned(),
                kind: "DaemonSet".to_owned(),
                name: set.metadata.name?,
                uid: set.metadata.uid?,
                ..OwnerReference::default()
            })
        });
        Ok(AgentDaemonSet { scheduled: u32::try_from(scheduled).unwrap_or(0), owner, halt })
    }

    fn lease(&self) -> Result<&SlotsLease, ShootError> {
        self.lease.as_ref().ok_or(ShootError::NoClient)
    }

    fn client(&self) -> Result<Client, ShootError> {
        self.api.client().cloned().ok_or(ShootError::NoClient)
    }

    async fn record_stop(&self, stopped_now: bool) {
        if stopped_now {
            let note = SlotHold::Stopped { rollbacks: ROLLBACK_LIMIT }.to_string();
            self.api.publish_event(NodeEvent::SwitchesStopped, &note).await;
        }
    }
}

impl Slots for SwitchSlots {
    async fn take_slot(&mut self, request: &SwitchRequest) -> SwitchPermit {
        let permit = self.take(request).await.unwrap_or_else(|error| pace::unknown(&error));
        if let Some(warning) = self.warnings.take_due() {
            self.api.publish_event(warning.event, &warning.note).await;
        }
        tracing::info!(slot = ?permit.slot, "asked for a switch slot");
        self.record_stop(permit.stopped_now).await;
        permit
    }

    async fn give_back_slot(&mut self, request: &SwitchRequest) -> bool {
        match self.give_back(request).await {
            Ok(stopped_now) => {
                self.record_stop(stopped_now).await;
                true
            }
            Err(error) => {
                tracing::warn!(reason = %ErrorChain(&error), "failed to give back the switch slot; it expires by itself");
                false
            }
        }
    }
}

async fn is_node(client: &Client, name: &str) -> kube::Result<bool> {
    if !is_object_name(name) {
        return Ok(false);
    }
    let nodes: Api<Node> = Api::all(client.clone());
    // The API server's cache knows of most; who is not there may be new.
    Ok(nodes.get_metadata_opt_with(name, &GetParams::any()).await?.is_some()
        || nodes.get_metadata_opt(name).await?.is_some())
}
