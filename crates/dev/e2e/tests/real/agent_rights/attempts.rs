//! Requests with a stolen token, and what has to come of them.

use extension_config::names;
use serde_json::{Value, json};

use super::scene::{ADJUSTMENT, DNS_POD, OTHER_EVENT, OTHER_NODE, OTHER_POD, OWN_NODE, OWN_POD, Scene, event};

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";
const PODS: &str = "/api/v1/namespaces/kube-system/pods";
const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/default/events";
const ADJUSTMENTS: &str = "/apis/criresmgr.intel.com/v1alpha1/namespaces/kube-system/adjustments";
const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";
const LATER: &str = "2026-02-02T00:00:00Z";

/// What has to come of an attempt.
#[derive(Clone, Copy)]
pub(super) enum Expected {
    /// The policy refuses it with these words; where there is no policy it passes.
    Refused(&'static str),
    /// RBAC refuses it, everywhere.
    Forbidden,
    /// The API server itself does not do it, whatever it answers.
    Unchanged,
}

/// One request.
pub(super) struct Attempt {
    pub(super) what: String,
    pub(super) expected: Expected,
    method: &'static str,
    path: String,
    content_type: &'static str,
    body: Value,
}

impl Attempt {
    /// Makes it: the answer's code and, for a refusal, message.
    pub(super) async fn by(&self, client: &kube::Client) -> anyhow::Result<(u16, String)> {
        let mut body = self.body.clone();
        if self.method == "PUT" {
            // As the agent does: what was read is replaced.
            let request = http::Request::get(&self.path).body(Vec::new())?;
            let found: Value = client.request(request).await?;
            body["metadata"]["resourceVersion"] = found["metadata"]["resourceVersion"].clone();
        }
        let body = if body.is_null() { Vec::new() } else { serde_json::to_vec(&body)? };
        let request = http::Request::builder()
            .method(self.method)
            .uri(&self.path)
            .header("Content-Type", self.content_type)
            .body(body)?;
        match client.request_text(request).await {
            Ok(_) => Ok((200, String::new())),
            Err(kube::Error::Api(status)) => Ok((status.code, status.message.clone())),
            Err(error) => Err(error.into()),
        }
    }
}

fn attempt(what: &str, expected: Expected, request: (&'static str, String, &'static str), body: Value) -> Attempt {
    let (method, path, content_type) = request;
    Attempt { what: what.to_owned(), expected, method, path, content_type, body }
}

const POD: Expected = Expected::Refused("own pod only");
const METADATA: Expected = Expected::Refused("metadata of its pod");
const STATUS: Expected = Expected::Refused("status of its pod but");
const CONDITION: Expected = Expected::Refused("no condition of its pod but");
const LEASE: Expected = Expected::Refused("Lease with its own report");
const FINALIZER: Expected = Expected::Refused("no finalizer on a Lease");
const EVENT: Expected = Expected::Refused("Events about its own Node only");
const ADJUST: Expected = Expected::Refused("own node's entry");

/// Takes the lock of the control plane.
pub(super) fn foreign_lease() -> Attempt {
    let body = json!({ "spec": { "holderIdentity": "nobody", "leaseDurationSeconds": 86_400 } });
    attempt(
        "the Lease of kube-controller-manager",
        LEASE,
        ("PATCH", format!("{LEASES}/kube-controller-manager"), MERGE),
        body,
    )
}

/// Everything that a node's token must not do.
pub(super) fn attacks(scene: &Scene) -> Vec<Attempt> {
    let mut all = vec![foreign_lease()];
    all.extend(on_leases(scene));
    all.extend(on_pods());
    all.extend(on_own_pod());
    all.extend(on_the_rest());
    all
}

fn on_leases(scene: &Scene) -> Vec<Attempt> {
    let delete = |name: &str| ("DELETE", format!("{LEASES}/{name}"), JSON);
    let lease = |metadata: Value| json!({ "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": {} });
    let apply = |name: &str| ("PATCH", format!("{LEASES}/{name}?fieldManager=stolen&force=true"), APPLY);
    let forged = json!({ "name": "cri-resmgr-node-n2", "annotations": { (names::NODE_REPORT_ANNOTATION): "{}" } });
    let finalizers = json!(["stolen.example/finalizer"]);
    let mut held_report = own_report(scene).body;
    held_report["metadata"]["finalizers"] = finalizers.clone();
    vec![
        attempt("delete another node's report", LEASE, delete("cri-resmgr-node-n2"), Value::Null),
        attempt("delete the heartbeat of gardener-node-agent", LEASE, delete("gardener-node-agent-n2"), Value::Null),
        attempt("forge another node's report", LEASE, apply("cri-resmgr-node-n2"), lease(forged)),
        attempt("make a Lease by apply", LEASE, apply("stolen"), lease(json!({ "name": "stolen" }))),
        attempt("make a Lease", LEASE, ("POST", LEASES.to_owned(), JSON), lease(json!({ "name": "stolen" }))),
        attempt(
            "make a Lease with a made-up name",
            LEASE,
            ("POST", LEASES.to_owned(), JSON),
            lease(json!({ "generateName": "cri-resmgr-node-n1" })),
        ),
        attempt("a finalizer on the own report", FINALIZER, apply("cri-resmgr-node-n1"), held_report),
        attempt(
            "a switch Lease with a finalizer",
            FINALIZER,
            ("POST", LEASES.to_owned(), JSON),
            lease(json!({ "name": names::SWITCH_LEASE, "finalizers": finalizers })),
        ),
        attempt(
            "read a Lease",
            Expected::Forbidden,
            ("GET", format!("{LEASES}/kube-controller-manager"), JSON),
            Value::Null,
        ),
        attempt("delete all Leases", Expected::Forbidden, ("DELETE", LEASES.to_owned(), JSON), Value::Null),
    ]
}

fn on_pods() -> Vec<Attempt> {
    let status = |pod: &str| ("PATCH", format!("{PODS}/{pod}/status"), STRATEGIC);
    let address = json!({ "status": stolen_address() });
    let gate = own_gate("True", "").body;
    vec![
        attempt("the address of a DNS server", POD, status(DNS_POD), address),
        attempt("the end of a DNS server", POD, status(DNS_POD), json!({ "status": { "phase": "Failed" } })),
        attempt("another node's gate", POD, status(OTHER_POD), gate),
        attempt("read a pod", Expected::Forbidden, ("GET", format!("{PODS}/{DNS_POD}"), JSON), Value::Null),
        attempt(
            "the own pod's labels the usual way",
            Expected::Forbidden,
            ("PATCH", format!("{PODS}/{OWN_POD}"), MERGE),
            json!({ "metadata": { "labels": { "k8s-app": "kube-dns" } } }),
        ),
    ]
}

/// Another address instead of the one that the pods have.
fn stolen_address() -> Value {
    json!({ "podIP": "10.66.6.6", "podIPs": [{ "ip": "10.66.6.6" }, { "$patch": "delete", "ip": "10.0.0.2" }] })
}

fn on_own_pod() -> Vec<Attempt> {
    let own = || ("PATCH", format!("{PODS}/{OWN_POD}/status"), STRATEGIC);
    let container = |ready: bool| json!([{ "name": "played", "ready": ready, "restartCount": 7, "image": "played", "imageID": "played", "state": {} }]);
    let condition = |kind: &str, field: &str, value: Value| json!({ "conditions": [{ "type": kind, field: value }] });
    let metadata: [(&str, Value); 7] = [
        ("the label of a DNS server", json!({ "labels": { "k8s-app": "kube-dns" } })),
        ("no label", json!({ "labels": { (names::NODE_AGENT_LABEL): null } })),
        ("another label", json!({ "labels": { (names::NODE_AGENT_LABEL): "other" } })),
        ("an annotation", json!({ "annotations": { "stolen": "yes" } })),
        ("another annotation", json!({ "annotations": { "played": "other" } })),
        ("no annotation", json!({ "annotations": { "played": null } })),
        ("a finalizer", json!({ "finalizers": ["stolen.example/finalizer"] })),
    ];
    let status: [(&str, Value); 12] = [
        ("phase", json!({ "phase": "Failed" })),
        ("podIP", stolen_address()),
        // Behind the first, or the API server drops it: `podIP` has to be the first.
        (
            "podIPs",
            json!({ "$setElementOrder/podIPs": [{ "ip": "10.0.0.2" }, { "ip": "fd00::66" }], "podIPs": [{ "ip": "fd00::66" }] }),
        ),
        ("hostIP", json!({ "hostIP": "10.66.6.6" })),
        ("reason", json!({ "reason": "Evicted" })),
        ("message", json!({ "message": "stolen" })),
        ("startTime", json!({ "startTime": LATER })),
        ("no startTime", json!({ "startTime": null })),
        ("containerStatuses", json!({ "containerStatuses": container(true) })),
        ("initContainerStatuses", json!({ "initContainerStatuses": container(true) })),
        ("ephemeralContainerStatuses", json!({ "ephemeralContainerStatuses": container(true) })),
        (
            "gate and phase together",
            json!({ "phase": "Failed", "conditions": own_gate("True", "").body["status"]["conditions"] }),
        ),
    ];
    let conditions: [(&str, Value); 5] = [
        ("Ready", condition("Ready", "status", json!("True"))),
        ("a condition's probe", condition("Ready", "lastProbeTime", json!(LATER))),
        ("a condition's transition", condition("PodScheduled", "lastTransitionTime", json!(LATER))),
        ("one more condition", json!({ "conditions": [{ "type": "stolen.example/other", "status": "True" }] })),
        ("one condition less", json!({ "conditions": [{ "type": "PodScheduled", "$patch": "delete" }] })),
    ];
    // What the API server keeps, or drops while its feature is off.
    let kept: [(&str, Value); 9] = [
        (
            "owners",
            json!({ "metadata": { "ownerReferences": [{ "apiVersion": "v1", "kind": "Node", "name": "n2", "uid": "u" }] } }),
        ),
        ("deletion", json!({ "metadata": { "deletionTimestamp": LATER } })),
        ("node", json!({ "spec": { "nodeName": OTHER_NODE } })),
        ("qosClass", json!({ "status": { "qosClass": "Guaranteed" } })),
        ("nominatedNodeName", json!({ "status": { "nominatedNodeName": OTHER_NODE } })),
        ("resize", json!({ "status": { "resize": "Proposed" } })),
        ("observedGeneration", json!({ "status": { "observedGeneration": 77 } })),
        ("resourceClaimStatuses", json!({ "status": { "resourceClaimStatuses": [{ "name": "one" }] } })),
        (
            "extendedResourceClaimStatus",
            json!({ "status": { "extendedResourceClaimStatus": { "resourceClaimName": "one", "requestMappings": [] } } }),
        ),
    ];
    let mut all = Vec::new();
    for (what, body) in metadata {
        all.push(attempt(&format!("own pod, metadata: {what}"), METADATA, own(), json!({ "metadata": body })));
    }
    for (what, body) in status {
        all.push(attempt(&format!("own pod, status: {what}"), STATUS, own(), json!({ "status": body })));
    }
    for (what, body) in conditions {
        all.push(attempt(&format!("own pod, condition: {what}"), CONDITION, own(), json!({ "status": body })));
    }
    for (what, body) in kept {
        all.push(attempt(&format!("own pod, kept: {what}"), Expected::Unchanged, own(), body));
    }
    all
}

fn on_the_rest() -> Vec<Attempt> {
    let post = |path: &str| ("POST", path.to_owned(), JSON);
    let mut elsewhere = event("n1.1", "Node", OWN_NODE);
    elsewhere["metadata"]["namespace"] = json!("kube-system");
    let adjustment = || ("PATCH", format!("{ADJUSTMENTS}/{ADJUSTMENT}/status"), MERGE);
    let entry = |node: &str, entry: Value| json!({ "status": { "nodes": { (node): entry } } });
    let secrets = "/api/v1/namespaces/kube-system/secrets";
    vec![
        attempt("an Event about another Node", EVENT, post(EVENTS), event("n2.2", "Node", OTHER_NODE)),
        attempt("an Event about something else", EVENT, post(EVENTS), event("n1.1", "Namespace", "default")),
        attempt(
            "others' Event",
            EVENT,
            ("PATCH", format!("{EVENTS}/{OTHER_EVENT}"), MERGE),
            json!({ "series": { "count": 9, "lastObservedTime": "2026-01-01T00:00:00.000000Z" } }),
        ),
        attempt(
            "an Event in another namespace",
            Expected::Forbidden,
            post("/apis/events.k8s.io/v1/namespaces/kube-system/events"),
            elsewhere,
        ),
        attempt(
            "an Adjustment's word of another node",
            ADJUST,
            adjustment(),
            entry(OTHER_NODE, json!({ "errors": { "one": "is stolen" } })),
        ),
        attempt("no word of another node", ADJUST, adjustment(), entry(OTHER_NODE, Value::Null)),
        attempt("a word of a third node", ADJUST, adjustment(), entry("n3", json!({ "errors": {} }))),
        attempt("read Secrets", Expected::Forbidden, ("GET", secrets.to_owned(), JSON), Value::Null),
    ]
}

/// The agent's gate, as the agent writes it.
pub(super) fn own_gate(status: &str, message: &str) -> Attempt {
    let gate = json!({
        "type": names::NODE_AS_DESIRED, "status": status, "reason": "Proven", "message": message, "lastTransitionTime": LATER,
    });
    let body = json!({ "status": { "conditions": [gate] } });
    attempt("own gate", POD, ("PATCH", format!("{PODS}/{OWN_POD}/status"), STRATEGIC), body)
}

/// The agent's report, as the agent writes it.
pub(super) fn own_report(scene: &Scene) -> Attempt {
    let body = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {
            "name": "cri-resmgr-node-n1", "namespace": "kube-system",
            "labels": { (names::NODE_AGENT_LABEL): names::NODE_AGENT },
            "annotations": { (names::NODE_REPORT_ANNOTATION): "{}" },
            "ownerReferences": [{ "apiVersion": "v1", "kind": "Node", "name": OWN_NODE, "uid": scene.node_uid }],
        },
        "spec": { "holderIdentity": OWN_NODE },
    });
    let path = format!("{LEASES}/cri-resmgr-node-n1?fieldManager={}&force=true", names::NODE_AGENT);
    attempt("own report", LEASE, ("PATCH", path, APPLY), body)
}

/// All that an agent does at an API server, in its order; that of revision 593e16a does no more.
pub(super) fn work(scene: &Scene) -> Vec<Attempt> {
    let get = |what: &str, path: &str| attempt(what, POD, ("GET", path.to_owned(), JSON), Value::Null);
    let switches = format!("{LEASES}/{}", names::SWITCH_LEASE);
    let record = |text: &str| {
        json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": { "name": names::SWITCH_LEASE, "namespace": "kube-system", "annotations": { (names::SWITCHES_ANNOTATION): text } },
            "spec": { "leaseDurationSeconds": 300 },
        })
    };
    let mut again = event("n1.2", "Node", OWN_NODE);
    again["series"] = json!({ "count": 2, "lastObservedTime": "2026-01-01T00:00:01.000000Z" });
    let adjustment = format!("{ADJUSTMENTS}/{ADJUSTMENT}/status");
    let own_entry = |entry: Value| json!({ "status": { "nodes": { (OWN_NODE): entry } } });
    vec![
        get("own Node", "/api/v1/nodes/n1"),
        get("others' Nodes", "/api/v1/nodes"),
        get("ConfigMaps", "/api/v1/namespaces/kube-system/configmaps"),
        get("Adjustments", ADJUSTMENTS),
        get("own DaemonSet", "/apis/apps/v1/namespaces/kube-system/daemonsets/cri-resmgr-node-agent"),
        own_report(scene),
        own_report(scene),
        own_gate("False", "waiting"),
        attempt("make the switch Lease", LEASE, ("POST", LEASES.to_owned(), JSON), record("{}")),
        get("read the switch Lease", &switches),
        attempt("write the switch Lease", LEASE, ("PUT", switches.clone(), JSON), record(r#"{"holders":[]}"#)),
        own_gate("True", "proven"),
        attempt(
            "an Event about the own Node",
            EVENT,
            ("POST", EVENTS.to_owned(), JSON),
            event("n1.2", "Node", OWN_NODE),
        ),
        attempt("the same once more", EVENT, ("PATCH", format!("{EVENTS}/n1.2"), MERGE), again),
        attempt(
            "own word on an Adjustment",
            ADJUST,
            ("PATCH", adjustment.clone(), MERGE),
            own_entry(json!({ "errors": { "x": "y" } })),
        ),
        attempt(
            "another one",
            ADJUST,
            ("PATCH", adjustment.clone(), MERGE),
            own_entry(json!({ "errors": { "x": null } })),
        ),
        attempt("no word any more", ADJUST, ("PATCH", adjustment, MERGE), own_entry(Value::Null)),
        attempt("delete the switch Lease", LEASE, ("DELETE", switches, JSON), Value::Null),
        attempt("delete the own report", LEASE, ("DELETE", format!("{LEASES}/cri-resmgr-node-n1"), JSON), Value::Null),
        own_gate("True", "clean"),
    ]
}
