//! `cargo xtask bench`: how fast and how large it is, as ratios of one run.

use std::path::Path;

use ::bench::{ControllerArgs, PlotArgs};
use anyhow::ensure;
use clap::Subcommand;
use image_builder::binaries;

use crate::terminal::say;

#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    Controller(ControllerArgs),
    /// What a processor alone does: configurations checked and objects rendered, as they ship, beside their floors.
    Core,
    Plot(PlotArgs),
}

pub(crate) fn run(command: &BenchCommand, root: &Path) -> anyhow::Result<()> {
    match command {
        BenchCommand::Controller(args) => say(&args.run(root)?),
        BenchCommand::Core => core(root)?,
        BenchCommand::Plot(args) => args.run(root)?,
    }
    Ok(())
}

/// The profile of `cargo bench` is that of a release.
fn core(root: &Path) -> anyhow::Result<()> {
    for (package, bench) in [("extension-config", "documents"), ("managed-resource", "rendering")] {
        let words = ["bench", "--locked", "--quiet", "--package", package, "--bench", bench];
        let status = binaries::cargo().args(words).current_dir(root).status()?;
        ensure!(status.success(), "{bench} of {package}: {status}");
    }
    let words = ["test", "--release", "--locked", "--quiet", "--package", "admission", "--lib", "--"];
    let status =
        binaries::cargo().args(words).args(["--ignored", "--nocapture", "times::"]).current_dir(root).status()?;
    ensure!(status.success(), "reviews: {status}");
    Ok(())
}
