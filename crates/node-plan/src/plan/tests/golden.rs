//! Plans of the journeys of a node, for readers: what is done, why, and what the journal says before and after.

use std::fmt::Write;

use extension_config::names::node;
use kubelet_config::Endpoint;

use super::model::{Cut, NodeState, blob, install, installation, remove};
use super::{handover, installed, plugin};
use crate::budget;
use crate::desired::Desired;
use crate::journal::{Change, Proven};
use crate::kind::Backend;
use crate::plan::Plan;
use crate::slot::{Slot, Wait};
use crate::step::{Proof, Restarts};

fn change(one: &Change) -> String {
    match one {
        Change::Phase(phase) => format!("{phase:?}"),
        Change::Make(made) => {
            let directories = made.directories.iter().map(|path| format!("{path}/"));
            let paths: Vec<String> = directories.chain(made.files.iter().cloned()).collect();
            format!("will make\n             {}", paths.join("\n             "))
        }
        Change::DaemonStarts(applied) => format!(
            "daemon starts with inputs {:.8}, policy {:?}, after run {:?}",
            applied.inputs, applied.policy, applied.previous_invocation
        ),
        Change::KubeletRestarts(restart) => format!("kubelet restarts ({})", restart.cause.as_str()),
        Change::Proven(Proven::Proxy(proven)) => {
            format!("proven: daemon {}, {:?}", proven.daemon.sha256, proven.config)
        }
        Change::Proven(Proven::Plugin(proven)) => {
            format!("proven: {} {}, {:?}", proven.kind, proven.binary.sha256, proven.document)
        }
        Change::OfPlugin(inner) => format!("of the plugin: {}", change(inner)),
        other => format!("{other:?}"),
    }
}

fn show(plan: &Plan) -> String {
    let mut text = format!("to {:?}\n", plan.target);
    for hold in &plan.holds {
        writeln!(text, "held: {hold}").unwrap();
    }
    if plan.awaits_slot {
        writeln!(text, "awaits a slot").unwrap();
    }
    for (number, step) in (1..).zip(&plan.steps) {
        let restarts = match step.action.restarts() {
            Restarts::Nothing => "",
            Restarts::Daemon => " [daemon]",
            Restarts::Kubelet => " [kubelet]",
        };
        writeln!(text, "{number:>2}. {}{restarts}\n     because {}", step.action, step.evidence).unwrap();
        for one in &step.before {
            writeln!(text, "     before: {}", change(one)).unwrap();
        }
        for one in &step.after {
            writeln!(text, "     after:  {}", change(one)).unwrap();
        }
    }
    text
}

/// Runs well with `none` and v1, and a try of `desired` has failed at its proof of the daemon.
fn failed(desired: &Desired, with: NodeState) -> NodeState {
    let mut model = NodeState { broken_daemon: "v2", now: with.now + 1000, ..with };
    assert_eq!(model.converge(desired), Err(Proof::DaemonAnswers.into()));
    let Desired::Installed(wanted) = desired else { unreachable!() };
    let backoff = budget::after_failure(None, &wanted.attempt(), "it crashed".into(), model.now, 0);
    model.journal.as_mut().unwrap().apply(&Change::Failed(backoff));
    model
}

#[test]
fn install_on_a_node_where_nothing_of_ours_was() {
    insta::assert_snapshot!(show(&NodeState::default().plan(&install("none", "v1"))));
}

#[test]
fn install_without_a_slot() {
    let model = NodeState { slot: Slot::Waiting(Wait::SlotsTaken { slots: 1 }), ..NodeState::default() };
    insta::assert_snapshot!(show(&model.plan(&install("none", "v1"))));
}

#[test]
fn install_over_state_of_others() {
    let mut model = NodeState::default();
    model.entries.insert(node::DAEMON_STATE_DIR.into(), crate::Entry::Directory { empty: false });
    insta::assert_snapshot!(show(&model.plan(&install("none", "v1"))));
}

#[test]
fn upgrade_of_the_daemon() {
    insta::assert_snapshot!(show(&installed("none").plan(&install("none", "v2"))));
}

#[test]
fn upgrade_of_the_gate() {
    let mut wanted = installation("none", "v1");
    wanted.gate = blob("gate2");
    insta::assert_snapshot!(show(&installed("none").plan(&Desired::Installed(Box::new(wanted)))));
}

#[test]
fn policy_change() {
    insta::assert_snapshot!(show(&installed("none").plan(&install("balloons", "v1"))));
}

#[test]
fn policy_change_without_a_slot() {
    let model = NodeState { slot: Slot::NotAsked, ..installed("none") };
    insta::assert_snapshot!(show(&model.plan(&install("balloons", "v1"))));
}

#[test]
fn roll_back_to_what_was_proven() {
    let desired = install("balloons", "v2");
    let mut model = failed(&desired, installed("none"));
    // The guard has led kubelet away meanwhile.
    model.endpoint = Endpoint::Containerd;
    insta::assert_snapshot!(show(&model.plan(&desired)));
}

#[test]
fn roll_back_to_a_clean_node() {
    let desired = install("none", "v2");
    insta::assert_snapshot!(show(&failed(&desired, NodeState::default()).plan(&desired)));
}

#[test]
fn healing_of_a_kubelet_that_was_moved_away() {
    let model = NodeState { endpoint: Endpoint::Containerd, ..installed("none") };
    insta::assert_snapshot!(show(&model.plan(&install("none", "v1"))));
}

#[test]
fn healing_without_the_journal() {
    let model = NodeState { journal: None, ..installed("none") };
    insta::assert_snapshot!(show(&model.plan(&install("none", "v1"))));
}

#[test]
fn removal() {
    insta::assert_snapshot!(show(&installed("none").plan(&remove())));
}

#[test]
fn removal_with_state_of_others_put_back() {
    let mut model = NodeState::default();
    model.entries.insert(node::DAEMON_STATE_DIR.into(), crate::Entry::Directory { empty: false });
    assert_eq!(model.converge(&install("none", "v1")), Ok(1));
    insta::assert_snapshot!(show(&model.plan(&remove())));
}

#[test]
fn removal_without_the_journal() {
    let model = NodeState { journal: None, ..installed("none") };
    insta::assert_snapshot!(show(&model.plan(&remove())));
}

#[test]
fn plugin_install_on_a_node_where_nothing_of_ours_was() {
    insta::assert_snapshot!(show(&NodeState::default().plan(&plugin::install("balloons", "v1"))));
}

#[test]
fn plugin_install_without_a_slot() {
    let model = NodeState { slot: Slot::NotAsked, ..NodeState::default() };
    insta::assert_snapshot!(show(&model.plan(&plugin::install("balloons", "v1"))));
}

#[test]
fn plugin_upgrade_of_the_program() {
    insta::assert_snapshot!(show(&plugin::installed("balloons").plan(&plugin::install("balloons", "v2"))));
}

#[test]
fn plugin_policy_change() {
    insta::assert_snapshot!(show(&plugin::installed("balloons").plan(&plugin::install("other balloons", "v1"))));
}

#[test]
fn plugin_change_to_the_other_policy() {
    insta::assert_snapshot!(show(&plugin::installed("balloons").plan(&plugin::install("topology-aware", "v2"))));
}

#[test]
fn plugin_roll_back_to_what_was_proven() {
    let desired = plugin::install("other balloons", "v2");
    let model = plugin::failed(&desired, plugin::installed("balloons"));
    insta::assert_snapshot!(show(&model.plan(&desired)));
}

#[test]
fn plugin_roll_back_to_a_clean_node() {
    let desired = plugin::install("balloons", "v2");
    insta::assert_snapshot!(show(&plugin::failed(&desired, NodeState::default()).plan(&desired)));
}

#[test]
fn plugin_healing_of_containers_that_are_elsewhere() {
    let model = NodeState { missed: ["a"].into(), ..plugin::installed("balloons") };
    insta::assert_snapshot!(show(&model.plan(&plugin::install("balloons", "v1"))));
}

#[test]
fn plugin_removal() {
    insta::assert_snapshot!(show(&plugin::installed("balloons").plan(&remove())));
}

/// All plans that follow one another.
fn show_all(mut model: NodeState, desired: &Desired) -> String {
    let mut all = Vec::new();
    for _ in 0..6 {
        let plan = model.plan(desired);
        let is_done = plan.steps.is_empty();
        all.push(show(&plan));
        if is_done {
            break;
        }
        model.interrupt(desired, usize::MAX - 1, Cut::AfterStep);
    }
    all.join("\nthen ")
}

#[test]
fn handover_from_the_proxy_to_a_policy() {
    insta::assert_snapshot!(show_all(handover::on(Backend::Proxy), &handover::to(Backend::Plugin)));
}

#[test]
fn handover_from_a_policy_to_the_proxy() {
    insta::assert_snapshot!(show_all(handover::on(Backend::Plugin), &handover::to(Backend::Proxy)));
}

#[test]
fn handover_that_fails_at_the_policy_goes_back_to_the_proxy() {
    let desired = handover::to(Backend::Plugin);
    let model = plugin::failed(&desired, NodeState { broken_plugin: "v1", ..handover::on(Backend::Proxy) });
    insta::assert_snapshot!(show_all(model, &desired));
}
