//! Allocations of cache and memory bandwidth.

use serde_json::Value;

use super::cpus;
use crate::limits;

pub(crate) const CACHE_ALLOCATION: &str = "a share such as \"60%\", \"20-60%\" or \"0xf0\", or a map from cache ids (all, 0-1) to a share or to unified, code, data";
pub(crate) const BANDWIDTH_ALLOCATION: &str =
    "a list such as [\"50%\", \"5000MBps\"], or a map from cache ids (all, 0-1) to such lists";

pub(crate) fn is_cache_allocation(value: &Value) -> bool {
    match value {
        Value::String(share) => is_share(share),
        Value::Object(map) => map.iter().all(|(ids, value)| {
            are_ids(ids)
                && match value {
                    Value::String(share) => is_share(share),
                    Value::Object(kinds) => {
                        kinds.contains_key("unified")
                            && kinds.contains_key("code") == kinds.contains_key("data")
                            && kinds.iter().all(|(kind, share)| {
                                matches!(kind.as_str(), "unified" | "code" | "data")
                                    && share.as_str().is_some_and(is_share)
                            })
                    }
                    _ => false,
                }
        }),
        _ => false,
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

fn are_ids(text: &str) -> bool {
    // They are keys.
    text == "all" || text.len() <= limits::NAME_BYTES && cpus::cpuset(text).is_some_and(|ids| !ids.is_empty())
}

/// A percentage, a range of percentages, a mask of cache ways, or a list of ways.
fn is_share(text: &str) -> bool {
    if let Some(share) = text.strip_suffix('%') {
        let percent = |text: &str| text.parse::<u8>().ok().filter(|percent| *percent <= 100);
        return match share.split_once('-') {
            Some((low, high)) => matches!((percent(low), percent(high)), (Some(low), Some(high)) if low <= high),
            None => percent(share).is_some(),
        };
    }
    if let Some(mask) = text.strip_prefix("0x") {
        return u64::from_str_radix(mask, 16).is_ok_and(|mask| mask != 0);
    }
    cpus::cpuset(text).is_some_and(|ways| !ways.is_empty())
}

fn is_bandwidth(text: &str) -> bool {
    text.strip_suffix('%').map_or_else(
        || text.strip_suffix("MBps").is_some_and(|number| number.parse::<u32>().is_ok()),
        |number| number.parse::<u8>().is_ok_and(|percent| percent <= 100),
    )
}
