//! How often kubelet may be restarted, and how long to wait after a failure.
//!
//! Old Gardeners reboot a node after five readiness toggles in ten minutes, so a switch that may have to be rolled back must leave room for
//! that: what is begun freely stops below the limit, what brings a node back to safety is counted but never withheld.

use crate::journal::{Backoff, Journal};
use crate::restart::{GIVEN_UP_WINDOW_SECONDS, WINDOW_SECONDS};

/// A switch onto the proxy is begun only while fewer restarts than this lie in the window: with its own and a roll-back's, four at most.
pub const FREE_RESTARTS: usize = 3;
/// Wait after the first failure.
pub const FIRST_DELAY_SECONDS: u64 = 60;
/// Wait after many failures.
pub const LONGEST_DELAY_SECONDS: u64 = 1800;

/// So often in the window the daemon is started again, because what stopped it (containerd, memory) may have passed; then it has failed.
pub const FREE_STARTS: usize = 2;

/// Whether a daemon that systemd has given up once more may be started again.
#[must_use]
pub fn may_start_again(journal: &Journal, now: u64) -> bool {
    let recent = journal.given_up.iter().filter(|at| **at <= now && **at + GIVEN_UP_WINDOW_SECONDS > now);
    recent.count() < FREE_STARTS
}

/// So often in the window of restarts a policy plugin is started anew because containers are not where it has them; then it has failed.
pub const FREE_HEALS: usize = 3;

/// Whether a policy plugin may be started anew once more because containers are not where it has them.
#[must_use]
pub fn may_heal_again(journal: &Journal, now: u64) -> bool {
    let recent = journal.given_up.iter().filter(|at| **at <= now && **at + WINDOW_SECONDS > now);
    recent.count() < FREE_HEALS
}

/// Seconds since 1970 at which a switch may be begun; `None`: now.
#[must_use]
pub fn next_switch(journal: &Journal, now: u64) -> Option<u64> {
    let mut recent: Vec<u64> = journal
        .restarts
        .iter()
        .map(|restart| restart.at)
        .filter(|at| *at <= now && at + WINDOW_SECONDS > now)
        .collect();
    recent.sort_unstable();
    let surplus = recent.len().checked_sub(FREE_RESTARTS)?;
    recent.get(surplus).map(|at| at + WINDOW_SECONDS)
}

/// The back-off after one more failure with these inputs. Failures are in a row when the inputs are the same and the last one is not longer ago
/// than twice its wait and a window, so that a node that ran well for a while starts afresh. The wait is `shortest` at least.
#[must_use]
pub fn after_failure(last: Option<&Backoff>, inputs: &str, reason: String, now: u64, shortest: u64) -> Backoff {
    let in_a_row = last.filter(|last| {
        let wait = last.not_before.saturating_sub(last.failed_at);
        last.inputs == inputs && now <= last.failed_at + 2 * wait + WINDOW_SECONDS
    });
    let failures = in_a_row.map_or(0, |last| last.failures).saturating_add(1);
    let doublings = failures.saturating_sub(1).min(16);
    let delay = (FIRST_DELAY_SECONDS << doublings).max(shortest).min(LONGEST_DELAY_SECONDS);
    Backoff { failures, failed_at: now, not_before: now + delay, reason, inputs: inputs.to_owned(), reported: false }
}

/// The back-off that forbids a try with these inputs now. A clock that was set back does not prolong it beyond the longest wait.
#[must_use]
pub fn in_force<'a>(journal: Option<&'a Journal>, inputs: &str, now: u64) -> Option<&'a Backoff> {
    let backoff = journal?.backoff.as_ref()?;
    let ahead = backoff.not_before.saturating_sub(now);
    (backoff.inputs == inputs && ahead > 0 && ahead <= LONGEST_DELAY_SECONDS).then_some(backoff)
}

#[cfg(test)]
mod tests {
    use super::{FIRST_DELAY_SECONDS, LONGEST_DELAY_SECONDS, after_failure, in_force, may_start_again, next_switch};
    use crate::journal::{Change, Journal};
    use crate::restart::{Cause, GIVEN_UP_WINDOW_SECONDS, Restart, WINDOW_SECONDS};

    fn restarted(times: &[u64]) -> Journal {
        let mut journal = Journal::default();
        for at in times {
            journal.apply(&Change::KubeletRestarts(Restart { at: *at, cause: Cause::Heal }));
        }
        journal
    }

    #[test]
    fn next_switch_with_a_full_restart_window_is_when_the_oldest_restart_leaves_it() {
        assert_eq!(next_switch(&restarted(&[]), 1000), None);
        assert_eq!(next_switch(&restarted(&[900, 950]), 1000), None);
        assert_eq!(next_switch(&restarted(&[800, 900, 950]), 1000), Some(800 + WINDOW_SECONDS));
        assert_eq!(next_switch(&restarted(&[800, 850, 900, 950]), 1000), Some(850 + WINDOW_SECONDS));
        assert_eq!(next_switch(&restarted(&[800, 900, 950]), 800 + WINDOW_SECONDS), None);
    }

    #[test]
    fn a_restart_drops_those_outside_the_window_from_the_journal() {
        assert_eq!(restarted(&[1, 2, 3, 5000]).restarts.len(), 1);
    }

    #[test]
    fn a_daemon_given_up_twice_within_the_window_is_not_started_again() {
        let mut journal = Journal::default();
        for at in [1000, 1200] {
            assert!(may_start_again(&journal, at));
            journal.apply(&Change::DaemonGivenUp(at));
        }
        assert!(!may_start_again(&journal, 1400));
        assert!(may_start_again(&journal, 1000 + GIVEN_UP_WINDOW_SECONDS));
        for at in 0..100 {
            journal.apply(&Change::DaemonGivenUp(2000 + at * 600));
        }
        assert!(journal.given_up.len() < 8, "old ones are forgotten");
        journal.apply(&Change::NothingMade);
        assert!(may_start_again(&journal, 2000 + 100 * 600));
    }

    #[test]
    fn failures_in_a_row_double_the_back_off_up_to_its_limit() {
        let mut last = after_failure(None, "a", "x".into(), 0, 0);
        assert_eq!(last.not_before, FIRST_DELAY_SECONDS);
        for _ in 0..40 {
            last = after_failure(Some(&last), "a", "x".into(), last.not_before, 0);
        }
        assert_eq!(last.not_before - last.failed_at, LONGEST_DELAY_SECONDS);
        assert_eq!(after_failure(Some(&last), "b", "x".into(), last.not_before, 0).failures, 1);
        assert_eq!(after_failure(Some(&last), "a", "x".into(), last.not_before + 100_000, 0).failures, 1);
    }

    #[test]
    fn other_inputs_or_a_clock_set_back_end_the_back_off() {
        let journal = Journal { backoff: Some(after_failure(None, "a", "x".into(), 10_000, 0)), ..Journal::default() };
        assert!(in_force(Some(&journal), "a", 10_001).is_some());
        assert!(in_force(Some(&journal), "b", 10_001).is_none());
        assert!(in_force(Some(&journal), "a", 10_000 + FIRST_DELAY_SECONDS).is_none());
        assert!(in_force(Some(&journal), "a", 100).is_none());
    }
}
