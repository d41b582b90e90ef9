//! kubelet: registers its Node, renews its Lease as long as its runtime answers.

use std::fmt::Display;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cri_client::RuntimeClient;
use extension_config::names;
use serde_json::{Value, json};

use fake_kube_api::{Failure, Store, Writer};

/// Namespace of the Leases.
const NODE_LEASES: &str = "kube-node-lease";
/// Between two renewals of its Lease.
pub(super) const HEARTBEAT_OF_KUBELET: Duration = Duration::from_secs(10);
/// A fifth of it, so that a demo takes less than a minute.
const HEARTBEAT: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(2);
const MANAGER: &str = "kubelet";

/// Makes the Node, with the labels that Gardener gives it.
pub(crate) fn register(shoot: &Store, node: &str, pool: &str) -> Result<Value, Failure> {
    let node = json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": { "name": node, "labels": {
            "kubernetes.io/hostname": node,
            "kubernetes.io/os": "linux",
            // Images are built for this architecture only; what is faked runs on any.
            "kubernetes.io/arch": "amd64",
            (names::WORKER_POOL_LABEL): pool,
            (names::WORKER_CRI_LABEL): "containerd",
        } },
    });
    shoot.create("", "nodes", "", node, &Writer::named(MANAGER))
}

/// What one kubelet reports of itself at one moment, since 1970. Nobody but it writes either, and a Node that was deleted needs neither, so that errors say nothing.
pub(super) struct Heartbeat<'a> {
    pub(super) shoot: &'a Store,
    pub(super) node: &'a str,
    pub(super) at: Duration,
}

impl Heartbeat<'_> {
    /// Renews the Lease.
    pub(super) fn renew(&self) {
        let at = jiff::Timestamp::UNIX_EPOCH.saturating_add(self.at).unwrap_or(jiff::Timestamp::MAX);
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": { "name": self.node, "namespace": NODE_LEASES },
            "spec": {
                "holderIdentity": self.node, "leaseDurationSeconds": 40,
                "renewTime": at.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string(),
            },
        });
        drop(self.shoot.apply(&lease, &Writer::named(MANAGER)));
    }

    /// Reports whether the Node is ready.
    pub(super) fn report(&self, runtime: Result<(), impl Display>) {
        let (status, reason, message) = match runtime {
            Ok(()) => ("True", "KubeletReady", "kubelet is posting ready status".to_owned()),
            Err(error) => ("False", "KubeletNotReady", format!("container runtime is down: {error}")),
        };
        let conditions = json!([{ "type": "Ready", "status": status, "reason": reason, "message": message }]);
        let patch = json!({ "status": { "conditions": conditions } });
        drop(self.shoot.merge("", "nodes", "", self.node, &patch, &Writer::named(MANAGER).status()));
    }
}

/// Runs until it is dropped.
pub(super) async fn run(node: String, endpoint: PathBuf, shoot: Store) {
    // Unlike a bare connect, one connection that is kept sees a proxy that was replaced behind it.
    let mut client: Option<RuntimeClient> = None;
    loop {
        let answer = ask(&mut client, &endpoint).await;
        if answer.is_err() {
            client = None;
        }
        // A kubelet without a runtime still renews its Lease; its Node says that it is not ready.
        #[expect(clippy::disallowed_methods, reason = "a Node's heartbeat has the time of the machine")]
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let heartbeat = Heartbeat { shoot: &shoot, node: &node, at: now };
        heartbeat.renew();
        heartbeat.report(answer.as_ref().copied());
        tokio::time::sleep(HEARTBEAT).await;
    }
}

async fn ask(client: &mut Option<RuntimeClient>, endpoint: &std::path::Path) -> Result<(), cri_client::CriError> {
    let connected = match client {
        Some(client) => client,
        None => client.insert(RuntimeClient::connect(endpoint, PATIENCE).await?),
    };
    connected.version(PATIENCE).await?;
    connected.status(PATIENCE).await.map(drop)
}
