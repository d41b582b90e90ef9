use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::review;

const BROKEN: &str = "policy: {Active: none, nonsense: 1}";

fn shoot(provider_config: &Value) -> Value {
    json!({
        "apiVersion": "core.gardener.cloud/v1beta1", "kind": "Shoot", "metadata": { "name": "s", "namespace": "garden-p" },
        "spec": {
            "extensions": [
                { "type": "shoot-dns-service" },
                { "type": names::EXTENSION_TYPE, "providerConfig": provider_config },
            ],
            "kubernetes": { "version": "1.28.1" },
            "provider": { "workers": [{ "name": "pool", "cri": { "name": "containerd" } }] },
        },
    })
}

fn with(text: &str) -> Value {
    json!({ "configs": { "fallback": text } })
}

fn edited(mut shoot: Value, pointer: &str, value: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    shoot.pointer_mut(parent).unwrap()[key] = value;
    shoot
}

fn asked(operation: &str, old: Option<&Value>, new: Option<&Value>) -> Verdict {
    let review = json!({ "apiVersion": review::VERSIONS[0], "kind": "AdmissionReview", "request": {
        "uid": "u", "resource": { "group": "core.gardener.cloud", "version": "v1beta1", "resource": "shoots" },
        "operation": operation, "name": "s", "namespace": "garden-p", "object": new, "oldObject": old } });
    judge(&review::read(review.to_string().as_bytes()).unwrap().request)
}

fn create(shoot: &Value) -> Verdict {
    asked("CREATE", None, Some(shoot))
}

fn update(old: &Value, new: &Value) -> Verdict {
    asked("UPDATE", Some(old), Some(new))
}

fn is_denied(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Denied { .. })
}

#[test]
fn a_refusal_names_the_field_in_the_shoot() {
    let Verdict::Denied { message, causes } = create(&shoot(&with(BROKEN))) else { panic!("admitted") };
    let field = "spec.extensions[1].providerConfig.configs.fallback";
    assert!(message.starts_with(&format!("{field}: policy.nonsense: ")), "{message}");
    assert_eq!((causes[0].field.as_str(), causes.len()), (field, 1));
    assert!(causes[0].message.starts_with("policy.nonsense: "), "{causes:?}");

    let Verdict::Denied { message, .. } = create(&shoot(&json!({ "nonsense": 1 }))) else { panic!("admitted") };
    assert!(message.starts_with("spec.extensions[1].providerConfig") && message.contains("nonsense"), "{message}");
}

#[test]
fn a_large_or_deep_configuration_is_refused_with_what_is_allowed() {
    let large = json!({ "configs": { "fallback": "x".repeat(limits::PROVIDER_CONFIG_BYTES) } });
    let mut deep = json!(1);
    for _ in 0..130 {
        deep = json!([deep]);
    }
    for (config, allowed) in [(large, "at most 262144"), (deep, "at most 127 levels")] {
        let Verdict::Denied { message, .. } = create(&shoot(&config)) else { panic!("admitted") };
        assert!(message.starts_with("spec.extensions[1].providerConfig: ") && message.contains(allowed), "{message}");
        assert!(message.len() <= limits::ERROR_BYTES);
    }
}

#[test]
fn depth_and_size_of_other_parts_of_a_shoot_are_admitted() {
    let mut deep = format!("{}1{}", "[".repeat(20_000), "]".repeat(20_000));
    let other = format!(
        r#"{{"spec":{{"networking":{{"providerConfig":{deep}}},"extensions":[{{"type":"other","providerConfig":{deep}}}]}}}}"#
    );
    deep = format!(
        r#"{{"apiVersion":"{}","kind":"AdmissionReview","request":{{"uid":"u","operation":"CREATE",
        "resource":{{"group":"core.gardener.cloud","resource":"shoots"}},"options":{deep},"object":{other}}}}}"#,
        review::VERSIONS[0]
    );
    assert_eq!(judge(&review::read(deep.as_bytes()).unwrap().request), Verdict::SILENT);
}

#[test]
fn what_is_not_judged_is_admitted() {
    let broken = shoot(&with(BROKEN));
    let disabled = edited(broken.clone(), "/spec/extensions/1/disabled", json!(true));
    let deleting = edited(broken.clone(), "/metadata/deletionTimestamp", json!("2026-01-01T00:00:00Z"));
    for shoot in [&disabled, &deleting, &json!({}), &json!(7), &json!({ "spec": { "extensions": "odd" } })] {
        assert_eq!(create(shoot), Verdict::SILENT, "{shoot}");
    }
    assert_eq!(asked("DELETE", Some(&broken), None), Verdict::SILENT);
    assert_eq!(asked("CONNECT", None, Some(&broken)), Verdict::SILENT);
    assert_eq!(asked("UPDATE", Some(&broken), None), Verdict::SILENT);
}

/// A later version that checks more must not stop other changes to a Shoot that works.
#[test]
fn what_was_in_effect_passes_unchanged_and_nothing_else_does() {
    let (good, broken) = (shoot(&with("policy: {Active: none}")), shoot(&with(BROKEN)));
    let disabled = edited(broken.clone(), "/spec/extensions/1/disabled", json!(true));
    let elsewhere = edited(broken.clone(), "/metadata/annotations", json!({ "a": "b" }));
    let absent = edited(broken.clone(), "/spec/extensions", json!([]));
    let moved = edited(broken.clone(), "/spec/extensions", json!([broken["spec"]["extensions"][1]]));
    let worse = shoot(&with("policy: {Active: none, nonsense: 2}"));
    let table = [
        // (before, after, refused)
        (&good, &broken, true),
        (&broken, &broken, false),
        (&broken, &elsewhere, false),
        (&broken, &moved, false),
        (&broken, &worse, true),
        (&broken, &good, false),
        (&broken, &disabled, false),
        // Switched on while it is broken: it was not in effect.
        (&disabled, &broken, true),
        (&absent, &broken, true),
        (&broken, &absent, false),
        (&disabled, &disabled, false),
    ];
    for (index, (before, after, refused)) in table.into_iter().enumerate() {
        assert_eq!(is_denied(&update(before, after)), refused, "{index}");
    }
    // Who creates has no past, whatever the body says.
    assert!(is_denied(&asked("CREATE", Some(&broken), Some(&broken))));
}

#[test]
fn the_order_of_keys_is_no_change() {
    let read = |text: &str| serde_json::from_str::<Box<RawValue>>(text).unwrap();
    let request = |object: &str, former: &str| {
        let shoot = |config: &str| {
            read(&format!(
                r#"{{"spec":{{"extensions":[{{"type":"{}","providerConfig":{config}}}]}}}}"#,
                names::EXTENSION_TYPE
            ))
        };
        let body = format!(
            r#"{{"apiVersion":"{}","kind":"AdmissionReview","request":{{"uid":"u","operation":"UPDATE",
            "resource":{{"group":"core.gardener.cloud","resource":"shoots"}},"object":{},"oldObject":{}}}}}"#,
            review::VERSIONS[0],
            shoot(object),
            shoot(former)
        );
        judge(&review::read(body.as_bytes()).unwrap().request)
    };
    assert!(!is_denied(&request(r#"{"a":1,"b":2}"#, r#"{"b":2,"a":1}"#)));
    assert!(is_denied(&request(r#"{"a":1,"b":2}"#, r#"{"b":2,"a":2}"#)));
}

#[test]
fn a_pool_that_cannot_work_is_a_warning() {
    let docker = edited(shoot(&json!(null)), "/spec/provider/workers/0/cri", json!({ "name": "docker" }));
    let arm = edited(shoot(&json!(null)), "/spec/provider/workers/0/machine", json!({ "architecture": "arm64" }));
    for shoot in [&docker, &arm] {
        let Verdict::Allowed { warnings } = create(shoot) else { panic!("refused") };
        assert!(warnings.iter().any(|warning| warning.contains("pool")), "{warnings:?}");
    }
    // Reported again when a pool changes, and not at each other change.
    let Verdict::Allowed { warnings } = update(&shoot(&json!(null)), &docker) else { panic!("refused") };
    assert!(!warnings.is_empty());
    let other = edited(docker.clone(), "/metadata/annotations", json!({ "a": "b" }));
    assert_eq!(update(&docker, &other), Verdict::SILENT);
}

#[test]
fn many_pools_that_cannot_work_are_reported_in_few_words() {
    let pool = |index| json!({ "name": format!("p{index}"), "cri": { "name": "docker" } });
    let workers: Vec<Value> = (0..50).map(pool).collect();
    let Verdict::Allowed { warnings } = create(&edited(shoot(&json!(null)), "/spec/provider/workers", json!(workers)))
    else {
        panic!("refused")
    };
    assert_eq!(warnings.len(), limits::WARNINGS + 1);
    assert!(warnings.last().unwrap().ends_with("nor on 40 more"), "{warnings:?}");
}

/// The verdict is that of a reconcile: both go by [`resolve`], and this shows that nothing is lost on the way, for every configuration that is kept
/// for tests.
#[test]
fn verdicts_of_the_whole_corpus_are_those_of_a_reconcile() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let (mut admitted, mut refused) = (0, 0);
    for folder in ["extension-config/corpus/valid", "extension-config/corpus/broken"] {
        for entry in std::fs::read_dir(crates.join(folder)).unwrap() {
            let config = with(&std::fs::read_to_string(entry.unwrap().path()).unwrap());
            compare(&config, &mut admitted, &mut refused);
        }
    }
    for folder in ["nri-policy/corpus/valid", "nri-policy/corpus/broken"] {
        for entry in std::fs::read_dir(crates.join(folder)).unwrap() {
            let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
            let Ok(policy) = serde_saphyr::from_str::<Value>(&text) else { continue };
            let config = json!({ "apiVersion": "cri-resmgr.extensions.gardener.cloud/v1alpha1", "kind": "CriResourceManagerConfig",
                "backend": "nri-plugins", "nri": { "policies": { "default": policy } } });
            compare(&config, &mut admitted, &mut refused);
        }
    }
    assert!(admitted >= 40 && refused >= 60, "{admitted} admitted, {refused} refused");
}

fn compare(config: &Value, admitted: &mut usize, refused: &mut usize) {
    let object = shoot(config);
    let facts = Facts::of(&serde_json::from_value(object.clone()).unwrap());
    match (create(&object), resolve(None, Some(config), &facts)) {
        (Verdict::Allowed { warnings }, Ok(effective)) => {
            assert_eq!(warnings.len(), effective.warnings.len() + effective.left_alone.len(), "{config}");
            *admitted += 1;
        }
        (Verdict::Denied { message, causes }, Err(problems)) => {
            assert!(problems.blames_the_shoot(), "{config}");
            assert_eq!(causes.len(), problems.iter().count(), "{config}");
            assert!(message.len() <= limits::ERROR_BYTES);
            *refused += 1;
        }
        (verdict, _) => panic!("{config}: {verdict:?}"),
    }
}
