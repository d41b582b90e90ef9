//! What is seen of a sandbox, and waiting for it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::Context as _;
use extension_config::names;
use extension_config::node_report::lease_name;
use serde::Deserialize;
use serde_json::Value;
use testbed::wait_for;
use tokio::process::Command;

use super::{CONTROLLER_LOG, OF_SHOOT, PATIENCE, PAYLOAD, SHOOT_NAMESPACE, Sandbox};
use crate::node::Node;
use crate::runtime::journal;
use fake_kube_api::text;

/// So many pods explain a failure.
const SHOWN: usize = 5;

/// An agent's report of its node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeReport {
    /// `Installed`, `Clean`, `Working`, …
    pub stage: String,
    /// Hash of the desired state that this is about.
    pub desired: String,
    /// Seconds since 1970 from which on it is so.
    pub since: u64,
    /// Recent restarts of kubelet.
    pub restarts: u64,
    /// Why it is not as desired.
    pub message: String,
}

impl Sandbox {
    /// Waits until a node runs through the proxy, and its agent says that this is so for the desired state of now.
    ///
    /// # Errors
    /// Where it stands when the time is over.
    pub async fn wait_installed(&self, node: &Node) -> anyhow::Result<()> {
        wait_for(&format!("{} to run through the proxy", node.name()), PATIENCE, || async {
            let report = self.report(node.name()).unwrap_or_default();
            anyhow::ensure!(
                node.is_on_proxy() && report.stage == "Installed" && self.desired_state()?.0 == report.desired,
                "{} {}",
                report.stage,
                report.message
            );
            Ok(Some(()))
        })
        .await
    }

    /// Waits until a policy runs on a node, and its agent says that this is so for the desired state of now and that all containers are where the policy
    /// has them.
    ///
    /// # Errors
    /// Where it stands when the time is over.
    pub async fn wait_policy(&self, node: &Node) -> anyhow::Result<()> {
        wait_for(&format!("a policy to run on {}", node.name()), PATIENCE, || async {
            let report = self.report(node.name()).unwrap_or_default();
            let policy = node.unit(names::node::PLUGIN_UNIT);
            anyhow::ensure!(
                policy.active_state == "active"
                    && report.stage == "Installed"
                    && self.desired_state()?.0 == report.desired,
                "{} {} {policy:?}",
                report.stage,
                report.message
            );
            Ok(Some(()))
        })
        .await
    }

    /// Waits until a node's agent says, for the desired state of now, that nothing of the extension is on it.
    ///
    /// # Errors
    /// Where it stands when the time is over.
    pub async fn wait_left_alone(&self, node: &Node) -> anyhow::Result<()> {
        wait_for(&format!("{} to be left alone", node.name()), PATIENCE, || async {
            let report = self.report(node.name()).unwrap_or_default();
            anyhow::ensure!(
                !node.is_on_proxy() && report.stage == "Clean" && self.desired_state()?.0 == report.desired,
                "{} {}",
                report.stage,
                report.message
            );
            Ok(Some(()))
        })
        .await
    }

    /// Waits until a node has gone back to containerd after a failure, and gives what its agent says.
    ///
    /// # Errors
    /// Where it stands when the time is over.
    pub async fn wait_rolled_back(&self, node: &Node) -> anyhow::Result<NodeReport> {
        wait_for(&format!("{} to be rolled back", node.name()), PATIENCE, || async {
            let report = self.report(node.name()).unwrap_or_default();
            anyhow::ensure!(!node.is_on_proxy() && report.stage == "RolledBack", "{} {}", report.stage, report.message);
            Ok(Some(report))
        })
        .await
    }

    /// Waits until the shoot's ManagedResource is applied, healthy and rolled out.
    ///
    /// # Errors
    /// The condition that did not come true in time.
    pub async fn wait_healthy(&self) -> anyhow::Result<()> {
        wait_for("the ManagedResource to be healthy", PATIENCE, || async {
            let found = self.seed.store().get(
                "resources.gardener.cloud",
                "managedresources",
                SHOOT_NAMESPACE,
                names::SHOOT_MANAGED_RESOURCE,
            );
            let resource = found.context("there is none")?;
            for (kind, wanted) in
                [("ResourcesApplied", "True"), ("ResourcesHealthy", "True"), ("ResourcesProgressing", "False")]
            {
                let all = resource["status"]["conditions"].as_array().context("no conditions")?;
                let found =
                    all.iter().find(|condition| condition["type"] == kind).with_context(|| format!("no {kind}"))?;
                anyhow::ensure!(found["status"] == wanted, "{kind}: {}", text(found, "/message"));
            }
            Ok(Some(()))
        })
        .await
    }

    /// Hash and text of the desired state that the agents of now have mounted.
    ///
    /// # Errors
    /// When it is not in the shoot.
    pub fn desired_state(&self) -> anyhow::Result<(String, String)> {
        let store = self.shoot.store();
        let set = store.get("apps", "daemonsets", names::SHOOT_NAMESPACE, names::NODE_AGENT).context("no DaemonSet")?;
        let volumes = set["spec"]["template"]["spec"]["volumes"].as_array().into_iter().flatten();
        let mut maps = volumes.filter_map(|volume| volume["configMap"]["name"].as_str());
        let name =
            maps.find(|name| name.starts_with(names::DESIRED_STATE_CONFIG_MAP_PREFIX)).context("nothing is mounted")?;
        let map = store.get("", "configmaps", names::SHOOT_NAMESPACE, name).context("what is mounted is not there")?;
        let text = map["data"][names::DESIRED_STATE_KEY].as_str().context("it has no text")?;
        Ok((extension_config::desired_state::hash8(text), text.to_owned()))
    }

    /// Waits until another desired state than these is in the shoot, and gives its hash.
    ///
    /// # Errors
    /// When none comes.
    pub async fn desired_state_of_now(&self, former: &BTreeSet<String>) -> anyhow::Result<String> {
        wait_for("another desired state in the shoot", PATIENCE, || async {
            let (hash, _) = self.desired_state()?;
            Ok((!former.contains(&hash)).then_some(hash))
        })
        .await
    }

    /// What an agent would do on a node now, as its `plan` command prints it.
    ///
    /// # Errors
    /// When the agent fails, or there is no desired state.
    pub async fn plan(&self, node: &Node) -> anyhow::Result<String> {
        let path = self.dir.path().join("planned.json");
        std::fs::write(&path, self.desired_state()?.1)?;
        let mut command = Command::new(&self.binaries.agent);
        command.env_clear().arg("plan").arg("--desired-state").arg(path).arg("--host-root").arg(node.root());
        command.arg("--payload").arg(self.dir.path().join(PAYLOAD)).arg("--gate").arg(&self.binaries.gate);
        command.arg("--node-name").arg(node.name()).arg("--kubeconfig").arg(self.dir.path().join(OF_SHOOT));
        let output = command.kill_on_drop(true).stdin(Stdio::null()).output().await?;
        anyhow::ensure!(output.status.success(), "plan: {}", String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?)
    }

    /// Type, status and message of the Extension's conditions.
    #[must_use]
    pub fn conditions(&self) -> Vec<(String, String, String)> {
        let store = self.seed.store();
        let found = store.get("extensions.gardener.cloud", "extensions", SHOOT_NAMESPACE, names::EXTENSION_TYPE);
        let extension = found.unwrap_or_default();
        let all = extension["status"]["conditions"].as_array().into_iter().flatten();
        let member = |condition: &Value, pointer: &str| text(condition, pointer).to_owned();
        all.map(|one| (member(one, "/type"), member(one, "/status"), member(one, "/message"))).collect()
    }

    /// What the agent of a node reported last.
    #[must_use]
    pub fn report(&self, node: &str) -> Option<NodeReport> {
        let lease =
            self.shoot.store().get("coordination.k8s.io", "leases", names::SHOOT_NAMESPACE, &lease_name(node))?;
        let reported = lease["metadata"]["annotations"].get(names::NODE_REPORT_ANNOTATION)?.as_str()?;
        serde_json::from_str(reported).ok()
    }

    /// Why the agent's pod on a node is not ready, as its probe says; `None` when it is, or when there is no pod.
    #[must_use]
    pub fn unready(&self, node: &str) -> Option<String> {
        let pods = self.shoot.store().list("", "pods", names::SHOOT_NAMESPACE);
        let pod = pods.into_iter().find(|pod| pod["spec"]["nodeName"] == node)?;
        let ready = pod["status"]["conditions"].as_array()?.iter().find(|condition| condition["type"] == "Ready")?;
        (ready["status"] != "True").then(|| text(ready, "/message").to_owned())
    }

    /// Names of the agents' pods: another name is another pod.
    #[must_use]
    pub fn agent_pods(&self) -> BTreeSet<String> {
        let pods = self.shoot.store().list("", "pods", names::SHOOT_NAMESPACE);
        pods.iter().map(|pod| text(pod, "/metadata/name").to_owned()).collect()
    }

    /// All that the controller has logged.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn controller_log(&self) -> anyhow::Result<String> {
        std::fs::read_to_string(self.dir.path().join(CONTROLLER_LOG)).context("no log of the controller")
    }

    /// Logs of the programs that write them as JSON: the controller, and the agents that are processes.
    fn json_logs(&self) -> Vec<PathBuf> {
        let agents = self.nodes.iter().map(|node| self.dir.path().join("pods").join(format!("{}.log", node.name())));
        std::iter::once(self.dir.path().join(CONTROLLER_LOG)).chain(agents).collect()
    }

    /// Everything that controller and agents have logged, by the name of the file.
    ///
    /// # Errors
    /// When a log cannot be read.
    pub fn logs(&self) -> anyhow::Result<Vec<(String, String)>> {
        self.json_logs().iter().map(|path| read(path)).collect()
    }

    /// Everything that the real programs of the nodes' units have said on standard error, which is text, by the name of the file.
    ///
    /// # Errors
    /// When a journal cannot be read.
    pub fn journals(&self) -> anyhow::Result<Vec<(String, String)>> {
        let journals = self.nodes.iter().map(|node| journal(node.root()));
        // Without a word there is no file.
        journals.filter(|path| path.exists()).map(|path| read(&path)).collect()
    }

    /// What explains a failure: the ends of all logs.
    #[must_use]
    pub fn explain(&self) -> String {
        let mut logs = self.json_logs();
        logs.extend(self.nodes.iter().map(|node| journal(node.root())).filter(|path| path.exists()));
        let end = |log: &PathBuf| {
            let whole = std::fs::read_to_string(log).unwrap_or_default();
            let lines: Vec<&str> = whole.lines().collect();
            let end = lines[lines.len().saturating_sub(12)..].join("\n");
            format!("--- {}\n{end}\n", log.file_name().unwrap_or_default().to_string_lossy())
        };
        let pods = self.shoot.store().list("", "pods", names::SHOOT_NAMESPACE);
        let pods =
            pods.iter().take(SHOWN).map(|pod| format!("--- {}: {}\n", text(pod, "/metadata/name"), pod["status"]));
        pods.chain(logs.iter().map(end)).collect()
    }
}

/// Name and content of a file.
fn read(path: &Path) -> anyhow::Result<(String, String)> {
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok((path.file_name().unwrap_or_default().to_string_lossy().into_owned(), text))
}
