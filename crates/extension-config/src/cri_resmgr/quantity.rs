//! Quantities as Kubernetes writes them.

use serde_json::Value;

use super::value::plain;

/// Longest number that is read, in digits without leading zeros: with each unit, it and its thousandths fit into 128 bits.
const MOST_DIGITS: usize = 17;
/// Units as fractions, those with two letters first: `Mi` is not `M` with an `i` left over.
const UNITS: [(&str, (u128, u128)); 16] = [
    ("Ki", (1 << 10, 1)),
    ("Mi", (1 << 20, 1)),
    ("Gi", (1 << 30, 1)),
    ("Ti", (1 << 40, 1)),
    ("Pi", (1 << 50, 1)),
    ("Ei", (1 << 60, 1)),
    ("n", (1, 1_000_000_000)),
    ("u", (1, 1_000_000)),
    ("m", (1, 1000)),
    ("k", (1000, 1)),
    ("M", (1_000_000, 1)),
    ("G", (1_000_000_000, 1)),
    ("T", (1_000_000_000_000, 1)),
    ("P", (1_000_000_000_000_000, 1)),
    ("E", (1_000_000_000_000_000_000, 1)),
    ("", (1, 1)),
];

/// A quantity that is not negative, exactly.
#[derive(Debug, Clone, Copy)]
struct Quantity {
    numerator: u128,
    denominator: u128,
}

impl Quantity {
    /// `None` for anything that is no quantity, is negative, or does not fit into the daemon's 64 bits.
    fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix('+').unwrap_or(text);
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.is_empty() && fraction.is_empty() || fraction.contains('.') {
            return None;
        }
        let fraction = fraction.trim_end_matches('0');
        let digits = format!("{whole}{fraction}");
        let digits = digits.trim_start_matches('0');
        if digits.len() > MOST_DIGITS || fraction.len() > MOST_DIGITS {
            return None;
        }
        let number: u128 = if digits.is_empty() { 0 } else { digits.parse().ok()? };
        let (up, down) = match UNITS.iter().find(|(name, _)| *name == unit) {
            Some((_, factor)) => *factor,
            None => power_of_ten(unit.strip_prefix(['e', 'E'])?)?,
        };
        let denominator = 10u128.checked_pow(u32::try_from(fraction.len()).ok()?)?.checked_mul(down)?;
        let quantity = Self { numerator: number.checked_mul(up)?, denominator };
        (quantity.times(1)? <= u128::from(i64::MAX.unsigned_abs())).then_some(quantity)
    }

    /// So many times it, rounded up; `None` when that is too much.
    fn times(self, factor: u128) -> Option<u128> {
        Some(self.numerator.checked_mul(factor)?.div_ceil(self.denominator))
    }
}

/// What an exponent stands for, as a fraction.
fn power_of_ten(exponent: &str) -> Option<(u128, u128)> {
    let exponent: i32 = exponent.parse().ok().filter(|exponent| (-9..=18).contains(exponent))?;
    let power = 10u128.checked_pow(exponent.unsigned_abs())?;
    Some(if exponent < 0 { (1, power) } else { (power, 1) })
}

/// CPUs in thousandths. The daemon rounds a text up, and cuts a number off.
pub(crate) fn milli(value: &Value) -> Option<u64> {
    /// Far beyond any machine.
    const MOST: u64 = 1_000_000_000_000_000;
    let milli = match value {
        // Whatever a JSON number was written as, the daemon has a float.
        Value::Number(number) => cut_off(number.as_f64()? * 1000.0, MOST)?,
        _ => u64::try_from(Quantity::parse(value.as_str()?)?.times(1000)?).ok()?,
    };
    (milli < MOST).then_some(milli)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "not negative and far below 2^53 by the test before it"
)]
fn cut_off(number: f64, most: u64) -> Option<u64> {
    (0.0..most as f64).contains(&number).then_some(number as u64)
}

/// Bytes or operations in a second; nothing means no limit.
pub(crate) fn is_quantity(value: &Value) -> bool {
    plain(value).is_some_and(|text| text.is_empty() || Quantity::parse(&text).is_some())
}

/// A weight of block devices.
pub(crate) fn is_weight(value: &Value) -> bool {
    plain(value).is_some_and(|text| {
        let weight = || Quantity::parse(&text)?.times(1);
        text.is_empty() || weight().is_some_and(|weight| (10..=1000).contains(&weight))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{is_quantity, is_weight, milli};

    #[test]
    fn cpu_quantities_become_millicpus() {
        for (value, expected) in [
            (json!("750m"), Some(750)),
            (json!("0.0001"), Some(1)),
            (json!(0.0001), Some(0)),
            (json!(0), Some(0)),
            (json!("0m"), Some(0)),
            (json!(1.0005), Some(1000)),
            (json!("1.0005"), Some(1001)),
            (json!("9m"), Some(9)),
            (json!("16.1"), Some(16_100)),
            (json!(".5"), Some(500)),
            (json!("2."), Some(2000)),
            (json!("1n"), Some(1)),
            (json!("1Ti"), None),
            (json!("0.00000000000000001"), Some(1)),
            (json!("0.000000000000000001"), None),
            (json!("100000000000000000"), None),
            (json!("000000000000000000000001"), Some(1000)),
            (json!("1e-3"), Some(1)),
            (json!("1e19"), None),
            (json!(1e300), None),
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
    fn byte_quantities_and_weights_are_accepted_as_the_daemon_does() {
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
