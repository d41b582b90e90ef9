//! What the shoot says: its nodes, the agents' pods, and what the agents report. For removals (`node_checks`) and for the roll-up (`rollups`).

mod lean;
mod limits;
mod list;
pub(crate) mod node_checks;
pub(crate) mod rollups;

use std::collections::BTreeMap;

use extension_config::desired_state::Phase;
use extension_config::names;
use extension_config::node_report::{NodeReport, Published, lease_name};
use gardener_extension::shoot_access::{Authority, ShootAccess, Unavailable};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node as ApiNode, Pod};
use kube::Client;

use crate::removal::nodes::{Agent, NAMED_IN_STATUS, Node, REASON};
use lean::Object;
use limits::{CHECK_MIB, DEADLINE, NAME, OBJECTS, PAGE, PAGE_MIB};
use list::Lists;

/// The controller's own access.
pub(crate) fn access(authority: Authority) -> ShootAccess {
    ShootAccess {
        secret: names::SHOOT_ACCESS_SECRET,
        account: names::SHOOT_ACCESS_ACCOUNT,
        account_namespace: names::SHOOT_NAMESPACE,
        authority,
        user_agent: crate::client::USER_AGENT,
    }
}

/// Why the shoot could not be asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QueryError {
    #[error(transparent)]
    NoAccess(#[from] Unavailable),
    #[error("its API server did not answer within {} s", DEADLINE.as_secs())]
    Late,
    #[error("its API server refused to list {kind}: {reason}")]
    Refused { kind: &'static str, reason: String },
    #[error("its API server could not be reached to list {kind}")]
    Unreachable { kind: &'static str },
    #[error("its API server answered with something else than a list of {kind}")]
    Unreadable { kind: &'static str },
    #[error("there is too much to look at: {excess} of {kind}")]
    TooMuch { kind: &'static str, excess: Excess },
}

/// Which limit was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Excess {
    #[error("more than {OBJECTS}")]
    Objects,
    #[error("more than {PAGE_MIB} MiB for {PAGE}")]
    Page,
    #[error("more than {CHECK_MIB} MiB in all, at the list")]
    Check,
}

/// The nodes that an agent works on in the phase `Remove`.
async fn nodes(client: &Client) -> Result<Vec<Node>, QueryError> {
    let mut lists = Lists::of(client);
    // Nodes first: one that joins in between has nothing to be removed.
    let mut nodes: BTreeMap<String, Node> = BTreeMap::new();
    lists
        .each::<ApiNode>("nodes", None, &chosen(), |object| {
            let node =
                Node { name: name(&object), away_since: away_since(&object), agent: Agent::Missing, report: None };
            nodes.insert(node.name.clone(), node);
        })
        .await?;
    let ours = ours();
    lists
        .each::<Pod>("pods", Some(names::SHOOT_NAMESPACE), &ours, |object| {
            let on = object.spec.node_name.as_ref().and_then(|name| nodes.get_mut(name));
            if let (Some(node), Some(agent)) = (on, agent(&object)) {
                node.agent = if node.agent == Agent::Done { Agent::Done } else { agent };
            }
        })
        .await?;
    // Only those are named.
    let awaited = nodes.values_mut().filter(|node| node.agent != Agent::Done && node.away_since.is_none());
    let mut reported: BTreeMap<String, &mut Node> =
        awaited.take(NAMED_IN_STATUS).map(|node| (lease_name(&node.name), node)).collect();
    lists
        .each::<Lease>("leases", Some(names::SHOOT_NAMESPACE), &ours, |object| {
            if let Some(node) = reported.get_mut(&object.metadata.name) {
                node.report = report(&object);
            }
        })
        .await?;
    Ok(nodes.into_values().collect())
}

/// Labels of the nodes that an agent works on: those of the DaemonSet's nodeSelector.
fn chosen() -> String {
    format!(
        "{}={},kubernetes.io/arch={},kubernetes.io/os=linux",
        names::WORKER_CRI_LABEL,
        names::CONTAINER_RUNTIME,
        names::ARCHITECTURE
    )
}

/// Labels of the agents' pods and Leases.
fn ours() -> String {
    format!("{}={}", names::NODE_AGENT_LABEL, names::NODE_AGENT)
}

/// A node without a name that can be one is still a node: nobody says that it is clean.
fn name(object: &Object) -> String {
    let name = &object.metadata.name;
    if (1..=NAME).contains(&name.len()) { name.clone() } else { "(no name)".to_owned() }
}

/// How far an agent's pod of the phase `Remove` is; `None` for a pod of another phase and for one that is going.
fn agent(pod: &Object) -> Option<Agent> {
    if pod.metadata.annotations.phase.as_deref() != Some(Phase::Remove.as_str()) || pod.metadata.is_deleting {
        return None;
    }
    // The gate, which only the agent writes, and not Ready, which kubelet writes and gets wrong after its own restart.
    Some(if pod.conditions().gate_is_open { Agent::Done } else { Agent::AtWork })
}

/// Since when the node has not been Ready; one that never was: since it exists.
fn away_since(node: &Object) -> Option<Timestamp> {
    let ready = node.conditions().ready.as_ref();
    if ready.is_some_and(lean::Condition::is_true) {
        return None;
    }
    let since = ready.and_then(|ready| ready.last_transition_time);
    // Without any time it counts from now on, each time anew: it is waited for.
    Some(since.or(node.metadata.creation_timestamp).unwrap_or_else(Timestamp::now))
}

/// What is kept of an agent's report.
fn report(lease: &Object) -> Option<NodeReport> {
    let report: NodeReport = serde_json::from_str(lease.metadata.annotations.report.as_deref()?).ok()?;
    let message = report.message.chars().take(REASON).collect();
    Some(NodeReport {
        message,
        desired: String::new(),
        warnings: Vec::new(),
        config: None,
        backend: None,
        version: None,
        published: Published::default(),
        ..report
    })
}

#[cfg(test)]
mod tests;
