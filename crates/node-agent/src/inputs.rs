//! What a round of work starts from.

use std::collections::BTreeMap;

use extension_config::desired_state::DesiredState;
use node_plan::{Blob, Desired, Journal, Renewal};

/// Everything that decides what the node is to become, but for the node itself.
#[derive(Debug, Clone)]
pub(crate) struct Inputs {
    /// The desired state of all nodes.
    pub(crate) state: DesiredState,
    /// Its hash: failures of nodes are counted by it.
    pub(crate) hash: String,
    /// Labels of the node; `None` when they cannot be read now.
    pub(crate) labels: Option<BTreeMap<String, String>>,
    /// The daemon of the agent's image.
    pub(crate) daemon: Blob,
    /// The gate of the agent's image.
    pub(crate) gate: Blob,
    /// A run of the daemon that has to end, for the sake of the dynamic configuration.
    pub(crate) renewal: Option<Renewal>,
}

impl Inputs {
    /// What the node with this journal is to become.
    pub(crate) fn desired(&self, journal: Option<&Journal>) -> Desired {
        let (daemon, gate) = (self.daemon.clone(), self.gate.clone());
        let mut desired = Desired::decide(&self.state, self.labels.as_ref(), journal, daemon, gate);
        if let Desired::Installed(installation) = &mut desired {
            installation.renewal.clone_from(&self.renewal);
        }
        desired
    }
}
