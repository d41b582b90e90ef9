//! A policy of nri-plugins for workers with two CPUs.

use serde_json::{Value, json};

/// A providerConfig: pods of kube-system on the CPU that is `reserved`, those of `default` on the other one.
#[must_use]
pub fn balloons_reserving(reserved: u8) -> Value {
    json!({
        "apiVersion": "cri-resmgr.extensions.gardener.cloud/v1alpha1",
        "kind": "CriResourceManagerConfig",
        "backend": "nri-plugins",
        "nri": { "policies": { "default": {
            "kind": "BalloonsPolicy",
            "spec": {
                "reservedResources": { "cpu": format!("cpuset:{reserved}") },
                "balloonTypes": [
                    // Held from the start, or other balloons might take it and leave nothing for pods of kube-system.
                    { "name": "reserved", "minCPUs": 1 },
                    { "name": "work", "namespaces": ["default"], "minCPUs": 1, "maxCPUs": 1, "minBalloons": 1 },
                ],
            },
        } } },
    })
}
