//! Everybody who takes part in a removal, one step each. One node stands for all.

use gardener_api::Shoot;
use serde_json::json;

use crate::removal::sleep::Sleep;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Extension {
    Absent,
    Present,
    Deleting,
}

/// The ManagedResource in the seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub(super) struct Resource {
    pub(super) removing: bool,
    pub(super) deleting: bool,
    /// The resource manager has written the present generation to the shoot.
    pub(super) applied: bool,
    /// What it said last of the health, perhaps of another generation.
    pub(super) healthy: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Node {
    pub(super) switched: bool,
    /// The phase of the agent's pod; `true`: removing.
    pub(super) agent: Option<bool>,
    /// The agent is done with it.
    pub(super) done: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
pub(super) struct ShootState {
    pub(super) wanted_on: bool,
    pub(super) wanted_asleep: bool,
    pub(super) hibernated: bool,
    pub(super) deleting: bool,
    /// API server and resource manager run.
    pub(super) control_plane: bool,
    /// The resource manager has seen the ManagedResource since it was started.
    pub(super) caught_up: bool,
    pub(super) extension: Extension,
    pub(super) resource: Option<Resource>,
    /// The DaemonSet in the shoot; `true`: removing.
    pub(super) daemon_set: Option<bool>,
    pub(super) node: Option<Node>,
    /// What the controller remembers.
    pub(super) proven: bool,
    /// The removal was written while the shoot slept, and has not ended.
    pub(super) off_in_sleep: bool,
}

pub(super) const AWAKE: ShootState = ShootState {
    wanted_on: false,
    wanted_asleep: false,
    hibernated: false,
    deleting: false,
    control_plane: true,
    caught_up: true,
    extension: Extension::Absent,
    resource: None,
    daemon_set: None,
    node: Some(Node { switched: false, agent: None, done: false }),
    proven: false,
    off_in_sleep: false,
};

impl ShootState {
    pub(super) fn sleep(&self) -> Sleep {
        let deletion = self.deleting.then_some("2026-01-01T00:00:00Z");
        let shoot: Shoot = serde_json::from_value(json!({
            "metadata": {"deletionTimestamp": deletion, "generation": 1},
            "spec": {"hibernation": {"enabled": self.wanted_asleep}}, "status": {"hibernated": self.hibernated},
        }))
        .unwrap();
        Sleep::of(Some(&shoot))
    }

    /// What may happen next.
    pub(super) fn steps(&self) -> Vec<ShootState> {
        let actors: [fn(&mut ShootState); 12] = [
            ShootState::gardenlet_extension,
            ShootState::gardenlet_shoot,
            ShootState::resource_manager,
            ShootState::health,
            ShootState::agent,
            ShootState::controller,
            // The controller is started anew.
            |state| state.proven = false,
            // The owner.
            |state| state.wanted_asleep = true,
            |state| state.wanted_asleep = false,
            |state| state.wanted_on = true,
            |state| state.wanted_on = false,
            |state| state.deleting = true,
        ];
        let steps = actors.into_iter().map(|step| {
            let mut state = *self;
            step(&mut state);
            state
        });
        steps.filter(|state| state != self).collect()
    }

    fn gardenlet_extension(&mut self) {
        self.extension = match self.extension {
            Extension::Absent if self.wanted_on && !self.deleting => Extension::Present,
            Extension::Present if !self.wanted_on && !self.deleting => Extension::Deleting,
            // After the ManagedResources.
            Extension::Present if self.deleting && self.resource.is_none() => Extension::Deleting,
            other => other,
        };
    }

    fn gardenlet_shoot(&mut self) {
        if self.deleting {
            if !self.control_plane {
                (self.control_plane, self.caught_up) = (true, false);
            } else if let Some(resource) = &mut self.resource {
                resource.deleting = true;
            } else {
                self.node = None;
            }
        } else if self.wanted_asleep {
            // Nodes first, then the control plane, then the status.
            if self.node.is_some() {
                self.node = None;
            } else if self.control_plane {
                self.control_plane = false;
            } else {
                self.hibernated = true;
            }
        } else if !self.control_plane {
            (self.control_plane, self.caught_up) = (true, false);
        } else if self.node.is_none() {
            // The Worker comes after the resource manager.
            if self.caught_up {
                self.node = AWAKE.node;
            }
        } else {
            self.hibernated = false;
        }
    }

    fn resource_manager(&mut self) {
        if !self.control_plane {
            return;
        }
        self.caught_up = true;
        match &mut self.resource {
            None => {}
            Some(resource) if resource.deleting => (self.resource, self.daemon_set) = (None, None),
            Some(resource) => {
                resource.applied = true;
                self.daemon_set = Some(resource.removing);
            }
        }
    }

    fn health(&mut self) {
        if let Some(resource) = self.resource.as_mut().filter(|_| self.control_plane) {
            resource.healthy = self.node.is_none_or(|node| node.done && node.agent == self.daemon_set);
        }
    }

    fn agent(&mut self) {
        let (before, off_in_sleep, daemon_set) = (*self, self.off_in_sleep, self.daemon_set);
        let Some(node) = self.node.as_mut().filter(|_| self.control_plane) else { return };
        if node.agent != daemon_set {
            (node.agent, node.done) = (daemon_set, false);
            return;
        }
        let Some(removing) = node.agent else { return };
        assert!(removing || !off_in_sleep, "a node is switched on: {before:?}");
        (node.switched, node.done) = (!removing, true);
    }

    /// Everybody acts in turn, the owner not at all, until nothing changes.
    pub(super) fn run_to_completion(mut self) -> ShootState {
        for _ in 0..100 {
            let before = self;
            self.gardenlet_extension();
            self.gardenlet_shoot();
            self.resource_manager();
            self.agent();
            self.health();
            self.controller();
            if self == before {
                return self;
            }
        }
        panic!("never ends: {self:?}");
    }
}
