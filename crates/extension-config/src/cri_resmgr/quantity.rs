//! Quantities as Kubernetes writes them.

use serde_json::Value;

use super::value::plain;

/// The most that one may be, rounded up: what fits into 64 bits.
const MOST: f64 = 9.2e18;
/// Units, those with two letters first: `Mi` is not `M` with an `i` left over.
const UNITS: [(&str, f64); 16] = [
    ("Ki", 1024.0),
    ("Mi", 1_048_576.0),
    ("Gi", 1_073_741_824.0),
    ("Ti", 1_099_511_627_776.0),
    ("Pi", 1_125_899_906_842_624.0),
    ("Ei", 1_152_921_504_606_846_976.0),
    ("n", 1e-9),
    ("u", 1e-6),
    ("m", 1e-3),
    ("k", 1e3),
    ("M", 1e6),
    ("G", 1e9),
    ("T", 1e12),
    ("P", 1e15),
    ("E", 1e18),
    ("", 1.0),
];

/// A quantity that is not negative.
fn quantity(text: &str) -> Option<f64> {
    let text = text.strip_prefix('+').unwrap_or(text);
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    if !digits.bytes().any(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: f64 = digits.parse().ok()?;
    let factor = match UNITS.iter().find(|(name, _)| *name == unit) {
        Some((_, factor)) => *factor,
        None => 10f64.powi(unit.strip_prefix(['e', 'E'])?.parse().ok().filter(|power| (-9..=18).contains(power))?),
    };
    Some(number * factor).filter(|quantity| *quantity < MOST)
}

/// CPUs in thousandths. The daemon rounds a text up, and cuts a number off.
pub(crate) fn milli(value: &Value) -> Option<u64> {
    let milli = match value {
        Value::Number(number) => (number.as_f64()? * 1000.0).floor(),
        _ => (quantity(value.as_str()?)? * 1000.0).ceil(),
    };
    // Far beyond any machine, and far below where a float does not tell two numbers apart.
    (0.0..1e15).contains(&milli).then(|| whole(milli))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "not negative and far below 2^64 by the test before it"
)]
fn whole(number: f64) -> u64 {
    number as u64
}

/// Bytes or operations in a second; nothing means no limit.
pub(crate) fn is_quantity(value: &Value) -> bool {
    plain(value).is_some_and(|text| text.is_empty() || quantity(&text).is_some())
}

/// A weight of block devices.
pub(crate) fn is_weight(value: &Value) -> bool {
    plain(value).is_some_and(|text| {
        text.is_empty() || quantity(&text).is_some_and(|weight| (10.0..=1000.0).contains(&weight.ceil()))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{is_quantity, is_weight, milli};

    #[test]
    fn cpus() {
        for (value, expected) in [
            (json!("750m"), Some(750)),
            (json!("0.0001"), Some(1)),
            (json!(0.0001), Some(0)),
            (json!(0), Some(0)),
            (json!("0m"), Some(0)),
            (json!(1.0005), Some(1000)),
            (json!("1.0005"), Some(1001)),
            (json!("+2"), Some(2000)),
            (json!("1e2"), Some(100_000)),
            (json!("1k"), Some(1_000_000)),
            (json!(-1), None),
            (json!("1Ei"), None),
            (json!("."), None),
            (json!("1.2.3"), None),
            (json!("1x"), None),
            (json!(true), None),
        ] {
            assert_eq!(milli(&value), expected, "{value}");
        }
    }

    #[test]
    fn bytes_and_weights() {
        for text in ["", "0", "50M", "1Ti", "7Ei", "9E", "10k", "1.5G"] {
            assert!(is_quantity(&json!(text)), "{text}");
        }
        for text in ["-1", "8Ei", "10E", "M", "1 M", "1ti", "1e19"] {
            assert!(!is_quantity(&json!(text)), "{text}");
        }
        for (weight, expected) in [
            (json!("10"), true),
            (json!(1000), true),
            (json!("0.1k"), true),
            (json!("9"), false),
            (json!("1001"), false),
        ] {
            assert_eq!(is_weight(&weight), expected, "{weight}");
        }
    }
}
