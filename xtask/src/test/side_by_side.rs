//! Test programs, several at a time: most of them wait more than they compute, and cargo runs them one after the other.

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

/// Programs of the workspace's hermetic tests at a time, for each core of the machine.
const LANES_FOR_EACH_CORE: usize = 2;
/// Packages whose tests take longest: they begin first, so that none of them is alone at the end.
const FIRST: [&str; 4] = ["sandbox", "xtask", "node-agent", "crash-matrix"];

/// Builds all test programs of the workspace and runs them. A build that fails counts as one failure.
pub(super) fn run(root: &Path, tally: &mut Tally) -> anyhow::Result<()> {
    let Some(mut programs) = build(root, &["--tests"])? else {
        tally.count(false);
        return Ok(());
    };
    programs.sort_by_key(|program| FIRST.iter().position(|first| *first == program.package).unwrap_or(FIRST.len()));
    let jobs = programs.iter().map(|program| program.job(program.name(), &[], &[])).collect();
    run_jobs(jobs, cores() * LANES_FOR_EACH_CORE, tally);
    Ok(())
}

/// Cores of this machine.
pub(super) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Something that runs tests.
pub(super) struct Job<'a> {
    pub(super) name: String,
    pub(super) run: Box<dyn FnOnce() -> Outcome + Send + 'a>,
}

/// How one has ended.
pub(super) type Outcome = anyhow::Result<Output>;

/// Runs them in this order, so many at a time; what each prints comes in one piece when it has ended. One that ends without success although no test
/// of it failed counts as one failure.
pub(super) fn run_jobs(jobs: VecDeque<Job<'_>>, lanes: usize, tally: &mut Tally) {
    let queue = Mutex::new(jobs);
    let total = Mutex::new(tally);
    std::thread::scope(|scope| {
        for _ in 0..lanes {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    let Some(Job { name, run }) = next else { return };
                    say(&format!("== {name}: begins"));
                    let start = Instant::now();
                    let outcome = run();
                    // Under the lock, so that no two reports mix.
                    let mut tally = total.lock().unwrap_or_else(PoisonError::into_inner);
                    report(&name, &outcome, start.elapsed(), &mut tally);
                }
            });
        }
    });
}

/// One test program.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Program {
    pub(super) package: String,
    /// Its name among the package's.
    pub(super) target: String,
    /// Of the package: tests find their files there.
    dir: PathBuf,
    pub(crate) executable: PathBuf,
}

impl Program {
    /// A run with these arguments and more variables.
    pub(super) fn job(&self, name: String, arguments: &[&str], variables: &[(&str, String)]) -> Job<'static> {
        let mut command = self.command(arguments);
        command.envs(variables.iter().map(|(key, value)| (*key, value.as_str())));
        Job { name, run: Box::new(move || output(&mut command)) }
    }

    /// The names of its tests: of those that a plain run leaves out, or of all others.
    pub(super) fn tests(&self, ignored: bool) -> anyhow::Result<Vec<String>> {
        let list = |arguments: &[&str]| -> anyhow::Result<Vec<String>> {
            let output = output(&mut self.command(arguments))?;
            ensure!(output.status.success(), "{} lists no tests: {}", self.name(), output.status);
            Ok(listed(&String::from_utf8_lossy(&output.stdout)))
        };
        let left_out = list(&["--list", "--format", "terse", "--ignored"])?;
        if ignored {
            return Ok(left_out);
        }
        let all = list(&["--list", "--format", "terse"])?;
        Ok(all.into_iter().filter(|name| !left_out.contains(name)).collect())
    }

    /// As cargo runs it: in the package's folder, and with the package that it is of.
    pub(super) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.executable);
        command.args(arguments).current_dir(&self.dir).stdin(Stdio::null());
        command.env("CARGO_MANIFEST_DIR", &self.dir).env("CARGO_PKG_NAME", &self.package);
        command
    }

    fn name(&self) -> String {
        format!(
            "{} ({})",
            self.package,
            self.executable.file_name().unwrap_or_else(|| OsStr::new("?")).to_string_lossy()
        )
    }
}

/// What it prints, and how it ends.
pub(super) fn output(command: &mut Command) -> Outcome {
    command.output().with_context(|| format!("cannot run {}", command.get_program().display()))
}

/// The test programs of the workspace that cargo chooses by `targets`. `None` when something does not compile; cargo has said what.
pub(super) fn build(root: &Path, targets: &[&str]) -> anyhow::Result<Option<Vec<Program>>> {
    // Of the whole workspace always: a package by itself has other features, and its dependencies are built again for them.
    let words = ["test", "--workspace", "--locked", "--no-run", "--message-format", "json"];
    let mut cargo = image_builder::binaries::cargo();
    let output = cargo.args(words).args(targets).current_dir(root).stderr(Stdio::inherit()).output()?;
    let messages = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        messages.lines().filter_map(rendered).for_each(|message| say(&message));
        return Ok(None);
    }
    let programs: Vec<Program> = messages.lines().filter_map(program).collect();
    ensure!(!programs.is_empty(), "cargo has built no test program");
    Ok(Some(programs))
}

/// A test program, from one of cargo's messages (`compiler-artifact`, doc.rust-lang.org/cargo/reference/external-tools.html).
fn program(line: &str) -> Option<Program> {
    let message: Value = serde_json::from_str(line).ok()?;
    if message["profile"]["test"] != true {
        return None;
    }
    let dir = Path::new(message["manifest_path"].as_str()?).parent()?.to_owned();
    let package = dir.file_name()?.to_string_lossy().into_owned();
    let target = message["target"]["name"].as_str()?.to_owned();
    Some(Program { package, target, dir, executable: message["executable"].as_str()?.into() })
}

/// The tests in what `--list --format terse` of libtest prints.
fn listed(printed: &str) -> Vec<String> {
    printed.lines().filter_map(|line| Some(line.strip_suffix(": test")?.to_owned())).collect()
}

/// What the compiler says to people.
fn rendered(line: &str) -> Option<String> {
    let message: Value = serde_json::from_str(line).ok()?;
    Some(message["message"]["rendered"].as_str()?.to_owned())
}

fn report(name: &str, outcome: &Outcome, took: Duration, tally: &mut Tally) {
    say(&format!("== {name}: {took:.0?}"));
    let mut counted = Tally::default();
    let success = match outcome {
        Ok(output) => {
            let printed = String::from_utf8_lossy(&output.stdout);
            // What tests say on standard error is for people.
            printed.lines().for_each(|line| counted.read(line));
            say(&printed);
            say(&String::from_utf8_lossy(&output.stderr));
            output.status.success()
        }
        Err(error) => {
            say(&format!("{error:#}"));
            false
        }
    };
    tally.add(counted, success);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_programs_are_found_in_what_cargo_says() {
        let line = r#"{"reason":"compiler-artifact","manifest_path":"/r/crates/a/Cargo.toml","target":{"name":"t"},"profile":{"test":true},"executable":"/t/a-1"}"#;
        let found = Program {
            package: "a".to_owned(),
            target: "t".to_owned(),
            dir: "/r/crates/a".into(),
            executable: "/t/a-1".into(),
        };
        assert_eq!(program(line), Some(found));
        let library = line.replace("\"/t/a-1\"", "null");
        let binary = line.replace("true", "false");
        for other in [&library, &binary, r#"{"reason":"build-finished"}"#, "", "text"] {
            assert_eq!(program(other), None, "{other}");
        }
    }

    #[test]
    fn tests_are_found_in_what_libtest_lists() {
        assert_eq!(listed("a::b: test\nc: benchmark\n\nd: test\n"), ["a::b", "d"]);
    }

    #[test]
    fn each_job_runs_once_whatever_the_number_of_lanes() {
        for lanes in [1, 2, 7] {
            let ran = Mutex::new(Vec::new());
            let jobs = (0..5).map(|number| Job {
                name: number.to_string(),
                run: Box::new({
                    let ran = &ran;
                    move || {
                        ran.lock().unwrap().push(number);
                        output(Command::new("echo").arg("test result: ok. 2 passed; 0 failed; 1 ignored"))
                    }
                }),
            });
            let mut tally = Tally::default();
            run_jobs(jobs.collect(), lanes, &mut tally);
            let mut ran = ran.into_inner().unwrap();
            ran.sort_unstable();
            assert_eq!((ran, tally.passed, tally.failed), (vec![0, 1, 2, 3, 4], 10, 0));
        }
    }

    #[test]
    fn results_are_added_and_an_end_without_one_is_a_failure() {
        let mut tally = Tally::default();
        for (script, passed, failed) in [
            ("echo 'test result: ok. 3 passed; 0 failed; 0 ignored'", 3, 0),
            ("echo 'test result: FAILED. 1 passed; 2 failed; 0 ignored'; exit 101", 4, 2),
            ("echo it crashed >&2; exit 3", 4, 3),
            ("echo 'test result: ok. 9 passed; 9 failed; 0 ignored' >&2", 4, 3),
            ("echo 'NOT CHECKED: x'; echo 'test result: ok. 2 passed; 0 failed; 0 ignored'", 5, 3),
        ] {
            let output = Command::new("/bin/sh").args(["-c", script]).output().unwrap();
            report("a", &Ok(output), Duration::ZERO, &mut tally);
            assert_eq!((tally.passed, tally.failed), (passed, failed), "{script}");
        }
        report("a", &super::output(&mut Command::new("/nowhere")), Duration::ZERO, &mut tally);
        assert_eq!((tally.failed, tally.unchecked), (4, vec!["x".to_owned()]));
    }
}
