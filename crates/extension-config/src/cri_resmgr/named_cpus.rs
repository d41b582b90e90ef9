//! CPUs that a configuration names by number. Which of them exist only a node knows: the daemon does not look, and begins to refuse containers
//! when the kernel refuses the CPUs that it wants to give them.

use serde_json::{Map, Value};

use super::cpus::{self, Constraint, CpuSet};
use super::policy::WITHOUT_CPUS;
use super::value::plain;
use crate::limits;

/// Most characters of a list of CPUs that a message shows.
const SHOWN: usize = 60;

/// CPUs that a key of a configuration names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedCpus {
    /// The key: `policy.AvailableResources.CPU`.
    pub path: String,
    cpus: CpuSet,
}

impl NamedCpus {
    pub(super) fn of(tree: &Map<String, Value>, active: &str) -> Vec<Self> {
        let Some(policy) = tree.get("policy").and_then(Value::as_object) else { return Vec::new() };
        if active == "static-pools" {
            return of_static_pools(policy);
        }
        if WITHOUT_CPUS.contains(&active) {
            return Vec::new();
        }
        let resources = ["AvailableResources", "ReservedResources"].into_iter().filter_map(|key| {
            let Constraint::Cpuset(cpus) = cpus::of_resources(policy.get(key))? else { return None };
            Some(Self { path: format!("policy.{key}.CPU"), cpus })
        });
        resources.collect()
    }

    /// What is wrong on a node with these CPUs: key, value, and what the node has. `None`: it has them all.
    #[must_use]
    pub fn absent(&self, node: &CpuSet) -> Option<String> {
        let absent = self.cpus.without(node);
        let shown = |cpus: &CpuSet| limits::cut(&cpus.to_string(), SHOWN);
        (!absent.is_empty()).then(|| {
            format!(
                "{} is cpuset:{}, but this node does not have the CPUs {}; it has {}",
                self.path,
                shown(&self.cpus),
                shown(&absent),
                shown(node)
            )
        })
    }
}

/// The lists of its pools are all that this policy knows of CPUs.
fn of_static_pools(policy: &Map<String, Value>) -> Vec<NamedCpus> {
    let pools = policy.get("static-pools").and_then(|section| section.get("pools")).and_then(Value::as_object);
    let lists = pools.into_iter().flatten().flat_map(|(pool, settings)| {
        let lists = settings.get("cpuLists").and_then(Value::as_array).into_iter().flatten().enumerate();
        lists.filter_map(move |(index, list)| {
            let cpus = cpus::cpuset(&plain(list.get("Cpuset")?)?)?;
            let pool = limits::cut(pool, SHOWN);
            Some(NamedCpus { path: format!("policy.static-pools.pools.{pool}.cpuLists[{index}].Cpuset"), cpus })
        })
    });
    lists.collect()
}

#[cfg(test)]
mod tests {
    use super::CpuSet;
    use crate::cri_resmgr::check;

    fn absent(text: &str, node: &str) -> Vec<String> {
        let node = CpuSet::of_kernel(node).unwrap();
        let checked = check(text).unwrap_or_else(|findings| panic!("{findings:?}"));
        checked.named_cpus().iter().filter_map(|named| named.absent(&node)).collect()
    }

    #[test]
    fn cpus_that_a_node_lacks_are_named() {
        let balloons = |resources: &str| format!("policy: {{Active: balloons, {resources}}}");
        let both = balloons("AvailableResources: {CPU: 'cpuset:0-15'}, ReservedResources: {cpu: 'cpuset:15'}");
        assert_eq!(absent(&both, "0-15\n"), [""; 0]);
        assert_eq!(
            absent(&both, "0-3,6-7"),
            [
                "policy.AvailableResources.CPU is cpuset:0-15, but this node does not have the CPUs 4-5,8-15; it has 0-3,6-7",
                "policy.ReservedResources.CPU is cpuset:15, but this node does not have the CPUs 15; it has 0-3,6-7",
            ]
        );
        // A list without the word in front, a quantity, a group.
        assert_eq!(absent(&balloons("AvailableResources: {CPU: '0-8'}, ReservedResources: {CPU: 1}"), "0-3").len(), 1);
        assert_eq!(absent(&balloons("ReservedResources: {CPU: '15'}"), "0-3"), [""; 0]);
        assert_eq!(absent(&balloons("ReservedResources: {CPU: 'cgroup:/a'}"), "0-3"), [""; 0]);
        // A policy that does not look at them.
        assert_eq!(absent("policy: {Active: none, AvailableResources: {CPU: 'cpuset:0-15'}}", "0-3"), [""; 0]);
        let pools = "policy: {Active: static-pools, static-pools: {pools: {a: {cpuLists: [{Socket: 0, Cpuset: '1'}, {Cpuset: '3,9'}]}}}}";
        assert_eq!(
            absent(pools, "0-3"),
            [
                "policy.static-pools.pools.a.cpuLists[1].Cpuset is cpuset:3,9, but this node does not have the CPUs 9; it has 0-3"
            ]
        );
    }

    #[test]
    fn long_lists_of_absent_cpus_are_cut() {
        let odd = (0..4000).map(|cpu| (2 * cpu + 1).to_string()).collect::<Vec<_>>().join(",");
        let text = format!("policy: {{Active: balloons, ReservedResources: {{CPU: 'cpuset:{odd}'}}}}");
        assert!(absent(&text, "0-3").iter().all(|reported| reported.chars().count() < 400));
    }

    #[test]
    fn cpu_lists_of_the_kernel_are_read() {
        assert_eq!(CpuSet::of_kernel("0-3,8\n").map(|set| set.to_string()).as_deref(), Some("0-3,8"));
        for text in ["", "\n", "a", "0-99999"] {
            assert_eq!(CpuSet::of_kernel(text), None, "{text:?}");
        }
    }
}
