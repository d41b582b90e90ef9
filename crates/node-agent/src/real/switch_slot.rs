//! The node's slot among those of the shoot: asked for at the API server, and what became of it told to people.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use extension_config::names::event;

use super::{Cluster, pace};
use crate::effects::{Paced, Permit, Request};

/// One node's.
pub(crate) struct SwitchSlot {
    cluster: Rc<Cluster>,
    /// Hash of the desired state, of which failures are remembered.
    desired: RefCell<String>,
    /// When to ask again.
    ask_again: Cell<Duration>,
}

impl SwitchSlot {
    pub(crate) fn new(cluster: Rc<Cluster>) -> Self {
        Self { cluster, desired: RefCell::default(), ask_again: Cell::default() }
    }

    /// What is desired from now on, by its hash.
    pub(crate) fn desires(&self, hash: &str) {
        hash.clone_into(&mut self.desired.borrow_mut());
    }

    /// When to ask for the slot again.
    pub(crate) fn ask_again(&self) -> Duration {
        self.ask_again.get()
    }

    async fn tell_of_stop(&self, stopped_now: bool) {
        if stopped_now {
            self.cluster.event(true, event::SWITCHES_STOPPED, &pace::stopped()).await;
        }
    }
}

impl Paced for SwitchSlot {
    async fn take_slot(&self, request: &Request) -> Permit {
        let desired = self.desired.borrow().clone();
        let permit = self.cluster.take_slot(&desired, request).await;
        tracing::info!(slot = ?permit.slot, "asked for a switch slot");
        self.ask_again.set(permit.again_in);
        self.tell_of_stop(permit.stopped_now).await;
        permit
    }

    async fn give_back_slot(&self, request: &Request) -> bool {
        let desired = self.desired.borrow().clone();
        match self.cluster.give_back_slot(&desired, request).await {
            Ok(stopped_now) => {
                self.tell_of_stop(stopped_now).await;
                true
            }
            Err(reason) => {
                tracing::warn!(%reason, "the switch slot could not be given back; it ends with its time");
                false
            }
        }
    }
}
