use serde_json::{Value, json};

use super::*;
use crate::desired_state::{Backend, BackendKind};
use crate::effective::{Effective, resolve_with};
use crate::workers::Facts;

/// One policy for all, one id that can be accepted, and one key that cannot be decided where a text asks for that.
fn fake(texts: &BTreeMap<ConfigKey, String>, accepted: &BTreeSet<String>) -> Result<Converted, String> {
    if texts.values().any(|text| text.contains("huge")) {
        return Err("there is too much of it".to_owned());
    }
    let spec = json!({"reservedResources": {"cpu": "cpuset:0"}, "balloonTypes": [{"name": "reserved", "minCPUs": 1}]});
    let policy = |spec: &Value| Policy { kind: Kind::BalloonsPolicy, spec: spec.clone() };
    let changed = ("capacity:fallback/policy".to_owned(), "whole CPUs".to_owned());
    let undecided = texts.values().any(|text| text.contains("podpools"));
    Ok(Converted {
        policies: BTreeMap::from([
            (ConfigKey::Default, policy(&spec)),
            (ConfigKey::Group("gold".to_owned()), policy(&spec)),
        ]),
        unaccepted: [changed.clone()].into_iter().filter(|(id, _)| !accepted.contains(id)).collect(),
        undecided: undecided
            .then(|| ("fallback/policy.Active".to_owned(), "no such policy".to_owned()))
            .into_iter()
            .collect(),
        unknown: accepted.iter().filter(|id| **id != changed.0).cloned().collect(),
    })
}

fn typed(backend: &str, from: &str, accept: &[&str], more: &Value) -> Value {
    let mut config = json!({
        "apiVersion": crate::provider_config::API_VERSION, "kind": crate::provider_config::KIND,
        "backend": backend, "migration": {"from": from, "accept": accept},
        "configs": {"fallback": "policy: {Active: none}", "groups": {"gold": "policy: {Active: none}"}},
    });
    if let (Some(config), Some(more)) = (config.as_object_mut(), more.as_object()) {
        config.extend(more.clone());
    }
    config
}

fn resolved(config: &Value) -> Result<Effective, String> {
    resolve_with(None, Some(config), &Facts::default(), &fake).map_err(|problems| problems.to_string())
}

const ID: &str = "capacity:fallback/policy";

#[test]
fn what_is_not_accepted_is_an_error_that_lists_the_ids() {
    assert_eq!(
        resolved(&typed("nri-plugins", "cri-resmgr", &[], &Value::Null)).unwrap_err(),
        "providerConfig: migration.accept: lacks capacity:fallback/policy: whole CPUs"
    );
    let pools = json!({"configs": {"fallback": "policy: {Active: none} # podpools"}});
    assert_eq!(
        resolved(&typed("nri-plugins", "cri-resmgr", &[ID], &pools)).unwrap_err(),
        "providerConfig: configs: fallback/policy.Active: needs a decision before it can be converted: no such policy"
    );
    let error = resolved(&typed("nri-plugins", "nri-plugins", &[ID], &Value::Null)).unwrap_err();
    assert!(
        error.ends_with("migration.from: is nri-plugins, which is the backend itself; allowed: the other one"),
        "{error}"
    );
    // A configuration that cri-resmgr would not take is wrong, too: nodes still have it.
    let wrong = json!({"configs": {"fallback": "policy: {Active: nonsense}"}});
    assert!(resolved(&typed("nri-plugins", "cri-resmgr", &[ID], &wrong)).unwrap_err().contains("policy.Active"));
    let error = crate::resolve(None, Some(&typed("nri-plugins", "cri-resmgr", &[ID], &Value::Null)), &Facts::default());
    assert!(error.is_err_and(|problems| problems.to_string().contains("configs: cannot be converted")));
}

#[test]
fn policies_are_made_and_nodes_that_still_have_cri_resmgr_keep_their_configuration() {
    let accepted = [ID, "adjustment:quiet", "config-map:cri-resmgr-config.default", "capcity:typo"];
    let effective = resolved(&typed("nri-plugins", "cri-resmgr", &accepted, &Value::Null)).unwrap();
    assert!(matches!(effective.backend, Backend::NriPlugins(_)));
    let names: Vec<&str> = effective.dynamic.keys().map(String::as_str).collect();
    assert_eq!(names, ["cri-resmgr-config.group.gold", "cri-resmgr-policy.default", "cri-resmgr-policy.group.gold"]);
    let handover = effective.handover.unwrap();
    assert_eq!(handover.from, BackendKind::CriResmgr);
    assert_eq!(Vec::from_iter(&handover.accepted), ["adjustment:quiet", "config-map:cri-resmgr-config.default"]);
    assert_eq!(Vec::from_iter(&handover.delivered), ["cri-resmgr-config.group.gold"]);
    let warnings: Vec<String> = effective.warnings.iter().map(ToString::to_string).collect();
    let unknown = "providerConfig: migration.accept: has ids of nothing that changes or is lost: \"capcity:typo\"";
    assert_eq!(warnings, [unknown]);
}

#[test]
fn policies_that_the_owner_wrote_count_and_need_nothing_accepted() {
    let spec = json!({"reservedResources": {"cpu": "cpuset:1"}, "balloonTypes": [{"name": "reserved", "minCPUs": 1}]});
    let own = json!({"nri": {"policies": {"default": {"kind": "BalloonsPolicy", "spec": spec}}}});
    let effective = resolved(&typed("nri-plugins", "cri-resmgr", &[], &own)).unwrap();
    assert!(effective.dynamic["cri-resmgr-policy.default"]["policy.json"].contains("cpuset:1"));
    assert!(!effective.dynamic.contains_key("cri-resmgr-policy.group.gold") && effective.handover.is_some());
    let warnings: Vec<String> = effective.warnings.iter().map(ToString::to_string).collect();
    assert!(
        warnings[0].contains("1 keys would change their meaning or be lost, and 0 need a decision"),
        "{warnings:?}"
    );
    let mut huge = own;
    huge["configs"] = json!({"fallback": "policy: {Active: none} # huge"});
    let effective = resolved(&typed("nri-plugins", "cri-resmgr", &[], &huge)).unwrap();
    assert!(
        effective.warnings[0].to_string().contains("cannot be compared with nri.policies: there is too much of it")
    );
}

#[test]
fn the_way_back_needs_no_conversion() {
    let effective = resolved(&typed("cri-resmgr", "nri-plugins", &[], &Value::Null)).unwrap();
    assert!(matches!(effective.backend, Backend::CriResmgr(_)));
    assert_eq!(effective.handover.unwrap().from, BackendKind::NriPlugins);
    assert!(effective.warnings.is_empty());
    let effective = resolved(&typed("cri-resmgr", "nri-plugins", &[ID], &Value::Null)).unwrap();
    assert!(effective.warnings[0].to_string().contains("migration.accept: has no effect with the backend cri-resmgr"));
}

#[test]
fn a_shoot_that_configured_nothing_goes_over_with_what_is_built_in() {
    let mut config = typed("nri-plugins", "cri-resmgr", &[ID], &Value::Null);
    config.as_object_mut().unwrap().remove("configs");
    let effective = resolved(&config).unwrap();
    assert!(effective.dynamic.contains_key("cri-resmgr-policy.default"));
}
