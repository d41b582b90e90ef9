//! Programs out of Debian's packages that are unpacked, not installed: to install such a package would start a service for the whole machine.

use std::path::PathBuf;

use anyhow::Context as _;

use crate::prerequisites::{WAIT_FOR_DPKG, alone_with_packages, find_program};
use crate::{Progress, cache_dir, command};

/// The program of the machine, or the one that [`unpacked`] has brought; `None` where it is not here.
///
/// # Errors
/// When there is no place for a cache.
pub fn find_unpacked(program: &str) -> anyhow::Result<Option<PathBuf>> {
    let cached = cache_dir()?.join("bin").join(program);
    Ok(find_program(program).or_else(|| cached.is_file().then_some(cached)))
}

/// The program of the machine, or else out of Debian's package.
///
/// # Errors
/// When it is neither here nor in the package, or the package cannot be had.
pub async fn unpacked(package: &str, program: &str, progress: &Progress) -> anyhow::Result<PathBuf> {
    if let Some(program) = find_unpacked(program)? {
        return Ok(program);
    }
    let target = cache_dir()?.join("bin").join(program);
    let _alone = alone_with_packages().await?;
    if target.is_file() {
        return Ok(target);
    }
    progress.step(&format!("getting Debian's {package}"));
    let parent = target.parent().context("cache path without parent")?;
    std::fs::create_dir_all(parent)?;
    // Next to the target, so that the last step is a rename.
    let work = tempfile::tempdir_in(parent)?;
    // apt drops its rights for a download, and has to be able to write here.
    std::fs::set_permissions(work.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777))?;
    let shell = |script: String| async move { command::run("sh", &["-e", "-c", &script]).await };
    let dir = work.path().display().to_string();
    shell(format!("apt-get -q -o {WAIT_FOR_DPKG} update && cd '{dir}' && apt-get -q download {package}")).await?;
    shell(format!("cd '{dir}' && dpkg-deb --extract {package}_*.deb unpacked")).await?;
    std::fs::rename(work.path().join("unpacked/usr/bin").join(program), &target)?;
    Ok(target)
}
