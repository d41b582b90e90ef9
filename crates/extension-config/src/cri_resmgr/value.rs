//! Grammars of single values.

use serde_json::Value;

use super::number::{integer_of_go, number};
use super::pattern;
use crate::limits;

/// Characters of a value in a message.
const SHOWN: usize = 60;

/// A value for an error message, short.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        // Not put into words as a whole: it may be long.
        Value::String(text) => {
            limits::cut(&Value::from(text.chars().take(SHOWN + 1).collect::<String>()).to_string(), SHOWN)
        }
        Value::Array(items) if items.len() > SHOWN => format!("a list of {}", items.len()),
        Value::Object(map) if map.len() > SHOWN => format!("a map of {}", map.len()),
        _ => limits::cut(&value.to_string(), SHOWN),
    }
}

/// A text, or a number where the author left out the quotes.
pub(crate) fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Whether it has the form of a duration, however long.
pub(crate) fn is_duration(text: &str) -> bool {
    sum(text).is_some()
}

/// Nanoseconds of Go's duration: signed, decimal numbers with units. `None` also for what is too long for the daemon (292 years).
pub(crate) fn nanoseconds(text: &str) -> Option<f64> {
    sum(text).filter(|sum| sum.abs() < 9.2e18)
}

fn sum(text: &str) -> Option<f64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0.0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut sum = 0.0;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (digits, unit) = rest.split_at(number);
        if !digits.bytes().any(|byte| byte.is_ascii_digit()) || digits.matches('.').count() > 1 {
            return None;
        }
        // The longer unit first: "ms" is not "m" with an "s" left over.
        let (factor, after) = UNITS.iter().find_map(|(name, factor)| Some((factor, unit.strip_prefix(*name)?)))?;
        sum += digits.parse::<f64>().ok()? * factor;
        rest = after;
    }
    Some(sign * sum)
}

const UNITS: [(&str, f64); 8] =
    [("ns", 1.0), ("us", 1e3), ("µs", 1e3), ("μs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 60e9), ("h", 3600e9)];

pub(crate) fn is_duration_value(value: &Value) -> bool {
    value.as_str().is_some_and(|text| nanoseconds(text).is_some() && !text.starts_with('-'))
}

pub(crate) fn is_tristate(value: &Value) -> bool {
    value.is_boolean() || value.as_str().is_some_and(|text| matches!(text, "true" | "false" | "auto"))
}

/// How many pools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Instances {
    /// So many.
    Count(u64),
    /// As many as fit into so many CPUs.
    Cpus(u64),
    /// As many as fit into this share of the CPUs that are not reserved.
    Percent(u64),
}

/// `N`, `N CPUs`, `N %`; nothing is one.
pub(crate) fn instances(value: &Value) -> Option<Instances> {
    let count = |value: Option<i64>| value.and_then(|number| u64::try_from(number).ok());
    let Value::String(text) = value else { return count(number(value)).map(Instances::Count) };
    if text.is_empty() {
        return Some(Instances::Count(1));
    }
    if let Some(share) = text.strip_suffix('%') {
        return count(integer_of_go(share.trim())).map(Instances::Percent);
    }
    let text = text.to_ascii_lowercase();
    match text.strip_suffix("cpus").or_else(|| text.strip_suffix("cpu")) {
        Some(cpus) => count(integer_of_go(cpus.trim())).map(Instances::Cpus),
        None => count(integer_of_go(&text)).map(Instances::Count),
    }
}

pub(crate) fn is_instances(value: &Value) -> bool {
    instances(value).is_some()
}

pub(crate) fn is_sampling(value: &Value) -> bool {
    plain(value).is_some_and(|text| {
        ["disabled", "production", "testing"].iter().any(|word| word.eq_ignore_ascii_case(&text))
            || text.parse::<f64>().is_ok_and(|share| (0.0..=1.0).contains(&share))
    })
}

pub(crate) fn is_nanoseconds(value: &Value) -> bool {
    value.as_i64().is_some_and(|number| number >= 0)
}

/// Log sources switched on or off: `on:a,b,off:c`, or `a,b`. Empty items are skipped.
pub(crate) fn is_debug(value: &Value) -> bool {
    const STATES: [&str; 10] = ["on", "off", "enable", "disable", "enabled", "disabled", "true", "false", "1", "0"];
    let is_state = |state: &str| state.is_empty() || STATES.iter().any(|known| known.eq_ignore_ascii_case(state));
    value.as_str().is_some_and(|text| {
        text.split(',').all(|item| {
            item.trim().split_once(':').is_none_or(|(state, source)| is_state(state) && !source.contains(':'))
        })
    })
}

/// What to dump: `level:pattern`; a pattern without a level has that of the one before it.
pub(crate) fn is_dump(value: &Value) -> bool {
    const LEVELS: [&str; 6] = ["off", "suppress", "name", "short", "full", "verbose"];
    value.as_str().is_some_and(|text| {
        text.split(',').all(|item| {
            let (level, method) = item.split_once(':').unwrap_or((LEVELS[0], item));
            LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level)) && !pattern::is_surely_wrong(method)
        })
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Instances, instances, is_debug, is_dump};

    #[test]
    fn static_pool_instances_are_parsed_as_the_daemon_does() {
        for (value, expected) in [
            (json!(""), Some(Instances::Count(1))),
            (json!(3), Some(Instances::Count(3))),
            (json!("0x3"), Some(Instances::Count(3))),
            (json!("50 %"), Some(Instances::Percent(50))),
            (json!("4 CPUs"), Some(Instances::Cpus(4))),
            (json!("4cpu"), Some(Instances::Cpus(4))),
            (json!(" 3"), None),
            (json!("-1"), None),
            (json!("CPUs"), None),
            (json!(1.5), None),
            (json!(true), None),
        ] {
            assert_eq!(instances(&value), expected, "{value}");
        }
    }

    #[test]
    fn debug_and_dump_values_are_parsed_as_the_daemon_does() {
        for (text, debug, dump) in [
            ("", true, true),
            ("policy,cache,", true, true),
            (" on:a , b, OFF:c", true, false),
            ("enabled:policy,disabled:cache", true, false),
            ("on:", true, false),
            ("maybe:policy", false, false),
            ("on :a", false, false),
            ("on:a:b", false, false),
            ("full:.*Create.*,.*Start.*", false, true),
            ("Verbose:.*,name:RunPodSandbox,suppress:a:b", false, true),
            ("loud:.*", false, false),
            ("full:*Create*", false, false),
        ] {
            assert_eq!((is_debug(&json!(text)), is_dump(&json!(text))), (debug, dump), "{text:?}");
        }
    }
}
