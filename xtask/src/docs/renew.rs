//! What commands print on a bed, written into the pages that show it.

use std::path::Path;

use anyhow::Context as _;
use e2e::{TestEnvironment, TestEnvironmentOptions, printed};
use testbed::{Generation, Progress};

use crate::terminal::say;
use crate::{artifacts, bed};

const NAME: &str = "docs";

/// Brings a bed up, asks, and writes the pages in which something has changed.
pub(super) fn run(root: &Path) -> anyhow::Result<()> {
    bed::ensure_machine()?;
    let pages = printed::pages(root)?;
    let artifacts = artifacts::build(root, artifacts::Payload::CriResmgr)?;
    let xtask = artifacts.xtask.clone();
    let progress = Progress::default();
    let options = TestEnvironmentOptions {
        name: NAME.to_owned(),
        root: root.to_owned(),
        workers: 1,
        generation: Generation::default(),
        artifacts,
        progress: progress.clone(),
    };
    let outcome = bed::runtime()?.block_on(bed::interruptible(NAME, async {
        let outcome = async {
            let environment = TestEnvironment::up(options).await?;
            let printed = printed::print(&environment, root, &pages, &xtask, &progress).await;
            if printed.is_err() {
                say(&environment.explain().await);
            }
            printed
        };
        let outcome = outcome.await;
        testbed::down(NAME).await?;
        outcome
    }));
    let printed = outcome?;
    // Somebody may have gone on writing meanwhile.
    for page in &printed::pages(root)? {
        let text = printed::renewed(page, &printed).with_context(|| page.path.display().to_string())?;
        let changed = text != page.text;
        if changed {
            std::fs::write(root.join(&page.path), text).with_context(|| page.path.display().to_string())?;
        }
        say(&format!("{} {}", if changed { "wrote" } else { "kept " }, page.path.display()));
    }
    Ok(())
}
