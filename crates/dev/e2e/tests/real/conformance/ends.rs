//! The ends of life of an extension in a shoot, with the shoot's real resource manager: what is waited for, and what is not.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use extension_config::names;
use extension_config::node_report::Stage;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use testbed::wait_for;

use super::place::{Record, SOON, last};
use super::process::CONTROLLER_NAMESPACE;
use super::removal::{REMOVAL, agents, served};
use super::shoot::{PlayedNode, ensure_nothing_left};
use super::{BUNDLE, GENERIC_KUBECONFIG, Ground, QUIET, SERVED_NAMESPACE};

const DESCRIPTION: &str = "/status/lastOperation/description";

/// The controller reports what takes longer than a minute.
const OVERDUE: Duration = Duration::from_secs(90);

/// The proof by the shoot's own word: whom it waits for and why stands in description, lastError and providerStatus; a node that is dead
/// for long enough is named in an Event and waited for neither by us nor, for ever, by the resource manager.
pub(super) async fn removal_names_nodes_and_gives_up_dead_ones(ground: &Ground) -> anyhow::Result<()> {
    let place = served(ground).await?;
    token(ground).await?;
    let slow = PlayedNode::join(ground, "slow", None).await?;
    let dead = PlayedNode::join(ground, "dead", Some(Duration::from_secs(11 * 60))).await?;
    dead.run_agent("Install", true).await?;
    dead.report("Install", Stage::Installed, "").await?;
    place.gardenlet.delete_extension().await?;
    let says = |field: &'static str, text: &'static str| {
        move |extension: &Value| {
            let found = extension.pointer(field).and_then(Value::as_str).unwrap_or_default();
            found.contains(text)
        }
    };
    place
        .until("the node to be named", REMOVAL, says(DESCRIPTION, "1 of 2 nodes: slow (its agent does not run yet)"))
        .await?;
    slow.run_agent("Remove", false).await?;
    slow.report("Remove", Stage::Blocked, "no space left on device").await?;
    let extension = place
        .until("the agent's reason", REMOVAL, says(DESCRIPTION, "slow (Blocked: no space left on device)"))
        .await?;
    let told = &extension["status"]["providerStatus"]["removal"];
    ensure!(told["awaited"][0]["name"] == "slow" && told["notAwaited"][0]["name"] == "dead", "{told}");
    place.until("the error to name the node", OVERDUE, says("/status/lastError/description", "slow (Blocked")).await?;
    let events: Api<Event> = Api::namespaced(ground.seed.clone(), SERVED_NAMESPACE);
    let told = events
        .list(&ListParams::default())
        .await?
        .items
        .into_iter()
        .filter(|event| event.reason.as_deref() == Some("NodesNotAwaited"));
    let notes: Vec<String> = told.filter_map(|event| event.note).collect();
    ensure!(notes.len() == 1 && notes[0].contains("dead (not Ready for more than 10 min)"), "{notes:?}");
    slow.finish().await?;
    // The dead node's pod holds the DaemonSet until the resource manager takes its finalizer.
    place.gone(REMOVAL).await?;
    for node in [slow, dead] {
        node.leave().await?;
    }
    ensure_nothing_left(ground).await
}

/// Where the shoot cannot be asked, the ManagedResource alone is the proof.
pub(super) async fn removal_without_a_word_from_the_shoot(ground: &Ground) -> anyhow::Result<()> {
    let place = served(ground).await?;
    token(ground).await?;
    ground.bed.resolve_shoot_api(false)?;
    let record = Record::of(place.gardenlet.extensions()).await?;
    let removed = async {
        place.gardenlet.delete_extension().await?;
        place.gone(REMOVAL).await
    }
    .await;
    ground.bed.resolve_shoot_api(true)?;
    removed?;
    let description =
        |seen: &Value| seen["status"]["lastOperation"]["description"].as_str().unwrap_or_default().to_owned();
    let says = "the shoot was not asked: its API server could not be reached";
    ensure!(record.any(|seen| description(seen).contains(says)), "nobody was told that the nodes were not looked at");
    ensure_nothing_left(ground).await
}

/// Before Gardener v1.110 the resource manager writes no certificate authority; the generic kubeconfig has it, and a server whose name
/// means something in the shoot's own namespace alone.
pub(super) async fn older_landscapes_name_nodes_by_the_generic_kubeconfig(ground: &Ground) -> anyhow::Result<()> {
    ground.take_controller("seed-controller")?.stop().await?;
    let wide = WideRule::grant(ground).await?;
    ground.start_controller("seed-controller", &[], GENERIC_KUBECONFIG).await?;
    let place = served(ground).await?;
    token(ground).await?;
    let secrets: Api<Secret> = Api::namespaced(ground.seed.clone(), SERVED_NAMESPACE);
    let data = secrets.get(names::SHOOT_ACCESS_SECRET).await?.data.unwrap_or_default();
    ensure!(!data.contains_key("bundle.crt"), "the resource manager was asked for what older ones do not have");
    let node = PlayedNode::join(ground, "old", None).await?;
    place.gardenlet.delete_extension().await?;
    let said = RefCell::new(Vec::new());
    place
        .until("the node to be named", REMOVAL, |extension| {
            let description = extension["status"]["lastOperation"]["description"].as_str().unwrap_or_default();
            said.borrow_mut().push(description.to_owned());
            description.contains("1 of 1 nodes: old (its agent does not run yet)")
        })
        .await
        .with_context(|| {
            said.borrow_mut().dedup();
            format!("{:#?}", said.borrow())
        })?;
    node.run_agent("Remove", false).await?;
    node.finish().await?;
    place.gone(REMOVAL).await?;
    node.leave().await?;
    ensure_nothing_left(ground).await?;
    ground.take_controller("seed-controller")?.stop().await?;
    wide.revoke().await?;
    ground.start_controller("seed-controller", &[], BUNDLE).await
}

/// The right that the chart gives in older landscapes: to read every Secret.
struct WideRule {
    roles: Api<ClusterRole>,
    bindings: Api<ClusterRoleBinding>,
}

impl WideRule {
    const NAME: &str = "testbed:read-secrets";

    async fn grant(ground: &Ground) -> anyhow::Result<Self> {
        let rule = Self { roles: Api::all(ground.seed.clone()), bindings: Api::all(ground.seed.clone()) };
        let (version, parameters) = ("rbac.authorization.k8s.io/v1", PatchParams::apply("testbed"));
        let reading = json!({
            "apiVersion": version, "kind": "ClusterRole", "metadata": { "name": Self::NAME },
            "rules": [{ "apiGroups": [""], "resources": ["secrets"], "verbs": ["get"] }],
        });
        rule.roles.patch(Self::NAME, &parameters, &Patch::Apply(reading)).await?;
        let binding = json!({
            "apiVersion": version, "kind": "ClusterRoleBinding", "metadata": { "name": Self::NAME },
            "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": Self::NAME },
            "subjects": [{ "kind": "ServiceAccount", "name": names::CONTROLLER_NAME, "namespace": CONTROLLER_NAMESPACE }],
        });
        rule.bindings.patch(Self::NAME, &parameters, &Patch::Apply(binding)).await?;
        Ok(rule)
    }

    async fn revoke(self) -> anyhow::Result<()> {
        self.bindings.delete(Self::NAME, &DeleteParams::default()).await?;
        self.roles.delete(Self::NAME, &DeleteParams::default()).await?;
        Ok(())
    }
}

/// Nodes born at wake-up must find the removal phase, and nothing can be proven before.
pub(super) async fn removal_of_a_hibernated_shoot_waits(ground: &Ground) -> anyhow::Result<()> {
    let place = served(ground).await?;
    let manager = ground.resource_manager()?;
    place.cluster(asleep).await?;
    // Gardener scales it to zero.
    manager.signal(Signal::SIGSTOP)?;
    let waits = async {
        place.gardenlet.delete_extension().await?;
        wait_for("the removal phase in a sleeping shoot", SOON, || async {
            Ok((place.resource().await?["spec"]["injectLabels"][names::PHASE_KEY] == "Remove").then_some(()))
        })
        .await?;
        tokio::time::sleep(QUIET).await;
        let extension = place.extension().await?;
        let description = extension["status"]["lastOperation"]["description"].as_str().unwrap_or_default();
        ensure!(
            last(&extension) == "Delete/Processing" && description.contains("the shoot is hibernated"),
            "{extension}"
        );
        ensure!(place.resource().await?["metadata"]["deletionTimestamp"].is_null(), "the proof was not waited for");
        let late = place.until("the wait to be told", OVERDUE, |extension| !extension["status"]["lastError"].is_null());
        let error = late.await?["status"]["lastError"].clone();
        ensure!(error["codes"].is_null() && error["description"].to_string().contains("hibernated"), "{error}");
        // Its control plane is on its way up, and it is put to sleep again.
        place.cluster(|shoot| sleeps(shoot, false)).await?;
        tokio::time::sleep(QUIET).await;
        place.cluster(asleep).await?;
        ensure!(place.resource().await?["metadata"]["deletionTimestamp"].is_null(), "the wake-up was not waited for");
        Ok(())
    }
    .await;
    manager.signal(Signal::SIGCONT)?;
    waits?;
    tokio::time::sleep(QUIET).await;
    ensure!(place.resource().await?["metadata"]["deletionTimestamp"].is_null(), "something was proven in its sleep");
    place.cluster(|_| ()).await?;
    place.gone(REMOVAL).await?;
    ensure_nothing_left(ground).await
}

/// The nodes belong to the other seed from then on: neither are the agents taken from them, nor is anything else.
pub(super) async fn migration_in_mid_removal_leaves_the_shoot_alone(ground: &Ground) -> anyhow::Result<()> {
    let place = served(ground).await?;
    token(ground).await?;
    let node = PlayedNode::join(ground, "slow", None).await?;
    place.gardenlet.delete_extension().await?;
    // The removal is written to the shoot, too.
    let awaits = |extension: &Value| {
        let description = extension["status"]["lastOperation"]["description"].as_str().unwrap_or_default();
        description.contains("removed from 1 of 1 nodes: slow")
    };
    place.until("the node to be awaited", REMOVAL, awaits).await?;
    let resources = Record::of(place.gardenlet.managed_resources()).await?;
    let agent = agents(ground).get(names::NODE_AGENT).await?;
    // The deletion stays asked for; migrate wins.
    place.patch(json!({ "metadata": { "annotations": { "gardener.cloud/operation": "migrate" } } })).await?;
    place.gone(REMOVAL).await?;
    let deleted = |seen: &Value| !seen["metadata"]["deletionTimestamp"].is_null();
    ensure!(resources.any(deleted), "the ManagedResource stayed");
    ensure!(
        !resources.any(|seen| deleted(seen) && seen["spec"]["keepObjects"] != true),
        "it was deleted with its objects"
    );
    let kept = agents(ground).get(names::NODE_AGENT).await.context("the shoot lost its agents")?;
    ensure!(kept.metadata.uid == agent.metadata.uid && kept.metadata.generation == agent.metadata.generation);
    // As the other seed takes over: everything is adopted, and can be removed again.
    let timestamp = place.ask("restore").await?;
    place.gardenlet.wait_ready(&timestamp, SOON).await?;
    node.leave().await?;
    place.gardenlet.delete_extension().await?;
    place.gone(REMOVAL).await?;
    ensure_nothing_left(ground).await
}

/// Its nodes vanish with it. gardenlet takes our ManagedResource away first, and it must stay away.
pub(super) async fn shoot_in_deletion_is_not_cleaned(ground: &Ground) -> anyhow::Result<()> {
    let place = served(ground).await?;
    let node = PlayedNode::join(ground, "going", None).await?;
    place.cluster(|shoot| shoot["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z")).await?;
    let api = place.gardenlet.managed_resources();
    api.delete(names::SHOOT_MANAGED_RESOURCE, &DeleteParams::default()).await?;
    wait_for("the ManagedResource to be gone", REMOVAL, || async {
        Ok(place.resource().await?.is_null().then_some(()))
    })
    .await?;
    let resources = Record::of(api).await?;
    // gardenlet may reconcile it once more on its way.
    let timestamp = place.ask("reconcile").await?;
    place.gardenlet.wait_ready(&timestamp, SOON).await?;
    place.gardenlet.delete_extension().await?;
    place.gone(SOON).await?;
    ensure!(resources.seen().is_empty(), "the ManagedResource was made anew: {:?}", resources.seen());
    node.leave().await?;
    // The Cluster is merged into: the next case would find the time there.
    place.cluster(|shoot| shoot["metadata"]["deletionTimestamp"] = Value::Null).await?;
    ensure_nothing_left(ground).await
}

/// Nothing is left that could answer.
pub(super) async fn force_deletion_without_a_resource_manager(ground: &Ground) -> anyhow::Result<()> {
    let place = served(ground).await?;
    let node = PlayedNode::join(ground, "lost", None).await?;
    let manager = ground.resource_manager()?;
    manager.signal(Signal::SIGSTOP)?;
    let forced = async {
        place.gardenlet.delete_extension().await?;
        place.until_last("Delete/Processing", SOON).await?;
        let start = Instant::now();
        let force = json!({ "confirmation.gardener.cloud/force-deletion": "true" });
        place.cluster(|shoot| shoot["metadata"]["annotations"] = force).await?;
        place.gone(SOON).await?;
        ground.progress.step(&format!("force-deleted after {:.1?}", start.elapsed()));
        Ok::<_, anyhow::Error>(())
    }
    .await;
    manager.signal(Signal::SIGCONT)?;
    forced?;
    wait_for("the resource manager to finish", REMOVAL, || async {
        Ok(place.resource().await?.is_null().then_some(()))
    })
    .await?;
    node.leave().await?;
    ensure_nothing_left(ground).await
}

fn asleep(shoot: &mut Value) {
    sleeps(shoot, true);
}

/// Hibernated so far; to be so, or to wake up.
fn sleeps(shoot: &mut Value, enabled: bool) {
    shoot["spec"]["hibernation"] = json!({ "enabled": enabled });
    shoot["status"]["hibernated"] = json!(true);
}

/// Waits for the token of the shoot.
pub(super) async fn token(ground: &Ground) -> anyhow::Result<()> {
    let secrets: Api<Secret> = Api::namespaced(ground.seed.clone(), SERVED_NAMESPACE);
    wait_for("the token requestor's token", SOON, || async {
        let secret = secrets.get(names::SHOOT_ACCESS_SECRET).await?;
        Ok(secret.data.is_some_and(|data| data.contains_key("token")).then_some(()))
    })
    .await
}
