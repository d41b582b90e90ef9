//! The shoot's API: what it says about this node, and what the agent writes there. Without it the agent works on.

mod call;
mod connect;
mod objects;
mod slots;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;

use extension_config::node_report::{NodeReport, lease_name};
use extension_config::{NodeEvent, names};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, ObjectReference, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams};
use kube::runtime::events::{Recorder, Reporter};
use observability::ErrorChain;
use serde_json::{Value, json};

pub(crate) use call::ShootError;
use call::call;
#[cfg(feature = "simulation")]
pub(crate) use connect::configuration;
#[cfg(test)]
pub(crate) use objects::readiness_condition;
pub(crate) use slots::SwitchSlots;

/// Namespace of the Leases that kubelets renew.
const HEARTBEATS: &str = "kube-node-lease";
/// Field manager of all that the agent writes. Without a version: fields of another manager are another owner's.
const FIELD_MANAGER: &str = names::NODE_AGENT;

/// The shoot's API, as far as a client can be made. Shared by all parts of an agent.
pub(crate) struct ShootApi {
    node_name: String,
    client: Option<Client>,
    /// As it was read last.
    node: RefCell<Option<KnownNode>>,
}

/// What is known of our Node.
struct KnownNode {
    uid: Option<String>,
    labels: BTreeMap<String, String>,
}

impl ShootApi {
    /// From a kubeconfig file, or from the pod's service account.
    pub(crate) async fn connect(node_name: String, kubeconfig: Option<&Path>) -> Self {
        let client = connect::client(kubeconfig).await.map_err(|error| {
            tracing::error!(reason = %ErrorChain(&error), "failed to make a client for the API server");
        });
        Self::new(node_name, client.ok())
    }

    /// With a client, if there is one.
    pub(crate) fn new(node_name: String, client: Option<Client>) -> Self {
        Self { node_name, client, node: RefCell::default() }
    }

    /// Name of this node in the shoot.
    pub(crate) fn node_name(&self) -> &str {
        &self.node_name
    }

    /// The client, if there is one.
    pub(crate) fn client(&self) -> Option<&Client> {
        self.client.as_ref()
    }

    fn uid(&self) -> Option<String> {
        self.node.borrow().as_ref()?.uid.clone()
    }

    /// Labels of our Node; the last known ones when they cannot be read now.
    pub(crate) async fn labels(&self) -> Option<BTreeMap<String, String>> {
        if let Some(client) = &self.client {
            let nodes: Api<Node> = Api::all(client.clone());
            match call("get", format!("Node {}", self.node_name), nodes.get_metadata(&self.node_name)).await {
                Ok(node) => {
                    let (uid, labels) = (node.metadata.uid, node.metadata.labels.unwrap_or_default());
                    *self.node.borrow_mut() = Some(KnownNode { uid, labels });
                }
                Err(error) => tracing::warn!(error = %ErrorChain(&error), "failed to read the labels of the node"),
            }
        }
        self.node.borrow().as_ref().map(|node| node.labels.clone())
    }

    /// When kubelet renewed its Lease last, seconds since 1970.
    pub(crate) async fn heartbeat(&self) -> Option<u64> {
        let leases: Api<Lease> = Api::namespaced(self.client.clone()?, HEARTBEATS);
        let lease = call("get", format!("Lease {}", self.node_name), leases.get_opt(&self.node_name)).await.ok()??;
        let renewed = lease.spec?.renew_time?;
        u64::try_from(renewed.0.as_second()).ok()
    }

    /// Whether Events can be published: they name our Node by its uid, which is not known before the Node was read once.
    pub(crate) fn can_publish(&self) -> bool {
        self.client.is_some() && self.node.borrow().as_ref().is_some_and(|node| node.uid.is_some())
    }

    /// Publishes an Event on our Node; best effort, for people only.
    pub(crate) async fn publish_event(&self, event: NodeEvent, note: &str) {
        let (Some(client), Some(uid)) = (&self.client, self.uid()) else { return };
        let reporter = Reporter { controller: names::NODE_AGENT.to_owned(), instance: Some(self.node_name.clone()) };
        let regarding = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Node".to_owned()),
            name: Some(self.node_name.clone()),
            uid: Some(uid),
            ..ObjectReference::default()
        };
        let recorder = Recorder::new(client.clone(), reporter);
        let object = format!("Event {}", event.as_str());
        let event = objects::node_event(event, note);
        if let Err(error) = call("create", object, recorder.publish(&event, &regarding)).await {
            tracing::warn!(error = %ErrorChain(&error), "failed to write an Event");
        }
    }

    /// Writes the readiness gate of the agent's own pod. Error: a reason to try again later.
    pub(crate) async fn set_readiness_gate(
        &self,
        pod: &str,
        as_desired: bool,
        message: &str,
    ) -> Result<(), ShootError> {
        let Some(client) = &self.client else { return Ok(()) };
        let condition = objects::readiness_condition(as_desired, message, Timestamp::now());
        let patch = Patch::Strategic(json!({ "status": { "conditions": [condition] } }));
        let pods: Api<Pod> = Api::namespaced(client.clone(), names::SHOOT_NAMESPACE);
        let parameters = manager();
        call("patch", format!("status of Pod {pod}"), pods.patch_status(pod, &parameters, &patch)).await.map(drop)
    }

    /// Writes into the status of an Adjustment; one that is gone needs no status. Error: a reason to try again later.
    pub(crate) async fn write_adjustment_status(&self, name: &str, patch: &Value) -> Result<(), ShootError> {
        let client = self.client.clone().ok_or(ShootError::NoClient)?;
        let kind = ApiResource::from_gvk(&GroupVersionKind::gvk(
            names::ADJUSTMENT_GROUP,
            names::ADJUSTMENT_VERSION,
            names::ADJUSTMENT_KIND,
        ));
        let adjustments: Api<DynamicObject> = Api::namespaced_with(client, names::SHOOT_NAMESPACE, &kind);
        let (parameters, patch) = (manager(), Patch::Merge(patch));
        let written = adjustments.patch_status(name, &parameters, &patch);
        gone_is_fine(call("patch", format!("status of Adjustment {name}"), written).await)
    }

    /// The report that an earlier agent of this node has left; `None` when there is none that can be read. It comes as the answer to a patch that changes
    /// nothing: RBAC cannot name Leases after nodes, and the right to get all of them would be more than an agent needs.
    pub(crate) async fn earlier_report(&self) -> Result<Option<NodeReport>, ShootError> {
        let Some(client) = &self.client else { return Ok(None) };
        let leases: Api<Lease> = Api::namespaced(client.clone(), names::SHOOT_NAMESPACE);
        let name = lease_name(&self.node_name);
        let (parameters, nothing) = (manager(), json!({}));
        let patch = Patch::Merge(&nothing);
        match call("look at", format!("Lease {name}"), leases.patch(&name, &parameters, &patch)).await {
            Ok(lease) => Ok(objects::report(&lease)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes the node report for the controller. Error: a reason to try again later.
    pub(crate) async fn write_report(&self, report: &NodeReport) -> Result<(), ShootError> {
        let Some(client) = &self.client else { return Ok(()) };
        let lease = objects::report_lease(&self.node_name, self.uid().as_deref(), report)?;
        let leases: Api<Lease> = Api::namespaced(client.clone(), names::SHOOT_NAMESPACE);
        let name = lease_name(&self.node_name);
        let (parameters, patch) = (PatchParams::apply(FIELD_MANAGER).force(), Patch::Apply(&lease));
        call("apply", format!("Lease {name}"), leases.patch(&name, &parameters, &patch)).await.map(drop)
    }

    /// Deletes the report and the record of the slots: the node is clean and the extension is going. Error: a reason to try again later.
    pub(crate) async fn delete_report(&self) -> Result<(), ShootError> {
        let Some(client) = &self.client else { return Ok(()) };
        slots::lease(client).delete().await?;
        let leases: Api<Lease> = Api::namespaced(client.clone(), names::SHOOT_NAMESPACE);
        let (name, parameters) = (lease_name(&self.node_name), DeleteParams::default());
        gone_is_fine(call("delete", format!("Lease {name}"), leases.delete(&name, &parameters)).await)
    }
}

/// For patches that are no server-side apply.
fn manager() -> PatchParams {
    PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() }
}

fn gone_is_fine<T>(outcome: Result<T, ShootError>) -> Result<(), ShootError> {
    match outcome {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}
