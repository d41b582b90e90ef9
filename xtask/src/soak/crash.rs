//! The node agent, killed and failed everywhere, and coming and going.

use std::path::Path;
use std::time::Duration;

use anyhow::{bail, ensure};
use crash_matrix::{Options, Outcome};
use sandbox::Binaries;

use crate::terminal::say;

/// Rows mostly wait: for proofs, and for agents that try again.
const LANES: usize = 40;
const AGENTS: usize = 100;

/// As many rows as there is time for; all of them take an hour or two.
pub(super) fn matrix(root: &Path, time: Duration) -> anyhow::Result<String> {
    let binaries = Binaries::build(root)?;
    let options = Options { binaries, stride: 1, time, lanes: LANES, progress };
    let report = unless_interrupted(crash_matrix::run(&options))?;
    say(&format!("\n{}\n", report.table()));
    let failed = report.failures().count();
    ensure!(failed == 0, "{failed} of {} rows do not hold", report.outcomes.len());
    let most = report.outcomes.iter().map(|outcome| outcome.more_restarts).max().unwrap_or_default();
    let left_out = match report.left_out {
        0 => "no row was left out".to_owned(),
        count => format!("{count} rows were LEFT OUT for want of time"),
    };
    Ok(format!(
        "{} rows hold, {left_out}; at most {most} restarts of kubelet more than undisturbed",
        report.outcomes.len()
    ))
}

fn progress(outcome: &Outcome) {
    let Outcome { row, more_restarts, failure, .. } = outcome;
    match failure {
        None if *more_restarts == 0 => say(&format!("ok      {row}")),
        None => say(&format!("ok      {row} ({more_restarts:+} restarts of kubelet)")),
        Some(failure) => say(&format!("FAILED  {row}: {failure}")),
    }
}

/// A hundred agents.
pub(super) fn restarts(root: &Path, _time: Duration) -> anyhow::Result<String> {
    let binaries = Binaries::build(root)?;
    unless_interrupted(crash_matrix::restarts(&binaries, AGENTS))
}

/// What is dropped ends its agents and removes its nodes.
fn unless_interrupted<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    crate::bed::runtime()?.block_on(async {
        tokio::select! {
            done = work => done,
            _ = tokio::signal::ctrl_c() => bail!("interrupted; nothing is left behind"),
        }
    })
}
