//! Where built components, the node image and running beds live: outside every checkout.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use nix::fcntl::{Flock, FlockArg};

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

/// Held by whoever makes a file or folder of the cache: beds come up side by side, and one of them makes what all need. It ends with the value, or with
/// the process.
pub(crate) type Making = Flock<File>;

/// Waits, in a thread for that, until nobody else makes `target`. Who has it looks first whether `target` is there by now.
///
/// # Errors
/// When the file beside the target that is locked cannot be made or locked.
pub(crate) async fn making(target: &Path) -> anyhow::Result<Making> {
    let mut name = std::ffi::OsString::from(".");
    name.push(target.file_name().context("cache path without name")?);
    name.push(".lock");
    let path = target.with_file_name(name);
    let dir = path.parent().context("cache path without parent")?.to_owned();
    let locked = tokio::task::spawn_blocking(move || {
        std::fs::create_dir_all(dir)?;
        let file = File::options().create(true).truncate(false).write(true).open(&path)?;
        Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| std::io::Error::from(errno))
    });
    locked.await?.with_context(|| format!("cannot lock {} for its maker", target.display()))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn a_second_maker_waits_for_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("bin").join("program");
        let first = making(&target).await.unwrap();
        let mut second = tokio::spawn({
            let target = target.clone();
            async move { making(&target).await.unwrap() }
        });
        assert!(tokio::time::timeout(Duration::from_millis(200), &mut second).await.is_err());
        drop(first);
        second.await.unwrap();
        assert!(!target.exists());
    }
}
