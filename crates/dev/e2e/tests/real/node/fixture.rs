//! A worker on which a case starts the agent, breaks things and looks.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use e2e::{Artifacts, Endpoint, NodeFacts};
use extension_config::desired_state::{Backend, Daemon, DesiredState, Phase, Selection};
use extension_config::names::node as host;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use testbed::tree::{self, Snapshot};
use testbed::{Worker, wait_for};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// A switch, a removal or a roll-back with their proofs, retries after errors and waiting for the shoot's one switch slot included.
pub(super) const WORK: Duration = Duration::from_secs(420);
/// Patience with something that takes moments.
pub(super) const SOON: Duration = Duration::from_secs(60);
/// The agent's unit. Transient: it leaves nothing on the host.
pub(super) const AGENT: &str = "fixture-agent";
/// Where the agent and what it needs lie in the machine, outside all that is compared.
const DIR: &str = "/root/fixture";
const PORT: u16 = 8899;
const UNIT: &str = "/etc/systemd/system/kubelet.service";

/// See the module.
pub(super) struct NodeFixture<'w> {
    pub(super) worker: &'w mut Worker,
    daemon: PathBuf,
    address: String,
    shoot: kube::Client,
    /// The node without us.
    before: Snapshot,
    unit: String,
}

impl<'w> NodeFixture<'w> {
    pub(super) async fn new(
        worker: &'w mut Worker,
        artifacts: &Artifacts,
        kubeconfig: &str,
        shoot: &kube::Client,
    ) -> anyhow::Result<Self> {
        let nodes: Api<Node> = Api::all(shoot.clone());
        let addresses = nodes.get(worker.name()).await?.status.and_then(|status| status.addresses).unwrap_or_default();
        let address = addresses.iter().find(|address| address.type_ == "InternalIP").context("no address")?;
        let fixture = Self {
            before: worker.tree()?,
            unit: std::fs::read_to_string(worker.live_root()?.join(UNIT.trim_start_matches('/')))?,
            daemon: artifacts.daemon.clone(),
            address: address.address.clone(),
            shoot: shoot.clone(),
            worker,
        };
        fixture.put(&artifacts.agent, "agent")?;
        fixture.put(&artifacts.gate, "gate")?;
        fixture.worker.write(&format!("{DIR}/kubeconfig"), kubeconfig, 0o600)?;
        fixture.good_daemon()?;
        Ok(fixture)
    }

    fn put(&self, from: &Path, name: &str) -> anyhow::Result<()> {
        self.copy(from, &format!("{DIR}/{name}"))
    }

    pub(super) fn copy(&self, from: &Path, path: &str) -> anyhow::Result<()> {
        let to = self.path(path)?;
        std::fs::create_dir_all(to.parent().context("a folder")?)?;
        let unfinished = to.with_extension("unfinished");
        std::fs::copy(from, &unfinished).with_context(|| format!("cannot copy {}", from.display()))?;
        Ok(std::fs::rename(unfinished, to)?)
    }

    /// The shoot's API, with all rights.
    pub(super) fn shoot(&self) -> kube::Client {
        self.shoot.clone()
    }

    /// A path of the machine as seen from here.
    pub(super) fn path(&self, path: &str) -> anyhow::Result<PathBuf> {
        Ok(self.worker.live_root()?.join(path.trim_start_matches('/')))
    }

    pub(super) fn exists(&self, path: &str) -> anyhow::Result<bool> {
        Ok(self.path(path)?.symlink_metadata().is_ok())
    }

    pub(super) fn read(&self, path: &str) -> anyhow::Result<String> {
        let path = self.path(path)?;
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
    }

    pub(super) async fn shell(&self, line: &str) -> anyhow::Result<String> {
        self.worker.shell(line).await
    }

    /// The payload holds the real daemon.
    pub(super) fn good_daemon(&self) -> anyhow::Result<()> {
        self.put(&self.daemon, &format!("payload{}", host::DAEMON))
    }

    /// Puts the real daemon where scripts that stand for it can start it: its unit sees no home directories.
    pub(super) fn daemon_for_scripts(&self) -> anyhow::Result<&'static str> {
        const PATH: &str = "/srv/cri-resmgr";
        self.copy(&self.daemon, PATH)?;
        Ok(PATH)
    }

    /// The payload holds the real daemon with some bytes behind its end, which change nothing but its digest.
    pub(super) async fn newer_daemon(&self) -> anyhow::Result<()> {
        let file = format!("{DIR}/payload{}", host::DAEMON);
        self.shell(&format!("cp {file} {file}.new && echo newer >>{file}.new && mv {file}.new {file}")).await.map(drop)
    }

    /// The same after a payload that was something else.
    pub(super) async fn newer_good_daemon(&self) -> anyhow::Result<()> {
        self.good_daemon()?;
        self.newer_daemon().await
    }

    /// The payload holds a script instead of the daemon.
    pub(super) fn scripted_daemon(&self, script: &str) -> anyhow::Result<()> {
        self.worker.write(&format!("{DIR}/payload{}", host::DAEMON), script, 0o755)
    }

    /// Has the agent see this desired state.
    pub(super) async fn desire(&self, phase: Phase, extra_options: &str) -> anyhow::Result<()> {
        self.desire_with(phase, extra_options, "policy:\n  Active: none\n").await
    }

    async fn desire_with(&self, phase: Phase, extra_options: &str, config: &str) -> anyhow::Result<()> {
        let fallback_config = (phase == Phase::Install).then(|| config.to_owned());
        let state = DesiredState {
            phase,
            selection: Selection::default(),
            backend: Backend::CriResmgr(Daemon {
                fallback_config,
                force_config: None,
                extra_options: extra_options.to_owned(),
            }),
            handover: None,
        };
        self.worker.write(&format!("{DIR}/desired/.next"), &state.encode()?, 0o644)?;
        self.shell(&format!("mv {DIR}/desired/.next {DIR}/desired/desired.json")).await.map(drop)
    }

    pub(super) async fn start_agent(&self) -> anyhow::Result<()> {
        self.start_another(AGENT, PORT).await
    }

    pub(super) async fn start_another(&self, unit: &str, port: u16) -> anyhow::Result<()> {
        let options = format!(
            "--host-root=/ --desired-state={DIR}/desired/desired.json --payload={DIR}/payload --gate={DIR}/gate \
             --node-name={} --listen=0.0.0.0:{port} --kubeconfig={DIR}/kubeconfig --log-format=text",
            self.worker.name()
        );
        let words = ["systemd-run", "--quiet", "--collect", "--unit", unit, "/root/fixture/agent", "run"];
        let words: Vec<&str> = words.into_iter().chain(options.split_whitespace()).collect();
        self.worker.run(&words).await.map(drop)
    }

    /// SIGTERM, and wait until it is gone.
    pub(super) async fn stop_agent(&self) -> anyhow::Result<()> {
        self.shell(&format!("systemctl stop {AGENT} 2>/dev/null; true")).await.map(drop)
    }

    pub(super) async fn kill_agent(&self) -> anyhow::Result<()> {
        self.shell(&format!(
            "systemctl kill --signal=KILL {AGENT} 2>/dev/null; systemctl stop {AGENT} 2>/dev/null; true"
        ))
        .await
        .map(drop)
    }

    async fn is_running(&self) -> anyhow::Result<bool> {
        Ok(self.worker.exec(&["systemctl", "is-active", "--quiet", AGENT]).await?.success)
    }

    /// What the agent says of the node: whether it is as desired, and the reason.
    pub(super) async fn says(&self) -> anyhow::Result<(bool, String)> {
        let mut stream = tokio::net::TcpStream::connect((self.address.as_str(), PORT)).await?;
        stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no HTTP answer")?;
        Ok((head.starts_with("HTTP/1.1 200"), body.to_owned()))
    }

    /// Waits until the agent gives `part` of a reason why the node is not as desired.
    pub(super) async fn until_it_says(&self, part: &str) -> anyhow::Result<()> {
        wait_for(&format!("the agent to say {part:?}"), WORK, || async {
            let (ready, reason) = self.says().await?;
            ensure!(!ready && reason.contains(part), "it says: {ready} {reason}");
            Ok(Some(()))
        })
        .await
    }

    /// Waits until the agent says that the node is as desired and kubelet runs on the proxy.
    pub(super) async fn until_installed(&self) -> anyhow::Result<NodeFacts> {
        wait_for("the node to run through the proxy", WORK, || async {
            let (ready, reason) = self.says().await?;
            ensure!(ready, "{reason}");
            let facts = NodeFacts::observe(self.worker).await?;
            facts.ensure_on_proxy(self.worker).await?;
            Ok(Some(facts))
        })
        .await
    }

    /// Waits until the agent says that the node is as desired and its journal is gone, then compares all files.
    pub(super) async fn until_clean(&self) -> anyhow::Result<NodeFacts> {
        self.until_nothing_is_left().await?;
        self.ensure_as_before(&[])?;
        let facts = NodeFacts::observe(self.worker).await?;
        facts.ensure_on_containerd()?;
        Ok(facts)
    }

    /// The same without the comparison: the node has become another one meanwhile.
    pub(super) async fn until_nothing_is_left(&self) -> anyhow::Result<()> {
        wait_for("the node to be clean", WORK, || async {
            let (ready, reason) = self.says().await?;
            ensure!(ready, "{reason}");
            ensure!(!self.exists(host::STATE_DIR)?, "the journal is still there");
            Ok(Some(()))
        })
        .await
    }

    /// Every file is as it was without us, but for paths below `except`.
    pub(super) fn ensure_as_before(&self, except: &[&str]) -> anyhow::Result<()> {
        let differs: Vec<String> = tree::diff(&self.before, &self.worker.tree()?)
            .into_iter()
            .filter(|line| !except.iter().any(|path| line.contains(path)))
            .collect();
        ensure!(differs.is_empty(), "the node is not as before:\n{}", differs.join("\n"));
        Ok(())
    }

    /// The node without us is now this one.
    pub(super) fn rebase(&mut self) -> anyhow::Result<()> {
        self.before = self.worker.tree()?;
        Ok(())
    }

    /// With the agent running, installed, whatever was before.
    pub(super) async fn be_installed(&self) -> anyhow::Result<NodeFacts> {
        self.desire(Phase::Install, "").await?;
        self.installed().await
    }

    /// The same with this configuration of the daemon.
    pub(super) async fn be_installed_with(&self, config: &str) -> anyhow::Result<NodeFacts> {
        self.desire_with(Phase::Install, "", config).await?;
        self.installed().await
    }

    async fn installed(&self) -> anyhow::Result<NodeFacts> {
        if !self.is_running().await? {
            // An agent reads its payload once.
            self.good_daemon()?;
            self.start_agent().await?;
        }
        self.until_installed().await
    }

    /// With no agent and nothing of ours, whatever was before.
    pub(super) async fn be_clean(&self) -> anyhow::Result<NodeFacts> {
        self.desire(Phase::Remove, "").await?;
        if !self.is_running().await? {
            self.start_agent().await?;
        }
        let facts = self.until_clean().await?;
        self.stop_agent().await?;
        Ok(facts)
    }

    /// Refused for this reason, and nothing was changed.
    pub(super) async fn untouched(&self, reason: &str) -> anyhow::Result<()> {
        let before = self.facts().await?;
        self.desire(Phase::Install, "").await?;
        self.start_agent().await?;
        self.until_it_says(reason).await?;
        self.ensure_as_before(&[])?;
        ensure!(self.facts().await?.kubelet_invocation == before.kubelet_invocation, "kubelet was restarted");
        Ok(())
    }

    pub(super) async fn facts(&self) -> anyhow::Result<NodeFacts> {
        NodeFacts::observe(self.worker).await
    }

    /// kubelet's unit as Gardener writes it.
    pub(super) fn unit(&self) -> &str {
        &self.unit
    }

    /// Writes kubelet's unit in place, as everybody who writes it does.
    pub(super) fn write_unit(&self, text: &str) -> anyhow::Result<()> {
        self.worker.write(UNIT, text, 0o600)
    }

    /// Writes kubelet's unit, reloads and restarts.
    pub(super) async fn restart_with_unit(&self, text: &str) -> anyhow::Result<()> {
        self.write_unit(text)?;
        self.restart_kubelet().await
    }

    pub(super) async fn restart_kubelet(&self) -> anyhow::Result<()> {
        self.shell("systemctl daemon-reload && systemctl reset-failed kubelet && systemctl restart kubelet")
            .await
            .map(drop)
    }

    /// How often kubelet was started since the machine booted.
    pub(super) async fn kubelet_starts(&self) -> anyhow::Result<usize> {
        let lines =
            "journalctl --sync; journalctl --quiet --no-pager -o cat -u kubelet | grep -c '^Started kubelet'; true";
        Ok(self.shell(lines).await?.trim().parse()?)
    }

    /// Waits until kubelet's node is Ready.
    pub(super) async fn until_node_ready(&self) -> anyhow::Result<()> {
        let nodes: Api<Node> = Api::all(self.shoot.clone());
        wait_for("the node to be Ready", SOON, || async {
            let node = nodes.get(self.worker.name()).await?;
            let conditions = node.status.and_then(|status| status.conditions).unwrap_or_default();
            Ok(conditions.iter().any(|found| found.type_ == "Ready" && found.status == "True").then_some(()))
        })
        .await
    }

    /// Waits until kubelet runs on a runtime that answers, whichever it is.
    pub(super) async fn until_a_runtime_answers(&self) -> anyhow::Result<Endpoint> {
        wait_for("kubelet to run on a runtime that answers", SOON, || async {
            let facts = self.facts().await?;
            ensure!(facts.kubelet_state == "active", "kubelet is {}", facts.kubelet_state);
            let socket = match facts.endpoint {
                Endpoint::Proxy => host::RELAY_SOCKET,
                Endpoint::Containerd => host::CONTAINERD_SOCKET,
            };
            ensure!(
                cri_client::probe(&self.path(socket)?, Duration::from_secs(5)).await?.is_ready(),
                "{socket} is not ready"
            );
            Ok(Some(facts.endpoint))
        })
        .await
    }

    /// After a case that failed: the next one starts with no agent and the real daemon in the payload.
    pub(super) async fn recover(&self) {
        drop(self.kill_agent().await);
        drop(self.good_daemon());
    }

    /// What explains a failure.
    pub(super) async fn explain(&self) -> String {
        let lines = format!(
            "journalctl --no-pager -n 25 -o cat -u {AGENT}; systemctl --no-pager --lines=8 status kubelet cri-resource-manager"
        );
        match self.worker.exec(&["/bin/sh", "-c", &lines]).await {
            Ok(output) => format!("{}{}", output.stdout, output.stderr),
            Err(error) => format!("{error:#}"),
        }
    }
}
