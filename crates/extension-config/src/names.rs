//! Names that the seed controller, the node agent and the charts share.

pub mod node;

/// Type of the `Extension` object, and its name in the shoot's namespace.
pub const EXTENSION_TYPE: &str = "cri-resmgr-extension";
/// Name of the extension: field owner, controller names, prefixes.
pub const EXTENSION_NAME: &str = "cri-resmgr";
/// Finalizer that the controller keeps on its `Extension` objects.
pub const FINALIZER: &str = "extensions.gardener.cloud/cri-resmgr-extension";
/// Deployment, ServiceAccount and Helm release of the seed controller.
pub const CONTROLLER_NAME: &str = "gardener-extension-cri-resmgr";

/// API group of everything of ours that has one.
pub const API_GROUP: &str = "cri-resmgr.extensions.gardener.cloud";
/// Readiness gate of the agent's pods: the agent itself says that its node is as desired. kubelet reports a container as ready
/// for a moment after its own restart, before the first probe, and restarting kubelet is what the agent does.
pub const NODE_AS_DESIRED: &str = "cri-resmgr.extensions.gardener.cloud/node-as-desired";
/// ConfigMap with the operator's base configuration, in the namespace of the seed controller.
pub const BASE_CONFIG_MAP: &str = "gardener-extension-cri-resmgr-configs";
/// Environment variable that names the namespace of [`BASE_CONFIG_MAP`].
pub const BASE_CONFIG_NAMESPACE_ENV: &str = "EXTENSION_CONFIGMAP_NAMESPACE";

/// The shoot's ManagedResource, in the shoot's namespace in the seed.
pub const SHOOT_MANAGED_RESOURCE: &str = "extension-runtime-cri-resmgr";
/// Secret that the shoot's ManagedResource refers to.
pub const SHOOT_MANAGED_RESOURCE_SECRET: &str = "managedresource-extension-runtime-cri-resmgr";
/// ManagedResource of class `seed` with what the shoot's Prometheus and Plutono get of the agents, in the shoot's namespace in the seed.
pub const MONITORING_MANAGED_RESOURCE: &str = "extension-monitoring-cri-resmgr";
/// Secret that it refers to.
pub const MONITORING_MANAGED_RESOURCE_SECRET: &str = "managedresource-extension-monitoring-cri-resmgr";
/// Annotation on the DaemonSet's pod template, and `injectLabels` key of the ManagedResource: the phase of the desired state.
pub const PHASE_KEY: &str = "cri-resmgr.extensions.gardener.cloud/phase";

/// ServiceAccount in the shoot's `kube-system` with which the controller looks at nodes.
pub const SHOOT_ACCESS_ACCOUNT: &str = "extension-cri-resmgr";
/// Secret in the shoot's namespace in the seed into which gardener-resource-manager writes that account's token.
pub const SHOOT_ACCESS_SECRET: &str = "shoot-access-extension-cri-resmgr";

/// Namespace of everything that we put into the shoot.
pub const SHOOT_NAMESPACE: &str = "kube-system";
/// DaemonSet, ServiceAccount and RBAC objects of the node agent.
pub const NODE_AGENT: &str = "cri-resmgr-node-agent";
/// ValidatingAdmissionPolicy, and its binding, that makes an agent's token worth one node.
pub const NODE_AGENT_POLICY: &str = "node-agent.cri-resmgr.extensions.gardener.cloud";
/// Container of the node agent's pod.
pub const NODE_AGENT_CONTAINER: &str = "node-agent";
/// Label that says what belongs to the node agent: its pods, its Leases, and everything that the ManagedResource holds.
pub const NODE_AGENT_LABEL: &str = "app.kubernetes.io/name";
/// Prefix of the Leases with the nodes' reports; the node's name follows.
pub const NODE_REPORT_LEASE_PREFIX: &str = "cri-resmgr-node-";
/// Annotation of such a Lease: a [`crate::node_report::NodeReport`] as JSON.
pub const NODE_REPORT_ANNOTATION: &str = "cri-resmgr.extensions.gardener.cloud/node";
/// Name of the agent's image in the image vector.
pub const INSTALLATION_IMAGE: &str = "gardener-extension-cri-resmgr-installation";
/// Port of the agent's `/healthz`, `/readyz` and `/metrics`.
pub const NODE_AGENT_PORT: u16 = 8891;
/// Directory in the agent's pod where the desired state is mounted.
pub const DESIRED_STATE_DIR: &str = "/etc/cri-resmgr-node-agent";
/// Directory of the agent's pod, its own, where it writes down its last steps.
pub const STEPS_DIR: &str = "/run/cri-resmgr-node-agent";
/// Key of the desired-state ConfigMap, and so the file in [`DESIRED_STATE_DIR`].
pub const DESIRED_STATE_KEY: &str = "desired.json";
/// Prefix of the desired-state ConfigMap; `crate::desired_state::DesiredState::hash8` follows.
pub const DESIRED_STATE_CONFIG_MAP_PREFIX: &str = "cri-resmgr-desired-state-";
/// Lease in [`SHOOT_NAMESPACE`] that paces the switches of a shoot's nodes.
pub const SWITCH_LEASE: &str = "cri-resmgr-switches";
/// Annotation of [`SWITCH_LEASE`] that carries the record: who switches, who rolled back.
pub const SWITCHES_ANNOTATION: &str = "cri-resmgr.extensions.gardener.cloud/switches";
/// Annotation that stops all switches ([`crate::Halt`]): of the base configuration's ConfigMap, an Extension, a Shoot, the agents' DaemonSet.
pub const HALT_ANNOTATION: &str = "cri-resmgr.extensions.gardener.cloud/halt-switches";
/// Prefix of the ConfigMaps with dynamic configurations; `default`, `node.NAME` or `group.NAME` follows.
pub const DYNAMIC_CONFIG_MAP_PREFIX: &str = "cri-resmgr-config.";
/// Prefix of the ConfigMaps with policies for nri-plugins; `default`, `node.NAME` or `group.NAME` follows.
pub const POLICY_CONFIG_MAP_PREFIX: &str = "cri-resmgr-policy.";
/// How ids begin of what a node would lose with cri-resmgr that only the node knows; the name of the object follows.
pub(crate) const MIGRATION_IDS_OF_NODES: [&str; 2] = [HAND_MADE_CONFIG_MAP_ID, HAND_MADE_ADJUSTMENT_ID];
/// A ConfigMap with a dynamic configuration that the controller has not delivered.
pub const HAND_MADE_CONFIG_MAP_ID: &str = "config-map:";
/// An Adjustment.
pub const HAND_MADE_ADJUSTMENT_ID: &str = "adjustment:";
/// Node label that names the group whose dynamic configuration a node takes.
pub const NODE_GROUP_LABEL: &str = "cri-resource-manager.intel.com/group";
/// Node label that names the group whose policy of nri-plugins a node takes: theirs (nri-plugins v0.14.0, `pkg/agent/agent.go`).
pub const NRI_GROUP_LABEL: &str = "config.nri/group";
/// API group of the Adjustments: theirs, not ours, so that what people have written carries over.
pub const ADJUSTMENT_GROUP: &str = "criresmgr.intel.com";
/// Version of the Adjustments.
pub const ADJUSTMENT_VERSION: &str = "v1alpha1";
/// Kind of the Adjustments.
pub const ADJUSTMENT_KIND: &str = "Adjustment";
/// Resource name of the Adjustments.
pub const ADJUSTMENT_PLURAL: &str = "adjustments";
/// Label that Gardener puts on every node: the worker pool.
pub const WORKER_POOL_LABEL: &str = "worker.gardener.cloud/pool";
/// Label that Gardener puts on every node: the container runtime.
pub const WORKER_CRI_LABEL: &str = "worker.gardener.cloud/cri-name";
/// The one architecture that the daemon is published for, as Kubernetes and Gardener write it.
pub const ARCHITECTURE: &str = "amd64";
/// The one container runtime that the daemon is a proxy for, as in [`WORKER_CRI_LABEL`].
pub const CONTAINER_RUNTIME: &str = "containerd";
