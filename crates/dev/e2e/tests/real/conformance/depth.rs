//! What one owner nests deeply, or writes at length, is that owner's affair: everybody else is served, also by a controller that starts.

use anyhow::{Context as _, ensure};
use extension_config::names;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::core::Request;
use serde_json::{Value, json};
use testbed::wait_for;

use super::namespace_fixture::{NamespaceFixture, SOON, health};
use super::removal::prove_removal;
use super::{BUNDLE, Fixture};

const NAME: &str = names::EXTENSION_TYPE;
/// Stands in configurations, and must not stand in any log.
const SECRET: &str = "hunter2";

fn lists(levels: usize) -> Value {
    (0..levels).fold(json!(SECRET), |inner, _| json!([inner]))
}

fn maps(levels: usize) -> Value {
    (0..levels).fold(json!(SECRET), |inner, _| json!({ "a": inner }))
}

/// A configuration that cannot be read is its owner's mistake, and nothing holds up the end of such an Extension.
pub(super) async fn conformance_29_deep_and_long_provider_configs(fixture: &Fixture) -> anyhow::Result<()> {
    let other = NamespaceFixture::new(fixture, "c29-other").await?;
    other.reconcile(None).await?;
    let (too_deep, too_long) = ("at most 127 levels are read", "at most 262144 are read");
    let configs = [
        ("c29-lists", json!({ "a": lists(130) }), too_deep),
        ("c29-maps", maps(200), too_deep),
        ("c29-long", json!({ "configs": { "a": SECRET.repeat(50_000) } }), too_long),
    ];
    let mut places = Vec::new();
    for (name, config, text) in configs {
        let ns = NamespaceFixture::new(fixture, name).await?;
        let object = json!({
            "apiVersion": "extensions.gardener.cloud/v1alpha1", "kind": "Extension",
            "metadata": { "name": NAME, "annotations": { "gardener.cloud/operation": "reconcile" } },
            "spec": { "type": NAME, "providerConfig": config },
        });
        let create = extensions(&ns).create(&PostParams::default(), object.to_string().into_bytes());
        send(fixture, create).await?;
        places.push((ns, text));
    }
    for restarted in [false, true] {
        if restarted {
            restart(fixture).await?;
        }
        for (ns, text) in &places {
            let error = wait_for(&format!("the error in {}", ns.namespace), SOON, || async {
                Ok(ns.lean().await?.and_then(|found| found.last_error().cloned()))
            })
            .await?;
            ensure!(error.codes == ["ERR_CONFIGURATION_PROBLEM"], "{restarted}: {error:?}");
            let named = error.description.contains("providerConfig: ") && error.description.contains(text);
            ensure!(named && !error.description.contains(SECRET), "{restarted}: {error:?}");
        }
        other.reconcile(None).await?;
    }
    let [(lists, _), (maps, _), (long, _)] = &places[..] else { anyhow::bail!("three places") };
    // Forced, moved to another seed, and in order.
    let forced = json!({ "confirmation.gardener.cloud/force-deletion": "true" });
    lists.cluster(|shoot| shoot["metadata"]["annotations"] = forced).await?;
    for ns in [lists, long] {
        send(fixture, extensions(ns).delete(NAME, &DeleteParams::default())).await?;
    }
    let migrate = json!({ "metadata": { "annotations": { "gardener.cloud/operation": "migrate" } } });
    send(fixture, extensions(maps).patch(NAME, &PatchParams::default(), &Patch::Merge(&migrate))).await?;
    prove_removal(long).await?;
    for ns in [lists, long] {
        gone(ns).await?;
    }
    wait_for("the migration", SOON, || async {
        let found = maps.lean().await?.context("it is gone")?;
        let released = found.metadata.finalizers.as_ref().is_none_or(Vec::is_empty);
        Ok((released && found.operation_annotation().is_none()).then_some(()))
    })
    .await?;
    send(fixture, extensions(maps).delete(NAME, &DeleteParams::default())).await?;
    gone(maps).await?;
    ensure_not_logged(fixture)
}

/// 260 bytes in the configuration of any other extension of any shoot.
pub(super) async fn conformance_30_depth_in_a_cluster(fixture: &Fixture) -> anyhow::Result<()> {
    let other = NamespaceFixture::new(fixture, "c30-other").await?;
    other.reconcile(None).await?;
    let mut places = Vec::new();
    for (name, config) in [("c30-lists", lists(130)), ("c30-maps", maps(130))] {
        let ns = NamespaceFixture::new(fixture, name).await?;
        let entries = json!([{ "type": "another", "providerConfig": { "a": config } }, { "type": NAME }]);
        let patch = json!({ "spec": { "shoot": { "spec": { "extensions": entries } } } });
        send(fixture, clusters().patch(&ns.namespace, &PatchParams::default(), &Patch::Merge(&patch))).await?;
        places.push(ns);
    }
    for restarted in [false, true] {
        if restarted {
            restart(fixture).await?;
        }
        for ns in places.iter().chain([&other]) {
            ns.reconcile(None).await.with_context(|| format!("{}, restarted: {restarted}", ns.namespace))?;
        }
    }
    // Health is looked after only when everything was listed: the controller is ready.
    for ns in places.iter().chain([&other]) {
        ns.report(("True", ""), ("False", "broken")).await?;
        ns.until("the health", SOON, |extension| health(extension)["status"] == "False").await?;
    }
    for ns in &places {
        ns.gardenlet.delete_extension().await?;
        prove_removal(ns).await?;
        ns.gone(SOON).await?;
        send(fixture, clusters().delete(&ns.namespace, &DeleteParams::default())).await?;
    }
    ensure_not_logged(fixture)
}

fn extensions(ns: &NamespaceFixture) -> Request {
    Request::new(format!("/apis/extensions.gardener.cloud/v1alpha1/namespaces/{}/extensions", ns.namespace))
}

fn clusters() -> Request {
    Request::new("/apis/extensions.gardener.cloud/v1alpha1/clusters")
}

/// Asks the API, and leaves the answer alone: it is as deep.
async fn send(
    fixture: &Fixture,
    request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
) -> anyhow::Result<()> {
    fixture.seed.request_text(request?).await?;
    Ok(())
}

async fn gone(ns: &NamespaceFixture) -> anyhow::Result<()> {
    wait_for(&format!("the Extension in {} to be gone", ns.namespace), SOON, || async {
        Ok(ns.lean().await?.is_none().then_some(()))
    })
    .await
}

async fn restart(fixture: &Fixture) -> anyhow::Result<()> {
    fixture.take_controller("seed-controller")?.stop().await?;
    fixture.start_controller("seed-controller", &[], BUNDLE).await
}

fn ensure_not_logged(fixture: &Fixture) -> anyhow::Result<()> {
    let log = fixture.controllers()[0].1.log_tail(100_000);
    let found = log.lines().find(|line| line.contains(SECRET));
    ensure!(found.is_none(), "a configuration is logged: {found:?}");
    Ok(())
}
