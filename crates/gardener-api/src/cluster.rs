//! `extensions.gardener.cloud/v1alpha1` Cluster (`pkg/apis/extensions/v1alpha1/types_cluster.go`).

use kube::CustomResource;
use kube::ResourceExt as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::constants::{GENERIC_KUBECONFIG_ANNOTATION, GENERIC_KUBECONFIG_DEFAULT};
use crate::shoot::Shoot;

/// Copies of garden objects. Its name is the shoot's namespace in the seed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, CustomResource)]
#[kube(
    group = "extensions.gardener.cloud",
    version = "v1alpha1",
    kind = "Cluster",
    schema = "disabled",
    derive = "PartialEq",
    doc = "What gardenlet tells extension controllers about a shoot."
)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterSpec {
    /// The CloudProfile, as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cloud_profile: Option<Value>,
    /// The Seed, as it is; absent for self-hosted shoots (since v1.147).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<Value>,
    /// The Shoot, as it is; see [`Cluster::shoot`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shoot: Option<Value>,
}

impl Cluster {
    /// The embedded Shoot; `None` where it is absent, null or empty.
    ///
    /// # Errors
    /// When it is something else than a Shoot's JSON.
    pub fn shoot(&self) -> Result<Option<Shoot>, serde_json::Error> {
        self.spec.shoot.as_ref().map_or(Ok(None), Shoot::from_raw)
    }

    /// Name of the Secret with the generic kubeconfig in the shoot's namespace.
    #[must_use]
    pub fn generic_kubeconfig_secret(&self) -> &str {
        self.annotations().get(GENERIC_KUBECONFIG_ANNOTATION).map_or(GENERIC_KUBECONFIG_DEFAULT, String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster(spec: &str) -> Result<Cluster, serde_json::Error> {
        serde_json::from_str(&format!(r#"{{"metadata":{{"name":"shoot--p--s"}},"spec":{spec}}}"#))
    }

    #[test]
    fn a_missing_shoot_is_none() -> Result<(), serde_json::Error> {
        for spec in ["{}", r#"{"shoot":null,"seed":null,"cloudProfile":null}"#, r#"{"shoot":{}}"#] {
            assert!(cluster(spec)?.shoot()?.is_none(), "{spec}");
        }
        Ok(())
    }

    #[test]
    fn something_else_is_an_error() -> Result<(), serde_json::Error> {
        for spec in [r#"{"shoot":"text"}"#, r#"{"shoot":{"spec":7}}"#, r#"{"shoot":[]}"#] {
            assert!(cluster(spec)?.shoot().is_err(), "{spec}");
        }
        Ok(())
    }

    #[test]
    fn the_generic_kubeconfig_has_a_default_name() -> Result<(), serde_json::Error> {
        let mut cluster = cluster("{}")?;
        assert_eq!(cluster.generic_kubeconfig_secret(), "generic-token-kubeconfig");
        cluster.annotations_mut().insert(GENERIC_KUBECONFIG_ANNOTATION.to_owned(), "other".to_owned());
        assert_eq!(cluster.generic_kubeconfig_secret(), "other");
        Ok(())
    }
}
