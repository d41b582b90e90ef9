//! One stand-in node with its shoot, on which rows are run one after the other.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use extension_config::desired_state::{Backend, Daemon, DesiredState, Phase, Selection};
use extension_config::names::{self, node as host};
use fake_kube_api::ApiServer;
use sandbox::{Binaries, Node};
use tempfile::TempDir;
use testbed::tree::{self, Snapshot};
use testbed::wait_for;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::tracer::{Tracee, Watch};

/// An agent that gives up waits two minutes at most before it tries again; then it works.
const WORK: Duration = Duration::from_secs(240);
/// The documented bound within which kubelet is on a runtime that answers, whatever died (`docs/operations.md`).
const RUNTIME: Duration = Duration::from_secs(60);
/// How long a runtime may take to answer.
const ANSWER: Duration = Duration::from_secs(3);

/// What the node is to become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Goal {
    pub(crate) phase: Phase,
    /// The daemon's active policy.
    pub(crate) policy: &'static str,
    /// Which of two payloads.
    pub(crate) newer: bool,
}

impl Goal {
    pub(crate) const INSTALLED: Self = Self { phase: Phase::Install, policy: "none", newer: false };
    pub(crate) const UPGRADED: Self = Self { newer: true, ..Self::INSTALLED };
    pub(crate) const ANOTHER_POLICY: Self = Self { policy: "topology-aware", ..Self::INSTALLED };
    pub(crate) const REMOVED: Self = Self { phase: Phase::Remove, ..Self::INSTALLED };
}

/// A node.
#[derive(Debug)]
pub(crate) struct WorkerNode {
    binaries: Binaries,
    _shoot: ApiServer,
    pub(crate) node: Node,
    before: Snapshot,
    // Last: what runs in it ends before it is removed.
    dir: TempDir,
}

/// A running agent.
#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) tracee: Tracee,
    address: String,
}

/// What another installation has left at the daemon's places: it must come back whatever is killed.
fn former_state(root: &Path) -> anyhow::Result<()> {
    for (directory, file) in [(host::DAEMON_STATE_DIR, "cache"), (host::DAEMON_RUN_DIR, "socket")] {
        let directory = root.join(directory.trim_start_matches('/'));
        std::fs::create_dir_all(&directory)?;
        std::fs::write(directory.join(file), "of before\n")?;
    }
    Ok(std::fs::write(root.join(host::DAEMON_PID_FILE.trim_start_matches('/')), "999999\n")?)
}

impl WorkerNode {
    pub(crate) async fn up(binaries: &Binaries) -> anyhow::Result<Self> {
        // Paths of sockets have about a hundred characters at most.
        let dir = tempfile::Builder::new().prefix("crash-").tempdir().context("no temporary folder")?;
        let shoot = ApiServer::start().await?;
        shoot.write_kubeconfig(&dir.path().join("shoot.yaml"))?;
        for (payload, more) in [("payload", ""), ("payload-newer", "# newer\n")] {
            let daemon = dir.path().join(payload).join(host::DAEMON.trim_start_matches('/'));
            std::fs::create_dir_all(daemon.parent().context("the daemon has a folder")?)?;
            std::fs::write(daemon, format!("{}{more}", sandbox::faked_daemon()))?;
        }
        std::fs::create_dir_all(dir.path().join("desired"))?;
        let node = Node::boot("node-1", dir.path().join("node-1"), shoot.store()).await?;
        former_state(node.root())?;
        let before = tree::snapshot(node.root())?;
        Ok(Self { binaries: binaries.clone(), _shoot: shoot, node, before, dir })
    }

    /// Starts an agent that is to reach a goal. The agent's program is `agent` instead of the one that was built.
    pub(crate) fn start(&self, goal: Goal, watch: Watch, agent: Option<&PathBuf>) -> anyhow::Result<Agent> {
        let state = DesiredState {
            phase: goal.phase,
            selection: Selection::default(),
            backend: Backend::CriResmgr(Daemon {
                fallback_config: Some(format!(
                    "policy:\n  Active: {}\n  ReservedResources:\n    CPU: 750m\n",
                    goal.policy
                )),
                force_config: None,
                extra_options: String::new(),
            }),
            handover: None,
        };
        let desired = self.dir.path().join("desired").join(names::DESIRED_STATE_KEY);
        std::fs::write(&desired, state.encode()?)?;
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let address = format!("127.0.0.1:{port}");
        let mut command = Command::new(agent.unwrap_or(&self.binaries.agent));
        command.args(["run", "--log-format", "text", "--node-name", self.node.name(), "--listen", &address]);
        command.arg("--desired-state").arg(desired).arg("--host-root").arg(self.node.root());
        command.arg("--payload").arg(self.dir.path().join(if goal.newer { "payload-newer" } else { "payload" }));
        command.arg("--gate").arg(&self.binaries.gate).arg("--kubeconfig").arg(self.dir.path().join("shoot.yaml"));
        let log = File::options().create(true).append(true).open(self.log())?;
        Ok(Agent { tracee: Tracee::start(&command, log, self.node.root().to_owned(), watch)?, address })
    }

    /// An agent without faults reaches the goal and ends.
    pub(crate) async fn reach(&self, goal: Goal) -> anyhow::Result<()> {
        let agent = self.start(goal, Watch::Not, None)?;
        self.until_reached(&agent, goal).await?;
        agent.tracee.stop().await;
        Ok(())
    }

    /// Waits until an agent says that the node is as desired, and checks it.
    pub(crate) async fn until_reached(&self, agent: &Agent, goal: Goal) -> anyhow::Result<()> {
        let awaited = format!("the agent to say that the node is as desired ({:?})", goal.phase);
        wait_for(&awaited, WORK, || async {
            agent.says().await.map_err(anyhow::Error::msg)?;
            Ok(Some(()))
        })
        .await?;
        self.until_runtime().await?;
        match goal.phase {
            Phase::Install => {
                ensure!(self.node.is_on_proxy(), "kubelet is not on the proxy");
                let daemon = self.node.unit(host::DAEMON_UNIT);
                ensure!(daemon.active_state == "active", "the daemon is {}", daemon.active_state);
            }
            Phase::Remove => self.ensure_as_before()?,
        }
        Ok(())
    }

    /// Nothing of the extension is left.
    fn ensure_as_before(&self) -> anyhow::Result<()> {
        let differs = tree::diff(&self.before, &tree::snapshot(self.node.root())?);
        ensure!(differs.is_empty(), "the node is not as before:\n{}", differs.join("\n"));
        let daemon = self.node.unit(host::DAEMON_UNIT);
        ensure!(daemon.load_state == "not-found", "{} is still {}", host::DAEMON_UNIT, daemon.load_state);
        ensure!(!self.node.is_on_proxy(), "kubelet is still on the proxy");
        Ok(())
    }

    /// kubelet runs on a runtime that answers, or does so within the documented time without anybody's help.
    pub(crate) async fn until_runtime(&self) -> anyhow::Result<()> {
        wait_for("kubelet to run on a runtime that answers", RUNTIME, || async {
            self.ensure_runtime().await.map(Some)
        })
        .await
    }

    async fn ensure_runtime(&self) -> anyhow::Result<()> {
        let kubelet = self.node.unit(host::KUBELET_UNIT);
        ensure!(kubelet.active_state == "active", "kubelet is {}", kubelet.active_state);
        let socket = if self.node.is_on_proxy() { host::RELAY_SOCKET } else { host::CONTAINERD_SOCKET };
        let path = self.node.root().join(socket.trim_start_matches('/'));
        ensure!(cri_client::probe(&path, ANSWER).await?.is_ready(), "{socket} is not ready");
        Ok(())
    }

    /// What others do to an installation: the override is deleted, a unit is rewritten, and the daemon is killed.
    pub(crate) async fn corrupt(&self) -> anyhow::Result<()> {
        let path = |path: &str| self.node.root().join(path.trim_start_matches('/'));
        std::fs::remove_file(path(host::KUBELET_DROP_IN))?;
        std::fs::write(path(host::DAEMON_UNIT_FILE), "[Service]\nExecStart=/bin/false\n")?;
        std::fs::remove_file(path(host::GATE))?;
        std::fs::remove_file(path(host::GUARD_TIMER_LINK))?;
        self.node.crash_proxy(RUNTIME).await.map(drop)
    }

    /// How often each unit was started.
    pub(crate) fn starts(&self) -> [u64; 3] {
        [host::KUBELET_UNIT, host::DAEMON_UNIT, host::GUARD_TIMER].map(|unit| self.node.unit(unit).starts)
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("agent.log")
    }

    /// The end of the agents' log.
    pub(crate) fn explain(&self) -> String {
        let whole = std::fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = whole.lines().collect();
        lines[lines.len().saturating_sub(25)..].join("\n")
    }

    pub(crate) async fn down(self) {
        self.node.shut_down().await;
    }
}

impl Agent {
    /// What it says at `/readyz` against the node being as desired.
    pub(crate) async fn says(&self) -> Result<(), String> {
        let ask = async {
            let mut stream = TcpStream::connect(&self.address).await?;
            stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n").await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            Ok::<_, std::io::Error>(answer)
        };
        let answer = match tokio::time::timeout(ANSWER, ask).await {
            Ok(answer) => answer.map_err(|error| error.to_string())?,
            Err(_elapsed) => return Err(format!("no answer within {ANSWER:?}")),
        };
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        if head.starts_with("HTTP/1.1 200") { Ok(()) } else { Err(body.trim().to_owned()) }
    }
}
