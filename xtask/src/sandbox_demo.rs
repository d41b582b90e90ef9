//! `cargo xtask demo`: the main job on stand-ins, with the real programs, for anybody on any machine.

mod in_memory;
mod log_lines;
mod picture;
mod policies;
mod story;
mod table;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use sandbox::{Binaries, Sandbox, WORKER_POOL};
use tokio::signal::unix::{SignalKind, signal};

use crate::terminal::say;
use table::Film;

/// A worker pool that is not meant.
const OTHER_POOL: &str = "other";

/// What is shown of the nodes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Nodes {
    /// So many, each with systemd and processes of its own.
    Processes(u8),
    /// So many in memory, of which so many percent fail at first.
    InMemory(u16, f64),
    /// Three with containers, which policies of nri-plugins place.
    WithPolicies,
}

impl Nodes {
    async fn up(self, root: &Path, binaries: &Binaries) -> anyhow::Result<Sandbox> {
        match self {
            Self::Processes(count) => Sandbox::up(root, binaries, &pools(count)).await,
            Self::InMemory(count, _) => Sandbox::simulated(root, binaries, count, in_memory::speed(count)).await,
            Self::WithPolicies => policies::up(root, binaries).await,
        }
    }

    async fn show(self, sandbox: &Sandbox, root: &Path, film: &mut Film) -> anyhow::Result<()> {
        match self {
            Self::Processes(_) => story::show(sandbox, root, film).await,
            Self::InMemory(count, percent) => in_memory::show(sandbox, root, in_memory::share(count, percent)).await,
            Self::WithPolicies => policies::show(sandbox, film).await,
        }
    }
}

/// The second of three and more nodes is of another pool than the rest.
fn pools(nodes: u8) -> Vec<&'static str> {
    let pool = |place| if place == 1 && nodes > 2 { OTHER_POOL } else { WORKER_POOL };
    (0..nodes).map(pool).collect()
}

/// Builds the programs, shows them, and takes everything down again. What was shown is drawn into `record`.
pub(crate) fn run(root: &Path, nodes: Nodes, record: Option<&PathBuf>) -> anyhow::Result<()> {
    say("building gardener-extension-cri-resmgr, cri-resmgr-node-agent and runtime-gate");
    let binaries = Binaries::build(root)?;
    // Many nodes keep their API busy, which then must not have to wait for them.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut film = Film::default();
    runtime.block_on(async {
        let sandbox = tokio::select! {
            sandbox = nodes.up(root, &binaries) => sandbox?,
            () = asked_to_stop() => anyhow::bail!("interrupted; nothing is left behind"),
        };
        let shown = tokio::select! {
            shown = nodes.show(&sandbox, root, &mut film) => shown.and_then(|()| log_lines::check(&sandbox)),
            () = asked_to_stop() => {
                sandbox.down().await?;
                anyhow::bail!("interrupted; nothing is left behind")
            }
        };
        if let Err(error) = &shown {
            say(&format!("FAILED: {error:#}\n{}", sandbox.explain()));
        }
        sandbox.down().await?;
        shown.context("the demo has failed")
    })?;
    if let Some(path) = record {
        std::fs::write(path, picture::draw(film.scenes()))
            .with_context(|| format!("cannot write {}", path.display()))?;
        say(&format!("recorded in {}", path.display()));
    }
    Ok(())
}

/// Resolves on SIGINT, SIGTERM or SIGHUP.
async fn asked_to_stop() {
    let wait = async |kind| match signal(kind) {
        Ok(mut signals) => drop(signals.recv().await),
        Err(_no_handler) => std::future::pending().await,
    };
    tokio::select! {
        () = wait(SignalKind::interrupt()) => {}
        () = wait(SignalKind::terminate()) => {}
        () = wait(SignalKind::hangup()) => {}
    }
}
