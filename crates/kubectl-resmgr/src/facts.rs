//! What is known of a shoot, taken from its objects: as little of each as is needed, so that thousands of them fit.

use std::collections::{BTreeMap, BTreeSet};

use extension_config::desired_state::{Backend, DesiredState};
use extension_config::node_report::NodeReport;
use extension_config::{Halt, names};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use crate::limits;
use crate::text::clean;

/// A Node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct NodeFact {
    pub(crate) pool: String,
    /// Labels that the DaemonSet may select by.
    pub(crate) labels: BTreeMap<String, String>,
}

/// What a node's agent has reported, or why that cannot be read.
pub(crate) type ReportFact = Result<NodeReport, String>;

/// An agent's pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PodFact {
    pub(crate) name: String,
    /// Its readiness gate, which the agent itself opens; and kubelet's word.
    pub(crate) is_ready: bool,
    /// Why it is not, as far as the pod says.
    pub(crate) trouble: Option<String>,
    /// It is on its way out; its successor may be there.
    pub(crate) is_leaving: bool,
}

/// The DaemonSet of the agents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SetFact {
    pub(crate) phase: String,
    /// Hash of the desired state that its pods follow.
    pub(crate) desired: Option<String>,
    pub(crate) selector: BTreeMap<String, String>,
    /// No node is to begin to switch.
    pub(crate) halt: Option<Halt>,
}

/// The switch slots.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SlotsFact {
    pub(crate) holders: BTreeSet<String>,
    /// Nodes that rolled back, once for each time.
    pub(crate) rolled_back: Vec<String>,
}

/// All of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) nodes: BTreeMap<String, NodeFact>,
    pub(crate) reports: BTreeMap<String, ReportFact>,
    /// By node; `None` where pods cannot be listed.
    pub(crate) pods: Option<BTreeMap<String, PodFact>>,
    pub(crate) set: Option<SetFact>,
    /// It could not be read whether there is one.
    pub(crate) is_set_hidden: bool,
    /// `cri-resmgr` or `nri-plugins`, where that can be read.
    pub(crate) backend: Option<&'static str>,
    pub(crate) slots: SlotsFact,
    /// What could not be asked, for people.
    pub(crate) notes: Vec<String>,
}

/// Name and fact of a Node.
pub(crate) fn node(meta: ObjectMeta) -> Option<(String, NodeFact)> {
    let labels = meta.labels.unwrap_or_default();
    let pool = labels.get(names::WORKER_POOL_LABEL).cloned().unwrap_or_default();
    Some((meta.name?, NodeFact { pool, labels }))
}

/// Name of the node and its report, of a Lease that is one.
pub(crate) fn report(meta: &ObjectMeta) -> Option<(String, ReportFact)> {
    let node = meta.name.as_deref()?.strip_prefix(names::NODE_REPORT_LEASE_PREFIX)?;
    let text = meta.annotations.as_ref().and_then(|annotations| annotations.get(names::NODE_REPORT_ANNOTATION));
    let report = match text {
        None => Err("the Lease holds no report".to_owned()),
        Some(text) if text.len() > limits::REPORT_BYTES => Err(format!("the report has {} bytes", text.len())),
        // Not the error itself, which may repeat the text.
        Some(text) => serde_json::from_str(text)
            .map_err(|error| format!("the report cannot be read (line {}, column {})", error.line(), error.column())),
    };
    Some((node.to_owned(), report))
}

/// Name of the node and its agent's pod.
pub(crate) fn pod(pod: Pod) -> Option<(String, PodFact)> {
    let is_leaving = pod.metadata.deletion_timestamp.is_some();
    let node = pod.spec.and_then(|spec| spec.node_name)?;
    let status = pod.status.unwrap_or_default();
    let conditions = status.conditions.unwrap_or_default();
    let is = |kind: &str| conditions.iter().any(|condition| condition.type_ == kind && condition.status == "True");
    let waiting = status.container_statuses.unwrap_or_default().into_iter().find_map(|container| {
        let state = container.state?;
        let waiting = state.waiting.and_then(|waiting| waiting.reason);
        waiting.or_else(|| state.terminated.and_then(|terminated| terminated.reason))
    });
    let is_ready = is(names::NODE_AS_DESIRED) && is("Ready");
    let trouble = waiting.map(|reason| format!("its container: {}", clean(&reason, limits::NAME))).or_else(|| {
        let phase = status.phase.filter(|phase| phase != "Running")?;
        Some(format!("it is {}", clean(&phase, limits::NAME)))
    });
    let name = pod.metadata.name.unwrap_or_default();
    Some((node, PodFact { name, is_ready, trouble: trouble.filter(|_| !is_ready), is_leaving }))
}

/// The DaemonSet.
pub(crate) fn set(set: DaemonSet) -> SetFact {
    let template = set.spec.map(|spec| spec.template).unwrap_or_default();
    let annotations = template.metadata.and_then(|metadata| metadata.annotations).unwrap_or_default();
    let spec = template.spec.unwrap_or_default();
    let mut maps = spec.volumes.into_iter().flatten().filter_map(|volume| volume.config_map).map(|map| map.name);
    let desired = maps.find_map(|name| Some(name.strip_prefix(names::DESIRED_STATE_CONFIG_MAP_PREFIX)?.to_owned()));
    let phase = annotations.get(names::PHASE_KEY).cloned().unwrap_or_default();
    let halt = set.metadata.annotations.as_ref().and_then(Halt::of);
    SetFact { phase, desired, selector: spec.node_selector.unwrap_or_default(), halt }
}

/// The backend of a desired state, by its text. A removal has none.
pub(crate) fn backend(desired: &str) -> Option<&'static str> {
    let state = DesiredState::decode(desired).ok()?;
    if state.phase == extension_config::desired_state::Phase::Remove {
        return None;
    }
    Some(match state.backend {
        Backend::CriResmgr(_) => "cri-resmgr",
        Backend::NriPlugins(_) => "nri-plugins",
    })
}

/// The switch slots, or what is wrong with their record.
pub(crate) fn slots(meta: &ObjectMeta) -> Result<SlotsFact, String> {
    let text = meta.annotations.as_ref().and_then(|annotations| annotations.get(names::SWITCHES_ANNOTATION));
    let Some(text) = text else { return Ok(SlotsFact::default()) };
    let seen = lease::slots::inspect(text).map_err(|reason| {
        format!("the record of switch slots (Lease {}) cannot be read: {reason}", names::SWITCH_LEASE)
    })?;
    Ok(SlotsFact { holders: seen.holders.into_iter().collect(), rolled_back: seen.failures })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn of<T: serde::de::DeserializeOwned>(value: Value) -> T {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_report_is_read_within_its_limit() {
        let lease = |name: &str, text: Option<&str>| -> ObjectMeta {
            let annotations = text.map(|text| json!({ (names::NODE_REPORT_ANNOTATION): text }));
            of(json!({ "name": name, "annotations": annotations }))
        };
        let text = r#"{"stage":"Clean","since":7}"#;
        let (node, found) = report(&lease("cri-resmgr-node-n1", Some(text))).unwrap();
        assert_eq!((node.as_str(), found.unwrap().since), ("n1", 7));
        assert_eq!(report(&lease("cri-resmgr-switches", Some(text))), None);
        let why = |text: Option<&str>| report(&lease("cri-resmgr-node-n1", text)).unwrap().1.unwrap_err();
        assert_eq!(why(None), "the Lease holds no report");
        assert_eq!(why(Some("{\u{1b}[2J")), "the report cannot be read (line 1, column 2)");
        assert_eq!(why(Some(&"x".repeat(limits::REPORT_BYTES + 1))), "the report has 262145 bytes");
    }

    #[test]
    fn a_pod_is_ready_by_its_gate_and_by_kubelet() {
        let made = |status: Value| {
            of::<Pod>(
                json!({ "metadata": { "name": "p" }, "spec": { "containers": [], "nodeName": "n1" }, "status": status }),
            )
        };
        let condition = |kind: &str| json!({ "type": kind, "status": "True" });
        let ready =
            json!({ "phase": "Running", "conditions": [condition(names::NODE_AS_DESIRED), condition("Ready")] });
        assert_eq!(pod(made(ready)).unwrap().1, PodFact { name: "p".into(), is_ready: true, ..PodFact::default() });
        let waiting = json!({ "phase": "Pending", "containerStatuses": [{
            "name": "c", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
            "state": { "waiting": { "reason": "ImagePull\u{1b}BackOff" } },
        }] });
        let trouble = pod(made(waiting)).unwrap().1.trouble.unwrap();
        assert_eq!(trouble, "its container: ImagePull\u{fffd}BackOff");
        assert_eq!(pod(made(json!({ "phase": "Failed" }))).unwrap().1.trouble.unwrap(), "it is Failed");
        let mut leaving = made(json!({}));
        leaving.metadata.deletion_timestamp = Some(of(json!("2027-01-15T08:00:00Z")));
        assert!(pod(leaving).unwrap().1.is_leaving);
    }

    #[test]
    fn the_daemon_set_names_phase_and_desired_state() {
        let found = set(of(
            json!({ "metadata": { "annotations": { (names::HALT_ANNOTATION): "INC-4711" } }, "spec": { "selector": {}, "template": {
            "metadata": { "annotations": { (names::PHASE_KEY): "Install" } },
            "spec": {
                "containers": [], "nodeSelector": { "a": "b" },
                "volumes": [{ "name": "x", "configMap": { "name": "cri-resmgr-desired-state-5bba82fd" } }],
            },
        } } }),
        ));
        assert_eq!((found.phase.as_str(), found.desired.as_deref()), ("Install", Some("5bba82fd")));
        assert_eq!((found.selector["a"].as_str(), found.halt.unwrap().reason()), ("b", "INC-4711"));
        assert_eq!(set(DaemonSet::default()), SetFact::default());
    }

    #[test]
    fn the_backend_is_that_of_the_desired_state() {
        let state = DesiredState::decode(
            r#"{"apiVersion":"node.cri-resmgr.extensions.gardener.cloud/v1alpha1","kind":"DesiredState","phase":"Install"}"#,
        );
        let mut state = state.unwrap();
        assert_eq!(backend(&state.encode().unwrap()), Some("cri-resmgr"));
        state.phase = extension_config::desired_state::Phase::Remove;
        assert_eq!(backend(&state.encode().unwrap()), None);
        assert_eq!(backend("{"), None);
    }

    #[test]
    fn slots_are_read_or_said_to_be_unreadable() {
        let meta = |text: &str| of::<ObjectMeta>(json!({ "annotations": { (names::SWITCHES_ANNOTATION): text } }));
        let text = r#"{"holders":[{"name":"n1","renewed":"2027-01-15T08:00:00Z"}],"failures":[{"name":"n2","at":1,"change":"c"}]}"#;
        let found = slots(&meta(text)).unwrap();
        assert_eq!((found.holders.len(), found.rolled_back), (1, vec!["n2".to_owned()]));
        assert!(slots(&meta("[")).unwrap_err().ends_with("cannot be read: no record: line 1, column 1"));
        assert_eq!(slots(&ObjectMeta::default()), Ok(SlotsFact::default()));
    }
}
