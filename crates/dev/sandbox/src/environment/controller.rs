//! The real controller, started again whenever it ends: what a Deployment and kubelet do for its pod.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Until it is started again.
const PAUSE: Duration = Duration::from_secs(1);
/// Between the request to end and the end by force.
const PATIENCE: Duration = Duration::from_secs(5);

/// It runs as long as this lives.
#[derive(Debug)]
pub(super) struct Controller {
    stop: watch::Sender<bool>,
    pid: Arc<AtomicU32>,
    task: JoinHandle<()>,
}

impl Drop for Controller {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Controller {
    /// Starts it in `namespace` of the seed that `kubeconfig` leads to; it writes to `log`.
    pub(super) fn start(program: &Path, kubeconfig: &Path, namespace: &str, log: PathBuf) -> anyhow::Result<Self> {
        let spawn = {
            let (program, kubeconfig, namespace) = (program.to_owned(), kubeconfig.to_owned(), namespace.to_owned());
            move || spawn(&program, &kubeconfig, &namespace, &log)
        };
        let (stop, mut stopped) = watch::channel(false);
        let mut child = spawn()?;
        let pid = Arc::new(AtomicU32::new(child.id().unwrap_or_default()));
        let shared = Arc::clone(&pid);
        let task = tokio::spawn(async move {
            loop {
                let asked = tokio::select! {
                    _ended = child.wait() => false,
                    () = asked_to_end(&mut stopped) => true,
                };
                if asked {
                    return end(&mut child).await;
                }
                shared.store(0, Ordering::Relaxed);
                if tokio::time::timeout(PAUSE, asked_to_end(&mut stopped)).await.is_ok() {
                    return;
                }
                match spawn() {
                    Ok(next) => {
                        shared.store(next.id().unwrap_or_default(), Ordering::Relaxed);
                        child = next;
                    }
                    Err(_gone) => return,
                }
            }
        });
        Ok(Self { stop, pid, task })
    }

    /// The most memory that its process has had so far, in bytes.
    pub(super) fn peak_memory(&self) -> anyhow::Result<u64> {
        crate::memory::peak(&self.pid.load(Ordering::Relaxed).to_string())
    }

    /// Kills its process.
    pub(super) fn crash(&self) -> anyhow::Result<()> {
        let pid = i32::try_from(self.pid.load(Ordering::Relaxed))?;
        anyhow::ensure!(pid != 0, "the controller does not run");
        kill(Pid::from_raw(pid), Signal::SIGKILL).context("the controller cannot be killed")
    }

    /// Asks it to end, and waits.
    pub(super) async fn end(mut self) -> anyhow::Result<()> {
        self.stop.send_replace(true);
        Ok((&mut self.task).await?)
    }
}

/// That nobody can ask any more counts too.
async fn asked_to_end(stopped: &mut watch::Receiver<bool>) {
    drop(stopped.wait_for(|stop| *stop).await);
}

async fn end(child: &mut Child) {
    if let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
        // It may have ended by itself.
        let _gone = kill(Pid::from_raw(pid), Signal::SIGTERM);
    }
    if tokio::time::timeout(PATIENCE, child.wait()).await.is_err() {
        drop(child.kill().await);
    }
}

fn spawn(program: &Path, kubeconfig: &Path, namespace: &str, log: &Path) -> anyhow::Result<Child> {
    let log = std::fs::File::options().create(true).append(true).open(log)?;
    let mut command = Command::new(program);
    command.env_clear();
    command.arg("--kubeconfig").arg(kubeconfig);
    command.args(["--namespace", namespace, "--leader-election-namespace", namespace]);
    command.args(["--metrics-bind-address=127.0.0.1:0", "--health-bind-address=127.0.0.1:0"]);
    // Away from our terminal's signals: it is us who end it.
    command.process_group(0).kill_on_drop(true).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    command.spawn().with_context(|| format!("cannot run {}", program.display()))
}
