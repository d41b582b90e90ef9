//! What the agent writes into the shoot: its report, the condition of its pod, Events on its Node.

use extension_config::names;
use extension_config::node_report::{NodeReport, lease_name};
use k8s_openapi::jiff::Timestamp;
use kube::runtime::events::{Event, EventType};
use serde_json::{Value, json};

use super::ShootError;

/// Longest text for people, characters (the API's limit for the note of an Event is 1024 bytes).
const NOTE_LIMIT: usize = 500;

fn shortened(text: &str) -> String {
    text.chars().take(NOTE_LIMIT).collect()
}

/// The condition behind the pod's readiness gate.
pub(crate) fn readiness_condition(as_desired: bool, message: &str, since: Timestamp) -> Value {
    json!({
        "type": names::NODE_AS_DESIRED,
        "status": if as_desired { "True" } else { "False" },
        "reason": if as_desired { "Proven" } else { "NotAsDesired" },
        "message": shortened(message),
        "lastTransitionTime": since.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    })
}

/// The Lease that carries the report of a node. With its Node as owner the Lease goes when the node goes.
pub(super) fn report_lease(node: &str, uid: Option<&str>, report: &NodeReport) -> Result<Value, ShootError> {
    let text = serde_json::to_string(report).map_err(ShootError::Report)?;
    let mut lease = json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": lease_name(node),
            "namespace": names::SHOOT_NAMESPACE,
            "labels": { (names::NODE_AGENT_LABEL): names::NODE_AGENT },
            "annotations": { (names::NODE_REPORT_ANNOTATION): text },
        },
        "spec": { "holderIdentity": node },
    });
    if let Some(uid) = uid {
        lease["metadata"]["ownerReferences"] =
            json!([{ "apiVersion": "v1", "kind": "Node", "name": node, "uid": uid }]);
    }
    Ok(lease)
}

/// An Event about the node.
pub(super) fn node_event(is_warning: bool, reason: &str, note: &str) -> Event {
    Event {
        type_: if is_warning { EventType::Warning } else { EventType::Normal },
        reason: reason.to_owned(),
        note: Some(shortened(note)),
        action: "Converge".to_owned(),
        secondary: None,
    }
}
