//! A policy's process.

use std::fs;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{self, Signal};
use nix::unistd::{Pid, Uid};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Policy {
    Balloons,
    TopologyAware,
}

impl Policy {
    fn program(self) -> PathBuf {
        let name = match self {
            Self::Balloons => "NRI_BALLOONS",
            Self::TopologyAware => "NRI_TOPOLOGY_AWARE",
        };
        let path = std::env::var_os(name).unwrap_or_else(|| panic!("{name} has no path of the policy's program"));
        assert!(Path::new(&path).is_file(), "{name}: {} is no file", path.display());
        path.into()
    }
}

/// Whether and how it has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    Runs,
    With(i32),
    BySignal,
}

/// Ended, and its pid file removed, when it is dropped.
pub(crate) struct Plugin {
    child: Child,
    log: PathBuf,
    argv0: String,
    pub(crate) started: Instant,
}

impl Drop for Plugin {
    fn drop(&mut self) {
        // It may have ended.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
        let _absent = fs::remove_file(self.pid_file());
    }
}

impl Plugin {
    /// Starts it with the runtime's socket, the machine and a state directory in `folder`. The process is called by a name
    /// of its own, because that names its pid file.
    pub(crate) fn spawn(policy: Policy, document: &str, folder: &Path, more: &[&str]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let argv0 = format!("nri-test-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let (config, log) = (folder.join(format!("{argv0}.yaml")), folder.join(format!("{argv0}.log")));
        fs::write(&config, document).unwrap();
        let state = folder.join("state");
        if !state.exists() {
            fs::DirBuilder::new().mode(0o700).create(&state).unwrap();
        }
        let output = fs::File::create(&log).unwrap();
        let child = Command::new(policy.program())
            .arg0(&argv0)
            .args(["--nri-plugin-index", "90"])
            .arg("--config-file")
            .arg(&config)
            .arg("--nri-socket")
            .arg(folder.join("nri.sock"))
            .arg("--state-dir")
            .arg(&state)
            .arg("--host-root")
            .arg(folder.join("host"))
            .args(more)
            .env_clear()
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        Self { child, log, argv0, started: Instant::now() }
    }

    /// Where nri-plugins v0.14.0 write it, whatever `--pid-file` says.
    pub(crate) fn pid_file(&self) -> PathBuf {
        let folder = if Uid::effective().is_root() { "/var/run" } else { "/tmp" };
        Path::new(folder).join(format!("{}.pid", self.argv0))
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        signal::kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    pub(crate) fn exit_now(&mut self) -> Exit {
        match self.child.try_wait().unwrap() {
            None => Exit::Runs,
            Some(status) => status.code().map_or(Exit::BySignal, Exit::With),
        }
    }

    /// Waits for its end.
    pub(crate) async fn exit_within(&mut self, limit: Duration) -> Exit {
        let end = Instant::now() + limit;
        loop {
            let exit = self.exit_now();
            if exit != Exit::Runs || Instant::now() > end {
                return exit;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits for a word in its log.
    pub(crate) async fn says(&self, word: &str, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        while !self.log().contains(word) {
            if Instant::now() > end {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        true
    }
}

/// Files and directories below a path, with their permissions.
pub(crate) fn listing(folder: &Path) -> Vec<(String, u32)> {
    let mut found = Vec::new();
    let mut left = vec![folder.to_owned()];
    while let Some(path) = left.pop() {
        for entry in fs::read_dir(&path).unwrap() {
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().permissions().mode() & 0o7777;
            found.push((entry.path().strip_prefix(folder).unwrap().display().to_string(), mode));
            if entry.file_type().unwrap().is_dir() {
                left.push(entry.path());
            }
        }
    }
    found.sort();
    found
}
