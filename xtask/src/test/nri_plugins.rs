//! The resource policies of nri-plugins, built from their module, against a container runtime's side of NRI.

use std::path::Path;

use anyhow::Context as _;
use testbed::Progress;
use testbed::components::{self, Component};

use super::{Tally, run_tests};
use crate::bed;
use crate::terminal::say;

/// What `--only` runs this part by.
pub(crate) const NAME: &str = "nri-plugins";

/// Builds the policies where they are not built, and runs the tests that ask for them.
pub(crate) fn run(root: &Path, tally: &mut Tally) -> anyhow::Result<()> {
    say("== the policies of nri-plugins on a made-up machine");
    let progress = Progress::default();
    let obtain = |component: Component| bed::runtime()?.block_on(component.obtain(root, &progress));
    let mut programs = Vec::new();
    for (variable, component) in
        [("NRI_BALLOONS", components::NRI_BALLOONS), ("NRI_TOPOLOGY_AWARE", components::NRI_TOPOLOGY_AWARE)]
    {
        let program = obtain(component)?;
        let content = std::fs::read(&program).with_context(|| format!("cannot read {}", program.display()))?;
        say(&format!("{} {}", program.display(), image_builder::Digest::of(&content)));
        programs.push((variable, program.display().to_string()));
    }
    run_tests(root, ("fake-nri-runtime", Some("nri_plugins")), &["--ignored"], &programs, tally)?;
    say("== what comes of cri-resmgr's configurations, taken by the policies");
    programs.push(("CRI_RESMGR_SOURCE", image_builder::payload::payload_module(root)?.display().to_string()));
    run_tests(root, ("policy-convert", Some("dry_run")), &["--ignored", "--nocapture"], &programs, tally)
}
