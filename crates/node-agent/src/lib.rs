//! The node agent of the cri-resmgr extension: observe, plan, execute, report.
//!
//! A library, so that `cargo xtask demo` can let a thousand agents work on nodes in memory ([`simulation`]); what ships is the program.

mod agent;
mod cli;
mod converge;
mod desired_file;
mod dynamic;
mod effects;
mod events;
mod execute;
#[cfg(test)]
mod fake;
#[cfg(test)]
mod golden;
mod host_log;
mod inputs;
mod inspect;
mod kubelet;
#[cfg(test)]
mod log_lines;
#[cfg(any(test, feature = "simulation"))]
mod memory;
mod metrics;
mod observe;
mod payload;
mod policies;
mod proof_failure;
mod prove;
mod real;
mod recent;
mod report;
mod run;
mod shoot;
#[cfg(feature = "simulation")]
pub mod simulation;
mod telemetry;
mod trial;
mod wake;

use anyhow::Context;
use clap::Parser;

use cli::{Cli, Command};

/// What the program does: reads its command line and carries it out. The first call in a process.
///
/// # Errors
/// What the command could not do, with its causes.
pub fn program() -> anyhow::Result<()> {
    let cli = Cli::parse();
    // Only the first call in a process can fail, and this is it.
    drop(rustls::crypto::ring::default_provider().install_default());
    // Work on the node blocks this thread: files are hashed, copied and flushed. It is none of the runtime's, whose one worker serves HTTP
    // meanwhile.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.context("start the event loop")?;
    match cli.command {
        Command::Run(options) => runtime.block_on(run::run(options)),
        Command::Status(options) => runtime.block_on(inspect::status(&options)),
        Command::Plan(options) => runtime.block_on(inspect::plan(&options)),
        Command::HostLog(options) => runtime.block_on(host_log::print(&options)),
    }
}
