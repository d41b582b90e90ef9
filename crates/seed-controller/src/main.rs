//! The seed controller of the cri-resmgr extension.

mod actuator;
mod base_config;
mod client;
mod configuration;
#[cfg(test)]
mod golden;
mod manifests;
mod monitoring;
mod options;
mod process;
mod reason;
mod removal;
mod rollup;
mod shoot;

use anyhow::Context as _;
use clap::Parser as _;
use observability::LogConfig;
use options::{Command, Options};
use std::process::ExitCode;

fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    match options.command {
        Some(Command::Check(check)) => Ok(check.run().into()),
        Some(Command::Convert(convert)) => Ok(convert.run()?.into()),
        Some(Command::Admission(args)) => {
            let log = LogConfig { level: args.log_level.clone(), format: args.log_format };
            work(&log, process::admission(*args))
        }
        None => {
            let log = LogConfig { level: options.log_level.clone(), format: options.log_format };
            work(&log, process::run(options))
        }
    }
}

fn work(log: &LogConfig, process: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<ExitCode> {
    observability::logging::init(log).context("set up logging")?;
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        anyhow::bail!("a TLS provider is already installed");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("start the runtime")?;
    let ended = runtime.block_on(process);
    // Not waiting for what still runs: after a lost lease nothing may.
    runtime.shutdown_background();
    ended.map(|()| ExitCode::SUCCESS)
}
