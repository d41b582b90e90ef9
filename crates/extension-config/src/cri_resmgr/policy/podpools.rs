//! Pools of pods: the arithmetic that the daemon does at its start.

use serde_json::{Map, Value};

use super::{Cpus, Reports, items};
use crate::cri_resmgr::number;
use crate::cri_resmgr::report::Finding;
use crate::cri_resmgr::value::{self, Instances};

/// `cpus`: where this is the active policy.
pub(super) fn check(policy: &Map<String, Value>, cpus: Option<Cpus>, reports: &mut Reports<'_>) {
    let Some(section) = policy.get("podpools") else { return };
    let pools: Vec<Pool<'_>> =
        items(section, "policy.podpools", "Pools", reports.findings).into_iter().map(Pool::read).collect();
    for pool in &pools {
        let is_given = pool.item.get("CPU").is_some_and(|cpus| cpus.as_str() != Some(""));
        let is_built_in = matches!(pool.name, "reserved" | "default");
        let has_instances = pool.item.get("Instances").is_some_and(|instances| instances.as_str() != Some(""));
        if !is_given && (!is_built_in || has_instances) {
            pool.wrong("CPU", "is missing, allowed: a whole number of CPUs from 1", reports);
        }
    }
    let Some(cpus) = cpus else { return };
    let mut free = cpus.free;
    let (built_in, own): (Vec<_>, Vec<_>) = pools.iter().partition(|pool| matches!(pool.name, "reserved" | "default"));
    for pool in built_in {
        if pool.cpus > 0 {
            pool.check_built_in(cpus, &mut free, reports);
        }
    }
    // What the default pool takes is no part of a share of the CPUs.
    let shared = free;
    for pool in own {
        if pool.cpus > 0 {
            pool.check(shared, &mut free, reports);
        }
    }
}

struct Pool<'a> {
    index: usize,
    item: &'a Value,
    name: &'a str,
    /// CPUs of each; 0 where it does not say, or nothing that is allowed.
    cpus: u64,
    instances: Instances,
}

impl<'a> Pool<'a> {
    fn read((index, item): (usize, &'a Value)) -> Self {
        let cpus = item.get("CPU").and_then(number::number).and_then(|count| u64::try_from(count).ok());
        Self {
            index,
            item,
            name: item.get("Name").and_then(Value::as_str).unwrap_or_default(),
            cpus: cpus.unwrap_or(0),
            instances: item.get("Instances").and_then(value::instances).unwrap_or(Instances::Count(1)),
        }
    }

    fn wrong(&self, key: &str, message: &str, reports: &mut Reports<'_>) {
        reports.findings.push(|| Finding::new(format!("policy.podpools.Pools[{}].{key}", self.index), message));
    }

    /// How many there will be, where it is known.
    fn count(&self, shared: Option<u64>) -> Option<u64> {
        match self.instances {
            Instances::Count(count) => Some(count),
            Instances::Cpus(cpus) => Some(cpus / self.cpus),
            Instances::Percent(share) => shared.map(|shared| shared.saturating_mul(share) / 100 / self.cpus),
        }
    }

    fn check_built_in(&self, cpus: Cpus, free: &mut Option<u64>, reports: &mut Reports<'_>) {
        if self.count(cpus.free).is_some_and(|count| count != 1) {
            self.wrong("Instances", "must come to 1 for this built-in pool", reports);
        }
        if self.name == "reserved" {
            if let Some(reserved) = cpus.reserved.filter(|reserved| self.cpus != *reserved) {
                let message = format!("must be as many as are reserved, which are {reserved}; or leave it out");
                self.wrong("CPU", &message, reports);
            }
        } else {
            self.take(1, free, reports);
        }
    }

    fn check(&self, shared: Option<u64>, free: &mut Option<u64>, reports: &mut Reports<'_>) {
        match (self.instances, shared) {
            (Instances::Cpus(cpus), Some(shared)) if cpus > shared => {
                let message =
                    format!("must not be more than the available CPUs that are not reserved, which are {shared}");
                return self.wrong("Instances", &message, reports);
            }
            _ => {}
        }
        let Some(count) = self.count(shared) else { return };
        if count == 0 {
            let message = format!("comes to no pool at all, with {} CPUs for each", self.cpus);
            return self.wrong("Instances", &message, reports);
        }
        let is_unlimited = self.item.get("MaxPods").and_then(Value::as_i64).unwrap_or(0) == 0;
        if count > 1 && is_unlimited && self.item.get("FillOrder").and_then(Value::as_str) == Some("Packed") {
            let message =
                format!("the first of {count} pools takes every pod; allowed: Balanced, FirstFree, or a MaxPods");
            self.wrong("FillOrder", &message, reports);
        }
        self.take(count, free, reports);
    }

    fn take(&self, count: u64, free: &mut Option<u64>, reports: &mut Reports<'_>) {
        let Some(left) = *free else { return };
        let wanted = count.saturating_mul(self.cpus);
        if wanted > left {
            let message = format!(
                "must come to no more CPUs than are left of the available ones that are not reserved: {left}, is {wanted} ({count} times {})",
                self.cpus
            );
            self.wrong("CPU", &message, reports);
        }
        *free = Some(left.saturating_sub(wanted));
    }
}
