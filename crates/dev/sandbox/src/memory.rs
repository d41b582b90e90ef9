//! How much memory a process has taken.

use anyhow::Context as _;

/// The most that a process has had so far, in bytes. `who`: its number, or `self`.
///
/// # Errors
/// When there is no such process.
pub fn peak(who: &str) -> anyhow::Result<u64> {
    let path = format!("/proc/{who}/status");
    let status = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    peak_in(&status).with_context(|| format!("{path} has no VmHWM"))
}

fn peak_in(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peak_memory_is_read_from_the_status_of_a_process() {
        assert_eq!(peak_in("VmPeak:\t 9 kB\nVmHWM:\t    2048 kB\nVmRSS:\t 1 kB\n"), Some(2 << 20));
        assert_eq!(peak_in("VmRSS:\t 1 kB\n"), None);
        assert!(peak("self").unwrap() > 1 << 20);
        assert!(peak("none").is_err());
    }
}
