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

use super::namespace_fixture::{Record, SOON, last};
use super::process::CONTROLLER_NAMESPACE;
use super::removal::{REMOVAL, agents, served};
use super::shoot::{FakeNode, ensure_nothing_left};
use super::{BUNDLE, Fixture, GENERIC_KUBECONFIG, QUIET, SERVED_NAMESPACE};

const DESCRIPTION: &str = "/status/lastOperation/description";

/// The controller reports what takes longer than a minute.
const OVERDUE: Duration = Duration::from_secs(90);

/// The proof by the shoot's own word: whom it waits for and why stands in description, lastError and providerStatus; a node that is dead
/// for long enough is named in an Event and waited for neither by us nor, for ever, by the resource manager.
pub(super) async fn removal_names_nodes_and_gives_up_dead_ones(fixture: &Fixture) -> anyhow::Result<()> {
    let ns = served(fixture).await?;
    token(fixture).await?;
    let slow = FakeNode::join(fixture, "slow", None).await?;
    let dead = FakeNode::join(fixture, "dead", Some(Duration::from_secs(11 * 60))).await?;
    dead.run_agent("Install", true).await?;
    dead.report("Install", Stage::Installed, "").await?;
    ns.gardenlet.delete_extension().await?;
    let says = |field: &'static str, text: &'static str| {
        move |extension: &Value| {
            let found = extension.pointer(field).and_then(Value::as_str).unwrap_or_default();
            found.contains(text)
        }
    };
    ns.until("the node to be named", REMOVAL, says(DESCRIPTION, "1 of 2 nodes: slow (its agent does not run yet)"))
        .await?;
    slow.run_agent("Remove", false).await?;
    slow.report("Remove", Stage::Blocked, "no space left on device").await?;
    let extension =
        ns.until("the agent's reason", REMOVAL, says(DESCRIPTION, "slow (Blocked: no space left on device)")).await?;
    let reported = &extension["status"]["providerStatus"]["removal"];
    ensure!(reported["awaited"][0]["name"] == "slow" && reported["notAwaited"][0]["name"] == "dead", "{reported}");
    ns.until("the error to name the node", OVERDUE, says("/status/lastError/description", "slow (Blocked")).await?;
    let events: Api<Event> = Api::namespaced(fixture.seed.clone(), SERVED_NAMESPACE);
    let reported = events
        .list(&ListParams::default())
        .await?
        .items
        .into_iter()
        .filter(|event| event.reason.as_deref() == Some("NodesNotAwaited"));
    let notes: Vec<String> = reported.filter_map(|event| event.note).collect();
    ensure!(notes.len() == 1 && notes[0].contains("dead (not Ready for more than 10 min)"), "{notes:?}");
    slow.finish().await?;
    // The dead node's pod holds the DaemonSet until the resource manager takes its finalizer.
    ns.gone(REMOVAL).await?;
    for node in [slow, dead] {
        node.leave().await?;
    }
    ensure_nothing_left(fixture).await
}

/// Where the shoot cannot be asked, the ManagedResource alone is the proof.
pub(super) async fn removal_without_a_word_from_the_shoot(fixture: &Fixture) -> anyhow::Result<()> {
    let ns = served(fixture).await?;
    token(fixture).await?;
    fixture.bed.resolve_shoot_api(false)?;
    let record = Record::of(ns.gardenlet.extensions()).await?;
    let removed = async {
        ns.gardenlet.delete_extension().await?;
        ns.gone(REMOVAL).await
    }
    .await;
    fixture.bed.resolve_shoot_api(true)?;
    removed?;
    let description =
        |seen: &Value| seen["status"]["lastOperation"]["description"].as_str().unwrap_or_default().to_owned();
    let says = "the shoot was not asked: its API server could not be reached";
    ensure!(record.any(|seen| description(seen).contains(says)), "nobody was told that the nodes were not looked at");
    ensure_nothing_left(fixture).await
}

/// Before Gardener v1.110 the resource manager writes no certificate authority; the generic kubeconfig has it, and a server whose name
/// means something in the shoot's own namespace alone.
pub(super) async fn older_landscapes_name_nodes_by_the_generic_kubeconfig(fixture: &Fixture) -> anyhow::Result<()> {
    fixture.take_controller("seed-controller")?.stop().await?;
    let wide = WideRule::grant(fixture).await?;
    fixture.start_controller("seed-controller", &[], GENERIC_KUBECONFIG).await?;
    let ns = served(fixture).await?;
    token(fixture).await?;
    let secrets: Api<Secret> = Api::namespaced(fixture.seed.clone(), SERVED_NAMESPACE);
    let data = secrets.get(names::SHOOT_ACCESS_SECRET).await?.data.unwrap_or_default();
    ensure!(!data.contains_key("bundle.crt"), "the resource manager was asked for what older ones do not have");
    let node = FakeNode::join(fixture, "old", None).await?;
    ns.gardenlet.delete_extension().await?;
    let said = RefCell::new(Vec::new());
    ns.until("the node to be named", REMOVAL, |extension| {
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
    ns.gone(REMOVAL).await?;
    node.leave().await?;
    ensure_nothing_left(fixture).await?;
    fixture.take_controller("seed-controller")?.stop().await?;
    wide.revoke().await?;
    fixture.start_controller("seed-controller", &[], BUNDLE).await
}

/// The right that the chart gives in older landscapes: to read every Secret.
struct WideRule {
    roles: Api<ClusterRole>,
    bindings: Api<ClusterRoleBinding>,
}

impl WideRule {
    const NAME: &str = "testbed:read-secrets";

    async fn grant(fixture: &Fixture) -> anyhow::Result<Self> {
        let rule = Self { roles: Api::all(fixture.seed.clone()), bindings: Api::all(fixture.seed.clone()) };
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
pub(super) async fn removal_of_a_hibernated_shoot_waits(fixture: &Fixture) -> anyhow::Result<()> {
    let ns = served(fixture).await?;
    let manager = fixture.resource_manager()?;
    ns.cluster(asleep).await?;
    // Gardener scales it to zero.
    manager.signal(Signal::SIGSTOP)?;
    let waits = async {
        ns.gardenlet.delete_extension().await?;
        wait_for("the removal phase in a sleeping shoot", SOON, || async {
            Ok((ns.resource().await?["spec"]["injectLabels"][names::PHASE_KEY] == "Remove").then_some(()))
        })
        .await?;
        tokio::time::sleep(QUIET).await;
        let extension = ns.extension().await?;
        let description = extension["status"]["lastOperation"]["description"].as_str().unwrap_or_default();
        ensure!(
            last(&extension) == "Delete/Processing" && description.contains("the shoot is hibernated"),
            "{extension}"
        );
        ensure!(ns.resource().await?["metadata"]["deletionTimestamp"].is_null(), "the proof was not waited for");
        let late = ns.until("the wait to be told", OVERDUE, |extension| !extension["status"]["lastError"].is_null());
        let error = late.await?["status"]["lastError"].clone();
        ensure!(error["codes"].is_null() && error["description"].to_string().contains("hibernated"), "{error}");
        // Its control plane is on its way up, and it is put to sleep again.
        ns.cluster(|shoot| sleeps(shoot, false)).await?;
        tokio::time::sleep(QUIET).await;
        ns.cluster(asleep).await?;
        ensure!(ns.resource().await?["metadata"]["deletionTimestamp"].is_null(), "the wake-up was not waited for");
        Ok(())
    }
    .await;
    manager.signal(Signal::SIGCONT)?;
    waits?;
    tokio::time::sleep(QUIET).await;
    ensure!(ns.resource().await?["metadata"]["deletionTimestamp"].is_null(), "something was proven in its sleep");
    ns.cluster(|_| ()).await?;
    ns.gone(REMOVAL).await?;
    ensure_nothing_left(fixture).await
}

/// The nodes belong to the other seed from then on: neither are the agents taken from them, nor is anything else.
pub(super) async fn migration_in_mid_removal_leaves_the_shoot_alone(fixture: &Fixture) -> anyhow::Result<()> {
    let ns = served(fixture).await?;
    token(fixture).await?;
    let node = FakeNode::join(fixture, "slow", None).await?;
    ns.gardenlet.delete_extension().await?;
    // The removal is written to the shoot, too.
    let awaits = |extension: &Value| {
        let description = extension["status"]["lastOperation"]["description"].as_str().unwrap_or_default();
        description.contains("removed from 1 of 1 nodes: slow")
    };
    ns.until("the node to be awaited", REMOVAL, awaits).await?;
    let resources = Record::of(ns.gardenlet.managed_resources()).await?;
    let agent = agents(fixture).get(names::NODE_AGENT).await?;
    // The deletion stays asked for; migrate wins.
    ns.patch(json!({ "metadata": { "annotations": { "gardener.cloud/operation": "migrate" } } })).await?;
    ns.gone(REMOVAL).await?;
    let deleted = |seen: &Value| !seen["metadata"]["deletionTimestamp"].is_null();
    ensure!(resources.any(deleted), "the ManagedResource stayed");
    ensure!(
        !resources.any(|seen| deleted(seen) && seen["spec"]["keepObjects"] != true),
        "it was deleted with its objects"
    );
    let kept = agents(fixture).get(names::NODE_AGENT).await.context("the shoot lost its agents")?;
    ensure!(kept.metadata.uid == agent.metadata.uid && kept.metadata.generation == agent.metadata.generation);
    // As the other seed takes over: everything is adopted, and can be removed again.
    let timestamp = ns.ask("restore").await?;
    ns.gardenlet.wait_ready(&timestamp, SOON).await?;
    node.leave().await?;
    ns.gardenlet.delete_extension().await?;
    ns.gone(REMOVAL).await?;
    ensure_nothing_left(fixture).await
}

/// Its nodes vanish with it. gardenlet takes our ManagedResource away first, and it must stay away.
pub(super) async fn shoot_in_deletion_is_not_cleaned(fixture: &Fixture) -> anyhow::Result<()> {
    let ns = served(fixture).await?;
    let node = FakeNode::join(fixture, "going", None).await?;
    ns.cluster(|shoot| shoot["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z")).await?;
    let api = ns.gardenlet.managed_resources();
    api.delete(names::SHOOT_MANAGED_RESOURCE, &DeleteParams::default()).await?;
    wait_for("the ManagedResource to be gone", REMOVAL, || async { Ok(ns.resource().await?.is_null().then_some(())) })
        .await?;
    let resources = Record::of(api).await?;
    // gardenlet may reconcile it once more on its way.
    let timestamp = ns.ask("reconcile").await?;
    ns.gardenlet.wait_ready(&timestamp, SOON).await?;
    ns.gardenlet.delete_extension().await?;
    ns.gone(SOON).await?;
    ensure!(resources.seen().is_empty(), "the ManagedResource was made anew: {:?}", resources.seen());
    node.leave().await?;
    // The Cluster is merged into: the next case would find the time there.
    ns.cluster(|shoot| shoot["metadata"]["deletionTimestamp"] = Value::Null).await?;
    ensure_nothing_left(fixture).await
}

/// Nothing is left that could answer.
pub(super) async fn force_deletion_without_a_resource_manager(fixture: &Fixture) -> anyhow::Result<()> {
    let ns = served(fixture).await?;
    let node = FakeNode::join(fixture, "lost", None).await?;
    let manager = fixture.resource_manager()?;
    manager.signal(Signal::SIGSTOP)?;
    let forced = async {
        ns.gardenlet.delete_extension().await?;
        ns.until_last("Delete/Processing", SOON).await?;
        let start = Instant::now();
        let force = json!({ "confirmation.gardener.cloud/force-deletion": "true" });
        ns.cluster(|shoot| shoot["metadata"]["annotations"] = force).await?;
        ns.gone(SOON).await?;
        fixture.progress.step(&format!("force-deleted after {:.1?}", start.elapsed()));
        Ok::<_, anyhow::Error>(())
    }
    .await;
    manager.signal(Signal::SIGCONT)?;
    forced?;
    wait_for("the resource manager to finish", REMOVAL, || async { Ok(ns.resource().await?.is_null().then_some(())) })
        .await?;
    node.leave().await?;
    ensure_nothing_left(fixture).await
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
pub(super) async fn token(fixture: &Fixture) -> anyhow::Result<()> {
    let secrets: Api<Secret> = Api::namespaced(fixture.seed.clone(), SERVED_NAMESPACE);
    wait_for("the token requestor's token", SOON, || async {
        let secret = secrets.get(names::SHOOT_ACCESS_SECRET).await?;
        Ok(secret.data.is_some_and(|data| data.contains_key("token")).then_some(()))
    })
    .await
}
