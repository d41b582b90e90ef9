//! What a node is given, case by case; [`defects`] and [`traps`] for what others got wrong, [`random`] for the rest, [`fleet`] for many nodes.

mod defects;
mod fleet;
mod model;
mod random;
mod traps;

use std::collections::BTreeMap;

use extension_config::cri_resmgr::CpuSet;
use serde_json::json;

use super::{Answer, DaemonMode, Push};
use crate::memory::Memory;
use model::{Node, adjustment, config, serve};

const DEFAULT: &str = "cri-resmgr-config.default";
const GROUP: &str = "cri-resmgr-config.group.g";
const OWN: &str = "cri-resmgr-config.node.n";
const NONE: &str = "policy: {Active: none}";
const LOGGING: &str = "policy: {Active: none}\nlogger: {Debug: policy}";
const BALLOONS: &str = "policy: {Active: balloons, ReservedResources: {CPU: 750m}}";

fn started() -> Node {
    let mut node = Node::new("n");
    node.core.set_daemon_mode(serve());
    node.start("run-1");
    node
}

#[test]
fn the_configuration_follows_labels_and_config_maps() {
    let mut node = started();
    node.core.set_group(None);
    node.core.set_maps(BTreeMap::from([config(DEFAULT, NONE), config(GROUP, LOGGING)]));
    node.run_until_idle();
    assert_eq!(node.daemon.config_name(), Some(DEFAULT));
    node.core.set_group(Some("g".into()));
    node.run_until_idle();
    assert_eq!(node.daemon.config_name(), Some(GROUP));
    node.core.set_maps(BTreeMap::from([config(DEFAULT, NONE), config(GROUP, LOGGING), config(OWN, BALLOONS)]));
    node.run_until_idle();
    assert_eq!(node.daemon.config_name(), Some(OWN));
    node.core.set_maps(BTreeMap::from([config(DEFAULT, NONE)]));
    // The policy of the node's own configuration needs a new run before anything else is pushed.
    assert!(node.core.next_push().is_none());
    node.start("run-2");
    node.run_until_idle();
    assert_eq!(node.daemon.config_name(), Some(DEFAULT));
}

#[test]
fn without_any_config_map_the_static_configuration_is_restored_with_no_needless_push() {
    let mut node = started();
    node.core.set_group(None);
    node.core.set_maps(BTreeMap::new());
    node.run_until_idle();
    assert_eq!(node.daemon.pushed.len(), 0, "a daemon that was given nothing needs nothing");
    node.core.set_maps(BTreeMap::from([config(DEFAULT, LOGGING)]));
    node.run_until_idle();
    node.core.set_maps(BTreeMap::new());
    node.run_until_idle();
    assert_eq!(node.daemon.config_name(), Some("the static configuration"));
    // It is in the daemon's cache now: a new run needs nothing.
    node.start("run-2");
    node.run_until_idle();
    assert_eq!(node.daemon.pushed.len(), 2);
    // Another static configuration would not get past the cache.
    node.core.set_daemon_mode(DaemonMode::Serve { fallback: LOGGING.into() });
    node.run_until_idle();
    assert_eq!(node.daemon.pushed.len(), 3);
}

#[test]
fn a_text_with_the_same_meaning_is_not_pushed_again() {
    let data = |text: &str| (DEFAULT.to_owned(), BTreeMap::from([("policy".to_owned(), text.to_owned())]));
    let mut node = started();
    node.core.set_group(None);
    for text in ["{Active: none}", "# a comment\nActive: none\n", "Active:  \"none\"", r#"{"Active":"none"}"#] {
        node.core.set_maps(BTreeMap::from([data(text)]));
        node.run_until_idle();
    }
    assert_eq!(node.daemon.pushed, [data(r#"{"Active":"none"}"#)]);
    // What an agent before us pushed as it was written is in the daemon's cache, and the static configuration says the same.
    node.daemon.cached = Some(data("Active:   none").1);
    node.start("run-2");
    node.core.set_maps(BTreeMap::new());
    node.run_until_idle();
    assert_eq!(node.daemon.pushed.len(), 1);
}

/// W3, W5: what was read is pushed, never the text.
#[test]
fn keys_that_reach_files_are_left_out_of_the_push() {
    let mut node = started();
    node.core.set_group(None);
    let texts = [
        ("dump", "{File: /etc/cron.d/x, Debug: true}"),
        ("logger", "Klog: {log_dir: /etc, skip_headers: 'false'}"),
        ("policy", "# a comment\u{2028}static-pools: {ConfDirPath: /x}\nActive: none"),
    ];
    let data: BTreeMap<_, _> = texts.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect();
    node.core.set_maps(BTreeMap::from([(DEFAULT.to_owned(), data)]));
    node.run_until_idle();
    let pushed: Vec<_> = node.daemon.pushed[0].1.iter().map(|(key, text)| format!("{key}: {text}")).collect();
    assert_eq!(
        pushed,
        [r#"dump: {"Debug":true}"#, r#"logger: {"Klog":{"skip_headers":false}}"#, r#"policy: {"Active":"none"}"#]
    );
    let warnings = node.core.config_status().warnings;
    let keys: Vec<_> = warnings.iter().map(|shown| shown.split(' ').next().unwrap()).collect();
    assert_eq!(keys, ["dump.File", "logger.Klog.log_dir"]);
}

#[test]
fn settings_without_effect_are_warned_of_within_limits() {
    let mut node = started();
    node.core.set_group(None);
    let type_of = |index: usize| format!("{{Name: b{index}, CpuClass: class-{index}}}");
    let types: Vec<_> = (0..20).map(type_of).collect();
    let text = format!(
        "{{Active: balloons, ReservedResources: {{CPU: 1}}, balloons: {{BalloonTypes: [{}]}}}}",
        types.join(", ")
    );
    node.core.set_maps(BTreeMap::from([(DEFAULT.to_owned(), BTreeMap::from([("policy".to_owned(), text)]))]));
    node.run_until_idle();
    let config_status = node.core.config_status();
    assert_eq!((config_status.problem.clone(), node.daemon.pushed.len()), (None, 1));
    assert_eq!(config_status.warnings.len(), 6);
    assert!(
        config_status.warnings[0].starts_with("policy.balloons.BalloonTypes[0].CpuClass \"class-0\" is not a class")
    );
    assert!(config_status.warnings[5].starts_with("and "), "{config_status:?}");
    node.start("run-2");
    node.core.set_maps(BTreeMap::new());
    node.run_until_idle();
    assert!(node.core.config_status().warnings.is_empty());
}

const WIDE: &str = "policy: {Active: balloons, AvailableResources: {CPU: 'cpuset:0-15'}, ReservedResources: {CPU: 1}}";

#[test]
fn a_configuration_with_absent_cpus_is_refused_and_names_them() {
    let mut node = started();
    node.core.set_group(None);
    node.core.set_cpus(CpuSet::of_kernel("0-7"));
    node.core.set_maps(BTreeMap::from([config(DEFAULT, WIDE)]));
    node.run_until_idle();
    assert!(node.daemon.pushed.is_empty());
    let problem = node.core.config_status().problem.unwrap();
    assert_eq!(problem.reason.as_str(), "CriResmgrConfigInvalid");
    let sentence =
        "invalid: policy.AvailableResources.CPU is cpuset:0-15, but this node does not have the CPUs 8-15; it has 0-7";
    assert!(problem.message.contains(sentence), "{problem:?}");
    assert!(node.core.config_status().warnings.is_empty(), "reported once");
    // They were plugged in.
    node.core.set_cpus(CpuSet::of_kernel("0-15"));
    node.run_until_idle();
    assert_eq!((node.daemon.pushed.len(), node.core.config_status().problem), (1, None));
}

#[test]
fn absent_cpus_that_were_pushed_before_stay_with_a_warning() {
    // An agent that did not look has pushed it.
    let mut node = started();
    node.core.set_group(None);
    node.core.set_maps(BTreeMap::from([config(DEFAULT, WIDE)]));
    node.run_until_idle();
    node.start("run-2");
    node.run_until_idle();
    for step in ["the next agent", "and a new run of the daemon"] {
        node.next_agent();
        node.core.set_daemon_mode(serve());
        node.core.set_group(None);
        node.core.set_cpus(CpuSet::of_kernel("0-7"));
        node.core.set_maps(BTreeMap::from([config(DEFAULT, WIDE)]));
        node.run_until_idle();
        let config_status = node.core.config_status();
        assert_eq!((config_status.problem.clone(), node.daemon.config_name()), (None, Some(DEFAULT)), "{step}");
        assert!(config_status.warnings[0].contains("does not have the CPUs 8-15"), "{step}: {config_status:?}");
        node.start(step);
        node.run_until_idle();
    }
    // Another one with them is refused, and what runs goes on.
    let other = WIDE.replace("0-15", "0-16");
    node.core.set_maps(BTreeMap::from([config(DEFAULT, &other)]));
    let pushed = node.daemon.pushed.len();
    node.run_until_idle();
    assert_eq!(node.daemon.pushed.len(), pushed);
    assert!(node.core.config_status().problem.is_some());
}

/// W12: one content is refused at once, whatever its size.
#[test]
fn a_config_map_beyond_the_limits_is_refused_by_name() {
    let mut node = started();
    node.core.set_group(None);
    let lists = "{Socket: 0},".repeat(100_000);
    let text = format!("{{Active: none, static-pools: {{pools: {{a: {{cpuLists: [{lists}]}}}}}}}}");
    node.core.set_maps(BTreeMap::from([(DEFAULT.to_owned(), BTreeMap::from([("policy".to_owned(), text)]))]));
    node.run_until_idle();
    assert!(node.daemon.pushed.is_empty());
    assert!(node.core.config_status().problem.is_some());
}

#[test]
fn a_shrunken_sticky_key_requests_one_restart_with_its_reason() {
    let classes = |names: &str| format!("policy: {{Active: none}}\nblockio: {{Classes: {{{names}}}}}");
    let mut node = started();
    node.core.set_group(None);
    node.core.set_maps(BTreeMap::from([config(DEFAULT, &classes("a: [{Weight: '10'}], b: [{Weight: '10'}]"))]));
    node.run_until_idle();
    assert_eq!(node.core.config_status().restart_request, None, "what grows needs no restart");
    node.core.set_maps(BTreeMap::from([config(DEFAULT, &classes("a: [{Weight: '10'}]"))]));
    node.run_until_idle();
    let restart_request = node.core.config_status().restart_request.unwrap();
    assert!(restart_request.because.contains("blockio.Classes.b"), "{restart_request:?}");
    // The agent dies before the restart; the next one knows.
    node.next_agent();
    node.core.set_daemon_mode(serve());
    assert_eq!(node.core.config_status().restart_request, Some(restart_request));
    node.start("run-2");
    node.core.set_group(None);
    node.core.set_maps(BTreeMap::from([config(DEFAULT, &classes("a: [{Weight: '10'}]"))]));
    node.run_until_idle();
    assert_eq!(node.core.config_status().restart_request, None);
}

/// Found by [`random`]: "once" is for each change, not for ever.
#[test]
fn the_same_configuration_can_request_a_restart_for_each_change() {
    let classes = "policy: {Active: none}\nblockio: {Classes: {a: [{Weight: '10'}]}}";
    let mut node = started();
    node.core.set_group(None);
    for round in 1..4 {
        node.core.set_maps(BTreeMap::from([config(DEFAULT, classes)]));
        node.run_until_idle();
        node.core.set_maps(BTreeMap::from([config(DEFAULT, NONE)]));
        node.run_until_idle();
        assert!(node.core.config_status().restart_request.is_some(), "round {round}");
        node.start(&format!("run-{}", round + 1));
        node.run_until_idle();
        assert_eq!(
            (node.core.config_status().restart_request, node.core.config_status().problem),
            (None, None),
            "round {round}"
        );
    }
}

#[test]
fn a_restart_that_did_not_help_is_not_requested_again() {
    let mut node = started();
    node.core.set_group(None);
    node.daemon.cannot_cache = true;
    node.core.set_maps(BTreeMap::from([config(DEFAULT, BALLOONS)]));
    for run in 1..5 {
        node.run_until_idle();
        node.start(&format!("run-{}", run + 1));
    }
    node.run_until_idle();
    assert_eq!(node.core.config_status().restart_request, None);
    assert!(node.core.config_status().problem.unwrap().message.contains("restarted once"));
}

#[test]
fn a_new_run_of_the_daemon_gets_configuration_and_adjustments_again() {
    let mut node = started();
    node.core.set_group(None);
    node.core.set_maps(BTreeMap::from([config(DEFAULT, NONE)]));
    node.core.set_adjustments(BTreeMap::from([adjustment("a", json!({"scope": []}))]));
    node.run_until_idle();
    node.start("run-2");
    node.run_until_idle();
    assert_eq!((node.daemon.pushed.len(), node.daemon.adjusted.len()), (2, 2));
    assert_eq!(node.daemon.in_effect(), ["a"]);
}

#[test]
fn an_empty_set_of_adjustments_is_pushed_only_to_a_run_that_may_have_some() {
    let mut node = started();
    node.core.set_adjustments(BTreeMap::new());
    node.run_until_idle();
    assert_eq!(node.daemon.adjusted.len(), 1, "a run from before this agent may have some");
    node.start("run-2");
    node.run_until_idle();
    assert_eq!(node.daemon.adjusted.len(), 1, "a new run has none");
    node.core.set_adjustment("a", Some(adjustment("a", json!({"scope": []})).1));
    node.run_until_idle();
    node.core.set_adjustment("a", None);
    node.run_until_idle();
    assert_eq!(node.daemon.adjusted.len(), 3);
    assert!(node.daemon.in_effect().is_empty());
}

#[test]
fn a_daemon_that_takes_no_configuration_gets_no_push_and_statuses_are_withdrawn() {
    let mut node = started();
    node.core.set_group(None);
    node.core.set_maps(BTreeMap::from([config(DEFAULT, "policy: {Active: baloons}")]));
    node.core.set_adjustments(BTreeMap::from([adjustment("a", json!({"scope": []}))]));
    node.run_until_idle();
    node.write_statuses();
    assert_eq!(node.errors("a"), Some(vec![]));
    assert!(node.core.config_status().problem.is_some());
    for daemon_mode in [DaemonMode::Undecided, DaemonMode::RolledBack] {
        node.core.set_daemon_mode(daemon_mode);
        assert!(node.core.next_push().is_none() && node.core.status_writes().is_empty());
    }
    node.core.set_daemon_mode(DaemonMode::Off);
    let meant = node.core.config_status().meant;
    let nothing = crate::ConfigStatus { meant: meant.clone(), ..crate::ConfigStatus::default() };
    assert_eq!(node.core.config_status(), nothing, "nothing stands in the way of a removal");
    let known = crate::Meant { config_map: Some(DEFAULT.to_owned()), adjustments: vec!["a".to_owned()] };
    assert_eq!(meant, Some(known), "what is meant for the node is known all the same");
    assert_eq!(node.core.next_push(), None);
    node.write_statuses();
    assert_eq!(node.errors("a"), None);
}

#[test]
fn an_adjustment_that_no_longer_matches_loses_its_status_entry() {
    let mut node = started();
    node.core.set_adjustments(BTreeMap::from([adjustment("a", json!({"scope": [{"nodes": ["n"]}]}))]));
    node.run_until_idle();
    node.write_statuses();
    assert_eq!(node.errors("a"), Some(vec![]));
    node.respec("a", json!({"scope": [{"nodes": ["m"]}]}));
    node.run_until_idle();
    node.write_statuses();
    assert_eq!(node.errors("a"), None);
    assert!(node.daemon.in_effect().is_empty());
}

#[test]
fn a_memory_survives_encoding_and_decoding() {
    let mut node = started();
    node.daemon.bad.insert("a".into());
    node.core.set_group(None);
    node.core.set_maps(BTreeMap::from([config(DEFAULT, BALLOONS)]));
    node.run_until_idle();
    node.start("run-2");
    node.core.set_adjustments(BTreeMap::from([adjustment("a", json!({"scope": []}))]));
    node.run_until_idle();
    let text = serde_json::to_string(node.core.memory()).unwrap();
    assert_eq!(serde_json::from_str::<Memory>(&text).unwrap(), *node.core.memory());
    assert!(serde_json::from_str::<Memory>("{}").is_ok_and(|memory| memory == Memory::default()));
}

#[test]
fn an_answer_counts_for_the_set_that_was_sent_when_the_set_changed_meanwhile() {
    let mut node = started();
    node.core.set_adjustments(BTreeMap::from([adjustment("a", json!({"scope": []}))]));
    let push = node.core.next_push().unwrap();
    node.core.set_adjustment("a", Some(adjustment("a", json!({"scope": [], "toptierLimit": "1G"})).1));
    node.core.answered(&push, &Answer::Accepted);
    assert!(node.core.status_writes().is_empty(), "the new one is not in effect yet");
    assert!(matches!(node.core.next_push(), Some(Push::Adjustments { .. })));
}
