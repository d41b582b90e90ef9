//! Pods and containers as the runtime holds them.

use std::collections::BTreeMap;

use crate::api;

/// A pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pod {
    /// The sandbox's id.
    pub id: String,
    /// Name of the Pod.
    pub name: String,
    /// UID of the Pod.
    pub uid: String,
    /// Namespace of the Pod.
    pub namespace: String,
    /// Labels of the Pod.
    pub labels: BTreeMap<String, String>,
    /// Annotations of the Pod.
    pub annotations: BTreeMap<String, String>,
    /// Its cgroup, `/kubepods/burstable/pod<uid>`: policies take the QoS class from it.
    pub cgroup_parent: String,
}

/// CPU settings of a container. What is absent or empty is not set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cpu {
    /// Weight; 1024 for a whole CPU that is requested.
    pub shares: Option<u64>,
    /// Microseconds of CPU time in each period.
    pub quota: Option<i64>,
    /// Microseconds.
    pub period: Option<u64>,
    /// CPUs that it may run on, `0-3,8`.
    pub cpus: String,
    /// NUMA nodes that its memory may be on, `0-1`.
    pub mems: String,
}

impl Cpu {
    /// Takes over what the other one sets: a runtime changes nothing else.
    pub fn overlay(&mut self, other: &Self) {
        self.shares = other.shares.or(self.shares);
        self.quota = other.quota.or(self.quota);
        self.period = other.period.or(self.period);
        for (own, new) in [(&mut self.cpus, &other.cpus), (&mut self.mems, &other.mems)] {
            if !new.is_empty() {
                own.clone_from(new);
            }
        }
    }

    pub(crate) fn of(resources: Option<api::LinuxResources>) -> Self {
        let cpu = resources.and_then(|resources| resources.cpu).unwrap_or_default();
        Self {
            shares: cpu.shares.map(|shares| shares.value),
            quota: cpu.quota.map(|quota| quota.value),
            period: cpu.period.map(|period| period.value),
            cpus: cpu.cpus,
            mems: cpu.mems,
        }
    }

    pub(crate) fn to_api(&self) -> api::LinuxCpu {
        api::LinuxCpu {
            shares: self.shares.map(|value| api::OptionalUInt64 { value }),
            quota: self.quota.map(|value| api::OptionalInt64 { value }),
            period: self.period.map(|value| api::OptionalUInt64 { value }),
            cpus: self.cpus.clone(),
            mems: self.mems.clone(),
        }
    }
}

/// What kubelet asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewContainer {
    /// The container's id.
    pub id: String,
    /// The sandbox that it is in.
    pub pod: String,
    /// Name in the Pod.
    pub name: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// CPU settings.
    pub cpu: Cpu,
    /// Bytes of memory that it may have.
    pub memory_limit: Option<i64>,
    /// kubelet's score for the kernel; policies estimate the memory request of a burstable container from it.
    pub oom_score_adj: Option<i64>,
    /// Its cgroup.
    pub cgroups_path: String,
}

/// What a container does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum State {
    /// Made, not started.
    #[default]
    Created,
    /// Started.
    Running,
    /// At its end, not removed.
    Stopped,
}

/// A mount that a plugin added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Path in the container.
    pub destination: String,
    /// Path on the host.
    pub source: String,
}

/// A container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Container {
    /// As kubelet asked for it.
    pub asked: NewContainer,
    /// With what plugins and kubelet's later updates made of it: what its cgroup would say.
    pub effective: Cpu,
    /// What plugins mounted into it at its creation.
    pub mounts: Vec<Mount>,
    /// What it does.
    pub state: State,
    /// Nanoseconds since 1970.
    pub created_at: i64,
    /// How often a plugin's word changed `effective` after the creation. An update to the same values is none.
    pub changes: usize,
    /// How often a plugin updated it after the creation.
    pub updates: usize,
}

impl Container {
    /// As plugins are notified of it. In its creation it has no state yet (containerd v1.7.34, pkg/cri/nri).
    pub(crate) fn to_api(&self, during_creation: bool) -> api::Container {
        let asked = &self.asked;
        api::Container {
            id: asked.id.clone(),
            pod_sandbox_id: asked.pod.clone(),
            name: asked.name.clone(),
            state: match self.state {
                _ if during_creation => 0,
                State::Created => 1,
                State::Running => 3,
                State::Stopped => 4,
            },
            labels: asked.labels.clone(),
            annotations: asked.annotations.clone(),
            linux: Some(api::LinuxContainer {
                resources: Some(api::LinuxResources {
                    memory: Some(api::LinuxMemory {
                        limit: asked.memory_limit.map(|value| api::OptionalInt64 { value }),
                    }),
                    cpu: Some(self.effective.to_api()),
                }),
                oom_score_adj: asked.oom_score_adj.map(|value| api::OptionalInt64 { value }),
                cgroups_path: asked.cgroups_path.clone(),
            }),
            created_at: if during_creation { 0 } else { self.created_at },
        }
    }
}

impl Pod {
    pub(crate) fn to_api(&self) -> api::PodSandbox {
        api::PodSandbox {
            id: self.id.clone(),
            name: self.name.clone(),
            uid: self.uid.clone(),
            namespace: self.namespace.clone(),
            labels: self.labels.clone(),
            annotations: self.annotations.clone(),
            linux: Some(api::LinuxPodSandbox { cgroup_parent: self.cgroup_parent.clone() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overlay_changes_what_it_sets_and_nothing_else() {
        let mut cpu = Cpu { shares: Some(2), quota: Some(100), period: None, cpus: "0-3".into(), mems: String::new() };
        cpu.overlay(&Cpu { shares: Some(5), cpus: "1".into(), ..Cpu::default() });
        assert_eq!(cpu, Cpu { shares: Some(5), quota: Some(100), period: None, cpus: "1".into(), mems: String::new() });
        let before = cpu.clone();
        cpu.overlay(&Cpu::default());
        assert_eq!(cpu, before);
    }

    #[test]
    fn settings_travel_both_ways() {
        let cpu = Cpu { shares: Some(2), quota: Some(-1), period: Some(0), cpus: "0-3".into(), mems: "1".into() };
        assert_eq!(Cpu::of(Some(api::LinuxResources { memory: None, cpu: Some(cpu.to_api()) })), cpu);
        assert_eq!(Cpu::of(None), Cpu::default());
    }
}
