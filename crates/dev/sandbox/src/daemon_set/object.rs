//! The Pod in the API.

use serde_json::{Value, json};

use fake_kube_api::{Store, Writer, text};

const MANAGER: &str = "kubelet";

/// One Pod.
pub(super) struct PodObject<'a> {
    pub(super) shoot: &'a Store,
    pub(super) set: &'a Value,
    pub(super) node: &'a str,
    pub(super) revision: &'a str,
}

impl PodObject<'_> {
    pub(super) fn name(&self) -> String {
        format!("{}-{}-{}", text(self.set, "/metadata/name"), self.node, &self.revision[..5])
    }

    pub(super) fn namespace(&self) -> &str {
        text(self.set, "/metadata/namespace")
    }

    pub(super) fn create(&self) {
        let mut labels = self.set["spec"]["template"]["metadata"]["labels"].clone();
        labels["controller-revision-hash"] = json!(self.revision);
        let mut spec = self.set["spec"]["template"]["spec"].clone();
        spec["nodeName"] = json!(self.node);
        let owner = json!({
            "apiVersion": "apps/v1", "kind": "DaemonSet", "controller": true, "blockOwnerDeletion": true,
            "name": self.set["metadata"]["name"], "uid": self.set["metadata"]["uid"],
        });
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "spec": spec,
            "metadata": {
                "name": self.name(), "namespace": self.namespace(), "labels": labels, "ownerReferences": [owner],
                "annotations": self.set["spec"]["template"]["metadata"]["annotations"],
            },
        });
        // Only shown; the process matters.
        drop(self.shoot.create("", "pods", self.namespace(), pod, &Writer::named("kube-controller-manager")));
    }

    pub(super) fn say(&self, phase: &str, ready: bool, message: &str) {
        let status = if ready { "True" } else { "False" };
        let condition = json!({ "type": "Ready", "status": status, "message": message });
        let patch = json!({ "status": { "phase": phase, "conditions": [condition] } });
        drop(self.shoot.strategic("pods", self.namespace(), &self.name(), &patch, &Writer::named(MANAGER).status()));
    }

    /// The readiness gates that are not open.
    pub(super) fn gates(&self) -> Result<(), String> {
        let closed = self.shoot.read("", "pods", self.namespace(), &self.name(), |pod| {
            let conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
            let is_open = |gate: &str| {
                conditions.clone().any(|condition| condition["type"] == gate && condition["status"] == "True")
            };
            let gates = pod["spec"]["readinessGates"].as_array().into_iter().flatten();
            gates.map(|gate| text(gate, "/conditionType")).find(|gate| !is_open(gate)).map(str::to_owned)
        });
        match closed.flatten() {
            Some(gate) => Err(format!("the pod's readiness gate {gate} is not open")),
            None => Ok(()),
        }
    }

    pub(super) fn delete(&self) {
        drop(self.shoot.delete("", "pods", self.namespace(), &self.name()));
    }
}
