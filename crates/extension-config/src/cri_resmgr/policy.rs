//! Rules that tie keys together: policies and what they need.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::cpus::{self, Constraint};
use super::report::{Finding, Report};
use super::schema::POLICIES;
use super::value::shown;
use crate::limits;

const RESERVED: &str = "policy.ReservedResources.CPU";
const AVAILABLE: &str = "policy.AvailableResources.CPU";

/// Policies that run without reserved CPUs (asked the daemon: `static` starts without).
const WITHOUT_RESERVED: [&str; 3] = ["none", "static", "static-pools"];
/// Policies that refuse available CPUs that are only counted, or panic.
const NEED_CPUSET: [&str; 7] =
    ["topology-aware", "memtier", "balloons", "podpools", "dynamic-pools", "static", "static-plus"];

/// Checks the rules; returns the active policy.
pub(crate) fn check(tree: &Map<String, Value>, findings: &mut Report, warnings: &mut Vec<Finding>) -> String {
    let none = Map::new();
    let policy = tree.get("policy").and_then(Value::as_object).unwrap_or(&none);
    let active = policy.get("Active").and_then(Value::as_str).unwrap_or("none");
    if POLICIES.contains(&active) {
        resources(policy, active, findings);
    }
    let classes = tree.get("cpu").and_then(|cpu| cpu.get("classes")).and_then(Value::as_object);
    balloons(policy, classes, findings);
    dynamic_pools(policy, classes, findings);
    podpools(policy, findings);
    if active == "dynamic-pools" {
        warnings
            .push(Finding::new("policy.Active", "dynamic-pools needs --rebalance-interval among the extra options"));
    }
    if active == "static-pools" {
        let message =
            "static-pools asks an agent on the node for labels and taints, which this extension does not serve";
        warnings.push(Finding::new("policy.Active", message));
    }
    frequencies(classes, findings);
    active.to_owned()
}

fn resources(policy: &Map<String, Value>, active: &str, findings: &mut Report) {
    let reserved = cpus::of_resources(policy.get("ReservedResources"));
    let available = cpus::of_resources(policy.get("AvailableResources"));
    // What is malformed was reported by the schema; here only what is missing or does not fit.
    let is_missing = policy.get("ReservedResources").is_none_or(|r| r.as_object().is_some_and(Map::is_empty));
    if is_missing && !WITHOUT_RESERVED.contains(&active) {
        let message = format!("is missing, policy {active} needs it; allowed for instance: 750m, cpuset:0");
        findings.push(|| Finding::new(RESERVED, message));
    }
    if NEED_CPUSET.contains(&active) && matches!(available, Some(Constraint::Quantity(_))) {
        let message = format!("must be a list of CPUs such as cpuset:0-3 for policy {active}");
        findings.push(|| Finding::new(AVAILABLE, message));
    }
    let Some(Constraint::Cpuset(available)) = available else { return };
    match reserved {
        Some(Constraint::Cpuset(reserved)) => {
            let outside = reserved.without(&available);
            if !outside.is_empty() {
                let message = format!("must be among the available CPUs, these are not: {outside}");
                findings.push(|| Finding::new(RESERVED, message));
            }
        }
        Some(Constraint::Quantity(milli)) if milli.div_ceil(1000) > available.len() => {
            let message = format!("must not be more than the available CPUs, which are {}", available.len());
            findings.push(|| Finding::new(RESERVED, message));
        }
        _ => {}
    }
}

fn balloons(policy: &Map<String, Value>, classes: Option<&Map<String, Value>>, findings: &mut Report) {
    let Some(section) = policy.get("balloons") else { return };
    class(section, "IdleCPUClass", &|| "policy.balloons".to_owned(), classes, findings);
    for (index, item) in items(section, "policy.balloons", "BalloonTypes", findings) {
        let path = || format!("policy.balloons.BalloonTypes[{index}]");
        class(item, "CpuClass", &path, classes, findings);
        for (low, high) in [("MinCPUs", "MaxCPUs"), ("MinBalloons", "MaxBalloons")] {
            let number = |key| item.get(key).and_then(Value::as_i64).unwrap_or(0);
            // 0 as maximum means that there is none.
            if number(high) != 0 && number(low) > number(high) {
                findings.push(|| {
                    Finding::new(
                        format!("{}.{low}", path()),
                        format!("must not be more than {high} ({})", number(high)),
                    )
                });
            }
        }
        let forbidden: &[&str] = match item.get("Name").and_then(Value::as_str) {
            Some("reserved") => &["MinCPUs", "MaxCPUs", "MinBalloons"],
            Some("default") => &["MinBalloons"],
            _ => &[],
        };
        for key in forbidden {
            if item.get(key).and_then(Value::as_i64).is_some_and(|number| number != 0) {
                findings.push(|| {
                    Finding::new(format!("{}.{key}", path()), "must not be set for this built-in balloon type")
                });
            }
        }
    }
}

fn dynamic_pools(policy: &Map<String, Value>, classes: Option<&Map<String, Value>>, findings: &mut Report) {
    let Some(section) = policy.get("dynamic-pools") else { return };
    for (index, item) in items(section, "policy.dynamic-pools", "DynamicPoolTypes", findings) {
        let path = || format!("policy.dynamic-pools.DynamicPoolTypes[{index}]");
        class(item, "CpuClass", &path, classes, findings);
    }
}

fn podpools(policy: &Map<String, Value>, findings: &mut Report) {
    let Some(section) = policy.get("podpools") else { return };
    for (index, item) in items(section, "policy.podpools", "Pools", findings) {
        let built_in = matches!(item.get("Name").and_then(Value::as_str), Some("reserved" | "default"));
        if item.get("CPU").is_none() && !built_in {
            findings.push(|| {
                let path = format!("policy.podpools.Pools[{index}].CPU");
                Finding::new(path, "is missing, allowed: a whole number of CPUs from 1")
            });
        }
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

fn class(
    item: &Value,
    key: &str,
    path: &dyn Fn() -> String,
    classes: Option<&Map<String, Value>>,
    findings: &mut Report,
) {
    let Some(name) = item.get(key).and_then(Value::as_str).filter(|name| !name.is_empty()) else { return };
    if classes.is_some_and(|classes| classes.contains_key(name)) {
        return;
    }
    findings.push(|| {
        let message =
            format!("{} is not a class of cpu.classes, defined: {}", shown(&Value::from(name)), names(classes));
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
