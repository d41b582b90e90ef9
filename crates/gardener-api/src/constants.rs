//! Words that Gardener's components agree on (`types_constants.go`, `pkg/apis/resources/v1alpha1/types.go`).

/// Annotation that asks for an operation; values in [`operation`].
pub const OPERATION_ANNOTATION: &str = "gardener.cloud/operation";
/// Annotation that gardenlet stamps on each request; an opaque string (its format differs between versions).
pub const TIMESTAMP_ANNOTATION: &str = "gardener.cloud/timestamp";
/// Annotation without which Gardener's webhook refuses the deletion of an extension object.
pub const DELETION_CONFIRMATION_ANNOTATION: &str = "confirmation.gardener.cloud/deletion";
/// Annotation on the Shoot (inside Cluster) that asks for a deletion without waiting; a Go bool.
pub const FORCE_DELETION_ANNOTATION: &str = "confirmation.gardener.cloud/force-deletion";

/// Values of [`OPERATION_ANNOTATION`].
pub mod operation {
    /// Reconcile now.
    pub const RECONCILE: &str = "reconcile";
    /// Take over after a control-plane migration.
    pub const RESTORE: &str = "restore";
    /// Let go before a control-plane migration.
    pub const MIGRATE: &str = "migrate";
    /// Do nothing until the state of the source seed has been written.
    pub const WAIT_FOR_STATE: &str = "wait-for-state";
}

/// Label that says what a namespace or object is for; values in [`role`].
pub const ROLE_LABEL: &str = "gardener.cloud/role";

/// Values of [`ROLE_LABEL`].
pub mod role {
    /// The namespace of a shoot's control plane.
    pub const SHOOT: &str = "shoot";
    /// The namespace of an extension controller.
    pub const EXTENSION: &str = "extension";
    /// A ManagedResource that counts among the seed's system components.
    pub const SEED_SYSTEM_COMPONENT: &str = "seed-system-component";
}

/// Values of `spec.class` of an Extension; an absent field means [`class::SHOOT`].
pub mod class {
    /// For a shoot.
    pub const SHOOT: &str = "shoot";
    /// For a seed.
    pub const SEED: &str = "seed";
    /// For a garden.
    pub const GARDEN: &str = "garden";
}

/// `spec.class` of a ManagedResource that is applied to the seed; absent means the shoot.
pub const MANAGED_RESOURCE_CLASS_SEED: &str = "seed";
/// Prefix of the secret of a ManagedResource.
pub const MANAGED_RESOURCE_SECRET_PREFIX: &str = "managedresource-";
/// Label that keeps an object out of gardenlet's clean-up of a shoot in deletion.
pub const NO_CLEANUP_LABEL: &str = "shoot.gardener.cloud/no-cleanup";
/// Label of objects that the garbage collector of gardener-resource-manager may delete when nothing refers to them.
pub const GARBAGE_COLLECTABLE_LABEL: &str = "resources.gardener.cloud/garbage-collectable-reference";
/// Label that gardener-resource-manager sets on what it applies.
pub const MANAGED_BY_LABEL: &str = "resources.gardener.cloud/managed-by";
/// Annotation that gardener-resource-manager sets on what it applies: where it comes from.
pub const MANAGED_RESOURCE_ORIGIN_ANNOTATION: &str = "resources.gardener.cloud/origin";
/// Label that redirects a ManagedResource to another condition of the Shoot.
pub const CARE_CONDITION_TYPE_LABEL: &str = "care.gardener.cloud/condition-type";

/// Prefix of the finalizers of extension controllers.
pub const FINALIZER_PREFIX: &str = "extensions.gardener.cloud/";
/// Name of the Lease by which gardenlet sees that an extension controller is alive.
pub const HEARTBEAT_LEASE_NAME: &str = "gardener-extension-heartbeat";
/// Annotation of a Cluster that names the generic kubeconfig's Secret.
pub const GENERIC_KUBECONFIG_ANNOTATION: &str = "generic-token-kubeconfig.secret.gardener.cloud/name";
/// Name of that Secret where the annotation is missing.
pub const GENERIC_KUBECONFIG_DEFAULT: &str = "generic-token-kubeconfig";

/// Label of a Secret that says what gardener-resource-manager does with it.
pub const PURPOSE_LABEL: &str = "resources.gardener.cloud/purpose";
/// Value of [`PURPOSE_LABEL`]: it writes a token of a ServiceAccount of the shoot into the Secret and renews it.
pub const PURPOSE_TOKEN_REQUESTOR: &str = "token-requestor";
/// Label of such a Secret: whose gardener-resource-manager; here the shoot's.
pub const TOKEN_REQUESTOR_CLASS_LABEL: &str = "resources.gardener.cloud/class";
/// Value of [`TOKEN_REQUESTOR_CLASS_LABEL`].
pub const TOKEN_REQUESTOR_CLASS_SHOOT: &str = "shoot";
/// Annotation of such a Secret: name of the ServiceAccount.
pub const SERVICE_ACCOUNT_NAME_ANNOTATION: &str = "serviceaccount.resources.gardener.cloud/name";
/// Annotation of such a Secret: namespace of the ServiceAccount.
pub const SERVICE_ACCOUNT_NAMESPACE_ANNOTATION: &str = "serviceaccount.resources.gardener.cloud/namespace";
/// Annotation of such a Secret: `"true"` asks for the certificate authority of the shoot's API server next to the token
/// (gardener-resource-manager of Gardener v1.110 or newer; older ones ignore it).
pub const INJECT_CA_BUNDLE_ANNOTATION: &str = "serviceaccount.resources.gardener.cloud/inject-ca-bundle";
/// Key of such a Secret's data.
pub const TOKEN_KEY: &str = "token";
/// Key of such a Secret's data: the certificate authority, PEM.
pub const CA_BUNDLE_KEY: &str = "bundle.crt";
/// Key of the generic kubeconfig's Secret.
pub const KUBECONFIG_KEY: &str = "kubeconfig";
/// Annotation on an object of a ManagedResource: gardener-resource-manager takes the object's finalizers away when its deletion
/// takes longer than this (gardener/gardener#8584, of October 2023: v1.81; older ones wait on).
pub const FINALIZE_DELETION_AFTER_ANNOTATION: &str = "resources.gardener.cloud/finalize-deletion-after";

/// Label of a node: the worker pool that it belongs to.
pub const WORKER_POOL_LABEL: &str = "worker.gardener.cloud/pool";
/// Label of a node: the container runtime that its kubelet uses.
pub const WORKER_CRI_LABEL: &str = "worker.gardener.cloud/cri-name";

/// Types of conditions that gardenlet reads from extension objects.
pub mod condition_type {
    /// What runs inside the shoot.
    pub const SYSTEM_COMPONENTS_HEALTHY: &str = "SystemComponentsHealthy";
    /// What runs in the shoot's control plane.
    pub const CONTROL_PLANE_HEALTHY: &str = "ControlPlaneHealthy";
    /// The nodes.
    pub const EVERY_NODE_READY: &str = "EveryNodeReady";
    /// Logging and monitoring.
    pub const OBSERVABILITY_COMPONENTS_HEALTHY: &str = "ObservabilityComponentsHealthy";

    /// ManagedResource: everything was applied.
    pub const RESOURCES_APPLIED: &str = "ResourcesApplied";
    /// ManagedResource: everything is healthy.
    pub const RESOURCES_HEALTHY: &str = "ResourcesHealthy";
    /// ManagedResource: something still rolls out (True is the bad news).
    pub const RESOURCES_PROGRESSING: &str = "ResourcesProgressing";
}

/// Error codes that gardenlet copies to the Shoot.
pub mod error_code {
    /// The shoot owner's configuration is wrong. Not retryable: gardenlet sets the Shoot to `Failed` at once.
    pub const CONFIGURATION_PROBLEM: &str = "ERR_CONFIGURATION_PROBLEM";
    /// The configuration is wrong for now.
    pub const RETRYABLE_CONFIGURATION_PROBLEM: &str = "ERR_RETRYABLE_CONFIGURATION_PROBLEM";
}

/// Whether an annotation's value means true to Go's `strconv.ParseBool`.
#[must_use]
pub fn is_go_true(value: &str) -> bool {
    matches!(value, "1" | "t" | "T" | "true" | "TRUE" | "True")
}

#[cfg(test)]
mod tests {
    use super::is_go_true;

    #[test]
    fn go_bools() {
        for yes in ["1", "t", "T", "true", "TRUE", "True"] {
            assert!(is_go_true(yes), "{yes}");
        }
        for no in ["", "0", "f", "false", "yes", "on", "tRUE", " true"] {
            assert!(!is_go_true(no), "{no:?}");
        }
    }
}
