//! What a Shoot tells about its nodes.

use gardener_api::Shoot;

/// What is known about the shoot, to warn of configurations that cannot work there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Its worker pools.
    pub workers: Vec<WorkerFacts>,
}

/// One worker pool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkerFacts {
    /// Its name.
    pub name: String,
    /// Its container runtime; `None` where the Shoot does not say, which means containerd.
    pub cri: Option<String>,
    /// Major and minor of its Kubernetes version, where it could be read.
    pub kubernetes: Option<(u64, u64)>,
}

impl Facts {
    /// What the Shoot tells about its nodes.
    #[must_use]
    pub fn of(shoot: &Shoot) -> Self {
        let workers = shoot.spec.provider.workers.iter().map(|worker| {
            let own = worker.kubernetes.as_ref().and_then(|kubernetes| kubernetes.version.as_deref());
            WorkerFacts {
                name: worker.name.clone(),
                cri: worker.cri.as_ref().map(|cri| cri.name.clone()).filter(|name| !name.is_empty()),
                kubernetes: kubernetes_minor(own.unwrap_or(&shoot.spec.kubernetes.version)),
            }
        });
        Self { workers: workers.collect() }
    }
}

/// Major and minor of a Kubernetes version such as `1.33.2`.
#[must_use]
pub fn kubernetes_minor(version: &str) -> Option<(u64, u64)> {
    let mut parts = version.trim_start_matches('v').split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn workers_are_known_from_the_shoot() {
        let shoot: Shoot =
            serde_json::from_value(json!({"spec": {"kubernetes": {"version": "1.33.2"}, "provider": {"workers": [
                {"name": "a"},
                {"name": "b", "cri": {"name": "containerd"}, "kubernetes": {"version": "1.32.9"}},
                {"name": "c", "kubernetes": {"version": "odd"}},
            ]}}}))
            .unwrap();
        let worker = |name: &str, cri: Option<&str>, kubernetes| WorkerFacts {
            name: name.into(),
            cri: cri.map(str::to_owned),
            kubernetes,
        };
        assert_eq!(
            Facts::of(&shoot).workers,
            [worker("a", None, Some((1, 33))), worker("b", Some("containerd"), Some((1, 32))), worker("c", None, None)]
        );
    }
}
