//! A machine without a cluster, for what needs no more than systemd and containerd: it is there in seconds.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;

use crate::ledger::{self, Ledger};
use crate::machine::Machine;
use crate::{Generation, Progress, Worker, prerequisites};

/// Boots a worker of that generation in a bed of its own, without kubelet, control planes and network. [`crate::down`] takes it away by the bed's
/// name.
///
/// # Errors
/// When the machine lacks something, or the worker does not boot; what was started is then taken down.
pub async fn standalone_worker(
    bed: &str,
    generation: Generation,
    root: &Path,
    progress: &Progress,
) -> anyhow::Result<Worker> {
    prerequisites::ensure().await?;
    ledger::down(bed).await.context("cannot take down what an earlier run has left")?;
    let outcome = boot(bed, generation, root, progress).await;
    if outcome.is_err() {
        ledger::down(bed).await?;
    }
    outcome
}

async fn boot(bed: &str, generation: Generation, root: &Path, progress: &Progress) -> anyhow::Result<Worker> {
    let machine = Machine::obtain(generation, root, progress).await?;
    let (ledger, _) = Ledger::create(bed)?;
    progress.step("booting a worker that belongs to no cluster");
    let mut worker = Worker::prepare("worker-1", &machine, &ledger::bed_dir(bed)?, None, &Arc::new(ledger))?;
    worker.boot().await?;
    Ok(worker)
}
