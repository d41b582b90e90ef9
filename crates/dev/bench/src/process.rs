//! Our program as a process: paused while the work is prepared, and what it takes of the machine.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use testbed::wait_for;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::seed::{Process, free_port, start};

pub(crate) const NAMESPACE: &str = "extension-cri-resmgr";
const READY: Duration = Duration::from_secs(300);
/// Of `/proc/…/stat`, on every Linux of today.
const TICKS_PER_SECOND: u64 = 100;

/// It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Controller {
    process: Process,
    health: u16,
    log: PathBuf,
}

impl Controller {
    pub(crate) fn start(
        program: &Path,
        kubeconfig: &Path,
        log: PathBuf,
        workers: NonZeroUsize,
    ) -> anyhow::Result<Self> {
        let (metrics, health) = (free_port()?, free_port()?);
        let mut command = Command::new(program);
        command.env_clear().arg("--kubeconfig").arg(kubeconfig);
        command.args(["--namespace", NAMESPACE, "--leader-election=false"]);
        command.arg(format!("--metrics-bind-address=127.0.0.1:{metrics}"));
        command.arg(format!("--health-bind-address=127.0.0.1:{health}"));
        command.arg(format!("--max-concurrent-reconciles={workers}"));
        // Looks at nodes come by a clock: they would be counted in whichever phase they fall into.
        command.arg("--roll-up-nodes=false");
        Ok(Self { process: start(command, &log)?, health, log })
    }

    /// Waits until it says that it is ready.
    pub(crate) async fn ready(&self) -> anyhow::Result<()> {
        wait_for("the controller to be ready", READY, || async { Ok(self.is_ready().await?.then_some(())) }).await
    }

    /// Whether `/readyz` says so.
    pub(crate) async fn is_ready(&self) -> anyhow::Result<bool> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.health)).await?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        Ok(answer.starts_with("HTTP/1.1 200"))
    }

    pub(crate) fn pause(&self) -> anyhow::Result<()> {
        self.signal(Signal::SIGSTOP)
    }

    pub(crate) fn resume(&self) -> anyhow::Result<()> {
        self.signal(Signal::SIGCONT)
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let number = i32::try_from(self.process.0.id()).context("a process number")?;
        kill(Pid::from_raw(number), signal).context("the controller has ended")
    }

    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        Usage::of(&self.process.0.id().to_string())
    }

    /// Asks it to end, and waits.
    #[cfg(test)]
    pub(crate) async fn end(&mut self) -> anyhow::Result<()> {
        self.signal(Signal::SIGTERM)?;
        wait_for("the controller to end", READY, || {
            let ended = self.process.0.try_wait();
            async { Ok(ended?.map(drop)) }
        })
        .await
    }

    /// How many operations its log says to have begun.
    pub(crate) fn begun(&self) -> anyhow::Result<usize> {
        Ok(std::fs::read_to_string(&self.log)?.matches("started the operation").count())
    }

    /// The last lines of its log, for errors.
    pub(crate) fn tail(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let from = text.len().saturating_sub(4000);
        text.get(from..).unwrap_or(&text).to_owned()
    }
}

/// What a process, or a thread of this one, has taken so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Usage {
    pub(crate) cpu: Duration,
    pub(crate) rss_kib: u64,
    pub(crate) peak_kib: u64,
    /// Times that it gave the processor up by itself.
    pub(crate) wake_ups: u64,
}

impl Usage {
    /// `who`: what stands in `/proc`.
    pub(crate) fn of(who: &str) -> anyhow::Result<Self> {
        let read = |file: &str| {
            let path = format!("/proc/{who}/{file}");
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
        };
        Self::parse(&read("stat")?, &read("status")?).context("/proc has something else than expected")
    }

    fn parse(stat: &str, status: &str) -> Option<Self> {
        // The second field is a name, which may hold anything.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = |index: usize| fields.get(index)?.parse::<u64>().ok();
        let of = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            line.split_whitespace().next()?.parse().ok()
        };
        Some(Self {
            cpu: Duration::from_millis((ticks(11)? + ticks(12)?) * 1000 / TICKS_PER_SECOND),
            rss_kib: of("VmRSS")?,
            peak_kib: of("VmHWM")?,
            wake_ups: of("voluntary_ctxt_switches")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_is_read_whatever_the_program_is_called() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194304 1 0 0 0 120 30 0 0 20 0 1 0 1 1 1";
        let status = "Name:\ta\nVmHWM:\t 300 kB\nVmRSS:\t 200 kB\nvoluntary_ctxt_switches:\t9\n";
        let usage = Usage { cpu: Duration::from_millis(1500), rss_kib: 200, peak_kib: 300, wake_ups: 9 };
        assert_eq!(Usage::parse(stat, status), Some(usage));
        assert_eq!(Usage::parse("7 a", status), None);
        assert!(Usage::of("thread-self").is_ok());
    }
}
