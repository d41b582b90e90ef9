//! What the DaemonSet controller and kubelet do with our DaemonSet: a pod for each node that is selected, which runs its program as a real
//! process, with the mounts and variables of the pod in the form of flags.

mod pod;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use sha2::Digest as _;

use crate::api::{Store, Writer, text};
use crate::faults::Faults;
use pod::Keeper;

const MANAGER: &str = "kube-controller-manager";
/// Between two looks at the pods' readiness.
const LOOK: Duration = Duration::from_millis(250);

/// Where pods run.
#[derive(Debug, Clone)]
pub(crate) struct PodHost {
    /// Name of the Node.
    pub(crate) node: String,
    /// The node's root, mounted into pods.
    pub(crate) root: PathBuf,
    /// Where volumes and logs of pods are.
    pub(crate) pods: PathBuf,
    /// What stands for the content of the image.
    pub(crate) image: Image,
    /// Stands for the pod's service account.
    pub(crate) kubeconfig: PathBuf,
    /// What goes wrong with the pods' processes.
    pub(crate) faults: Faults<()>,
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

/// Serves the DaemonSets of a shoot until it is dropped; so end the processes of all pods.
pub(crate) async fn run(shoot: Store, hosts: Vec<PodHost>) {
    let mut changes = shoot.changes();
    let mut keepers: BTreeMap<(String, String, String), Keeper> = BTreeMap::new();
    loop {
        changes.mark_unchanged();
        let sets = shoot.list("apps", "daemonsets", "");
        keepers.retain(|(namespace, name, _), keeper| {
            let is_wanted = sets
                .iter()
                .any(|set| text(set, "/metadata/namespace") == namespace && text(set, "/metadata/name") == name);
            if !is_wanted {
                keeper.want(None);
            }
            is_wanted || !keeper.is_gone()
        });
        for set in &sets {
            // Somebody may delete it meanwhile; then the next look sees that.
            drop(serve(&shoot, &hosts, set, &mut keepers));
        }
        tokio::select! {
            written = changes.changed() => if written.is_err() { return },
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

fn serve(
    shoot: &Store,
    hosts: &[PodHost],
    set: &Value,
    keepers: &mut BTreeMap<(String, String, String), Keeper>,
) -> anyhow::Result<()> {
    let (namespace, name) = (text(set, "/metadata/namespace").to_owned(), text(set, "/metadata/name").to_owned());
    let revision = hex::encode(sha2::Sha256::digest(set["spec"]["template"].to_string()))[..10].to_owned();
    let (mut desired, mut current, mut renewed, mut ready) = (0, 0, 0, 0);
    // Pods that are not ready, and so count against what may be away.
    let mut absent = 0;
    for host in hosts {
        let node = shoot.get("", "nodes", "", &host.node);
        let key = (namespace.clone(), name.clone(), host.node.clone());
        let is_selected = node.is_some_and(|node| selects(set, &node));
        if !is_selected {
            if let Some(keeper) = keepers.get(&key) {
                keeper.want(None);
            }
            continue;
        }
        desired += 1;
        let keeper = keepers.entry(key).or_insert_with(|| Keeper::start(shoot.clone(), host.clone()));
        let state = keeper.state();
        absent += i64::from(!state.ready);
        current += i64::from(state.revision.is_some());
        renewed += i64::from(state.revision.as_ref() == Some(&revision));
        ready += i64::from(state.ready);
    }
    for host in hosts {
        let key = (namespace.clone(), name.clone(), host.node.clone());
        let Some(keeper) = keepers.get(&key) else { continue };
        let is_selected = shoot.get("", "nodes", "", &host.node).is_some_and(|node| selects(set, &node));
        let state = keeper.state();
        if !is_selected || keeper.is_told(&revision) {
            continue;
        }
        // A pod that is not ready anyway may be replaced at any time.
        if !state.ready || absent < max_unavailable(set, desired) {
            absent += i64::from(state.ready);
            keeper.want(Some((revision.clone(), set.clone())));
        }
    }
    let status = json!({ "status": {
        "observedGeneration": set["metadata"]["generation"],
        "desiredNumberScheduled": desired, "currentNumberScheduled": current, "updatedNumberScheduled": renewed,
        "numberReady": ready, "numberAvailable": ready, "numberUnavailable": desired - ready, "numberMisscheduled": 0,
    } });
    shoot.merge("apps", "daemonsets", &namespace, &name, &status, &Writer::named(MANAGER).status())?;
    Ok(())
}

/// Whether the pods of a set may run on a node.
fn selects(set: &Value, node: &Value) -> bool {
    let wanted = set["spec"]["template"]["spec"]["nodeSelector"].as_object();
    wanted.into_iter().flatten().all(|(key, value)| node["metadata"]["labels"].get(key) == Some(value))
}

/// How many pods may be away at a time.
fn max_unavailable(set: &Value, desired: i64) -> i64 {
    let count = match &set["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"] {
        Value::Number(count) => count.as_i64().unwrap_or(1),
        Value::String(percent) => {
            percent.trim_end_matches('%').parse::<i64>().map_or(1, |percent| desired * percent / 100)
        }
        _ => 1,
    };
    count.max(1)
}
