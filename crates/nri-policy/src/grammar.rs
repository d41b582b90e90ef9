//! Grammars of single texts, as the binaries of nri-plugins v0.14.0 read them.

use std::net::SocketAddr;

/// A pattern of Go's path.Match: `*`, `?`, `[a-z]`, `[^a-z]` and `\`. Of one that is none the binaries take no notice, or do not start.
pub(crate) fn is_glob(text: &str) -> bool {
    let mut rest: Vec<char> = text.chars().rev().collect();
    while let Some(c) = rest.pop() {
        let is_right = match c {
            '\\' => rest.pop().is_some(),
            '[' => class(&mut rest).is_some(),
            _ => true,
        };
        if !is_right {
            return false;
        }
    }
    !text.is_empty()
}

/// What a class takes: whether it is turned round, and its ranges. The characters stand in reverse order.
fn class(rest: &mut Vec<char>) -> Option<(bool, Vec<(char, char)>)> {
    let is_negated = rest.pop_if(|c| *c == '^').is_some();
    let mut ranges = Vec::new();
    loop {
        if !ranges.is_empty() && rest.pop_if(|c| *c == ']').is_some() {
            return Some((is_negated, ranges));
        }
        let low = class_end(rest)?;
        let high = if rest.pop_if(|c| *c == '-').is_some() { class_end(rest)? } else { low };
        ranges.push((low, high));
    }
}

fn class_end(rest: &mut Vec<char>) -> Option<char> {
    match rest.pop()? {
        '-' | ']' => None,
        '\\' => rest.pop(),
        c => Some(c),
    }
}

/// Whether a pattern takes a text that has no `/`. One that is none takes nothing.
pub(crate) fn matches_glob(pattern: &str, text: &str) -> bool {
    enum Part {
        Star,
        One(bool, Vec<(char, char)>),
    }
    let mut parts = Vec::new();
    let mut rest: Vec<char> = pattern.chars().rev().collect();
    while let Some(c) = rest.pop() {
        let part = match c {
            '*' => Some(Part::Star),
            '?' => Some(Part::One(true, Vec::new())),
            '[' => class(&mut rest).map(|(is_negated, ranges)| Part::One(is_negated, ranges)),
            '\\' => rest.pop().map(|c| Part::One(false, vec![(c, c)])),
            c => Some(Part::One(false, vec![(c, c)])),
        };
        match part {
            Some(part) => parts.push(part),
            None => return false,
        }
    }
    let text: Vec<char> = text.chars().collect();
    let (mut part, mut at) = (0, 0);
    // Where the last star stood, and up to where it takes: one step back is enough.
    let mut back: Option<(usize, usize)> = None;
    while at < text.len() {
        let takes = match parts.get(part) {
            Some(Part::Star) => {
                back = Some((part, at));
                part += 1;
                continue;
            }
            Some(Part::One(is_negated, ranges)) => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&text[at])) != *is_negated
            }
            None => false,
        };
        if takes {
            (part, at) = (part + 1, at + 1);
        } else if let Some((star, from)) = back {
            back = Some((star, from + 1));
            (part, at) = (star + 1, from + 1);
        } else {
            return false;
        }
    }
    parts[part..].iter().all(|part| matches!(part, Part::Star))
}

/// A frequency.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Frequency {
    /// None given.
    Unset,
    /// One that only the node knows: `min`, `base`, `turbo`.
    OfNode,
    /// In kHz.
    Khz(f64),
}

/// Reads a frequency (pkg/apis/config/v1alpha1/resmgr/policy/frequency.go); a plain number is in kHz.
pub(crate) fn frequency(text: &str) -> Option<Frequency> {
    let text = text.trim().to_ascii_lowercase();
    match text.as_str() {
        "" => return Some(Frequency::Unset),
        "min" | "base" | "turbo" => return Some(Frequency::OfNode),
        _ => {}
    }
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let factor = match unit.trim_start() {
        "ghz" | "g" => 1e6,
        "mhz" | "m" => 1e3,
        "khz" | "k" | "" => 1.0,
        _ => return None,
    };
    if digits.ends_with('.') {
        return None;
    }
    let khz = digits.parse::<f64>().ok()? * factor;
    // What is above zero and rounds to none is refused by the binary; what does not fit into 32 bits is no frequency.
    (khz == 0.0 || (0.5..=f64::from(u32::MAX)).contains(&khz)).then_some(Frequency::Khz(khz))
}

pub(crate) fn is_frequency(text: &str) -> bool {
    frequency(text).is_some()
}

/// A duration of Go that is not negative: decimal numbers with units.
pub(crate) fn is_duration(text: &str) -> bool {
    const UNITS: [(&str, f64); 8] =
        [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("μs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    if text == "0" {
        return true;
    }
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (digits, after) = rest.split_at(end);
        let Ok(number) = digits.parse::<f64>() else { return false };
        // The longer unit first: "ms" is not "m" with an "s" left over.
        let unit = UNITS.iter().find_map(|(name, factor)| Some((factor, after.strip_prefix(*name)?)));
        let Some((factor, after)) = unit else { return false };
        seconds += number * factor;
        rest = after;
    }
    // Go counts nanoseconds in 63 bits.
    !text.is_empty() && seconds < 9.2e9
}

/// Where the plugin may serve what it knows of all pods, without authentication. Nothing means that it does not.
pub(crate) fn is_loopback_endpoint(text: &str) -> bool {
    text.is_empty() || text.parse::<SocketAddr>().is_ok_and(|address| address.ip().is_loopback() && address.port() != 0)
}

fn number(text: &str) -> Option<u64> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

/// A share of a cache: percent, a range of percent, bits, or a mask; bits and masks without holes.
pub(crate) fn is_cache_share(text: &str) -> bool {
    let percent = |text: &str| number(text).filter(|percent| (1..=100).contains(percent));
    if let Some(share) = text.strip_suffix('%') {
        return match share.split_once('-') {
            Some((low, high)) => number(low).zip(percent(high)).is_some_and(|(low, high)| low < high),
            None => percent(share).is_some(),
        };
    }
    let mask = match text.strip_prefix("0x") {
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_hexdigit()) => u64::from_str_radix(digits, 16).ok(),
        Some(_) => None,
        None => text.split(',').try_fold(0, |mask, part| {
            let (low, high) = part.split_once('-').unwrap_or((part, part));
            let (low, high) = (number(low)?, number(high).filter(|high| *high < 64)?);
            (low <= high).then(|| (low..=high).fold(mask, |mask, bit| mask | 1_u64 << bit))
        }),
    };
    mask.is_some_and(|mask: u64| mask != 0 && (mask >> mask.trailing_zeros()).trailing_ones() == mask.count_ones())
}

/// A share of the memory's bandwidth.
pub(crate) fn is_bandwidth(text: &str) -> bool {
    text.strip_suffix('%').and_then(number).is_some_and(|percent| (1..=100).contains(&percent))
        || text.strip_suffix("MBps").and_then(number).is_some_and(|megabytes| megabytes > 0)
}

/// Log sources, each with `:on` or `:off`; without, it is switched on.
pub(crate) fn is_debug(text: &str) -> bool {
    text.split(',')
        .map(str::trim)
        .all(|item| item.split_once(':').is_none_or(|(_, state)| matches!(state, "on" | "off")))
}

/// klog's severities.
pub(crate) fn is_severity(text: &str) -> bool {
    ["INFO", "WARNING", "ERROR", "FATAL"].iter().any(|name| name.eq_ignore_ascii_case(text))
        || number(text).is_some_and(|severity| severity <= 3)
}

/// klog's place in the source: `FILE.go:LINE`.
pub(crate) fn is_backtrace(text: &str) -> bool {
    let is_line = |line: &str| number(line).is_some_and(|line| line > 0 && i32::try_from(line).is_ok());
    text.is_empty() || text.split_once(':').is_some_and(|(file, line)| file.contains('.') && is_line(line))
}

/// klog's levels by file: `PATTERN=LEVEL`, separated by commas.
pub(crate) fn is_vmodule(text: &str) -> bool {
    let is_level = |level: &str| number(level).is_some_and(|level| i32::try_from(level).is_ok());
    text.split(',')
        .filter(|item| !item.is_empty())
        .all(|item| item.split_once('=').is_some_and(|(pattern, level)| !pattern.is_empty() && is_level(level)))
}

#[cfg(test)]
mod tests;
