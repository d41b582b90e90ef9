//! CPU sets, quantities and the daemon's constraints on CPUs.

use std::collections::BTreeSet;

use serde_json::Value;

use super::value::plain;

pub(crate) const CONSTRAINT_SET: &str =
    "a map with the one key CPU: a list of CPUs (cpuset:0-3), a number of CPUs (750m, 2) or a cgroup (cgroup:PATH)";

/// Larger than any machine; keeps a typing mistake from becoming a set of billions.
const MOST_CPUS: u32 = 8192;

/// How a policy's CPUs are given.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Constraint {
    /// By number.
    Cpuset(BTreeSet<u32>),
    /// By how many, in thousandths of a CPU.
    Quantity(u64),
    /// Whatever a cgroup has on the node.
    Cgroup,
}

/// Reads a constraint as the daemon does: the form decides, so `"15"` is fifteen CPUs and `cpuset:15` is the CPU number 15.
pub(crate) fn constraint(value: &Value) -> Option<Constraint> {
    let text = plain(value)?;
    if let Some(list) = text.strip_prefix("cpuset:") {
        return cpuset(list).filter(|set| !set.is_empty()).map(Constraint::Cpuset);
    }
    if text.strip_prefix("cgroup:").is_some_and(|path| !path.is_empty()) || text.starts_with('/') {
        return Some(Constraint::Cgroup);
    }
    if text.contains(['-', ',']) {
        return cpuset(&text).filter(|set| !set.is_empty()).map(Constraint::Cpuset);
    }
    quantity_milli(&text).map(Constraint::Quantity)
}

/// The constraint in a policy's `AvailableResources` or `ReservedResources`.
pub(crate) fn of_resources(value: Option<&Value>) -> Option<Constraint> {
    constraint(value?.as_object()?.iter().find(|(domain, _)| domain.eq_ignore_ascii_case("cpu"))?.1)
}

pub(crate) fn is_constraint_set(value: &Value) -> bool {
    value.as_object().is_some_and(|map| {
        map.len() <= 1
            && map.iter().all(|(domain, value)| domain.eq_ignore_ascii_case("cpu") && constraint(value).is_some())
    })
}

/// A Linux CPU list; the empty text is the empty set.
pub(crate) fn cpuset(text: &str) -> Option<BTreeSet<u32>> {
    let number = |text: &str| -> Option<u32> {
        (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| text.parse().ok())?
            .filter(|cpu| *cpu < MOST_CPUS)
    };
    let mut cpus = BTreeSet::new();
    for part in text.split(',').filter(|_| !text.is_empty()) {
        let (low, high) = match part.split_once('-') {
            Some((low, high)) => (number(low)?, number(high)?),
            None => (number(part)?, number(part)?),
        };
        if low > high {
            return None;
        }
        cpus.extend(low..=high);
    }
    Some(cpus)
}

pub(crate) fn is_cpuset_value(value: &Value) -> bool {
    plain(value).and_then(|text| cpuset(&text)).is_some_and(|set| !set.is_empty())
}

/// Whole CPUs, at least one.
pub(crate) fn is_whole(value: &Value) -> bool {
    plain(value).and_then(|text| quantity_milli(&text)).is_some_and(|milli| milli > 0 && milli % 1000 == 0)
}

pub(crate) fn is_quantity_value(value: &Value) -> bool {
    plain(value).and_then(|text| quantity_milli(&text)).is_some()
}

/// A Kubernetes quantity that is not negative, in thousandths, rounded up.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "finite, not negative and far below 2^64 by the test"
)]
fn quantity_milli(text: &str) -> Option<u64> {
    let text = text.strip_prefix('+').unwrap_or(text);
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (digits, suffix) = text.split_at(end);
    if !digits.bytes().any(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: f64 = digits.parse().ok()?;
    let factor = match suffix {
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "" => 1.0,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1024.0 * 1024.0,
        "Gi" => 1024.0 * 1024.0 * 1024.0,
        _ => 10f64.powi(suffix.strip_prefix(['e', 'E'])?.parse().ok().filter(|power| (-9..=18).contains(power))?),
    };
    let milli = (number * factor * 1000.0).ceil();
    (milli.is_finite() && milli < 1e15).then_some(milli as u64)
}
