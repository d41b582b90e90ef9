//! What a worker really is at this moment, asked of its systemd and of its sockets.

use std::time::Duration;

use anyhow::Context as _;
use extension_config::names::node as host;
use testbed::Worker;

const PROBE: Duration = Duration::from_secs(5);

/// Which runtime kubelet's running process talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// containerd itself.
    Containerd,
    /// cri-resource-manager.
    Proxy,
}

/// Facts about one worker.
#[derive(Debug, Clone)]
pub struct NodeFacts {
    /// kubelet's command line, as the kernel has it.
    pub kubelet_command_line: String,
    /// Where its last `--container-runtime-endpoint` points.
    pub endpoint: Endpoint,
    /// Main process of kubelet's unit.
    pub kubelet_pid: u32,
    /// systemd's number for this start of kubelet.
    pub kubelet_invocation: String,
    /// `ActiveState` of kubelet's unit.
    pub kubelet_state: String,
    /// `LoadState` and `ActiveState` of the daemon's unit.
    pub daemon: (String, String),
    /// Main process of the daemon's unit; 0 when it does not run.
    pub daemon_pid: u32,
}

impl NodeFacts {
    /// Asks the worker.
    ///
    /// # Errors
    /// When the machine does not answer or kubelet does not run.
    pub async fn observe(worker: &Worker) -> anyhow::Result<Self> {
        let show = |unit: &'static str, property: &'static str| async move {
            Ok::<_, anyhow::Error>(
                worker.run(&["systemctl", "show", "--value", "--property", property, unit]).await?.trim().to_owned(),
            )
        };
        let kubelet_pid: u32 = show(host::KUBELET_UNIT, "MainPID").await?.parse()?;
        let cmdline = worker.live_root()?.join(format!("proc/{kubelet_pid}/cmdline"));
        anyhow::ensure!(kubelet_pid != 0, "kubelet on {} does not run", worker.name());
        let words = std::fs::read(&cmdline).with_context(|| format!("kubelet on {} has ended", worker.name()))?;
        let words: Vec<String> = words
            .split(|byte| *byte == 0)
            .filter(|word| !word.is_empty())
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect();
        let last = words
            .iter()
            .rev()
            .find(|word| word.starts_with("--container-runtime-endpoint="))
            .context("kubelet's command line has no endpoint")?;
        let endpoint = if last == host::KUBELET_ENDPOINT_ARGUMENT { Endpoint::Proxy } else { Endpoint::Containerd };
        Ok(Self {
            endpoint,
            kubelet_command_line: words.join(" "),
            kubelet_pid,
            kubelet_invocation: show(host::KUBELET_UNIT, "InvocationID").await?,
            kubelet_state: show(host::KUBELET_UNIT, "ActiveState").await?,
            daemon: (show(host::DAEMON_UNIT, "LoadState").await?, show(host::DAEMON_UNIT, "ActiveState").await?),
            daemon_pid: show(host::DAEMON_UNIT, "MainPID").await?.parse()?,
        })
    }

    /// The node is as it must be with cri-resource-manager: its unit active, kubelet on its socket, and a runtime that
    /// answers through it. Gives the runtime's name and version.
    ///
    /// # Errors
    /// What is not so.
    pub async fn ensure_on_proxy(&self, worker: &Worker) -> anyhow::Result<String> {
        anyhow::ensure!(
            self.daemon == ("loaded".into(), "active".into()),
            "{} is {:?}",
            host::DAEMON_UNIT,
            self.daemon
        );
        anyhow::ensure!(self.kubelet_state == "active", "kubelet is {}", self.kubelet_state);
        anyhow::ensure!(self.endpoint == Endpoint::Proxy, "kubelet is on containerd: {}", self.kubelet_command_line);
        let socket = worker.live_root()?.join(host::RELAY_SOCKET.trim_start_matches('/'));
        let answer = cri_client::probe(&socket, PROBE).await.context("cri-resource-manager does not answer")?;
        anyhow::ensure!(answer.is_ready(), "the runtime behind cri-resource-manager is not ready");
        Ok(format!("{} {}", answer.version.name, answer.version.version))
    }

    /// The node is as it must be without: no unit of the daemon, kubelet on containerd.
    ///
    /// # Errors
    /// What is not so.
    pub fn ensure_on_containerd(&self) -> anyhow::Result<()> {
        anyhow::ensure!(self.daemon.0 == "not-found", "{} is still {:?}", host::DAEMON_UNIT, self.daemon);
        anyhow::ensure!(self.kubelet_state == "active", "kubelet is {}", self.kubelet_state);
        anyhow::ensure!(
            self.endpoint == Endpoint::Containerd,
            "kubelet is on the proxy: {}",
            self.kubelet_command_line
        );
        Ok(())
    }
}
