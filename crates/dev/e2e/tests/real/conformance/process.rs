//! Start, change of the base configuration, rights, and two replicas.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use extension_config::names;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use testbed::wait_for;

use super::namespace_fixture::{NamespaceFixture, SOON, is_untouched, last};
use super::{BUNDLE, Fixture, QUIET};

/// Where the bed installs the chart.
pub(super) const CONTROLLER_NAMESPACE: &str = "extension-cri-resmgr-extension-bed";

/// There is a ConfigMap with the base configuration, as the chart makes it; its presence at the start changes nothing.
pub(super) async fn conformance_16_start_up(fixture: &Fixture) -> anyhow::Result<()> {
    let (failed, done) =
        (NamespaceFixture::new(fixture, "c16-failed").await?, NamespaceFixture::new(fixture, "c16-done").await?);
    fixture.take_controller("seed-controller")?.stop().await?;
    for (ns, state) in [(&failed, "Error"), (&done, "Succeeded")] {
        ns.create(json!({}), json!({})).await?;
        let last = json!({ "type": "Create", "state": state, "progress": 50, "description": "", "lastUpdateTime": "2026-01-01T00:00:00Z" });
        ns.patch_status(json!({ "lastOperation": last, "observedGeneration": 1 })).await?;
    }
    fixture.start_controller("seed-controller", &[], BUNDLE).await?;
    failed.until_last("Create/Succeeded", Duration::from_secs(40)).await?;
    tokio::time::sleep(QUIET).await;
    let extension = done.extension().await?;
    let untouched = extension["status"]["lastOperation"]["lastUpdateTime"] == "2026-01-01T00:00:00Z";
    ensure!(untouched && extension["metadata"]["finalizers"].is_null(), "{extension}");
    Ok(())
}

/// Also: an Extension that was never worked on is no reason to crash, as it is for the original.
pub(super) async fn conformance_28_base_configuration(fixture: &Fixture) -> anyhow::Result<()> {
    let places = [NamespaceFixture::new(fixture, "c28-a").await?, NamespaceFixture::new(fixture, "c28-b").await?];
    for ns in &places {
        ns.reconcile(None).await?;
    }
    let waiting = NamespaceFixture::new(fixture, "c28-waiting").await?;
    waiting.ask("wait-for-state").await?;
    let maps: Api<ConfigMap> = Api::namespaced(fixture.seed.clone(), CONTROLLER_NAMESPACE);
    // The seed's resource manager would put the chart's text back.
    let ignored = json!({ "resources.gardener.cloud/ignore": "true" });
    annotate_chart(fixture, &ignored).await?;
    let patch = Patch::Merge(json!({ "data": { "EXTRA_OPTIONS": "-metrics-interval=19s" } }));
    maps.patch(names::BASE_CONFIG_MAP, &PatchParams::default(), &patch).await?;
    for ns in &places {
        ns.until_last("Reconcile/Succeeded", SOON).await?;
        ensure!(ns.manifests().await?.contains("-metrics-interval=19s"), "the base configuration did not arrive");
    }
    ensure!(is_untouched(&waiting.extension().await?), "an Extension without its state was worked on");
    fixture.controllers()[0].1.ensure_alive()?;
    let patch = Patch::Merge(json!({ "data": { "EXTRA_OPTIONS": null } }));
    maps.patch(names::BASE_CONFIG_MAP, &PatchParams::default(), &patch).await?;
    annotate_chart(fixture, &json!({ "resources.gardener.cloud/ignore": null })).await
}

/// Field case E03: the operator's mistake costs no shoot what it has, also when the controller starts with it; only who has nothing waits.
pub(super) async fn conformance_40_a_faulty_base_configuration_at_the_start(fixture: &Fixture) -> anyhow::Result<()> {
    let (old, new) =
        (NamespaceFixture::new(fixture, "c40-old").await?, NamespaceFixture::new(fixture, "c40-new").await?);
    old.reconcile(None).await?;
    let before = old.manifests().await?;
    let maps: Api<ConfigMap> = Api::namespaced(fixture.seed.clone(), CONTROLLER_NAMESPACE);
    annotate_chart(fixture, &json!({ "resources.gardener.cloud/ignore": "true" })).await?;
    let base = |options: Value| {
        let patch = Patch::Merge(json!({ "data": { "EXTRA_OPTIONS": options } }));
        let maps = maps.clone();
        async move { maps.patch(names::BASE_CONFIG_MAP, &PatchParams::default(), &patch).await }
    };
    fixture.take_controller("seed-controller")?.stop().await?;
    base(json!("--relay-socket=/run/x.sock")).await?;
    fixture.start_controller("seed-controller", &[], BUNDLE).await?;
    old.reconcile(None).await?;
    let warnings = old.extension().await?["status"]["providerStatus"]["warnings"].to_string();
    ensure!(warnings.contains("base configuration is faulty") && warnings.contains("relay-socket"), "{warnings}");
    ensure!(old.manifests().await? == before, "what was delivered changed");
    new.ask("reconcile").await?;
    new.until_last("Create/Error", SOON).await?;
    let error = new.extension().await?["status"]["lastError"].clone();
    ensure!(error["codes"].is_null(), "nobody may be blamed: {error}");
    ensure!(error["description"].to_string().contains("base configuration"), "{error}");
    base(Value::Null).await?;
    new.until_last("Create/Succeeded", Duration::from_secs(120)).await?;
    old.reconcile(None).await?;
    let warnings = old.extension().await?["status"]["providerStatus"]["warnings"].to_string();
    ensure!(!warnings.contains("base configuration"), "{warnings}");
    annotate_chart(fixture, &json!({ "resources.gardener.cloud/ignore": null })).await
}

/// Without the right to write the subresource no status shows, whatever else the controller may write.
pub(super) async fn conformance_27_status_only_through_its_subresource(fixture: &Fixture) -> anyhow::Result<()> {
    annotate_chart(fixture, &json!({ "resources.gardener.cloud/ignore": "true" })).await?;
    let roles: Api<ClusterRole> = Api::all(fixture.seed.clone());
    let listed = roles.list(&ListParams::default()).await?;
    let is_ours = |role: &&ClusterRole| role.rules.iter().flatten().any(|rule| has(rule, "extensions/status"));
    let ours =
        listed.iter().filter(|role| role.name_any().contains("cri-resmgr")).find(is_ours).context("no ClusterRole")?;
    let without: Vec<_> = ours.rules.iter().flatten().filter(|rule| !has(rule, "extensions/status")).collect();
    let set = |rules: Value| Patch::Merge(json!({ "rules": rules }));
    roles.patch(&ours.name_any(), &PatchParams::default(), &set(json!(without))).await?;
    let ns = NamespaceFixture::new(fixture, "c27").await?;
    // The authorizer takes a moment to notice.
    tokio::time::sleep(Duration::from_secs(2)).await;
    ns.ask("reconcile").await?;
    let path = fixture.bed.seed().audit_log();
    let is_refused = |event: &Value| {
        let object = &event["objectRef"];
        object["namespace"] == "shoot--p--c27"
            && object["subresource"] == "status"
            && event["stage"] == "ResponseComplete"
            && event["responseStatus"]["code"] == 403
    };
    let tries = || {
        let log = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        Ok::<_, anyhow::Error>(events.filter(is_refused).count())
    };
    wait_for("writes of the status to be refused", SOON, || async { Ok((tries()? > 0).then_some(())) }).await?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    // The status says Processing before anything is done: nothing was.
    let extension = ns.extension().await?;
    ensure!(extension["status"].is_null() && extension["metadata"]["finalizers"].is_null(), "{extension}");
    ensure!(ns.gardenlet.managed_resources().list(&ListParams::default()).await?.items.is_empty(), "it has begun");
    let tries = tries()?;
    ensure!((2..=15).contains(&tries), "{tries} tries within seconds of what is refused: it must back off");
    roles.patch(&ours.name_any(), &PatchParams::default(), &set(json!(ours.rules))).await?;
    ns.until_last("Create/Succeeded", Duration::from_secs(60)).await?;
    annotate_chart(fixture, &json!({ "resources.gardener.cloud/ignore": null })).await
}

pub(super) async fn conformance_25_two_replicas(fixture: &Fixture) -> anyhow::Result<()> {
    let ns = NamespaceFixture::new(fixture, "c25").await?;
    ns.reconcile(None).await?;
    let before = ns.resource().await?;
    let leases: Api<Lease> = Api::namespaced(fixture.seed.clone(), CONTROLLER_NAMESPACE);
    let holder = || async {
        let lease = leases.get("cri-resmgr-leader-election").await?;
        Ok::<_, anyhow::Error>(lease.spec.and_then(|spec| spec.holder_identity).unwrap_or_default())
    };
    let leader = holder().await?;
    let ports = ["--metrics-bind-address=:9080".to_owned(), "--health-bind-address=:9081".to_owned()];
    fixture.start_controller("seed-controller-2", &ports, BUNDLE).await?;
    for _ in 0..5 {
        ns.reconcile(None).await?;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let writes = |name: &str| {
        let all = fixture.controllers();
        let (_, daemon) = all.iter().find(|(found, _)| found == name).with_context(|| format!("no {name}"))?;
        daemon.ensure_alive()?;
        // Logged with the first write of each operation.
        Ok::<_, anyhow::Error>(daemon.log_tail(100_000).contains("started the operation"))
    };
    ensure!(writes("seed-controller")? && !writes("seed-controller-2")?, "it is not the leader alone who works");
    ensure!(holder().await? == leader, "the leader changed without need");

    let killed = fixture.take_controller("seed-controller")?;
    killed.signal(Signal::SIGKILL)?;
    let start = Instant::now();
    let timestamp = ns.ask("reconcile").await?;
    ns.gardenlet.wait_ready(&timestamp, Duration::from_secs(25)).await.context("no takeover")?;
    fixture.progress.step(&format!("another replica took over after {:.1?}", start.elapsed()));
    ensure!(holder().await? != leader && writes("seed-controller-2")?);
    let extension = ns.extension().await?;
    ensure!(extension["metadata"]["finalizers"] == json!([names::FINALIZER]), "{}", extension["metadata"]);
    ensure!(last(&extension) == "Reconcile/Succeeded", "{}", extension["status"]);
    ensure!(ns.resource().await? == before, "the ManagedResource was written for nothing");
    let count = ns.gardenlet.managed_resources().list(&ListParams::default()).await?.items.len();
    ensure!(count == 1, "{count} ManagedResources");
    Ok(())
}

fn has(rule: &k8s_openapi::api::rbac::v1::PolicyRule, resource: &str) -> bool {
    rule.resources.iter().flatten().any(|found| found == resource)
}

/// Annotates the ManagedResource out of which the chart was installed.
async fn annotate_chart(fixture: &Fixture, annotations: &Value) -> anyhow::Result<()> {
    let garden = testbed::gardenlet::Gardenlet::new(fixture.seed.clone(), "garden", names::EXTENSION_TYPE);
    let patch = Patch::Merge(json!({ "metadata": { "annotations": annotations } }));
    garden.managed_resources().patch(names::EXTENSION_TYPE, &PatchParams::default(), &patch).await?;
    Ok(())
}
