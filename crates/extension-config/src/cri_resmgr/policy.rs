//! Rules that tie keys together: policies and what they need.

mod balloons;
mod podpools;

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::cpus::{self, Constraint};
use super::report::{Finding, Report};
use super::schema::POLICIES;
use super::value::shown;
use crate::limits;

const RESERVED: &str = "policy.ReservedResources.CPU";
const AVAILABLE: &str = "policy.AvailableResources.CPU";

/// Policies that do not look at available and reserved CPUs.
pub(super) const WITHOUT_CPUS: [&str; 2] = ["none", "static-pools"];
/// Policies that end where the reservation is there and comes to no CPU; the two static ones take it.
const RESERVE_SOME: [&str; 5] = ["topology-aware", "memtier", "balloons", "podpools", "dynamic-pools"];
/// Policies that reserve what is both available and to be reserved; the others end where it is not the same.
const RESERVE_WHAT_IS_AVAILABLE: [&str; 3] = ["balloons", "podpools", "dynamic-pools"];
/// Policies that refuse available CPUs that are only counted, or panic.
const NEED_CPUSET: [&str; 7] =
    ["topology-aware", "memtier", "balloons", "podpools", "dynamic-pools", "static", "static-plus"];

/// How many CPUs a policy has, where the configuration says it.
#[derive(Debug, Clone, Copy, Default)]
struct Cpus {
    reserved: Option<u64>,
    /// Those that are available and not reserved.
    free: Option<u64>,
}

/// What is said about a configuration.
struct Reports<'a> {
    findings: &'a mut Report,
    warnings: &'a mut Report,
}

/// Checks the rules; returns the active policy.
pub(crate) fn check(tree: &Map<String, Value>, findings: &mut Report, warnings: &mut Report) -> String {
    let reports = &mut Reports { findings, warnings };
    let none = Map::new();
    let policy = tree.get("policy").and_then(Value::as_object).unwrap_or(&none);
    let active = policy.get("Active").and_then(Value::as_str).unwrap_or("none");
    let mut cpus = Cpus::default();
    if POLICIES.contains(&active) && !WITHOUT_CPUS.contains(&active) {
        cpus = resources(policy, active, reports);
    }
    // What a policy would do at its start is known of the active one only.
    let of = |name: &str| (active == name).then_some(cpus);
    let classes = tree.get("cpu").and_then(|cpu| cpu.get("classes")).and_then(Value::as_object);
    balloons::check(policy, of("balloons"), classes, reports);
    dynamic_pools(policy, classes, reports);
    podpools::check(policy, of("podpools"), reports);
    if active == "dynamic-pools" {
        let message = "dynamic-pools needs --rebalance-interval among the extra options";
        reports.warnings.push(|| Finding::new("policy.Active", message));
    }
    if active == "static-pools" {
        let message =
            "static-pools asks an agent on the node for labels and taints, which this extension does not serve";
        reports.warnings.push(|| Finding::new("policy.Active", message));
    }
    frequencies(classes, reports.findings);
    active.to_owned()
}

fn resources(policy: &Map<String, Value>, active: &str, reports: &mut Reports<'_>) -> Cpus {
    let reserved = cpus::of_resources(policy.get("ReservedResources"));
    let available = cpus::of_resources(policy.get("AvailableResources"));
    // What is malformed was reported by the schema; here only what is missing or does not fit.
    let is_missing = policy.get("ReservedResources").is_none_or(|r| r.as_object().is_some_and(Map::is_empty));
    if is_missing {
        let message = format!("is missing, policy {active} needs it; allowed for instance: 750m, cpuset:0");
        reports.findings.push(|| Finding::new(RESERVED, message));
    }
    if RESERVE_SOME.contains(&active) && reserved == Some(Constraint::Quantity(0)) {
        let message = format!("is 0, policy {active} needs more; allowed for instance: 750m, cpuset:0");
        reports.findings.push(|| Finding::new(RESERVED, message));
    }
    if NEED_CPUSET.contains(&active) && matches!(available, Some(Constraint::Quantity(_))) {
        let message = format!("must be a list of CPUs such as cpuset:0-3 for policy {active}");
        reports.findings.push(|| Finding::new(AVAILABLE, message));
    }
    let available = match available {
        Some(Constraint::Cpuset(available)) => Some(available),
        _ => None,
    };
    let reserved = match (reserved, &available) {
        (Some(Constraint::Cpuset(reserved)), Some(available)) => {
            let outside = reserved.without(available);
            let inside = reserved.without(&outside);
            if !outside.is_empty() && !inside.is_empty() && RESERVE_WHAT_IS_AVAILABLE.contains(&active) {
                reports.warnings.push(|| {
                    let message = format!("these are not among the available CPUs, and are not reserved: {outside}");
                    Finding::new(RESERVED, message)
                });
            } else if !outside.is_empty() {
                reports.findings.push(|| {
                    let message = format!("must be among the available CPUs, these are not: {outside}");
                    Finding::new(RESERVED, message)
                });
            }
            Some(inside.len())
        }
        (Some(Constraint::Quantity(milli)), available) => {
            let count = milli.div_ceil(1000);
            let most = available.as_ref().map_or(u64::from(limits::CPUS), cpus::CpuSet::len);
            if count > most {
                let which =
                    if available.is_some() { "the available CPUs, which are" } else { "any machine has, which is" };
                reports.findings.push(|| Finding::new(RESERVED, format!("must not be more than {which} {most}")));
            }
            Some(count)
        }
        _ => None,
    };
    let free = available.zip(reserved).map(|(available, reserved)| available.len().saturating_sub(reserved));
    Cpus { reserved, free }
}

fn dynamic_pools(policy: &Map<String, Value>, classes: Option<&Map<String, Value>>, reports: &mut Reports<'_>) {
    let Some(section) = policy.get("dynamic-pools") else { return };
    for (index, item) in items(section, "policy.dynamic-pools", "DynamicPoolTypes", reports.findings) {
        class(
            item,
            "CpuClass",
            &|| format!("policy.dynamic-pools.DynamicPoolTypes[{index}]"),
            classes,
            reports.warnings,
        );
    }
}

/// The items of a list of named things, with their numbers; reports names that are missing or used twice.
fn items<'a>(section: &'a Value, at: &str, list: &str, findings: &mut Report) -> Vec<(usize, &'a Value)> {
    let mut seen = HashSet::new();
    let mut found = Vec::new();
    for (index, item) in section.get(list).and_then(Value::as_array).into_iter().flatten().enumerate() {
        let path = || format!("{at}.{list}[{index}].Name");
        if !item.is_object() {
            continue;
        }
        match item.get("Name") {
            None => findings.push(|| Finding::new(path(), "is missing")),
            Some(Value::String(name)) if name.is_empty() => {
                findings.push(|| Finding::new(path(), "must not be empty"));
            }
            Some(Value::String(name)) if name.len() > limits::NAME_BYTES => {
                let message = format!("has {} bytes, allowed: {}", name.len(), limits::NAME_BYTES);
                findings.push(|| Finding::new(path(), message));
            }
            Some(Value::String(name)) if !seen.insert(name) => {
                findings.push(|| Finding::new(path(), format!("{name:?} is used twice")));
            }
            Some(_) => {}
        }
        found.push((index, item));
    }
    found
}

/// The daemon starts with a class that it does not know, and takes it as soon as a later configuration has it.
fn class(
    item: &Value,
    key: &str,
    path: &dyn Fn() -> String,
    classes: Option<&Map<String, Value>>,
    warnings: &mut Report,
) {
    let Some(name) = item.get(key).and_then(Value::as_str).filter(|name| !name.is_empty()) else { return };
    if classes.is_some_and(|classes| classes.contains_key(name)) {
        return;
    }
    warnings.push(|| {
        let message = format!(
            "{} is not a class of cpu.classes, defined: {}; until it is, the frequencies of these CPUs stay as they are",
            shown(&Value::from(name)),
            names(classes)
        );
        Finding::new(format!("{}.{key}", path()), message)
    });
}

/// The first few names.
fn names(classes: Option<&Map<String, Value>>) -> String {
    const MOST: usize = 10;
    let names: Vec<_> = classes.into_iter().flat_map(Map::keys).take(MOST).map(|name| limits::cut(name, 40)).collect();
    match classes.map_or(0, Map::len) {
        0 => "none".to_owned(),
        count if count > MOST => format!("{} and {} more", names.join(", "), count - MOST),
        _ => names.join(", "),
    }
}

fn frequencies(classes: Option<&Map<String, Value>>, findings: &mut Report) {
    for (name, class) in classes.into_iter().flatten() {
        for (low, high) in [("minFreq", "maxFreq"), ("uncoreMinFreq", "uncoreMaxFreq")] {
            let number = |key| class.get(key).and_then(Value::as_i64).unwrap_or(0);
            if number(high) != 0 && number(low) > number(high) {
                let message = format!("must not be more than {high} ({})", number(high));
                findings.push(|| Finding::new(format!("cpu.classes.{name}.{low}"), message));
            }
        }
    }
}
