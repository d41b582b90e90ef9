//! What demo and tests run: the images, as a person builds them with `cargo xtask images`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use e2e::Artifacts;
use extension_config::names;
use image_builder::image::Platform;
use image_builder::{binaries, payload};

/// Registry part of the images' names on a bed; nothing is ever pulled from it.
pub(crate) const REGISTRY: &str = "testbed.local";

/// What the image under test carries for nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Payload {
    /// cri-resmgr alone.
    CriResmgr,
    /// cri-resmgr and the policies of nri-plugins.
    Both,
}

/// Builds both images, what they carry for nodes from source.
pub(crate) fn build(root: &Path, payload: Payload) -> anyhow::Result<Artifacts> {
    let dist = testbed::cache_dir()?.join("dist");
    remove_former(&dist)?;
    let dir = dist.join(std::process::id().to_string());
    let tag = env!("CARGO_PKG_VERSION");
    let folder = dir.display().to_string();
    let words = ["images", "--registry", REGISTRY, "--tag", tag, "--payload", "from-source"];
    let more: &[&str] = match payload {
        Payload::CriResmgr => &[],
        Payload::Both => &["--nri-plugins", "from-source"],
    };
    crate::within(&[&words[..], more, &["--output", "docker-archive", "--dir", &folder]].concat(), root)
        .context("cannot build the images under test")?;
    let name = names::INSTALLATION_IMAGE;
    let programs = binaries::build(root, Platform::LinuxAmd64)?;
    Ok(Artifacts {
        controller: programs.join(names::CONTROLLER_NAME),
        agent: programs.join("cri-resmgr-node-agent"),
        gate: programs.join("runtime-gate"),
        daemon: daemon(root)?,
        image_archive: dir.join(format!("{name}-{tag}.docker.tar")),
        image_name: format!("{REGISTRY}/{name}:{tag}"),
        xtask: crate::own_program()?,
    })
}

/// Each run has a folder of its process's number, and several may be at work. Those of processes that have ended, however they did, go.
fn remove_former(dist: &Path) -> anyhow::Result<()> {
    let entries = match std::fs::read_dir(dist) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        found => found.with_context(|| format!("cannot read {}", dist.display()))?,
    };
    for entry in entries {
        let entry = entry?;
        let is_former = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()).is_some_and(|process| {
            process != std::process::id() && !Path::new("/proc").join(process.to_string()).exists()
        });
        if is_former {
            let path = entry.path();
            match std::fs::remove_dir_all(&path) {
                // Another run was faster.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                removed => removed.with_context(|| format!("cannot remove {}", path.display()))?,
            }
        }
    }
    Ok(())
}

/// The daemon itself, unpacked from its payload, for tests that ask it what it thinks of a configuration.
fn daemon(root: &Path) -> anyhow::Result<PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    let cache = testbed::cache_dir()?;
    let tree = payload::read(&payload::payload_from_source(root, &cache)?)?;
    let program = tree.file("opt/intel/bin/cri-resmgr").context("the payload holds no daemon")?;
    let path = cache.join("dist").join("cri-resmgr");
    std::fs::write(&path, program).with_context(|| format!("cannot write {}", path.display()))?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_leftovers_of_ended_processes_are_removed() -> anyhow::Result<()> {
        let dist = tempfile::tempdir()?;
        let mut child = std::process::Command::new("true").spawn()?;
        child.wait()?;
        let (ended, own) = (child.id().to_string(), std::process::id().to_string());
        for folder in [ended.as_str(), own.as_str(), "1", "other"] {
            std::fs::create_dir_all(dist.path().join(folder).join("inside"))?;
        }
        std::fs::write(dist.path().join("cri-resmgr"), "")?;
        remove_former(dist.path())?;
        remove_former(&dist.path().join("absent"))?;
        let mut left: Vec<String> = std::fs::read_dir(dist.path())?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<anyhow::Result<_>>()?;
        left.sort();
        let mut kept = [own.as_str(), "1", "other", "cri-resmgr"];
        kept.sort_unstable();
        assert_eq!(left, kept);
        Ok(())
    }
}
