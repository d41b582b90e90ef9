//! What was measured, as it is kept: the JSON, and the ratios that are compared. Pure.

use serde::{Deserialize, Serialize};

use crate::calls::{Calls, conflicts, of_extensions};

/// Everything that one command has measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Report {
    /// Of the sources.
    pub(crate) revision: String,
    pub(crate) machine: Machine,
    pub(crate) runs: Vec<Run>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    /// Load average over a minute, when it began: what is not idle measures something else.
    pub(crate) load_before: f64,
    /// The same at the end; most of it is the run's own.
    pub(crate) load_after: f64,
}

/// One scenario, run by the floor and by our program one after the other on the same API server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Run {
    // Its name in reports that are kept.
    #[serde(rename = "landscape")]
    pub(crate) scenario: Scenario,
    pub(crate) floor: Figures,
    pub(crate) ours: Figures,
    /// Our program on its own.
    pub(crate) start: Option<Start>,
    pub(crate) idle: Option<Idle>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Scenario {
    pub(crate) extensions: usize,
    pub(crate) cluster_kib: usize,
    pub(crate) workers: usize,
    pub(crate) latency_ms: u64,
    /// Extensions of others, for each shoot.
    pub(crate) foreign: usize,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// All at once, for the first time.
    pub(crate) new: Phase,
    /// All at once, nothing changed, for the first time: the token requestor has written since.
    pub(crate) again_first: Phase,
    /// Once more.
    pub(crate) again: Phase,
    /// Nothing changed, 20 at a time: what one request takes.
    pub(crate) in_flight: Phase,
    /// All at once. The floor does not remove anything.
    pub(crate) deleted: Option<Phase>,
    /// After *again*, and the most so far; of a process.
    pub(crate) rss_kib: Option<u64>,
    pub(crate) peak_kib: Option<u64>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Phase {
    pub(crate) extensions: usize,
    pub(crate) seconds: f64,
    pub(crate) cpu_seconds: f64,
    /// From the beginning (with 20 in flight: from the request) to ready.
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) calls: Calls,
    /// Operations that the log says to have begun; one for each Extension is right. The floor has no log.
    pub(crate) begun: Option<usize>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Start {
    /// From the start of the process until it says that it is ready, and until the first of all Extensions, which all ask, is done.
    pub(crate) ready_seconds: f64,
    pub(crate) first_done_seconds: f64,
    pub(crate) peak_kib: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Idle {
    pub(crate) seconds: f64,
    pub(crate) cpu_seconds: f64,
    pub(crate) wake_ups: u64,
    pub(crate) calls: Calls,
    pub(crate) rss_kib: u64,
}

impl Phase {
    #[expect(clippy::cast_precision_loss, reason = "counts of a run")]
    pub(crate) fn calls_each(&self) -> f64 {
        of_extensions(&self.calls) as f64 / self.extensions.max(1) as f64
    }

    pub(crate) fn conflicts(&self) -> u64 {
        conflicts(&self.calls)
    }

    pub(crate) fn begun_twice(&self) -> Option<usize> {
        self.begun.map(|begun| begun.saturating_sub(self.extensions))
    }
}

/// The time of which a share of all is done; `milliseconds` are sorted.
pub(crate) fn percentile(milliseconds: &[f64], percent: usize) -> f64 {
    let place = (milliseconds.len() * percent).div_ceil(100).saturating_sub(1);
    milliseconds.get(place).copied().unwrap_or_default()
}

impl Run {
    /// Names and values of what releases are compared by: ratios of one run.
    pub(crate) fn ratios(&self) -> [(&'static str, f64); 4] {
        let ratio = |ours: f64, floor: f64| if floor > 0.0 { ours / floor } else { 0.0 };
        let (ours, floor) = (&self.ours, &self.floor);
        [
            ("new", ratio(ours.new.seconds, floor.new.seconds)),
            ("again", ratio(ours.again.seconds, floor.again.seconds)),
            ("CPU new", ratio(ours.new.cpu_seconds, floor.new.cpu_seconds)),
            ("CPU again", ratio(ours.again.cpu_seconds, floor.again.cpu_seconds)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentile_is_the_time_by_which_that_share_is_done() {
        let times: Vec<f64> = (1..=200_u32).map(f64::from).collect();
        assert!((percentile(&times, 50) - 100.0).abs() < f64::EPSILON);
        assert!((percentile(&times, 99) - 198.0).abs() < f64::EPSILON);
        assert!((percentile(&[7.0], 99) - 7.0).abs() < f64::EPSILON);
        assert!(percentile(&[], 50).abs() < f64::EPSILON);
    }

    #[test]
    fn calls_of_a_phase_are_counted_for_each_extension() {
        let calls = [("patch extensions 200", 10), ("patch extensions 409", 2), ("watch extensions 200", 1)];
        let calls = calls.map(|(call, count)| (call.to_owned(), count)).into();
        let phase = Phase { extensions: 4, calls, begun: Some(6), ..Phase::default() };
        assert!((phase.calls_each() - 3.0).abs() < f64::EPSILON);
        assert_eq!((phase.conflicts(), phase.begun_twice()), (2, Some(2)));
    }
}
