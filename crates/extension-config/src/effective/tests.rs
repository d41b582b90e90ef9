use serde_json::json;

use super::*;

fn data(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

const NONE: &str = "policy:\n  Active: none\n";
const STATIC: &str = "policy:\n  Active: static\n  ReservedResources:\n    CPU: 750m\n";
const BAD: &str = "policy:\n  Active: nonsense\n";

#[test]
fn nothing_configured_passes_everything_through() {
    let effective = resolve(None, None, &Facts::default()).unwrap();
    assert_eq!(effective.daemon.fallback_config.as_deref(), Some("policy:\n  Active: none\n"));
    assert_eq!(effective.daemon.force_config, None);
    assert_eq!(effective.origins, BTreeMap::from([("fallback".to_owned(), Origin::BuiltIn)]));
    assert_eq!((effective.warnings, effective.selection), (vec![], Selection::default()));
}

#[test]
fn the_shoot_overrides_the_base_by_key() {
    let base = data(&[("fallback", NONE), ("default", NONE), ("EXTRA_OPTIONS", "--metrics-interval 10s ")]);
    let shoot = json!({"configs": {"fallback": STATIC, "node.n1": STATIC}, "nodeSelector": {"disk": "ssd"}});
    let effective = resolve(Some(&base), Some(&shoot), &Facts::default()).unwrap();
    assert_eq!(effective.daemon.fallback_config.as_deref(), Some(STATIC));
    assert_eq!(effective.daemon.extra_options, "--metrics-interval 10s");
    let names: Vec<_> = effective.dynamic.keys().map(String::as_str).collect();
    assert_eq!(names, ["cri-resmgr-config.default", "cri-resmgr-config.node.n1"]);
    assert_eq!(effective.dynamic["cri-resmgr-config.default"], data(&[("policy", "Active: none\n")]));
    assert_eq!(
        effective.origins.into_iter().collect::<Vec<_>>(),
        [
            ("EXTRA_OPTIONS".to_owned(), Origin::Base),
            ("default".to_owned(), Origin::Base),
            ("fallback".to_owned(), Origin::Shoot),
            ("node.n1".to_owned(), Origin::Shoot),
        ]
    );
    assert_eq!(effective.selection.match_labels, data(&[("disk", "ssd")]));
}

#[test]
fn only_the_owners_mistakes_blame_the_shoot() {
    let bad_base = data(&[("fallback", BAD)]);
    let bad_shoot = json!({"configs": {"fallback": BAD}});
    let good_shoot = json!({"configs": {"fallback": NONE}});
    let cases = [
        (Some(&bad_base), None, Some(false)),
        (Some(&bad_base), Some(&bad_shoot), Some(true)),
        (None, Some(&bad_shoot), Some(true)),
        // Mended by the owner: the operator's fault takes no effect on this shoot.
        (Some(&bad_base), Some(&good_shoot), None),
    ];
    for (base, shoot, blame) in cases {
        let result = resolve(base, shoot, &Facts::default());
        assert_eq!(result.err().map(|problems| problems.blames_the_shoot()), blame, "{base:?} {shoot:?}");
    }
    let unknown = data(&[("falback", NONE)]);
    let problems = resolve(Some(&unknown), None, &Facts::default()).unwrap_err();
    assert_eq!(
        problems.to_string(),
        "base configuration: falback: there is no such configuration, allowed: fallback, force, EXTRA_OPTIONS, default, group.NAME, node.NAME"
    );
    assert!(!problems.blames_the_shoot());
}

#[test]
fn problems_name_config_path_value_and_what_is_allowed() {
    let shoot = json!({"configs": {"node.n1": "policy: {Active: static, ReservedResources: {CPU: much}}"}});
    assert_eq!(
        resolve(None, Some(&shoot), &Facts::default()).unwrap_err().to_string(),
        "providerConfig: configs.node.n1: policy.ReservedResources: must be a map with the one key CPU: a list of CPUs \
         (cpuset:0-3), a number of CPUs (750m, 2) or a cgroup (cgroup:PATH), is {\"CPU\":\"much\"}"
    );
}

#[test]
fn places_say_where_and_not_what() {
    let secret = "hunter2";
    for shoot in [
        json!({"configs": {"fallback": format!("policy: {{Active: {secret}}}"), "default": format!("{secret}: [")}}),
        json!({"configs": {"EXTRA_OPTIONS": format!("--v {secret} {secret}")}}),
        json!({"configs": {"node.n1": format!("policy: {{Active: static, ReservedResources: {{CPU: {secret}}}}}\nlogger: {{Debug: [{secret}]}}")}}),
        json!({"configs": {"fallback": [secret]}}),
        json!({"nodeSelector": {"a": format!("{secret} ")}}),
        json!({"apiVersion": secret}),
    ] {
        let problems = resolve(None, Some(&shoot), &Facts::default()).unwrap_err();
        let places = problems.places();
        assert!(places.starts_with("invalid: providerConfig: ") && !places.contains(secret), "{places}");
    }
    let shoot =
        json!({"configs": {"fallback": BAD, "node.n1": "policy: {Active: static, ReservedResources: {CPU: much}}"}});
    assert_eq!(
        resolve(None, Some(&shoot), &Facts::default()).unwrap_err().places(),
        "invalid: providerConfig: configs.fallback: policy.Active; providerConfig: configs.node.n1: policy.ReservedResources"
    );
}

#[test]
fn warnings() {
    let warnings = |shoot: Value, facts: &Facts| -> Vec<String> {
        resolve(None, Some(&shoot), facts).unwrap().warnings.iter().map(ToString::to_string).collect()
    };
    let facts = Facts {
        workers: vec![
            WorkerFacts { name: "a".into(), cri: None, kubernetes: Some((1, 32)) },
            WorkerFacts { name: "b".into(), cri: Some("docker".into()), kubernetes: Some((1, 33)) },
        ],
    };
    assert_eq!(warnings(json!({"configs": {}, "nodeSelector": {}}), &Facts::default()), Vec::<String>::new());
    insta::assert_debug_snapshot!(warnings(json!({"configs": {"fallback": NONE, "default": STATIC}}), &facts), @r#"
    [
        "providerConfig: configs.default: policy.Active: static differs from the fallback's policy none: the daemon changes its policy only when it is restarted and its policy state reset",
        "providerConfig: worker pool \"b\" runs Kubernetes 1.33 or later: the daemon loses newer fields of the CRI, and resizing of running pods has no effect",
    ]
    "#);
    insta::assert_debug_snapshot!(warnings(json!({"configs": {"force": NONE, "default": STATIC}}), &Facts::default()), @r#"
    [
        "providerConfig: configs.default: has no effect while there is a force configuration",
    ]
    "#);
    let typed = json!({"apiVersion": provider_config::API_VERSION, "kind": provider_config::KIND,
        "selection": {"workerPools": ["a", "b", "c"]}});
    insta::assert_debug_snapshot!(warnings(typed, &facts), @r#"
    [
        "providerConfig: selection.workerPools: worker pool \"b\" does not use containerd",
        "providerConfig: selection.workerPools: there is no worker pool \"c\"",
        "providerConfig: worker pool \"b\" runs Kubernetes 1.33 or later: the daemon loses newer fields of the CRI, and resizing of running pods has no effect",
    ]
    "#);
}
