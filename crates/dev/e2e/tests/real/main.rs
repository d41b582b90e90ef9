//! Tests on the real components: API servers, resource managers, systemd, kubelet, containerd, cri-resmgr.
//! Run by `cargo xtask test --real`.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test program: how it ends and what it prints is for people"
)]

mod admission;
mod agent_rights;
mod configuration;
mod conformance;
mod contract;
mod control_plane_migration;
mod dynamic;
mod fail_open;
mod faults;
mod kind;
mod kubectl;
mod main_job;
mod migration;
mod monitoring;
mod newest_kubelet;
mod node;
mod nri_plugins;
mod pools_and_sleep;
mod publish;
mod registration;
mod two_platforms;
mod upgrade;

use std::path::{Path, PathBuf};

use e2e::{Artifacts, Release, TestEnvironment, TestEnvironmentOptions};
use testbed::{Generation, Progress};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..").canonicalize().expect("the repository is where it was built")
}

/// Brings a stage up with the release under test, runs `body` on it, shows the logs that explain a failure, and takes the stage down.
fn in_environment(
    name: &str,
    workers: u8,
    body: impl AsyncFnOnce(&mut TestEnvironment, &Progress) -> anyhow::Result<()>,
) {
    in_environment_of(name, workers, |artifacts| Ok(Release::under_test(&root(), artifacts)), body);
}

/// As [`in_environment`], with the release that `release` chooses.
fn in_environment_of(
    name: &str,
    workers: u8,
    release: impl FnOnce(&Artifacts) -> anyhow::Result<Release>,
    body: impl AsyncFnOnce(&mut TestEnvironment, &Progress) -> anyhow::Result<()>,
) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let outcome = runtime.block_on(async {
        let progress = Progress::default();
        let artifacts = Artifacts::from_env()?;
        let release = release(&artifacts)?;
        let generation = Generation::from_env()?;
        // Both generations may be at it at a time.
        let name = match generation {
            Generation::New => name.to_owned(),
            Generation::Old => format!("{name}-old"),
        };
        let options = TestEnvironmentOptions {
            name: name.clone(),
            root: root(),
            workers,
            generation,
            artifacts,
            progress: progress.clone(),
        };
        let mut environment = match TestEnvironment::up_with(options, &release).await {
            Ok(environment) => environment,
            Err(error) => {
                testbed::down(&name).await?;
                return Err(error);
            }
        };
        let outcome = body(&mut environment, &progress).await;
        if outcome.is_err() {
            eprintln!("{}", environment.explain().await);
        }
        environment.bed.down().await?;
        outcome
    });
    if let Err(error) = outcome {
        panic!("{error:#}");
    }
}
