//! A machine with systemd: files below its root, and its bus.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use systemd_client::{JobResult, ServiceState, Systemd, UnitState};
use testbed::wait_for;

/// Longest wait for anything.
pub(super) const LIMIT: Duration = Duration::from_secs(30);
/// The units of all checks, and what they run.
pub(super) const A: &str = "contract-a.service";
pub(super) const B: &str = "contract-b.service";
pub(super) const TIMER: &str = "contract-a.timer";
const UNITS: &str = "/etc/systemd/system";
const PROGRAMS: &str = "/opt/contract";
/// Where a program finds the machine's files: a stand-in's are below a folder.
const ROOT: &str = "${CRI_RESMGR_GATE_ROOT:-}";

/// Where units are made and run.
#[derive(Debug)]
pub struct Machine {
    root: PathBuf,
    pub(super) systemd: Systemd,
}

impl Machine {
    /// The machine whose root folder is `root` as seen from here.
    ///
    /// # Errors
    /// When its bus does not answer.
    pub async fn at(root: &Path) -> anyhow::Result<Self> {
        let socket = root.join("run/dbus/system_bus_socket");
        let systemd = Systemd::connect(&format!("unix:path={}", socket.display())).await?;
        systemd.subscribe().await?;
        Ok(Self { root: root.to_owned(), systemd })
    }

    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// Writes a unit (or a drop-in `NAME.d/FILE`) and has systemd read it.
    pub(super) async fn unit(&self, name: &str, text: &str) -> anyhow::Result<()> {
        self.file(&format!("{UNITS}/{name}"), text, 0o644)?;
        Ok(self.systemd.reload().await?)
    }

    /// Writes a program, a shell script in which `$R` stands for the machine's root, and gives its path.
    pub(super) fn program(&self, name: &str, script: &str) -> anyhow::Result<String> {
        let path = format!("{PROGRAMS}/{name}");
        self.file(&path, &format!("#!/bin/sh\nR={ROOT}\n{script}\n"), 0o755)?;
        Ok(path)
    }

    /// One that runs on.
    pub(super) fn runs(&self) -> anyhow::Result<String> {
        self.program("runs", "exec sleep 1000")
    }

    pub(super) fn file(&self, path: &str, text: &str, mode: u32) -> anyhow::Result<()> {
        let file = self.path(path);
        std::fs::create_dir_all(file.parent().context("a path without a folder")?)?;
        // Another file, not another text: what runs may have it open.
        let new = file.with_extension("new");
        std::fs::write(&new, text)?;
        std::fs::set_permissions(&new, std::fs::Permissions::from_mode(mode))?;
        std::fs::rename(&new, &file).with_context(|| format!("cannot write {}", file.display()))
    }

    pub(super) async fn start(&self, unit: &str) -> anyhow::Result<()> {
        let result = self.systemd.start(unit, LIMIT).await?;
        anyhow::ensure!(result == JobResult::Done, "the start of {unit} ended with {result}");
        Ok(())
    }

    pub(super) async fn state(&self, unit: &str) -> anyhow::Result<UnitState> {
        Ok(self.systemd.load_unit(unit).await?)
    }

    pub(super) async fn service(&self, unit: &str) -> anyhow::Result<ServiceState> {
        self.state(unit).await?.service.with_context(|| format!("{unit} is no service"))
    }

    /// Waits until a unit is as wanted.
    pub(super) async fn wait(
        &self,
        what: &str,
        unit: &str,
        wanted: impl Fn(&UnitState) -> bool,
    ) -> anyhow::Result<UnitState> {
        wait_for(what, LIMIT, || async {
            let state = self.state(unit).await?;
            anyhow::ensure!(wanted(&state), "{state:?}");
            Ok(Some(state))
        })
        .await
    }

    /// Takes away whatever a check may have made.
    pub(super) async fn clean(&self) -> anyhow::Result<()> {
        self.systemd.disable_unit_files(&[A, TIMER]).await?;
        for unit in [TIMER, A, B] {
            // A unit that is not there needs no stop.
            drop(self.systemd.stop(unit, LIMIT).await);
            for path in [self.path(UNITS).join(unit), self.path(UNITS).join(format!("{unit}.d"))] {
                match std::fs::symlink_metadata(&path) {
                    Ok(found) if found.is_dir() => std::fs::remove_dir_all(&path)?,
                    Ok(_) => std::fs::remove_file(&path)?,
                    Err(_nothing) => {}
                }
            }
        }
        if self.path(PROGRAMS).exists() {
            std::fs::remove_dir_all(self.path(PROGRAMS))?;
        }
        self.systemd.reload().await?;
        for unit in [TIMER, A, B] {
            self.systemd.reset_failed(unit).await?;
        }
        Ok(())
    }
}
