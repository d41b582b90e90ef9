//! What a round of work starts from.

use std::collections::BTreeMap;

use extension_config::desired_state::DesiredState;
use node_plan::{Desired, Journal, NodePolicy, Programs, RestartRequest, Wait};

/// Labels of a Node whose machine is updated in place (machine-controller-manager v0.62.1, `pkg/apis/machine/v1alpha1/constants.go`). It is selected,
/// drained and ready for the update, and all of them go when the update has succeeded; the condition `InPlaceUpdate` follows them.
const SELECTED_FOR_UPDATE: &str = "node.machine.sapcloud.io/selected-for-update";
const UPDATE_RESULT: &str = "node.machine.sapcloud.io/update-result";

/// Everything that decides what the node is to become, but for the node itself.
#[derive(Debug, Clone)]
pub(crate) struct Inputs {
    /// Name of the node, for the log.
    pub(crate) node: String,
    /// The desired state of all nodes.
    pub(crate) state: DesiredState,
    /// Its hash: failures of nodes are counted by it.
    pub(crate) hash: String,
    /// Labels of the node; `None` when they cannot be read now.
    pub(crate) labels: Option<BTreeMap<String, String>>,
    /// The programs of the agent's image.
    pub(crate) programs: Programs,
    /// The node's policy, which the backend nri-plugins asks for.
    pub(crate) policy: NodePolicy,
    /// A run of the daemon that has to end, for the sake of the dynamic configuration.
    pub(crate) restart_request: Option<RestartRequest>,
}

/// What a round of work leads to.
pub(crate) trait Goal {
    /// Name of the node, for the log.
    fn node(&self) -> &str;
    /// Hash of the desired state.
    fn hash(&self) -> &str;
    /// Why no switch may begin now.
    fn update_in_place(&self) -> Option<Wait>;
    /// What the node with this journal is to become.
    fn desired(&self, journal: Option<&Journal>) -> Desired;
}

impl Goal for Inputs {
    fn node(&self) -> &str {
        &self.node
    }

    fn hash(&self) -> &str {
        &self.hash
    }

    /// Why no switch may begin now: Gardener restarts kubelet, or the machine, and waits some minutes for it (gardener v1.149.3,
    /// `pkg/nodeagent/controller/operatingsystemconfig/reconciler.go`, which calls an update that has failed one that is under way, too).
    fn update_in_place(&self) -> Option<Wait> {
        let labels = self.labels.as_ref()?;
        let result = labels.get(UPDATE_RESULT).map(String::as_str);
        match result {
            Some("successful") => None,
            Some("failed") => Some(Wait::FailedUpdateInPlace { label: UPDATE_RESULT }),
            _ if labels.contains_key(SELECTED_FOR_UPDATE) => Some(Wait::UpdateInPlace { label: SELECTED_FOR_UPDATE }),
            _ => None,
        }
    }

    /// What the node with this journal is to become.
    fn desired(&self, journal: Option<&Journal>) -> Desired {
        let mut desired = Desired::decide(&self.state, self.labels.as_ref(), journal, &self.programs, &self.policy);
        if let Desired::Installed(installation) = &mut desired {
            installation.restart_request.clone_from(&self.restart_request);
        }
        desired
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use extension_config::desired_state::{Backend, Phase, Selection};
    use node_plan::Blob;

    #[test]
    fn an_update_in_place_is_known_by_its_labels() {
        let blob = || Blob { sha256: String::new(), size: 0, architecture: String::new(), needs: None };
        let inputs = |labels: Option<&[(&str, &str)]>| Inputs {
            node: "n".to_owned(),
            state: DesiredState { phase: Phase::Install, selection: Selection::default(), backend: Backend::default() },
            hash: String::new(),
            labels: labels.map(|all| all.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()),
            programs: Programs { daemon: blob(), gate: blob(), balloons: blob(), topology_aware: blob() },
            policy: NodePolicy::Awaited,
            restart_request: None,
        };
        let candidate = ("node.machine.sapcloud.io/candidate-for-update", "true");
        let selected = (SELECTED_FOR_UPDATE, "true");
        for (labels, held) in [
            (None, false),
            (Some(&[][..]), false),
            // It may be one for days, where somebody selects by hand.
            (Some(&[candidate][..]), false),
            (Some(&[candidate, selected][..]), true),
            (Some(&[candidate, selected, (UPDATE_RESULT, "failed")][..]), true),
            (Some(&[(UPDATE_RESULT, "failed")][..]), true),
            (Some(&[candidate, selected, (UPDATE_RESULT, "successful")][..]), false),
        ] {
            assert_eq!(inputs(labels).update_in_place().is_some(), held, "{labels:?}");
        }
    }
}
