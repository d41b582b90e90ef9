//! A Cluster as the watch reads it: name and Shoot. The CloudProfile (the largest part) and the Seed are skipped while decoding.

use gardener_api::Shoot;
use kube::CustomResource;
use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Clone, Debug, Default, Serialize, Deserialize, CustomResource)]
#[kube(
    group = "extensions.gardener.cloud",
    version = "v1alpha1",
    kind = "Cluster",
    root = "WatchedCluster",
    schema = "disabled"
)]
#[serde(default)]
pub(super) struct WatchedClusterSpec {
    shoot: Option<Value>,
}

impl WatchedCluster {
    pub(super) fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    pub(super) fn shoot(&self) -> Result<Option<Shoot>, serde_json::Error> {
        self.spec.shoot.as_ref().map_or(Ok(None), Shoot::from_raw)
    }
}
