//! `cargo xtask test`: what must be green before a commit. `--real` adds what needs the real components.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};
use clap::Args;

use crate::terminal::say;
use crate::{artifacts, bed};

#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// Also the tests on real components: needs root, Go and some GiB of disk.
    #[arg(long)]
    real: bool,
    /// Only tests on real components whose name contains this.
    #[arg(long, requires = "real")]
    only: Option<String>,
}

/// Tests passed and failed, and the checks that are no test binaries: each counts as one.
#[derive(Debug, Default)]
struct Tally {
    passed: usize,
    failed: usize,
}

pub(crate) fn run(args: &TestArgs, root: &Path) -> anyhow::Result<()> {
    if args.real {
        bed::ensure_machine()?;
    }
    let mut tally = Tally::default();
    if args.only.is_none() {
        hermetic(root, &mut tally)?;
    }
    if args.real {
        real(args, root, &mut tally)?;
    }
    // On standard output, alone on its line: CI reads it.
    writeln!(std::io::stdout(), "\n{} passed, {} failed", tally.passed, tally.failed)?;
    if tally.failed > 0 {
        bail!("{} failed", tally.failed);
    }
    Ok(())
}

fn hermetic(root: &Path, tally: &mut Tally) -> anyhow::Result<()> {
    let cargo: [(&str, &[&str]); 2] = [
        ("formatting", &["fmt", "--all", "--", "--check"]),
        ("clippy", &["clippy", "--workspace", "--all-targets", "--locked", "--", "--deny", "warnings"]),
    ];
    for (what, words) in cargo {
        check(what, tally, || cargo_check(root, words));
    }
    let own: [(&str, &[&str]); 3] = [
        ("layering of the crates", &["tidy"]),
        ("the generated registration is current", &["controller-registration", "--check"]),
        ("the main job in the sandbox", &["demo"]),
    ];
    for (what, words) in own {
        check(what, tally, || crate::within(words, root));
    }
    say("== tests of the workspace");
    cargo_test(root, &["test", "--workspace", "--locked", "--no-fail-fast"], &[], tally)
}

/// Runs something that is a check as a whole.
fn check(what: &str, tally: &mut Tally, run: impl FnOnce() -> anyhow::Result<()>) {
    let start = Instant::now();
    say(&format!("== {what}"));
    let outcome = run();
    tally.count(outcome.is_ok());
    let verdict = outcome.map_or_else(|error| format!("FAILED: {error:#}"), |()| "ok".to_owned());
    say(&format!("== {what}: {verdict} ({:.0?})", start.elapsed()));
}

fn cargo_check(root: &Path, words: &[&str]) -> anyhow::Result<()> {
    let status = Command::new("cargo").args(words).current_dir(root).status().context("cannot run cargo")?;
    ensure!(status.success(), "cargo ended with {status}");
    Ok(())
}

fn real(args: &TestArgs, root: &Path, tally: &mut Tally) -> anyhow::Result<()> {
    say("== building the images under test");
    let artifacts = artifacts::build(root)?;
    if args.only.is_none() {
        check("the chart, linted and rendered by Helm", tally, || crate::within(&["chart"], root));
        say("== the real daemon's verdict on the corpus of configurations");
        let daemon = [("CRI_RESMGR", artifacts.daemon.display().to_string())];
        cargo_test(
            root,
            &["test", "--package", "extension-config", "--test", "daemon", "--locked", "--", "--ignored"],
            &daemon,
            tally,
        )?;
    }
    say("== tests on real components");
    let mut words =
        vec!["test", "--package", "e2e", "--test", "real", "--locked", "--", "--test-threads=1", "--nocapture"];
    if let Some(only) = &args.only {
        words.push(only);
    }
    cargo_test(root, &words, &artifacts.to_env(), tally)
}

/// Runs `cargo test`, shows what it prints and adds up its `test result:` lines. A run that ends without success although
/// no test failed (a test that does not compile, a crash) counts as one failure.
fn cargo_test(root: &Path, words: &[&str], env: &[(&str, String)], tally: &mut Tally) -> anyhow::Result<()> {
    let envs = env.iter().map(|(key, value)| (*key, value.as_str()));
    let mut child = Command::new("cargo").args(words).envs(envs).current_dir(root).stdout(Stdio::piped()).spawn()?;
    let stdout = child.stdout.take().context("cargo's output is piped")?;
    let failed_before = tally.failed;
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        if let Some((passed, failed)) = result_line(&line) {
            tally.passed += passed;
            tally.failed += failed;
        }
        say(&line);
    }
    if !child.wait()?.success() && tally.failed == failed_before {
        tally.failed += 1;
    }
    Ok(())
}

impl Tally {
    fn count(&mut self, passed: bool) {
        *if passed { &mut self.passed } else { &mut self.failed } += 1;
    }
}

/// `test result: ok. 3 passed; 1 failed; …` of libtest.
fn result_line(line: &str) -> Option<(usize, usize)> {
    let counts = line.strip_prefix("test result: ")?.split_once(". ")?.1;
    let number = |word: &str| counts.split("; ").find_map(|part| part.strip_suffix(word)?.trim().parse().ok());
    Some((number("passed")?, number("failed")?))
}

#[cfg(test)]
mod tests {
    use super::result_line;

    #[test]
    fn results_of_libtest_are_read() {
        let line = "test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        assert_eq!(result_line(line), Some((3, 1)));
        assert_eq!(result_line("test a::b ... ok"), None);
    }
}
