//! The node agent of the cri-resmgr extension: observe, plan, execute, report.

mod cli;
mod converge;
mod desired_file;
mod dynamic;
mod effects;
mod execute;
#[cfg(test)]
mod fake;
mod inspect;
mod metrics;
mod observe;
mod payload;
mod prove;
mod real;
mod report;
mod run;
mod wake;

use anyhow::Context;
use clap::Parser;

use cli::{Cli, Command};

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    // Only the first call in a process can fail, and this is it.
    drop(rustls::crypto::ring::default_provider().install_default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the event loop")?;
    match cli.command {
        Command::Run(options) => runtime.block_on(run::run(options)),
        Command::Status(options) => runtime.block_on(inspect::status(&options)),
        Command::Plan(options) => runtime.block_on(inspect::plan(&options)),
    }
}
