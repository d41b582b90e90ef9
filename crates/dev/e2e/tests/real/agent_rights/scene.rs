//! What the attacks aim at: two nodes with agents, a DNS server, Leases of the control plane.

use std::collections::BTreeMap;

use extension_config::names;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, ResourceExt as _};
use serde_json::{Value, json};
use testbed::ApiServer;

pub(super) const OWN_NODE: &str = "n1";
pub(super) const OTHER_NODE: &str = "n2";
pub(super) const OWN_POD: &str = "cri-resmgr-node-agent-n1";
pub(super) const OTHER_POD: &str = "cri-resmgr-node-agent-n2";
pub(super) const DNS_POD: &str = "coredns";
pub(super) const ADJUSTMENT: &str = "adjustment";
pub(super) const OTHER_EVENT: &str = "n2.1";
const SYSTEM: &str = names::SHOOT_NAMESPACE;
const NOW: &str = "2026-01-01T00:00:00Z";

/// The objects, as the shoot's admin sees them.
pub(super) struct Scene {
    client: kube::Client,
    /// The own Node's uid.
    pub(super) node_uid: String,
}

impl Scene {
    pub(super) async fn set(shoot: &ApiServer) -> anyhow::Result<Self> {
        let mut scene = Self { client: shoot.admin().await?, node_uid: String::new() };
        scene.set_again().await?;
        scene.node_uid = scene.api("", "v1", "Node").get(OWN_NODE).await?.uid().unwrap_or_default();
        Ok(scene)
    }

    /// Puts back what an attack has changed.
    pub(super) async fn set_again(&self) -> anyhow::Result<()> {
        for node in [OWN_NODE, OTHER_NODE] {
            self.put("", "v1", "Node", json!({ "metadata": { "name": node } }), None).await?;
        }
        for (pod, node) in [(OWN_POD, OWN_NODE), (OTHER_POD, OTHER_NODE), (DNS_POD, OTHER_NODE)] {
            let label =
                if pod == DNS_POD { ("k8s-app", "kube-dns") } else { (names::NODE_AGENT_LABEL, names::NODE_AGENT) };
            let api = self.api("", "v1", "Pod");
            if api.get_opt(pod).await?.is_some() {
                let clean = json!({ "metadata": { "finalizers": null, "labels": { "k8s-app": null } } });
                api.patch(pod, &PatchParams::default(), &Patch::Merge(clean)).await?;
            }
            let object = json!({
                "metadata": {
                    "name": pod, "namespace": SYSTEM, "labels": { (label.0): label.1 }, "annotations": { "played": "yes" },
                },
                "spec": {
                    "nodeName": node, "serviceAccountName": names::NODE_AGENT, "automountServiceAccountToken": false,
                    "containers": [{ "name": "played", "image": "played" }],
                    "readinessGates": [{ "conditionType": names::NODE_AS_DESIRED }],
                },
            });
            let condition = |kind: &str, status: &str| json!({ "type": kind, "status": status, "lastProbeTime": null, "lastTransitionTime": NOW });
            // A merge patch, so that lists are as here.
            let status = json!({
                "phase": "Running", "hostIP": "10.0.0.1", "podIP": "10.0.0.2", "podIPs": [{ "ip": "10.0.0.2" }], "startTime": NOW,
                "reason": null, "message": null, "nominatedNodeName": null,
                "conditions": [condition("Ready", "False"), condition(names::NODE_AS_DESIRED, "False"), condition("PodScheduled", "True")],
                "containerStatuses": null, "initContainerStatuses": null, "ephemeralContainerStatuses": null,
            });
            self.put("", "v1", "Pod", object, Some(status)).await?;
        }
        for (name, holder) in
            [("kube-controller-manager", "kcm"), ("gardener-node-agent-n2", "gna"), ("cri-resmgr-node-n2", OTHER_NODE)]
        {
            let lease =
                json!({ "metadata": { "name": name, "namespace": SYSTEM }, "spec": { "holderIdentity": holder } });
            self.put("coordination.k8s.io", "v1", "Lease", lease, None).await?;
        }
        for name in ["stolen", "cri-resmgr-node-n1", names::SWITCH_LEASE] {
            self.forget("coordination.k8s.io", "v1", "Lease", name).await?;
        }
        let adjustment = json!({ "metadata": { "name": ADJUSTMENT, "namespace": SYSTEM }, "spec": { "scope": [] } });
        let status = json!({ "nodes": { OWN_NODE: null, OTHER_NODE: { "errors": { "one": "is wrong" } } } });
        self.put(names::ADJUSTMENT_GROUP, names::ADJUSTMENT_VERSION, names::ADJUSTMENT_KIND, adjustment, Some(status))
            .await?;
        for name in [OTHER_EVENT, "n1.1", "n2.2", "n1.2"] {
            self.forget("events.k8s.io", "v1", "Event", name).await?;
        }
        self.put("events.k8s.io", "v1", "Event", event(OTHER_EVENT, "Node", OTHER_NODE), None).await
    }

    /// All that could be changed, without what every write changes.
    pub(super) async fn snapshot(&self) -> anyhow::Result<BTreeMap<String, Value>> {
        let mut all = BTreeMap::new();
        for (group, version, kind) in [
            ("", "v1", "Pod"),
            ("coordination.k8s.io", "v1", "Lease"),
            ("events.k8s.io", "v1", "Event"),
            (names::ADJUSTMENT_GROUP, names::ADJUSTMENT_VERSION, names::ADJUSTMENT_KIND),
        ] {
            for mut object in self.api(group, version, kind).list(&ListParams::default()).await? {
                let name = object.name_any();
                // The API servers' own.
                if name.starts_with("apiserver-") {
                    continue;
                }
                object.metadata.managed_fields = None;
                object.metadata.resource_version = None;
                all.insert(format!("{kind} {name}"), serde_json::to_value(object)?);
            }
        }
        Ok(all)
    }

    fn api(&self, group: &str, version: &str, kind: &str) -> Api<DynamicObject> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        match kind {
            "Node" => Api::all_with(self.client.clone(), &resource),
            "Event" => Api::namespaced_with(self.client.clone(), "default", &resource),
            _ => Api::namespaced_with(self.client.clone(), SYSTEM, &resource),
        }
    }

    async fn put(
        &self,
        group: &str,
        version: &str,
        kind: &str,
        object: Value,
        status: Option<Value>,
    ) -> anyhow::Result<()> {
        let api = self.api(group, version, kind);
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let mut object = object;
        object["apiVersion"] = if group.is_empty() { version.into() } else { format!("{group}/{version}").into() };
        object["kind"] = kind.into();
        api.patch(&name, &PatchParams::apply("scene").force(), &Patch::Apply(object)).await?;
        if let Some(status) = status {
            api.patch_status(&name, &PatchParams::default(), &Patch::Merge(json!({ "status": status }))).await?;
        }
        Ok(())
    }

    async fn forget(&self, group: &str, version: &str, kind: &str, name: &str) -> anyhow::Result<()> {
        let api = self.api(group, version, kind);
        if api.get_opt(name).await?.is_none() {
            return Ok(());
        }
        // An attack may have put one there.
        let free = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
        api.patch(name, &PatchParams::default(), &free).await?;
        match api.delete(name, &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
            other => Ok(other.map(drop)?),
        }
    }
}

/// An Event as the agent's library writes it.
pub(super) fn event(name: &str, kind: &str, about: &str) -> Value {
    json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event",
        "metadata": { "name": name, "namespace": "default" },
        "eventTime": "2026-01-01T00:00:00.000000Z", "type": "Warning", "reason": "Played", "action": "Converge", "note": "played",
        "reportingController": names::NODE_AGENT, "reportingInstance": OWN_NODE,
        "regarding": { "apiVersion": "v1", "kind": kind, "name": about, "uid": "played" },
    })
}
