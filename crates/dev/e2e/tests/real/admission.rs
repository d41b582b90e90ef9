//! The webhook for Shoots before the real gardener-apiserver: two replicas with the rights of the rendered charts and nothing more, and the two
//! clusters that a landscape has.

mod garden;
mod replicas;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use e2e::TestEnvironment;
use extension_config::names::EXTENSION_TYPE;
use futures::{StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};
use testbed::gardenlet::Gardenlet;
use testbed::{Progress, wait_for};

use garden::{Garden, Verdict};
use replicas::Replicas;

/// Reconciles, and dry runs, that are under way at a time.
const AT_A_TIME: usize = 8;
/// From a change to what both replicas make of it: the minute in which a token may be old, a round, and some calls.
const ROUND: Duration = Duration::from_secs(120);

#[test]
fn a_gardener_apiserver_refuses_what_a_reconcile_would_refuse() {
    super::in_environment("admission", 0, async |environment, progress| {
        environment.bed.start_other_seed().await?;
        let server = environment.bed.start_gardener_apiserver().await?;
        let garden = Garden::new(server.admin().await?, environment.bed.seed().admin().await?);
        garden.prepare().await.context("what a Shoot needs")?;
        // Stored while nobody looked, as by an earlier version.
        let broken = with_fallback("policy: {Active: none, nonsense: 1}");
        garden.create(&garden::shoot("before", Some(&broken))).await?;
        let mut disabled = garden::shoot("disabled", Some(&broken));
        disabled["spec"]["extensions"][0]["disabled"] = json!(true);
        garden.create(&disabled).await?;

        let replicas = Replicas::start(environment).await?;
        let outcome = judge(environment, &garden, &replicas, progress).await;
        for log in replicas.logs() {
            if outcome.is_err() {
                eprintln!("{log}");
            }
        }
        outcome
    });
}

async fn judge(
    environment: &TestEnvironment,
    garden: &Garden,
    replicas: &Replicas,
    progress: &Progress,
) -> anyhow::Result<()> {
    wait_for("the webhook to be asked", ROUND, || async {
        let verdict = garden.dry_run(&garden::shoot("asked", Some(&with_fallback("nonsense: {}")))).await?;
        ensure!(matches!(verdict, Verdict::Refused(_)), "{verdict:?}");
        Ok(Some(()))
    })
    .await?;
    let Verdict::Refused(message) =
        garden.dry_run(&garden::shoot("asked", Some(&with_fallback("policy: {Active: nonsense}")))).await?
    else {
        bail!("a broken configuration was admitted")
    };
    ensure!(message.contains("spec.extensions[0].providerConfig.configs.fallback: policy.Active: "), "{message}");
    progress.step(&format!("kubectl apply says: {message}"));

    // The replicas read the new token within a minute; the rotation below needs it.
    replicas::replace_garden_account(environment).await?;
    corpus(environment, garden, progress).await?;
    examples(garden, progress).await?;
    ratchet(garden).await?;
    progress.step("what was in effect passes unchanged, and nothing else does");
    garden.ensure_others_pass().await?;
    largest(garden, replicas, progress).await?;
    flood(garden, replicas, progress).await?;
    rotation(garden, replicas, progress).await?;
    away(garden, replicas, progress).await
}

fn with_fallback(text: &str) -> Value {
    json!({ "configs": { "fallback": text } })
}

/// Each configuration that is kept for tests, and each example: the webhook's verdict and that of the real controller, which has no base configuration here.
async fn corpus(environment: &TestEnvironment, garden: &Garden, progress: &Progress) -> anyhow::Result<()> {
    let configurations = configurations()?;
    let judged: Vec<(bool, String)> = futures::stream::iter(configurations.iter().enumerate())
        .map(|(index, (name, config))| async move {
            let applied = garden.dry_run(&garden::shoot("corpus", Some(config))).await.context(name.clone())?;
            let reconciled = reconcile(environment, index, config).await.with_context(|| name.clone())?;
            let finding = match (&applied, &reconciled) {
                (Verdict::Admitted(_), None) | (Verdict::Refused(_), Some(_)) => String::new(),
                _ => format!("{name}: applied {applied:?}, reconciled {reconciled:?}"),
            };
            anyhow::Ok((reconciled.is_none(), finding))
        })
        .buffer_unordered(AT_A_TIME)
        .try_collect()
        .await?;
    let findings: Vec<&str> = judged.iter().map(|(_, finding)| finding.as_str()).filter(|it| !it.is_empty()).collect();
    ensure!(findings.is_empty(), "{}", findings.join("\n"));
    let valid = judged.iter().filter(|(valid, _)| *valid).count();
    ensure!(valid >= 40 && judged.len() - valid >= 60, "{valid} of {} are valid", judged.len());
    progress.step(&format!(
        "{} configurations, {valid} of them valid: each verdict is that of the controller's reconcile",
        judged.len()
    ));
    Ok(())
}

/// The patches of a Shoot in `examples/provider-config/`, by name.
fn patches() -> anyhow::Result<Vec<(String, Value)>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(crate::root().join("examples/provider-config"))? {
        let file = entry?.path();
        if file.extension().is_some_and(|extension| extension == "yaml") {
            let patch = serde_saphyr::from_str(&std::fs::read_to_string(&file)?).with_context(|| name(&file))?;
            all.push((name(&file), patch));
        }
    }
    all.sort_by(|(one, _), (other, _)| one.cmp(other));
    ensure!(!all.is_empty(), "no example of a configuration");
    Ok(all)
}

/// Each example of a Shoot and of a configuration as its README says: the Shoot created, and patched with one configuration after the other.
async fn examples(garden: &Garden, progress: &Progress) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(crate::root().join("examples/shoot.yaml"))?;
    let shoot: Value = serde_saphyr::from_str(&text)?;
    garden.create(&shoot).await.context("examples/shoot.yaml")?;
    let name = shoot["metadata"]["name"].as_str().context("a Shoot without a name")?;
    let patches = patches()?;
    for (file, patch) in &patches {
        garden.change(name, patch).await.with_context(|| file.clone())?;
    }
    garden.delete(name).await?;
    progress.step(&format!("gardener-apiserver has taken examples/shoot.yaml and {} patches of it", patches.len()));
    Ok(())
}

fn configurations() -> anyhow::Result<Vec<(String, Value)>> {
    let crates = crate::root().join("crates");
    let mut all = Vec::new();
    let texts = |folder: &str| -> anyhow::Result<Vec<(String, String)>> {
        let mut texts = Vec::new();
        for entry in std::fs::read_dir(crates.join(folder))? {
            let path = entry?.path();
            texts.push((name(&path), std::fs::read_to_string(&path)?));
        }
        Ok(texts)
    };
    for folder in ["extension-config/corpus/valid", "extension-config/corpus/broken"] {
        all.extend(texts(folder)?.into_iter().map(|(name, text)| (name, with_fallback(&text))));
    }
    for folder in ["nri-policy/corpus/valid", "nri-policy/corpus/broken"] {
        for (name, text) in texts(folder)? {
            // What is no YAML cannot stand in a Shoot.
            let Ok(policy) = serde_saphyr::from_str::<Value>(&text) else { continue };
            all.push((
                name,
                json!({ "apiVersion": "cri-resmgr.extensions.gardener.cloud/v1alpha1", "kind": "CriResourceManagerConfig",
                "backend": "nri-plugins", "nri": { "policies": { "default": policy } } }),
            ));
        }
    }
    for (name, patch) in patches()? {
        all.push((
            format!("examples/provider-config/{name}"),
            patch["spec"]["extensions"][0]["providerConfig"].clone(),
        ));
    }
    Ok(all)
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// What the controller says to it: the error's text, if it is the owner's mistake.
async fn reconcile(environment: &TestEnvironment, index: usize, config: &Value) -> anyhow::Result<Option<String>> {
    let (namespace, seed) = (format!("shoot--corpus--{index}"), environment.bed.seed().admin().await?);
    garden::namespace(&seed, &namespace, &json!({ "gardener.cloud/role": "shoot" })).await?;
    let gardenlet = Gardenlet::new(seed, &namespace, EXTENSION_TYPE);
    gardenlet.sync_cluster(&environment.shoot(Some(config), false)).await?;
    gardenlet.deploy_extension("reconcile", Some(config)).await?;
    let extensions = gardenlet.extensions();
    wait_for("the controller's verdict", ROUND, || async {
        let list = extensions.list(&kube::api::ListParams::default()).await?;
        let status = list.items.first().map(|extension| extension.data["status"].clone()).unwrap_or_default();
        if status["lastOperation"]["state"] == "Succeeded" {
            return Ok(Some(None));
        }
        let error = &status["lastError"];
        ensure!(error["codes"] == json!(["ERR_CONFIGURATION_PROBLEM"]), "{status}");
        Ok(Some(Some(error["description"].to_string())))
    })
    .await
}

async fn ratchet(garden: &Garden) -> anyhow::Result<()> {
    let annotate = json!({ "metadata": { "annotations": { "example.com/a": "b" } } });
    garden.change("before", &annotate).await.context("another change of a Shoot with a broken configuration")?;
    let other =
        json!([{ "type": EXTENSION_TYPE, "providerConfig": with_fallback("policy: {Active: none, nonsense: 2}") }]);
    garden.ensure_refused("before", &json!({ "spec": { "extensions": other } })).await?;
    garden.change("disabled", &annotate).await.context("another change of a Shoot that has it switched off")?;
    let broken = with_fallback("policy: {Active: none, nonsense: 1}");
    let enabled = json!([{ "type": EXTENSION_TYPE, "providerConfig": broken, "disabled": false }]);
    garden.ensure_refused("disabled", &json!({ "spec": { "extensions": enabled } })).await?;
    let good = json!([{ "type": EXTENSION_TYPE, "providerConfig": with_fallback("policy: {Active: none}") }]);
    garden.change("disabled", &json!({ "spec": { "extensions": good } })).await.context("mended and enabled")?;
    // Deletion begins with a change, and goes through changes of finalizers.
    garden.delete("before").await.context("the deletion of a Shoot with a broken configuration")
}

/// Configurations of the largest size that is allowed, full of balloon types, and one that is refused for its size.
async fn largest(garden: &Garden, replicas: &Replicas, progress: &Progress) -> anyhow::Result<()> {
    let dense = |kib: usize| {
        let mut text =
            "policy:\n  Active: balloons\n  ReservedResources: {CPU: 1}\n  balloons:\n    BalloonTypes:\n".to_owned();
        for index in 0.. {
            let line =
                format!("    - {{Name: type-{index}, MinCPUs: 0, MaxCPUs: 1, Namespaces: [namespace-{index}]}}\n");
            if text.len() + line.len() > kib * 1024 {
                break;
            }
            text += &line;
        }
        json!({ "configs": { "fallback": text, "group.a": text, "group.b": text, "group.c": text } })
    };
    let largest = garden::shoot("large", Some(&dense(62)));
    let before = replicas.reviews().await?;
    let mut times = Vec::new();
    for _ in 0..100 {
        let start = Instant::now();
        let verdict = garden.dry_run(&largest).await?;
        times.push(start.elapsed());
        ensure!(matches!(verdict, Verdict::Admitted(_)), "a large one: {verdict:?}");
    }
    times.sort();
    let after = replicas.reviews().await?;
    let (reviews, quick) = (after.all - before.all, after.quick - before.quick);
    ensure!(reviews == 100, "{reviews} reviews of 100");
    progress.step(&format!(
        "of 100 reviews of a Shoot of {} KiB {quick} took at most 100 ms; with gardener-apiserver's own part {:.0?} (median), {:.0?} (the slowest)",
        largest.to_string().len() / 1024,
        times[50],
        times[99]
    ));
    let too_large = garden::shoot("large", Some(&dense(66)));
    let verdict = garden.dry_run(&too_large).await?;
    ensure!(matches!(&verdict, Verdict::Refused(why) if why.contains("262144")), "{verdict:?}");
    Ok(())
}

/// Bodies of whoever can reach the port, while Shoots are applied.
async fn flood(garden: &Garden, replicas: &Replicas, progress: &Progress) -> anyhow::Result<()> {
    let flood = replicas.flood();
    let shoot = garden::shoot("flood", Some(&with_fallback("policy: {Active: none}")));
    let mut admitted = 0;
    let end = Instant::now() + Duration::from_secs(10);
    while Instant::now() < end {
        let verdict = garden.dry_run(&shoot).await.context("during a flood")?;
        ensure!(matches!(verdict, Verdict::Admitted(_)), "during a flood: {verdict:?}");
        admitted += 1;
    }
    let sent = flood.stop().await;
    let peak = replicas.peak_kib()?;
    progress.step(&format!("{admitted} Shoots were admitted during {sent} hostile bodies; peak {peak:?} KiB"));
    ensure!(sent >= 20 && admitted >= 5, "{sent} hostile bodies, {admitted} Shoots");
    // The chart's limit.
    ensure!(peak.iter().all(|peak| *peak < 192 * 1024), "{peak:?} KiB");
    Ok(())
}

/// A new authority, and a lost Secret, under load.
async fn rotation(garden: &Garden, replicas: &Replicas, progress: &Progress) -> anyhow::Result<()> {
    let load = garden.load(&garden::shoot("load", Some(&with_fallback("policy: {Active: none}"))));
    let before = replicas.secret().await?;
    replicas.begin_rotation(&before).await?;
    let after = wait_for("certificates of the new authority", ROUND, || async {
        let secret = replicas.secret().await?;
        ensure!(secret.server != before.server, "the server's certificate is the former one");
        Ok(Some(secret))
    })
    .await?;
    replicas.ensure_served(&after.authority, ROUND).await?;
    progress.step("a new authority: both replicas serve its certificate");

    replicas.clear_secret().await?;
    let saved = wait_for("the Secret to be filled again", ROUND, || async {
        let secret = replicas.secret().await?;
        ensure!(!secret.authority.is_empty(), "the Secret is empty");
        Ok(Some(secret))
    })
    .await?;
    ensure!(saved.authority != after.authority && saved.server == after.server, "what was served does not go on");
    wait_for("both authorities to be published", ROUND, || async {
        let bundle = garden.bundle().await?;
        ensure!([&saved.authority, &after.authority].iter().all(|it| bundle.contains(it.as_str())), "not yet");
        Ok(Some(()))
    })
    .await?;
    // Gardener's resource manager comes by every 15 s and leaves it as it is.
    replicas.touch_managed_resource().await?;
    ensure!(replicas.secret().await? == saved, "somebody else wrote the Secret");
    progress.step("a lost Secret is filled again, and what was served goes on");

    garden.delete_configuration().await?;
    wait_for("the webhook configuration to be there again", ROUND, || async { garden.bundle().await.map(Some) })
        .await?;
    let (reviews, failed) = load.stop().await;
    ensure!(failed.is_empty() && reviews > 100, "{} of {reviews} failed: {:?}", failed.len(), failed.first());
    progress.step(&format!("{reviews} Shoots were applied meanwhile, and none was refused"));
    Ok(())
}

/// What a garden without the webhook can and cannot do.
async fn away(garden: &Garden, replicas: &Replicas, progress: &Progress) -> anyhow::Result<()> {
    let shoot = garden::shoot("away", Some(&with_fallback("policy: {Active: none}")));
    replicas.kill(0).await?;
    let verdict = garden.dry_run(&shoot).await.context("with one replica")?;
    ensure!(matches!(verdict, Verdict::Admitted(_)), "with one replica: {verdict:?}");
    replicas.kill(1).await?;
    let verdict = garden.dry_run(&shoot).await.context("with none")?;
    let Verdict::Failed(why) = &verdict else { bail!("{verdict:?}") };
    garden.ensure_others_pass().await.context("Shoots without the extension")?;
    progress.step(&format!("without the webhook: {why}; Shoots without the extension pass"));
    Ok(())
}
