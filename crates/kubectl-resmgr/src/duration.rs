//! Ages, as kubectl writes them: `45s`, `12m`, `3h`, `8d`.

/// The age of something that has been so since `since`, both in seconds since 1970. A clock of a node that is ahead makes it 0.
pub(crate) fn age(since: u64, now: u64) -> String {
    let seconds = now.saturating_sub(since);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7200 => format!("{}m", seconds / 60),
        7200..172_800 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_one_unit() {
        for (since, expected) in [(1000, "0s"), (2000, "0s"), (955, "45s"), (280, "12m")] {
            assert_eq!(age(since, 1000), expected);
        }
        assert_eq!(age(0, 3 * 3600), "3h");
        assert_eq!(age(0, 8 * 86_400), "8d");
        assert_eq!(age(0, u64::MAX), "213503982334601d");
    }
}
