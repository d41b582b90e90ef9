//! The node agent, killed and failed everywhere, and coming and going.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use crash_matrix::{Options, Outcome};
use image_builder::digest::Digest;
use sandbox::Binaries;

use super::{SoakArgs, unless_interrupted};
use crate::terminal::say;

/// Rows mostly wait: for proofs, and for agents that try again.
const WORKER_NODES: usize = 40;
const AGENTS: usize = 100;

/// As many rows as there is time for. Those that held with the same programs in an earlier run count: all of them take hours.
pub(super) fn matrix(root: &Path, args: &SoakArgs) -> anyhow::Result<String> {
    let time = args.time();
    let binaries = Binaries::build(root)?;
    let record = Record::of(&binaries)?;
    let options = Options { binaries, stride: 1, time, worker_nodes: WORKER_NODES, held: record.read()? };
    let report = unless_interrupted(crash_matrix::run(&options, |outcome| {
        print_outcome(outcome);
        if let Err(error) = record.add(outcome) {
            say(&format!("this row will be run again: {error:#}"));
        }
    }))?;
    say(&format!("\n{}\n", report.table()));
    let failed = report.failures().count();
    ensure!(failed == 0, "{failed} of {} rows do not hold", report.outcomes.len());
    let most = report.outcomes.iter().map(|outcome| outcome.more_restarts).max().unwrap_or_default();
    let before = report.outcomes.iter().filter(|outcome| outcome.injected_at.is_empty()).count();
    let left_out = match report.left_out {
        0 => "no row was left out".to_owned(),
        count => format!("{count} rows were LEFT OUT for want of time: run it again to go on"),
    };
    Ok(format!(
        "{} rows hold, {before} of them in earlier runs, {left_out}; at most {most} restarts of kubelet more than undisturbed",
        report.outcomes.len()
    ))
}

fn print_outcome(outcome: &Outcome) {
    let Outcome { place, injected_at, more_restarts, failure, .. } = outcome;
    match failure {
        None if *more_restarts == 0 => say(&format!("ok      {place}: {injected_at}")),
        None => say(&format!("ok      {place}: {injected_at} ({more_restarts:+} restarts of kubelet)")),
        Some(failure) => say(&format!("FAILED  {place}: {failure}")),
    }
}

/// The rows that held with these very programs, a line each.
struct Record(PathBuf);

impl Record {
    fn of(binaries: &Binaries) -> anyhow::Result<Self> {
        let mut programs = Vec::new();
        for program in [&std::env::current_exe()?, &binaries.agent, &binaries.gate] {
            programs.extend(std::fs::read(program).with_context(|| format!("cannot read {}", program.display()))?);
        }
        let dir = testbed::cache_dir()?.join("soak").join("crash-matrix");
        std::fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        Ok(Self(dir.join(Digest::of(&programs).hex())))
    }

    fn read(&self) -> anyhow::Result<BTreeMap<String, i64>> {
        let text = match std::fs::read_to_string(&self.0) {
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            found => found.with_context(|| format!("cannot read {}", self.0.display()))?,
        };
        Ok(text.split_inclusive('\n').filter_map(line).collect())
    }

    fn add(&self, Outcome { place, more_restarts, failure, .. }: &Outcome) -> anyhow::Result<()> {
        if failure.is_none() {
            let mut file = File::options().create(true).append(true).open(&self.0)?;
            file.write_all(format!("{more_restarts}\t{place}\n").as_bytes())?;
        }
        Ok(())
    }
}

/// A line that was cut off is a row that is run again.
fn line(text: &str) -> Option<(String, i64)> {
    let (more_restarts, place) = text.strip_suffix('\n')?.split_once('\t')?;
    Some((place.to_owned(), more_restarts.parse().ok()?))
}

/// A hundred agents.
pub(super) fn restarts(root: &Path, _: &SoakArgs) -> anyhow::Result<String> {
    let binaries = Binaries::build(root)?;
    unless_interrupted(crash_matrix::restarts(&binaries, AGENTS))
}

#[cfg(test)]
mod tests {
    use super::line;

    #[test]
    fn a_truncated_line_of_the_record_is_ignored() {
        assert_eq!(line("1\tInstall, SIGKILL at 12\n"), Some(("Install, SIGKILL at 12".to_owned(), 1)));
        assert_eq!(line("1\tInstall, SIGKILL at 1"), None);
        assert_eq!(line("Install\n"), None);
    }
}
