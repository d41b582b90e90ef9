//! A bundle of objects as Secret and ManagedResource.

use std::collections::BTreeMap;

use gardener_api::constants::MANAGED_RESOURCE_SECRET_PREFIX;
use gardener_api::{ManagedResource, ManagedResourceSpec};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{LocalObjectReference, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::objects::{self, Object};

/// Key of the Secret under which the manifests stand. Plain YAML: gardener-resource-manager reads compressed data only since
/// Gardener v1.97.
pub const DATA_KEY: &str = "objects.yaml";

/// Objects that gardener-resource-manager is to apply and keep.
#[derive(Debug, Clone, PartialEq)]
pub struct Bundle {
    /// Name of the ManagedResource.
    pub name: String,
    /// Namespace of ManagedResource and Secret.
    pub namespace: String,
    /// `None`: applied to the shoot; `seed`: to the seed.
    pub class: Option<String>,
    /// Labels of ManagedResource and Secret.
    pub labels: BTreeMap<String, String>,
    /// Labels for every object and its pods.
    pub inject_labels: BTreeMap<String, String>,
    /// Whether the objects outlive the ManagedResource.
    pub keep_objects: bool,
    /// The objects.
    pub objects: Vec<Object>,
}

impl Bundle {
    /// Name of the Secret of a ManagedResource. Fixed, not hashed: before Gardener v1.77 the garbage collector would take away
    /// a hashed one in use.
    #[must_use]
    pub fn secret_name(name: &str) -> String {
        format!("{MANAGED_RESOURCE_SECRET_PREFIX}{name}")
    }

    /// The two objects for the seed. Equal bundles give equal ones.
    ///
    /// # Errors
    /// When the bundle holds an object twice, or one that cannot be written.
    pub fn build(&self) -> Result<(Secret, ManagedResource), objects::Error> {
        let text = objects::write(&objects::sorted(self.objects.clone())?)?;
        let secret_name = Self::secret_name(&self.name);
        let metadata = |name: &str| ObjectMeta {
            name: Some(name.to_owned()),
            namespace: Some(self.namespace.clone()),
            labels: (!self.labels.is_empty()).then(|| self.labels.clone()),
            ..ObjectMeta::default()
        };
        let secret = Secret {
            metadata: metadata(&secret_name),
            type_: Some("Opaque".to_owned()),
            data: Some(BTreeMap::from([(DATA_KEY.to_owned(), ByteString(text.into_bytes()))])),
            ..Secret::default()
        };
        let spec = ManagedResourceSpec {
            class: self.class.clone(),
            secret_refs: vec![LocalObjectReference { name: secret_name }],
            inject_labels: (!self.inject_labels.is_empty()).then(|| self.inject_labels.clone()),
            // Always written: what somebody else set must be put right.
            keep_objects: Some(self.keep_objects),
        };
        Ok((secret, ManagedResource { metadata: metadata(&self.name), spec, ..ManagedResource::default() }))
    }
}

#[cfg(test)]
mod tests;
