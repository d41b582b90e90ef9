//! CPU sets, quantities and the daemon's constraints on CPUs.

use std::fmt;

use serde_json::Value;

use super::quantity;
use super::value::plain;
use crate::limits;

pub(crate) const CONSTRAINT_SET: &str =
    "a map with the one key CPU: a list of CPUs (cpuset:0-3), a number of CPUs (750m, 2) or a cgroup (cgroup:PATH)";

/// How a policy's CPUs are given.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Constraint {
    /// By number.
    Cpuset(CpuSet),
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
    quantity::milli(value).map(Constraint::Quantity)
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

/// CPUs by number: ranges in ascending order that do not touch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CpuSet(Vec<(u32, u32)>);

impl CpuSet {
    /// Reads a list as the kernel writes it (`0-3,8`); `None` for anything else, an empty list, and more CPUs than any machine has.
    #[must_use]
    pub fn of_kernel(text: &str) -> Option<Self> {
        cpuset(text.trim()).filter(|set| !set.is_empty())
    }

    fn of(mut ranges: Vec<(u32, u32)>) -> Self {
        ranges.sort_unstable();
        let mut merged: Vec<(u32, u32)> = Vec::new();
        for (low, high) in ranges {
            match merged.last_mut() {
                Some((_, end)) if low <= *end + 1 => *end = high.max(*end),
                _ => merged.push((low, high)),
            }
        }
        Self(merged)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many CPUs.
    pub(crate) fn len(&self) -> u64 {
        self.0.iter().map(|(low, high)| u64::from(high - low) + 1).sum()
    }

    /// The first number above all of them.
    pub(crate) fn end(&self) -> u32 {
        self.0.last().map_or(0, |(_, high)| high + 1)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> {
        self.0.iter().flat_map(|(low, high)| *low..=*high)
    }

    /// As a mask, of those below 64.
    pub(crate) fn mask(&self) -> u64 {
        self.iter().take_while(|number| *number < u64::BITS).fold(0, |mask, number| mask | 1 << number)
    }

    /// Those that the other set does not have.
    pub(crate) fn without(&self, other: &Self) -> Self {
        let mut left = Vec::new();
        let mut others = other.0.iter().peekable();
        for &(mut low, high) in &self.0 {
            while low <= high {
                // Whatever ends below is of no use for any later range either.
                while others.next_if(|(_, end)| *end < low).is_some() {}
                match others.peek() {
                    Some((start, end)) if *start <= low => low = end + 1,
                    Some((start, _)) if *start <= high => {
                        left.push((low, start - 1));
                        low = *start;
                    }
                    _ => {
                        left.push((low, high));
                        break;
                    }
                }
            }
        }
        Self(left)
    }
}

impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (low, high)) in self.0.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            if low == high { write!(f, "{comma}{low}")? } else { write!(f, "{comma}{low}-{high}")? }
        }
        Ok(())
    }
}

/// A Linux CPU list; the empty text is the empty set.
pub(crate) fn cpuset(text: &str) -> Option<CpuSet> {
    let number = |text: &str| -> Option<u32> {
        (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| text.parse().ok())?
            .filter(|cpu| *cpu < limits::CPUS)
    };
    let mut ranges = Vec::new();
    for part in text.split(',').filter(|_| !text.is_empty()) {
        let (low, high) = match part.split_once('-') {
            Some((low, high)) => (number(low)?, number(high)?),
            None => (number(part)?, number(part)?),
        };
        if low > high || ranges.len() == limits::CPU_RANGES {
            return None;
        }
        ranges.push((low, high));
    }
    Some(CpuSet::of(ranges))
}

pub(crate) fn is_cpuset_value(value: &Value) -> bool {
    plain(value).and_then(|text| cpuset(&text)).is_some_and(|set| !set.is_empty())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::{CpuSet, cpuset};

    fn numbers(set: &CpuSet) -> BTreeSet<u32> {
        set.0.iter().flat_map(|(low, high)| *low..=*high).collect()
    }

    #[test]
    fn cpu_lists_are_merged_into_ranges() {
        for (text, merged) in [("", ""), ("3,1,2", "1-3"), ("0-8191,0-8191,5", "0-8191"), ("7,0-1,3", "0-1,3,7")] {
            assert_eq!(cpuset(text).map(|set| set.to_string()).as_deref(), Some(merged), "{text}");
        }
        for text in ["8192", "2-1", "1,", ",", "-1", "1-", "a", &"0,".repeat(4096), "99999999999"] {
            assert_eq!(cpuset(text), None, "{text}");
        }
    }

    #[test]
    fn cpu_lists_beyond_the_limit_are_refused() {
        let ranges = |count: u32| (0..count).map(|range| (2 * range).to_string()).collect::<Vec<_>>().join(",");
        assert_eq!(cpuset(&ranges(4096)).map(|set| set.len()), Some(4096), "as many as there can be");
        assert_eq!(cpuset(&format!("{},0", ranges(4096))), None);
    }

    proptest! {
        #[test]
        fn cpu_ranges_agree_with_sets_of_numbers(
            one in proptest::collection::vec((0..40_u32, 0..6_u32), 0..8),
            other in proptest::collection::vec((0..40_u32, 0..6_u32), 0..8),
        ) {
            let set = |ranges: Vec<(u32, u32)>| CpuSet::of(ranges.into_iter().map(|(low, more)| (low, low + more)).collect());
            let (one, other) = (set(one), set(other));
            let left: BTreeSet<u32> = numbers(&one).difference(&numbers(&other)).copied().collect();
            prop_assert_eq!(one.len(), numbers(&one).len() as u64);
            prop_assert_eq!(cpuset(&one.to_string()), Some(one.clone()));
            prop_assert_eq!(numbers(&one.without(&other)), left);
        }
    }
}
