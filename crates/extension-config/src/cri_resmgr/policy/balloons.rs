//! Balloons: limits that contradict each other, and more CPUs at the start than there are.

use serde_json::{Map, Value};

use super::{Cpus, Reports, class, items};
use crate::cri_resmgr::report::Finding;

/// `cpus`: where this is the active policy.
pub(super) fn check(
    policy: &Map<String, Value>,
    cpus: Option<Cpus>,
    classes: Option<&Map<String, Value>>,
    reports: &mut Reports<'_>,
) {
    let Some(section) = policy.get("balloons") else { return };
    class(section, "IdleCPUClass", &|| "policy.balloons".to_owned(), classes, reports.warnings);
    let free = cpus.and_then(|cpus| cpus.free);
    let mut at_the_start = 0_u64;
    for (index, item) in items(section, "policy.balloons", "BalloonTypes", reports.findings) {
        let path = || format!("policy.balloons.BalloonTypes[{index}]");
        let name = item.get("Name").and_then(Value::as_str);
        class(item, "CpuClass", &path, classes, reports.warnings);
        for (low, high) in [("MinCPUs", "MaxCPUs"), ("MinBalloons", "MaxBalloons")] {
            // 0 as maximum means that there is none.
            if number(item, high) != 0 && number(item, low) > number(item, high) {
                reports.findings.push(|| {
                    let message = format!("must not be more than {high} ({})", number(item, high));
                    Finding::new(format!("{}.{low}", path()), message)
                });
            }
        }
        let forbidden: &[&str] = match name {
            Some("reserved") => &["MinCPUs", "MaxCPUs", "MinBalloons"],
            Some("default") => &["MinBalloons"],
            _ => &[],
        };
        for key in forbidden {
            if number(item, key) != 0 {
                reports.findings.push(|| {
                    Finding::new(format!("{}.{key}", path()), "must not be set for this built-in balloon type")
                });
            }
        }
        let of_one = number(item, "MinCPUs");
        let balloons = match name {
            Some("reserved") => 0,
            Some("default") => 1,
            _ => number(item, "MinBalloons"),
        };
        at_the_start = at_the_start.saturating_add(of_one.saturating_mul(balloons));
        if let Some(free) = free.filter(|free| balloons == 0 && of_one > *free) {
            reports.warnings.push(|| {
                let message = format!(
                    "no balloon of this type can be made: {of_one} CPUs are more than the available ones that are not reserved, which are {free}"
                );
                Finding::new(format!("{}.MinCPUs", path()), message)
            });
        }
    }
    if let Some(free) = free.filter(|free| at_the_start > *free) {
        reports.findings.push(|| {
            let message = format!(
                "the first balloons (MinBalloons times MinCPUs of each type) need {at_the_start} CPUs, allowed: the available ones that are not reserved, which are {free}"
            );
            Finding::new("policy.balloons.BalloonTypes", message)
        });
    }
}

/// What is no number was reported by the schema.
fn number(item: &Value, key: &str) -> u64 {
    item.get(key).and_then(Value::as_u64).unwrap_or(0)
}
