//! What one owner nests deeply, or writes at length, is that owner's affair: everybody else is served, also by a controller that starts.

use anyhow::{Context as _, ensure};
use extension_config::names;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use kube::core::Request;
use serde_json::{Value, json};
use testbed::wait_for;

use super::place::{Place, SOON, health};
use super::removal::prove_removal;
use super::{BUNDLE, Ground};

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
pub(super) async fn conformance_29_deep_and_long_provider_configs(ground: &Ground) -> anyhow::Result<()> {
    let other = Place::new(ground, "c29-other").await?;
    other.reconcile(None).await?;
    let (too_deep, too_long) = ("at most 127 levels are read", "at most 262144 are read");
    let configs = [
        ("c29-lists", json!({ "a": lists(130) }), too_deep),
        ("c29-maps", maps(200), too_deep),
        ("c29-long", json!({ "configs": { "a": SECRET.repeat(50_000) } }), too_long),
    ];
    let mut places = Vec::new();
    for (name, config, text) in configs {
        let place = Place::new(ground, name).await?;
        let object = json!({
            "apiVersion": "extensions.gardener.cloud/v1alpha1", "kind": "Extension",
            "metadata": { "name": NAME, "annotations": { "gardener.cloud/operation": "reconcile" } },
            "spec": { "type": NAME, "providerConfig": config },
        });
        let create = extensions(&place).create(&PostParams::default(), object.to_string().into_bytes());
        send(ground, create).await?;
        places.push((place, text));
    }
    for restarted in [false, true] {
        if restarted {
            restart(ground).await?;
        }
        for (place, text) in &places {
            let error = wait_for(&format!("the error in {}", place.namespace), SOON, || async {
                Ok(place.lean().await?.and_then(|found| found.last_error().cloned()))
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
    for place in [lists, long] {
        send(ground, extensions(place).delete(NAME, &DeleteParams::default())).await?;
    }
    let migrate = json!({ "metadata": { "annotations": { "gardener.cloud/operation": "migrate" } } });
    send(ground, extensions(maps).patch(NAME, &PatchParams::default(), &Patch::Merge(&migrate))).await?;
    prove_removal(long).await?;
    for place in [lists, long] {
        gone(place).await?;
    }
    wait_for("the migration", SOON, || async {
        let found = maps.lean().await?.context("it is gone")?;
        let released = found.metadata.finalizers.as_ref().is_none_or(Vec::is_empty);
        Ok((released && found.operation_annotation().is_none()).then_some(()))
    })
    .await?;
    send(ground, extensions(maps).delete(NAME, &DeleteParams::default())).await?;
    gone(maps).await?;
    ensure_not_logged(ground)
}

/// 260 bytes in the configuration of any other extension of any shoot.
pub(super) async fn conformance_30_depth_in_a_cluster(ground: &Ground) -> anyhow::Result<()> {
    let other = Place::new(ground, "c30-other").await?;
    other.reconcile(None).await?;
    let mut places = Vec::new();
    for (name, config) in [("c30-lists", lists(130)), ("c30-maps", maps(130))] {
        let place = Place::new(ground, name).await?;
        let entries = json!([{ "type": "another", "providerConfig": { "a": config } }, { "type": NAME }]);
        let patch = json!({ "spec": { "shoot": { "spec": { "extensions": entries } } } });
        send(ground, clusters().patch(&place.namespace, &PatchParams::default(), &Patch::Merge(&patch))).await?;
        places.push(place);
    }
    for restarted in [false, true] {
        if restarted {
            restart(ground).await?;
        }
        for place in places.iter().chain([&other]) {
            place.reconcile(None).await.with_context(|| format!("{}, restarted: {restarted}", place.namespace))?;
        }
    }
    // Health is looked after only when everything was listed: the controller is ready.
    for place in places.iter().chain([&other]) {
        place.report(("True", ""), ("False", "broken")).await?;
        place.until("the health", SOON, |extension| health(extension)["status"] == "False").await?;
    }
    for place in &places {
        place.gardenlet.delete_extension().await?;
        prove_removal(place).await?;
        place.gone(SOON).await?;
        send(ground, clusters().delete(&place.namespace, &DeleteParams::default())).await?;
    }
    ensure_not_logged(ground)
}

fn extensions(place: &Place) -> Request {
    Request::new(format!("/apis/extensions.gardener.cloud/v1alpha1/namespaces/{}/extensions", place.namespace))
}

fn clusters() -> Request {
    Request::new("/apis/extensions.gardener.cloud/v1alpha1/clusters")
}

/// Asks the API, and leaves the answer alone: it is as deep.
async fn send(
    ground: &Ground,
    request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
) -> anyhow::Result<()> {
    ground.seed.request_text(request?).await?;
    Ok(())
}

async fn gone(place: &Place) -> anyhow::Result<()> {
    wait_for(&format!("the Extension in {} to be gone", place.namespace), SOON, || async {
        Ok(place.lean().await?.is_none().then_some(()))
    })
    .await
}

async fn restart(ground: &Ground) -> anyhow::Result<()> {
    ground.take_controller("seed-controller")?.stop().await?;
    ground.start_controller("seed-controller", &[], BUNDLE).await
}

fn ensure_not_logged(ground: &Ground) -> anyhow::Result<()> {
    let log = ground.controllers()[0].1.log_tail(100_000);
    let found = log.lines().find(|line| line.contains(SECRET));
    ensure!(found.is_none(), "a configuration is logged: {found:?}");
    Ok(())
}
