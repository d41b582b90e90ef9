//! `cargo xtask test`: what must be green before a commit. `--real` adds what needs the real components.

mod nri_plugins;
mod real;
mod side_by_side;

pub(crate) use real::on_real_components;

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use testbed::Generation;

use crate::terminal::say;
use crate::{bed, docs, spelling};

/// Program and Debian package.
const SHELLCHECK: &str = "shellcheck";
/// Program and Debian package; tar reads upstream's recorded machines with it.
const BZIP2: &str = "bzip2";
/// Debian's package of Prometheus, which is unpacked and not installed, and its program that reads rules.
const PROMETHEUS: (&str, &str) = ("prometheus", "promtool");
/// Where the rules of the shoots' Prometheus are, and their tests.
const RULES: &str = "charts/cri-resmgr-monitoring";
/// Version of cargo-deny, which checks `deny.toml`.
const CARGO_DENY: &str = "0.20.2";
#[derive(Debug, Args)]
pub(crate) struct TestArgs {
    /// Also the tests on real components: needs root, Go and some GiB of disk.
    #[arg(long)]
    real: bool,
    /// Only tests on real components whose name contains this; `nri-plugins`: those of its policies, which no other run has.
    #[arg(long, requires = "real")]
    only: Option<String>,
    /// What the workers of those are: `new` (Kubernetes 1.37, containerd 2.3; the default, in which the main job runs on the old one, too) or `old` (1.34, 1.6).
    #[arg(long, requires = "real")]
    generation: Option<Generation>,
    /// How many of those at a time; each has a bed of its own. As many as the machine has cores, and one more, unless said: they wait more than they
    /// compute.
    #[arg(long, requires = "real", value_parser = clap::value_parser!(u8).range(1..))]
    beds: Option<u8>,
}

/// How a line begins that tells what could not be checked; a test writes one, too, when this machine lacks what it needs.
const UNCHECKED: &str = "NOT CHECKED: ";

/// Tests passed and failed, and the checks that are no test binaries: each counts as one.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    /// What could not be checked here, and why. Told at the end, where nobody takes it for passed.
    unchecked: Vec<String>,
}

pub(crate) fn run(args: &TestArgs, root: &Path) -> anyhow::Result<()> {
    if args.real {
        bed::ensure_machine()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(testbed::ensure_programs(&[(SHELLCHECK, SHELLCHECK), (BZIP2, BZIP2)]))?;
        runtime.block_on(testbed::ensure_programs(&spelling::PACKAGES))?;
        runtime.block_on(testbed::unpacked(PROMETHEUS.0, PROMETHEUS.1, &testbed::Progress::default()))?;
        ensure_cargo_deny(root)?;
        docs::ensure_mdbook(root)?;
    }
    let mut tally = Tally::default();
    if args.only.is_none() {
        hermetic(root, &mut tally)?;
    }
    if args.real {
        real::run(args, root, &mut tally)?;
    }
    for what in &tally.unchecked {
        say(&format!("{UNCHECKED}{what}"));
    }
    // On standard output, alone on its line: CI reads it.
    writeln!(std::io::stdout(), "\n{}", tally.summary())?;
    if tally.failed > 0 {
        bail!("{} failed", tally.failed);
    }
    Ok(())
}

fn hermetic(root: &Path, tally: &mut Tally) -> anyhow::Result<()> {
    let clippy_of_real = ["clippy", "--workspace", "--test", "real", "--locked", "--", "--deny", "warnings"];
    let cargo: [(&str, &[&str]); 3] = [
        ("formatting", &["fmt", "--all", "--", "--check"]),
        ("clippy", &["clippy", "--workspace", "--all-targets", "--locked", "--", "--deny", "warnings"]),
        // Not among all targets, because `cargo test` shall not run it.
        ("clippy of the tests on real components", &clippy_of_real),
    ];
    for (what, words) in cargo {
        check(what, tally, || program(root, "cargo", words));
    }
    let own: [(&str, &[&str]); 5] = [
        ("layering of the crates", &["tidy"]),
        ("the page about metrics is current", &["metrics", "--check"]),
        ("the pages about settings are current", &["reference", "--check"]),
        (
            "the registrations among the examples are current",
            &["controller-registration", "--write-examples", "--check"],
        ),
        ("the main job in the sandbox", &["demo"]),
    ];
    for (what, words) in own {
        check(what, tally, || crate::within(words, root));
    }
    // `--real` has installed it.
    if Command::new(SHELLCHECK).arg("--version").output().is_ok() {
        let scripts = scripts(root)?;
        let scripts: Vec<&str> = scripts.iter().map(String::as_str).collect();
        check("shellcheck", tally, || program(root, SHELLCHECK, &scripts));
    } else {
        tally.skip("the scripts: shellcheck is not here; `cargo xtask test --real` installs it");
    }
    if spelling::is_here() {
        check("spelling of the pages", tally, || crate::within(&["spelling"], root));
    } else {
        tally.skip("the spelling of the pages: hunspell is not here; `cargo xtask test --real` installs it");
    }
    if docs::has_mdbook() {
        check("all pages as one site", tally, || crate::within(&["docs"], root));
    } else {
        tally.skip(
            "the pages as one site: mdbook is not here; `cargo xtask docs` and `cargo xtask test --real` build it",
        );
    }
    rules(root, tally)?;
    if has_cargo_deny() {
        check("licences, bans and sources of the dependencies", tally, || {
            program(root, "cargo", &["deny", "--log-level", "error", "check", "bans", "licenses", "sources"])
        });
        advisories(root, tally);
    } else {
        tally.skip("the dependencies: cargo-deny is not here; `cargo xtask test --real` installs it");
    }
    say("== tests of the workspace");
    side_by_side::run(root, tally)
}

/// The rules for the shoots' Prometheus by its own reader: whether it takes them, and when each alert fires.
fn rules(root: &Path, tally: &mut Tally) -> anyhow::Result<()> {
    let Some(promtool) = testbed::find_unpacked(PROMETHEUS.1)? else {
        tally.skip("the alerts: promtool is not here; `cargo xtask test --real` brings it");
        return Ok(());
    };
    let (promtool, folder) = (promtool.display().to_string(), root.join(RULES));
    check("the alerts, read and played by promtool", tally, || {
        program(&folder, &promtool, &["check", "rules", "rules.yaml"])?;
        program(&folder, &promtool, &["test", "rules", "rules-test.yaml"])
    });
    Ok(())
}

fn has_cargo_deny() -> bool {
    Command::new("cargo").args(["deny", "--version"]).output().is_ok_and(|output| output.status.success())
}

/// Known advisories, from the copy of the RustSec database that `cargo deny fetch db` has left. None is fetched here: what a run
/// says must not depend on the network. A copy that is older than `deny.toml` allows fails.
fn advisories(root: &Path, tally: &mut Tally) {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
    if home.is_some_and(|home| has_advisories(&home)) {
        check("known advisories of the dependencies", tally, || {
            program(root, "cargo", &["deny", "--offline", "--log-level", "error", "check", "advisories"])
        });
    } else {
        tally.skip(
            "known advisories of the dependencies: there is no copy of the RustSec database; \
             `cargo deny fetch db` brings one where GitHub can be reached",
        );
    }
}

/// Whether cargo-deny has a copy of a database: a folder of its own below this one, where every run of it leaves a lock.
fn has_advisories(cargo_home: &Path) -> bool {
    let copies = std::fs::read_dir(cargo_home.join("advisory-dbs"));
    copies.into_iter().flatten().flatten().any(|entry| entry.path().join(".git").exists())
}

/// Built once, into the user's folder of cargo's programs.
fn ensure_cargo_deny(root: &Path) -> anyhow::Result<()> {
    if has_cargo_deny() {
        return Ok(());
    }
    say("== building cargo-deny (once; minutes)");
    program(root, "cargo", &["install", "--locked", "--quiet", "cargo-deny", "--version", CARGO_DENY])
}

/// Every shell script of the repository.
fn scripts(root: &Path) -> anyhow::Result<Vec<String>> {
    let mut all = [".ci/run", "deploy/testbed/kind/docker", "deploy/testbed/node/boot.sh"].map(str::to_owned).to_vec();
    for folder in ["scripts", "deploy/testbed/vm"] {
        for entry in std::fs::read_dir(root.join(folder))? {
            all.push(format!("{folder}/{}", entry?.file_name().to_string_lossy()));
        }
    }
    all.sort();
    Ok(all)
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

fn program(root: &Path, name: &str, words: &[&str]) -> anyhow::Result<()> {
    let status =
        Command::new(name).args(words).current_dir(root).status().with_context(|| format!("cannot run {name}"))?;
    ensure!(status.success(), "{name} ended with {status}");
    Ok(())
}

/// A test program of the package, that of its own tests (`None`) or of a file, built. `None` when something does not compile; cargo has said what.
pub(crate) fn test_program(
    root: &Path,
    (package, target): (&str, Option<&str>),
) -> anyhow::Result<Option<side_by_side::Program>> {
    let targets = target.map_or_else(|| vec!["--lib"], |target| vec!["--test", target]);
    let Some(programs) = side_by_side::build(root, &targets)? else { return Ok(None) };
    let is_it = |program: &side_by_side::Program| {
        program.package == package && target.is_none_or(|target| target == program.target)
    };
    let found = programs.into_iter().find(is_it);
    found.map(Some).with_context(|| format!("cargo has built no such test program of {package}"))
}

/// Runs one, and shows what it prints as it comes. A run that ends without success although no test failed (something that does not compile, a crash)
/// counts as one failure.
pub(crate) fn run_tests(
    root: &Path,
    which: (&str, Option<&str>),
    arguments: &[&str],
    variables: &[(&str, String)],
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let Some(program) = test_program(root, which)? else {
        tally.count(false);
        return Ok(());
    };
    let variables = variables.iter().map(|(key, value)| (*key, value.as_str()));
    let mut child = program.command(arguments).envs(variables).stdout(Stdio::piped()).spawn()?;
    let stdout = child.stdout.take().context("its output is piped")?;
    let mut counted = Tally::default();
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        counted.read(&line);
        say(&line);
    }
    tally.add(counted, child.wait()?.success());
    Ok(())
}

impl Tally {
    fn skip(&mut self, what: &str) {
        say(&format!("== {UNCHECKED}{what}"));
        self.unchecked.push(what.to_owned());
    }

    /// Takes in a line that test programs have printed on their standard output.
    fn read(&mut self, line: &str) {
        if let Some((passed, failed)) = result_line(line) {
            self.passed += passed;
            self.failed += failed;
        }
        self.unchecked.extend(line.strip_prefix(UNCHECKED).map(str::to_owned));
    }

    /// Adds what was read of a run. One that ends without success although no test failed is a failure.
    fn add(&mut self, run: Self, success: bool) {
        // libtest knows no test that ends without having looked.
        self.passed += run.passed.saturating_sub(run.unchecked.len());
        self.failed += if success { run.failed } else { run.failed.max(1) };
        self.unchecked.extend(run.unchecked);
    }

    fn summary(&self) -> String {
        let counts = format!("{} passed, {} failed", self.passed, self.failed);
        match self.unchecked.len() {
            0 => counts,
            skipped => format!("{counts}, {skipped} skipped"),
        }
    }

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
    use super::*;

    #[test]
    fn what_was_not_checked_is_not_among_the_passed() {
        let mut tally = Tally::default();
        tally.count(true);
        assert_eq!(tally.summary(), "1 passed, 0 failed");
        tally.skip("a check that lacks something");
        assert_eq!(tally.summary(), "1 passed, 0 failed, 1 skipped");
    }

    #[test]
    fn a_lock_alone_is_no_database() -> anyhow::Result<()> {
        let home = tempfile::tempdir()?;
        assert!(!has_advisories(home.path()));
        let copies = home.path().join("advisory-dbs");
        std::fs::create_dir(&copies)?;
        std::fs::write(copies.join("db.lock"), "")?;
        assert!(!has_advisories(home.path()));
        std::fs::create_dir_all(copies.join("advisory-db-0/.git"))?;
        assert!(has_advisories(home.path()));
        Ok(())
    }

    #[test]
    fn results_of_libtest_are_read() {
        let line = "test result: FAILED. 3 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        assert_eq!(result_line(line), Some((3, 1)));
        assert_eq!(result_line("test a::b ... ok"), None);
    }
}
