//! `extensions.gardener.cloud/v1alpha1` Cluster (`pkg/apis/extensions/v1alpha1/types_cluster.go`).

use k8s_openapi::ClusterResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt as _;
use serde_json::value::RawValue;

use crate::constants::{GENERIC_KUBECONFIG_ANNOTATION, GENERIC_KUBECONFIG_DEFAULT};
use crate::raw::RawJson;
use crate::read::{Faults, Part, Reader, object};
use crate::shoot::{NotAShoot, Shoot};

/// What gardenlet gives extension controllers to know about a shoot: copies of garden objects. Its name is the shoot's namespace in the seed.
///
/// CloudProfile (the largest part) and Seed are skipped.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cluster {
    /// Name, annotations and the like.
    pub metadata: ObjectMeta,
    /// The Shoot, as it is; see [`Self::shoot`].
    pub shoot: Option<RawJson>,
    /// What of it could not be read, and counts as absent.
    pub faults: Faults,
}

object!(Cluster, "extensions.gardener.cloud", "clusters", ClusterResourceScope);

struct Spec {
    shoot: Option<RawJson>,
}

impl Part for Cluster {
    fn read(reader: &mut Reader, raw: &RawValue) -> Option<Self> {
        let [metadata, spec] = reader.members(raw, ["metadata", "spec"])?;
        Some(Self {
            metadata: reader.part(metadata).unwrap_or_default(),
            shoot: reader.part(spec).and_then(|spec: Spec| spec.shoot),
            faults: Faults::default(),
        })
    }
}

impl Part for Spec {
    fn read(reader: &mut Reader, raw: &RawValue) -> Option<Self> {
        let [shoot] = reader.members(raw, ["shoot"])?;
        Some(Self { shoot: shoot.raw() })
    }
}

impl Cluster {
    /// The embedded Shoot; `None` where it is absent, null or empty.
    ///
    /// # Errors
    /// When it is no object. What of it is of another shape is absent, and named in its faults.
    pub fn shoot(&self) -> Result<Option<Shoot>, NotAShoot> {
        self.shoot.as_ref().map_or(Ok(None), |raw| Shoot::from_raw(raw.raw()))
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
    fn a_missing_shoot_is_none() -> Result<(), Box<dyn std::error::Error>> {
        for spec in ["{}", r#"{"shoot":null,"seed":null,"cloudProfile":null}"#, r#"{"shoot":{}}"#, "7"] {
            assert!(cluster(spec)?.shoot()?.is_none(), "{spec}");
        }
        Ok(())
    }

    #[test]
    fn something_else_is_an_error_that_does_not_show_it() -> Result<(), serde_json::Error> {
        for spec in [r#"{"shoot":"hunter2"}"#, r#"{"shoot":["hunter2"]}"#, r#"{"shoot":7}"#] {
            let error = cluster(spec)?.shoot().map(drop).expect_err(spec);
            assert_eq!(error.to_string(), "a Shoot is an object, and this is none");
        }
        Ok(())
    }

    /// 260 bytes in the providerConfig of any other extension, infrastructure, network or worker, and where the API server repeats them.
    #[test]
    fn no_depth_in_somebody_elses_configuration_matters() -> Result<(), Box<dyn std::error::Error>> {
        for levels in [130, 10_000] {
            let lists = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
            let maps = format!("{}1{}", r#"{"f:a":"#.repeat(levels), "}".repeat(levels));
            for deep in [&lists, &maps] {
                let text = format!(
                    r#"{{"metadata":{{"name":"c","managedFields":[{{"fieldsV1":{deep}}}]}},"spec":{{"cloudProfile":{deep},"seed":{deep},"shoot":{{
                        "metadata":{{"generation":4,"new":{deep}}},
                        "spec":{{"extensions":[{{"type":"other","providerConfig":{deep}}},{{"type":"ours","providerConfig":{{"a":1}}}}],
                            "hibernation":{{"enabled":true}},"networking":{{"providerConfig":{deep}}},
                            "provider":{{"infrastructureConfig":{deep},"workers":[{{"name":"w","providerConfig":{deep}}}]}}}},
                        "status":{{"hibernated":true,"new":{deep}}}}}}}}}"#
                );
                let shoot = serde_json::from_str::<Cluster>(&text)?.shoot()?.ok_or("no Shoot")?;
                assert!(shoot.is_hibernated() && shoot.faults.is_empty(), "{}", shoot.faults);
                assert_eq!(shoot.metadata.generation, Some(4));
                assert_eq!(shoot.spec.provider.workers.len(), 1);
                assert!(shoot.extension("ours").is_some_and(|ours| ours.provider_config.is_some()));
            }
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
