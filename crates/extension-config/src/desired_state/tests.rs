use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

fn install() -> DesiredState {
    DesiredState {
        phase: Phase::Install,
        selection: Selection { worker_pools: Some(vec!["pool-a".into()]), ..Selection::default() },
        backend: Backend::CriResmgr(Daemon {
            fallback_config: Some("policy:\n  Active: none\n".into()),
            force_config: None,
            extra_options: String::new(),
        }),
        handover: None,
    }
}

fn nri() -> DesiredState {
    DesiredState {
        backend: Backend::NriPlugins(NriPlugins { accepted: BTreeSet::from(["reserved-not-held".to_owned()]) }),
        ..install()
    }
}

#[test]
fn a_state_with_nri_plugins_is_v1alpha2_and_names_its_backend() {
    let text = nri().encode().unwrap();
    assert_eq!(
        text,
        concat!(
            r#"{"apiVersion":"node.cri-resmgr.extensions.gardener.cloud/v1alpha2","kind":"DesiredState","phase":"Install","#,
            r#""selection":{"workerPools":["pool-a"],"matchLabels":{}},"#,
            r#""backend":{"nriPlugins":{"accepted":["reserved-not-held"]}}}"#
        )
    );
    assert_eq!(DesiredState::decode(&text).unwrap(), nri());
}

#[test]
fn a_state_with_a_handover_is_v1alpha2_in_both_directions() {
    let handover = |from, id: Option<&str>| {
        Some(Handover { from, accepted: id.into_iter().map(str::to_owned).collect(), delivered: BTreeSet::new() })
    };
    let there = DesiredState { handover: handover(BackendKind::CriResmgr, Some("adjustment:default/quiet")), ..nri() };
    let back = DesiredState { handover: handover(BackendKind::NriPlugins, None), ..install() };
    for (state, written) in [
        (there, r#""handover":{"from":"criResmgr","accepted":["adjustment:default/quiet"]}}"#),
        (
            back,
            r#""backend":{"criResmgr":{"fallbackConfig":"policy:\n  Active: none\n","forceConfig":null,"extraOptions":""}},"handover":{"from":"nriPlugins"}}"#,
        ),
    ] {
        let text = state.encode().unwrap();
        assert!(text.contains("/v1alpha2\"") && text.ends_with(written), "{text}");
        assert_eq!(DesiredState::decode(&text).unwrap(), state);
        let removal = DesiredState { phase: Phase::Remove, ..state };
        let text = removal.encode().unwrap();
        assert!(text.contains("/v1alpha1\"") && !text.contains("handover"), "{text}");
    }
    let unknown = r#"{"apiVersion":"node.cri-resmgr.extensions.gardener.cloud/v1alpha2","kind":"DesiredState","phase":"Install","backend":{"nriPlugins":{}},"handover":{"from":"docker"}}"#;
    assert!(matches!(DesiredState::decode(unknown), Err(DecodeError::Malformed(_))));
}

/// Any agent can carry it out, also one that was never given the backend.
#[test]
fn a_removal_is_v1alpha1_whatever_the_backend() {
    for state in [install(), nri()] {
        let removal = DesiredState { phase: Phase::Remove, ..state };
        let text = removal.encode().unwrap();
        assert!(text.contains("/v1alpha1\"") && !text.contains("nriPlugins"), "{text}");
        let read = DesiredState::decode(&text).unwrap();
        assert_eq!((read.phase, &read.selection), (Phase::Remove, &removal.selection));
    }
}

/// Who ignored what it does not know of a backend would install another one, or this one otherwise.
#[test]
fn exactly_one_backend_that_is_known_with_all_its_fields_is_read() {
    let text = |backend: &str| {
        format!(
            r#"{{"apiVersion":"node.cri-resmgr.extensions.gardener.cloud/v1alpha2","kind":"DesiredState","phase":"Install"{backend}}}"#
        )
    };
    for good in [r#","backend":{"nriPlugins":{}}"#, r#","backend":{"criResmgr":{}},"pacing":{}"#] {
        assert!(DesiredState::decode(&text(good)).is_ok(), "{good} was refused");
    }
    for bad in [
        "",
        r#","daemon":{}"#,
        r#","backend":null"#,
        r#","backend":{}"#,
        r#","backend":"nriPlugins""#,
        r#","backend":{"cpuManager":{}}"#,
        r#","backend":{"criResmgr":{},"nriPlugins":{}}"#,
        r#","backend":{"nriPlugins":{"dra":true}}"#,
        r#","backend":{"nriPlugins":{"runtime":"Never"}}"#,
    ] {
        assert!(matches!(DesiredState::decode(&text(bad)), Err(DecodeError::Malformed(_))), "{bad} was accepted");
    }
}

#[test]
fn encode_gives_the_text_of_the_architecture_page() {
    assert_eq!(
        install().encode().unwrap(),
        concat!(
            r#"{"apiVersion":"node.cri-resmgr.extensions.gardener.cloud/v1alpha1","kind":"DesiredState","phase":"Install","#,
            r#""selection":{"workerPools":["pool-a"],"matchLabels":{}},"#,
            r#""daemon":{"fallbackConfig":"policy:\n  Active: none\n","forceConfig":null,"extraOptions":""}}"#
        )
    );
}

#[test]
fn the_config_map_name_carries_the_hash_of_the_text() {
    let state = install();
    let name = state.config_map_name().unwrap();
    let digits = name.strip_prefix("cri-resmgr-desired-state-").unwrap();
    assert_eq!(digits.len(), 8);
    assert_eq!(digits, hash8(&state.encode().unwrap()));
    let removing = DesiredState { phase: Phase::Remove, ..state };
    assert_ne!(name, removing.config_map_name().unwrap());
}

#[test]
fn unknown_fields_are_ignored_and_missing_ones_have_defaults() {
    let text = r#"{"apiVersion":"node.cri-resmgr.extensions.gardener.cloud/v1alpha1","kind":"DesiredState","phase":"Remove",
        "pacing":{"slots":3},"selection":{"zones":["a"]}}"#;
    let state = DesiredState::decode(text).unwrap();
    assert_eq!(state.phase, Phase::Remove);
    assert_eq!(state.selection, Selection::default());
    assert_eq!(state.backend, Backend::default());
}

#[test]
fn a_desired_state_of_another_version_or_kind_is_refused() {
    let v2 = r#"{"apiVersion":"node.cri-resmgr.extensions.gardener.cloud/v2","kind":"DesiredState","stage":"Install"}"#;
    assert_eq!(
        DesiredState::decode(v2).unwrap_err().to_string(),
        r#"the desired state has apiVersion "node.cri-resmgr.extensions.gardener.cloud/v2" and kind "DesiredState", this agent reads "node.cri-resmgr.extensions.gardener.cloud/v1alpha1" or "node.cri-resmgr.extensions.gardener.cloud/v1alpha2" and "DesiredState""#
    );
    let phase =
        r#"{"apiVersion":"node.cri-resmgr.extensions.gardener.cloud/v1alpha1","kind":"DesiredState","phase":"Pause"}"#;
    assert!(matches!(DesiredState::decode(phase), Err(DecodeError::Malformed(_))));
    for text in ["", "null", "[]", "{"] {
        assert!(DesiredState::decode(text).is_err(), "{text:?} was accepted");
    }
}

#[test]
fn selection_matches_nodes_by_pool_and_labels() {
    let labels = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    };
    let pools = |pools: &[&str]| Some(pools.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>());
    let a = [("worker.gardener.cloud/pool", "a"), ("disk", "ssd")];
    let cases = [
        (None, labels(&[]), labels(&a), true),
        (None, labels(&[]), labels(&[]), true),
        (pools(&["a", "b"]), labels(&[]), labels(&a), true),
        (pools(&["b"]), labels(&[]), labels(&a), false),
        (pools(&[]), labels(&[]), labels(&a), false),
        (pools(&["a"]), labels(&[]), labels(&[("disk", "ssd")]), false),
        (None, labels(&[("disk", "ssd")]), labels(&a), true),
        (None, labels(&[("disk", "hdd")]), labels(&a), false),
        (None, labels(&[("disk", "ssd"), ("gpu", "")]), labels(&a), false),
        (pools(&["a"]), labels(&[("disk", "ssd")]), labels(&a), true),
        (pools(&["b"]), labels(&[("disk", "ssd")]), labels(&a), false),
    ];
    for (worker_pools, match_labels, node, expected) in cases {
        let selection = Selection { worker_pools, match_labels, ..Selection::default() };
        assert_eq!(selection.matches(&node), expected, "{selection:?} on {node:?}");
    }
}

/// What excludes a pool beats what selects it; nothing else is touched.
#[test]
fn an_excluded_pool_is_not_selected() {
    let node = |pool: Option<&str>| -> BTreeMap<String, String> {
        pool.map(|pool| (names::WORKER_POOL_LABEL.to_owned(), pool.to_owned())).into_iter().collect()
    };
    for (worker_pools, pool, expected) in [
        (None, Some("a"), false),
        (None, Some("b"), true),
        (None, None, true),
        (Some(vec!["a".to_owned(), "b".to_owned()]), Some("a"), false),
        (Some(vec!["a".to_owned(), "b".to_owned()]), Some("b"), true),
        (Some(vec!["a".to_owned()]), Some("b"), false),
    ] {
        let selection =
            Selection { worker_pools, excluded_pools: BTreeSet::from(["a".into()]), ..Selection::default() };
        assert_eq!(selection.matches(&node(pool)), expected, "{selection:?} on {pool:?}");
        let text = DesiredState { selection: selection.clone(), ..install() }.encode().unwrap();
        assert!(text.contains(r#""matchLabels":{},"excludedPools":["a"]}"#), "{text}");
        assert_eq!(DesiredState::decode(&text).unwrap().selection, selection);
    }
}

proptest! {
    #[test]
    fn any_desired_state_survives_encoding_and_decoding(
        remove: bool,
        pools in proptest::option::of(proptest::collection::vec(".*", 0..3)),
        labels in proptest::collection::btree_map(".*", ".*", 0..3),
        excluded_pools in proptest::collection::btree_set(".*", 0..3),
        fallback in proptest::option::of(".*"),
        force in proptest::option::of(".*"),
        extra in ".*",
    ) {
        let state = DesiredState {
            phase: if remove { Phase::Remove } else { Phase::Install },
            selection: Selection { worker_pools: pools, match_labels: labels, excluded_pools },
            backend: Backend::CriResmgr(Daemon {
                fallback_config: fallback,
                force_config: force,
                extra_options: extra,
            }),
            handover: None,
        };
        let text = state.encode().unwrap();
        prop_assert_eq!(DesiredState::decode(&text).unwrap(), state.clone());
        prop_assert_eq!(text, state.encode().unwrap());
    }
}
