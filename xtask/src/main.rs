//! What a person does with this repository.

mod artifacts;
mod bed;
mod bench;
mod chart;
mod controller_registration;
mod demo;
mod docs;
#[cfg(test)]
mod documented;
mod e2e;
mod images;
mod kind_load;
mod metrics;
mod pins;
mod reference;
mod release;
mod sandbox_demo;
mod soak;
mod spelling;
mod terminal;
mod test;
mod tidy;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::OnceLock;

use anyhow::Context as _;
use clap::Parser;

#[derive(Parser)]
enum Command {
    Images(images::ImagesArgs),
    ControllerRegistration(controller_registration::ControllerRegistrationArgs),
    Chart(chart::ChartArgs),
    KindLoad(kind_load::KindLoadArgs),
    Release(release::ReleaseArgs),
    Tidy(tidy::TidyArgs),
    Metrics(metrics::MetricsArgs),
    Reference(reference::ReferenceArgs),
    Docs(docs::DocsArgs),
    Spelling(spelling::SpellingArgs),
    Check(preview::CheckArgs),
    Convert(policy_convert::ConvertArgs),
    /// What `kubectl resmgr` does.
    Resmgr(kubectl_resmgr::Cli),
    /// Shows the main job: on, off, and a node as it was.
    Demo(demo::DemoArgs),
    E2e(e2e::E2eArgs),
    /// Measures it beside a floor, on real components.
    #[command(subcommand)]
    Bench(bench::BenchCommand),
    /// Checks everything that has to be green before a commit.
    Test(test::TestArgs),
    /// What takes too long for every change: fuzzing, the crash matrix, long fault runs and others.
    Soak(soak::SoakArgs),
    /// The real components of a seed, a shoot and its workers.
    #[command(subcommand)]
    Testbed(bed::TestbedCommand),
}

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            terminal::say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// This program's file. Asked for at the start: cargo may put a new one in its place while we run.
static OWN_PROGRAM: OnceLock<PathBuf> = OnceLock::new();

fn own_program() -> anyhow::Result<PathBuf> {
    OWN_PROGRAM.get().cloned().context("this program's file is not known")
}

fn run() -> anyhow::Result<ExitCode> {
    OWN_PROGRAM.get_or_init(|| std::env::current_exe().unwrap_or_default());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the package has no parent folder")?;
    match Command::parse() {
        // Their exit status says more than whether it worked.
        Command::Check(check) => Ok(check.run().into()),
        Command::Convert(args) => Ok(args.run()?.into()),
        Command::Resmgr(plugin) => Ok(plugin.run().into()),
        command => command.execute(root).map(|()| ExitCode::SUCCESS),
    }
}

/// Runs another command as a person would type it, within this process: cargo may have replaced the program's file meanwhile.
fn within(words: &[&str], root: &Path) -> anyhow::Result<()> {
    Command::try_parse_from(std::iter::once(&"xtask").chain(words))?.execute(root)
}

impl Command {
    fn execute(self, root: &Path) -> anyhow::Result<()> {
        match self {
            Self::Images(args) => images::run(&args, root),
            Self::ControllerRegistration(args) => controller_registration::run(&args, root),
            Self::Chart(args) => chart::run(&args, root),
            Self::KindLoad(args) => kind_load::run(&args, root),
            Self::Release(args) => release::run(&args, root),
            Self::Tidy(args) => tidy::run(&args, root),
            Self::Metrics(args) => metrics::run(&args, root),
            Self::Reference(args) => reference::run(&args, root),
            Self::Docs(args) => docs::run(&args, root),
            Self::Spelling(args) => spelling::run(&args, root),
            Self::Check(check) => {
                anyhow::ensure!(check.run() == preview::Status::Fine, "not everything is fine");
                Ok(())
            }
            Self::Convert(args) => Ok(args.run().map(drop)?),
            Self::Resmgr(plugin) => {
                anyhow::ensure!(plugin.run() == kubectl_resmgr::Exit::Done, "not everything is as desired");
                Ok(())
            }
            Self::Demo(args) => demo::run(&args, root),
            Self::E2e(args) => e2e::run(&args, root),
            Self::Bench(command) => bench::run(&command, root),
            Self::Test(args) => test::run(&args, root),
            Self::Soak(args) => soak::run(&args, root),
            Self::Testbed(command) => bed::run(&command, root),
        }
    }
}
