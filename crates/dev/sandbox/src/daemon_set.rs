//! What the DaemonSet controller and kubelet do with our DaemonSet: a pod for each node that is selected, which runs its program as a real
//! process, with the mounts and variables of the pod in the form of flags.

mod object;
mod pod;
mod process;
mod runner;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use sha2::Digest as _;
use tokio::time::{MissedTickBehavior, interval};

use fake_kube_api::{Store, Writer, text};
use faults::Faults;
use pod::Keeper;
pub(crate) use process::{Image, ProcessRunner};
pub(crate) use runner::Runner;

const MANAGER: &str = "kube-controller-manager";
/// Between two checks of the pods' readiness, at most.
const LOOK: Duration = Duration::from_millis(250);
/// And at least, for each node: a crowd of them writes much, and is checked as a whole.
const PAUSE: Duration = Duration::from_micros(250);
/// Pods that are made at a check: the real controller's client is held to a rate, too, and images are pulled at different speeds.
const PODS_AT_A_LOOK: usize = 25;

/// Where pods run.
#[derive(Debug, Clone)]
pub(crate) struct PodHost {
    /// Name of the Node.
    pub(crate) node: String,
    /// How its pods' programs run.
    pub(crate) runner: Runner,
    /// What goes wrong with the pods.
    pub(crate) faults: Faults<()>,
}

/// By namespace and name of the DaemonSet, and by node.
type Keepers = BTreeMap<(String, String, String), Keeper>;

/// Serves the DaemonSets of a shoot until it is dropped; so end the processes of all pods.
pub(crate) async fn run(shoot: Store, hosts: Vec<PodHost>) {
    let mut changes = shoot.changes();
    let mut keepers = Keepers::new();
    let mut pace = interval(LOOK.min(PAUSE * u32::try_from(hosts.len()).unwrap_or(u32::MAX).max(1)));
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        pace.tick().await;
        changes.mark_unchanged();
        let sets: Vec<Arc<Value>> = shoot.list("apps", "daemonsets", "").into_iter().map(Arc::new).collect();
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
            // Somebody may delete it meanwhile; then the next check sees that.
            drop(serve(&shoot, &hosts, set, &mut keepers));
        }
        tokio::select! {
            written = changes.changed() => if written.is_err() { return },
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

fn serve(shoot: &Store, hosts: &[PodHost], set: &Arc<Value>, keepers: &mut Keepers) -> anyhow::Result<()> {
    let (namespace, name) = (text(set, "/metadata/namespace").to_owned(), text(set, "/metadata/name").to_owned());
    let key = |host: &PodHost| (namespace.clone(), name.clone(), host.node.clone());
    let revision = hex::encode(sha2::Sha256::digest(set["spec"]["template"].to_string()))[..10].to_owned();
    let is_selected =
        |host: &&PodHost| shoot.read("", "nodes", "", &host.node, |node| selects(set, node)) == Some(true);
    let (selected, others): (Vec<&PodHost>, Vec<&PodHost>) = hosts.iter().partition(is_selected);
    for host in others {
        if let Some(keeper) = keepers.get(&key(host)) {
            keeper.want(None);
        }
    }
    let desired = i64::try_from(selected.len())?;
    let (mut current, mut renewed, mut ready) = (0, 0, 0);
    let mut outdated = Vec::new();
    for host in selected {
        let keeper = keepers.entry(key(host)).or_insert_with(|| Keeper::start(shoot.clone(), host.clone()));
        let state = keeper.state();
        current += i64::from(state.revision.is_some());
        renewed += i64::from(state.revision.as_ref() == Some(&revision));
        ready += i64::from(state.ready);
        if !keeper.is_reported(&revision) {
            outdated.push((key(host), state.ready));
        }
    }
    // Pods that are not ready count against what may be away.
    let mut absent = desired - ready;
    for (key, is_ready) in outdated.into_iter().take(PODS_AT_A_LOOK) {
        let Some(keeper) = keepers.get(&key) else { continue };
        // A pod that is not ready anyway may be replaced at any time.
        if !is_ready || absent < max_unavailable(set, desired) {
            absent += i64::from(is_ready);
            keeper.want(Some((revision.clone(), Arc::clone(set))));
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
