//! What gardenlet's care controller reads: the health condition, and the heartbeat.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};
use testbed::wait_for;

use super::place::{Place, SOON, health};
use super::removal::prove_removal;
use super::{Ground, QUIET};

const GOOD: (&str, &str) = ("True", "");

pub(super) async fn conformance_20_heartbeat(ground: &Ground) -> anyhow::Result<()> {
    let leases: Api<Lease> = Api::namespaced(ground.seed.clone(), super::process::CONTROLLER_NAMESPACE);
    let read = || async { Ok::<_, anyhow::Error>(json!(leases.get("gardener-extension-heartbeat").await?.spec)) };
    let first = wait_for("the heartbeat", SOON, || async { read().await.map(Some) }).await?;
    ensure!(first["holderIdentity"] == "cri-resmgr" && first["leaseDurationSeconds"] == 30, "{first}");
    let fields: Vec<&str> = first.as_object().context("a spec")?.keys().map(String::as_str).collect();
    ensure!(fields.len() == 3, "more than holder, duration and time: {fields:?}");
    let time = first["renewTime"].as_str().context("no renewTime")?;
    let fraction =
        time.strip_suffix('Z').and_then(|time| time.split_once('.')).map_or(0, |(_, fraction)| fraction.len());
    ensure!(fraction == 6, "{time} has not six digits behind the point");
    let mut before = first["renewTime"].clone();
    for _ in 0..2 {
        before = wait_for("the next heartbeat", Duration::from_secs(35), || async {
            let now = read().await?["renewTime"].clone();
            Ok((now != before).then_some(now))
        })
        .await?;
    }
    Ok(())
}

pub(super) async fn conformance_21_missing_and_healthy(ground: &Ground) -> anyhow::Result<()> {
    let place = healthy(ground, "c21").await?;
    place
        .gardenlet
        .managed_resources()
        .delete(extension_config::names::SHOOT_MANAGED_RESOURCE, &kube::api::DeleteParams::default())
        .await?;
    let missing = until(&place, "False", "HealthCheckUnsuccessful").await?;
    ensure!(missing["message"].as_str().is_some_and(|text| text.contains(&place.namespace)), "{missing}");
    place.reconcile(None).await?;
    place.report(GOOD, GOOD).await?;
    until(&place, "True", "HealthCheckSuccessful").await?;
    Ok(())
}

pub(super) async fn conformance_22_invalid_object(ground: &Ground) -> anyhow::Result<()> {
    let place = healthy(ground, "c22").await?;
    let message =
        r#"Error during apply of object "v1/ConfigMap/kube-system/x": ConfigMap "x" is invalid: data: Invalid value"#;
    place.report(("False", message), GOOD).await?;
    let condition = until(&place, "False", "HealthCheckUnsuccessful").await?;
    ensure!(condition["codes"] == json!(["ERR_CONFIGURATION_PROBLEM"]), "{condition}");
    Ok(())
}

pub(super) async fn conformance_23_hibernation(ground: &Ground) -> anyhow::Result<()> {
    let place = healthy(ground, "c23").await?;
    place.report(GOOD, ("False", "broken")).await?;
    until(&place, "False", "HealthCheckUnsuccessful").await?;
    place.cluster(|shoot| shoot["spec"]["hibernation"] = json!({ "enabled": true })).await?;
    until(&place, "True", "HealthCheckSuccessful").await?;
    place.cluster(|shoot| shoot["spec"]["hibernation"] = json!({ "enabled": false })).await?;
    until(&place, "False", "HealthCheckUnsuccessful").await?;
    Ok(())
}

/// Field case N20: what the Shoot tells is known before a node says it.
pub(super) async fn conformance_41_pools_that_the_shoot_rules_out(ground: &Ground) -> anyhow::Result<()> {
    let place = Place::new(ground, "c41").await?;
    let pools = |kubelets: [Value; 2]| {
        move |shoot: &mut Value| {
            let pool = |(name, kubelet): (&str, Value)| {
                json!({ "name": name, "cri": { "name": "containerd" }, "kubernetes": { "kubelet": kubelet },
                        "machine": { "architecture": "amd64" } })
            };
            let workers: Vec<Value> = ["plain", "pinned"].into_iter().zip(kubelets).map(pool).collect();
            shoot["spec"]["provider"]["workers"] = json!(workers);
        }
    };
    let pinned = json!({ "cpuManagerPolicy": "static" });
    place.cluster(pools([json!({}), pinned.clone()])).await?;
    place.reconcile(None).await?;
    let status = place.extension().await?["status"]["providerStatus"].clone();
    ensure!(status["leftAlone"][0]["pool"] == "pinned" && status["leftAlone"][1].is_null(), "{status}");
    ensure!(status["leftAlone"][0]["reason"].to_string().contains("cpuManagerPolicy"), "{status}");
    ensure!(place.manifests().await?.contains(r#"\"excludedPools\":[\"pinned\"]"#), "{}", place.manifests().await?);
    let events: Api<Event> = Api::namespaced(ground.seed.clone(), &place.namespace);
    let told = || async {
        let events = events.list(&ListParams::default()).await?;
        Ok::<_, anyhow::Error>(
            events.iter().filter(|event| event.reason.as_deref() == Some("WorkerPoolsLeftAlone")).count(),
        )
    };
    place.reconcile(None).await?;
    ensure!(told().await? == 1, "told {} times", told().await?);
    place.cluster(pools([pinned.clone(), pinned])).await?;
    place.reconcile(None).await?;
    let status = place.extension().await?["status"]["providerStatus"].clone();
    ensure!(status["leftAlone"][1]["pool"] == "plain" || status["leftAlone"][0]["pool"] == "plain", "{status}");
    ensure!(status["warnings"].to_string().contains("no node"), "{status}");
    place.cluster(pools([json!({}), json!({})])).await?;
    place.reconcile(None).await?;
    let status = place.extension().await?["status"]["providerStatus"].clone();
    ensure!(status["leftAlone"].is_null() || status["leftAlone"] == json!([]), "{status}");
    ensure!(!place.manifests().await?.contains("excludedPools"), "{}", place.manifests().await?);
    Ok(())
}

pub(super) async fn conformance_24_leaving_and_foreign_conditions(ground: &Ground) -> anyhow::Result<()> {
    for (name, operation) in [("c24-delete", None), ("c24-migrate", Some("migrate"))] {
        let place = healthy(ground, name).await?;
        let time = "2026-01-01T00:00:00Z";
        let foreign = json!({ "type": "Foreign", "status": "Unknown", "reason": "R", "message": "m",
                              "lastTransitionTime": time, "lastUpdateTime": time });
        let all = json!([health(&place.extension().await?), foreign]);
        place.patch_status(json!({ "conditions": all })).await?;
        place.report(GOOD, ("False", "broken")).await?;
        let bad = until(&place, "False", "HealthCheckUnsuccessful").await?;
        place.patch_resource(json!({ "metadata": { "finalizers": ["example.org/hold"] } })).await?;
        if let Some(operation) = operation {
            place.ask(operation).await?;
            place.until_last("Migrate/Processing", SOON).await?;
        } else {
            place.gardenlet.delete_extension().await?;
            place.until_last("Delete/Processing", SOON).await?;
            prove_removal(&place).await?;
        }
        place.report(GOOD, GOOD).await?;
        tokio::time::sleep(QUIET).await;
        let extension = place.extension().await?;
        ensure!(extension["status"]["conditions"] == json!([bad, foreign]), "{name}: {}", extension["status"]);
        place.patch_resource(json!({ "metadata": { "finalizers": null } })).await?;
    }
    Ok(())
}

/// The original starts every pass without the old condition, so both of its times are always those of the last pass.
pub(super) async fn conformance_quirk_times_are_not_reset(ground: &Ground) -> anyhow::Result<()> {
    let place = healthy(ground, "times").await?;
    place.report(GOOD, ("False", "first")).await?;
    let first = until(&place, "False", "HealthCheckUnsuccessful").await?;
    let start = Instant::now();
    while start.elapsed() < QUIET {
        ensure!(*health(&place.extension().await?) == first, "written though nothing changed");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    place.report(GOOD, ("False", "second")).await?;
    let second = place.until("the second message", SOON, |extension| *health(extension) != first).await?;
    let second = health(&second);
    ensure!(second["lastTransitionTime"] == first["lastTransitionTime"], "{first}\n{second}");
    ensure!(second["lastUpdateTime"].as_str() > first["lastUpdateTime"].as_str(), "{first}\n{second}");
    Ok(())
}

/// Reconciled and well, as far as the resource manager says.
async fn healthy(ground: &Ground, name: &str) -> anyhow::Result<Place> {
    let place = Place::new(ground, name).await?;
    place.reconcile(None).await?;
    place.report(GOOD, GOOD).await?;
    until(&place, "True", "HealthCheckSuccessful").await?;
    Ok(place)
}

/// Waits for the condition. The contract gives two periods; ours follows the watch.
async fn until(place: &Place, status: &str, reason: &str) -> anyhow::Result<Value> {
    let is = |extension: &Value| health(extension)["status"] == status && health(extension)["reason"] == reason;
    Ok(health(&place.until(&format!("{status}/{reason}"), SOON, is).await?).clone())
}
