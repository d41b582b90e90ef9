//! What one owner nests deeply is that owner's affair: the unchanged controller serves everybody else, also after a restart.

use std::path::Path;
use std::time::Duration;

use fake_kube_api::Writer;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::core::Request;
use sandbox::{Binaries, Sandbox};
use serde_json::{Value, json};
use testbed::wait_for;

const GROUP: &str = "extensions.gardener.cloud";
const NAME: &str = "cri-resmgr-extension";
const SOON: Duration = Duration::from_secs(30);

fn lists(levels: usize) -> Value {
    (0..levels).fold(json!("hunter2"), |inner, _| json!([inner]))
}

fn maps(levels: usize) -> Value {
    (0..levels).fold(json!("hunter2"), |inner, _| json!({ "a": inner }))
}

/// A shoot with this in its own configuration, and with that in the configuration of another extension.
fn add_shoot(sandbox: &Sandbox, name: &str, own: &Value, others: &Value) -> anyhow::Result<String> {
    let (namespace, writer) = (format!("shoot--deep--{name}"), Writer::named("gardenlet"));
    let store = sandbox.seed.store();
    let labels = json!({ "gardener.cloud/role": "shoot" });
    let object =
        json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace, "labels": labels } });
    store.create("", "namespaces", "", object, &writer)?;
    let shoot = json!({
        "apiVersion": "core.gardener.cloud/v1beta1", "kind": "Shoot", "metadata": { "name": name },
        "spec": { "extensions": [{ "type": "other", "providerConfig": others }, { "type": NAME }] },
        "status": { "lastOperation": { "type": "Reconcile", "state": "Succeeded", "progress": 100 } },
    });
    let cluster = json!({
        "apiVersion": "extensions.gardener.cloud/v1alpha1", "kind": "Cluster", "metadata": { "name": namespace },
        "spec": { "shoot": shoot },
    });
    store.create(GROUP, "clusters", "", cluster, &writer)?;
    let annotations = json!({ "gardener.cloud/operation": "reconcile", "gardener.cloud/timestamp": "1" });
    let extension = json!({
        "apiVersion": "extensions.gardener.cloud/v1alpha1", "kind": "Extension",
        "metadata": { "name": NAME, "namespace": namespace, "annotations": annotations },
        "spec": { "type": NAME, "providerConfig": own },
    });
    store.create(GROUP, "extensions", &namespace, extension, &writer)?;
    Ok(namespace)
}

fn extension(sandbox: &Sandbox, namespace: &str) -> Option<Value> {
    sandbox.seed.store().get(GROUP, "extensions", namespace, NAME)
}

async fn until(sandbox: &Sandbox, namespace: &str, what: &str, is: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
    wait_for(&format!("{what} in {namespace}"), SOON, || async {
        let found = extension(sandbox, namespace).unwrap_or_default();
        if is(&found) { Ok(Some(found)) } else { anyhow::bail!("{}", found["status"]) }
    })
    .await
}

/// Asks the API, and leaves the answer alone: it is as deep.
async fn send(
    sandbox: &Sandbox,
    request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
) -> anyhow::Result<()> {
    sandbox.seed.client()?.request_text(request?).await?;
    Ok(())
}

async fn run(sandbox: &Sandbox) -> anyhow::Result<()> {
    let shallow = json!({});
    let deep: Vec<(String, &str)> = [
        ("lists", lists(200), &shallow, "nested too deeply: at most 127 levels"),
        ("maps", maps(200), &shallow, "nested too deeply: at most 127 levels"),
        ("large", json!(["x".repeat(300_000)]), &shallow, "at most 262144 are read"),
    ]
    .into_iter()
    .map(|(name, own, others, text)| Ok((add_shoot(sandbox, name, &own, others)?, text)))
    .collect::<anyhow::Result<_>>()?;
    let others = [
        add_shoot(sandbox, "others-lists", &shallow, &lists(300))?,
        add_shoot(sandbox, "others-maps", &shallow, &maps(300))?,
    ];
    for round in ["running", "started again"] {
        for (namespace, text) in &deep {
            let found =
                until(sandbox, namespace, "the owner's mistake", |found| !found["status"]["lastError"].is_null())
                    .await?;
            let error = &found["status"]["lastError"];
            anyhow::ensure!(error["codes"] == json!(["ERR_CONFIGURATION_PROBLEM"]), "{round}: {error}");
            let description = error["description"].as_str().unwrap_or_default();
            anyhow::ensure!(description.contains("providerConfig: ") && description.contains(text), "{round}: {error}");
        }
        for namespace in &others {
            until(sandbox, namespace, "success", |found| found["status"]["lastOperation"]["state"] == "Succeeded")
                .await?;
        }
        sandbox.switch_on(None).await?;
        if round == "running" {
            sandbox.crash_controller()?;
        }
    }
    // Its health is looked after only when everything was listed.
    until(sandbox, sandbox::SHOOT_NAMESPACE, "the health condition", |found| {
        found["status"]["conditions"].as_array().is_some_and(|all| !all.is_empty())
    })
    .await?;
    for (namespace, _) in &deep {
        let forced = json!({ "metadata": { "annotations": { "confirmation.gardener.cloud/force-deletion": "true" } } });
        let (clusters, extensions) = (
            Request::new(format!("/apis/{GROUP}/v1alpha1/clusters")),
            Request::new(format!("/apis/{GROUP}/v1alpha1/namespaces/{namespace}/extensions")),
        );
        let forced = json!({ "spec": { "shoot": forced } });
        send(sandbox, clusters.patch(namespace, &PatchParams::default(), &Patch::Merge(&forced))).await?;
        send(sandbox, extensions.delete(NAME, &DeleteParams::default())).await?;
        wait_for(&format!("{namespace} to be empty"), SOON, || async {
            Ok(extension(sandbox, namespace).is_none().then_some(()))
        })
        .await?;
    }
    let log = sandbox.controller_log()?;
    let line = log.lines().find(|line| line.contains("hunter2"));
    anyhow::ensure!(line.is_none(), "a configuration was logged: {line:?}");
    Ok(())
}

#[tokio::test]
async fn a_deeply_nested_configuration_does_not_affect_other_shoots() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
    let sandbox = Sandbox::up(&root, &Binaries::build(&root)?, &[]).await?;
    let outcome = run(&sandbox).await.map_err(|error| error.context(sandbox.explain()));
    sandbox.down().await?;
    outcome
}
