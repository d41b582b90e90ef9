//! A server of the bed: started with a log file, known to the ledger, ended by its number.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;

use crate::ledger::{self, Entry, Ledger};

/// A running server.
#[derive(Debug)]
pub struct Daemon {
    name: String,
    log: PathBuf,
    pid: i32,
    start: u64,
    ledger: Arc<Ledger>,
}

/// How to start a server.
#[derive(Debug)]
pub(crate) struct Spawn<'a> {
    pub(crate) name: &'a str,
    pub(crate) program: &'a Path,
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    /// Network namespace to run in; `None` is the machine's own.
    pub(crate) netns: Option<&'a str>,
    /// Folder of the log file.
    pub(crate) logs: &'a Path,
}

impl Daemon {
    pub(crate) fn start(spawn: Spawn<'_>, ledger: &Arc<Ledger>) -> anyhow::Result<Self> {
        let log = spawn.logs.join(format!("{}.log", spawn.name));
        let out = std::fs::OpenOptions::new().create(true).append(true).open(&log)?;
        let mut command = match spawn.netns {
            Some(netns) => {
                let mut command = std::process::Command::new("ip");
                command.args(["netns", "exec", netns]).arg(spawn.program);
                command
            }
            None => std::process::Command::new(spawn.program),
        };
        // A group of its own: a Ctrl-C at the terminal reaches only us, and we take the bed down in order.
        let child = command
            .args(&spawn.args)
            .envs(spawn.env)
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", spawn.program.display()))?;
        let pid = i32::try_from(child.id())?;
        let start =
            ledger::start_time(pid).with_context(|| format!("{} ended at once; see {}", spawn.name, log.display()))?;
        reap(child);
        ledger.add(Entry::Process { pid, start, name: spawn.name.to_owned() })?;
        Ok(Self { name: spawn.name.to_owned(), log, pid, start, ledger: Arc::clone(ledger) })
    }

    /// Its name in the bed.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Number of the process.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Whether it still runs.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        ledger::is_alive(self.pid, self.start)
    }

    /// Its log file.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// The last `lines` lines of its log.
    #[must_use]
    pub fn log_tail(&self, lines: usize) -> String {
        let text =
            std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
        let all: Vec<&str> = text.lines().collect();
        all[all.len().saturating_sub(lines)..].join("\n")
    }

    /// An error with the end of the log when it has ended by itself.
    ///
    /// # Errors
    /// When it does not run.
    pub fn ensure_alive(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.is_alive(),
            "{} has ended; the end of {}:\n{}",
            self.name,
            self.log.display(),
            self.log_tail(15)
        );
        Ok(())
    }

    /// Ends it.
    ///
    /// # Errors
    /// When the ledger cannot be written.
    pub async fn stop(self) -> anyhow::Result<()> {
        ledger::stop_processes(&[(self.pid, self.start)]).await;
        self.ledger.forget_process(self.pid)
    }

    /// Asks it to end, and waits until it has.
    ///
    /// # Errors
    /// When it does not run, or goes on for longer than `limit`.
    pub async fn end(&self, limit: Duration) -> anyhow::Result<()> {
        self.signal(nix::sys::signal::Signal::SIGTERM)?;
        crate::wait_for(&format!("{} to end", self.name), limit, || async { Ok((!self.is_alive()).then_some(())) })
            .await
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn signal(&self, signal: nix::sys::signal::Signal) -> anyhow::Result<()> {
        self.ensure_alive()?;
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.pid), signal).context("cannot signal")
    }
}

/// A child that ended stays a zombie until somebody waits for it.
fn reap(mut child: std::process::Child) {
    std::thread::spawn(move || {
        let _ = child.wait();
    });
}
