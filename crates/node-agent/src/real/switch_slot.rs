//! This node's handle on the shoot's switch slots: asked for at the API server, and what became of it told to people.

use std::rc::Rc;

use extension_config::names::event;

use super::{Cluster, pace};
use crate::effects::{Permit, Request, Slots};

/// Asks in the name of the cluster's node.
pub(crate) struct SwitchSlot {
    cluster: Rc<Cluster>,
}

impl SwitchSlot {
    pub(crate) fn new(cluster: Rc<Cluster>) -> Self {
        Self { cluster }
    }

    async fn tell_of_stop(&self, stopped_now: bool) {
        if stopped_now {
            self.cluster.event(true, event::SWITCHES_STOPPED, &pace::stopped()).await;
        }
    }
}

impl Slots for SwitchSlot {
    async fn take_slot(&self, request: &Request) -> Permit {
        let permit = self.cluster.take_slot(request).await;
        tracing::info!(slot = ?permit.slot, "asked for a switch slot");
        self.tell_of_stop(permit.stopped_now).await;
        permit
    }

    async fn give_back_slot(&self, request: &Request) -> bool {
        match self.cluster.give_back_slot(request).await {
            Ok(stopped_now) => {
                self.tell_of_stop(stopped_now).await;
                true
            }
            Err(reason) => {
                tracing::warn!(%reason, "failed to give back the switch slot; it expires by itself");
                false
            }
        }
    }
}
