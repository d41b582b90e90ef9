//! A worker pool of a Shoot, and its kubelets.

use serde_json::value::RawValue;

use crate::read::{Part, Reader};

/// A worker pool.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Worker {
    /// Name, the value of the nodes' label [`crate::constants::WORKER_POOL_LABEL`].
    pub name: String,
    /// Container runtime.
    pub cri: Option<WorkerCri>,
    /// Machines.
    pub machine: WorkerMachine,
    /// Kubernetes version and kubelets of the pool, where they differ.
    pub kubernetes: Option<WorkerKubernetes>,
}

/// `workers[].cri`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WorkerCri {
    /// `containerd`, or `docker` on old shoots.
    pub name: String,
}

/// `workers[].machine`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WorkerMachine {
    /// `amd64` or `arm64`; absent means `amd64` (`defaults_shoot.go`), also in versions of Gardener that do not know the field.
    pub architecture: Option<String>,
}

/// `workers[].kubernetes`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WorkerKubernetes {
    /// Such as `1.32.5`.
    pub version: Option<String>,
    /// The pool's kubelets. It replaces the Shoot's section as a whole: "no merge of settings" (`WorkerKubernetes` in Gardener's
    /// `pkg/apis/core/v1beta1/types_shoot.go`, used so in `operatingsystemconfig.go`). One that cannot be read is there, and says nothing.
    pub kubelet: Option<Kubelet>,
}

/// `kubernetes.kubelet` of a Shoot or of a worker pool. Of kubelet's managers Gardener knows the CPU manager alone (`KubeletConfig` in the same file,
/// v1.149.3): a policy of the memory manager can only be met on the node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kubelet {
    /// `none` or `static`; absent means `none`.
    pub cpu_manager_policy: Option<String>,
}

impl Part for Worker {
    fn read(reader: &mut Reader, raw: &RawValue) -> Option<Self> {
        let [name, cri, machine, kubernetes] = reader.members(raw, ["name", "cri", "machine", "kubernetes"])?;
        Some(Self {
            name: reader.leaf(name).unwrap_or_default(),
            cri: reader.part(cri),
            machine: reader.part(machine).unwrap_or_default(),
            kubernetes: kubernetes.is_there().then(|| reader.part(kubernetes).unwrap_or_else(WorkerKubernetes::unread)),
        })
    }
}

impl Part for WorkerCri {
    fn read(reader: &mut Reader, raw: &RawValue) -> Option<Self> {
        let [name] = reader.members(raw, ["name"])?;
        Some(Self { name: reader.leaf(name).unwrap_or_default() })
    }
}

impl Part for WorkerMachine {
    fn read(reader: &mut Reader, raw: &RawValue) -> Option<Self> {
        let [architecture] = reader.members(raw, ["architecture"])?;
        Some(Self { architecture: reader.leaf(architecture) })
    }
}

impl WorkerKubernetes {
    /// Of a section that cannot be read: whether it has kubelets of its own is not known, so the Shoot's do not count for it.
    fn unread() -> Self {
        Self { version: None, kubelet: Some(Kubelet::default()) }
    }
}

impl Part for WorkerKubernetes {
    fn read(reader: &mut Reader, raw: &RawValue) -> Option<Self> {
        let [version, kubelet] = reader.members(raw, ["version", "kubelet"])?;
        Some(Self {
            version: reader.leaf(version),
            kubelet: kubelet.is_there().then(|| reader.part(kubelet).unwrap_or_default()),
        })
    }
}

impl Part for Kubelet {
    fn read(reader: &mut Reader, raw: &RawValue) -> Option<Self> {
        let [cpu_manager_policy] = reader.members(raw, ["cpuManagerPolicy"])?;
        Some(Self { cpu_manager_policy: reader.leaf(cpu_manager_policy) })
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize as _;
    use serde_json::json;

    use super::*;
    use crate::Shoot;

    #[test]
    fn a_section_that_cannot_be_read_is_there_and_says_nothing() -> Result<(), serde_json::Error> {
        let kubelet = |policy: Option<&str>| Some(Kubelet { cpu_manager_policy: policy.map(str::to_owned) });
        let table = [
            // (workers[].kubernetes) -> (the pool's kubelets, faults)
            (json!(null), None, vec![]),
            (json!({}), None, vec![]),
            (json!({"version": "1.32.5"}), None, vec![]),
            (json!({"kubelet": null}), None, vec![]),
            (json!({"kubelet": {}}), kubelet(None), vec![]),
            (json!({"kubelet": {"maxPods": 7, "cpuManagerPolicy": null}}), kubelet(None), vec![]),
            (json!({"kubelet": {"cpuManagerPolicy": "static"}}), kubelet(Some("static")), vec![]),
            (json!({"kubelet": {"cpuManagerPolicy": 5}}), kubelet(None), vec!["kubernetes.kubelet.cpuManagerPolicy"]),
            (json!({"kubelet": "static"}), kubelet(None), vec!["kubernetes.kubelet"]),
            (json!(["static"]), kubelet(None), vec!["kubernetes"]),
        ];
        for (section, expected, faults) in table {
            let worker = json!({"name": "a", "machine": {"type": "m"}, "kubernetes": section});
            let shoot = Shoot::deserialize(json!({"spec": {"provider": {"workers": [worker]}}}))?;
            let found = &shoot.spec.provider.workers[0];
            assert_eq!(found.kubernetes.as_ref().and_then(|own| own.kubelet.clone()), expected, "{section}");
            let faults: Vec<_> = faults.iter().map(|path| format!("spec.provider.workers[].{path}")).collect();
            assert_eq!(shoot.faults.paths(), faults, "{section}");
        }
        Ok(())
    }

    #[test]
    fn machines_and_the_shoots_kubelets() -> Result<(), serde_json::Error> {
        let shoot = Shoot::deserialize(json!({"spec": {
            "kubernetes": {"version": "1.33.2", "kubelet": {"cpuManagerPolicy": "static"}},
            "provider": {"workers": [
                {"name": "a", "machine": {"architecture": "arm64"}}, {"name": "b", "machine": {"architecture": ["arm64"]}},
                {"name": "c", "machine": "m"}, {"name": "d"},
            ]},
        }}))?;
        let own = shoot.spec.kubernetes.kubelet.and_then(|kubelet| kubelet.cpu_manager_policy);
        assert_eq!(own.as_deref(), Some("static"));
        let workers = shoot.spec.provider.workers.iter();
        let found: Vec<_> = workers.map(|worker| worker.machine.architecture.as_deref()).collect();
        assert_eq!(found, [Some("arm64"), None, None, None]);
        assert_eq!(
            shoot.faults.paths(),
            ["spec.provider.workers[].machine.architecture", "spec.provider.workers[].machine"]
        );
        Ok(())
    }
}
