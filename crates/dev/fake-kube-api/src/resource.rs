//! The kinds that are served.

use super::Failure;

/// A kind and how it is treated.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Resource {
    pub(crate) group: &'static str,
    pub(crate) version: &'static str,
    pub(crate) plural: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) namespaced: bool,
    /// Has a status of its own, which only `/status` writes.
    pub(crate) status: bool,
    /// Counts changes of its specification.
    pub(crate) generation: bool,
}

const fn plain(group: &'static str, version: &'static str, plural: &'static str, kind: &'static str) -> Resource {
    Resource { group, version, plural, kind, namespaced: true, status: false, generation: false }
}

impl Resource {
    const fn global(self) -> Self {
        Self { namespaced: false, ..self }
    }

    const fn with_status(self) -> Self {
        Self { status: true, ..self }
    }

    /// Not a custom resource.
    pub(crate) fn is_builtin(&self) -> bool {
        !self.group.ends_with("gardener.cloud")
    }

    const fn counted(self) -> Self {
        Self { generation: true, ..self }
    }
}

const RBAC: &str = "rbac.authorization.k8s.io";
const EXTENSIONS: &str = "extensions.gardener.cloud";

static RESOURCES: [Resource; 25] = [
    plain("", "v1", "configmaps", "ConfigMap"),
    plain("", "v1", "secrets", "Secret"),
    plain("", "v1", "serviceaccounts", "ServiceAccount"),
    plain("", "v1", "events", "Event"),
    plain("", "v1", "services", "Service").with_status(),
    plain("", "v1", "pods", "Pod").with_status(),
    plain("", "v1", "namespaces", "Namespace").with_status().global(),
    plain("", "v1", "nodes", "Node").with_status().global(),
    plain("coordination.k8s.io", "v1", "leases", "Lease"),
    plain("events.k8s.io", "v1", "events", "Event"),
    plain("apps", "v1", "daemonsets", "DaemonSet").with_status().counted(),
    plain("apps", "v1", "deployments", "Deployment").with_status().counted(),
    plain(RBAC, "v1", "roles", "Role"),
    plain(RBAC, "v1", "rolebindings", "RoleBinding"),
    plain(RBAC, "v1", "clusterroles", "ClusterRole").global(),
    plain(RBAC, "v1", "clusterrolebindings", "ClusterRoleBinding").global(),
    plain("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy").counted(),
    // Kept, not obeyed: who asks is not known here.
    plain("admissionregistration.k8s.io", "v1", "validatingadmissionpolicies", "ValidatingAdmissionPolicy")
        .with_status()
        .counted()
        .global(),
    plain(
        "admissionregistration.k8s.io",
        "v1",
        "validatingadmissionpolicybindings",
        "ValidatingAdmissionPolicyBinding",
    )
    .counted()
    .global(),
    plain("policy", "v1", "poddisruptionbudgets", "PodDisruptionBudget").with_status().counted(),
    plain("apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition")
        .with_status()
        .counted()
        .global(),
    plain("criresmgr.intel.com", "v1alpha1", "adjustments", "Adjustment").with_status().counted(),
    plain(EXTENSIONS, "v1alpha1", "extensions", "Extension").with_status().counted(),
    plain(EXTENSIONS, "v1alpha1", "clusters", "Cluster").counted().global(),
    plain("resources.gardener.cloud", "v1alpha1", "managedresources", "ManagedResource").with_status().counted(),
];

impl Resource {
    pub(crate) fn by_plural(group: &str, plural: &str) -> Result<&'static Self, Failure> {
        let found = RESOURCES.iter().find(|known| known.group == group && known.plural == plural);
        found.ok_or_else(Failure::unknown_path)
    }

    pub(crate) fn of_group(group: &str, version: &str) -> impl Iterator<Item = &'static Self> {
        RESOURCES.iter().filter(move |known| known.group == group && known.version == version)
    }

    pub(crate) fn by_kind(api_version: &str, kind: &str) -> Result<&'static Self, Failure> {
        let found = RESOURCES.iter().find(|known| known.kind == kind && known.api_version() == api_version);
        found.ok_or_else(|| Failure::bad_request(&format!("no matches for kind {kind:?} in version {api_version:?}")))
    }

    pub(crate) fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }

    /// `daemonsets.apps`, as the API names it in messages.
    pub(crate) fn qualified(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }
}
