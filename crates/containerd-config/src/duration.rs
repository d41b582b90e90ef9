//! Durations as Go writes and reads them (`time.ParseDuration`, Go 1.26), in nanoseconds.

use std::time::Duration;

const UNITS: [(&str, u128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Nanoseconds; `None` for what Go refuses. Of a fraction, what is below a nanosecond is cut off.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let (is_negative, mut rest) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let whole = digits(&mut rest);
        let fraction = match rest.strip_prefix('.') {
            None => "",
            Some(after) => {
                rest = after;
                digits(&mut rest)
            }
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let name = rest.split(|c: char| c == '.' || c.is_ascii_digit()).next()?;
        let (_, unit) = UNITS.iter().find(|(unit, _)| *unit == name)?;
        rest = &rest[name.len()..];
        // More than 19 digits overflow in Go too; of a fraction Go takes as many as fit.
        let number: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        total = total.checked_add(number.checked_mul(*unit)?)?.checked_add(part(fraction, *unit))?;
        if total > 1 << 63 {
            return None;
        }
    }
    match (is_negative, i64::try_from(total)) {
        (false, total) => total.ok(),
        (true, Ok(total)) => Some(-total),
        (true, Err(_)) => Some(i64::MIN),
    }
}

/// The digits at the beginning, which are taken off.
fn digits<'a>(rest: &mut &'a str) -> &'a str {
    let (digits, after) = rest.split_at(rest.bytes().take_while(u8::is_ascii_digit).count());
    *rest = after;
    digits
}

/// `0.digits` of a unit.
fn part(digits: &str, unit: u128) -> u128 {
    let (value, scale) = digits
        .bytes()
        .take(18)
        .fold((0, 1), |(value, scale), digit| (value * 10 + u128::from(digit - b'0'), scale * 10));
    value * unit / scale
}

/// A duration of whole milliseconds, as Go reads it.
pub(crate) fn text(duration: Duration) -> String {
    match duration.as_millis() {
        milliseconds if milliseconds.is_multiple_of(1000) => format!("{}s", milliseconds / 1000),
        milliseconds => format!("{milliseconds}ms"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{parse, text};

    #[test]
    fn durations_are_those_of_go() {
        for (written, nanoseconds) in [
            ("0", 0),
            ("-0", 0),
            ("2s", 2_000_000_000),
            ("+5s", 5_000_000_000),
            ("-2s", -2_000_000_000),
            ("1m30s", 90_000_000_000),
            ("1.5h", 5_400_000_000_000),
            (".5s", 500_000_000),
            ("5.s", 5_000_000_000),
            ("2m0.5s", 120_500_000_000),
            ("500ms", 500_000_000),
            ("1µs1μs1us", 3_000),
            ("0.1ns", 0),
            ("9223372036854775807ns", i64::MAX),
            ("-9223372036854775808ns", i64::MIN),
        ] {
            assert_eq!(parse(written), Some(nanoseconds), "{written}");
        }
        for written in [
            "",
            "+",
            "-",
            "2",
            "s",
            ".s",
            "2 s",
            "2S",
            "2sec",
            "2s ",
            "1e3s",
            "9223372036854775808ns",
            "3000000h",
            "٢s",
            "1.2.3s",
        ] {
            assert_eq!(parse(written), None, "{written}");
        }
    }

    #[test]
    fn a_written_duration_is_read_back() {
        for (milliseconds, written) in [(1, "1ms"), (2000, "2s"), (2500, "2500ms"), (600_000, "600s")] {
            assert_eq!(text(Duration::from_millis(milliseconds)), written);
            assert_eq!(parse(written), Some(i64::try_from(milliseconds).unwrap() * 1_000_000));
        }
    }
}
