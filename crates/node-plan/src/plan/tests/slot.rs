//! What waits for a slot, and what does not.

use extension_config::names::node;
use kubelet_config::Endpoint;
use proptest::prelude::*;

use super::model::{CUTS, Cut, NodeState, install, remove, restarts};
use super::{installed, random};
use crate::budget;
use crate::entry::Entry;
use crate::hold::{Hold, KubeletOffProxy, PacedChange, SlotHold};
use crate::journal::Change;
use crate::plan::{Plan, Target};
use crate::restart::Cause;
use crate::slot::{Slot, Wait};
use crate::step::{Action, Proof, Restarts};

fn without(slot: Slot, model: NodeState) -> NodeState {
    NodeState { slot, ..model }
}

fn full() -> Slot {
    Slot::Waiting(Wait::SlotsTaken { slots: 1 })
}

fn halted() -> Slot {
    Slot::Waiting(Wait::Halted { reason: "INC-1".to_owned() })
}

fn switches(plan: &Plan) -> bool {
    plan.steps.iter().any(|step| matches!(step.action, Action::RestartKubelet { cause: Cause::Switch }))
}

#[test]
fn install_without_a_slot_does_everything_but_the_switch() {
    for (slot, awaits) in
        [(Slot::NotAsked, true), (full(), true), (halted(), true), (Slot::Stopped { rollbacks: 2 }, false)]
    {
        let mut model = without(slot.clone(), NodeState::default());
        assert_eq!(model.converge(&install("none", "v1")), Ok(0), "{slot:?}");
        let plan = model.plan(&install("none", "v1"));
        assert!(plan.steps.is_empty() && plan.target == Target::Installed && !plan.is_settled(), "{plan:?}");
        assert_eq!(plan.awaits_slot, awaits, "{slot:?}");
        assert_eq!((model.endpoint, model.proxy_answers()), (Endpoint::Containerd, true), "{slot:?}");
        let change = PacedChange::Switch(KubeletOffProxy::OnContainerd);
        assert!(matches!(&plan.holds[..], [Hold::Slot { change: held, .. }] if *held == change), "{:?}", plan.holds);
        // With the slot there is nothing but the switch left to do.
        model.slot = Slot::Held;
        let steps = model.plan(&install("none", "v1")).steps;
        let actions: Vec<&Action> = steps.iter().map(|step| &step.action).collect();
        let switch = Action::RestartKubelet { cause: Cause::Switch };
        let proofs = [Proof::Override { loaded: true }.into(), Proof::Kubelet { endpoint: Endpoint::Proxy }.into()];
        assert_eq!(actions, [&proofs[0], &switch, &proofs[1]]);
    }
}

/// An upgrade of ours alone: its unit's text is another one.
#[test]
fn a_unit_of_an_earlier_version_is_replaced_with_one_restart_in_a_slot() {
    let desired = install("none", "v1");
    let mut model = without(full(), installed("none"));
    let earlier = Entry::File { sha256: "earlier".into(), mode: 0o644, own: true, marked: true };
    model.entries.insert(node::DAEMON_UNIT_FILE.into(), earlier.clone());
    model.journal.as_mut().unwrap().applied.as_mut().unwrap().inputs = "with the earlier unit".into();
    let starts = (model.daemon.starts, model.kubelet.starts);
    assert_eq!(model.converge(&desired), Ok(0));
    assert_eq!(model.entries[node::DAEMON_UNIT_FILE], earlier, "not before the slot is held");
    assert!(model.plan(&desired).awaits_slot && (model.daemon.starts, model.kubelet.starts) == starts);
    model.slot = Slot::Held;
    assert_eq!(model.converge(&desired), Ok(0));
    assert_eq!((model.daemon.starts, model.kubelet.starts), (starts.0 + 1, starts.1));
    assert!(model.plan(&desired).is_settled());
}

#[test]
fn healing_roll_back_and_removal_need_no_slot() {
    let start = without(Slot::Stopped { rollbacks: 2 }, installed("none"));
    let desired = install("none", "v1");
    let mut moved = NodeState { endpoint: Endpoint::Containerd, ..start.clone() };
    assert_eq!((moved.converge(&desired), moved.endpoint), (Ok(1), Endpoint::Proxy));
    let mut dead = start.clone();
    dead.daemon.active = false;
    assert_eq!((dead.converge(&desired), dead.proxy_answers()), (Ok(0), true));
    // A file of the daemon that somebody else changed is put right, and takes a restart of the daemon.
    let mut tampered = start.clone();
    let other = Entry::File { sha256: "other".into(), mode: 0o644, own: true, marked: true };
    tampered.entries.insert(node::FALLBACK_CONFIG.into(), other);
    assert_eq!((tampered.converge(&desired), tampered.daemon.starts), (Ok(0), start.daemon.starts + 1));
    assert_eq!(tampered.tree(), start.tree());
    let mut failed = start.clone();
    let attempt = super::model::installation("none", "v1").attempt();
    let backoff = budget::after_failure(None, &attempt, "why".into(), failed.now, 0);
    failed.journal.as_mut().unwrap().apply(&Change::Failed(backoff));
    assert_eq!((failed.converge(&desired), failed.endpoint), (Ok(1), Endpoint::Containerd));
    let mut leaving = start;
    assert_eq!((leaving.converge(&remove()), leaving.endpoint), (Ok(1), Endpoint::Containerd));
}

/// Another policy, configuration or version: the daemon that kubelet runs through stays as it is, and all else is healed meanwhile.
#[test]
fn a_daemon_in_use_gets_new_inputs_only_in_a_slot() {
    for (name, desired) in [("policy", install("balloons", "v1")), ("version", install("none", "v2"))] {
        let start = without(full(), installed("none"));
        let mut model = start.clone();
        model.timer.active = false;
        model.entries.remove(node::KUBELET_DROP_IN);
        assert_eq!(model.converge(&desired), Ok(0), "{name}");
        let plan = model.plan(&desired);
        assert!(plan.steps.is_empty() && plan.awaits_slot && plan.target == Target::Installed, "{name}: {plan:?}");
        let by = SlotHold::Waiting(Wait::SlotsTaken { slots: 1 });
        assert_eq!(plan.holds, [Hold::Slot { change: PacedChange::NewInputs, by }], "{name}");
        assert_eq!((&model.tree(), model.daemon.starts), (&start.tree(), start.daemon.starts), "{name}");
        assert!(model.timer.active, "{name}");
        model.slot = Slot::Held;
        assert_eq!(restarts(&model.plan(&desired), Restarts::Kubelet), 0, "{name}");
        assert_eq!((model.converge(&desired), model.daemon.starts), (Ok(0), start.daemon.starts + 1), "{name}");
        assert!(model.plan(&desired).is_settled(), "{name}");
    }
    // Nobody runs through it: kubelet has left, or it does not answer.
    let mut unused = without(full(), NodeState { endpoint: Endpoint::Containerd, ..installed("none") });
    assert_eq!((unused.converge(&install("balloons", "v1")), unused.endpoint), (Ok(1), Endpoint::Proxy));
    let mut dead = without(full(), installed("none"));
    dead.daemon.active = false;
    assert_eq!(dead.converge(&install("balloons", "v1")), Ok(0));
}

/// A change of the daemon that was begun is finished without a slot: half of it would be worse than all of it.
#[test]
fn a_switch_that_was_begun_is_finished_without_a_slot() {
    let start = installed("none");
    let desired = install("balloons", "v1");
    let count = start.plan(&desired).steps.len();
    for number in 0..count {
        for cut in CUTS {
            let mut model = start.clone();
            model.interrupt(&desired, number, cut);
            let begun = (number, cut) != (0, Cut::BeforeEffect);
            model.slot = if number % 2 == 0 { full() } else { halted() };
            assert_eq!(model.converge(&desired), Ok(0));
            let plan = model.plan(&desired);
            assert_eq!(plan.is_settled(), begun, "cut at step {number} {cut:?}: {plan:?}");
            assert!(model.proxy_answers(), "cut at step {number} {cut:?}");
        }
    }
}

proptest! {
    /// Whatever happened to a node: without a slot nothing that is paced is planned, and the node stays on a runtime that answers.
    #[test]
    fn no_switch_is_planned_without_a_slot(all in prop::collection::vec(random::damage(), 0..6), version in 1..3, which in 0_usize..3) {
        let mut model = NodeState::default();
        model.converge(&install("none", "v1")).unwrap();
        for one in &all {
            random::corrupt(&mut model, one);
        }
        model.now += 1000;
        let stopped = which == 0;
        model.slot = [Slot::Stopped { rollbacks: 2 }, full(), halted()][which].clone();
        let desired = install("none", &format!("v{version}"));
        prop_assert!(!switches(&model.plan(&desired)));
        let restarts = model.converge(&desired);
        prop_assert!(restarts.as_ref().is_ok_and(|restarts| *restarts <= 1), "{restarts:?}");
        let plan = model.plan(&desired);
        prop_assert!(plan.steps.is_empty(), "{plan:?}");
        prop_assert_eq!(plan.awaits_slot && stopped, false);
        prop_assert!(model.kubelet.active && (model.endpoint == Endpoint::Containerd || model.proxy_answers()));
        // And with one it gets there.
        model.slot = Slot::Held;
        model.now += 1000;
        let restarts = model.converge(&desired);
        let foreign = !model.plan(&desired).holds.is_empty();
        prop_assert!(restarts.is_ok_and(|restarts| restarts <= 1));
        prop_assert!(foreign || model.plan(&desired).is_settled());
    }
}
