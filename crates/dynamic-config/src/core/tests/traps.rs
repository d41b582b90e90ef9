//! One test for each trap of the daemon that can be prevented here.

use std::collections::BTreeMap;

use serde_json::json;

use super::model::{adjustment, config, serve};
use super::{BALLOONS, DEFAULT, LOGGING, NONE, OWN, started};
use crate::core::DaemonMode;

/// 1. An empty configuration is never pushed, whatever the ConfigMap says.
#[test]
fn trap_1_an_empty_config_map_is_refused_and_the_running_configuration_stays() {
    let mut node = started();
    node.core.set_group(None);
    node.core.set_maps(BTreeMap::from([config(DEFAULT, NONE)]));
    node.run_until_idle();
    for text in [BTreeMap::new(), BTreeMap::from([("policy".to_owned(), " \n".to_owned())])] {
        node.core.set_maps(BTreeMap::from([(DEFAULT.to_owned(), text)]));
        node.run_until_idle();
        assert_eq!(node.daemon.pushed.len(), 1);
        let problem = node.core.config_status().problem.unwrap();
        assert!(
            problem.message.ends_with("is not valid and is not pushed to cri-resmgr; invalid: the whole document"),
            "{problem:?}"
        );
    }
}

/// 2. Another policy takes over with a restart, once.
#[test]
fn trap_2_another_policy_requests_one_restart() {
    let mut node = started();
    node.core.set_group(None);
    node.core.set_maps(BTreeMap::from([config(DEFAULT, BALLOONS)]));
    node.run_until_idle();
    let restart_request = node.core.config_status().restart_request.unwrap();
    assert_eq!(restart_request.invocation, "run-1");
    assert!(restart_request.because.ends_with("the policy changes from none to balloons"), "{restart_request:?}");
    node.start("run-2");
    node.run_until_idle();
    assert_eq!(node.core.config_status().restart_request, None);
    assert_eq!(node.daemon.running_policy, "balloons");
}

/// 2. and 3. A misspelt policy and one without what it needs would let the daemon crash at its next start.
#[test]
fn trap_3_a_configuration_that_would_crash_the_daemon_is_not_pushed() {
    for text in [
        "policy: {Active: baloons}",
        "policy: {Active: balloons}",
        "policy: {Active: topology-aware, ReservedResources: {CPU: 1}, AvailableResources: {CPU: 4}}",
    ] {
        let mut node = started();
        node.core.set_group(None);
        node.core.set_maps(BTreeMap::from([config(DEFAULT, text)]));
        node.run_until_idle();
        assert_eq!(node.daemon.pushed.len(), 0, "{text}");
        let problem = node.core.config_status().problem.unwrap();
        assert!(problem.message.contains("is not pushed to cri-resmgr; invalid: policy."), "{problem:?}");
        assert!(!problem.message.contains("baloons"), "a value is in the message: {problem:?}");
    }
}

/// 3. A configuration with which the daemon does not come up is not tried again.
#[test]
fn trap_3_a_configuration_that_led_to_a_roll_back_is_not_pushed_again() {
    let mut node = started();
    node.core.set_group(None);
    node.core.set_maps(BTreeMap::from([config(DEFAULT, BALLOONS)]));
    node.run_until_idle();
    assert!(node.core.config_status().restart_request.is_some());
    node.crash("run-2");
    node.crash("run-3");
    node.core.set_daemon_mode(DaemonMode::RolledBack);
    node.reset();
    node.core.set_daemon_mode(serve());
    node.start("run-4");
    node.run_until_idle();
    assert_eq!(node.daemon.running_policy, "none");
    let problem = node.core.config_status().problem.unwrap();
    assert!(problem.message.contains("did not come up"), "{problem:?}");
    // Until it changes.
    node.core.set_maps(BTreeMap::from([config(DEFAULT, LOGGING)]));
    node.run_until_idle();
    assert_eq!((node.daemon.config_name(), node.core.config_status().problem), (Some(DEFAULT), None));
}

/// 4. Every push lets the topology-aware policy build its pools anew: one for each run and change.
#[test]
fn trap_4_nothing_is_pushed_twice_to_one_run() {
    let mut node = started();
    node.core.set_group(None);
    for _ in 0..3 {
        node.core.set_maps(BTreeMap::from([config(DEFAULT, LOGGING)]));
        node.run_until_idle();
    }
    // The same content under another name, and a new agent.
    node.core.set_maps(BTreeMap::from([config(DEFAULT, NONE), config(OWN, LOGGING)]));
    node.run_until_idle();
    assert_eq!(node.core.config_status().accepted.unwrap().name, OWN);
    node.next_agent();
    node.core.set_daemon_mode(serve());
    node.core.set_group(None);
    node.core.set_maps(BTreeMap::from([config(OWN, LOGGING)]));
    node.run_until_idle();
    assert_eq!(node.daemon.pushed.len(), 1);
    node.start("run-2");
    node.run_until_idle();
    assert_eq!(node.daemon.pushed.len(), 2, "a new run is given it again");
}

/// 5. What was refused may be in effect nevertheless: the run is ended, once, and comes back with the last good one.
#[test]
fn trap_5_a_refusal_by_the_daemon_requests_one_restart() {
    let mut node = started();
    node.core.set_group(None);
    node.core.set_maps(BTreeMap::from([config(DEFAULT, NONE)]));
    node.run_until_idle();
    node.daemon.refuses = true;
    node.core.set_maps(BTreeMap::from([config(DEFAULT, LOGGING)]));
    node.run_until_idle();
    let config_status = node.core.config_status();
    assert!(config_status.problem.unwrap().message.contains("refused"));
    assert_eq!(config_status.restart_request.unwrap().invocation, "run-1");
    node.start("run-2");
    node.run_until_idle();
    assert_eq!(
        (node.core.config_status().restart_request, node.daemon.pushed.len()),
        (None, 2),
        "it stays refused over our own restart"
    );
    assert!(node.core.config_status().problem.is_some());
    // Somebody else restarts the daemon: it is tried once more, and the run is left alone.
    node.start("run-3");
    node.run_until_idle();
    assert_eq!((node.core.config_status().restart_request, node.daemon.pushed.len()), (None, 3));
    assert!(node.core.config_status().problem.is_some());
    // It changes, and is accepted.
    node.daemon.refuses = false;
    node.core.set_maps(BTreeMap::from([config(DEFAULT, "policy: {Active: none}\ndump: {Disabled: true}")]));
    node.run_until_idle();
    assert_eq!((node.core.config_status().problem, node.daemon.pushed.len()), (None, 4));
}

/// 6. The order of a safe switch: the new configuration is in the daemon's cache before the run ends, and nothing more is pushed to that run.
#[test]
fn trap_6_the_configuration_is_pushed_before_the_restart_is_requested() {
    let mut node = started();
    node.core.set_group(None);
    node.core.set_maps(BTreeMap::from([config(DEFAULT, BALLOONS)]));
    node.run_until_idle();
    assert!(node.core.config_status().restart_request.is_some());
    assert_eq!(node.daemon.cached.as_ref().unwrap()["policy"], config(DEFAULT, BALLOONS).1["policy"]);
    node.core.set_maps(BTreeMap::from([config(DEFAULT, NONE)]));
    node.core.set_adjustments(BTreeMap::from([adjustment("a", json!({"scope": []}))]));
    assert_eq!(node.core.next_push(), None);
}
