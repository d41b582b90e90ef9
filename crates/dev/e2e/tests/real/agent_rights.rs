//! A node's token is worth one node: what a stolen token of one node's agent can do, on a real API server, with the policy and without it.
//!
//! Nodes, pods and objects are faked; account, rights and policy are what the controller and gardener-resource-manager have put there.

mod attempts;
mod scene;

use std::time::Duration;

use anyhow::{Context as _, ensure};
use e2e::TestEnvironment;
use extension_config::names;
use testbed::{Progress, wait_for};

use attempts::{Attempt, Expected};
use scene::Scene;

/// From written objects to an API server that obeys them.
const OBEYED: Duration = Duration::from_secs(60);
const READY: Duration = Duration::from_secs(60);

#[test]
fn a_token_is_worth_one_node() {
    super::in_environment("agent-rights", 0, async |environment, progress| {
        reconcile(environment, "1.34.0").await?;
        let scene = Scene::set(environment.bed.shoot()).await?;
        let stolen =
            environment.bed.shoot().client_of(names::SHOOT_NAMESPACE, names::NODE_AGENT, Some(scene::OWN_POD)).await?;
        wait_for("the policy to be obeyed", OBEYED, || async {
            let (code, message) = attempts::foreign_lease().by(&stolen).await?;
            ensure!(code == 403 && message.contains(names::NODE_AGENT_POLICY), "{code} {message}");
            Ok(Some(()))
        })
        .await?;
        scene.set_again().await?;
        progress.step("a stolen token, with the policy");
        let mut wrong = Vec::new();
        for attempt in attempts::attacks(&scene) {
            wrong.extend(held(&scene, &stolen, &attempt, progress).await?);
        }
        for attempt in attempts::work(&scene) {
            wrong.extend(allowed(&stolen, &attempt, progress).await?);
        }
        wrong.extend(without_a_node(environment, &scene, progress).await?);

        progress.step("the same on Kubernetes 1.29, which gets no policy");
        scene.set_again().await?;
        reconcile(environment, "1.29.0").await?;
        wait_for("the policy to be gone", OBEYED, || async {
            let (code, message) = attempts::foreign_lease().by(&stolen).await?;
            ensure!(code == 200, "{code} {message}");
            Ok(Some(()))
        })
        .await?;
        for attempt in attempts::attacks(&scene) {
            scene.set_again().await?;
            let (code, message) = attempt.by(&stolen).await?;
            progress.step(&format!("{}: {code}", attempt.what));
            let passes = matches!(code, 200 | 201);
            match attempt.expected {
                Expected::Refused(_) if !passes => wrong.push(format!("{}: {code} {message}", attempt.what)),
                Expected::Forbidden if passes => wrong.push(format!("{}: passes", attempt.what)),
                _ => {}
            }
        }
        scene.set_again().await?;
        for attempt in attempts::work(&scene) {
            wrong.extend(allowed(&stolen, &attempt, progress).await?);
        }
        ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
        Ok(())
    });
}

/// Everything of the extension for a shoot of this version.
async fn reconcile(environment: &TestEnvironment, version: &str) -> anyhow::Result<()> {
    let mut shoot = environment.shoot(None, false);
    shoot["spec"]["kubernetes"]["version"] = version.into();
    environment.gardenlet.sync_cluster(&shoot).await?;
    let timestamp = environment.gardenlet.deploy_extension("reconcile", None).await?;
    environment.gardenlet.wait_ready(&timestamp, READY).await?;
    let resources = environment.gardenlet.managed_resources();
    wait_for("the shoot's objects to be applied", READY, || async {
        let resource = resources.get(names::SHOOT_MANAGED_RESOURCE).await?;
        let status = &resource.data["status"];
        ensure!(status["observedGeneration"].as_i64() == resource.metadata.generation, "generation not observed");
        let conditions = status["conditions"].as_array().context("no conditions yet")?;
        let applied = conditions.iter().find(|one| one["type"] == "ResourcesApplied").context("not applied yet")?;
        ensure!(applied["status"] == "True", "{}", applied["message"]);
        Ok(Some(()))
    })
    .await
}

/// What is wrong with how an attack ended: it is refused with the right words, and nothing has changed.
async fn held(
    scene: &Scene,
    stolen: &kube::Client,
    attempt: &Attempt,
    progress: &Progress,
) -> anyhow::Result<Option<String>> {
    let before = scene.snapshot().await?;
    let (code, message) = attempt.by(stolen).await?;
    progress.step(&format!("{}: {code} {message}", attempt.what));
    let after = scene.snapshot().await?;
    let as_expected = match attempt.expected {
        Expected::Refused(why) => code == 403 && message.contains(names::NODE_AGENT_POLICY) && message.contains(why),
        Expected::Forbidden => code == 403 && !message.contains(names::NODE_AGENT_POLICY),
        Expected::Unchanged => true,
    };
    let changed: Vec<&String> =
        after.iter().filter(|(key, value)| before.get(*key) != Some(value)).map(|(key, _)| key).collect();
    let gone: Vec<&String> = before.keys().filter(|key| !after.contains_key(*key)).collect();
    let fine = as_expected && changed.is_empty() && gone.is_empty();
    Ok((!fine).then(|| format!("{}: {code} {message}; changed {changed:?}, gone {gone:?}", attempt.what)))
}

/// What is wrong with how an agent's own work ended.
async fn allowed(client: &kube::Client, attempt: &Attempt, progress: &Progress) -> anyhow::Result<Option<String>> {
    let (code, message) = attempt.by(client).await?;
    progress.step(&format!("{}: {code}", attempt.what));
    Ok((!matches!(code, 200 | 201)).then(|| format!("{}: {code} {message}", attempt.what)))
}

/// A token that names neither pod nor node may write the reports, so that an agent with an older token can end, and nothing else.
async fn without_a_node(
    environment: &TestEnvironment,
    scene: &Scene,
    progress: &Progress,
) -> anyhow::Result<Vec<String>> {
    let unbound = environment.bed.shoot().client_of(names::SHOOT_NAMESPACE, names::NODE_AGENT, None).await?;
    let mut wrong = Vec::new();
    for attempt in [attempts::foreign_lease(), attempts::own_gate("True", "forged")] {
        progress.step("without a node:");
        wrong.extend(held(scene, &unbound, &attempt, progress).await?);
    }
    wrong.extend(allowed(&unbound, &attempts::own_report(scene), progress).await?);
    Ok(wrong)
}
