use super::*;

const GOOD: &str = "policy:\n  Active: none\n";
const BAD: &str = "policy:\n  Active: nonsense\n";

fn data(text: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("fallback".to_owned(), text.to_owned())])
}

fn shoot_config(text: &str) -> Value {
    json!({"configs": {"fallback": text}})
}

#[test]
fn a_faulty_base_configuration_leaves_the_last_good_one_in_effect() {
    let base = BaseConfig::default();
    assert_eq!(base.update(Some(data(GOOD))), Change { changed: true, problems: None });
    assert_eq!(base.update(Some(data(GOOD))), Change { changed: false, problems: None });
    let change = base.update(Some(data(BAD)));
    assert!(change.changed && change.problems.is_some_and(|problems| !problems.blames_the_shoot()));

    let resolved = base.resolve(None, &Facts::default()).unwrap();
    assert_eq!(resolved.effective.daemon.fallback_config.as_deref(), Some(GOOD));
    assert!(resolved.base_problems.is_some());
    // The shoot's own mistakes come first, and its own good configuration is not touched by the operator's fault.
    assert!(base.resolve(Some(&shoot_config(BAD)), &Facts::default()).unwrap_err().blames_the_shoot());
    assert!(base.resolve(Some(&shoot_config(GOOD)), &Facts::default()).unwrap().base_problems.is_none());
}

#[test]
fn a_base_configuration_that_was_never_good_is_an_error_without_blame() {
    let base = BaseConfig::default();
    base.update(Some(data(BAD)));
    assert!(!base.resolve(None, &Facts::default()).unwrap_err().blames_the_shoot());
    // Gone again: nothing configured is good.
    base.update(None);
    assert!(base.resolve(None, &Facts::default()).is_ok());
}

#[test]
fn the_extensions_copy_comes_before_the_shoot() {
    let shoot: Shoot = serde_json::from_value(json!({"spec": {"extensions": [
        {"type": "other", "providerConfig": 1}, {"type": "cri-resmgr-extension", "providerConfig": 2}]}}))
    .unwrap();
    let mut extension = Extension::new("e", gardener_api::ExtensionSpec::default());
    assert_eq!(provider_config(&extension, None), None);
    assert_eq!(provider_config(&extension, Some(&shoot)), Some(&json!(2)));
    extension.spec.provider_config = Some(json!(3));
    assert_eq!(provider_config(&extension, Some(&shoot)), Some(&json!(3)));
}

#[test]
fn workers_are_known_from_the_shoot() {
    let shoot: Shoot =
        serde_json::from_value(json!({"spec": {"kubernetes": {"version": "1.33.2"}, "provider": {"workers": [
            {"name": "a"},
            {"name": "b", "cri": {"name": "containerd"}, "kubernetes": {"version": "1.32.9"}},
            {"name": "c", "kubernetes": {"version": "odd"}},
        ]}}}))
        .unwrap();
    let worker = |name: &str, cri: Option<&str>, kubernetes| WorkerFacts {
        name: name.into(),
        cri: cri.map(str::to_owned),
        kubernetes,
    };
    assert_eq!(
        facts(Some(&shoot)).workers,
        [worker("a", None, Some((1, 33))), worker("b", Some("containerd"), Some((1, 32))), worker("c", None, None)]
    );
    assert_eq!(facts(None), Facts::default());
}

#[test]
fn the_status_tells_sources_and_warnings_but_no_text() {
    let base = BaseConfig::default();
    base.update(Some(data(GOOD)));
    let own = json!({"configs": {"default": "policy: {Active: static, ReservedResources: {CPU: 1}}"}});
    let resolved = base.resolve(Some(&own), &Facts::default()).unwrap();
    let status = provider_status(&resolved.effective);
    assert_eq!(status["configs"], json!({"default": "shoot", "fallback": "base"}));
    assert_eq!(status["warnings"].as_array().unwrap().len(), 1);
    assert!(!status.to_string().contains("ReservedResources"));
}
