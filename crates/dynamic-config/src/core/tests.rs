//! Tables: one test for each defect of the Go agent and for each trap of the daemon that can be prevented here.

mod fleet;
mod model;
mod random;

use std::collections::BTreeMap;

use serde_json::json;

use super::{Answer, Duty, Push};
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
    node.core.set_duty(serve());
    node.start("run-1");
    node
}

// The node's part: levels.

#[test]
fn the_configuration_follows_labels_and_config_maps() {
    let mut node = started();
    node.core.set_group(None);
    node.core.set_maps(BTreeMap::from([config(DEFAULT, NONE), config(GROUP, LOGGING)]));
    node.settle();
    assert_eq!(node.daemon.config_name(), Some(DEFAULT));
    node.core.set_group(Some("g".into()));
    node.settle();
    assert_eq!(node.daemon.config_name(), Some(GROUP));
    node.core.set_maps(BTreeMap::from([config(DEFAULT, NONE), config(GROUP, LOGGING), config(OWN, BALLOONS)]));
    node.settle();
    assert_eq!(node.daemon.config_name(), Some(OWN));
    node.core.set_maps(BTreeMap::from([config(DEFAULT, NONE)]));
    // The policy of the node's own configuration needs a new run before anything else is pushed.
    assert!(node.core.next_push().is_none());
    node.start("run-2");
    node.settle();
    assert_eq!(node.daemon.config_name(), Some(DEFAULT));
}

#[test]
fn without_any_config_map_the_static_configuration_comes_back_and_nothing_is_pushed_needlessly() {
    let mut node = started();
    node.core.set_group(None);
    node.core.set_maps(BTreeMap::new());
    node.settle();
    assert_eq!(node.daemon.pushed.len(), 0, "a daemon that was given nothing needs nothing");
    node.core.set_maps(BTreeMap::from([config(DEFAULT, LOGGING)]));
    node.settle();
    node.core.set_maps(BTreeMap::new());
    node.settle();
    assert_eq!(node.daemon.config_name(), Some("the static configuration"));
    // It is in the daemon's cache now: a new run needs nothing.
    node.start("run-2");
    node.settle();
    assert_eq!(node.daemon.pushed.len(), 2);
    // Another static configuration would not get past the cache.
    node.core.set_duty(Duty::Serve { fallback: LOGGING.into() });
    node.settle();
    assert_eq!(node.daemon.pushed.len(), 3);
}

// Defects of the Go agent.

/// (a) Nothing is pushed before the first complete list, and nothing because a list failed.
#[test]
fn defect_a_nothing_before_the_first_complete_list() {
    let mut node = started();
    node.settle();
    node.core.set_group(None);
    node.settle();
    assert_eq!(node.daemon.pushed.len(), 0);
    node.core.set_maps(BTreeMap::from([config(DEFAULT, NONE)]));
    node.settle();
    assert_eq!(node.daemon.pushed.len(), 1);
    // A list that fails later changes nothing: the core is not told. A deleted map is answered by the next level, never by nothing.
    node.core.set_maps(BTreeMap::new());
    node.settle();
    assert!(node.daemon.pushed.iter().all(|(_, data)| !data.is_empty()));
}

/// (b) and (c): there is one loop and no channel between deciding and pushing, and one decision for all that is known; adjustments that come
/// while a configuration could not be delivered do not make it forgotten.
#[test]
fn defect_b_and_c_a_configuration_that_did_not_arrive_stays_due() {
    let mut node = started();
    node.core.set_group(None);
    node.core.set_maps(BTreeMap::from([config(DEFAULT, NONE)]));
    let first = node.core.next_push();
    assert!(matches!(first, Some(Push::Config { .. })));
    // Not delivered; adjustments arrive; the configuration is still the next thing.
    node.core.set_adjustments(BTreeMap::from([adjustment("a", json!({"scope": []}))]));
    assert_eq!(node.core.next_push(), first);
    node.settle();
    assert_eq!((node.daemon.pushed.len(), node.daemon.adjusted.len()), (1, 1));
}

/// (d) A group that changes takes its own ConfigMap at once; one of the former group no longer counts.
#[test]
fn defect_d_events_of_a_former_group_do_not_count() {
    let mut node = started();
    node.core.set_group(Some("g".into()));
    let of_h = "cri-resmgr-config.group.h";
    node.core.set_maps(BTreeMap::from([config(GROUP, NONE), config(of_h, LOGGING)]));
    node.settle();
    node.core.set_group(Some("h".into()));
    node.settle();
    assert_eq!(node.daemon.config_name(), Some(of_h));
    let dump = "policy: {Active: none}\ndump: {Disabled: true}";
    node.core.set_maps(BTreeMap::from([config(GROUP, dump), config(of_h, LOGGING)]));
    node.settle();
    assert_eq!(node.daemon.pushed.len(), 2, "a change of the former group's ConfigMap is pushed");
}

/// (e) What other nodes write into the status is no change.
#[test]
fn defect_e_the_status_of_others_causes_nothing() {
    let mut node = started();
    let spec = json!({"scope": [{"containers": [{"key": "name", "operator": "In", "values": ["c"]}]}], "classes": {"rdt": "gold"}});
    node.core.set_adjustments(BTreeMap::from([adjustment("a", spec.clone())]));
    node.settle();
    node.write_statuses();
    let (pushed, written) = (node.daemon.adjusted.len(), node.writes);
    for _ in 0..5 {
        // Made anew each time, as a watch does: equal by value, not by address.
        node.core.set_adjustment("a", Some(node.live("a", &spec)));
        node.settle();
        node.write_statuses();
    }
    assert_eq!((node.daemon.adjusted.len(), node.writes), (pushed, written));
}

/// (f) A fault of one shows on that one only, and the others are in effect.
#[test]
fn defect_f_a_fault_shows_where_it_is() {
    let mut node = started();
    node.daemon.bad.insert("b".into());
    let names = ["a", "b", "c"];
    node.core.set_adjustments(names.map(|name| adjustment(name, json!({"scope": []}))).into());
    node.settle();
    assert_eq!(node.daemon.in_effect(), ["a", "c"]);
    node.write_statuses();
    assert_eq!(node.errors("a"), Some(vec![]));
    assert_eq!(node.errors("b"), Some(vec!["b".to_owned()]));
    assert_eq!(node.errors("c"), Some(vec![]));
    // Not tried again until it changes; then it is.
    let pushed = node.daemon.adjusted.len();
    node.settle();
    assert_eq!(node.daemon.adjusted.len(), pushed);
    node.daemon.bad.clear();
    node.core.set_adjustment("b", Some(adjustment("b", json!({"scope": [], "toptierLimit": "1G"})).1));
    node.settle();
    assert_eq!(node.daemon.in_effect(), ["a", "b", "c"]);
}

/// (f) The same where the errors name a container: two adjustments contradict each other, the third is not to blame. The older one wins.
#[test]
fn defect_f_errors_of_containers_find_their_adjustment() {
    let mut node = started();
    node.daemon.conflict = Some(["b".into(), "c".into()]);
    let names = ["a", "b", "c", "d"];
    node.core.set_adjustments(names.map(|name| adjustment(name, json!({"scope": []}))).into());
    node.settle();
    assert_eq!(node.daemon.in_effect(), ["a", "b", "d"]);
    node.write_statuses();
    assert_eq!(node.errors("c"), Some(vec!["container-1".to_owned()]));
    assert_eq!(node.errors("d"), Some(vec![]));
    // The one in the way goes: the other is tried again.
    node.core.set_adjustment("b", None);
    node.settle();
    assert_eq!(node.daemon.in_effect(), ["a", "c", "d"]);
}

// Traps of the daemon.

/// 1. An empty configuration is never pushed, whatever the ConfigMap says.
#[test]
fn trap_1_an_empty_config_map_is_refused_and_what_runs_goes_on() {
    let mut node = started();
    node.core.set_group(None);
    node.core.set_maps(BTreeMap::from([config(DEFAULT, NONE)]));
    node.settle();
    for text in [BTreeMap::new(), BTreeMap::from([("policy".to_owned(), " \n".to_owned())])] {
        node.core.set_maps(BTreeMap::from([(DEFAULT.to_owned(), text)]));
        node.settle();
        assert_eq!(node.daemon.pushed.len(), 1);
        let problem = node.core.standing().problem.unwrap();
        assert!(problem.message.contains("is not valid"), "{problem:?}");
    }
}

/// 2. Another policy takes over with a restart, once.
#[test]
fn trap_2_another_policy_ends_the_run_once() {
    let mut node = started();
    node.core.set_group(None);
    node.core.set_maps(BTreeMap::from([config(DEFAULT, BALLOONS)]));
    node.settle();
    let renewal = node.core.standing().renewal.unwrap();
    assert_eq!(renewal.invocation, "run-1");
    assert!(renewal.because.ends_with("the policy changes from none to balloons"), "{renewal:?}");
    node.start("run-2");
    node.settle();
    assert_eq!(node.core.standing().renewal, None);
    assert_eq!(node.daemon.running_policy, "balloons");
}

/// 2. and 3. A misspelt policy and one without what it needs would let the daemon crash at its next start.
#[test]
fn trap_3_what_would_crash_the_daemon_is_not_pushed() {
    for text in [
        "policy: {Active: baloons}",
        "policy: {Active: balloons}",
        "policy: {Active: topology-aware, ReservedResources: {CPU: 1}, AvailableResources: {CPU: 4}}",
    ] {
        let mut node = started();
        node.core.set_group(None);
        node.core.set_maps(BTreeMap::from([config(DEFAULT, text)]));
        node.settle();
        assert_eq!(node.daemon.pushed.len(), 0, "{text}");
        let problem = node.core.standing().problem.unwrap();
        assert!(problem.message.contains("policy."), "{problem:?}");
        assert!(!problem.message.contains("baloons"), "a value is in the message: {problem:?}");
    }
}

/// 3. A configuration with which the daemon does not come up is not tried again.
#[test]
fn trap_3_a_configuration_that_led_to_a_roll_back_is_not_pushed_again() {
    let mut node = started();
    node.core.set_group(None);
    node.core.set_maps(BTreeMap::from([config(DEFAULT, BALLOONS)]));
    node.settle();
    assert!(node.core.standing().renewal.is_some());
    node.crash("run-2");
    node.crash("run-3");
    node.core.set_duty(Duty::RolledBack);
    node.reset();
    node.core.set_duty(serve());
    node.start("run-4");
    node.settle();
    assert_eq!(node.daemon.running_policy, "none");
    let problem = node.core.standing().problem.unwrap();
    assert!(problem.message.contains("did not come up"), "{problem:?}");
    // Until it changes.
    node.core.set_maps(BTreeMap::from([config(DEFAULT, LOGGING)]));
    node.settle();
    assert_eq!((node.daemon.config_name(), node.core.standing().problem), (Some(DEFAULT), None));
}

/// 4. Every push lets the topology-aware policy build its pools anew: one for each run and change.
#[test]
fn trap_4_nothing_is_pushed_twice_to_one_run() {
    let mut node = started();
    node.core.set_group(None);
    for _ in 0..3 {
        node.core.set_maps(BTreeMap::from([config(DEFAULT, LOGGING)]));
        node.settle();
    }
    // The same content under another name, and a new agent.
    node.core.set_maps(BTreeMap::from([config(DEFAULT, NONE), config(OWN, LOGGING)]));
    node.settle();
    assert_eq!(node.core.standing().accepted.unwrap().name, OWN);
    node.next_agent();
    node.core.set_duty(serve());
    node.core.set_group(None);
    node.core.set_maps(BTreeMap::from([config(OWN, LOGGING)]));
    node.settle();
    assert_eq!(node.daemon.pushed.len(), 1);
    node.start("run-2");
    node.settle();
    assert_eq!(node.daemon.pushed.len(), 2, "a new run is given it again");
}

/// 5. What was refused may be in effect nevertheless: the run is ended, once, and comes back with the last good one.
#[test]
fn trap_5_a_refusal_ends_the_run_once() {
    let mut node = started();
    node.core.set_group(None);
    node.core.set_maps(BTreeMap::from([config(DEFAULT, NONE)]));
    node.settle();
    node.daemon.refuses = true;
    node.core.set_maps(BTreeMap::from([config(DEFAULT, LOGGING)]));
    node.settle();
    let standing = node.core.standing();
    assert!(standing.problem.unwrap().message.contains("refused"));
    assert_eq!(standing.renewal.unwrap().invocation, "run-1");
    node.start("run-2");
    node.settle();
    assert_eq!(
        (node.core.standing().renewal, node.daemon.pushed.len()),
        (None, 2),
        "it stays refused over our own restart"
    );
    assert!(node.core.standing().problem.is_some());
    // Somebody else restarts the daemon: it is tried once more, and the run is left alone.
    node.start("run-3");
    node.settle();
    assert_eq!((node.core.standing().renewal, node.daemon.pushed.len()), (None, 3));
    assert!(node.core.standing().problem.is_some());
    // It changes, and is accepted.
    node.daemon.refuses = false;
    node.core.set_maps(BTreeMap::from([config(DEFAULT, "policy: {Active: none}\ndump: {Disabled: true}")]));
    node.settle();
    assert_eq!((node.core.standing().problem, node.daemon.pushed.len()), (None, 4));
}

/// 6. The order of a safe switch: the new configuration is in the daemon's cache before the run ends, and nothing more is pushed to that run.
#[test]
fn trap_6_the_configuration_is_cached_before_the_run_ends() {
    let mut node = started();
    node.core.set_group(None);
    node.core.set_maps(BTreeMap::from([config(DEFAULT, BALLOONS)]));
    node.settle();
    assert!(node.core.standing().renewal.is_some());
    assert_eq!(
        node.daemon.cached.as_ref().unwrap()["policy"],
        crate::core::tests::config(DEFAULT, BALLOONS).1["policy"]
    );
    node.core.set_maps(BTreeMap::from([config(DEFAULT, NONE)]));
    node.core.set_adjustments(BTreeMap::from([adjustment("a", json!({"scope": []}))]));
    assert_eq!(node.core.next_push(), None);
}

// Sticky keys.

#[test]
fn a_shrink_of_a_sticky_key_restarts_once_and_says_why() {
    let classes = |names: &str| format!("policy: {{Active: none}}\nblockio: {{Classes: {{{names}}}}}");
    let mut node = started();
    node.core.set_group(None);
    node.core.set_maps(BTreeMap::from([config(DEFAULT, &classes("a: [{Weight: '10'}], b: [{Weight: '10'}]"))]));
    node.settle();
    assert_eq!(node.core.standing().renewal, None, "what grows needs no restart");
    node.core.set_maps(BTreeMap::from([config(DEFAULT, &classes("a: [{Weight: '10'}]"))]));
    node.settle();
    let renewal = node.core.standing().renewal.unwrap();
    assert!(renewal.because.contains("blockio.Classes.b"), "{renewal:?}");
    // The agent dies before the restart; the next one knows.
    node.next_agent();
    node.core.set_duty(serve());
    assert_eq!(node.core.standing().renewal, Some(renewal));
    node.start("run-2");
    node.core.set_group(None);
    node.core.set_maps(BTreeMap::from([config(DEFAULT, &classes("a: [{Weight: '10'}]"))]));
    node.settle();
    assert_eq!(node.core.standing().renewal, None);
}

#[test]
fn a_restart_that_does_not_help_is_not_repeated() {
    let mut node = started();
    node.core.set_group(None);
    node.daemon.cannot_cache = true;
    node.core.set_maps(BTreeMap::from([config(DEFAULT, BALLOONS)]));
    for run in 1..5 {
        node.settle();
        node.start(&format!("run-{}", run + 1));
    }
    node.settle();
    assert_eq!(node.core.standing().renewal, None);
    assert!(node.core.standing().problem.unwrap().message.contains("restarted once"));
}

// Restarts and duties.

#[test]
fn a_new_run_gets_configuration_and_adjustments_again() {
    let mut node = started();
    node.core.set_group(None);
    node.core.set_maps(BTreeMap::from([config(DEFAULT, NONE)]));
    node.core.set_adjustments(BTreeMap::from([adjustment("a", json!({"scope": []}))]));
    node.settle();
    node.start("run-2");
    node.settle();
    assert_eq!((node.daemon.pushed.len(), node.daemon.adjusted.len()), (2, 2));
    assert_eq!(node.daemon.in_effect(), ["a"]);
}

#[test]
fn an_empty_set_of_adjustments_is_pushed_where_there_may_be_some_and_nowhere_else() {
    let mut node = started();
    node.core.set_adjustments(BTreeMap::new());
    node.settle();
    assert_eq!(node.daemon.adjusted.len(), 1, "a run from before this agent may have some");
    node.start("run-2");
    node.settle();
    assert_eq!(node.daemon.adjusted.len(), 1, "a new run has none");
    node.core.set_adjustment("a", Some(adjustment("a", json!({"scope": []})).1));
    node.settle();
    node.core.set_adjustment("a", None);
    node.settle();
    assert_eq!(node.daemon.adjusted.len(), 3);
    assert!(node.daemon.in_effect().is_empty());
}

#[test]
fn without_a_duty_nothing_is_pushed_and_statuses_are_withdrawn() {
    let mut node = started();
    node.core.set_group(None);
    node.core.set_maps(BTreeMap::from([config(DEFAULT, "policy: {Active: baloons}")]));
    node.core.set_adjustments(BTreeMap::from([adjustment("a", json!({"scope": []}))]));
    node.settle();
    node.write_statuses();
    assert_eq!(node.errors("a"), Some(vec![]));
    assert!(node.core.standing().problem.is_some());
    for duty in [Duty::Undecided, Duty::RolledBack] {
        node.core.set_duty(duty);
        assert!(node.core.next_push().is_none() && node.core.status_writes().is_empty());
    }
    node.core.set_duty(Duty::Off);
    assert_eq!(node.core.standing(), crate::Standing::default(), "nothing stands in the way of a removal");
    assert_eq!(node.core.next_push(), None);
    node.write_statuses();
    assert_eq!(node.errors("a"), None);
}

#[test]
fn an_adjustment_that_no_longer_matches_leaves_no_entry() {
    let mut node = started();
    node.core.set_adjustments(BTreeMap::from([adjustment("a", json!({"scope": [{"nodes": ["n"]}]}))]));
    node.settle();
    node.write_statuses();
    assert_eq!(node.errors("a"), Some(vec![]));
    node.respec("a", json!({"scope": [{"nodes": ["m"]}]}));
    node.settle();
    node.write_statuses();
    assert_eq!(node.errors("a"), None);
    assert!(node.daemon.in_effect().is_empty());
}

#[test]
fn a_memory_survives_the_journey() {
    let mut node = started();
    node.daemon.bad.insert("a".into());
    node.core.set_group(None);
    node.core.set_maps(BTreeMap::from([config(DEFAULT, BALLOONS)]));
    node.settle();
    node.start("run-2");
    node.core.set_adjustments(BTreeMap::from([adjustment("a", json!({"scope": []}))]));
    node.settle();
    let text = serde_json::to_string(node.core.memory()).unwrap();
    assert_eq!(serde_json::from_str::<Memory>(&text).unwrap(), *node.core.memory());
    assert!(serde_json::from_str::<Memory>("{}").is_ok_and(|memory| memory == Memory::default()));
}

#[test]
fn an_answer_to_a_set_that_changed_meanwhile_is_about_the_set_that_was_sent() {
    let mut node = started();
    node.core.set_adjustments(BTreeMap::from([adjustment("a", json!({"scope": []}))]));
    let push = node.core.next_push().unwrap();
    node.core.set_adjustment("a", Some(adjustment("a", json!({"scope": [], "toptierLimit": "1G"})).1));
    node.core.answered(&push, &Answer::Accepted);
    assert!(node.core.status_writes().is_empty(), "the new one is not in effect yet");
    assert!(matches!(node.core.next_push(), Some(Push::Adjustments { .. })));
}
