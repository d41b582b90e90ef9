//! As much of a Gardener as an owner of one shoot sees: Shoots in the garden's API, and the shoot's API with its nodes. Behind it is
//! the sandbox, in which the real controller and node agents work.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard};

use base64::Engine as _;
use extension_config::names::{EXTENSION_TYPE, node as host};
use sandbox::{Node, Sandbox};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::http::{Answer, Request, serve};

const SHOOTS: &str = "/apis/core.gardener.cloud/v1beta1/namespaces/garden-x/shoots";
const PODS: &str = "/api/v1/namespaces/kube-system/pods";
/// systemctl on a node: `show` of properties that stand in files.
const SYSTEMCTL: &str = r#"#!/bin/sh
for word; do
  case $word in
    --value) value=yes ;;
    --property=*) properties=${word#--property=} ;;
    *) unit=$word ;;
  esac
done
for property in $(echo "$properties" | tr , ' '); do
  told=$(cat "$NODE/$unit/$property")
  if [ -n "$value" ]; then echo "$told"; else echo "$property=$told"; fi
done
"#;

/// What it does about the shoots that it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Care {
    /// A shoot is ready when its system components are.
    Full,
    /// It says so as soon as the Extension is ready.
    None,
}

#[derive(Debug, Default)]
struct State {
    shoot: Option<Value>,
    /// Pods that are there, with what they have printed.
    pods: BTreeMap<String, String>,
    probes: usize,
    history: Vec<&'static str>,
}

pub(crate) struct Gardener {
    state: Mutex<State>,
    changed: Notify,
    sandbox: Arc<Sandbox>,
    care: Care,
    dir: tempfile::TempDir,
    url: Mutex<String>,
}

impl Gardener {
    /// Its API is served from now on; [`Self::reconcile`] does its work.
    pub(crate) fn start(sandbox: Arc<Sandbox>, care: Care) -> Arc<Self> {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let systemctl = dir.path().join("systemctl");
        std::fs::write(&systemctl, SYSTEMCTL).unwrap();
        std::fs::set_permissions(&systemctl, std::fs::Permissions::from_mode(0o755)).unwrap();
        let (state, changed, url) = (Mutex::default(), Notify::new(), Mutex::default());
        let gardener = Arc::new(Self { state, changed, sandbox, care, dir, url });
        let front = Arc::downgrade(&gardener);
        let url = serve(move |request| match front.upgrade() {
            Some(gardener) => gardener.answer(request),
            None => Answer::refuse(503, "ServiceUnavailable", "the test is over"),
        });
        *gardener.url.lock().unwrap() = url;
        gardener
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// A kubeconfig of the garden.
    pub(crate) fn kubeconfig(&self) -> PathBuf {
        let path = self.dir.path().join("kubeconfig");
        std::fs::write(&path, self.kubeconfig_text()).unwrap();
        path
    }

    fn kubeconfig_text(&self) -> String {
        let server = self.url.lock().unwrap().clone();
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "x",
            "clusters": [{ "name": "x", "cluster": { "server": server } }],
            "users": [{ "name": "x", "user": {} }],
            "contexts": [{ "name": "x", "context": { "cluster": "x", "user": "x" } }],
        })
        .to_string()
    }

    /// What was done with the shoot, in order.
    pub(crate) fn history(&self) -> Vec<&'static str> {
        self.state().history.clone()
    }

    /// Pods that looked at nodes, and names of those that were left behind.
    pub(crate) fn probes(&self) -> (usize, Vec<String>) {
        let state = self.state();
        (state.probes, state.pods.keys().cloned().collect())
    }

    /// Brings the sandbox to what the Shoot says, again and again.
    pub(crate) async fn reconcile(&self) -> anyhow::Result<()> {
        let (mut done, mut is_on) = (0, false);
        loop {
            let shoot = self.state().shoot.clone().filter(|shoot| shoot["metadata"]["generation"] != done);
            let Some(shoot) = shoot else {
                self.changed.notified().await;
                continue;
            };
            let generation = shoot["metadata"]["generation"].as_i64().unwrap_or_default();
            let is_deleting = !shoot["metadata"]["deletionTimestamp"].is_null();
            self.set_status(generation, "Processing");
            let wanted = !is_deleting && has_extension(&shoot);
            if wanted {
                self.sandbox.switch_on(None).await?;
                if self.care == Care::Full {
                    self.sandbox.wait_healthy().await?;
                }
            } else if is_on {
                self.sandbox.switch_off().await?;
            }
            is_on = wanted;
            done = generation;
            let mut state = self.state();
            state.history.push(if is_deleting {
                "delete"
            } else if wanted {
                "on"
            } else {
                "off"
            });
            if is_deleting {
                state.shoot = None;
            }
            drop(state);
            self.set_status(generation, "Succeeded");
        }
    }

    fn set_status(&self, generation: i64, operation: &str) {
        if let Some(shoot) = &mut self.state().shoot {
            let conditions = ["APIServerAvailable", "EveryNodeReady", "SystemComponentsHealthy"]
                .map(|kind| json!({ "type": kind, "status": "True" }));
            shoot["status"] = json!({
                "observedGeneration": generation, "lastOperation": { "state": operation }, "conditions": conditions,
            });
        }
    }

    fn answer(&self, request: &Request) -> Answer {
        let path = request.path.as_str();
        if let Some(rest) = path.strip_prefix(SHOOTS) {
            self.garden(request, rest.trim_start_matches('/'))
        } else if let Some(rest) = path.strip_prefix(PODS) {
            self.pods(request, rest.trim_start_matches('/'))
        } else if (request.method.as_str(), path) == ("GET", "/api/v1/nodes") {
            let items = self.sandbox.shoot.store().list("", "nodes", "");
            Answer::Object(200, json!({ "kind": "NodeList", "apiVersion": "v1", "metadata": {}, "items": items }))
        } else {
            Answer::refuse(404, "NotFound", &format!("{} {path} is not served here", request.method))
        }
    }

    fn garden(&self, request: &Request, rest: &str) -> Answer {
        let mut state = self.state();
        let not_found = || Answer::refuse(404, "NotFound", "no such shoot");
        match (request.method.as_str(), rest.split('/').collect::<Vec<_>>().as_slice(), &mut state.shoot) {
            ("POST", [""], Some(_)) => Answer::refuse(409, "AlreadyExists", "there is a shoot"),
            ("POST", [""], none) => {
                let mut shoot = request.body.clone();
                touch(&mut shoot, 1);
                *none = Some(shoot.clone());
                self.changed.notify_one();
                Answer::Object(201, shoot)
            }
            ("POST", [_, "adminkubeconfig"], Some(_)) => {
                let text = base64::engine::general_purpose::STANDARD.encode(self.kubeconfig_text());
                let mut answer = request.body.clone();
                answer["status"] = json!({ "kubeconfig": text });
                Answer::Object(201, answer)
            }
            ("GET", [name], Some(shoot)) if shoot["metadata"]["name"] == *name => Answer::Object(200, shoot.clone()),
            ("PATCH", [name], Some(shoot)) if shoot["metadata"]["name"] == *name => {
                let version = &request.body["metadata"]["resourceVersion"];
                if !version.is_null() && *version != shoot["metadata"]["resourceVersion"] {
                    return Answer::refuse(409, "Conflict", "the object has been modified");
                }
                let generation = shoot["metadata"]["generation"].as_i64().unwrap_or_default();
                let spec = shoot["spec"].clone();
                json_patch::merge(shoot, &request.body);
                touch(shoot, generation + i64::from(spec != shoot["spec"]));
                self.changed.notify_one();
                Answer::Object(200, shoot.clone())
            }
            ("DELETE", [name], Some(shoot)) if shoot["metadata"]["name"] == *name => {
                if shoot["metadata"]["annotations"]["confirmation.gardener.cloud/deletion"] != "true" {
                    return Answer::refuse(403, "Forbidden", "the deletion is not confirmed");
                }
                let generation = shoot["metadata"]["generation"].as_i64().unwrap_or_default();
                shoot["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
                touch(shoot, generation + 1);
                self.changed.notify_one();
                Answer::Object(200, shoot.clone())
            }
            _ => not_found(),
        }
    }

    /// The shoot's API and its kubelets: a pod has run when it is created.
    fn pods(&self, request: &Request, rest: &str) -> Answer {
        let pod = request.body.clone();
        match (request.method.as_str(), rest.split('/').collect::<Vec<_>>().as_slice()) {
            ("POST", [""]) => {
                let node = self.sandbox.nodes().iter().find(|node| pod["spec"]["nodeName"] == node.name());
                let Some(node) = node else { return Answer::refuse(422, "Invalid", "no such node") };
                let printed = self.run(node, &pod);
                let mut state = self.state();
                state.probes += 1;
                let name = pod["metadata"]["name"].as_str().unwrap_or_default();
                state.pods.insert(name.to_owned(), printed);
                Answer::Object(201, pod)
            }
            ("GET", [name]) if self.state().pods.contains_key(*name) => {
                let pod = json!({
                    "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name },
                    "status": { "phase": "Succeeded" },
                });
                Answer::Object(200, pod)
            }
            ("GET", [name, "log"]) => Answer::Text(self.state().pods.get(*name).cloned().unwrap_or_default()),
            ("DELETE", [name]) if self.state().pods.remove(*name).is_some() => {
                Answer::Object(200, json!({ "kind": "Status", "apiVersion": "v1", "status": "Success" }))
            }
            _ => Answer::refuse(404, "NotFound", "no such pod"),
        }
    }

    /// Runs a pod's command with what the node's systemd says. Only what enters the node's namespaces is left out, which its rights
    /// must allow.
    fn run(&self, node: &Node, pod: &Value) -> String {
        let (spec, container) = (&pod["spec"], &pod["spec"]["containers"][0]);
        if spec["hostPID"] != true || container["securityContext"]["privileged"] != true {
            return "the pod cannot see the node's processes".to_owned();
        }
        let words: Vec<&str> =
            container["command"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let ["nsenter", "-t", "1", .., "--", "sh", "-c", script] = words.as_slice() else {
            return format!("unknown command {words:?}");
        };
        let folder = self.dir.path().join(node.name());
        for name in [host::KUBELET_UNIT, host::DAEMON_UNIT] {
            let unit = node.unit(name);
            let file = |property: &str, value: &str| {
                let path = folder.join(name).join(property);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, value).unwrap();
            };
            file("LoadState", unit.load_state);
            file("ActiveState", unit.active_state);
            file("MainPID", &unit.main_pid.to_string());
            file("InvocationID", &unit.starts.to_string());
            let process = folder.join("proc").join(unit.main_pid.to_string());
            std::fs::create_dir_all(&process).unwrap();
            std::fs::write(process.join("cmdline"), unit.command_line.replace(' ', "\0")).unwrap();
        }
        // The processes of a sandbox's node are not its programs.
        let script = script.replace("/proc/", &format!("{}/proc/", folder.display()));
        let path = format!("{}:{}", self.dir.path().display(), std::env::var("PATH").unwrap());
        let output = Command::new("sh").args(["-c", &script]).env("PATH", path).env("NODE", &folder).output().unwrap();
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    }
}

fn has_extension(shoot: &Value) -> bool {
    let mut extensions = shoot["spec"]["extensions"].as_array().into_iter().flatten();
    extensions.any(|extension| extension["type"] == EXTENSION_TYPE && extension["disabled"] != true)
}

/// Each write is another version.
fn touch(shoot: &mut Value, generation: i64) {
    let version = shoot["metadata"]["resourceVersion"].as_str().and_then(|text| text.parse::<u64>().ok());
    shoot["metadata"]["resourceVersion"] = json!((version.unwrap_or_default() + 1).to_string());
    shoot["metadata"]["generation"] = json!(generation);
}
