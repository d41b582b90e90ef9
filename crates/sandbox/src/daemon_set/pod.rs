//! One pod on one node.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::PodHost;
use crate::api::{Store, Writer, text};
use crate::faults::{Fault, Faults};

/// Between two probes of readiness; kubelet's are seconds apart.
const PROBE: Duration = Duration::from_millis(300);
/// Until a pod that ended, or cannot start yet, is tried again.
const RETRY: Duration = Duration::from_secs(1);
const MANAGER: &str = "kubelet";

/// Revision and DaemonSet that a pod is to be of.
type Wanted = Option<(String, Value)>;

/// What is known of the pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct State {
    /// Revision of the pod that is there.
    pub(super) revision: Option<String>,
    pub(super) ready: bool,
}

/// Keeps one pod as it is wanted.
#[derive(Debug)]
pub(super) struct Keeper {
    wanted: watch::Sender<Wanted>,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Keeper {
    pub(super) fn start(shoot: Store, host: PodHost) -> Self {
        let (wanted, receiver) = watch::channel(None);
        let state = Arc::new(Mutex::new(State::default()));
        let task = tokio::spawn(keep(shoot, host, receiver, Arc::clone(&state)));
        Self { wanted, state, task }
    }

    pub(super) fn state(&self) -> State {
        locked(&self.state).clone()
    }

    pub(super) fn is_gone(&self) -> bool {
        locked(&self.state).revision.is_none()
    }

    pub(super) fn is_told(&self, revision: &str) -> bool {
        self.wanted.borrow().as_ref().is_some_and(|(told, _)| told == revision)
    }

    pub(super) fn want(&self, wanted: Wanted) {
        self.wanted.send_if_modified(|told| {
            let revision = |wanted: &Wanted| wanted.as_ref().map(|(revision, _)| revision.clone());
            let is_new = revision(told) != revision(&wanted);
            if is_new {
                *told = wanted;
            }
            is_new
        });
    }
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A process and the address of its probes.
struct Running {
    child: Child,
    address: String,
}

async fn keep(shoot: Store, host: PodHost, mut wanted: watch::Receiver<Wanted>, state: Arc<Mutex<State>>) {
    loop {
        let Some((revision, set)) = wanted.borrow_and_update().clone() else {
            if wanted.changed().await.is_err() {
                return;
            }
            continue;
        };
        *locked(&state) = State { revision: Some(revision.clone()), ready: false };
        let pod = PodObject { shoot: &shoot, set: &set, node: &host.node, revision: &revision };
        pod.create();
        // The same pod, as often as its process has to be started.
        let is_other = |wanted: &Wanted| wanted.as_ref().is_none_or(|(now, _)| *now != revision);
        while !is_other(&wanted.borrow()) {
            match start(&shoot, &host, &set, &pod.name()) {
                Ok(mut running) => attend(&mut running, &pod, &host.faults, &mut wanted, &state).await,
                // What it mounts is not there yet.
                Err(why) => pod.say("Pending", false, &format!("{why:#}")),
            }
            locked(&state).ready = false;
            // Either is a reason to look again.
            drop(tokio::time::timeout(RETRY, wanted.wait_for(is_other)).await);
        }
        pod.delete();
        *locked(&state) = State::default();
    }
}

/// Probes the pod until its process has ended, by itself or because another pod is wanted.
async fn attend(
    running: &mut Running,
    pod: &PodObject<'_>,
    faults: &Faults<()>,
    wanted: &mut watch::Receiver<Wanted>,
    state: &Mutex<State>,
) {
    let mut told = None;
    loop {
        match faults.at(&format!("probe {}", pod.node)) {
            Some(Fault::Delay(time)) => tokio::time::sleep(time).await,
            Some(_) => drop(running.child.start_kill()),
            None => {}
        }
        let answer = probe(&running.address).await.and_then(|()| pod.gates());
        let ready = answer.is_ok();
        locked(state).ready = ready;
        let message = answer.err().unwrap_or_default();
        if told.as_ref() != Some(&message) {
            pod.say("Running", ready, &message);
            told = Some(message);
        }
        tokio::select! {
            _ended = running.child.wait() => return,
            _changed = wanted.changed() => break,
            () = tokio::time::sleep(PROBE) => {}
        }
    }
    locked(state).ready = false;
    if let Some(pid) = running.child.id().and_then(|pid| i32::try_from(pid).ok()) {
        // It may have ended by itself.
        let _gone = kill(Pid::from_raw(pid), Signal::SIGTERM);
    }
    let patience = pod.set["spec"]["template"]["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap_or(30);
    if tokio::time::timeout(Duration::from_secs(patience), running.child.wait()).await.is_err() {
        drop(running.child.kill().await);
    }
}

/// Starts the process of the pod's only container.
fn start(shoot: &Store, host: &PodHost, set: &Value, pod: &str) -> anyhow::Result<Running> {
    if let Some(fault) = host.faults.at(&format!("start {}", host.node)) {
        anyhow::bail!("the pod cannot be started: {fault:?}");
    }
    let spec = &set["spec"]["template"]["spec"];
    let container = &spec["containers"][0];
    let mounted = mount(shoot, set, container, &host.pods.join(pod))?;
    let mut words =
        container["command"].as_array().into_iter().flatten().chain(container["args"].as_array().into_iter().flatten());
    let program = words.next().and_then(Value::as_str).context("the container has no command")?;
    anyhow::ensure!(program == "/cri-resmgr-node-agent", "the image has no program {program}");
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let log = std::fs::File::options().create(true).append(true).open(host.pods.join(format!("{}.log", host.node)))?;
    let mut command = Command::new(&host.image.agent);
    command.env_clear().args(words.filter_map(Value::as_str));
    for variable in container["env"].as_array().into_iter().flatten() {
        let value = match variable["valueFrom"]["fieldRef"]["fieldPath"].as_str() {
            Some("spec.nodeName") => host.node.as_str(),
            Some("metadata.name") => pod,
            Some("metadata.namespace") => text(set, "/metadata/namespace"),
            Some(other) => anyhow::bail!("the field {other} is not known here"),
            None => text(variable, "/value"),
        };
        command.env(text(variable, "/name"), value);
    }
    // What a pod has mounted at fixed paths is elsewhere here.
    command.arg("--host-root").arg(&host.root);
    command.arg("--payload").arg(&host.image.payload);
    command.arg("--gate").arg(&host.image.gate);
    command.arg("--kubeconfig").arg(&host.kubeconfig);
    command.arg("--desired-state").arg(mounted.join(extension_config::names::DESIRED_STATE_KEY));
    command.arg(format!("--listen=127.0.0.1:{port}"));
    // Away from our terminal's signals: it is us who end it.
    command.process_group(0).kill_on_drop(true).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    let child = command.spawn().with_context(|| format!("cannot run {}", host.image.agent.display()))?;
    Ok(Running { child, address: format!("127.0.0.1:{port}") })
}

/// Writes the ConfigMap that is mounted where the desired state is read; gives the directory.
fn mount(shoot: &Store, set: &Value, container: &Value, directory: &Path) -> anyhow::Result<PathBuf> {
    let mounts = container["volumeMounts"].as_array().into_iter().flatten();
    let mut mounts = mounts.filter(|mount| mount["mountPath"] == extension_config::names::DESIRED_STATE_DIR);
    let volume = mounts.next().map(|mount| &mount["name"]).context("nothing is mounted for the desired state")?;
    let volumes = set["spec"]["template"]["spec"]["volumes"].as_array().into_iter().flatten();
    let name = volumes
        .filter(|found| found["name"] == *volume)
        .map(|found| text(found, "/configMap/name"))
        .next()
        .unwrap_or_default();
    let map = shoot.get("", "configmaps", text(set, "/metadata/namespace"), name);
    let map = map.with_context(|| format!("configmap {name:?} not found"))?;
    std::fs::create_dir_all(directory)?;
    for (key, value) in map["data"].as_object().into_iter().flatten() {
        let path = directory.join(key);
        // The agent watches the directory; equal bytes are no reason to wake it.
        if std::fs::read_to_string(&path).ok().as_deref() != value.as_str() {
            std::fs::write(path, value.as_str().unwrap_or_default())?;
        }
    }
    Ok(directory.to_owned())
}

/// `GET /readyz`; the answer's text where it is not 200.
async fn probe(address: &str) -> Result<(), String> {
    let ask = async {
        let mut stream = TcpStream::connect(address).await?;
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

/// The Pod in the API.
struct PodObject<'a> {
    shoot: &'a Store,
    set: &'a Value,
    node: &'a str,
    revision: &'a str,
}

impl PodObject<'_> {
    fn name(&self) -> String {
        format!("{}-{}-{}", text(self.set, "/metadata/name"), self.node, &self.revision[..5])
    }

    fn namespace(&self) -> &str {
        text(self.set, "/metadata/namespace")
    }

    fn create(&self) {
        let mut labels = self.set["spec"]["template"]["metadata"]["labels"].clone();
        labels["controller-revision-hash"] = json!(self.revision);
        let mut spec = self.set["spec"]["template"]["spec"].clone();
        spec["nodeName"] = json!(self.node);
        let owner = json!({
            "apiVersion": "apps/v1", "kind": "DaemonSet", "controller": true, "blockOwnerDeletion": true,
            "name": self.set["metadata"]["name"], "uid": self.set["metadata"]["uid"],
        });
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "spec": spec,
            "metadata": {
                "name": self.name(), "namespace": self.namespace(), "labels": labels, "ownerReferences": [owner],
                "annotations": self.set["spec"]["template"]["metadata"]["annotations"],
            },
        });
        // Only shown; the process matters.
        drop(self.shoot.create("", "pods", self.namespace(), pod, &Writer::named("kube-controller-manager")));
    }

    fn say(&self, phase: &str, ready: bool, message: &str) {
        let status = if ready { "True" } else { "False" };
        let condition = json!({ "type": "Ready", "status": status, "message": message });
        let patch = json!({ "status": { "phase": phase, "conditions": [condition] } });
        drop(self.shoot.strategic("pods", self.namespace(), &self.name(), &patch, &Writer::named(MANAGER).status()));
    }

    /// The readiness gates that are not open.
    fn gates(&self) -> Result<(), String> {
        let pod = self.shoot.get("", "pods", self.namespace(), &self.name()).unwrap_or_default();
        let is_open = |gate: &str| {
            let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
            conditions.clone().any(|condition| condition["type"] == gate && condition["status"] == "True")
        };
        let gates = pod["spec"]["readinessGates"].as_array().into_iter().flatten();
        match gates.map(|gate| text(gate, "/conditionType")).find(|gate| !is_open(gate)) {
            Some(gate) => Err(format!("the pod's readiness gate {gate} is not open")),
            None => Ok(()),
        }
    }

    fn delete(&self) {
        drop(self.shoot.delete("", "pods", self.namespace(), &self.name()));
    }
}
