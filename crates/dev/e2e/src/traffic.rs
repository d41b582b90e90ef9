//! Steady traffic between pods on different workers, and how long Nodes are not Ready meanwhile.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use futures::StreamExt as _;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use kube::api::PostParams;
use kube::runtime::{WatchStreamExt as _, watcher};
use serde_json::json;
use testbed::{BUSYBOX_IMAGE, Worker, wait_for};
use tokio::task::JoinHandle;

const RUNNING: Duration = Duration::from_secs(90);
/// Several requests a second, each given up after two seconds. Not by wget: a static busybox crashes in its resolver.
const CLIENT: &str = r"while true; do
printf 'GET / HTTP/1.0\r\n\r\n' | /bin/busybox nc -w 2 PEER 8080 | /bin/busybox grep -q here && echo answered || echo lost
/bin/busybox usleep 100000
done";
const SERVER: &str =
    "/bin/busybox mkdir -p /www; echo here >/www/index.html; exec /bin/busybox httpd -f -p 8080 -h /www";

/// A server on each worker, and a client on each that asks the server of the next one.
#[derive(Debug)]
pub struct Traffic(());

/// What the clients have counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Requests that were answered.
    pub answered: usize,
    /// Requests that were not.
    pub lost: usize,
}

impl Traffic {
    /// Starts it, and waits until every client has had an answer.
    ///
    /// # Errors
    /// When that does not come.
    pub async fn start(shoot: kube::Client, workers: &[Worker]) -> anyhow::Result<Self> {
        let pods: Api<Pod> = Api::namespaced(shoot, "default");
        let mut addresses = Vec::new();
        for worker in workers {
            create(&pods, "server", worker.name(), SERVER).await?;
        }
        for worker in workers {
            let name = format!("server-{}", worker.name());
            let address = wait_for(&format!("an address of {name}"), RUNNING, || async {
                let status = pods.get(&name).await?.status.context("no status")?;
                ensure!(status.phase.as_deref() == Some("Running"), "{}", json!(status));
                Ok(status.pod_ip)
            })
            .await?;
            addresses.push(address);
        }
        addresses.rotate_left(1);
        for (worker, peer) in workers.iter().zip(addresses) {
            create(&pods, "client", worker.name(), &CLIENT.replace("PEER", &peer)).await?;
        }
        wait_for("answers on every worker", RUNNING, || async {
            for worker in workers {
                ensure!(counts(worker).await?.answered > 0, "none yet on {}", worker.name());
            }
            Ok(Some(()))
        })
        .await?;
        Ok(Self(()))
    }

    /// What the clients have counted so far, all together.
    ///
    /// # Errors
    /// When a worker's files cannot be read.
    pub async fn counts(&self, workers: &[Worker]) -> anyhow::Result<Counts> {
        let mut all = Counts { answered: 0, lost: 0 };
        for worker in workers {
            let counts = counts(worker).await?;
            all.answered += counts.answered;
            all.lost += counts.lost;
        }
        Ok(all)
    }
}

async fn create(pods: &Api<Pod>, what: &str, node: &str, script: &str) -> anyhow::Result<()> {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": format!("{what}-{node}") },
        "spec": {
            "nodeName": node, "terminationGracePeriodSeconds": 1, "tolerations": [{ "operator": "Exists" }],
            "containers": [{
                "name": "c", "image": BUSYBOX_IMAGE, "imagePullPolicy": "Never",
                "command": ["/bin/busybox", "sh", "-c", script],
                "resources": { "requests": { "cpu": "10m", "memory": "8Mi" }, "limits": { "memory": "32Mi" } },
            }],
        },
    });
    pods.create(&PostParams::default(), &serde_json::from_value(pod)?).await?;
    Ok(())
}

/// From the container's log as the runtime keeps it.
async fn counts(worker: &Worker) -> anyhow::Result<Counts> {
    let log = worker.shell("cat /var/log/pods/default_client-*/c/*.log").await?;
    let count = |word: &str| log.lines().filter(|line| line.ends_with(word)).count();
    Ok(Counts { answered: count(" answered"), lost: count(" lost") })
}

/// Watches the Ready condition of all Nodes until it is dropped.
#[derive(Debug)]
pub struct Readiness {
    gaps: Arc<Mutex<BTreeMap<String, Gaps>>>,
    task: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Gaps {
    since: Option<Instant>,
    all: Vec<Duration>,
}

impl Readiness {
    /// Starts watching.
    #[must_use]
    pub fn watch(shoot: kube::Client) -> Self {
        let gaps: Arc<Mutex<BTreeMap<String, Gaps>>> = Arc::default();
        let seen = Arc::clone(&gaps);
        let task = tokio::spawn(async move {
            let nodes: Api<Node> = Api::all(shoot);
            let changes = watcher(nodes, watcher::Config::default()).default_backoff().applied_objects();
            changes
                .for_each(|change| {
                    // After an error it watches again.
                    if let Ok(node) = change {
                        note(&mut seen.lock().unwrap_or_else(PoisonError::into_inner), &node);
                    }
                    std::future::ready(())
                })
                .await;
        });
        Self { gaps, task }
    }

    /// How often, and how long at the longest, a Node was not Ready since the last call.
    #[must_use]
    pub fn take(&self) -> (usize, Duration) {
        let mut gaps = self.gaps.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = gaps.values_mut().flat_map(|gaps| {
            let open = gaps.since.map(|since| since.elapsed());
            gaps.all.drain(..).chain(open).collect::<Vec<_>>()
        });
        let all: Vec<Duration> = ended.collect();
        (all.len(), all.into_iter().max().unwrap_or_default())
    }
}

impl Drop for Readiness {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn note(gaps: &mut BTreeMap<String, Gaps>, node: &Node) {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions.into_iter().any(|found| found.type_ == "Ready" && found.status == "True");
    let gaps = gaps.entry(node.metadata.name.clone().unwrap_or_default()).or_default();
    match (ready, gaps.since) {
        (false, None) => gaps.since = Some(Instant::now()),
        (true, Some(since)) => {
            gaps.all.push(since.elapsed());
            gaps.since = None;
        }
        _ => {}
    }
}
