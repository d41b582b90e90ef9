//! When the controller does what, and what it says of it.

use std::time::Duration;

use anyhow::ensure;
use extension_config::names;
use k8s_openapi::api::core::v1::Event;
use kube::Api;
use kube::api::ListParams;
use serde_json::{Value, json};
use testbed::wait_for;

use super::namespace_fixture::{NamespaceFixture, Record, SOON, annotation, is_untouched, last};
use super::{Fixture, QUIET};

/// Longer than a second: the times of a status have no fractions.
const NEXT_SECOND: Duration = Duration::from_millis(1100);

pub(super) async fn conformance_01_create(fixture: &Fixture) -> anyhow::Result<()> {
    let ns = NamespaceFixture::new(fixture, "c01").await?;
    let record = Record::of(ns.gardenlet.extensions()).await?;
    let extension = ns.reconcile(None).await?;
    ensure!(annotation(&extension).is_none(), "the annotation is still there");
    ensure!(extension["metadata"]["finalizers"] == json!([names::FINALIZER]), "{}", extension["metadata"]);
    let status = &extension["status"];
    ensure!(last(&extension) == "Create/Succeeded" && status["lastOperation"]["progress"] == 100, "{status}");
    ensure!(status["observedGeneration"] == extension["metadata"]["generation"], "{status}");
    ensure!(status.get("lastError").is_none(), "{status}");
    ensure!(record.any(|seen| last(seen) == "Create/Processing"), "the beginning did not show");
    let dropped_early = record.any(|seen| annotation(seen).is_none() && seen["status"].is_null());
    ensure!(!dropped_early, "the request was dropped before the status told of it");
    Ok(())
}

pub(super) async fn conformance_02_reconcile_again(fixture: &Fixture) -> anyhow::Result<()> {
    let ns = NamespaceFixture::new(fixture, "c02").await?;
    let before = ns.reconcile(None).await?;
    tokio::time::sleep(NEXT_SECOND).await;
    let after = ns.reconcile(None).await?;
    ensure!(last(&after) == "Reconcile/Succeeded", "{}", after["status"]);
    // RFC 3339 in UTC: the order of texts is the order of times.
    let time = |extension: &Value| extension["status"]["lastOperation"]["lastUpdateTime"].as_str().map(str::to_owned);
    ensure!(time(&after) > time(&before), "{:?} is not after {:?}", time(&after), time(&before));
    Ok(())
}

pub(super) async fn conformance_03_spec_alone_asks_nothing(fixture: &Fixture) -> anyhow::Result<()> {
    let ns = NamespaceFixture::new(fixture, "c03").await?;
    let before = ns.reconcile(None).await?;
    ns.patch(json!({ "spec": { "providerConfig": { "configs": { "EXTRA_OPTIONS": "-v=2" } } } })).await?;
    tokio::time::sleep(QUIET).await;
    let after = ns.extension().await?;
    ensure!(after["metadata"]["generation"] != before["metadata"]["generation"], "the spec did not change");
    for field in ["lastOperation", "observedGeneration"] {
        ensure!(before["status"][field] == after["status"][field], "{field} changed: {}", after["status"]);
    }
    Ok(())
}

pub(super) async fn conformance_04_other_type(fixture: &Fixture) -> anyhow::Result<()> {
    let ns = NamespaceFixture::new(fixture, "c04").await?;
    ns.create(asks("reconcile"), json!({ "type": "another" })).await?;
    let extension = ns.stays(QUIET).await?;
    ensure!(is_untouched(&extension), "{extension}");
    Ok(())
}

pub(super) async fn conformance_05_classes(fixture: &Fixture) -> anyhow::Result<()> {
    let mut others = Vec::new();
    for (name, class) in [("c05-seed", "seed"), ("c05-garden", "garden")] {
        let ns = NamespaceFixture::new(fixture, name).await?;
        ns.create(asks("reconcile"), json!({ "class": class })).await?;
        others.push(ns);
    }
    let ns = NamespaceFixture::new(fixture, "c05-shoot").await?;
    ns.create(asks("reconcile"), json!({ "class": "shoot" })).await?;
    ns.until_last("Create/Succeeded", SOON).await?;
    tokio::time::sleep(QUIET).await;
    for ns in others {
        let extension = ns.extension().await?;
        ensure!(is_untouched(&extension) && annotation(&extension) == Some("reconcile"), "{extension}");
    }
    Ok(())
}

pub(super) async fn conformance_06_wait_for_state_then_restore(fixture: &Fixture) -> anyhow::Result<()> {
    let ns = NamespaceFixture::new(fixture, "c06").await?;
    ns.ask("wait-for-state").await?;
    let extension = ns.stays(QUIET).await?;
    ensure!(is_untouched(&extension), "{extension}");
    let record = Record::of(ns.gardenlet.extensions()).await?;
    ns.patch_status(json!({ "state": { "kept": true } })).await?;
    let timestamp = ns.ask("restore").await?;
    let extension = json!(ns.gardenlet.wait_ready(&timestamp, SOON).await?);
    ensure!(last(&extension) == "Restore/Succeeded", "{}", extension["status"]);
    ensure!(extension["status"]["state"] == json!({ "kept": true }), "the state was touched");
    let early = record.any(|seen| annotation(seen).is_none() && last(seen) != "Restore/Succeeded");
    ensure!(!early, "the annotation went before the status was Succeeded");
    Ok(())
}

pub(super) async fn conformance_07_failed_shoot(fixture: &Fixture) -> anyhow::Result<()> {
    let ns = NamespaceFixture::new(fixture, "c07").await?;
    ns.cluster(|shoot| shoot["status"]["lastOperation"]["state"] = json!("Failed")).await?;
    ns.ask("reconcile").await?;
    let extension = ns.stays(QUIET).await?;
    ensure!(is_untouched(&extension) && annotation(&extension) == Some("reconcile"), "{extension}");
    ns.cluster(|_| ()).await?;
    ns.reconcile(None).await?;
    Ok(())
}

pub(super) async fn conformance_08_no_cluster(fixture: &Fixture) -> anyhow::Result<()> {
    let ns = NamespaceFixture::bare(fixture, "c08", true).await?;
    ns.ask("reconcile").await?;
    tokio::time::sleep(QUIET).await;
    let extension = ns.extension().await?;
    ensure!(!last(&extension).ends_with("/Succeeded"), "{}", extension["status"]);
    ns.cluster(|_| ()).await?;
    ns.reconcile(None).await?;
    Ok(())
}

/// One story: the error and its form (9), the next attempt shows both that it runs and the error before (11), and a
/// cure is found without being asked (10).
pub(super) async fn conformance_09_to_11_error_retry_and_cure(fixture: &Fixture) -> anyhow::Result<()> {
    let ns = NamespaceFixture::new(fixture, "c09").await?;
    let broken = json!([{ "type": names::EXTENSION_TYPE, "providerConfig": { "configs": 7 } }]);
    ns.cluster(|shoot| shoot["spec"]["extensions"] = broken).await?;
    ns.ask("reconcile").await?;
    let failed = ns.until_last("Create/Error", SOON).await?;
    let (operation, error) = (&failed["status"]["lastOperation"], &failed["status"]["lastError"]);
    ensure!(operation["progress"] == 50 && operation["description"] == error["description"], "{operation}\n{error}");
    ensure!(error["codes"] == json!(["ERR_CONFIGURATION_PROBLEM"]), "{error}");
    ensure!(failed["status"]["observedGeneration"] == failed["metadata"]["generation"], "{}", failed["status"]);
    ensure!(annotation(&failed).is_none(), "the request is still there");

    let record = Record::of(ns.gardenlet.extensions()).await?;
    ns.ask("reconcile").await?;
    ns.until("the second error", SOON, |_| {
        record.any(|seen| {
            last(seen) == "Create/Processing"
                && seen["status"]["lastOperation"]["progress"] == 1
                && seen["status"]["lastError"]["description"] == error["description"]
        })
    })
    .await?;
    ns.until_last("Create/Error", SOON).await?;

    // The same generation of the Shoot: nothing but a retry can find out.
    ns.cluster(|_| ()).await?;
    let cured = ns.until_last("Create/Succeeded", Duration::from_secs(60)).await?;
    ensure!(cured["status"].get("lastError").is_none(), "{}", cured["status"]);
    Ok(())
}

pub(super) async fn conformance_26_no_shoot_namespace(fixture: &Fixture) -> anyhow::Result<()> {
    let ns = NamespaceFixture::bare(fixture, "c26", false).await?;
    let extension = ns.reconcile(None).await?;
    ensure!(last(&extension) == "Create/Succeeded", "{}", extension["status"]);
    Ok(())
}

fn asks(operation: &str) -> Value {
    json!({ "annotations": { "gardener.cloud/operation": operation } })
}

/// A time that the schema takes and that is none: told once, without a code, and everybody is served.
pub(super) async fn conformance_quirk_a_field_of_another_shape_stops_nobody(fixture: &Fixture) -> anyhow::Result<()> {
    let (broken, other) = (NamespaceFixture::new(fixture, "odd").await?, NamespaceFixture::new(fixture, "even").await?);
    broken.ask("wait-for-state").await?;
    let last = json!({ "type": "Create", "state": "Error", "progress": 1, "description": "", "lastUpdateTime": "9999-12-31T23:59:59-23:00" });
    broken.patch_status(json!({ "lastOperation": last })).await?;
    let reported = || {
        fixture.controllers()[0]
            .1
            .log_tail(100_000)
            .lines()
            .filter(|line| line.contains("cannot be read as a whole") && line.contains(&broken.namespace))
            .count()
    };
    wait_for("the broken Extension to be reported", SOON, || async { Ok((reported() > 0).then_some(())) }).await?;
    for number in ["1", "2"] {
        broken.patch(json!({ "metadata": { "labels": { "seen": number } } })).await?;
        other.reconcile(None).await?;
    }
    ensure!(reported() == 1, "it was reported {} times", reported());
    let events: Api<Event> = Api::all(fixture.seed.clone());
    wait_for("the Event about it", SOON, || async {
        let all = events.list(&ListParams::default()).await?;
        let is = |event: &&Event| {
            event.reason.as_deref() == Some("Undecodable")
                && event.involved_object.namespace.as_ref() == Some(&broken.namespace)
        };
        let note = all.items.iter().find(is).and_then(|event| event.message.clone());
        Ok(note.filter(|note| note.contains("status.lastOperation.lastUpdateTime")))
    })
    .await?;
    broken.reconcile(None).await.map(drop)
}
