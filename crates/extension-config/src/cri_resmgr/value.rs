//! Grammars of single values.

use serde_json::Value;

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

/// How many pools: empty (one), `N`, `N CPUs`, `N %`.
pub(crate) fn is_instances(value: &Value) -> bool {
    plain(value).is_some_and(|text| {
        let text = text.trim();
        let number = text.strip_suffix("CPUs").or_else(|| text.strip_suffix('%')).map_or(text, str::trim_end);
        text.is_empty() || number.parse::<u32>().is_ok()
    })
}

pub(crate) fn is_weight(value: &Value) -> bool {
    plain(value).and_then(|text| text.parse::<u16>().ok()).is_some_and(|weight| (10..=1000).contains(&weight))
}

pub(crate) fn is_sampling(value: &Value) -> bool {
    plain(value).is_some_and(|text| {
        matches!(text.as_str(), "disabled" | "production" | "testing")
            || text.parse::<f64>().is_ok_and(|share| (0.0..=1.0).contains(&share))
    })
}

pub(crate) fn is_nanoseconds(value: &Value) -> bool {
    value.as_i64().is_some_and(|number| number >= 0)
}

/// Log sources switched on or off: `on:a,b,off:c`, or `a,b`.
pub(crate) fn is_debug(value: &Value) -> bool {
    value.as_str().is_some_and(|text| {
        text.split(',').all(|item| {
            let source = item.trim();
            let source = match source.split_once(':') {
                Some(("on" | "off" | "enable" | "disable", source)) => source,
                Some(_) => return false,
                None => source,
            };
            source.is_empty() && text.is_empty()
                || !source.is_empty() && source.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_*.".contains(&b))
        })
    })
}

/// What to dump: `level:pattern` with level off, short or full; and the word `debug`.
pub(crate) fn is_dump(value: &Value) -> bool {
    value.as_str().is_some_and(|text| {
        text.is_empty()
            || text.split(',').all(|item| {
                item == "debug"
                    || item.split_once(':').is_some_and(|(level, pattern)| {
                        matches!(level, "off" | "short" | "full") && !pattern.is_empty()
                    })
            })
    })
}
