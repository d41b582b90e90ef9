//! What a round of work starts from.

use std::collections::BTreeMap;

use dynamic_config::Meant;
use extension_config::desired_state::{BackendKind, DesiredState, Handover};
use extension_config::names;
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
    /// ConfigMaps and Adjustments that are meant for the node; `None`: not known yet.
    pub(crate) meant: Option<Meant>,
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
            if let (Some(handover), Some(permitted)) = (&mut installation.handover, &self.state.handover) {
                handover.unaccepted = unaccepted(permitted, self.meant.as_ref());
            }
        }
        desired
    }
}

/// Objects that a sentence names.
const NAMED: usize = 5;

/// What of this node's configuration the controller knows nothing of, because somebody wrote it into the shoot, and its owner has not accepted to lose. A
/// policy has no such thing.
fn unaccepted(permitted: &Handover, meant: Option<&Meant>) -> Vec<String> {
    if permitted.from != BackendKind::CriResmgr {
        return Vec::new();
    }
    let Some(meant) = meant else {
        return vec!["which ConfigMap and which Adjustments are meant for this node is not known yet".to_owned()];
    };
    let map = meant.config_map.iter().filter(|name| !permitted.delivered.contains(*name));
    let maps = map.map(|name| ("ConfigMap", name, names::HAND_MADE_CONFIG_MAP_ID));
    let adjustments = meant.adjustments.iter().map(|name| ("Adjustment", name, names::HAND_MADE_ADJUSTMENT_ID));
    let ids = maps.chain(adjustments).map(|(kind, name, rule)| (kind, name, format!("{rule}{name}")));
    let open: Vec<_> = ids.filter(|(_, _, id)| !permitted.accepted.contains(id)).collect();
    let sentence = |(kind, name, id): &(&str, &String, String)| format!("{kind} {name} of the shoot (accept {id})");
    let mut sentences: Vec<String> = open.iter().take(NAMED).map(sentence).collect();
    let more = open.len().saturating_sub(NAMED);
    sentences.extend((more > 0).then(|| format!("and {more} more")));
    sentences
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
            state: DesiredState {
                phase: Phase::Install,
                selection: Selection::default(),
                backend: Backend::default(),
                handover: None,
            },
            hash: String::new(),
            labels: labels.map(|all| all.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()),
            programs: Programs { daemon: blob(), gate: blob(), balloons: blob(), topology_aware: blob() },
            policy: NodePolicy::Awaited,
            restart_request: None,
            meant: None,
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

    #[test]
    fn what_somebody_wrote_into_the_shoot_has_to_be_accepted_by_name() {
        let set = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let permitted = |accepted: &[&str]| Handover {
            from: BackendKind::CriResmgr,
            accepted: set(accepted),
            delivered: set(&["cri-resmgr-config.default"]),
        };
        let meant = |map: &str, adjustments: &[&str]| Meant {
            config_map: Some(map.to_owned()).filter(|map| !map.is_empty()),
            adjustments: adjustments.iter().map(|&name| name.to_owned()).collect(),
        };
        let own = "cri-resmgr-config.node.n";
        for (accepted, meant, expected) in [
            (&[][..], meant("", &[]), &[][..]),
            (&[], meant("cri-resmgr-config.default", &[]), &[]),
            (
                &[],
                meant(own, &["a"]),
                &[
                    "ConfigMap cri-resmgr-config.node.n of the shoot (accept config-map:cri-resmgr-config.node.n)",
                    "Adjustment a of the shoot (accept adjustment:a)",
                ],
            ),
            (
                &["config-map:cri-resmgr-config.node.n"],
                meant(own, &["a"]),
                &["Adjustment a of the shoot (accept adjustment:a)"],
            ),
            (&["config-map:cri-resmgr-config.node.n", "adjustment:a"], meant(own, &["a"]), &[]),
            // Ids of other objects do not count.
            (&["adjustment:b"], meant("", &["a"]), &["Adjustment a of the shoot (accept adjustment:a)"]),
        ] {
            assert_eq!(unaccepted(&permitted(accepted), Some(&meant)), expected, "{accepted:?} {meant:?}");
        }
        let many: Vec<String> = (0..500).map(|number| format!("a{number}")).collect();
        let sentences = unaccepted(&permitted(&[]), Some(&Meant { config_map: None, adjustments: many }));
        assert_eq!((sentences.len(), sentences[NAMED].as_str()), (NAMED + 1, "and 495 more"));
        assert_eq!(unaccepted(&permitted(&[]), None).len(), 1, "what is not known yet holds");
        let back = Handover { from: BackendKind::NriPlugins, ..permitted(&[]) };
        assert_eq!(unaccepted(&back, None), [""; 0]);
    }
}
