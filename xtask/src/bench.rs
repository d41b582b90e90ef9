//! `cargo xtask bench`: how fast and how large it is, as ratios of one run.

use std::path::Path;

use ::bench::{ControllerArgs, PlotArgs};
use clap::Subcommand;

use crate::terminal::say;

#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    Controller(ControllerArgs),
    Plot(PlotArgs),
}

pub(crate) fn run(command: &BenchCommand, root: &Path) -> anyhow::Result<()> {
    match command {
        BenchCommand::Controller(args) => say(&args.run(root)?),
        BenchCommand::Plot(args) => args.run(root)?,
    }
    Ok(())
}
