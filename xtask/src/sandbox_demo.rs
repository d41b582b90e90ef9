//! `cargo xtask demo`: the main job on stand-ins, with the real programs, for anybody on any machine.

mod picture;
mod story;
mod table;

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use sandbox::{Binaries, Sandbox};
use tokio::signal::unix::{SignalKind, signal};

use crate::terminal::say;
use table::Film;

/// Builds the programs, shows them, and takes everything down again. What was shown is drawn into `record`.
pub(crate) fn run(root: &Path, nodes: u8, record: Option<&PathBuf>) -> anyhow::Result<()> {
    say("building gardener-extension-cri-resmgr, cri-resmgr-node-agent and runtime-gate");
    let binaries = Binaries::build(root)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut film = Film::default();
    runtime.block_on(async {
        let sandbox = tokio::select! {
            sandbox = Sandbox::up(root, &binaries, nodes) => sandbox?,
            () = asked_to_stop() => anyhow::bail!("interrupted; nothing is left behind"),
        };
        let shown = tokio::select! {
            shown = story::tell(&sandbox, root, &mut film) => shown,
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

/// Ctrl-C, or somebody's polite wish.
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
