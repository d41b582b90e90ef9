//! Debian's docker-registry on loopback: a real registry for what we push.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use serde_json::json;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::unpacked::unpacked;
use crate::{Progress, wait_for};

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
        let program = unpacked(PROGRAM, PROGRAM, progress).await?;
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
