//! The tests on real components: several at a time, each on a bed of its own.

use std::collections::VecDeque;
use std::path::Path;

use anyhow::{Context as _, ensure};
use testbed::Generation;

use super::side_by_side::{self, Job, Outcome, Program};
use super::{Tally, TestArgs, check, nri_plugins, run_tests};
use crate::terminal::say;
use crate::{artifacts, bed};

/// Test programs of the workspace that a plain run leaves out, wholly or in part.
const TARGETS: [&str; 5] = ["real", "short", "memory", "daemon", "upstream"];
/// The tests that take longest: they begin first, so that none of them is alone at the end. The very first measures how quickly an answer comes.
const FIRST: [&str; 7] =
    ["admission", "node::node", "conformance", "main_job::on_and_off", "pools_and_sleep", MACHINE, "crash-matrix"];
/// The test of the main job: on and off, with pods and traffic.
const MAIN_JOB: &str = "main_job::on_and_off_four_times_with_a_pod_running_throughout";
/// The bed of the tests that take a machine.
const MACHINE: &str = "machine";

/// Runs what `args` ask for in the repository at `root`.
pub(super) fn run(args: &TestArgs, root: &Path, tally: &mut Tally) -> anyhow::Result<()> {
    // Not part of the whole: its programs take minutes to build on a machine that has never built them, and CI has a limit. It needs neither images
    // nor a bed.
    if args.only.as_deref() == Some(nri_plugins::NAME) {
        return nri_plugins::run(root, tally);
    }
    let generation = args.generation.unwrap_or_default();
    let more = [(Generation::VARIABLE, generation.to_string())];
    if let Some(only) = &args.only {
        return on_real_components(root, &[only], &more, tally);
    }
    say("== building the images under test");
    let artifacts = artifacts::build(root, artifacts::Payload::CriResmgr)?;
    check("the chart, linted and rendered by Helm", tally, || crate::within(&["chart"], root));
    say("== tests on real components");
    let targets: Vec<&str> = TARGETS.iter().flat_map(|target| ["--test", target]).collect();
    let Some(programs) = side_by_side::build(root, &targets)? else {
        tally.count(false);
        return Ok(());
    };
    let lanes = args.beds.map_or_else(|| side_by_side::cores() + 1, usize::from);
    side_by_side::run_jobs(jobs(root, &programs, &artifacts, generation)?, lanes, tally);
    Ok(())
}

/// All of them, those that take longest first.
fn jobs<'a>(
    root: &'a Path,
    programs: &'a [Program],
    artifacts: &'a e2e::Artifacts,
    generation: Generation,
) -> anyhow::Result<VecDeque<Job<'a>>> {
    let find = |package: &str, target: &str| {
        let found = programs.iter().find(|program| program.package == package && program.target == target);
        found.with_context(|| format!("cargo has built no test program {target} of {package}"))
    };
    let module = image_builder::payload::payload_module(root)?;
    let daemon =
        [("CRI_RESMGR", artifacts.daemon.display().to_string()), ("CRI_RESMGR_SOURCE", module.display().to_string())];
    let mut jobs = Vec::new();
    // The real daemon's verdict on the corpus of configurations, and on what upstream publishes; and what becomes of that in nri-plugins.
    for (package, target) in [("extension-config", "daemon"), ("policy-convert", "upstream")] {
        jobs.push(find(package, target)?.job(package.to_owned(), &["--ignored"], &daemon));
    }
    let of_bed = [&artifacts.to_env()[..], &[(Generation::VARIABLE, generation.to_string())]].concat();
    for (package, target, ignored) in
        [("crash-matrix", "short", true), ("sandbox", "memory", true), ("e2e", "real", false)]
    {
        let program = find(package, target)?;
        let tests = program.tests(ignored)?;
        ensure!(!tests.is_empty(), "the test program {target} of {package} has no tests to run");
        for test in tests {
            let arguments: &[&str] = &[&test, "--exact", "--include-ignored", "--nocapture"];
            jobs.push(program.job(format!("{test} ({package})"), arguments, &of_bed));
        }
    }
    // What Gardener still supports at its oldest has the main job, too; the rest is `cargo xtask soak --only old-generation`.
    if generation == Generation::New {
        let old = [&artifacts.to_env()[..], &[(Generation::VARIABLE, Generation::Old.to_string())]].concat();
        let arguments = [MAIN_JOB, "--exact", "--nocapture"];
        jobs.push(find("e2e", "real")?.job(format!("{MAIN_JOB} (e2e, generation old)"), &arguments, &old));
    }
    // Re-execution ends a bed's machine (`docs/development.md`).
    let on_a_machine = [
        (find("systemd-client", "real")?, "SYSTEMD_CLIENT_TEST_ROOT", "reexec"),
        (find("runtime-gate", "real")?, "RUNTIME_GATE_TEST_ROOT", "nothing"),
    ];
    jobs.push(Job {
        name: MACHINE.to_owned(),
        run: Box::new(move || bed::runtime()?.block_on(on_a_worker(root, artifacts, generation, &on_a_machine))),
    });
    jobs.sort_by_key(|job| FIRST.iter().position(|first| job.name.contains(first)).unwrap_or(FIRST.len()));
    Ok(jobs.into())
}

/// The tests of a bed that these arguments of libtest choose, one after the other, with more variables for them.
pub(crate) fn on_real_components(
    root: &Path,
    chosen: &[&str],
    more: &[(&str, String)],
    tally: &mut Tally,
) -> anyhow::Result<()> {
    say("== building the images under test");
    let artifacts = artifacts::build(root, artifacts::Payload::CriResmgr)?;
    say("== tests on real components");
    let arguments = [&["--test-threads=1", "--nocapture"], chosen].concat();
    run_tests(root, ("e2e", Some("real")), &arguments, &[&artifacts.to_env()[..], more].concat(), tally)
}

/// The tests of crates that ask for a machine with a real systemd, containerd and cri-resmgr get a worker of a bed that runs through cri-resmgr: each
/// program, the variable that names the machine's root, and what it leaves out.
async fn on_a_worker(
    root: &Path,
    artifacts: &e2e::Artifacts,
    generation: Generation,
    programs: &[(&Program, &str, &str)],
) -> Outcome {
    let options = e2e::TestEnvironmentOptions {
        name: MACHINE.to_owned(),
        root: root.to_owned(),
        workers: 1,
        generation,
        artifacts: artifacts.clone(),
        progress: testbed::Progress::default(),
    };
    let outcome = async {
        let environment = e2e::TestEnvironment::up(options).await?;
        environment.switch_on(None).await?;
        let machine = environment.bed.workers().first().context("a bed without workers")?.live_root()?;
        let mut whole: Option<std::process::Output> = None;
        for (program, variable, left_out) in programs {
            let mut command = program.command(&["--ignored", "--test-threads=1", "--skip", left_out]);
            let output = side_by_side::output(command.env(variable, &machine))?;
            whole = Some(match whole {
                None => output,
                Some(former) => std::process::Output {
                    status: if former.status.success() { output.status } else { former.status },
                    stdout: [former.stdout, output.stdout].concat(),
                    stderr: [former.stderr, output.stderr].concat(),
                },
            });
        }
        whole.context("no program to run on a machine")
    };
    let outcome = outcome.await;
    testbed::down(MACHINE).await?;
    outcome
}
