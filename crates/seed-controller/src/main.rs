//! The seed controller of the cri-resmgr extension.

mod actuator;
mod base_config;
mod client;
mod configuration;
#[cfg(test)]
mod golden;
mod manifests;
mod options;
mod process;
mod reason;
mod removal;
mod shoot;

use anyhow::Context as _;
use clap::Parser as _;
use observability::LogConfig;
use options::{Command, Options};
use std::process::ExitCode;

fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    if let Some(Command::Check(check)) = &options.command {
        return Ok(check.run().into());
    }
    work(options).map(|()| ExitCode::SUCCESS)
}

fn work(options: Options) -> anyhow::Result<()> {
    observability::logging::init(&LogConfig { level: options.log_level.clone(), format: options.log_format })
        .context("set up logging")?;
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        anyhow::bail!("a TLS provider is already installed");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")?;
    let ended = runtime.block_on(process::run(options));
    // Not waiting for what still runs: after a lost lease nothing may.
    runtime.shutdown_background();
    ended
}
