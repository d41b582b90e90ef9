//! Grammars of single values.

use serde_json::Value;

/// A value for an error message, short.
pub(crate) fn shown(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 60 { text } else { format!("{}…", text.chars().take(60).collect::<String>()) }
}

/// A text, or a number where the author left out the quotes.
pub(crate) fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Go's duration: signed, decimal numbers with units.
pub(crate) fn is_duration(text: &str) -> bool {
    let mut rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    if rest == "0" {
        return true;
    }
    if rest.is_empty() {
        return false;
    }
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (digits, unit) = rest.split_at(number);
        if !digits.bytes().any(|byte| byte.is_ascii_digit()) || digits.matches('.').count() > 1 {
            return false;
        }
        // The longer unit first: "ms" is not "m" with an "s" left over.
        let Some(after) = ["ns", "us", "µs", "μs", "ms", "s", "m", "h"].iter().find_map(|u| unit.strip_prefix(u))
        else {
            return false;
        };
        rest = after;
    }
    true
}

pub(crate) fn is_duration_value(value: &Value) -> bool {
    value.as_str().is_some_and(|text| is_duration(text) && !text.starts_with('-'))
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
