//! What demo and tests run: the images, as a person builds them with `cargo xtask images`.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use e2e::Artifacts;
use extension_config::names;
use image_builder::image::Platform;
use image_builder::{binaries, payload};

/// Registry part of the images' names on a bed; nothing is ever pulled from it.
const REGISTRY: &str = "testbed.local";

/// Builds both images with the daemon's payload from source, unless who runs us has done so and says where they are.
pub(crate) fn build(root: &Path) -> anyhow::Result<Artifacts> {
    if let Ok(built) = Artifacts::from_env() {
        return Ok(built);
    }
    let dir = testbed::cache_dir()?.join("dist").join(std::process::id().to_string());
    let tag = env!("CARGO_PKG_VERSION");
    let folder = dir.display().to_string();
    let words = ["images", "--registry", REGISTRY, "--tag", tag, "--payload", "from-source"];
    crate::within(&[&words[..], &["--output", "docker-archive", "--dir", &folder]].concat(), root)
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
