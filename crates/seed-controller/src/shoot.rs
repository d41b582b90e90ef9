//! A look into the shoot: its nodes, the agents' pods, and what the agents tell.

use std::collections::HashMap;
use std::time::Duration;

use extension_config::desired_state::Phase;
use extension_config::names;
use extension_config::node_report::{NodeReport, lease_name};
use gardener_extension::Context;
use gardener_extension::shoot_access::{ShootAccess, Unavailable};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node as ApiNode, Pod};
use kube::api::ListParams;
use kube::{Api, Client, ResourceExt as _};

use crate::manifests::ARCHITECTURE;
use crate::removal::nodes::{Agent, Node};

/// The controller's own access.
pub(crate) const ACCESS: ShootAccess = ShootAccess {
    secret: names::SHOOT_ACCESS_SECRET,
    account: names::SHOOT_ACCESS_ACCOUNT,
    account_namespace: names::SHOOT_NAMESPACE,
};
/// Longest look.
const DEADLINE: Duration = Duration::from_secs(20);

/// Why the shoot could not be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unasked {
    #[error("the shoot is hibernated")]
    Hibernated,
    #[error(transparent)]
    NoAccess(#[from] Unavailable),
    #[error("its API server did not answer within {} s", DEADLINE.as_secs())]
    Late,
    #[error("its API server refused to list {kind}: {reason}")]
    Refused { kind: &'static str, reason: String },
    #[error("its API server could not be reached to list {kind}")]
    Unreachable { kind: &'static str },
}

/// The nodes that an agent works on in the phase `Remove`.
pub(crate) async fn nodes(context: &Context) -> Result<Vec<Node>, Unasked> {
    if context.shoot.as_ref().is_some_and(|shoot| shoot.is_hibernated()) {
        return Err(Unasked::Hibernated);
    }
    let client = ACCESS.client(&context.client, &context.namespace, context.cluster.as_deref()).await?;
    tokio::time::timeout(DEADLINE, look(&client)).await.unwrap_or(Err(Unasked::Late))
}

async fn look(client: &Client) -> Result<Vec<Node>, Unasked> {
    let ours = ListParams::default().labels(&format!("{}={}", names::NODE_AGENT_LABEL, names::NODE_AGENT));
    // Those of the DaemonSet's nodeSelector.
    let chosen =
        format!("{}=containerd,kubernetes.io/arch={ARCHITECTURE},kubernetes.io/os=linux", names::WORKER_CRI_LABEL);
    let chosen = ListParams::default().labels(&chosen);
    let nodes: Api<ApiNode> = Api::all(client.clone());
    let pods: Api<Pod> = Api::namespaced(client.clone(), names::SHOOT_NAMESPACE);
    let leases: Api<Lease> = Api::namespaced(client.clone(), names::SHOOT_NAMESPACE);
    // Nodes first: one that joins in between has nothing to be removed.
    let nodes = nodes.list(&chosen).await.map_err(|error| refused("nodes", &error))?;
    let (pods, leases) =
        tokio::try_join!(async { pods.list(&ours).await.map_err(|error| refused("pods", &error)) }, async {
            leases.list(&ours).await.map_err(|error| refused("leases", &error))
        },)?;
    let mut agents: HashMap<String, Agent> = HashMap::new();
    for pod in &pods.items {
        let (Some(node), Some(agent)) = (pod.spec.as_ref().and_then(|spec| spec.node_name.clone()), agent(pod)) else {
            continue;
        };
        let known = agents.entry(node).or_insert(agent);
        if agent == Agent::Done {
            *known = agent;
        }
    }
    let reports: HashMap<String, NodeReport> =
        leases.items.iter().filter_map(|lease| Some((lease.name_any(), report(lease)?))).collect();
    Ok(nodes
        .items
        .iter()
        .map(|node| {
            let name = node.name_any();
            Node {
                away_since: away_since(node),
                agent: agents.get(&name).copied().unwrap_or(Agent::Missing),
                report: reports.get(&lease_name(&name)).cloned(),
                name,
            }
        })
        .collect())
}

/// How far an agent's pod of the phase `Remove` is; `None` for a pod of another phase and for one that is going.
fn agent(pod: &Pod) -> Option<Agent> {
    let removes = pod.annotations().get(names::PHASE_KEY).is_some_and(|phase| phase == Phase::Remove.as_str());
    if !removes || pod.metadata.deletion_timestamp.is_some() {
        return None;
    }
    // The gate, which only the agent writes, and not Ready, which kubelet writes and gets wrong after its own restart.
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let mut gates = conditions.filter(|condition| condition.type_ == names::NODE_AS_DESIRED);
    Some(if gates.any(|gate| gate.status == "True") { Agent::Done } else { Agent::AtWork })
}

/// Since when the node has not been Ready; one that never was: since it exists.
fn away_since(node: &ApiNode) -> Option<Timestamp> {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions.into_iter().find(|condition| condition.type_ == "Ready");
    if ready.is_some_and(|ready| ready.status == "True") {
        return None;
    }
    let since = ready.and_then(|ready| ready.last_transition_time.as_ref());
    // Without any time it counts from now on, each time anew: it is waited for.
    Some(since.or(node.metadata.creation_timestamp.as_ref()).map_or_else(Timestamp::now, |time| time.0))
}

fn report(lease: &Lease) -> Option<NodeReport> {
    serde_json::from_str(lease.annotations().get(names::NODE_REPORT_ANNOTATION)?).ok()
}

/// The reason alone: the text of a transport error names addresses.
fn refused(kind: &'static str, error: &kube::Error) -> Unasked {
    match error {
        kube::Error::Api(status) => Unasked::Refused { kind, reason: status.reason.clone() },
        _ => Unasked::Unreachable { kind },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(phase: &Value, deleting: &Value, conditions: &Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": { "name": "p", "annotations": { names::PHASE_KEY: phase }, "deletionTimestamp": deleting },
            "status": { "conditions": conditions },
        }))
        .unwrap()
    }

    #[test]
    fn only_the_gate_of_a_removing_pod_says_clean() {
        let gate = |status: &str| json!([{ "type": names::NODE_AS_DESIRED, "status": status }]);
        let ready = json!([{ "type": "Ready", "status": "True" }, { "type": "ContainersReady", "status": "True" }]);
        for (phase, deleting, conditions, expected) in [
            (json!("Remove"), Value::Null, gate("True"), Some(Agent::Done)),
            (json!("Remove"), Value::Null, gate("False"), Some(Agent::AtWork)),
            (json!("Remove"), Value::Null, ready, Some(Agent::AtWork)),
            (json!("Remove"), Value::Null, Value::Null, Some(Agent::AtWork)),
            (json!("Remove"), json!("2026-01-01T00:00:00Z"), gate("True"), None),
            (json!("Install"), Value::Null, gate("True"), None),
        ] {
            let pod = pod(&phase, &deleting, &conditions);
            assert_eq!(agent(&pod), expected, "{phase} {deleting} {conditions}");
        }
        let bare: Pod = serde_json::from_value(json!({ "metadata": { "name": "p" } })).unwrap();
        assert_eq!(agent(&bare), None);
    }

    #[test]
    fn a_node_is_away_since_its_condition_changed() {
        let node = |conditions: Value| -> ApiNode {
            let metadata = json!({ "name": "n", "creationTimestamp": "2026-01-01T00:00:00Z" });
            serde_json::from_value(json!({ "metadata": metadata, "status": { "conditions": conditions } })).unwrap()
        };
        let time = |text: &str| Some(text.parse::<Timestamp>().unwrap());
        let ready =
            |status: &str| json!([{ "type": "Ready", "status": status, "lastTransitionTime": "2026-01-02T00:00:00Z" }]);
        assert_eq!(away_since(&node(ready("True"))), None);
        for status in ["False", "Unknown"] {
            assert_eq!(away_since(&node(ready(status))), time("2026-01-02T00:00:00Z"));
        }
        assert_eq!(away_since(&node(json!([{ "type": "Ready", "status": "Unknown" }]))), time("2026-01-01T00:00:00Z"));
        assert_eq!(away_since(&node(Value::Null)), time("2026-01-01T00:00:00Z"));
    }
}
