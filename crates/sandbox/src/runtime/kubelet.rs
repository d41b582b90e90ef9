//! kubelet: registers its Node, renews its Lease as long as its runtime answers.

use std::path::PathBuf;
use std::time::Duration;

use cri_client::RuntimeClient;
use extension_config::names;
use serde_json::{Value, json};

use crate::api::{Failure, Store, Writer};

/// Namespace of the Leases.
const NODE_LEASES: &str = "kube-node-lease";
/// A fifth of kubelet's own, so that a demo takes less than a minute.
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
            // Images are built for this architecture only; what is played runs on any.
            "kubernetes.io/arch": "amd64",
            (names::WORKER_POOL_LABEL): pool,
            (names::WORKER_CRI_LABEL): "containerd",
        } },
    });
    shoot.create("", "nodes", "", node, &Writer::named(MANAGER))
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
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": { "name": node, "namespace": NODE_LEASES },
            "spec": {
                "holderIdentity": node, "leaseDurationSeconds": 40,
                "renewTime": jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string(),
            },
        });
        let (status, reason, message) = match &answer {
            Ok(()) => ("True", "KubeletReady", "kubelet is posting ready status".to_owned()),
            Err(error) => ("False", "KubeletNotReady", format!("container runtime is down: {error}")),
        };
        let conditions = json!([{ "type": "Ready", "status": status, "reason": reason, "message": message }]);
        let patch = json!({ "status": { "conditions": conditions } });
        let writer = Writer::named(MANAGER);
        // Nobody but us writes either, and a Node that was deleted needs neither.
        drop(shoot.apply(&lease, &writer));
        drop(shoot.merge("", "nodes", "", &node, &patch, &writer.status()));
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
