mod handover;
mod plugin;

use std::collections::BTreeMap;
use std::time::Duration;

use dynamic_config::Meant;
use extension_config::desired_state::{self, Backend, Daemon, DesiredState, Selection};
use kubelet_config::Endpoint;
use node_plan::testing::{LaterDropIn, NodeState};
use node_plan::{Hold, KubeletOffProxy, NodePolicy, OverrideUndone, PacedChange, Phase, Slot, SlotHold, Target, Wait};

use super::{Outcome, converge};
use crate::effects::{Result, Socket};
use crate::events::Done;
use crate::fake::{Failure, Fake, programs};
use crate::inputs::{Goal, Inputs};
use crate::proof_failure::{DaemonFault, ProofFailure, UnitState};
use crate::prove::Timing;

const TIMING: Timing = Timing {
    poll: Duration::from_secs(1),
    daemon_deadline: Duration::from_secs(10),
    daemon_settle: Duration::from_secs(1),
    kubelet_deadline: Duration::from_secs(20),
    settle_with_heartbeat: Duration::from_secs(2),
    settle_alone: Duration::from_secs(5),
    plugin_deadline: Duration::from_secs(10),
    pins_deadline: Duration::from_secs(10),
};

fn inputs(phase: desired_state::Phase, policy: &str, version: &str) -> Inputs {
    let daemon = Daemon { fallback_config: Some(format!("policy:\n  Active: {policy}\n")), ..Daemon::default() };
    Inputs {
        node: "n".into(),
        state: DesiredState {
            phase,
            selection: Selection::default(),
            backend: Backend::CriResmgr(daemon),
            handover: None,
        },
        hash: "0123abcd".into(),
        labels: Some(BTreeMap::new()),
        programs: programs(version),
        policy: NodePolicy::Awaited,
        restart_request: None,
        meant: Some(Meant::default()),
    }
}

fn install(policy: &str, version: &str) -> Inputs {
    inputs(desired_state::Phase::Install, policy, version)
}

fn remove() -> Inputs {
    inputs(desired_state::Phase::Remove, "none", "v1")
}

async fn work(fake: &mut Fake, inputs: &impl Goal) -> Result<Outcome> {
    converge(fake, &TIMING, inputs, &mut Done::default()).await
}

/// Whether the last try failed by this proof. Of a failure the journal keeps the sentence.
fn is_because_of(outcome: &Outcome, failure: &ProofFailure) -> bool {
    match &outcome.plan.holds[..] {
        [Hold::RolledBack(last) | Hold::RolledBackToPrevious(last), ..] => {
            last.reason.ends_with(&format!(": {failure}"))
        }
        _ => false,
    }
}

fn switch_held(by: SlotHold) -> Hold {
    Hold::Slot { change: PacedChange::Switch(KubeletOffProxy::OnContainerd), by }
}

/// A later agent on the same node: nothing of the first one's memory is left.
async fn next_agent(fake: Fake, desired: &impl Goal) -> (Fake, Outcome) {
    let mut next = Fake::from_state(fake.state);
    let outcome = work(&mut next, desired).await.unwrap();
    (next, outcome)
}

async fn installed() -> NodeState {
    let mut fake = Fake::new();
    assert!(work(&mut fake, &install("none", "v1")).await.unwrap().plan.is_settled());
    fake.state
}

#[tokio::test]
async fn install_and_removal_leave_the_node_as_before_and_a_second_agent_does_nothing() {
    let mut fake = Fake::new();
    let before = fake.state.clone();
    let outcome = work(&mut fake, &install("none", "v1")).await.unwrap();
    assert!(outcome.plan.is_settled() && outcome.plan.target == Target::Installed);
    assert!(fake.state.is_on_proxy() && fake.locked);
    let reached = fake.state.clone();
    let (mut fake, outcome) = next_agent(fake, &install("none", "v1")).await;
    assert!(outcome.plan.is_settled());
    assert_eq!(fake.state, reached, "an agent that finds the node as desired does nothing");
    assert!(work(&mut fake, &remove()).await.unwrap().plan.is_settled());
    assert!(!fake.locked, "a clean node needs no lock");
    let after = fake.state.clone();
    assert_eq!((after.entries, after.journal, after.endpoint), (before.entries, None, Endpoint::Containerd));
}

/// Every call of every kind of work fails once, or is the agent's last; the next agent finishes the work.
#[tokio::test]
async fn an_agent_that_dies_at_any_call_is_finished_by_the_next() {
    let starts = [
        ("install", Fake::new().state, install("none", "v1"), 1),
        ("upgrade", installed().await, install("none", "v2"), 0),
        ("policy", installed().await, install("balloons", "v1"), 0),
        ("remove", installed().await, remove(), 1),
    ];
    for (name, start, desired, restarts) in starts {
        let mut straight = Fake::from_state(start.clone());
        work(&mut straight, &desired).await.unwrap();
        let calls = straight.calls.get();
        let goal = straight.state;
        for number in 0..calls {
            for failure in [Failure::Before, Failure::After] {
                let what = format!("{name}, call {number} of {calls}, {failure:?}");
                let mut fake = Fake::from_state(start.clone());
                fake.fail_at = Some((number, failure));
                // A failing look at the node during the work ends it; one that only a proof makes may not.
                drop(work(&mut fake, &desired).await);
                let (fake, outcome) = next_agent(fake, &desired).await;
                assert!(outcome.plan.is_settled(), "{what}: {:?}", outcome.plan);
                let reached = fake.state;
                assert_eq!(reached.entries, goal.entries, "{what}");
                assert_eq!(reached.endpoint, goal.endpoint, "{what}");
                assert_eq!(reached.kubelet.starts - start.kubelet.starts, restarts, "{what}");
            }
        }
    }
}

#[tokio::test]
async fn a_daemon_that_never_answers_leaves_kubelet_alone() {
    let mut fake = Fake::new();
    fake.state.daemon_works = false;
    let before = fake.state.entries.clone();
    let outcome = work(&mut fake, &install("none", "v1")).await.unwrap();
    assert_eq!(outcome.plan.target, Target::RolledBack);
    let no_answer = ProofFailure::Daemon {
        deadline: TIMING.daemon_deadline,
        why: DaemonFault::NoAnswer(format!("{} does not answer", Socket::Proxy.path())),
        state: UnitState { active: "active".to_owned(), sub: "running".to_owned() },
        restarts: 0,
    };
    assert!(is_because_of(&outcome, &no_answer), "{:?}", outcome.plan.holds);
    let state = &fake.state;
    assert_eq!((state.kubelet.starts, &state.entries), (1, &before));
    assert_eq!(state.journal.as_ref().unwrap().phase, Phase::RolledBack);
}

/// Field cases N01, N04, N05: what a variable, a drop-in of kubelet's configuration or the file alone says counts like the unit's own flags.
#[tokio::test]
async fn a_kubelet_with_settings_that_exclude_the_proxy_is_not_touched() {
    for (own_arguments, drop_in, reason) in [
        ("--cpu-manager-policy=static", "", "cpuManagerPolicy of kubelet is \"static\" (--cpu-manager-policy)"),
        ("--config-dir=/d", "cpuManagerPolicy: static", "cpuManagerPolicy of kubelet is \"static\" (/d/1.conf)"),
        ("--config_dir /d", "memoryManagerPolicy: Static", "memoryManagerPolicy of kubelet is \"Static\" (/d/1.conf)"),
        ("--config-dir=/d", "containerRuntimeEndpoint: /run/crio/crio.sock", "/d/1.conf names the container runtime"),
        ("--container_runtime_endpoint=/run/crio/crio.sock", "", "the running kubelet names the container runtime"),
        ("--config-dir=/d", "cpuManagerPolicy: [", "/d/1.conf is no YAML"),
    ] {
        let mut fake = Fake::new();
        {
            let state = &mut fake.state;
            state.kubelet_own_arguments = own_arguments;
            state.texts.insert("/d/1.conf".to_owned(), drop_in.to_owned());
        }
        let before = fake.state.clone();
        let outcome = work(&mut fake, &install("none", "v1")).await.unwrap();
        assert!(
            outcome
                .plan
                .holds
                .iter()
                .any(|hold| matches!(hold, Hold::Refused(refusal) if refusal.to_string().contains(reason))),
            "{reason}: {:?}",
            outcome.plan
        );
        assert_eq!(fake.state.entries, before.entries, "{reason}");
        assert_eq!(fake.state.kubelet.starts, 1, "{reason}");
    }
}

/// Field cases N09, N10: a drop-in that is read after ours and takes it back is seen before kubelet is restarted.
#[tokio::test]
async fn an_override_undone_by_a_later_drop_in_rolls_back_without_a_restart() {
    for (later_drop_in, reason) in [
        (LaterDropIn::EnvironmentFile("/e"), OverrideUndone::VariableIsSetAgain { path: "/e".to_owned() }),
        (LaterDropIn::NoExecStartPre, OverrideUndone::GateIsNotRun),
    ] {
        let mut fake = Fake::new();
        {
            let state = &mut fake.state;
            state.later_drop_in = Some(later_drop_in);
            state.texts.insert("/e".to_owned(), "A=1\nno assignment\n KUBELET_EXTRA_ARGS =--v=4\n".to_owned());
        }
        let outcome = work(&mut fake, &install("none", "v1")).await.unwrap();
        assert_eq!(outcome.plan.target, Target::RolledBack, "{reason}");
        assert!(is_because_of(&outcome, &reason.clone().into()), "{:?}", outcome.plan.holds);
        assert_eq!(fake.state.kubelet.starts, 1, "{reason}");
        let journal = fake.state.journal.clone().unwrap();
        assert!(
            journal.backoff.unwrap().reported,
            "the failure would be recorded in the shoot, and other nodes stopped"
        );
    }
    let mut fake = Fake::new();
    fake.state.later_drop_in = Some(LaterDropIn::EnvironmentFile("/not-there"));
    assert!(
        work(&mut fake, &install("none", "v1")).await.unwrap().plan.is_settled(),
        "a file of other variables is fine"
    );
}

/// Field case N19: a daemon that works for a while and dies, again and again.
#[tokio::test]
async fn a_daemon_that_dies_slowly_again_and_again_is_rolled_back() {
    let mut fake = Fake::from_state(installed().await);
    let give_up = |fake: &mut Fake| {
        let state = &mut fake.state;
        (state.daemon.active, state.daemon.failed, state.endpoint) = (false, true, Endpoint::Containerd);
        state.now += 200;
    };
    for _ in 0..2 {
        give_up(&mut fake);
        assert!(
            work(&mut fake, &install("none", "v1")).await.unwrap().plan.is_settled(),
            "what stopped it may have passed"
        );
        assert!(fake.state.is_on_proxy());
    }
    give_up(&mut fake);
    let outcome = work(&mut fake, &install("none", "v1")).await.unwrap();
    assert_eq!(outcome.plan.target, Target::RolledBack);
    assert!(is_because_of(&outcome, &ProofFailure::DaemonGivenUp), "{:?}", outcome.plan.holds);
    assert!(!fake.state.is_on_proxy());
}

/// Deadlines are of time, not of looks.
#[tokio::test]
async fn a_daemon_that_hangs_is_rolled_back_within_the_deadline() {
    let mut fake = Fake::new();
    let begin = {
        let state = &mut fake.state;
        (state.daemon_works, state.proxy_hangs_for) = (false, 3);
        state.now
    };
    let outcome = work(&mut fake, &install("none", "v1")).await.unwrap();
    assert_eq!(outcome.plan.target, Target::RolledBack);
    let journal = fake.state.journal.clone().unwrap();
    let took = journal.backoff.unwrap().failed_at - begin;
    assert!(took < 2 * TIMING.daemon_deadline.as_secs(), "given up after {took} s");
}

#[tokio::test]
async fn a_kubelet_that_fails_on_the_proxy_is_rolled_back_to_containerd() {
    let mut fake = Fake::new();
    fake.state.kubelet_works_on_proxy = false;
    let before = fake.state.entries.clone();
    let outcome = work(&mut fake, &install("none", "v1")).await.unwrap();
    assert_eq!(outcome.plan.target, Target::RolledBack);
    {
        let state = &fake.state;
        assert_eq!((state.kubelet.starts, &state.entries, state.kubelet.active), (3, &before, true));
        assert!(!state.is_on_proxy());
    }
    // Nothing before the back-off is over; then one more try, which works now.
    assert!(work(&mut fake, &install("none", "v1")).await.unwrap().plan.steps.is_empty());
    assert_eq!(fake.state.kubelet.starts, 3);
    fake.state.kubelet_works_on_proxy = true;
    fake.state.now = outcome.plan.retry_at.unwrap();
    assert!(work(&mut fake, &install("none", "v1")).await.unwrap().plan.is_settled());
    // And the removal leaves no memory of the failure.
    assert!(work(&mut fake, &remove()).await.unwrap().plan.is_settled());
    assert_eq!(fake.state.journal, None);
}

#[tokio::test]
async fn a_roll_back_interrupted_at_any_call_is_finished_by_the_next_agent() {
    let mut start = Fake::new();
    start.state.kubelet_works_on_proxy = false;
    let start = start.state;
    let mut straight = Fake::from_state(start.clone());
    work(&mut straight, &install("none", "v1")).await.unwrap();
    for number in 0..straight.calls.get() {
        for failure in [Failure::Before, Failure::After] {
            let mut fake = Fake::from_state(start.clone());
            fake.fail_at = Some((number, failure));
            let first = work(&mut fake, &install("none", "v1")).await.map(|outcome| outcome.plan.steps);
            let (fake, outcome) = next_agent(fake, &install("none", "v1")).await;
            assert_eq!(outcome.plan.target, Target::RolledBack, "call {number} {failure:?}");
            let state = &fake.state;
            assert!(state.kubelet.active && !state.is_on_proxy(), "call {number} {failure:?}: {first:?}; {state:?}");
            assert_eq!(state.entries, start.entries, "call {number} {failure:?}");
        }
    }
}

/// The version before comes back, whatever becomes of the agent meanwhile; kubelet is left alone all the time.
#[tokio::test]
async fn a_bad_upgrade_interrupted_at_any_call_is_rolled_back_to_the_previous_version() {
    let mut start = installed().await;
    start.broken_daemon = "v2";
    let desired = install("none", "v2");
    let mut straight = Fake::from_state(start.clone());
    let outcome = work(&mut straight, &desired).await.unwrap();
    assert_eq!(outcome.plan.target, Target::Before);
    assert_eq!(crate::report::stage(&outcome.plan), extension_config::node_report::Stage::RolledBack);
    let wait = outcome.plan.retry_at.unwrap() - straight.state.now;
    assert!(wait > 1000, "a runtime that fails again is a gap in service, so not after {wait} s");
    for number in 0..straight.calls.get() {
        for failure in [Failure::Before, Failure::After] {
            let mut fake = Fake::from_state(start.clone());
            fake.fail_at = Some((number, failure));
            drop(work(&mut fake, &desired).await);
            let (fake, outcome) = next_agent(fake, &desired).await;
            let what = format!("call {number} {failure:?}");
            assert_eq!(outcome.plan.target, Target::Before, "{what}");
            let state = &fake.state;
            assert_eq!(state.entries, start.entries, "{what}");
            assert_eq!((state.kubelet.starts, state.is_on_proxy()), (start.kubelet.starts, true), "{what}");
        }
    }
}

#[tokio::test]
async fn a_stopped_daemon_is_restarted_and_kubelet_is_not() {
    let mut fake = Fake::from_state(installed().await);
    fake.state.daemon.active = false;
    assert!(work(&mut fake, &install("none", "v1")).await.unwrap().plan.is_settled());
    assert_eq!((fake.state.daemon.starts, fake.state.kubelet.starts), (2, 2));
}

#[tokio::test]
async fn no_switch_begins_while_the_node_is_updated_in_place() {
    let mut fake = Fake::new();
    let mut updated = install("none", "v1");
    updated.labels = Some(BTreeMap::from([("node.machine.sapcloud.io/selected-for-update".into(), "true".into())]));
    let outcome = work(&mut fake, &updated).await.unwrap();
    assert!(outcome.plan.awaits_slot && outcome.plan.steps.is_empty(), "{:?}", outcome.plan);
    let label = "node.machine.sapcloud.io/selected-for-update";
    assert_eq!(outcome.plan.holds, [switch_held(SlotHold::Waiting(Wait::UpdateInPlace { label }))]);
    assert_eq!((fake.state.kubelet.starts, fake.holds_slot), (1, false));
    assert_eq!(outcome.ask_again, Some(Duration::from_secs(15)));
    // When it is over it switches; and a removal waits for nothing.
    assert!(work(&mut fake, &install("none", "v1")).await.unwrap().plan.is_settled());
    let mut removed = remove();
    removed.labels = updated.labels;
    assert!(work(&mut fake, &removed).await.unwrap().plan.is_settled());
}

fn halted() -> Slot {
    Slot::Waiting(Wait::Halted { reason: "INC-1".into() })
}

/// A stop of all switches: nothing begins, what runs is not touched, healed and taken away as ever.
#[tokio::test]
async fn while_switches_are_halted_nothing_begins_and_healing_and_removal_go_on() {
    let hold = || SlotHold::Waiting(Wait::Halted { reason: "INC-1".into() });
    // A new node keeps its kubelet as it is.
    let mut new = Fake::new();
    new.state.slot = halted();
    let outcome = work(&mut new, &install("none", "v1")).await.unwrap();
    assert_eq!(outcome.plan.holds, [switch_held(hold())]);
    assert!(outcome.plan.awaits_slot && outcome.plan.steps.is_empty() && !new.holds_slot);
    assert_eq!((new.state.kubelet.starts, new.state.endpoint), (1, Endpoint::Containerd));
    new.state.slot = Slot::Held;
    assert!(work(&mut new, &install("none", "v1")).await.unwrap().plan.is_settled(), "it goes on when that ends");
    // Another version or configuration stays away from what runs.
    for desired in [install("none", "v2"), install("balloons", "v1")] {
        let mut running = Fake::from_state(NodeState { slot: halted(), ..installed().await });
        let starts = (running.state.daemon.starts, running.state.kubelet.starts);
        let outcome = work(&mut running, &desired).await.unwrap();
        assert_eq!(outcome.plan.holds, [Hold::Slot { change: PacedChange::NewInputs, by: hold() }]);
        assert_eq!((running.state.daemon.starts, running.state.kubelet.starts), starts);
    }
    // Healed: a daemon that has ended, and a kubelet that was moved away.
    let mut hurt = Fake::from_state(NodeState { slot: halted(), ..installed().await });
    hurt.state.daemon.active = false;
    assert!(work(&mut hurt, &install("none", "v1")).await.unwrap().plan.is_settled());
    hurt.state.endpoint = Endpoint::Containerd;
    assert!(work(&mut hurt, &install("none", "v1")).await.unwrap().plan.is_settled());
    assert!(hurt.state.is_on_proxy());
    assert!(work(&mut hurt, &remove()).await.unwrap().plan.is_settled());
    assert_eq!(hurt.state.journal, None);
}

#[tokio::test]
async fn a_slot_is_held_for_the_switch_only() {
    let mut fake = Fake::new();
    fake.state.slot = Slot::Waiting(Wait::SlotsTaken { slots: 1 });
    let outcome = work(&mut fake, &install("none", "v1")).await.unwrap();
    assert!(outcome.plan.awaits_slot && outcome.plan.steps.is_empty(), "{:?}", outcome.plan);
    assert_eq!((fake.state.kubelet.starts, fake.state.daemon.starts), (1, 1));
    // Asking again costs nothing on the node.
    let waiting = fake.state.clone();
    assert!(work(&mut fake, &install("none", "v1")).await.unwrap().plan.awaits_slot);
    assert_eq!(fake.state, waiting);
    fake.state.slot = Slot::Held;
    assert!(work(&mut fake, &install("none", "v1")).await.unwrap().plan.is_settled());
    assert_eq!((fake.state.kubelet.starts, fake.holds_slot), (2, false));
    // A removal asks for none.
    fake.state.slot = Slot::Stopped { rollbacks: 2 };
    assert!(work(&mut fake, &remove()).await.unwrap().plan.is_settled());
}

#[tokio::test]
async fn a_stopped_roll_out_begins_no_switch_and_still_heals() {
    let mut fake = Fake::new();
    fake.state.slot = Slot::Stopped { rollbacks: 2 };
    let outcome = work(&mut fake, &install("none", "v1")).await.unwrap();
    assert_eq!(outcome.plan.holds, [switch_held(SlotHold::Stopped { rollbacks: 2 })]);
    assert_eq!(crate::report::stage(&outcome.plan), extension_config::node_report::Stage::Blocked);
    assert_eq!(fake.state.kubelet.starts, 1);
    // One that has switched keeps running, and is healed.
    let mut fake = Fake::from_state(installed().await);
    fake.state.slot = Slot::Stopped { rollbacks: 2 };
    fake.state.daemon.active = false;
    assert!(work(&mut fake, &install("none", "v1")).await.unwrap().plan.is_settled());
}

#[tokio::test]
async fn a_roll_back_is_reported_to_the_shoot_once() {
    let mut fake = Fake::new();
    fake.state.kubelet_works_on_proxy = false;
    let outcome = work(&mut fake, &install("none", "v1")).await.unwrap();
    assert_eq!(outcome.plan.target, Target::RolledBack);
    let failed_at = fake.state.journal.as_ref().unwrap().backoff.as_ref().unwrap().failed_at;
    assert_eq!((fake.reported.as_slice(), fake.holds_slot), ([failed_at].as_slice(), false));
    // The next attempt asks for a slot and has nothing new to record.
    fake.state.kubelet_works_on_proxy = true;
    fake.state.now = outcome.plan.retry_at.unwrap();
    assert!(work(&mut fake, &install("none", "v1")).await.unwrap().plan.is_settled());
    assert_eq!(fake.reported.len(), 1);
}
