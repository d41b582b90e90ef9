//! The second backend on real workers.

use std::path::Path;

use testbed::Generation;

use super::SoakArgs;
use crate::artifacts::{self, Payload};
use crate::terminal::say;
use crate::test::{Tally, run_tests};

/// The whole way from the Shoot's providerConfig to the CPUs that the kernel lets a container have, and back.
pub(super) fn on_the_new_generation(root: &Path, _: &SoakArgs) -> anyhow::Result<String> {
    run(root, "nri_plugins::")?;
    Ok("a policy is installed, followed, healed and removed on the newest kubelet and containerd".to_owned())
}

/// Three workers with pods, from one backend to the other and back.
pub(super) fn backend_migration(root: &Path, _: &SoakArgs) -> anyhow::Result<String> {
    run(root, "migration::workers")?;
    Ok("three workers go to a policy and back to the proxy, and no pod notices".to_owned())
}

fn run(root: &Path, test: &str) -> anyhow::Result<()> {
    crate::bed::ensure_machine()?;
    say("== building the images under test, with the policies of nri-plugins");
    let artifacts = artifacts::build(root, Payload::Both)?;
    let generation = (Generation::VARIABLE, Generation::New.to_string());
    let mut tally = Tally::default();
    let arguments = ["--test-threads=1", "--nocapture", "--ignored", test];
    let variables = [&artifacts.to_env()[..], &[generation]].concat();
    run_tests(root, ("e2e", Some("real")), &arguments, &variables, &mut tally)?;
    super::longer::all_passed(&tally)
}
