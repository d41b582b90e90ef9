//! The program of a pod as a process, with the mounts and variables of the pod in the form of flags.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::object::PodObject;
use fake_kube_api::text;

/// What the processes of one node are given.
#[derive(Debug, Clone)]
pub(crate) struct ProcessRunner {
    /// The node's root, mounted into pods.
    pub(crate) root: PathBuf,
    /// Where volumes and logs of pods are.
    pub(crate) pods: PathBuf,
    /// What stands for the content of the image.
    pub(crate) image: Image,
    /// Stands for the pod's service account.
    pub(crate) kubeconfig: PathBuf,
}

/// The agent's image, unpacked.
#[derive(Debug, Clone)]
pub(crate) struct Image {
    /// The agent.
    pub(crate) agent: PathBuf,
    /// The gate.
    pub(crate) gate: PathBuf,
    /// The directory `/payload`.
    pub(crate) payload: PathBuf,
}

/// A process and the address of its probes.
pub(super) struct Process {
    child: Child,
    address: String,
}

impl ProcessRunner {
    /// Starts the program of a container, with what is mounted for the desired state.
    pub(super) fn start(
        &self,
        pod: &PodObject<'_>,
        container: &Value,
        mounted: &BTreeMap<String, String>,
    ) -> anyhow::Result<Process> {
        let name = pod.name();
        let volume = self.pods.join(&name);
        mount(mounted, &volume)?;
        let words = ["command", "args"].map(|member| container[member].as_array().into_iter().flatten());
        let mut words = words.into_iter().flatten();
        let program = words.next().and_then(Value::as_str).context("the container has no command")?;
        anyhow::ensure!(program == "/cri-resmgr-node-agent", "the image has no program {program}");
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let log = self.pods.join(format!("{}.log", pod.node));
        let log = std::fs::File::options().create(true).append(true).open(log)?;
        let mut command = Command::new(&self.image.agent);
        command.env_clear().args(words.filter_map(Value::as_str));
        for variable in container["env"].as_array().into_iter().flatten() {
            let value = match variable["valueFrom"]["fieldRef"]["fieldPath"].as_str() {
                Some("spec.nodeName") => pod.node,
                Some("metadata.name") => name.as_str(),
                Some("metadata.namespace") => text(pod.set, "/metadata/namespace"),
                Some(other) => anyhow::bail!("the field {other} is not known here"),
                None => text(variable, "/value"),
            };
            command.env(text(variable, "/name"), value);
        }
        // What a pod has mounted at fixed paths is elsewhere here.
        command.arg("--host-root").arg(&self.root);
        command.arg("--payload").arg(&self.image.payload);
        command.arg("--gate").arg(&self.image.gate);
        command.arg("--kubeconfig").arg(&self.kubeconfig);
        command.arg("--desired-state").arg(volume.join(extension_config::names::DESIRED_STATE_KEY));
        // Of the environment: agents of earlier versions do not know the option.
        command.env("RECENT_STEPS", self.pods.join(format!("{name}.steps.json")));
        command.arg(format!("--listen=127.0.0.1:{port}"));
        // Away from our terminal's signals: it is us who end it.
        command.process_group(0).kill_on_drop(true).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("cannot run {}", self.image.agent.display()))?;
        Ok(Process { child, address: format!("127.0.0.1:{port}") })
    }
}

impl Process {
    pub(super) async fn ended(&mut self) {
        // How it ended makes no difference.
        let _status = self.child.wait().await;
    }

    pub(super) fn kill(&mut self) {
        drop(self.child.start_kill());
    }

    pub(super) async fn end(&mut self, grace: Duration) {
        if let Some(pid) = self.child.id().and_then(|pid| i32::try_from(pid).ok()) {
            // It may have ended by itself.
            let _gone = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        if tokio::time::timeout(grace, self.child.wait()).await.is_err() {
            drop(self.child.kill().await);
        }
    }

    /// `GET /readyz`; the answer's text where it is not 200.
    pub(super) async fn probe(&self) -> Result<(), String> {
        let ask = async {
            let mut stream = TcpStream::connect(&self.address).await?;
            stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: pod\r\nConnection: close\r\n\r\n").await?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await?;
            Ok::<_, std::io::Error>(answer)
        };
        let answer = match tokio::time::timeout(Duration::from_secs(3), ask).await {
            // Nobody listens yet, or no longer.
            Ok(outcome) => outcome.map_err(|_| "its agent starts".to_owned())?,
            Err(_elapsed) => return Err("no answer within 3 s".to_owned()),
        };
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        if head.starts_with("HTTP/1.1 200") { Ok(()) } else { Err(body.trim().to_owned()) }
    }
}

/// Writes a volume.
fn mount(data: &BTreeMap<String, String>, directory: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(directory)?;
    for (key, value) in data {
        let path = directory.join(key);
        // The agent watches the directory; equal bytes are no reason to wake it.
        if std::fs::read_to_string(&path).ok().as_ref() != Some(value) {
            std::fs::write(path, value)?;
        }
    }
    Ok(())
}
