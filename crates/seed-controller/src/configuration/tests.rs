use extension_config::desired_state::Backend;
use serde_json::json;

use super::status::{KEPT, provider_status, status_of_kept};
use super::*;

const GOOD: &str = "policy:\n  Active: none\n";
const BAD: &str = "policy:\n  Active: nonsense\n";
const GOOD_AS_READ: &str = "{\"policy\":{\"Active\":\"none\"}}\n";

fn data(text: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("fallback".to_owned(), text.to_owned())])
}

fn shoot_config(text: &str) -> Value {
    json!({"configs": {"fallback": text}})
}

fn owner(provider_config: Option<&Value>) -> Owner {
    let provider_config = provider_config.map(RawJson::from);
    let spec = gardener_api::ExtensionSpec { provider_config, ..Default::default() };
    Owner { extension: Arc::new(Extension::new("e", spec)), shoot: None }
}

async fn resolved(base: &BaseConfig, provider_config: Option<Value>) -> Result<Resolved, Problems> {
    match base.resolve(provider_config, Facts::default()).await {
        Ok(resolved) => Ok(resolved),
        Err(Unresolved::Faulty(problems)) => Err(problems),
        Err(Unresolved::Late) => panic!("late"),
    }
}

#[tokio::test]
async fn a_faulty_base_configuration_leaves_the_last_good_one_in_effect() {
    let base = BaseConfig::default();
    assert_eq!(base.update(Some(data(GOOD))).await, Change { changed: true, problems: None });
    assert_eq!(base.update(Some(data(GOOD))).await, Change { changed: false, problems: None });
    let change = base.update(Some(data(BAD))).await;
    assert!(change.changed && change.problems.is_some_and(|problems| !problems.blames_the_shoot()));

    let found = resolved(&base, None).await.unwrap();
    let Backend::CriResmgr(daemon) = &found.effective.backend else { panic!("{found:?}") };
    assert_eq!(daemon.fallback_config.as_deref(), Some(GOOD_AS_READ));
    assert!(found.base_problems.is_some());
    // The shoot's own mistakes come first, and its own good configuration is not touched by the operator's fault.
    assert!(resolved(&base, Some(shoot_config(BAD))).await.unwrap_err().blames_the_shoot());
    assert!(resolved(&base, Some(shoot_config(GOOD))).await.unwrap().base_problems.is_none());
}

#[tokio::test]
async fn a_base_configuration_that_was_never_good_is_an_error_without_blame() {
    let base = BaseConfig::default();
    base.update(Some(data(BAD))).await;
    assert!(!resolved(&base, None).await.unwrap_err().blames_the_shoot());
    // Gone again: nothing configured is good.
    base.update(None).await;
    assert!(resolved(&base, None).await.is_ok());
}

/// Field case D09: the Extension's copy counts. Where it has none the Shoot's is taken, and at once.
#[test]
fn the_extensions_copy_comes_before_the_shoot() {
    let shoot: Shoot = serde_json::from_value(json!({"spec": {"extensions": [
        {"type": "other", "providerConfig": 1}, {"type": "cri-resmgr-extension", "providerConfig": 2}]}}))
    .unwrap();
    let mut extension = Extension::new("e", gardener_api::ExtensionSpec::default());
    assert_eq!(provider_config(&extension, None), None);
    assert_eq!(provider_config(&extension, Some(&shoot)).map(RawJson::get), Some("2"));
    extension.spec.provider_config = Some(RawJson::from(&json!(3)));
    assert_eq!(provider_config(&extension, Some(&shoot)).map(RawJson::get), Some("3"));
}

#[tokio::test]
async fn the_status_names_sources_and_warnings_but_no_text() {
    let base = BaseConfig::default();
    base.update(Some(data(GOOD))).await;
    let own = json!({"configs": {"default": "policy: {Active: static, ReservedResources: {CPU: 1}}"}});
    let found = resolved(&base, Some(own.clone())).await.unwrap();
    let status = provider_status(&found.effective, &owner(Some(&own)));
    assert_eq!(status["configs"], json!({"default": "shoot", "fallback": "base"}));
    assert_eq!(status["warnings"].as_array().unwrap().len(), 1);
    assert!(!status.to_string().contains("ReservedResources"));
}

/// W2: one hostile configuration holds up nobody else, least of all the event loop.
#[tokio::test]
async fn a_check_that_hangs_holds_up_neither_the_loop_nor_another_check() {
    let base = Arc::new(BaseConfig::default());
    let (release, hold) = std::sync::mpsc::sync_channel::<()>(1);
    let hanging = {
        let base = Arc::clone(&base);
        tokio::spawn(async move { base.off_the_loop(move || hold.recv().is_ok()).await.is_ok() })
    };
    tokio::task::yield_now().await;
    assert!(resolved(&base, Some(shoot_config(GOOD))).await.is_ok());
    assert!(!hanging.is_finished());
    release.send(()).unwrap();
    assert!(hanging.await.unwrap());
}

#[tokio::test]
async fn checks_are_few_and_a_late_one_is_nobodys_fault() {
    let mut base = BaseConfig { deadline: Duration::from_millis(20), ..BaseConfig::default() };
    let places: Vec<_> = (0..CHECKS).map(|_| Arc::clone(&base.checks).try_acquire_owned().unwrap()).collect();
    assert!(base.checks.try_acquire().is_err());
    let late = base.resolve(Some(shoot_config(GOOD)), Facts::default()).await;
    assert!(matches!(late, Err(Unresolved::Late)), "{late:?}");
    drop(places);
    base.deadline = DEADLINE;
    assert!(resolved(&base, Some(shoot_config(GOOD))).await.is_ok());
}

#[test]
fn what_is_in_effect_is_known_by_its_hash_or_by_an_earlier_version_that_was_done_with_it() {
    let extension = |own: &Value, status: &Value| {
        let metadata = json!({"name": "e", "generation": 3});
        let object = json!({"metadata": metadata, "spec": {"providerConfig": own}, "status": status});
        Owner { extension: Arc::new(serde_json::from_value(object).unwrap()), shoot: None }
    };
    let own = shoot_config(BAD);
    let hash = owner(Some(&own)).hash();
    let done = |state: &str, observed: i64, reported: Value| {
        let operation = json!({"description": "", "lastUpdateTime": "2026-01-01T00:00:00Z", "progress": 100, "state": state, "type": "Reconcile"});
        json!({"lastOperation": operation, "observedGeneration": observed, "providerStatus": reported})
    };
    for (status, expected) in [
        (json!({}), false),
        (done("Succeeded", 3, json!({"configs": {}})), true),
        (done("Succeeded", 2, json!({"configs": {}})), false),
        (done("Error", 3, json!({"configs": {}})), false),
        (done("Succeeded", 3, Value::Null), false),
        (done("Error", 2, json!({"inEffect": hash})), true),
        (done("Succeeded", 3, json!({"inEffect": "another"})), false),
    ] {
        assert_eq!(extension(&own, &status).is_in_effect(), expected, "{status}");
    }
    let problems = resolve(None, Some(&own), &Facts::default()).unwrap_err();
    let kept = status_of_kept(&owner(Some(&own)), KEPT, &problems);
    assert!(extension(&own, &done("Error", 1, kept.clone())).is_in_effect(), "and stays so: {kept}");
    assert!(!extension(&shoot_config("other"), &done("Succeeded", 3, kept)).is_in_effect());
}

#[test]
fn a_stop_of_all_switches_is_the_operators_or_the_extensions_or_the_shoots() {
    let base = BaseConfig::default();
    let annotated = |value: &str| BTreeMap::from([(names::HALT_ANNOTATION.to_owned(), value.to_owned())]);
    let reason = |base: &BaseConfig, owner: &Owner| base.halt(owner).map(|halt| halt.reason().to_owned());
    let mut one = owner(None);
    assert_eq!(reason(&base, &one), None);
    let shoot = json!({"metadata": {"annotations": annotated("of the shoot")}, "spec": {}});
    one.shoot = Some(Arc::new(serde_json::from_value(shoot).unwrap()));
    assert_eq!(reason(&base, &one).as_deref(), Some("of the shoot"));
    let mut extension = Extension::clone(&one.extension);
    extension.metadata.annotations = Some(annotated("of the Extension"));
    one.extension = Arc::new(extension);
    assert_eq!(reason(&base, &one).as_deref(), Some("of the Extension"));
    let halt = Halt::of(&annotated("of the operator"));
    assert!(base.set_halt(halt.clone()) && !base.set_halt(halt));
    assert_eq!(reason(&base, &one).as_deref(), Some("of the operator"));
    assert_eq!(reason(&base, &owner(None)).as_deref(), Some("of the operator"));
    assert!(base.set_halt(None));
    assert_eq!(reason(&base, &owner(None)), None);
}
