//! The controller, as in the actuator: what it reads and writes is the model's, what it decides by are the functions under test.

use extension_config::desired_state::Phase;
use extension_config::names;
use gardener_api::ManagedResource;
use serde_json::json;

use super::shoot_state::{Extension, Resource, ShootState};
use crate::removal::nodes::{self, tally};
use crate::removal::sleep::Sleep;
use crate::removal::{AWAITED, CONFIRMATION, Proof, Situation, Step, found, next, proof, proof_by_nodes};

impl ShootState {
    /// As the functions under test see it.
    pub(super) fn managed_resource(&self) -> Option<ManagedResource> {
        let resource = self.resource?;
        let phase = if resource.removing { Phase::Remove } else { Phase::Install };
        let condition = |type_: &str, good: bool| {
            json!({"type": type_, "status": if good { "True" } else { "False" },
            "reason": "R", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z", "lastUpdateTime": "2026-01-01T00:00:00Z"})
        };
        let value = json!({
            "metadata": {"name": "m", "namespace": "n", "generation": 2,
                "deletionTimestamp": resource.deleting.then_some("2026-01-01T00:00:00Z")},
            "spec": {"secretRefs": [], "injectLabels": {names::PHASE_KEY: phase.as_str()}},
            "status": {"observedGeneration": if resource.applied { 2 } else { 1 }, "conditions": [
                condition("ResourcesApplied", true), condition("ResourcesHealthy", resource.healthy), condition("ResourcesProgressing", false)]},
        });
        Some(serde_json::from_value(value).unwrap())
    }

    /// As in the actuator.
    pub(super) fn controller(&mut self) {
        match self.extension {
            Extension::Absent => {}
            Extension::Present => {
                if !self.deleting && self.resource.is_none_or(|resource| !resource.deleting) {
                    self.apply(false);
                }
            }
            Extension::Deleting => {
                let resource = self.managed_resource();
                let situation = Situation {
                    shoot_is_deleting: self.deleting,
                    proven: self.proven,
                    found: found(resource.as_ref()),
                };
                match next(situation) {
                    Step::AwaitForeignDeletion => self.says("waiting until the ManagedResource is gone"),
                    Step::Delete => self.delete_resource(),
                    Step::Apply => self.remove(),
                }
            }
        }
    }

    fn apply(&mut self, removing: bool) {
        let before =
            self.resource.unwrap_or(Resource { removing: !removing, deleting: false, applied: false, healthy: false });
        if before.removing != removing {
            self.resource = Some(Resource { removing, applied: false, ..before });
        }
    }

    fn remove(&mut self) {
        let sleep = self.sleep();
        self.apply(true);
        // Hibernated again before it was awake, its control plane may still run, and nodes with it.
        self.off_in_sleep |= sleep == Sleep::Asleep && !self.control_plane;
        if !sleep.can_prove() {
            return self.says(AWAITED);
        }
        let resource = self.managed_resource().unwrap();
        let judged = if self.control_plane {
            let nodes = self.node.map(|node| nodes::Node {
                name: "n".to_owned(),
                away_since: None,
                agent: match node.agent {
                    Some(true) if node.done => nodes::Agent::Done,
                    Some(true) => nodes::Agent::AtWork,
                    _ => nodes::Agent::Missing,
                },
                report: None,
            });
            proof_by_nodes(&resource, &tally(nodes.as_slice(), jiff::Timestamp::UNIX_EPOCH))
        } else {
            // As long after as it takes.
            proof(&resource, CONFIRMATION)
        };
        self.proven = judged == Proof::Complete;
        match judged {
            Proof::Complete => self.delete_resource(),
            Proof::Awaited(message) => self.says(&message),
            Proof::Unconfirmed(_) => panic!("it has stood long enough"),
        }
    }

    fn delete_resource(&mut self) {
        if let Some(resource) = &mut self.resource {
            resource.deleting = true;
            return self.says("waiting for the deletion of the ManagedResource");
        }
        let switched = self.node.is_some_and(|node| node.switched);
        assert!(self.deleting || !switched, "ended with a switched node: {self:?}");
        assert_eq!(self.daemon_set, None, "ended, and agents stay");
        (self.extension, self.proven, self.off_in_sleep) = (Extension::Absent, false, false);
    }

    fn says(&self, awaited: &str) {
        let sleep = self.sleep();
        let reported = sleep.explain(awaited.to_owned());
        assert!(!reported.contains("ERR_"), "{reported}");
        let of_sleep = reported.starts_with("the shoot is hibernated, and this ends after it wakes up: ");
        assert_eq!(of_sleep, self.wanted_asleep && self.hibernated && !self.deleting, "{reported}");
    }
}
