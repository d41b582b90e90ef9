//! What the Shoot says of its worker pools: which of them are left alone, and what to warn of. Pure.
//!
//! A node's own agent looks at the running kubelet and has the last word (`node-plan`, `preflight`). What the Shoot says already is said
//! before any node is touched: its agents find their node not selected, which they make, keep and call as desired.

use std::collections::{BTreeMap, HashSet};

use crate::desired_state::Selection;
use crate::problem::{Origin, Problem};
use crate::provider_config::BackendName;
use crate::{limits, names, selection};

/// The first Kubernetes whose kubelet speaks the one CRI that the daemon serves, v1 (kubernetes.io/docs/concepts/architecture/cri: stable in v1.23;
/// the daemon from v0.9 on has no v1alpha2).
const OLDEST_KUBERNETES: (u64, u64) = (1, 23);
/// The first that is supported with containerd 1.7 (containerd's own table of supported Kubernetes: 1.7 from 1.26 on), of which NRI 1.0 is a part.
const OLDEST_KUBERNETES_OF_NRI: (u64, u64) = (1, 26);
/// The first Kubernetes whose CRI cri-resmgr v0.9.2 does not have.
const NEWER_THAN_CRI_RESMGR: (u64, u64) = (1, 30);
/// The first whose CRI has what the daemon, of the CRI of 1.29, drops with an effect that is seen: resizing of running pods.
const LOSES_RESIZING_SINCE: (u64, u64) = (1, 33);
/// The CPU manager's policy that works, and what kubelet takes an empty one for.
const NO_CPU_MANAGER: [&str; 2] = ["none", ""];

/// What is known about the shoot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Its worker pools.
    pub workers: Vec<WorkerFacts>,
}

/// One worker pool. What the Shoot does not say, or not in a form that is known, is `None` and rules nothing out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WorkerFacts {
    /// Its name.
    pub name: String,
    /// Its container runtime; left out it is containerd.
    pub cri: Option<String>,
    /// Its machines' architecture; left out it is amd64.
    pub architecture: Option<String>,
    /// Its kubelets' CPU manager.
    pub cpu_manager: Option<CpuManager>,
    /// Major and minor of its Kubernetes version.
    pub kubernetes: Option<(u64, u64)>,
}

/// kubelet's CPU manager policy, and where it is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CpuManager {
    /// `none` or `static`.
    pub policy: String,
    /// In the pool's own section; else in the Shoot's, for all pools without one.
    pub of_pool: bool,
}

/// A worker pool on which the backend cannot work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftAlone {
    /// Its name.
    pub name: String,
    /// Why: field, value, and what is allowed.
    pub reasons: Vec<String>,
}

/// The pools that are selected by name and cannot be served, by name. The labels of a selection are the nodes' and not known here.
pub(crate) fn left_alone(selection: &Selection, facts: &Facts, backend: BackendName) -> Vec<LeftAlone> {
    let mut pools: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for worker in selected(selection, facts) {
        let reasons = reasons(worker, backend);
        if !reasons.is_empty() {
            pools.entry(&worker.name).or_default().extend(reasons);
        }
    }
    let reported = pools.into_iter().map(|(name, reasons)| LeftAlone { name: name.to_owned(), reasons });
    // Of more the agents say themselves that they cannot work there.
    reported.take(limits::WORKER_POOLS).collect()
}

/// Those that a node can be of: others cannot be named, neither by a selection nor by an exclusion.
fn selected<'a>(selection: &'a Selection, facts: &'a Facts) -> impl Iterator<Item = &'a WorkerFacts> {
    let pools = selection.worker_pools.as_ref();
    facts
        .workers
        .iter()
        .filter(|worker| selection::can_be_pool(&worker.name))
        .filter(move |worker| pools.is_none_or(|pools| pools.contains(&worker.name)))
}

fn reasons(worker: &WorkerFacts, backend: BackendName) -> Vec<String> {
    let shown = |value: &str| limits::cut(value, limits::VALUE_CHARACTERS);
    let mut reasons = Vec::new();
    if let Some(CpuManager { policy, of_pool }) = &worker.cpu_manager
        && !NO_CPU_MANAGER.contains(&policy.as_str())
    {
        let owner = if *of_pool { "the pool's" } else { "the Shoot's" };
        let policy = shown(policy);
        let because = match backend {
            BackendName::CriResmgr => "cri-resmgr swallows kubelet's updates of containers",
            BackendName::NriPlugins => "kubelet and the policy would both set the CPUs of containers",
        };
        reasons.push(format!(
            "{owner} kubernetes.kubelet.cpuManagerPolicy is {policy:?}, only \"none\" works, as {because}"
        ));
    }
    for (field, value, works) in [
        ("cri.name", &worker.cri, names::CONTAINER_RUNTIME),
        ("machine.architecture", &worker.architecture, names::ARCHITECTURE),
    ] {
        if let Some(value) = value.as_deref().filter(|value| !value.is_empty() && *value != works) {
            reasons.push(format!("{field} is {:?}, only {works:?} works", shown(value)));
        }
    }
    let (oldest, because) = match backend {
        BackendName::CriResmgr => (OLDEST_KUBERNETES, "cri-resmgr serves CRI v1 alone"),
        BackendName::NriPlugins => (OLDEST_KUBERNETES_OF_NRI, "older ones come with a containerd without NRI"),
    };
    if let Some((major, minor)) = worker.kubernetes.filter(|version| *version < oldest) {
        let (oldest_major, oldest_minor) = oldest;
        reasons.push(format!(
            "its Kubernetes version is {major}.{minor}, only {oldest_major}.{oldest_minor} and later work, as {because}"
        ));
    }
    reasons
}

/// Whether nothing is left of the pools that are selected.
pub(crate) fn is_nowhere(selection: &Selection, facts: &Facts, left_alone: &[LeftAlone]) -> bool {
    let left: HashSet<&str> = left_alone.iter().map(|pool| pool.name.as_str()).collect();
    !left.is_empty() && selected(selection, facts).all(|worker| left.contains(worker.name.as_str()))
}

/// What to warn of in the pools that are not left alone, and in the selection. `is_named`: the shoot says which backend it wants.
pub(crate) fn warnings(
    selection: &Selection,
    facts: &Facts,
    backend: BackendName,
    is_named: bool,
    left_alone: &[LeftAlone],
) -> Vec<Problem> {
    let known: HashSet<&str> = facts.workers.iter().map(|worker| worker.name.as_str()).collect();
    let unknown = selection.worker_pools.iter().flatten().filter(|pool| !known.contains(pool.as_str()));
    let unknown = unknown
        .filter(|_| !known.is_empty())
        .map(|pool| warning("selection.workerPools", &format!("there is no worker pool {pool:?}")));
    let left: HashSet<&str> = left_alone.iter().map(|pool| pool.name.as_str()).collect();
    let served = selected(selection, facts).filter(|worker| !left.contains(worker.name.as_str()));
    let served: Vec<&WorkerFacts> = served.filter(|_| backend == BackendName::CriResmgr).collect();
    let since = |worker: &WorkerFacts, first| worker.kubernetes.is_some_and(|version| version >= first);
    let is_outgrown = served.iter().any(|worker| since(worker, NEWER_THAN_CRI_RESMGR));
    let unnamed = (!is_named && is_outgrown).then(|| {
        let message = "is not given, so it is cri-resmgr, which ended with the CRI of Kubernetes 1.29; its successor is nri-plugins. Name the one that you want, and this warning goes";
        warning("backend", message)
    });
    let losing = served.into_iter().filter(|worker| since(worker, LOSES_RESIZING_SINCE));
    let losing = losing.map(|worker| {
        let message = format!(
            "worker pool {:?} runs Kubernetes 1.33 or later: the daemon loses newer fields of the CRI, and resizing of running pods has no effect",
            worker.name
        );
        warning("", &message)
    });
    unknown.chain(unnamed).chain(losing).collect()
}

fn warning(field: &str, message: &str) -> Problem {
    Problem::new(Origin::Shoot, field, "", message)
}

#[cfg(test)]
mod tests;
