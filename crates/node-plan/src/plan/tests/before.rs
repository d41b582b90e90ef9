//! A change that fails leads back to what was proven before it.

use extension_config::names::node;
use kubelet_config::Endpoint;

use super::model::{self, CUTS, NodeState, install, installation, remove};
use crate::budget;
use crate::desired::Desired;
use crate::entry::Entry;
use crate::hold::Hold;
use crate::journal::Change;
use crate::plan::Target;
use crate::step::{Proof, Restarts};

/// Runs well with v1; a try of `desired` has failed.
fn failed(broken: &'static str, desired: &Desired) -> NodeState {
    let mut model = NodeState::default();
    model.converge(&install("none", "v1")).unwrap();
    model.broken_daemon = broken;
    model.daemon_works = broken != "any";
    model.now += 1000;
    assert_eq!(model.converge(desired), Err(Proof::DaemonAnswers.into()));
    record_failure(&mut model, desired, &[]);
    model
}

fn record_failure(model: &mut NodeState, desired: &Desired, more: &[Change]) {
    let Desired::Installed(wanted) = desired else { unreachable!() };
    let last = model.journal.as_ref().and_then(|journal| journal.backoff.clone());
    let backoff = budget::after_failure(last.as_ref(), &wanted.attempt(), "it crashed".into(), model.now, 0);
    let journal = model.journal.as_mut().unwrap();
    journal.apply(&Change::Failed(backoff));
    for change in more {
        journal.apply(change);
    }
}

fn daemon(model: &NodeState) -> Option<&Entry> {
    model.entries.get(node::DAEMON)
}

#[test]
fn a_new_daemon_that_fails_is_replaced_by_the_previous_one() {
    let desired = install("none", "v2");
    let mut model = failed("v2", &desired);
    assert!(model.entries[node::KEPT_DAEMON].has_content("v1"), "kept until the new one is proven");
    // The guard has led kubelet away meanwhile.
    model.endpoint = Endpoint::Containerd;
    let plan = model.plan(&desired);
    assert_eq!(plan.target, Target::Before);
    assert!(!plan.awaits_slot && plan.retry_at.is_some());
    assert_eq!(model.converge(&desired), Ok(1));
    assert!(daemon(&model).is_some_and(|entry| entry.has_content("v1")));
    assert!(!model.entries.contains_key(node::KEPT_DAEMON), "what runs need not be kept");
    assert_eq!(model.endpoint, Endpoint::Proxy);
    let plan = model.plan(&desired);
    let [Hold::RolledBackToPrevious(failure)] = &plan.holds[..] else { panic!("{plan:?}") };
    assert!(plan.steps.is_empty() && failure.reason == "it crashed", "{plan:?}");
    // Other inputs may be tried at once, and what works stays.
    assert_eq!(model.converge(&install("none", "v3")), Ok(0));
    assert!(daemon(&model).is_some_and(|entry| entry.has_content("v3")));
    assert!(!model.entries.contains_key(node::KEPT_DAEMON));
    assert_eq!(model.converge(&remove()), Ok(1));
    assert_eq!(model.tree(), NodeState::default().tree());
}

#[test]
fn a_new_configuration_that_fails_is_replaced_by_the_previous_one() {
    let mut model = NodeState::default();
    model.converge(&install("none", "v1")).unwrap();
    let mut wanted = installation("none", "v1");
    model::proxy(&mut wanted).extra_options = "--nonsense".into();
    let desired = Desired::Installed(Box::new(wanted));
    model.daemon_works = false;
    assert_eq!(model.converge(&desired), Err(Proof::DaemonAnswers.into()));
    record_failure(&mut model, &desired, &[]);
    model.daemon_works = true;
    assert_eq!(model.converge(&desired), Ok(0));
    let before = installation("none", "v1").files();
    for file in before {
        assert!(model.entries[file.path].has_content(&file.sha256), "{}", file.path);
    }
}

#[test]
fn a_previous_installation_that_fails_too_leads_to_a_clean_node() {
    let desired = install("none", "v2");
    let mut model = failed("any", &desired);
    assert_eq!(model.converge(&desired), Err(Proof::DaemonAnswers.into()));
    record_failure(&mut model, &desired, &[Change::NothingProven]);
    assert_eq!(model.plan(&desired).target, Target::RolledBack);
    model.converge(&desired).unwrap();
    assert_eq!(model.tree(), NodeState::default().tree());
    assert_eq!(model.endpoint, Endpoint::Containerd);
}

#[test]
fn a_roll_back_interrupted_at_any_step_converges() {
    let desired = install("none", "v2");
    let start = failed("v2", &desired);
    let mut straight = start.clone();
    straight.converge(&desired).unwrap();
    for number in 0..start.plan(&desired).steps.len() {
        for cut in CUTS {
            for goal in [&desired, &remove(), &install("none", "v3"), &install("none", "v1")] {
                let mut model = start.clone();
                model.interrupt(&desired, number, cut);
                model.converge(goal).unwrap();
                let what = format!("cut at step {number} {cut:?}, then {goal:?}");
                assert!(model.plan(goal).steps.is_empty(), "{what}");
                if goal == &desired {
                    assert_eq!(model.tree(), straight.tree(), "{what}");
                }
                if goal == &remove() {
                    assert_eq!(model.tree(), NodeState::default().tree(), "{what}");
                }
                assert!(!model.entries.contains_key(node::KEPT_DAEMON), "{what}");
            }
        }
    }
}

#[test]
fn a_previous_daemon_that_is_gone_from_the_host_is_not_rolled_back_to() {
    let desired = install("none", "v2");
    let mut model = failed("v2", &desired);
    model.entries.remove(node::KEPT_DAEMON);
    assert_eq!(model.plan(&desired).target, Target::RolledBack);
    // Somebody altered the running daemon: then it is not what was proven.
    let mut model = NodeState::default();
    model.converge(&install("none", "v1")).unwrap();
    model.entries.insert(node::DAEMON.into(), model::file("other"));
    let plan = model.plan(&desired);
    assert!(!plan.steps.iter().any(|step| step.action.to_string().contains(node::KEPT_DAEMON)), "{plan:?}");
    assert!(!plan.restarts(Restarts::Kubelet));
}
