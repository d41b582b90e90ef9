//! What is in the shoot of a bed without workers: its controllers, and nodes with agents, where a case plays them.

use std::time::Duration;

use anyhow::ensure;
use extension_config::names;
use extension_config::node_report::{CRI_RESMGR, NodeReport, Published, Stage, lease_name};
use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
use k8s_openapi::api::apps::v1::DaemonSet;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod, Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;

use super::{Fixture, SERVED_NAMESPACE};

const SYSTEM: &str = names::SHOOT_NAMESPACE;
/// Annotation of a pod whose kubelet will never end it.
const DEAD: &str = "testbed/dead";

/// What the shoot's controllers would do for the agent's DaemonSet: report its generation as rolled out to nobody, and end its deletion in
/// the foreground when its pods are gone. Both are awaited by gardener-resource-manager.
pub(super) async fn play_controllers(shoot: kube::Client) {
    let sets: Api<DaemonSet> = Api::namespaced(shoot.clone(), SYSTEM);
    let pods: Api<Pod> = Api::namespaced(shoot, SYSTEM);
    loop {
        drop(play_round(&sets, &pods).await);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

async fn play_round(sets: &Api<DaemonSet>, pods: &Api<Pod>) -> kube::Result<()> {
    let Some(set) = sets.get_opt(names::NODE_AGENT).await? else { return Ok(()) };
    let parameters = PatchParams::default();
    let generation = set.metadata.generation;
    if set.metadata.deletion_timestamp.is_some() {
        let all = pods.list(&of_agents()).await?.items;
        for pod in all.iter().filter(|pod| !pod.annotations().contains_key(DEAD)) {
            pods.delete(&pod.name_any(), &DeleteParams::default().grace_period(0)).await?;
        }
        if all.is_empty() {
            let patch = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
            sets.patch(names::NODE_AGENT, &parameters, &patch).await?;
        }
    } else if set.status.and_then(|status| status.observed_generation) != generation {
        let status = json!({
            "observedGeneration": generation, "desiredNumberScheduled": 0, "currentNumberScheduled": 0,
            "updatedNumberScheduled": 0, "numberAvailable": 0, "numberReady": 0, "numberMisscheduled": 0,
        });
        sets.patch_status(names::NODE_AGENT, &parameters, &Patch::Merge(json!({ "status": status }))).await?;
    }
    Ok(())
}

fn of_agents() -> ListParams {
    ListParams::default().labels(&format!("{}={}", names::NODE_AGENT_LABEL, names::NODE_AGENT))
}

/// A node with an agent on it, both faked.
pub(super) struct FakeNode {
    name: &'static str,
    client: kube::Client,
}

impl FakeNode {
    /// A node that an agent works on. `away`: kubelet has not been heard of for so long.
    pub(super) async fn join(fixture: &Fixture, name: &'static str, away: Option<Duration>) -> anyhow::Result<Self> {
        let node = Self { name, client: fixture.shoot_client.clone() };
        let labels = json!({
            (names::WORKER_CRI_LABEL): "containerd", "kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux",
        });
        let object = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": name, "labels": labels } });
        let nodes: Api<Node> = Api::all(node.client.clone());
        nodes.patch(name, &PatchParams::apply("testbed"), &Patch::Apply(object)).await?;
        let since = jiff::Timestamp::now() - away.unwrap_or_default();
        let since = since.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let ready = json!({
            "type": "Ready", "status": if away.is_some() { "Unknown" } else { "True" }, "reason": "Played", "message": "",
            "lastHeartbeatTime": since, "lastTransitionTime": since,
        });
        let patch = Patch::Merge(json!({ "status": { "conditions": [ready] } }));
        nodes.patch_status(name, &PatchParams::default(), &patch).await?;
        Ok(node)
    }

    /// Its agent's pod, as the DaemonSet has it now. `dead`: nobody will ever end it.
    pub(super) async fn run_agent(&self, phase: &str, dead: bool) -> anyhow::Result<()> {
        let mut annotations = json!({ (names::PHASE_KEY): phase });
        if dead {
            annotations[DEAD] = json!("true");
        }
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": self.pod(), "namespace": SYSTEM, "annotations": annotations,
                "labels": { (names::NODE_AGENT_LABEL): names::NODE_AGENT },
            },
            "spec": {
                "nodeName": self.name, "serviceAccountName": names::NODE_AGENT, "automountServiceAccountToken": false,
                "containers": [{ "name": names::NODE_AGENT_CONTAINER, "image": "played" }],
            },
        });
        self.pods().patch(&self.pod(), &PatchParams::apply("testbed").force(), &Patch::Apply(pod)).await?;
        Ok(())
    }

    /// What the agent writes into its Lease.
    pub(super) async fn report(&self, phase: &str, stage: Stage, message: &str) -> anyhow::Result<()> {
        let report = NodeReport {
            stage,
            phase: phase.to_owned(),
            desired: String::new(),
            since: 0,
            restarts: 0,
            message: message.to_owned(),
            warnings: Vec::new(),
            config: None,
            retry_at: None,
            awaits_slot: false,
            backend: Some(CRI_RESMGR.to_owned()),
            version: Some(env!("CARGO_PKG_VERSION").to_owned()),
            codes: Vec::new(),
            slot_since: None,
            published: Published::default(),
        };
        let lease = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {
                "name": lease_name(self.name), "namespace": SYSTEM,
                "labels": { (names::NODE_AGENT_LABEL): names::NODE_AGENT },
                "annotations": { (names::NODE_REPORT_ANNOTATION): serde_json::to_string(&report)? },
            },
        });
        let name = lease_name(self.name);
        self.leases().patch(&name, &PatchParams::apply("testbed").force(), &Patch::Apply(lease)).await?;
        Ok(())
    }

    /// The node is proven clean: the agent takes its report away and opens the gate of its pod.
    pub(super) async fn finish(&self) -> anyhow::Result<()> {
        self.forget_report().await?;
        let gate = json!({ "type": names::NODE_AS_DESIRED, "status": "True", "reason": "Proven", "message": "" });
        let patch = Patch::Strategic(json!({ "status": { "conditions": [gate] } }));
        self.pods().patch_status(&self.pod(), &PatchParams::default(), &patch).await?;
        Ok(())
    }

    async fn forget_report(&self) -> anyhow::Result<()> {
        absent_is_fine(self.leases().delete(&lease_name(self.name), &DeleteParams::default()).await.map(drop))
    }

    /// The machine is gone, and its objects with it.
    pub(super) async fn leave(self) -> anyhow::Result<()> {
        self.forget_report().await?;
        let now = DeleteParams::default().grace_period(0);
        absent_is_fine(self.pods().delete(&self.pod(), &now).await.map(drop))?;
        absent_is_fine(Api::<Node>::all(self.client.clone()).delete(self.name, &now).await.map(drop))
    }

    fn pod(&self) -> String {
        format!("{}-{}", names::NODE_AGENT, self.name)
    }

    fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), SYSTEM)
    }

    fn leases(&self) -> Api<Lease> {
        Api::namespaced(self.client.clone(), SYSTEM)
    }
}

fn absent_is_fine(outcome: kube::Result<()>) -> anyhow::Result<()> {
    match outcome {
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        other => Ok(other?),
    }
}

/// Nothing of the extension in the shoot, and no token of it in the seed.
pub(super) async fn ensure_nothing_left(fixture: &Fixture) -> anyhow::Result<()> {
    let client = &fixture.shoot_client;
    let mut left = Vec::new();
    macro_rules! record {
        ($kind:ty, $api:expr) => {{
            let api: Api<$kind> = $api;
            let found =
                api.list_metadata(&ListParams::default()).await?.items.into_iter().map(|object| object.name_any());
            left.extend(
                found.filter(|name| name.contains("cri-resmgr")).map(|name| format!("{} {name}", stringify!($kind))),
            );
        }};
    }
    record!(DaemonSet, Api::namespaced(client.clone(), SYSTEM));
    record!(ServiceAccount, Api::namespaced(client.clone(), SYSTEM));
    record!(Role, Api::namespaced(client.clone(), SYSTEM));
    record!(RoleBinding, Api::namespaced(client.clone(), SYSTEM));
    record!(Role, Api::namespaced(client.clone(), "default"));
    record!(RoleBinding, Api::namespaced(client.clone(), "default"));
    record!(ValidatingAdmissionPolicy, Api::all(client.clone()));
    record!(ValidatingAdmissionPolicyBinding, Api::all(client.clone()));
    record!(ClusterRole, Api::all(client.clone()));
    record!(ClusterRoleBinding, Api::all(client.clone()));
    record!(Lease, Api::namespaced(client.clone(), SYSTEM));
    record!(Secret, Api::namespaced(fixture.seed.clone(), SERVED_NAMESPACE));
    ensure!(left.is_empty(), "left behind: {}", left.join(", "));
    Ok(())
}
