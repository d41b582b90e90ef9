//! `cargo xtask kind-load`: the images into the nodes of a kind cluster.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use extension_config::names::CONTROLLER_NAME;
use image_builder::layout::Output;

use crate::terminal::say;

/// Loads what `cargo xtask images` wrote into the nodes of a kind cluster.
#[derive(Debug, Args)]
pub(crate) struct KindLoadArgs {
    /// Name of the kind cluster.
    #[arg(long, default_value = "gardener-local")]
    name: String,
    /// Where the archives are.
    #[arg(long, default_value = "dist")]
    dir: PathBuf,
}

/// Runs the command in the repository at `root`.
pub(crate) fn run(args: &KindLoadArgs, root: &Path) -> anyhow::Result<()> {
    let dir = root.join(&args.dir);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    let archives = archives(names);
    if archives.is_empty() {
        bail!("no archives in {}: run `cargo xtask images` first", dir.display());
    }
    for name in archives {
        say(&format!("loading {name} into {}", args.name));
        let status = Command::new("kind")
            .args(["load", "image-archive"])
            .arg(dir.join(&name))
            .args(["--name", &args.name])
            .status()
            .context("cannot start kind: is it installed?")?;
        ensure!(status.success(), "kind could not load {name} ({status})");
    }
    Ok(())
}

/// The archives of our images among the files of a folder, sorted. kind takes both forms of archive.
fn archives(mut names: Vec<String>) -> Vec<String> {
    let suffixes = [Output::OciArchive.suffix(), Output::DockerArchive.suffix()];
    names.retain(|name| name.starts_with(CONTROLLER_NAME) && suffixes.iter().any(|suffix| name.ends_with(suffix)));
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_our_archives_alone() {
        let names = [
            "gardener-extension-cri-resmgr-installation-0.1.0.oci.tar",
            "gardener-extension-cri-resmgr-0.1.0.docker.tar",
            "gardener-extension-cri-resmgr-0.1.0.tgz",
            "gardener-extension-cri-resmgr-0.1.0.oci",
            ".gardener-extension-cri-resmgr-0.1.0.oci.tar.77",
            "other.oci.tar",
        ];
        assert_eq!(
            archives(names.map(str::to_owned).to_vec()),
            [
                "gardener-extension-cri-resmgr-0.1.0.docker.tar",
                "gardener-extension-cri-resmgr-installation-0.1.0.oci.tar"
            ]
        );
    }
}
