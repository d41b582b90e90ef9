//! The tests of the workspace, several programs at a time: most of them wait more than they compute, and cargo runs them one after the other.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::Tally;
use crate::terminal::say;

/// Programs at a time, for each core of the machine.
const LANES_FOR_EACH_CORE: usize = 2;
/// Packages whose tests take longest: they begin first, so that none of them is alone at the end.
const FIRST: [&str; 4] = ["sandbox", "xtask", "node-agent", "crash-matrix"];

/// Builds all test programs of the workspace and runs them; what each prints comes in one piece when it has ended. A program that ends without
/// success although no test of it failed counts as one failure, as does a build that fails.
pub(super) fn run(root: &Path, tally: &mut Tally) -> anyhow::Result<()> {
    let Some(programs) = build(root)? else {
        tally.count(false);
        return Ok(());
    };
    let lanes = std::thread::available_parallelism().map_or(1, usize::from) * LANES_FOR_EACH_CORE;
    let queue = Mutex::new(programs);
    let total = Mutex::new(tally);
    std::thread::scope(|scope| {
        for _ in 0..lanes {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    let Some(program) = next else { return };
                    let start = Instant::now();
                    let outcome = program.run();
                    // Under the lock, so that no two reports mix.
                    let mut tally = total.lock().unwrap_or_else(PoisonError::into_inner);
                    report(&program, &outcome, start.elapsed(), &mut tally);
                }
            });
        }
    });
    Ok(())
}

/// One test program.
#[derive(Debug, PartialEq, Eq)]
struct Program {
    package: String,
    /// Of the package: tests find their files there.
    dir: PathBuf,
    executable: PathBuf,
}

/// How one has ended.
type Outcome = anyhow::Result<Output>;

impl Program {
    /// As cargo runs it: in the package's folder, and told which package it is of.
    fn run(&self) -> Outcome {
        let mut command = Command::new(&self.executable);
        command.current_dir(&self.dir).env("CARGO_MANIFEST_DIR", &self.dir).env("CARGO_PKG_NAME", &self.package);
        command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {}", self.executable.display()))
    }

    fn name(&self) -> String {
        format!(
            "{} ({})",
            self.package,
            self.executable.file_name().unwrap_or_else(|| OsStr::new("?")).to_string_lossy()
        )
    }
}

/// `None` when something does not compile; cargo has said what.
fn build(root: &Path) -> anyhow::Result<Option<VecDeque<Program>>> {
    let words = ["test", "--workspace", "--tests", "--locked", "--no-run", "--message-format", "json"];
    let output = image_builder::binaries::cargo().args(words).current_dir(root).stderr(Stdio::inherit()).output()?;
    let messages = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        messages.lines().filter_map(rendered).for_each(|message| say(&message));
        return Ok(None);
    }
    let mut programs: Vec<Program> = messages.lines().filter_map(program).collect();
    ensure!(!programs.is_empty(), "cargo has built no test program");
    programs.sort_by_key(|program| FIRST.iter().position(|first| *first == program.package).unwrap_or(FIRST.len()));
    Ok(Some(programs.into()))
}

/// A test program, from one of cargo's messages (`compiler-artifact`, doc.rust-lang.org/cargo/reference/external-tools.html).
fn program(line: &str) -> Option<Program> {
    let message: Value = serde_json::from_str(line).ok()?;
    if message["profile"]["test"] != true {
        return None;
    }
    let dir = Path::new(message["manifest_path"].as_str()?).parent()?.to_owned();
    let package = dir.file_name()?.to_string_lossy().into_owned();
    Some(Program { package, dir, executable: message["executable"].as_str()?.into() })
}

/// What the compiler says to people.
fn rendered(line: &str) -> Option<String> {
    let message: Value = serde_json::from_str(line).ok()?;
    Some(message["message"]["rendered"].as_str()?.to_owned())
}

fn report(program: &Program, outcome: &Outcome, took: Duration, tally: &mut Tally) {
    say(&format!("== {}: {took:.0?}", program.name()));
    let mut told = Tally::default();
    let success = match outcome {
        Ok(output) => {
            let printed = String::from_utf8_lossy(&output.stdout);
            // What tests say on standard error is for people.
            printed.lines().for_each(|line| told.read(line));
            say(&printed);
            say(&String::from_utf8_lossy(&output.stderr));
            output.status.success()
        }
        Err(error) => {
            say(&format!("{error:#}"));
            false
        }
    };
    tally.add(told, success);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_programs_are_found_in_what_cargo_says() {
        let line = r#"{"reason":"compiler-artifact","manifest_path":"/r/crates/a/Cargo.toml","profile":{"test":true},"executable":"/t/a-1"}"#;
        let found = Program { package: "a".to_owned(), dir: "/r/crates/a".into(), executable: "/t/a-1".into() };
        assert_eq!(program(line), Some(found));
        let library = line.replace("\"/t/a-1\"", "null");
        let binary = line.replace("true", "false");
        for other in [&library, &binary, r#"{"reason":"build-finished"}"#, "", "text"] {
            assert_eq!(program(other), None, "{other}");
        }
    }

    #[test]
    fn results_are_added_and_an_end_without_one_is_a_failure() {
        let missing = Program { package: "a".to_owned(), dir: "/".into(), executable: "/nowhere".into() };
        let mut tally = Tally::default();
        for (script, passed, failed) in [
            ("echo 'test result: ok. 3 passed; 0 failed; 0 ignored'", 3, 0),
            ("echo 'test result: FAILED. 1 passed; 2 failed; 0 ignored'; exit 101", 4, 2),
            ("echo it crashed >&2; exit 3", 4, 3),
            ("echo 'test result: ok. 9 passed; 9 failed; 0 ignored' >&2", 4, 3),
            ("echo 'NOT CHECKED: x'; echo 'test result: ok. 2 passed; 0 failed; 0 ignored'", 5, 3),
        ] {
            let output = Command::new("/bin/sh").args(["-c", script]).output().unwrap();
            report(&missing, &Ok(output), Duration::ZERO, &mut tally);
            assert_eq!((tally.passed, tally.failed), (passed, failed), "{script}");
        }
        report(&missing, &missing.run(), Duration::ZERO, &mut tally);
        assert_eq!((tally.failed, tally.unchecked), (4, vec!["x".to_owned()]));
    }
}
