//! What a worker really is at this moment, asked of its systemd and of its sockets.

use std::time::Duration;

use anyhow::Context as _;
use extension_config::names::node as host;
use testbed::Worker;

const PROBE: Duration = Duration::from_secs(5);

/// Run as root in a node's namespaces, it prints what [`NodeFacts::parse`] reads.
pub(crate) const NODE_SCRIPT: &str = r#"
for unit in kubelet.service cri-resource-manager.service; do
  systemctl show --property=LoadState,ActiveState,MainPID,InvocationID "$unit" | sed "s/^/$unit /"
done
pid=$(systemctl show --value --property=MainPID kubelet.service)
echo "kubelet runs as $(tr '\0' ' ' <"/proc/$pid/cmdline")"
"#;

/// Which runtime kubelet's running process talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoint {
    /// containerd itself.
    Containerd,
    /// cri-resource-manager.
    Proxy,
}

impl Endpoint {
    fn of(kubelet: &[String]) -> anyhow::Result<Self> {
        let mut words = kubelet.iter().rev();
        let last = words.find(|word| word.starts_with("--container-runtime-endpoint="));
        let last = last.context("kubelet's command line has no endpoint")?;
        Ok(if last == host::KUBELET_ENDPOINT_ARGUMENT { Self::Proxy } else { Self::Containerd })
    }
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
        Ok(Self {
            endpoint: Endpoint::of(&words)?,
            kubelet_command_line: words.join(" "),
            kubelet_pid,
            kubelet_invocation: show(host::KUBELET_UNIT, "InvocationID").await?,
            kubelet_state: show(host::KUBELET_UNIT, "ActiveState").await?,
            daemon: (show(host::DAEMON_UNIT, "LoadState").await?, show(host::DAEMON_UNIT, "ActiveState").await?),
            daemon_pid: show(host::DAEMON_UNIT, "MainPID").await?.parse()?,
        })
    }

    /// From what `NODE_SCRIPT` printed on a node that only the shoot's API leads to.
    ///
    /// # Errors
    /// When it did not print what it should.
    pub fn parse(printed: &str) -> anyhow::Result<Self> {
        let unit = |name: &str, property: &str| {
            let key = format!("{name} {property}=");
            let value = printed.lines().find_map(|line| line.strip_prefix(&key));
            value.map(str::to_owned).with_context(|| format!("no {property} of {name} in {printed:?}"))
        };
        let (kubelet, daemon) = (host::KUBELET_UNIT, host::DAEMON_UNIT);
        let words = printed.lines().find_map(|line| line.strip_prefix("kubelet runs as ")).context("no kubelet")?;
        let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
        Ok(Self {
            endpoint: Endpoint::of(&words)?,
            kubelet_command_line: words.join(" "),
            kubelet_pid: unit(kubelet, "MainPID")?.parse()?,
            kubelet_invocation: unit(kubelet, "InvocationID")?,
            kubelet_state: unit(kubelet, "ActiveState")?,
            daemon: (unit(daemon, "LoadState")?, unit(daemon, "ActiveState")?),
            daemon_pid: unit(daemon, "MainPID")?.parse()?,
        })
    }

    /// The node is as it must be with cri-resource-manager: its unit active, kubelet on its socket, and a runtime that
    /// answers through it. Gives the runtime's name and version.
    ///
    /// # Errors
    /// What is not so.
    pub async fn ensure_on_proxy(&self, worker: &Worker) -> anyhow::Result<String> {
        self.ensure_switched()?;
        let socket = worker.live_root()?.join(host::RELAY_SOCKET.trim_start_matches('/'));
        let answer = cri_client::probe(&socket, testbed::patient(PROBE))
            .await
            .context("cri-resource-manager does not answer")?;
        anyhow::ensure!(answer.is_ready(), "the runtime behind cri-resource-manager is not ready");
        Ok(format!("{} {}", answer.version.name, answer.version.version))
    }

    /// The daemon's unit is active and kubelet runs on its socket.
    ///
    /// # Errors
    /// What is not so.
    pub fn ensure_switched(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.daemon == ("loaded".into(), "active".into()),
            "{} is {:?}",
            host::DAEMON_UNIT,
            self.daemon
        );
        anyhow::ensure!(self.kubelet_state == "active", "kubelet is {}", self.kubelet_state);
        anyhow::ensure!(self.endpoint == Endpoint::Proxy, "kubelet is on containerd: {}", self.kubelet_command_line);
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(endpoint: &str, daemon: &str) -> String {
        format!(
            "kubelet.service MainPID=17\nkubelet.service LoadState=loaded\nkubelet.service ActiveState=active\n\
             kubelet.service InvocationID=ab\n{daemon}\ncri-resource-manager.service InvocationID=\n\
             kubelet runs as /opt/bin/kubelet --container-runtime-endpoint=unix:///x --v=2 {endpoint} \n"
        )
    }

    const GONE: &str = "cri-resource-manager.service MainPID=0\ncri-resource-manager.service LoadState=not-found\n\
        cri-resource-manager.service ActiveState=inactive";
    const ACTIVE: &str = "cri-resource-manager.service MainPID=9\ncri-resource-manager.service LoadState=loaded\n\
        cri-resource-manager.service ActiveState=active";

    #[test]
    fn a_node_is_judged_by_what_it_prints() {
        let proxy = host::KUBELET_ENDPOINT_ARGUMENT;
        let on = NodeFacts::parse(&printed(proxy, ACTIVE)).unwrap();
        assert_eq!((on.endpoint, on.kubelet_pid, on.daemon_pid), (Endpoint::Proxy, 17, 9));
        on.ensure_switched().unwrap();
        on.ensure_on_containerd().unwrap_err();
        let off = NodeFacts::parse(&printed("", GONE)).unwrap();
        off.ensure_on_containerd().unwrap();
        off.ensure_switched().unwrap_err();
        for half in [printed(proxy, GONE), printed("", ACTIVE)] {
            let half = NodeFacts::parse(&half).unwrap();
            half.ensure_on_containerd().unwrap_err();
            half.ensure_switched().unwrap_err();
        }
        NodeFacts::parse("").unwrap_err();
    }

    #[test]
    fn the_script_names_our_units() {
        assert!(NODE_SCRIPT.contains(host::KUBELET_UNIT) && NODE_SCRIPT.contains(host::DAEMON_UNIT));
    }
}
