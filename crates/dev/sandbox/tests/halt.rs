//! A stop of all switches by the operator's ConfigMap: nothing begins, everybody says why, nothing is rolled out for it, and it ends as it came.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use extension_config::names;
use fake_kube_api::Writer;
use sandbox::{Binaries, SHOOT_NAMESPACE, Sandbox, WORKER_POOL};
use serde_json::{Value, json};
use testbed::wait_for;

const PATIENCE: Duration = Duration::from_secs(60);
/// Time in which an agent looks several times: nothing is to be seen at its end.
const ROUNDS: Duration = Duration::from_secs(5);
/// Of the controller in the sandbox.
const OPERATOR_NAMESPACE: &str = "extension-cri-resmgr";
const WHY: &str = "INC-4711: a test";

fn operator() -> Writer {
    Writer::named("operator")
}

/// Uid of the agents' pods, and the DaemonSet's template.
fn agents(sandbox: &Sandbox) -> anyhow::Result<(Vec<Value>, Value)> {
    let store = sandbox.shoot.store();
    let pods = store.list("", "pods", names::SHOOT_NAMESPACE);
    let set = store.get("apps", "daemonsets", names::SHOOT_NAMESPACE, names::NODE_AGENT).context("no DaemonSet")?;
    Ok((pods.iter().map(|pod| pod["metadata"]["uid"].clone()).collect(), set["spec"]["template"].clone()))
}

/// How often each reason was reported of nodes.
fn reported(sandbox: &Sandbox, reason: &str) -> usize {
    let all = sandbox.shoot.store().list("events.k8s.io", "events", "default");
    all.iter().filter(|event| event["reason"] == reason).count()
}

fn status_of_extension(sandbox: &Sandbox) -> Value {
    let found =
        sandbox.seed.store().get("extensions.gardener.cloud", "extensions", SHOOT_NAMESPACE, names::EXTENSION_TYPE);
    found.map(|extension| extension["status"]["providerStatus"].clone()).unwrap_or_default()
}

async fn held_and_released(sandbox: &Sandbox) -> anyhow::Result<()> {
    let node = &sandbox.nodes()[0];
    sandbox.switch_on(None).await?;
    wait_for("the node to say that it is held", PATIENCE, || async {
        let report = sandbox.report(node.name()).unwrap_or_default();
        anyhow::ensure!(report.message.contains(WHY), "{} {}", report.stage, report.message);
        Ok(Some(()))
    })
    .await?;
    anyhow::ensure!(!node.is_on_proxy(), "it has switched");
    anyhow::ensure!(status_of_extension(sandbox)["switchesHalted"] == WHY, "{}", status_of_extension(sandbox));
    let before = agents(sandbox)?;
    // It stays so over several rounds, and is reported once.
    tokio::time::sleep(ROUNDS).await;
    anyhow::ensure!(
        !node.is_on_proxy() && reported(sandbox, "CriResmgrHeld") == 1,
        "reported {}",
        reported(sandbox, "CriResmgrHeld")
    );
    let ended = json!({ "metadata": { "annotations": { (names::HALT_ANNOTATION): null } } });
    let store = sandbox.seed.store();
    store.merge("", "configmaps", OPERATOR_NAMESPACE, names::BASE_CONFIG_MAP, &ended, &operator())?;
    sandbox.wait_installed(node).await?;
    anyhow::ensure!(agents(sandbox)? == before, "agents were rolled out for it");
    anyhow::ensure!(
        reported(sandbox, "CriResmgrInstalled") == 1,
        "reported {} times",
        reported(sandbox, "CriResmgrInstalled")
    );
    wait_for("the Extension to say so", PATIENCE, || async {
        Ok(status_of_extension(sandbox)["switchesHalted"].is_null().then_some(()))
    })
    .await
}

#[tokio::test]
async fn a_stop_of_all_switches_holds_a_new_node_and_ends_without_a_roll_out() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    let sandbox = Sandbox::up(&root, &Binaries::build(&root)?, &[WORKER_POOL]).await?;
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "data": {},
        "metadata": { "name": names::BASE_CONFIG_MAP, "annotations": { (names::HALT_ANNOTATION): WHY } },
    });
    sandbox.seed.store().create("", "configmaps", OPERATOR_NAMESPACE, map, &operator())?;
    wait_for("the controller to know of the stop", PATIENCE, || async {
        Ok(sandbox.controller_log()?.contains("all switches are halted").then_some(()))
    })
    .await?;
    let outcome = held_and_released(&sandbox).await.map_err(|error| error.context(sandbox.explain()));
    sandbox.down().await?;
    outcome
}
