//! The kinds that a run is about, as dynamic objects: nothing of ours stands between a bare client and the API.

use kube::api::DynamicObject;
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client};

#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Extension,
    Cluster,
    ManagedResource,
    Secret,
    Namespace,
}

impl Kind {
    fn resource(self) -> ApiResource {
        let (group, version, kind, plural) = match self {
            Self::Extension => ("extensions.gardener.cloud", "v1alpha1", "Extension", "extensions"),
            Self::Cluster => ("extensions.gardener.cloud", "v1alpha1", "Cluster", "clusters"),
            Self::ManagedResource => ("resources.gardener.cloud", "v1alpha1", "ManagedResource", "managedresources"),
            Self::Secret => ("", "v1", "Secret", "secrets"),
            Self::Namespace => ("", "v1", "Namespace", "namespaces"),
        };
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
    }

    /// In all namespaces.
    pub(crate) fn all(self, client: &Client) -> Api<DynamicObject> {
        Api::all_with(client.clone(), &self.resource())
    }

    /// In one.
    pub(crate) fn of(self, client: &Client, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(client.clone(), namespace, &self.resource())
    }
}
