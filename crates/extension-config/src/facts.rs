//! What a Shoot says about its nodes.

use gardener_api::Shoot;

use crate::workers::{CpuManager, Facts, WorkerFacts};

impl Facts {
    /// What the Shoot says about its nodes.
    #[must_use]
    pub fn of(shoot: &Shoot) -> Self {
        let workers = shoot.spec.provider.workers.iter().map(|worker| {
            let own = worker.kubernetes.as_ref();
            let version = own.and_then(|own| own.version.as_deref()).unwrap_or(&shoot.spec.kubernetes.version);
            // The pool's section counts alone where there is one, whatever it says.
            let own_kubelet = own.and_then(|own| own.kubelet.as_ref());
            let policy = own_kubelet
                .or(shoot.spec.kubernetes.kubelet.as_ref())
                .and_then(|kubelet| kubelet.cpu_manager_policy.clone());
            WorkerFacts {
                name: worker.name.clone(),
                cri: worker.cri.as_ref().map(|cri| cri.name.clone()).filter(|name| !name.is_empty()),
                architecture: worker.machine.architecture.clone(),
                cpu_manager: policy.map(|policy| CpuManager { policy, of_pool: own_kubelet.is_some() }),
                kubernetes: kubernetes_minor(version),
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
    fn worker_facts_are_read_from_the_shoot() {
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
            ..WorkerFacts::default()
        };
        assert_eq!(
            Facts::of(&shoot).workers,
            [worker("a", None, Some((1, 33))), worker("b", Some("containerd"), Some((1, 32))), worker("c", None, None)]
        );
    }

    /// Field case N20: where a pool's policy comes from. Its own section replaces the Shoot's as a whole, also when it says nothing of it.
    #[test]
    fn the_kubelet_section_of_a_pool_replaces_that_of_the_shoot_as_a_whole() {
        let policy = |policy: &str, of_pool| Some(CpuManager { policy: policy.to_owned(), of_pool });
        let of_shoot = policy("static", false);
        let table = [
            // (the Shoot's section, the pool's kubernetes) -> policy
            (json!(null), json!(null), None),
            (json!({}), json!(null), None),
            (json!({"cpuManagerPolicy": "static"}), json!(null), of_shoot.clone()),
            (json!({"cpuManagerPolicy": "static"}), json!({"version": "1.32.0"}), of_shoot.clone()),
            (json!({"cpuManagerPolicy": "static"}), json!({"kubelet": null}), of_shoot),
            (json!({"cpuManagerPolicy": "static"}), json!({"kubelet": {}}), None),
            (json!({"cpuManagerPolicy": "static"}), json!({"kubelet": {"maxPods": 50}}), None),
            (
                json!({"cpuManagerPolicy": "static"}),
                json!({"kubelet": {"cpuManagerPolicy": "none"}}),
                policy("none", true),
            ),
            (
                json!({"cpuManagerPolicy": "none"}),
                json!({"kubelet": {"cpuManagerPolicy": "static"}}),
                policy("static", true),
            ),
            (json!(null), json!({"kubelet": {"cpuManagerPolicy": "static"}}), policy("static", true)),
            // What cannot be read rules nothing out: the node's agent will see.
            (json!({"cpuManagerPolicy": ["static"]}), json!(null), None),
            (json!("static"), json!(null), None),
            (json!({"cpuManagerPolicy": "static"}), json!({"kubelet": "static"}), None),
            (json!({"cpuManagerPolicy": "static"}), json!("static"), None),
        ];
        for (of_shoot, of_pool, expected) in table {
            let spec = json!({"kubernetes": {"version": "1.33.2", "kubelet": of_shoot},
                "provider": {"workers": [{"name": "a", "kubernetes": of_pool, "machine": {"architecture": "arm64"}}]}});
            let shoot: Shoot = serde_json::from_value(json!({ "spec": spec })).unwrap();
            let found = &Facts::of(&shoot).workers[0];
            assert_eq!(found.cpu_manager, expected, "{spec}");
            assert_eq!(found.architecture.as_deref(), Some("arm64"));
        }
    }
}
