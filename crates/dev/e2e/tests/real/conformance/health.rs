//! What gardenlet's care controller reads: the health condition, and the heartbeat.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};
use testbed::wait_for;

use super::namespace_fixture::{NamespaceFixture, SOON, health};
use super::removal::prove_removal;
use super::{Fixture, QUIET};

const GOOD: (&str, &str) = ("True", "");

pub(super) async fn conformance_20_heartbeat(fixture: &Fixture) -> anyhow::Result<()> {
    let leases: Api<Lease> = Api::namespaced(fixture.seed.clone(), super::process::CONTROLLER_NAMESPACE);
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

pub(super) async fn conformance_21_missing_and_healthy(fixture: &Fixture) -> anyhow::Result<()> {
    let ns = healthy(fixture, "c21").await?;
    ns.gardenlet
        .managed_resources()
        .delete(extension_config::names::SHOOT_MANAGED_RESOURCE, &kube::api::DeleteParams::default())
        .await?;
    let missing = until(&ns, "False", "HealthCheckUnsuccessful").await?;
    ensure!(missing["message"].as_str().is_some_and(|text| text.contains(&ns.namespace)), "{missing}");
    ns.reconcile(None).await?;
    ns.report(GOOD, GOOD).await?;
    until(&ns, "True", "HealthCheckSuccessful").await?;
    Ok(())
}

pub(super) async fn conformance_22_invalid_object(fixture: &Fixture) -> anyhow::Result<()> {
    let ns = healthy(fixture, "c22").await?;
    let message =
        r#"Error during apply of object "v1/ConfigMap/kube-system/x": ConfigMap "x" is invalid: data: Invalid value"#;
    ns.report(("False", message), GOOD).await?;
    let condition = until(&ns, "False", "HealthCheckUnsuccessful").await?;
    ensure!(condition["codes"] == json!(["ERR_CONFIGURATION_PROBLEM"]), "{condition}");
    Ok(())
}

pub(super) async fn conformance_23_hibernation(fixture: &Fixture) -> anyhow::Result<()> {
    let ns = healthy(fixture, "c23").await?;
    ns.report(GOOD, ("False", "broken")).await?;
    until(&ns, "False", "HealthCheckUnsuccessful").await?;
    ns.cluster(|shoot| shoot["spec"]["hibernation"] = json!({ "enabled": true })).await?;
    until(&ns, "True", "HealthCheckSuccessful").await?;
    ns.cluster(|shoot| shoot["spec"]["hibernation"] = json!({ "enabled": false })).await?;
    until(&ns, "False", "HealthCheckUnsuccessful").await?;
    Ok(())
}

/// Field case N20: what the Shoot tells is known before a node says it.
pub(super) async fn conformance_41_pools_that_the_shoot_rules_out(fixture: &Fixture) -> anyhow::Result<()> {
    let ns = NamespaceFixture::new(fixture, "c41").await?;
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
    ns.cluster(pools([json!({}), pinned.clone()])).await?;
    ns.reconcile(None).await?;
    let status = ns.extension().await?["status"]["providerStatus"].clone();
    ensure!(status["leftAlone"][0]["pool"] == "pinned" && status["leftAlone"][1].is_null(), "{status}");
    ensure!(status["leftAlone"][0]["reason"].to_string().contains("cpuManagerPolicy"), "{status}");
    ensure!(ns.manifests().await?.contains(r#"\"excludedPools\":[\"pinned\"]"#), "{}", ns.manifests().await?);
    let events: Api<Event> = Api::namespaced(fixture.seed.clone(), &ns.namespace);
    let reported = || async {
        let events = events.list(&ListParams::default()).await?;
        Ok::<_, anyhow::Error>(
            events.iter().filter(|event| event.reason.as_deref() == Some("WorkerPoolsLeftAlone")).count(),
        )
    };
    ns.reconcile(None).await?;
    ensure!(reported().await? == 1, "told {} times", reported().await?);
    ns.cluster(pools([pinned.clone(), pinned])).await?;
    ns.reconcile(None).await?;
    let status = ns.extension().await?["status"]["providerStatus"].clone();
    ensure!(status["leftAlone"][1]["pool"] == "plain" || status["leftAlone"][0]["pool"] == "plain", "{status}");
    ensure!(status["warnings"].to_string().contains("no node"), "{status}");
    ns.cluster(pools([json!({}), json!({})])).await?;
    ns.reconcile(None).await?;
    let status = ns.extension().await?["status"]["providerStatus"].clone();
    ensure!(status["leftAlone"].is_null() || status["leftAlone"] == json!([]), "{status}");
    ensure!(!ns.manifests().await?.contains("excludedPools"), "{}", ns.manifests().await?);
    Ok(())
}

pub(super) async fn conformance_24_leaving_and_foreign_conditions(fixture: &Fixture) -> anyhow::Result<()> {
    for (name, operation) in [("c24-delete", None), ("c24-migrate", Some("migrate"))] {
        let ns = healthy(fixture, name).await?;
        let time = "2026-01-01T00:00:00Z";
        let foreign = json!({ "type": "Foreign", "status": "Unknown", "reason": "R", "message": "m",
                              "lastTransitionTime": time, "lastUpdateTime": time });
        let all = json!([health(&ns.extension().await?), foreign]);
        ns.patch_status(json!({ "conditions": all })).await?;
        ns.report(GOOD, ("False", "broken")).await?;
        let bad = until(&ns, "False", "HealthCheckUnsuccessful").await?;
        ns.patch_resource(json!({ "metadata": { "finalizers": ["example.org/hold"] } })).await?;
        if let Some(operation) = operation {
            ns.ask(operation).await?;
            ns.until_last("Migrate/Processing", SOON).await?;
        } else {
            ns.gardenlet.delete_extension().await?;
            ns.until_last("Delete/Processing", SOON).await?;
            prove_removal(&ns).await?;
        }
        ns.report(GOOD, GOOD).await?;
        tokio::time::sleep(QUIET).await;
        let extension = ns.extension().await?;
        ensure!(extension["status"]["conditions"] == json!([bad, foreign]), "{name}: {}", extension["status"]);
        ns.patch_resource(json!({ "metadata": { "finalizers": null } })).await?;
    }
    Ok(())
}

/// The original starts every pass without the old condition, so both of its times are always those of the last pass.
pub(super) async fn conformance_quirk_times_are_not_reset(fixture: &Fixture) -> anyhow::Result<()> {
    let ns = healthy(fixture, "times").await?;
    ns.report(GOOD, ("False", "first")).await?;
    let first = until(&ns, "False", "HealthCheckUnsuccessful").await?;
    let start = Instant::now();
    while start.elapsed() < QUIET {
        ensure!(*health(&ns.extension().await?) == first, "written though nothing changed");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    ns.report(GOOD, ("False", "second")).await?;
    let second = ns.until("the second message", SOON, |extension| *health(extension) != first).await?;
    let second = health(&second);
    ensure!(second["lastTransitionTime"] == first["lastTransitionTime"], "{first}\n{second}");
    ensure!(second["lastUpdateTime"].as_str() > first["lastUpdateTime"].as_str(), "{first}\n{second}");
    Ok(())
}

/// Reconciled and well, as far as the resource manager says.
async fn healthy(fixture: &Fixture, name: &str) -> anyhow::Result<NamespaceFixture> {
    let ns = NamespaceFixture::new(fixture, name).await?;
    ns.reconcile(None).await?;
    ns.report(GOOD, GOOD).await?;
    until(&ns, "True", "HealthCheckSuccessful").await?;
    Ok(ns)
}

/// Waits for the condition. The contract gives two periods; ours follows the watch.
async fn until(ns: &NamespaceFixture, status: &str, reason: &str) -> anyhow::Result<Value> {
    let is = |extension: &Value| health(extension)["status"] == status && health(extension)["reason"] == reason;
    Ok(health(&ns.until(&format!("{status}/{reason}"), SOON, is).await?).clone())
}
