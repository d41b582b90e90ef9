//! What the shoot's API server says about this node, and what we tell it. Without it the agent works on.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use extension_config::names;
use extension_config::node_report::{NodeReport, lease_name};
use http::{HeaderValue, header};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, ObjectReference, Pod};
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams};
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Config};
use serde_json::json;

use super::pace::Pace;
use crate::effects::{Permit, Request};

/// Longest wait for the API server: it may be away, and the node must not wait for it.
pub(super) const DEADLINE: Duration = Duration::from_secs(5);
/// Namespace of the Leases that kubelets renew.
const HEARTBEATS: &str = "kube-node-lease";
/// Longest note of an Event, characters (the API's limit is 1024 bytes).
const NOTE_LIMIT: usize = 500;
/// Field manager of all that the agent writes. Without a version: fields of another manager are another owner's.
const FIELD_MANAGER: &str = names::NODE_AGENT;

/// A client, as far as one can be made.
pub(crate) struct Cluster {
    node_name: String,
    client: Option<Client>,
    pace: Option<Pace>,
    labels: RefCell<Option<BTreeMap<String, String>>>,
    uid: RefCell<Option<String>>,
}

impl Cluster {
    /// From a kubeconfig file, or from the pod's service account.
    pub(crate) async fn connect(node_name: String, kubeconfig: Option<&std::path::Path>) -> Self {
        let client = match self::kubeconfig(kubeconfig).await {
            Ok(config) => Client::try_from(config).map_err(|error| error.to_string()),
            Err(reason) => Err(reason),
        };
        let client =
            client.map_err(|reason| tracing::error!(%reason, "failed to make a client for the API server")).ok();
        Self::new(node_name, client)
    }

    /// With a client that is there, if one is.
    pub(crate) fn new(node_name: String, client: Option<Client>) -> Self {
        let pace = client.clone().map(|client| Pace::new(client, &node_name));
        Self { node_name, client, pace, labels: RefCell::default(), uid: RefCell::default() }
    }

    /// Name of this node in the shoot.
    pub(crate) fn node_name(&self) -> &str {
        &self.node_name
    }

    /// The client, where there is one.
    pub(crate) fn client(&self) -> Option<&Client> {
        self.client.as_ref()
    }

    /// Writes into the status of an Adjustment; one that is gone needs no status. Error: a reason to try again later.
    pub(crate) async fn write_adjustment_status(&self, name: &str, patch: &serde_json::Value) -> Result<(), String> {
        let Some(client) = &self.client else { return Err("the API server cannot be used".to_owned()) };
        let kind = ApiResource::from_gvk(&GroupVersionKind::gvk(
            names::ADJUSTMENT_GROUP,
            names::ADJUSTMENT_VERSION,
            names::ADJUSTMENT_KIND,
        ));
        let adjustments: Api<DynamicObject> = Api::namespaced_with(client.clone(), names::SHOOT_NAMESPACE, &kind);
        let (parameters, patch) = (manager(), Patch::Merge(patch));
        match tokio::time::timeout(DEADLINE, adjustments.patch_status(name, &parameters, &patch)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(kube::Error::Api(status))) if status.is_not_found() => Ok(()),
            Ok(Err(error)) => Err(observability::ErrorChain(&error).to_string()),
            Err(_elapsed) => Err(format!("no answer within {DEADLINE:?}")),
        }
    }

    /// Labels of our Node; the last known ones when they cannot be read now.
    pub(crate) async fn labels(&self) -> Option<BTreeMap<String, String>> {
        if let Some(client) = &self.client {
            let nodes: Api<Node> = Api::all(client.clone());
            match tokio::time::timeout(DEADLINE, nodes.get_metadata(&self.node_name)).await {
                Ok(Ok(node)) => {
                    *self.uid.borrow_mut() = node.metadata.uid;
                    *self.labels.borrow_mut() = Some(node.metadata.labels.unwrap_or_default());
                }
                Ok(Err(error)) => {
                    tracing::warn!(error = %observability::ErrorChain(&error), "failed to read the labels of the node");
                }
                Err(_elapsed) => tracing::warn!("failed to read the labels of the node within {DEADLINE:?}"),
            }
        }
        self.labels.borrow().clone()
    }

    /// When kubelet renewed its Lease last, seconds since 1970.
    pub(crate) async fn heartbeat(&self) -> Option<u64> {
        let leases: Api<Lease> = Api::namespaced(self.client.clone()?, HEARTBEATS);
        let lease = tokio::time::timeout(DEADLINE, leases.get_opt(&self.node_name)).await.ok()?.ok()??;
        let renewed = lease.spec?.renew_time?;
        u64::try_from(renewed.0.as_second()).ok()
    }

    /// An Event on our Node; best effort, for people only.
    pub(crate) async fn event(&self, warning: bool, reason: &str, note: &str) {
        let (Some(client), Some(uid)) = (&self.client, self.uid.borrow().clone()) else { return };
        let reporter = Reporter { controller: names::NODE_AGENT.to_owned(), instance: Some(self.node_name.clone()) };
        let event = Event {
            type_: if warning { EventType::Warning } else { EventType::Normal },
            reason: reason.to_owned(),
            // The API server takes no longer notes.
            note: Some(note.chars().take(NOTE_LIMIT).collect()),
            action: "Converge".to_owned(),
            secondary: None,
        };
        let regarding = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Node".to_owned()),
            name: Some(self.node_name.clone()),
            uid: Some(uid),
            ..ObjectReference::default()
        };
        let recorder = Recorder::new(client.clone(), reporter);
        match tokio::time::timeout(DEADLINE, recorder.publish(&event, &regarding)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(error = %observability::ErrorChain(&error), "failed to write an Event");
            }
            Err(_elapsed) => tracing::warn!("failed to write an Event within {DEADLINE:?}"),
        }
    }

    /// Writes the readiness gate of the agent's own pod. Error: a reason to try again later.
    pub(crate) async fn gate(&self, pod: &str, as_desired: bool, message: &str) -> Result<(), String> {
        let Some(client) = &self.client else { return Ok(()) };
        let condition = gate_condition(as_desired, message, k8s_openapi::jiff::Timestamp::now());
        let patch = Patch::Strategic(json!({ "status": { "conditions": [condition] } }));
        let parameters = manager();
        let pods: Api<Pod> = Api::namespaced(client.clone(), names::SHOOT_NAMESPACE);
        let written = pods.patch_status(pod, &parameters, &patch);
        match tokio::time::timeout(DEADLINE, written).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(observability::ErrorChain(&error).to_string()),
            Err(_elapsed) => Err(format!("no answer within {DEADLINE:?}")),
        }
    }

    /// Takes the node's switch slot. Without an API server there is none.
    pub(crate) async fn take_slot(&self, request: &Request) -> Permit {
        let Some(pace) = &self.pace else { return Pace::unknown("the API server cannot be used") };
        let permit = pace.take(request).await;
        if let Some(doubt) = pace.doubt() {
            self.event(true, doubt.reason, &doubt.note).await;
        }
        permit
    }

    /// Gives the slot back; whether that stops all further switches. Error: it stays taken until its time is over.
    pub(crate) async fn give_back_slot(&self, request: &Request) -> Result<bool, String> {
        match &self.pace {
            Some(pace) => pace.give_back(request).await,
            None => Ok(false),
        }
    }

    /// Takes the report and the slots away: the node is clean and the extension is going. Error: a reason to try again later.
    pub(crate) async fn withdraw_report(&self) -> Result<(), String> {
        let Some(client) = &self.client else { return Ok(()) };
        if let Some(pace) = &self.pace {
            pace.withdraw().await?;
        }
        let leases: Api<Lease> = Api::namespaced(client.clone(), names::SHOOT_NAMESPACE);
        let (name, parameters) = (lease_name(&self.node_name), DeleteParams::default());
        match tokio::time::timeout(DEADLINE, leases.delete(&name, &parameters)).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(kube::Error::Api(status))) if status.is_not_found() => Ok(()),
            Ok(Err(error)) => Err(observability::ErrorChain(&error).to_string()),
            Err(_elapsed) => Err(format!("no answer within {DEADLINE:?}")),
        }
    }

    /// Tells the controller what this node is. Error: a reason to try again later.
    pub(crate) async fn report(&self, report: &NodeReport) -> Result<(), String> {
        let Some(client) = &self.client else { return Ok(()) };
        let text = serde_json::to_string(report).map_err(|error| error.to_string())?;
        let name = lease_name(&self.node_name);
        let mut lease = json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {
                "name": name,
                "namespace": names::SHOOT_NAMESPACE,
                "labels": { (names::NODE_AGENT_LABEL): names::NODE_AGENT },
                "annotations": { (names::NODE_REPORT_ANNOTATION): text },
            },
            "spec": { "holderIdentity": self.node_name },
        });
        // With its Node as owner the Lease goes when the node goes.
        if let Some(uid) = self.uid.borrow().as_ref() {
            lease["metadata"]["ownerReferences"] =
                json!([{ "apiVersion": "v1", "kind": "Node", "name": self.node_name, "uid": uid }]);
        }
        let leases: Api<Lease> = Api::namespaced(client.clone(), names::SHOOT_NAMESPACE);
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        match tokio::time::timeout(DEADLINE, leases.patch(&name, &parameters, &Patch::Apply(&lease))).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(observability::ErrorChain(&error).to_string()),
            Err(_elapsed) => Err(format!("no answer within {DEADLINE:?}")),
        }
    }
}

/// For patches that are no server-side apply.
fn manager() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() }
}

/// The condition behind the pod's readiness gate.
pub(crate) fn gate_condition(
    as_desired: bool,
    message: &str,
    since: k8s_openapi::jiff::Timestamp,
) -> serde_json::Value {
    json!({
        "type": names::NODE_AS_DESIRED,
        "status": if as_desired { "True" } else { "False" },
        "reason": if as_desired { "Proven" } else { "NotAsDesired" },
        "message": message.chars().take(NOTE_LIMIT).collect::<String>(),
        "lastTransitionTime": since.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    })
}

/// The header that names the agent in the API server's audit log, and in the managed fields of what it writes without naming a manager.
const USER_AGENT: HeaderValue = HeaderValue::from_static(concat!("cri-resmgr-node-agent/", env!("CARGO_PKG_VERSION")));

/// What leads to the API server: a kubeconfig file, or the pod's service account.
pub(crate) async fn kubeconfig(path: Option<&std::path::Path>) -> Result<Config, String> {
    let mut config = connection(path).await?;
    // The client sends none of its own.
    config.headers.push((header::USER_AGENT, USER_AGENT));
    Ok(config)
}

async fn connection(path: Option<&std::path::Path>) -> Result<Config, String> {
    let Some(path) = path else {
        return Config::incluster().map_err(|error| observability::ErrorChain(&error).to_string());
    };
    let file =
        kube::config::Kubeconfig::read_from(path).map_err(|error| observability::ErrorChain(&error).to_string())?;
    let options = kube::config::KubeConfigOptions::default();
    Config::from_custom_kubeconfig(file, &options).await.map_err(|error| observability::ErrorChain(&error).to_string())
}
