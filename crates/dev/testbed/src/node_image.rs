//! The file system that workers start from: a minimal Debian with systemd, D-Bus, containerd and runc, made once.

use std::path::PathBuf;

use crate::cache::making;
use crate::{Progress, cache_dir, command};

const SUITE: &str = "bookworm";
const PACKAGES: &str = "systemd,systemd-sysv,dbus,iproute2,procps,iptables,containerd,runc,ca-certificates,mount,util-linux,kmod,ethtool,conntrack";

/// The folder of the base file system; nothing may write into it. Made by debootstrap when it is not there yet.
///
/// # Errors
/// When debootstrap fails.
pub async fn node_root(progress: &Progress) -> anyhow::Result<PathBuf> {
    let dir = cache_dir()?.join("node").join(format!("{SUITE}-1"));
    if dir.is_dir() {
        return Ok(dir);
    }
    let _making = making(&dir).await?;
    if dir.is_dir() {
        return Ok(dir);
    }
    progress.step("making the workers' base file system with debootstrap (once; a minute or two)");
    let unfinished = dir.with_extension("unfinished");
    // Of a run that was ended.
    let _ = std::fs::remove_dir_all(&unfinished);
    let target = unfinished.display().to_string();
    let include = format!("--include={PACKAGES}");
    command::run("debootstrap", &["--variant=minbase", &include, SUITE, &target]).await?;
    // The archives of the packages are a third of the size, and no machine needs them.
    let _ = std::fs::remove_dir_all(unfinished.join("var/cache/apt/archives"));
    std::fs::rename(&unfinished, &dir)?;
    Ok(dir)
}
