use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::desired_state::{Backend, NriPlugins};
use crate::effective::resolve;
use crate::problem::Origin;
use crate::workers::{CpuManager, WorkerFacts};
use crate::{Effective, Facts, Problems, limits};

fn typed(rest: &Value) -> Value {
    let mut value =
        json!({"apiVersion": "cri-resmgr.extensions.gardener.cloud/v1alpha1", "kind": "CriResourceManagerConfig"});
    value.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    value
}

fn of(nri: &Value) -> Result<Effective, Problems> {
    resolve(None, Some(&typed(&json!({"backend": "nri-plugins", "nri": nri}))), &Facts::default())
}

#[test]
fn cri_resmgr_is_the_backend_of_whoever_names_none() {
    let named = typed(&json!({"backend": "cri-resmgr"}));
    let unnamed = crate::resolve(None, None, &Facts::default()).unwrap();
    assert_eq!(crate::resolve(None, Some(&named), &Facts::default()).unwrap(), unnamed);
}

/// Two CPUs of which one is reserved, held from the start.
fn balloons() -> Value {
    json!({"kind": "BalloonsPolicy", "spec": {"reservedResources": {"cpu": "1"}}})
}

fn topology_aware() -> Value {
    json!({"kind": "TopologyAwarePolicy", "spec": {"reservedResources": {"cpu": "1"}}})
}

#[test]
fn each_policy_travels_in_a_config_map_of_its_own_and_settings_in_the_desired_state() {
    let effective = of(&json!({
        "policies": {"default": balloons(), "groups": {"gold": topology_aware()}, "nodes": {"n1": balloons()}},
    }))
    .unwrap();
    let settings = NriPlugins { accepted: std::collections::BTreeSet::new() };
    assert_eq!(effective.backend, Backend::NriPlugins(settings));
    let names: Vec<_> = effective.dynamic.keys().map(String::as_str).collect();
    assert_eq!(names, ["cri-resmgr-policy.default", "cri-resmgr-policy.group.gold", "cri-resmgr-policy.node.n1"]);
    for (name, data) in &effective.dynamic {
        let policy: nri_policy::Policy = serde_json::from_str(&data["policy.json"]).unwrap();
        // With every default written out: the plugin knows none in file mode.
        assert_eq!(policy.spec["pinCPU"], json!(true), "{name}");
        assert_eq!(policy.check(&[""; 0]).unwrap().spec(), &policy.spec, "{name} is what the agent finds, too");
    }
    let keys: Vec<_> = effective.origins.iter().map(|(key, origin)| (key.as_str(), *origin)).collect();
    assert_eq!(keys, ["nri.default", "nri.group.gold", "nri.node.n1"].map(|key| (key, Origin::Shoot)));
}

#[test]
fn a_backend_without_a_default_policy_is_refused() {
    for given in [
        json!({"backend": "nri-plugins"}),
        json!({"backend": "nri-plugins", "nri": {"policies": {"nodes": {"a": balloons()}}}}),
    ] {
        let problems = resolve(None, Some(&typed(&given)), &Facts::default()).unwrap_err();
        assert!(problems.to_string().contains("nri.policies.default: is missing"), "{problems}");
        assert!(problems.blames_the_shoot());
    }
}

#[test]
fn a_mistake_is_named_with_its_place_in_the_provider_config() {
    let cases = [
        (json!({"policies": {"default": {"kind": "Balloons", "spec": {}}}}), "nri.policies.default.kind"),
        (json!({"policies": {"default": {"kind": "BalloonsPolicy", "spec": []}}}), "nri.policies.default.spec"),
        (json!({"policies": {"default": {"kind": "BalloonsPolicy"}}}), "nri.policies.default"),
        (json!({"policies": {"standard": balloons()}}), "nri.policies.standard"),
        (json!({"enable": "always", "policies": {"default": balloons()}}), "nri.enable"),
        (json!({"policies": {"default": balloons(), "groups": {"Gold": balloons()}}}), "nri.policies.groups.Gold"),
        (json!({"accept": ["everything"], "policies": {"default": balloons()}}), "nri.accept[0]"),
        (
            json!({"policies": {"default": {"kind": "BalloonsPolicy", "spec": {"pinCpu": true, "reservedResources": {"cpu": "1"}}}}}),
            "nri.policies.default: spec.pinCpu",
        ),
        (
            json!({"policies": {"default": {"kind": "BalloonsPolicy", "spec": {"balloonTypes": [{"name": "a", "minCPUs": "2"}], "reservedResources": {"cpu": "1"}}}}}),
            "nri.policies.default: spec.balloonTypes[0].minCPUs",
        ),
    ];
    for (nri, place) in cases {
        let problems = of(&nri).unwrap_err();
        assert!(problems.to_string().contains(place), "{nri}: {problems}");
        assert!(problems.blames_the_shoot());
    }
}

/// It would refuse system pods once its reservation is full.
#[test]
fn a_risk_for_system_pods_is_taken_only_by_its_id_and_the_id_travels() {
    let risky = json!({"kind": "BalloonsPolicy", "spec": {
        "reservedResources": {"cpu": "1"},
        "balloonTypes": [{"name": "reserved", "minCPUs": 1, "maxCPUs": 1, "namespaces": ["kube-system"]}],
    }});
    let problems = of(&json!({"policies": {"default": risky}})).unwrap_err();
    assert!(problems.to_string().contains("accept reserved-may-fill"), "{problems}");
    let effective = of(&json!({"accept": ["reserved-may-fill"], "policies": {"default": risky}})).unwrap();
    let Backend::NriPlugins(settings) = &effective.backend else { panic!("{effective:?}") };
    assert!(settings.accepted.contains("reserved-may-fill"));
    assert!(effective.warnings.iter().any(|warning| warning.message.contains("accepted as reserved-may-fill")));
}

#[test]
fn what_is_for_the_other_backend_has_no_effect_and_is_said_to() {
    let configs = json!({"fallback": "policy: {Active: none}"});
    let base = BTreeMap::from([("fallback".to_owned(), "policy: {Active: static}".to_owned())]);
    let nri = json!({"policies": {"default": balloons()}});
    let both = |backend: &str| {
        let value = typed(&json!({"backend": backend, "configs": configs, "nri": nri}));
        resolve(Some(&base), Some(&value), &Facts::default()).unwrap()
    };
    for (backend, place) in [("nri-plugins", "configs"), ("cri-resmgr", "nri")] {
        let warnings = both(backend).warnings;
        let place = format!("providerConfig: {place}: has no effect with the backend {backend}");
        assert_eq!(warnings.iter().map(ToString::to_string).collect::<Vec<_>>(), [place]);
    }
    assert!(both("nri-plugins").origins.keys().all(|key| key.starts_with("nri.")));
}

#[test]
fn pools_are_left_alone_for_reasons_of_the_backend() {
    let worker = |name: &str, version, policy: Option<&str>| WorkerFacts {
        name: name.to_owned(),
        kubernetes: Some(version),
        cpu_manager: policy.map(|policy| CpuManager { policy: policy.to_owned(), of_pool: true }),
        ..WorkerFacts::default()
    };
    let facts = Facts {
        workers: vec![
            worker("old", (1, 25), None),
            worker("pinned", (1, 37), Some("static")),
            worker("new", (1, 37), None),
        ],
    };
    let value = typed(&json!({"backend": "nri-plugins", "nri": {"policies": {"default": balloons()}}}));
    let effective = resolve(None, Some(&value), &facts).unwrap();
    let left: Vec<_> = effective.left_alone.iter().map(|pool| pool.name.as_str()).collect();
    assert_eq!(left, ["old", "pinned"]);
    assert!(!effective.left_alone.iter().any(|pool| pool.reasons.concat().contains("cri-resmgr")));
    // Resizing works below NRI: nothing is said of it.
    assert_eq!(effective.warnings, []);
}

#[test]
fn a_thousand_policies_of_the_worst_are_bounded() {
    let large: Value = json!({"kind": "BalloonsPolicy", "spec": {
        "reservedResources": {"cpu": "1"},
        "balloonTypes": (0..100).map(|number| json!({"name": format!("t{number}")})).collect::<Vec<_>>(),
    }});
    let nodes: serde_json::Map<String, Value> = (0..limits::CONFIGURATIONS)
        .map(|number| {
            (format!("n{number}"), json!({"kind": "BalloonsPolicy", "spec": {"reservedResources": {"cpu": "1"}}}))
        })
        .collect();
    let effective = of(&json!({"policies": {"default": balloons(), "nodes": nodes}})).unwrap();
    assert_eq!(effective.dynamic.len(), limits::CONFIGURATIONS + 1);
    assert!(effective.warnings.len() <= limits::WARNINGS + 1);
    let risky = json!({"kind": "BalloonsPolicy", "spec": {
        "reservedResources": {"cpu": "1"},
        "balloonTypes": [{"name": "reserved", "minCPUs": 1, "maxCPUs": 1, "namespaces": ["kube-system"]}],
    }});
    let nodes: serde_json::Map<String, Value> = (0..50).map(|number| (format!("n{number}"), risky.clone())).collect();
    let policies = json!({"default": balloons(), "nodes": nodes});
    let warned = of(&json!({"accept": ["reserved-may-fill"], "policies": policies})).unwrap().warnings;
    assert_eq!(warned.len(), limits::WARNINGS + 1);
    assert!(
        warned.last().unwrap().message.starts_with("and ")
            && warned.last().unwrap().message.ends_with(" more warnings")
    );
    let nodes: serde_json::Map<String, Value> = (0..100).map(|number| (format!("n{number}"), large.clone())).collect();
    let problems = of(&json!({"policies": {"default": balloons(), "nodes": nodes}})).unwrap_err();
    assert!(problems.to_string().contains("have") && problems.to_string().len() < 4096, "{problems}");
    let nodes: serde_json::Map<String, Value> =
        (0..=limits::CONFIGURATIONS).map(|number| (format!("n{number}"), balloons())).collect();
    let problems = of(&json!({"policies": {"default": balloons(), "nodes": nodes}})).unwrap_err();
    assert!(problems.to_string().contains("nri.policies: has 1025 entries, allowed: 1024"), "{problems}");
}
