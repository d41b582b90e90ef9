//! Allocations of cache and memory bandwidth.

mod partitions;

use serde_json::{Map, Value};

use super::cpus;
use super::report::{Report, Steps, TooComplex};
use crate::limits;

pub(crate) const CACHE_ALLOCATION: &str = "a share such as \"60%\", \"20-60%\", \"4-7\" or \"0xf0\" (one block of ways), or a map from cache ids (all, 0-1, below 128) to a share or to unified, code, data";
pub(crate) const BANDWIDTH_ALLOCATION: &str =
    "a list such as [\"50%\", \"5000MBps\"], or a map from cache ids (all, 0-1, below 128) to such lists";

/// What a share of a cache is for; the daemon compares these keys without regard to case.
const KINDS: [&str; 3] = ["unified", "code", "data"];
/// The first cache id that the daemon does not read.
const CACHE_IDS: u32 = 128;

/// A share of a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Share {
    /// So many percent of it.
    Percent(u64),
    /// From here to there, in percent.
    Range,
    /// These ways.
    Ways(u64),
}

/// Checks what the partitions of a document, in which each value by itself is right, say together.
pub(crate) fn check(tree: &Map<String, Value>, findings: &mut Report, steps: &mut Steps) -> Result<(), TooComplex> {
    let partitions = tree.get("rdt").and_then(|rdt| rdt.get("partitions")).and_then(Value::as_object);
    partitions.map_or(Ok(()), |all| partitions::check(all, findings, steps))
}

pub(crate) fn is_cache_allocation(value: &Value) -> bool {
    let is_share = |value: &Value| value.as_str().and_then(share).is_some();
    match value {
        Value::Object(map) => map.iter().all(|(ids, value)| {
            are_ids(ids)
                && match value {
                    Value::Object(kinds) => {
                        let known = KINDS.map(|kind| of_kind(kinds, kind));
                        known[0].is_some()
                            && known[1].is_some() == known[2].is_some()
                            && known.iter().flatten().count() == kinds.len()
                            && kinds.values().all(is_share)
                    }
                    _ => is_share(value),
                }
        }),
        _ => is_share(value),
    }
}

pub(crate) fn is_bandwidth_allocation(value: &Value) -> bool {
    let is_list = |value: &Value| {
        value
            .as_array()
            .is_some_and(|items| !items.is_empty() && items.iter().all(|i| i.as_str().is_some_and(is_bandwidth)))
    };
    match value {
        Value::Object(map) => map.iter().all(|(ids, value)| are_ids(ids) && is_list(value)),
        _ => is_list(value),
    }
}

fn of_kind<'a>(kinds: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    kinds.iter().find(|(kind, _)| kind.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

fn are_ids(text: &str) -> bool {
    // They are keys.
    text == "all" || text.len() <= limits::NAME_BYTES && numbers(text, CACHE_IDS).is_some()
}

/// A list of numbers below a limit, in which a range has more than one.
fn numbers(text: &str, end: u32) -> Option<cpus::CpuSet> {
    let is_range = |part: &str| part.split_once('-').is_none_or(|(low, high)| low != high);
    cpus::cpuset(text).filter(|set| !set.is_empty() && set.end() <= end && text.split(',').all(is_range))
}

/// A percentage, a range of percentages, a mask of cache ways, or a list of ways.
fn share(text: &str) -> Option<Share> {
    if let Some(share) = text.strip_suffix('%') {
        let percent = |text: &str| text.parse::<u8>().ok().filter(|percent| *percent <= 100);
        let Some((low, high)) = share.split_once('-') else {
            return percent(share).map(|percent| Share::Percent(percent.into()));
        };
        return (percent(low)? <= percent(high)?).then_some(Share::Range);
    }
    let ways = match text.strip_prefix("0x") {
        Some(mask) => u64::from_str_radix(mask, 16).ok()?,
        None => numbers(text, u64::BITS)?.mask(),
    };
    let width = u64::BITS.saturating_sub(ways.leading_zeros() + ways.trailing_zeros());
    (ways != 0 && ways.count_ones() == width).then_some(Share::Ways(ways))
}

fn is_bandwidth(text: &str) -> bool {
    text.strip_suffix('%').map_or_else(
        || text.strip_suffix("MBps").is_some_and(|number| number.parse::<u32>().is_ok()),
        |number| number.parse::<u8>().is_ok_and(|percent| percent <= 100),
    )
}

#[cfg(test)]
mod tests {
    use super::{Share, are_ids, share};

    #[test]
    fn rdt_shares_are_parsed_as_the_daemon_does() {
        for (text, expected) in [
            ("60%", Some(Share::Percent(60))),
            ("0%", Some(Share::Percent(0))),
            ("20-60%", Some(Share::Range)),
            ("60-20%", None),
            ("101%", None),
            ("%", None),
            ("0xff0", Some(Share::Ways(0xff0))),
            ("0xffffffffffffffff", Some(Share::Ways(u64::MAX))),
            ("0xf0f", None),
            ("0x0", None),
            ("0x", None),
            ("4-7", Some(Share::Ways(0xf0))),
            ("0,1,2-63", Some(Share::Ways(u64::MAX))),
            ("0,2", None),
            ("3-3", None),
            ("64", None),
            ("", None),
        ] {
            assert_eq!(share(text), expected, "{text:?}");
        }
        for (text, expected) in
            [("all", true), ("0", true), ("0-127", true), ("128", false), ("1-1", false), ("", false)]
        {
            assert_eq!(are_ids(text), expected, "{text:?}");
        }
    }
}
