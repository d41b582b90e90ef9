//! The real programs.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

/// Where they are.
#[derive(Debug, Clone)]
pub struct Binaries {
    /// `gardener-extension-cri-resmgr`.
    pub controller: PathBuf,
    /// `cri-resmgr-node-agent`.
    pub agent: PathBuf,
    /// `runtime-gate`.
    pub gate: PathBuf,
}

impl Binaries {
    /// Builds them from the sources in `repository`, into the target folder that the running program stands in.
    ///
    /// # Errors
    /// When that fails; cargo has said why.
    pub fn build(repository: &Path) -> anyhow::Result<Self> {
        let own = std::env::current_exe()?;
        let profile = own.parent().map(|dir| if dir.ends_with("deps") { dir.parent().unwrap_or(dir) } else { dir });
        let target = profile.and_then(Path::parent).context("this program stands in no target folder")?;
        // Not as a part of this package: half of the crates would be built anew, and again by whoever comes next.
        let mut command = image_builder::binaries::cargo();
        command.current_dir(repository).args(["build", "--quiet", "--locked", "--bins"]);
        command.args(["-p", "seed-controller", "-p", "node-agent", "-p", "runtime-gate", "--target-dir"]).arg(target);
        ensure!(command.status().context("cannot run cargo")?.success(), "the programs cannot be built");
        let dir = target.join("debug");
        Ok(Self {
            controller: dir.join("gardener-extension-cri-resmgr"),
            agent: dir.join("cri-resmgr-node-agent"),
            gate: dir.join("runtime-gate"),
        })
    }
}
