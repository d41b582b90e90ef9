//! `cargo xtask testbed`: a bed that stays until it is taken down.

use std::path::Path;

use clap::{Args, Subcommand};
use testbed::{Bed, Generation, Options, Progress};

use crate::terminal::say;

/// The seed namespace of the bed's shoot.
pub(crate) const SHOOT_NAMESPACE: &str = "shoot--local--local";

#[derive(Debug, Subcommand)]
pub(crate) enum TestbedCommand {
    /// Brings a bed up and prints its kubeconfigs.
    Up(UpArgs),
    /// Says which beds exist and what of them runs.
    Status,
    /// Takes a bed down.
    Down(NameArgs),
}

#[derive(Debug, Args)]
pub(crate) struct NameArgs {
    /// Name of the bed.
    #[arg(long, default_value = "bed")]
    name: String,
}

#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    #[command(flatten)]
    name: NameArgs,
    /// Number of workers.
    #[arg(long, default_value_t = 1)]
    workers: u8,
    /// What the workers are, and the control planes with them: `old` (Kubernetes 1.34, containerd 1.6) or `new` (1.37, 2.3).
    #[arg(long, default_value_t)]
    generation: Generation,
}

pub(crate) fn run(command: &TestbedCommand, root: &Path) -> anyhow::Result<()> {
    runtime()?.block_on(async {
        match command {
            TestbedCommand::Up(args) => up(args, root).await,
            TestbedCommand::Status => status(),
            TestbedCommand::Down(args) => testbed::down(&args.name).await,
        }
    })
}

/// Says at once, before anything is built, what this machine lacks for a bed.
pub(crate) fn ensure_machine() -> anyhow::Result<()> {
    let lacks = testbed::check(&testbed::cache_dir()?);
    for lack in &lacks {
        say(&format!("missing: {} — {}", lack.what, lack.mend));
    }
    anyhow::ensure!(lacks.is_empty(), "this machine lacks {} thing(s) that --real needs", lacks.len());
    Ok(())
}

pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

fn options(root: &Path, args: &UpArgs) -> Options {
    Options {
        name: args.name.name.clone(),
        root: root.to_owned(),
        shoot_namespace: SHOOT_NAMESPACE.to_owned(),
        workers: args.workers,
        generation: args.generation,
        progress: Progress::default(),
    }
}

async fn up(args: &UpArgs, root: &Path) -> anyhow::Result<()> {
    let bed = interruptible(&args.name.name, Bed::up(options(root, args))).await?;
    say("the bed is up");
    print_kubeconfigs(&bed);
    Ok(())
}

pub(crate) fn print_kubeconfigs(bed: &Bed) {
    say(&format!("  seed:  export KUBECONFIG={}", bed.seed().admin_kubeconfig().display()));
    say(&format!("  shoot: export KUBECONFIG={}", bed.shoot().admin_kubeconfig().display()));
    say(&format!("  logs:  {}", bed.dir().display()));
}

fn status() -> anyhow::Result<()> {
    let beds = testbed::list()?;
    if beds.is_empty() {
        say("no bed");
    }
    for bed in beds {
        say(&format!("{}: {}", bed.name, bed.dir.display()));
        say(&format!("  runs:  {}", bed.alive.join(", ")));
        if !bed.dead.is_empty() {
            say(&format!("  ended: {}", bed.dead.join(", ")));
        }
    }
    Ok(())
}

/// Runs `work` until it ends or Ctrl-C is pressed; then the bed is taken down.
pub(crate) async fn interruptible<T>(name: &str, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::select! {
        done = work => done,
        signal = tokio::signal::ctrl_c() => {
            signal?;
            testbed::down(name).await?;
            anyhow::bail!("interrupted; the bed {name} is down")
        }
    }
}
