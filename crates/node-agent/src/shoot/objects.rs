//! What the agent writes into the shoot: its report, the condition of its pod, Events on its Node.

use extension_config::node_report::{NodeReport, lease_name};
use extension_config::{NodeEvent, names};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::jiff::Timestamp;
use kube::runtime::events::{Event, EventType};
use serde_json::{Value, json};

use super::ShootError;

/// Longest text for people, characters.
const TEXT_LIMIT: usize = 500;
/// Longest note of an Event, bytes: the API takes no more.
const NOTE_LIMIT: usize = 1024;
/// Longest report that is read, bytes; our own are much shorter.
const REPORT_LIMIT: usize = 64 * 1024;

fn shortened(text: &str) -> String {
    text.chars().take(TEXT_LIMIT).collect()
}

/// One line, and no longer than the API takes.
fn note(text: &str) -> String {
    let one_line = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter });
    let mut length = 0;
    one_line
        .take(TEXT_LIMIT)
        .take_while(|letter| {
            length += letter.len_utf8();
            length <= NOTE_LIMIT
        })
        .collect()
}

/// The report in a Lease.
pub(super) fn report(lease: &Lease) -> Option<NodeReport> {
    let text = lease.metadata.annotations.as_ref()?.get(names::NODE_REPORT_ANNOTATION)?;
    if text.len() > REPORT_LIMIT {
        return None;
    }
    serde_json::from_str(text).ok()
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
pub(super) fn node_event(event: NodeEvent, text: &str) -> Event {
    Event {
        type_: if event.is_warning() { EventType::Warning } else { EventType::Normal },
        reason: event.as_str().to_owned(),
        note: Some(note(text)),
        action: "Converge".to_owned(),
        secondary: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_one_line_and_no_longer_than_the_api_takes() {
        assert_eq!(note("a\nb\u{1b}[2J"), "a b [2J");
        for letter in ["a", "é", "€", "😀"] {
            let note = note(&letter.repeat(2000));
            assert!(
                note.len() <= NOTE_LIMIT && note.chars().count() <= TEXT_LIMIT && note.len() > 498,
                "{}",
                note.len()
            );
        }
    }
}
