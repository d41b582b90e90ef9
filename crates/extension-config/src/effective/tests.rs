use std::collections::BTreeSet;

use serde_json::json;

use super::*;
use crate::workers::WorkerFacts;

fn data(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn daemon(effective: &Effective) -> &Daemon {
    match &effective.backend {
        Backend::CriResmgr(daemon) => daemon,
        Backend::NriPlugins(other) => panic!("{other:?}"),
    }
}

const NONE: &str = "policy:\n  Active: none\n";
const STATIC: &str = "policy:\n  Active: static\n  ReservedResources:\n    CPU: 750m\n";
const NONE_AS_READ: &str = "{\"policy\":{\"Active\":\"none\"}}\n";
const STATIC_AS_READ: &str = "{\"policy\":{\"Active\":\"static\",\"ReservedResources\":{\"CPU\":\"750m\"}}}\n";
const BAD: &str = "policy:\n  Active: nonsense\n";

#[test]
fn without_a_configuration_the_defaults_are_effective() {
    let effective = resolve(None, None, &Facts::default()).unwrap();
    assert_eq!(daemon(&effective).fallback_config.as_deref(), Some(NONE_AS_READ));
    assert_eq!(daemon(&effective).force_config, None);
    assert_eq!(effective.origins, BTreeMap::from([("fallback".to_owned(), Origin::BuiltIn)]));
    assert_eq!((effective.warnings, effective.selection), (vec![], Selection::default()));
}

#[test]
fn the_shoots_configuration_overrides_the_base_key_by_key() {
    let base = data(&[("fallback", NONE), ("default", NONE), ("EXTRA_OPTIONS", "--metrics-interval 10s ")]);
    let shoot = json!({"configs": {"fallback": STATIC, "node.n1": STATIC}, "nodeSelector": {"disk": "ssd"}});
    let effective = resolve(Some(&base), Some(&shoot), &Facts::default()).unwrap();
    assert_eq!(daemon(&effective).fallback_config.as_deref(), Some(STATIC_AS_READ));
    assert_eq!(daemon(&effective).extra_options, "--metrics-interval 10s");
    let names: Vec<_> = effective.dynamic.keys().map(String::as_str).collect();
    assert_eq!(names, ["cri-resmgr-config.default", "cri-resmgr-config.node.n1"]);
    assert_eq!(effective.dynamic["cri-resmgr-config.default"], data(&[("policy", r#"{"Active":"none"}"#)]));
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
fn only_mistakes_of_the_shoot_owner_are_blamed_on_the_shoot() {
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
fn problems_name_configuration_path_value_and_what_is_allowed() {
    let shoot = json!({"configs": {"node.n1": "policy: {Active: static, ReservedResources: {CPU: much}}"}});
    assert_eq!(
        resolve(None, Some(&shoot), &Facts::default()).unwrap_err().to_string(),
        "providerConfig: configs.node.n1: policy.ReservedResources: must be a map with the one key CPU: a list of CPUs \
         (cpuset:0-3), a number of CPUs (750m, 2) or a cgroup (cgroup:PATH), is {\"CPU\":\"much\"}"
    );
}

#[test]
fn places_of_problems_do_not_show_values() {
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
fn settings_without_effect_are_warned_of() {
    let warnings = |shoot: Value, facts: &Facts| -> Vec<String> {
        resolve(None, Some(&shoot), facts).unwrap().warnings.iter().map(ToString::to_string).collect()
    };
    let facts = Facts {
        workers: vec![
            WorkerFacts { name: "a".into(), kubernetes: Some((1, 32)), ..WorkerFacts::default() },
            WorkerFacts { name: "b".into(), kubernetes: Some((1, 33)), ..WorkerFacts::default() },
        ],
    };
    assert_eq!(warnings(json!({"configs": {}, "nodeSelector": {}}), &Facts::default()), Vec::<String>::new());
    insta::assert_debug_snapshot!(warnings(json!({"configs": {"fallback": NONE, "default": STATIC}}), &facts), @r#"
    [
        "providerConfig: configs.default: policy.Active: static differs from the fallback's policy none: the daemon changes its policy only when it is restarted and its policy state reset",
        "providerConfig: backend: is not given, so it is cri-resmgr, which ended with the CRI of Kubernetes 1.29; its successor is nri-plugins. Name the one that you want, and this warning goes",
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
        "providerConfig: selection.workerPools: there is no worker pool \"c\"",
        "providerConfig: backend: is not given, so it is cri-resmgr, which ended with the CRI of Kubernetes 1.29; its successor is nri-plugins. Name the one that you want, and this warning goes",
        "providerConfig: worker pool \"b\" runs Kubernetes 1.33 or later: the daemon loses newer fields of the CRI, and resizing of running pods has no effect",
    ]
    "#);
}

/// Field case N20: pools that the Shoot rules out are not among the selected ones, and nothing else of the configuration is different.
#[test]
fn a_pool_with_an_unsuitable_kubelet_is_excluded_from_the_selection() {
    let ruled_out = |name: &str, cri: Option<&str>| WorkerFacts {
        name: name.into(),
        cri: cri.map(str::to_owned),
        ..WorkerFacts::default()
    };
    let facts = |b: Option<&str>, a: Option<&str>| Facts { workers: vec![ruled_out("b", b), ruled_out("a", a)] };
    let of = |facts: &Facts| resolve(None, None, facts).unwrap();
    let all = of(&facts(None, None));
    assert_eq!((all.left_alone.len(), &all.selection), (0, &Selection::default()));
    let some = of(&facts(Some("docker"), None));
    assert_eq!(some.selection.excluded_pools, BTreeSet::from(["b".to_owned()]));
    assert_eq!((some.left_alone.len(), some.warnings.len()), (1, 0));
    assert_eq!(some.backend, all.backend);
    let none = of(&facts(Some("docker"), Some("cri-o")));
    assert_eq!((none.selection.excluded_pools.len(), none.is_nowhere), (2, true));
    assert!(!all.is_nowhere && !some.is_nowhere);
}

/// W10: 25 594 warnings and 13 MB of errors, once.
#[test]
fn warnings_and_errors_are_bounded() {
    let facts = Facts { workers: vec![WorkerFacts { name: "a".into(), ..WorkerFacts::default() }] };
    let typed = |selection: Value| json!({"apiVersion": provider_config::API_VERSION, "kind": provider_config::KIND, "selection": selection});
    let pools = |count: usize| (0..count).map(|index| format!("p{index}")).collect::<Vec<_>>();
    let effective = resolve(None, Some(&typed(json!({"workerPools": pools(256)}))), &facts).unwrap();
    assert_eq!(effective.warnings.len(), 11);
    assert_eq!(effective.warnings[10].to_string(), "providerConfig: and 246 more warnings");

    let nodes: serde_json::Map<_, _> =
        (0..900).map(|index| (format!("node.n{index}"), json!(format!("{}: 1", "k".repeat(200))))).collect();
    for shoot in [typed(json!({"workerPools": pools(257)})), json!({"configs": nodes})] {
        let problems = resolve(None, Some(&shoot), &facts).unwrap_err();
        assert!(problems.blames_the_shoot());
        assert!(problems.to_string().len() <= limits::ERROR_BYTES, "{problems}");
        assert!(problems.places().len() <= limits::ERROR_BYTES, "{}", problems.places());
    }
}

#[test]
fn a_provider_config_beyond_a_limit_is_refused_with_the_limit() {
    let typed = |more: Value| {
        let mut config = json!({"apiVersion": provider_config::API_VERSION, "kind": provider_config::KIND});
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        config
    };
    let labels: BTreeMap<String, &str> = (0..65).map(|index| (format!("l{index}"), "")).collect();
    let nodes: BTreeMap<String, &str> = (0..1025).map(|index| (format!("n{index}"), NONE)).collect();
    for (config, expected) in [
        (json!({"x": vec![0; 140_000]}), "providerConfig: has more than 262144 bytes, allowed: 262144"),
        (
            typed(json!({"selection": {"matchLabels": labels}})),
            "providerConfig: selection.matchLabels: has 65 entries, allowed: 64",
        ),
        (
            typed(json!({"selection": {"workerPools": vec!["a"; 257]}})),
            "providerConfig: selection.workerPools: has 257 entries, allowed: 256",
        ),
        (
            typed(json!({"selection": {"workerPools": ["a".repeat(254)]}})),
            "providerConfig: selection.workerPools: a name has 254 bytes, allowed: 253",
        ),
        (typed(json!({"configs": {"nodes": nodes}})), "providerConfig: configs: has 1025 entries, allowed: 1024"),
        (
            typed(json!({"configs": {"extraOptions": "-".repeat(4097)}})),
            "providerConfig: configs.extraOptions: has 4097 bytes, allowed: 4096",
        ),
        (
            json!({"configs": {"default": format!("{NONE}{}", "#".repeat(65_536))}}),
            "providerConfig: configs.default: has 65559 bytes, allowed: 65536",
        ),
    ] {
        assert_eq!(resolve(None, Some(&config), &Facts::default()).unwrap_err().to_string(), expected);
    }
    let base = data(&[("fallback", &"#".repeat(262_144))]);
    assert_eq!(
        resolve(Some(&base), None, &Facts::default()).unwrap_err().to_string(),
        "base configuration: has 262152 bytes, allowed: 262144"
    );
}

/// One for each of a thousand nodes is possible.
#[test]
fn a_thousand_nodes_can_have_their_own_configuration() {
    let own = "policy: {Active: balloons, ReservedResources: {CPU: 750m}, balloons: {PinCPU: true, BalloonTypes: [{Name: a, MinCPUs: 2, MaxCPUs: 8, Namespaces: [prod]}, {Name: b, MinCPUs: 1, MaxBalloons: 4}]}}";
    let nodes: serde_json::Map<_, _> =
        (0..1000).map(|index| (format!("node.shoot--project--cluster-{index}"), json!(own))).collect();
    let effective = resolve(None, Some(&json!({"configs": nodes})), &Facts::default()).unwrap();
    assert_eq!(effective.dynamic.len(), 1000);
}

/// Small texts with anchors that each stand for much: the work on all of them together is bounded.
#[test]
fn many_configurations_share_one_budget_of_steps() {
    let bomb = "a: &a [x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]\nc: [*b, *b, *b, *b, *b, *b, *b, *b, *b]\n";
    let text = format!("{bomb}# {}", "x".repeat(8000));
    let nodes: serde_json::Map<_, _> = (0..30).map(|index| (format!("node.n{index}"), json!(text))).collect();
    assert!(resolve(None, Some(&json!({"configs": nodes})), &Facts::default()).is_err());
    let mut steps = Steps::default();
    let quick = "policy: {Active: none}";
    assert!(cri_resmgr::check_within(quick, &mut steps).is_ok());
    assert_eq!(steps.take(usize::try_from(limits::STEPS).unwrap() - 40), Ok(()));
    let findings = cri_resmgr::check_within(quick, &mut steps).unwrap_err();
    assert_eq!(
        findings[0].message,
        "is too complex: all configurations together take more than 4194304 steps to check"
    );
}

/// W3: whoever writes the fallback, the agent's files do not have such keys, and the owner is warned.
#[test]
fn keys_that_reach_files_are_left_out_with_a_warning() {
    let shoot = json!({"configs": {
        "fallback": "policy: {Active: none}\ndump: {File: /etc/shadow}",
        "default": "policy: {Active: none}\ninstrumentation: {HTTPEndpoint: ':8891'}",
        "EXTRA_OPTIONS": "--log_file=/etc/shadow -v 2",
    }});
    let effective = resolve(None, Some(&shoot), &Facts::default()).unwrap();
    let reported: Vec<_> = effective.warnings.iter().map(ToString::to_string).collect();
    assert!(reported[0].starts_with("providerConfig: configs.fallback: dump.File: is left out: "), "{reported:?}");
    assert!(
        reported[1].starts_with("providerConfig: configs.default: instrumentation.HTTPEndpoint: is left out: "),
        "{reported:?}"
    );
    assert!(reported[2].starts_with("providerConfig: configs.EXTRA_OPTIONS: --log_file is left out: "), "{reported:?}");
    assert_eq!(daemon(&effective).extra_options, "-v 2");
    assert_eq!(daemon(&effective).fallback_config.as_deref(), Some("{\"dump\":{},\"policy\":{\"Active\":\"none\"}}\n"));
    assert_eq!(effective.dynamic["cri-resmgr-config.default"]["instrumentation"], "{}");
}

/// The trap of levels: each comes from where it is set, and the base's `default` beats the shoot's `fallback`.
#[test]
fn a_shoot_is_warned_that_the_base_configuration_beats_its_fallback() {
    let shoot = json!({"configs": {"fallback": STATIC}});
    let reported = |base: &[(&str, &str)], shoot: &Value| {
        let effective = resolve(Some(&data(base)), Some(shoot), &Facts::default()).unwrap();
        effective
            .warnings
            .iter()
            .map(ToString::to_string)
            .filter(|text| text.contains("base configuration has"))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        reported(&[("default", STATIC), ("group.g", STATIC)], &shoot),
        [
            "providerConfig: configs.fallback: nodes for which the operator's base configuration has another (default and 1 more) are given that one: \
          a level that is left out comes from there; set configs.default, too"
        ]
    );
    for (base, shoot) in [
        (&[("fallback", STATIC)][..], &shoot),
        (&[("default", STATIC)], &json!({"configs": {"fallback": STATIC, "default": STATIC}})),
        // Its owner set nothing that is beaten.
        (&[("default", STATIC)], &json!({"configs": {"EXTRA_OPTIONS": "-v=2"}})),
        (&[("default", STATIC)], &json!({"configs": {"force": STATIC}})),
    ] {
        assert_eq!(reported(base, shoot), [""; 0], "{base:?} {shoot}");
    }
}
