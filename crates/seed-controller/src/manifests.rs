//! The shoot's objects: templates of `charts/`, values from here.

use std::collections::BTreeMap;

use extension_config::desired_state::{Backend, DesiredState, Phase, Selection, sha256};
use extension_config::{Effective, Halt, names};
use gardener_api::constants::{FINALIZE_DELETION_AFTER_ANNOTATION, NO_CLEANUP_LABEL};
use managed_resource::{Bundle, Templates};
use serde::Serialize;
use serde_json::{Value, json};

const CLUSTER_ROLE: &str = "extensions.gardener.cloud:extension-cri-resmgr:node-agent";
const ACCESS_CLUSTER_ROLE: &str = "extensions.gardener.cloud:extension-cri-resmgr:controller";
/// A pod on a dead node is never deleted; the DaemonSet would wait for it for ever, and the ManagedResource for the DaemonSet. Longer than
/// a living agent needs to stop.
const FINALIZE_AFTER: &str = "60s";
const NETWORK_POLICY: &str = "allow-to-cri-resmgr-node-agent";
/// From this Kubernetes on an API server knows ValidatingAdmissionPolicies (v1), and tokens name their node.
const POLICY_SINCE: (u64, u64) = (1, 30);
/// While removing one minor more. The Shoot says which version is wanted, gardenlet upgrades the API server by one minor at a time, and it
/// deletes Extensions before that: an API server that does not know the kind must not hold up a removal.
const POLICY_IN_REMOVAL_SINCE: (u64, u64) = (1, 31);
/// From this Kubernetes on every API server knows a pod's field `appArmorProfile`, which came with 1.30: the API server may be one minor behind
/// what the Shoot says. Before, an annotation says the same; where both are said, they have to agree, and do.
const APP_ARMOR_FIELD_SINCE: (u64, u64) = (1, 31);
/// That annotation's prefix, before the container's name (k8s.io/api: `DeprecatedAppArmorBetaContainerAnnotationKeyPrefix`).
const APP_ARMOR_ANNOTATION_PREFIX: &str = "container.apparmor.security.beta.kubernetes.io/";

/// What the templates of the installation are, and those of the removal, which render the same objects from them.
const INSTALLATION: [(&str, &str); 8] = [
    ("daemonset.yaml", include_str!("../../../charts/cri-resmgr-installation/templates/daemonset.yaml")),
    ("desired-state.yaml", include_str!("../../../charts/cri-resmgr-installation/templates/desired-state.yaml")),
    ("dynamic-configs.yaml", include_str!("../../../charts/cri-resmgr-installation/templates/dynamic-configs.yaml")),
    ("network-policy.yaml", include_str!("../../../charts/cri-resmgr-installation/templates/network-policy.yaml")),
    ("rbac.yaml", include_str!("../../../charts/cri-resmgr-installation/templates/rbac.yaml")),
    ("shoot-access.yaml", include_str!("../../../charts/cri-resmgr-installation/templates/shoot-access.yaml")),
    ("adjustments-crd.yaml", include_str!("../../../charts/cri-resmgr-installation/templates/adjustments-crd.yaml")),
    ("agent-policy.yaml", include_str!("../../../charts/cri-resmgr-installation/templates/agent-policy.yaml")),
];
const REMOVAL: [(&str, &str); 14] = [
    ("installation/daemonset", INSTALLATION[0].1),
    ("installation/desired-state", INSTALLATION[1].1),
    ("installation/network-policy", INSTALLATION[3].1),
    ("installation/rbac", INSTALLATION[4].1),
    ("installation/shoot-access", INSTALLATION[5].1),
    ("installation/adjustments-crd", INSTALLATION[6].1),
    ("installation/agent-policy", INSTALLATION[7].1),
    ("daemonset.yaml", include_str!("../../../charts/cri-resmgr-removal/templates/daemonset.yaml")),
    ("desired-state.yaml", include_str!("../../../charts/cri-resmgr-removal/templates/desired-state.yaml")),
    ("network-policy.yaml", include_str!("../../../charts/cri-resmgr-removal/templates/network-policy.yaml")),
    ("rbac.yaml", include_str!("../../../charts/cri-resmgr-removal/templates/rbac.yaml")),
    ("shoot-access.yaml", include_str!("../../../charts/cri-resmgr-removal/templates/shoot-access.yaml")),
    ("adjustments-crd.yaml", include_str!("../../../charts/cri-resmgr-removal/templates/adjustments-crd.yaml")),
    ("agent-policy.yaml", include_str!("../../../charts/cri-resmgr-removal/templates/agent-policy.yaml")),
];

/// Settings of the node agent's pods that the operator chooses; environment variables of the controller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AgentSettings {
    /// Keep other pods off a new node until the agent is done with it.
    pub(crate) node_critical: bool,
    /// `appArmorProfile` of the pod. Under the runtime's own profile D-Bus refuses the agent on Ubuntu.
    pub(crate) app_armor_profile: Option<Value>,
    /// `seLinuxOptions` of the pod, for hosts that enforce SELinux.
    pub(crate) se_linux_options: Option<Value>,
    /// `imagePullSecrets` of the pod.
    pub(crate) pull_secrets: Vec<Value>,
}

impl Default for AgentSettings {
    fn default() -> Self {
        Self {
            node_critical: false,
            app_armor_profile: Some(json!({"type": "Unconfined"})),
            se_linux_options: None,
            pull_secrets: Vec::new(),
        }
    }
}

/// Which shoot is rendered for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Target<'a> {
    /// Its namespace in the seed.
    pub(crate) namespace: &'a str,
    /// The node agent's image.
    pub(crate) image: &'a str,
    /// Major and minor of the API server's version that the Shoot asks for (a worker pool may have an older kubelet). `None`: unknown, which
    /// is as old as can be.
    pub(crate) kubernetes: Option<(u64, u64)>,
    /// No node of it is to begin to switch.
    pub(crate) halt: Option<&'a Halt>,
}

/// Why there is nothing to apply. Always our own fault: whatever a user writes is quoted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("render the shoot's objects")]
    Template(#[from] managed_resource::template::Error),
    #[error("write the shoot's objects")]
    Objects(#[from] managed_resource::objects::Error),
    #[error("write the desired state")]
    DesiredState(#[from] serde_json::Error),
}

/// Renders the objects of a shoot.
#[derive(Debug)]
pub(crate) struct Manifests {
    installation: Templates,
    removal: Templates,
    settings: AgentSettings,
}

impl Manifests {
    pub(crate) fn new(settings: AgentSettings) -> Result<Self, Error> {
        Ok(Self { installation: Templates::new(&INSTALLATION)?, removal: Templates::new(&REMOVAL)?, settings })
    }

    /// Everything, with cri-resmgr on the selected nodes.
    pub(crate) fn install(&self, target: Target<'_>, effective: &Effective) -> Result<Bundle, Error> {
        let state = DesiredState {
            phase: Phase::Install,
            selection: effective.selection.clone(),
            backend: effective.backend.clone(),
            handover: effective.handover.clone(),
        };
        let values = self.values(target, &state, &effective.dynamic)?;
        Ok(bundle(target.namespace, Phase::Install, self.installation.render(&values)?))
    }

    /// The same DaemonSet, with cri-resmgr on no node.
    pub(crate) fn remove(&self, target: Target<'_>) -> Result<Bundle, Error> {
        let state = DesiredState {
            phase: Phase::Remove,
            selection: Selection::default(),
            backend: Backend::default(),
            handover: None,
        };
        let values = self.values(target, &state, &BTreeMap::new())?;
        Ok(bundle(target.namespace, Phase::Remove, self.removal.render(&values)?))
    }

    fn values(
        &self,
        target: Target<'_>,
        state: &DesiredState,
        dynamic: &BTreeMap<String, BTreeMap<String, String>>,
    ) -> Result<Value, Error> {
        let AgentSettings { node_critical, app_armor_profile, se_linux_options, pull_secrets } = &self.settings;
        let text = state.encode()?;
        let dynamic: Vec<Value> = dynamic.iter().map(|(name, data)| json!({"name": name, "data": data})).collect();
        Ok(json!({
            "phase": state.phase,
            "phaseKey": names::PHASE_KEY,
            "haltKey": names::HALT_ANNOTATION,
            // A removal is held by nothing.
            "halt": target.halt.filter(|_| state.phase == Phase::Install).map(Halt::value),
            "criLabel": names::WORKER_CRI_LABEL,
            "nodeAsDesired": names::NODE_AS_DESIRED,
            "clusterRole": CLUSTER_ROLE,
            "networkPolicy": NETWORK_POLICY,
            "finalizeKey": FINALIZE_DELETION_AFTER_ANNOTATION,
            "finalizeAfter": FINALIZE_AFTER,
            "access": {
                "name": names::SHOOT_ACCESS_ACCOUNT,
                "namespace": names::SHOOT_NAMESPACE,
                "clusterRole": ACCESS_CLUSTER_ROLE,
            },
            "switchLease": names::SWITCH_LEASE,
            "agentPolicy": agent_policy(state.phase, target.kubernetes),
            "agent": {
                "name": names::NODE_AGENT,
                "namespace": names::SHOOT_NAMESPACE,
                "container": names::NODE_AGENT_CONTAINER,
                "image": target.image,
                "architecture": names::ARCHITECTURE,
                "port": names::NODE_AGENT_PORT,
                "desiredStateDir": names::DESIRED_STATE_DIR,
                "stepsDir": names::STEPS_DIR,
                // While removing, a node must not stay closed for other pods because of us.
                "nodeCritical": *node_critical && state.phase == Phase::Install,
                "appArmorProfile": app_armor_profile,
                "appArmorAnnotation": app_armor_annotation(app_armor_profile.as_ref(), target.kubernetes),
                "appArmorAnnotationKey": format!("{APP_ARMOR_ANNOTATION_PREFIX}{}", names::NODE_AGENT_CONTAINER),
                "seLinuxOptions": se_linux_options,
                "pullSecrets": pull_secrets,
                "resources": {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"memory": "128Mi"}},
            },
            "desiredState": {
                "configMap": state.config_map_name()?,
                "key": names::DESIRED_STATE_KEY,
                "sha256": sha256(&text),
                "text": text,
            },
            "adjustments": {
                "group": names::ADJUSTMENT_GROUP,
                "version": names::ADJUSTMENT_VERSION,
                "kind": names::ADJUSTMENT_KIND,
                "listKind": format!("{}List", names::ADJUSTMENT_KIND),
                "plural": names::ADJUSTMENT_PLURAL,
                "name": format!("{}.{}", names::ADJUSTMENT_PLURAL, names::ADJUSTMENT_GROUP),
                "statusResource": format!("{}/status", names::ADJUSTMENT_PLURAL),
            },
            "dynamicConfigs": dynamic,
        }))
    }
}

/// The profile in the words of the annotation; `None` where the field says it.
fn app_armor_annotation(profile: Option<&Value>, kubernetes: Option<(u64, u64)>) -> Option<String> {
    if kubernetes.is_some_and(|version| version >= APP_ARMOR_FIELD_SINCE) {
        return None;
    }
    match (profile?["type"].as_str()?, profile?["localhostProfile"].as_str()) {
        ("Unconfined", _) => Some("unconfined".to_owned()),
        ("RuntimeDefault", _) => Some("runtime/default".to_owned()),
        ("Localhost", Some(name)) => Some(format!("localhost/{name}")),
        _ => None,
    }
}

/// Names for the policy about agents, each as an expression of its language; null where the API server may not know the kind.
fn agent_policy(phase: Phase, kubernetes: Option<(u64, u64)>) -> Value {
    let since = if phase == Phase::Install { POLICY_SINCE } else { POLICY_IN_REMOVAL_SINCE };
    if kubernetes.is_none_or(|version| version < since) {
        return Value::Null;
    }
    // None of these names has a quote or a backslash in it.
    let text = |name: &str| format!("'{name}'");
    let user = format!("system:serviceaccount:{}:{}", names::SHOOT_NAMESPACE, names::NODE_AGENT);
    json!({
        "name": names::NODE_AGENT_POLICY,
        "caller": format!("request.userInfo.username == {}", text(&user)),
        "namespace": text(names::SHOOT_NAMESPACE),
        "gate": text(names::NODE_AS_DESIRED),
        "switchLease": text(names::SWITCH_LEASE),
        "reportPrefix": text(names::NODE_REPORT_LEASE_PREFIX),
    })
}

fn bundle(namespace: &str, phase: Phase, objects: Vec<managed_resource::Object>) -> Bundle {
    let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    Bundle {
        name: names::SHOOT_MANAGED_RESOURCE.to_owned(),
        namespace: namespace.to_owned(),
        class: None,
        // No label `origin: gardener`: with it gardenlet deletes the resource in migration and deletion by itself
        // (`pkg/gardenlet/operation/botanist/managedresources.go`, v1.149), before it asks us.
        labels: BTreeMap::new(),
        inject_labels: BTreeMap::from([label(names::PHASE_KEY, phase.as_str()), label(NO_CLEANUP_LABEL, "true")]),
        keep_objects: false,
        objects,
    }
}

#[cfg(test)]
mod tests;
