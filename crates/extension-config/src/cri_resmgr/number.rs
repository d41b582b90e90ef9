//! Whole numbers, in the forms that the daemon reads.

use serde_json::Value;

/// A whole number, also one that is written as `2.0`.
#[expect(clippy::cast_possible_truncation, reason = "whole and far below 2^63 by the test")]
pub(crate) fn integer(value: &Value) -> Option<i64> {
    let whole = |number: f64| (number.fract() == 0.0 && number.abs() < 1e15).then_some(number as i64);
    value.as_i64().or_else(|| value.as_f64().and_then(whole))
}

/// A number of 32 bits as Go reads it where the base is left open: `8`, `0x10`, `0o17`, `017`, `0b1`, `1_000`.
pub(crate) fn integer_of_go(text: &str) -> Option<i64> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(text) => (true, text),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let bases = [("0x", 16), ("0X", 16), ("0b", 2), ("0B", 2), ("0o", 8), ("0O", 8), ("0", 8)];
    let of_base = bases.into_iter().find_map(|(prefix, base)| Some((text.strip_prefix(prefix)?, base)));
    let of_base = of_base.filter(|(digits, _)| !digits.is_empty());
    let (digits, base) = of_base.unwrap_or((text, 10));
    // A line stands between two digits, or between the base and one.
    let between = digits.strip_prefix('_').filter(|_| of_base.is_some()).unwrap_or(digits);
    if between.split('_').any(str::is_empty) || !digits.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    {
        return None;
    }
    let number = i64::from_str_radix(&digits.replace('_', ""), base).ok()?;
    i32::try_from(if negative { -number } else { number }).ok().map(i64::from)
}

/// A number that the daemon reads from a text.
pub(crate) fn number(value: &Value) -> Option<i64> {
    match value {
        Value::String(text) => integer_of_go(text),
        _ => integer(value).filter(|number| i32::try_from(*number).is_ok()),
    }
}

pub(crate) fn is_positive(value: &Value) -> bool {
    number(value).is_some_and(|number| number > 0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{integer_of_go, number};

    #[test]
    fn numbers_are_parsed_as_go_does() {
        for (text, expected) in [
            ("8", Some(8)),
            ("0", Some(0)),
            ("-5", Some(-5)),
            ("+5", Some(5)),
            ("010", Some(8)),
            ("0o10", Some(8)),
            ("0_7", Some(7)),
            ("0x10", Some(16)),
            ("0X_1f", Some(31)),
            ("0b11", Some(3)),
            ("1_000", Some(1000)),
            ("2147483647", Some(2_147_483_647)),
            ("2147483648", None),
            ("", None),
            ("-", None),
            ("--1", None),
            ("0x", None),
            ("08", None),
            ("_1", None),
            ("1_", None),
            ("1__0", None),
            ("2.0", None),
            ("2000m", None),
            (" 2", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(integer_of_go(text), expected, "{text:?}");
        }
        assert_eq!((number(&json!(2.0)), number(&json!("2.0")), number(&json!(1.5))), (Some(2), None, None));
    }
}
