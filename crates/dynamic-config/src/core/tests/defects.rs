//! One test for each defect of the Go agent.

use std::collections::BTreeMap;

use serde_json::json;

use super::model::{adjustment, config};
use super::{DEFAULT, GROUP, LOGGING, NONE, started};
use crate::core::Push;

/// (a) Nothing is pushed before the first complete list, and nothing because a list failed.
#[test]
fn defect_a_nothing_is_pushed_before_the_first_complete_list() {
    let mut node = started();
    // A daemon that was given something by an earlier agent: not even the static configuration is pushed over it.
    node.daemon.cached = Some(config(DEFAULT, LOGGING).1);
    node.start("run-2");
    node.run_until_idle();
    node.core.set_group(None);
    node.run_until_idle();
    assert_eq!(node.daemon.pushed.len(), 0);
    node.core.set_maps(BTreeMap::from([config(DEFAULT, NONE)]));
    node.run_until_idle();
    assert_eq!(node.daemon.pushed.len(), 1);
    // A list that fails later changes nothing: the core does not hear of it. A deleted map is answered by the next level, never by nothing.
    node.core.set_maps(BTreeMap::new());
    node.run_until_idle();
    assert!(node.daemon.pushed.iter().all(|(_, data)| !data.is_empty()));
}

/// (b) and (c): there is one loop and no channel between deciding and pushing, and one decision for all that is known; adjustments that come
/// while a configuration could not be delivered do not make it forgotten.
#[test]
fn defect_b_and_c_a_configuration_that_was_not_delivered_stays_due() {
    let mut node = started();
    node.core.set_group(None);
    node.core.set_maps(BTreeMap::from([config(DEFAULT, NONE)]));
    let first = node.core.next_push();
    assert!(matches!(first, Some(Push::Config { .. })));
    // Not delivered; adjustments arrive; the configuration is still the next thing.
    node.core.set_adjustments(BTreeMap::from([adjustment("a", json!({"scope": []}))]));
    assert_eq!(node.core.next_push(), first);
    node.run_until_idle();
    assert_eq!((node.daemon.pushed.len(), node.daemon.adjusted.len()), (1, 1));
}

/// (d) A group that changes takes its own ConfigMap at once; one of the former group no longer counts.
#[test]
fn defect_d_config_maps_of_a_former_group_are_ignored() {
    let mut node = started();
    node.core.set_group(Some("g".into()));
    let of_h = "cri-resmgr-config.group.h";
    node.core.set_maps(BTreeMap::from([config(GROUP, NONE), config(of_h, LOGGING)]));
    node.run_until_idle();
    node.core.set_group(Some("h".into()));
    node.run_until_idle();
    assert_eq!(node.daemon.config_name(), Some(of_h));
    let dump = "policy: {Active: none}\ndump: {Disabled: true}";
    node.core.set_maps(BTreeMap::from([config(GROUP, dump), config(of_h, LOGGING)]));
    node.run_until_idle();
    assert_eq!(node.daemon.pushed.len(), 2, "a change of the former group's ConfigMap is pushed");
}

/// (e) What other nodes write into the status is no change.
#[test]
fn defect_e_status_written_by_other_nodes_causes_no_push() {
    let mut node = started();
    let spec = json!({"scope": [{"containers": [{"key": "name", "operator": "In", "values": ["c"]}]}], "classes": {"rdt": "gold"}});
    node.core.set_adjustments(BTreeMap::from([adjustment("a", spec.clone())]));
    node.run_until_idle();
    node.write_statuses();
    let (pushed, written) = (node.daemon.adjusted.len(), node.writes);
    for _ in 0..5 {
        // Made anew each time, as a watch does: equal by value, not by address.
        node.core.set_adjustment("a", Some(node.live("a", &spec)));
        node.run_until_idle();
        node.write_statuses();
    }
    assert_eq!((node.daemon.adjusted.len(), node.writes), (pushed, written));
}

/// (f) A fault of one shows on that one only, and the others are in effect.
#[test]
fn defect_f_a_faulty_adjustment_gets_the_error_and_the_others_take_effect() {
    let mut node = started();
    node.daemon.bad.insert("b".into());
    let names = ["a", "b", "c"];
    node.core.set_adjustments(names.map(|name| adjustment(name, json!({"scope": []}))).into());
    node.run_until_idle();
    assert_eq!(node.daemon.in_effect(), ["a", "c"]);
    assert_eq!(node.daemon.adjusted.len(), 2, "the daemon names the one to blame: there is nothing to search");
    node.write_statuses();
    assert_eq!(node.errors("a"), Some(vec![]));
    assert_eq!(node.errors("b"), Some(vec!["b".to_owned()]));
    assert_eq!(node.errors("c"), Some(vec![]));
    // Not tried again until it changes; then it is.
    let pushed = node.daemon.adjusted.len();
    node.run_until_idle();
    assert_eq!(node.daemon.adjusted.len(), pushed);
    node.daemon.bad.clear();
    node.core.set_adjustment("b", Some(adjustment("b", json!({"scope": [], "toptierLimit": "1G"})).1));
    node.run_until_idle();
    assert_eq!(node.daemon.in_effect(), ["a", "b", "c"]);
}

/// (f) The same where the errors name a container: two adjustments contradict each other, the third is not to blame. The older one wins.
#[test]
fn defect_f_errors_that_name_a_container_are_attributed_to_its_adjustment() {
    let mut node = started();
    node.daemon.conflict = Some(["b".into(), "c".into()]);
    let names = ["a", "b", "c", "d"];
    node.core.set_adjustments(names.map(|name| adjustment(name, json!({"scope": []}))).into());
    node.run_until_idle();
    assert_eq!(node.daemon.in_effect(), ["a", "b", "d"]);
    node.write_statuses();
    assert_eq!(node.errors("c"), Some(vec!["container-1".to_owned()]));
    assert_eq!(node.errors("d"), Some(vec![]));
    // The one in the way goes: the other is tried again.
    node.core.set_adjustment("b", None);
    node.run_until_idle();
    assert_eq!(node.daemon.in_effect(), ["a", "c", "d"]);
}
