//! The part of `core.gardener.cloud/v1beta1` Shoot that an extension reads out of a Cluster.

mod worker;

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::constants::{FORCE_DELETION_ANNOTATION, is_go_true};
use crate::operation::{LastOperation, LastOperationState, LastOperationType};
use crate::raw::RawJson;
use crate::read::{Faults, Part, Reader};

pub use worker::{Kubelet, Worker, WorkerCri, WorkerKubernetes, WorkerMachine};

/// A Shoot, as far as it concerns us.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Shoot {
    /// Annotations and the like.
    pub metadata: ShootMetadata,
    /// What is wanted.
    pub spec: ShootSpec,
    /// What is.
    pub status: ShootStatus,
    /// What of it could not be read, and counts as absent.
    pub faults: Faults,
}

/// Metadata of a Shoot.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ShootMetadata {
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// Its deletion was asked for. A deletion timestamp of whatever shape says so.
    pub deleting: bool,
    /// Generation of its spec.
    pub generation: Option<i64>,
}

/// Spec of a Shoot.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ShootSpec {
    /// Extensions that the owner enabled or disabled.
    pub extensions: Vec<ShootExtension>,
    /// Kubernetes version.
    pub kubernetes: Kubernetes,
    /// Hibernation.
    pub hibernation: Hibernation,
    /// Infrastructure and workers.
    pub provider: Provider,
    /// `evaluation`, `testing`, `development`, `production` or `infrastructure`.
    pub purpose: Option<String>,
}

/// One entry of `spec.extensions`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ShootExtension {
    /// Type of the extension.
    pub type_: String,
    /// Its configuration.
    pub provider_config: Option<RawJson>,
    /// Switched off, although it stands there.
    pub disabled: bool,
}

/// `spec.kubernetes`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kubernetes {
    /// Such as `1.33.2`.
    pub version: String,
    /// The kubelets of worker pools that have no such section of their own.
    pub kubelet: Option<Kubelet>,
}

/// `spec.hibernation`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Hibernation {
    /// Asked for.
    pub enabled: Option<bool>,
}

/// `spec.provider`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Provider {
    /// Worker pools; none = a workerless shoot.
    pub workers: Vec<Worker>,
}

/// Status of a Shoot.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ShootStatus {
    /// Hibernation is finished.
    pub hibernated: bool,
    /// What gardenlet did last.
    pub last_operation: Option<LastOperation>,
}

/// What stands in the Shoot's place is no object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a Shoot is an object, and this is none")]
pub struct NotAShoot;

impl<'de> Deserialize<'de> for Shoot {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Self::from_raw(&raw).map_err(serde::de::Error::custom).map(Option::unwrap_or_default)
    }
}

impl Part for Shoot {
    fn read(reader: &mut Reader, raw: &RawValue) -> Option<Self> {
        let [metadata, spec, status] = reader.members(raw, ["metadata", "spec", "status"])?;
        Some(Self {
            metadata: reader.part(metadata).unwrap_or_default(),
            spec: reader.part(spec).unwrap_or_default(),
            status: reader.part(status).unwrap_or_default(),
            faults: Faults::default(),
        })
    }
}

impl Part for ShootMetadata {
    fn read(reader: &mut Reader, raw: &RawValue) -> Option<Self> {
        let [annotations, deletion, generation] =
            reader.members(raw, ["annotations", "deletionTimestamp", "generation"])?;
        Some(Self {
            annotations: reader.leaf(annotations).unwrap_or_default(),
            deleting: deletion.is_there(),
            generation: reader.leaf(generation),
        })
    }
}

impl Part for ShootSpec {
    fn read(reader: &mut Reader, raw: &RawValue) -> Option<Self> {
        let [extensions, kubernetes, hibernation, provider, purpose] =
            reader.members(raw, ["extensions", "kubernetes", "hibernation", "provider", "purpose"])?;
        Some(Self {
            extensions: reader.list(extensions, ShootExtension::read),
            kubernetes: reader.part(kubernetes).unwrap_or_default(),
            hibernation: reader.part(hibernation).unwrap_or_default(),
            provider: reader.part(provider).unwrap_or_default(),
            purpose: reader.leaf(purpose),
        })
    }
}

impl Part for ShootExtension {
    fn read(reader: &mut Reader, raw: &RawValue) -> Option<Self> {
        let [type_, provider_config, disabled] = reader.members(raw, ["type", "providerConfig", "disabled"])?;
        Some(Self {
            type_: reader.leaf(type_).unwrap_or_default(),
            provider_config: provider_config.raw(),
            disabled: reader.leaf(disabled).unwrap_or_default(),
        })
    }
}

impl Part for Kubernetes {
    fn read(reader: &mut Reader, raw: &RawValue) -> Option<Self> {
        let [version, kubelet] = reader.members(raw, ["version", "kubelet"])?;
        Some(Self { version: reader.leaf(version).unwrap_or_default(), kubelet: reader.part(kubelet) })
    }
}

impl Part for Hibernation {
    fn read(reader: &mut Reader, raw: &RawValue) -> Option<Self> {
        let [enabled] = reader.members(raw, ["enabled"])?;
        Some(Self { enabled: reader.leaf(enabled) })
    }
}

impl Part for Provider {
    fn read(reader: &mut Reader, raw: &RawValue) -> Option<Self> {
        let [workers] = reader.members(raw, ["workers"])?;
        Some(Self { workers: reader.list(workers, Worker::read) })
    }
}

impl Part for ShootStatus {
    fn read(reader: &mut Reader, raw: &RawValue) -> Option<Self> {
        let [hibernated, last_operation] = reader.members(raw, ["hibernated", "lastOperation"])?;
        Some(Self {
            hibernated: reader.leaf(hibernated).unwrap_or_default(),
            last_operation: reader.part(last_operation),
        })
    }
}

impl Shoot {
    /// Reads the raw value of a Cluster; `None` for null and for an empty object.
    ///
    /// # Errors
    /// When the value is no object.
    pub fn from_raw(raw: &RawValue) -> Result<Option<Self>, NotAShoot> {
        if raw.get() == "null" {
            return Ok(None);
        }
        let (read, faults) = Reader::whole::<Self>(raw).ok_or(NotAShoot)?;
        let shoot = Self { faults, ..read };
        // An empty object says as little as null. So does one of which nothing is known here.
        Ok((shoot != Self::default()).then_some(shoot))
    }

    /// Gardener gave up on it; extensions leave it alone until it is retried.
    #[must_use]
    pub fn is_failed(&self) -> bool {
        self.status.last_operation.as_ref().is_some_and(|operation| operation.state == LastOperationState::Failed)
    }

    /// Its control plane goes, or has gone, to another seed: Gardener's last operation in this one.
    #[must_use]
    pub fn is_migrating(&self) -> bool {
        self.status.last_operation.as_ref().is_some_and(|operation| operation.type_ == LastOperationType::Migrate)
    }

    /// Its owner asked for a deletion that waits for nothing.
    #[must_use]
    pub fn is_force_deleted(&self) -> bool {
        self.metadata.annotations.get(FORCE_DELETION_ANNOTATION).is_some_and(|value| is_go_true(value))
    }

    /// Its deletion was asked for.
    #[must_use]
    pub fn is_deleting(&self) -> bool {
        self.metadata.deleting
    }

    /// Hibernation is asked for (it may still be under way).
    #[must_use]
    pub fn is_hibernation_requested(&self) -> bool {
        self.spec.hibernation.enabled == Some(true)
    }

    /// Hibernation is asked for and finished.
    #[must_use]
    pub fn is_hibernated(&self) -> bool {
        self.is_hibernation_requested() && self.status.hibernated
    }

    /// The owner's entry for an extension type, if there is one.
    #[must_use]
    pub fn extension(&self, type_: &str) -> Option<&ShootExtension> {
        self.spec.extensions.iter().find(|extension| extension.type_ == type_)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shoot(raw: &serde_json::Value) -> Result<Shoot, serde_json::Error> {
        Shoot::deserialize(raw)
    }

    #[test]
    fn nulls_decode_everywhere() -> Result<(), serde_json::Error> {
        let decoded = shoot(&json!({
            "metadata": {"name": null, "annotations": null, "labels": null, "managedFields": "odd"},
            "spec": {"extensions": null, "kubernetes": null, "hibernation": null, "region": null,
                     "provider": {"type": null, "workers": [
                        {"name": "a", "cri": null, "machine": null, "labels": null, "minimum": null, "kubernetes": null}]}},
            "status": null,
        }))?;
        assert_eq!(decoded.spec.provider.workers.len(), 1);
        assert!(!decoded.is_failed() && !decoded.is_deleting() && !decoded.is_hibernated());
        assert!(decoded.faults.is_empty());
        Ok(())
    }

    #[test]
    fn derived_states() -> Result<(), serde_json::Error> {
        let failed = shoot(&json!({"status": {"lastOperation": {"state": "Failed", "type": "Create"}}}))?;
        assert!(failed.is_failed());
        assert!(!failed.is_migrating());
        let leaving = shoot(&json!({"status": {"lastOperation": {"state": "Processing", "type": "Migrate"}}}))?;
        assert!(leaving.is_migrating() && !leaving.is_failed());
        let asleep = shoot(&json!({"spec": {"hibernation": {"enabled": true}}, "status": {"hibernated": true}}))?;
        assert!(asleep.is_hibernated() && asleep.is_hibernation_requested());
        let falling_asleep =
            shoot(&json!({"spec": {"hibernation": {"enabled": true}}, "status": {"hibernated": false}}))?;
        assert!(!falling_asleep.is_hibernated() && falling_asleep.is_hibernation_requested());
        let going = shoot(&json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z",
            "annotations": {"confirmation.gardener.cloud/force-deletion": "True"}}}))?;
        assert!(going.is_deleting() && going.is_force_deleted());
        let entry = shoot(&json!({"spec": {"extensions": [{"type": "x", "providerConfig": {"a": 1}}]}}))?;
        assert!(entry.extension("x").is_some_and(|extension| extension.provider_config.is_some()));
        assert!(entry.extension("y").is_none());
        Ok(())
    }

    /// A field that a new Gardener writes otherwise costs that field.
    #[test]
    fn fields_of_another_shape_are_absent_and_named() -> Result<(), serde_json::Error> {
        let odd = shoot(&json!({
            "metadata": {"annotations": ["a"], "generation": "7", "deletionTimestamp": {"seconds": 1}},
            "spec": {"extensions": [3, {"type": "x"}], "kubernetes": "1.33.2", "hibernation": {"enabled": "yes"},
                     "provider": {"workers": [{"name": 1, "cri": {"name": "containerd"}}, "text"]}},
            "status": {"hibernated": "no", "lastOperation": {"state": "Failed", "progress": "all"}},
        }))?;
        assert!(odd.is_deleting() && odd.is_failed() && odd.extension("x").is_some());
        assert_eq!(odd.spec.provider.workers.len(), 1);
        assert_eq!(
            odd.faults.paths(),
            [
                "metadata.annotations",
                "metadata.generation",
                "spec.extensions[]",
                "spec.kubernetes",
                "spec.hibernation.enabled",
                "spec.provider.workers[].name",
                "spec.provider.workers[]",
                "status.hibernated",
                "status.lastOperation.progress"
            ]
        );
        Ok(())
    }
}
