//! Where built components, the node image and running beds live: outside every checkout.

use std::path::PathBuf;

use anyhow::Context as _;

/// `$XDG_CACHE_HOME` or `~/.cache`, and in it this project's own folder.
///
/// # Errors
/// When neither variable is set.
pub fn cache_dir() -> anyhow::Result<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
        .context("neither XDG_CACHE_HOME nor HOME is set: no place for the cache")?;
    Ok(base.join("gardener-extension-cri-resmgr"))
}
