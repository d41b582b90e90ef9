//! Debian's docker-registry on loopback: a real registry for what we push.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::prerequisites::{WAIT_FOR_DPKG, find_program};
use crate::{Progress, cache_dir, command, wait_for};

const PROGRAM: &str = "docker-registry";
const READY: Duration = Duration::from_secs(60);

/// A running registry. It ends, and what was pushed is gone, when this is dropped.
#[derive(Debug)]
pub struct Registry {
    address: String,
    /// Ended before its folder goes: fields are dropped in this order.
    _child: Child,
    dir: TempDir,
}

impl Registry {
    /// Starts one that asks for a user of `htpasswd` (lines of `user:bcrypt`).
    ///
    /// # Errors
    /// When there is no such program and its package cannot be had, or it does not answer.
    pub async fn up(htpasswd: &str, progress: &Progress) -> anyhow::Result<Self> {
        let program = obtain(progress).await?;
        let dir = tempfile::tempdir()?;
        let file = |name: &str, text: &str| -> anyhow::Result<PathBuf> {
            let path = dir.path().join(name);
            std::fs::write(&path, text)?;
            Ok(path)
        };
        // Free at this moment; the registry itself cannot be asked which port it got.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?.to_string();
        let config = json!({
            "version": "0.1",
            "log": { "level": "warn" },
            "storage": { "filesystem": { "rootdirectory": dir.path().join("store") } },
            "http": { "addr": address },
            "auth": { "htpasswd": { "realm": "testbed", "path": file("htpasswd", htpasswd)? } },
        });
        let config = file("config.yml", &config.to_string())?;
        let log = std::fs::File::create(dir.path().join("log"))?;
        let child = Command::new(&program)
            .arg("serve")
            .arg(config)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let registry = Self { address, _child: child, dir };
        registry.await_ready().await?;
        Ok(registry)
    }

    async fn await_ready(&self) -> anyhow::Result<()> {
        wait_for("the registry to listen", READY, || async {
            let log = std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default();
            tokio::net::TcpStream::connect(&self.address).await.context(log)?;
            Ok(Some(()))
        })
        .await
    }

    /// `host:port`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }
}

/// The program of the machine, or else out of Debian's package. The package is unpacked, not installed: installing it
/// would start a registry for the whole machine.
async fn obtain(progress: &Progress) -> anyhow::Result<PathBuf> {
    if let Some(program) = find_program(PROGRAM) {
        return Ok(program);
    }
    let target = cache_dir()?.join("bin").join(PROGRAM);
    if target.is_file() {
        return Ok(target);
    }
    progress.step("getting Debian's docker-registry");
    let parent = target.parent().context("cache path without parent")?;
    std::fs::create_dir_all(parent)?;
    // Next to the target, so that the last step is a rename.
    let work = tempfile::tempdir_in(parent)?;
    // apt drops its rights for a download, and has to be able to write here.
    std::fs::set_permissions(work.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777))?;
    let shell = |script: String| async move { command::run("sh", &["-e", "-c", &script]).await };
    let dir = work.path().display().to_string();
    shell(format!("apt-get -q -o {WAIT_FOR_DPKG} update && cd '{dir}' && apt-get -q download {PROGRAM}")).await?;
    shell(format!("cd '{dir}' && dpkg-deb --extract {PROGRAM}_*.deb unpacked")).await?;
    std::fs::rename(work.path().join("unpacked/usr/bin").join(PROGRAM), &target)?;
    Ok(target)
}
