use std::collections::BTreeMap;
use std::time::Duration;

use extension_config::desired_state::{self, Daemon, DesiredState, Selection};
use node_plan::{Phase, Slot, Target};

use super::{Outcome, converge};
use crate::effects::Result;
use crate::fake::{Failure, Fake, State, blob};
use crate::inputs::Inputs;
use crate::memory::LaterDropIn;
use crate::prove::Timing;

const TIMING: Timing = Timing {
    poll: Duration::from_secs(1),
    daemon_deadline: Duration::from_secs(10),
    daemon_settle: Duration::from_secs(1),
    kubelet_deadline: Duration::from_secs(20),
    settle_with_heartbeat: Duration::from_secs(2),
    settle_alone: Duration::from_secs(5),
};

fn inputs(phase: desired_state::Phase, policy: &str, version: &str) -> Inputs {
    let daemon = Daemon { fallback_config: Some(format!("policy:\n  Active: {policy}\n")), ..Daemon::default() };
    Inputs {
        node: "n".into(),
        state: DesiredState { phase, selection: Selection::default(), daemon },
        hash: "0123abcd".into(),
        labels: Some(BTreeMap::new()),
        daemon: blob(version),
        gate: blob("gate"),
        renewal: None,
    }
}

fn install(policy: &str, version: &str) -> Inputs {
    inputs(desired_state::Phase::Install, policy, version)
}

fn remove() -> Inputs {
    inputs(desired_state::Phase::Remove, "none", "v1")
}

async fn work(fake: &Fake, inputs: &Inputs) -> Result<Outcome> {
    converge(fake, &TIMING, inputs).await
}

/// A later agent on the same node: nothing of the first one's memory is left.
async fn next_agent(fake: Fake, desired: &Inputs) -> (Fake, Outcome) {
    let next = Fake::from_state(fake.state.into_inner());
    let outcome = work(&next, desired).await.unwrap();
    (next, outcome)
}

async fn installed() -> State {
    let fake = Fake::new();
    assert!(work(&fake, &install("none", "v1")).await.unwrap().plan.is_settled());
    fake.state.into_inner()
}

#[tokio::test]
async fn install_then_nothing_then_remove() {
    let fake = Fake::new();
    let before = fake.state.borrow().clone();
    let outcome = work(&fake, &install("none", "v1")).await.unwrap();
    assert!(outcome.plan.is_settled() && outcome.plan.target == Target::Installed);
    assert!(fake.state.borrow().on_proxy && fake.locked.get());
    let reached = fake.state.borrow().clone();
    let (fake, outcome) = next_agent(fake, &install("none", "v1")).await;
    assert!(outcome.plan.is_settled());
    assert_eq!(*fake.state.borrow(), reached, "an agent that finds the node as desired does nothing");
    assert!(work(&fake, &remove()).await.unwrap().plan.is_settled());
    assert!(!fake.locked.get(), "a clean node needs no lock");
    let after = fake.state.borrow().clone();
    assert_eq!((after.things, after.journal, after.on_proxy), (before.things, None, false));
}

/// Every call of every kind of work fails once, or is the agent's last; the next agent finishes the work.
#[tokio::test]
async fn the_agent_may_die_at_every_call() {
    let starts = [
        ("install", Fake::new().state.into_inner(), install("none", "v1"), 1),
        ("upgrade", installed().await, install("none", "v2"), 0),
        ("policy", installed().await, install("balloons", "v1"), 0),
        ("remove", installed().await, remove(), 1),
    ];
    for (name, start, desired, restarts) in starts {
        let straight = Fake::from_state(start.clone());
        work(&straight, &desired).await.unwrap();
        let calls = straight.calls.get();
        let goal = straight.state.into_inner();
        for number in 0..calls {
            for failure in [Failure::Before, Failure::After] {
                let what = format!("{name}, call {number} of {calls}, {failure:?}");
                let fake = Fake::from_state(start.clone());
                fake.fail_at.set(Some((number, failure)));
                // A failing look at the node during the work ends it; one that only a proof makes may not.
                drop(work(&fake, &desired).await);
                let (fake, outcome) = next_agent(fake, &desired).await;
                assert!(outcome.plan.is_settled(), "{what}: {:?}", outcome.plan);
                let reached = fake.state.into_inner();
                assert_eq!(reached.things, goal.things, "{what}");
                assert_eq!(reached.on_proxy, goal.on_proxy, "{what}");
                assert_eq!(reached.kubelet.starts - start.kubelet.starts, restarts, "{what}");
            }
        }
    }
}

#[tokio::test]
async fn a_daemon_that_never_answers_leaves_kubelet_alone() {
    let fake = Fake::new();
    fake.state.borrow_mut().daemon_works = false;
    let before = fake.state.borrow().things.clone();
    let outcome = work(&fake, &install("none", "v1")).await.unwrap();
    assert_eq!(outcome.plan.target, Target::RolledBack);
    assert!(outcome.plan.holds[0].contains("did not prove itself within"), "{:?}", outcome.plan.holds);
    let state = fake.state.borrow();
    assert_eq!((state.kubelet.starts, &state.things), (1, &before));
    assert_eq!(state.journal.as_ref().unwrap().phase, Phase::RolledBack);
}

/// Field cases N01, N04, N05: what a variable, a drop-in of kubelet's configuration or the file alone says counts like the unit's own flags.
#[tokio::test]
async fn a_kubelet_that_rules_the_proxy_out_is_left_alone() {
    for (own_arguments, drop_in, reason) in [
        ("--cpu-manager-policy=static", "", "cpuManagerPolicy of kubelet is \"static\" (--cpu-manager-policy)"),
        ("--config-dir=/d", "cpuManagerPolicy: static", "cpuManagerPolicy of kubelet is \"static\" (/d/1.conf)"),
        ("--config_dir /d", "memoryManagerPolicy: Static", "memoryManagerPolicy of kubelet is \"Static\" (/d/1.conf)"),
        ("--config-dir=/d", "containerRuntimeEndpoint: /run/crio/crio.sock", "/d/1.conf names the container runtime"),
        ("--container_runtime_endpoint=/run/crio/crio.sock", "", "the running kubelet names the container runtime"),
        ("--config-dir=/d", "cpuManagerPolicy: [", "/d/1.conf is no YAML"),
    ] {
        let fake = Fake::new();
        {
            let mut state = fake.state.borrow_mut();
            state.own_arguments = own_arguments;
            state.texts.insert("/d/1.conf".to_owned(), drop_in.to_owned());
        }
        let before = fake.state.borrow().clone();
        let outcome = work(&fake, &install("none", "v1")).await.unwrap();
        assert!(outcome.plan.holds.iter().any(|hold| hold.contains(reason)), "{reason}: {:?}", outcome.plan);
        assert_eq!(fake.state.borrow().things, before.things, "{reason}");
        assert_eq!(fake.state.borrow().kubelet.starts, 1, "{reason}");
    }
}

/// Field cases N09, N10: a drop-in that is read after ours and takes it back is seen before kubelet is restarted.
#[tokio::test]
async fn an_override_that_is_taken_back_costs_no_restart() {
    for (later_drop_in, reason) in [
        (LaterDropIn::EnvironmentFile("/e"), "EnvironmentFile /e sets KUBELET_EXTRA_ARGS"),
        (LaterDropIn::NoExecStartPre, "ExecStartPre does not run the gate"),
    ] {
        let fake = Fake::new();
        {
            let mut state = fake.state.borrow_mut();
            state.later_drop_in = Some(later_drop_in);
            state.texts.insert("/e".to_owned(), "A=1\nno assignment\n KUBELET_EXTRA_ARGS =--v=4\n".to_owned());
        }
        let outcome = work(&fake, &install("none", "v1")).await.unwrap();
        assert_eq!(outcome.plan.target, Target::RolledBack, "{reason}");
        assert!(outcome.plan.holds[0].contains(reason), "{:?}", outcome.plan.holds);
        assert_eq!(fake.state.borrow().kubelet.starts, 1, "{reason}");
        let journal = fake.state.borrow().journal.clone().unwrap();
        assert!(journal.backoff.unwrap().told, "the shoot would be told, and other nodes stopped");
    }
    let fake = Fake::new();
    fake.state.borrow_mut().later_drop_in = Some(LaterDropIn::EnvironmentFile("/not-there"));
    assert!(work(&fake, &install("none", "v1")).await.unwrap().plan.is_settled(), "a file of other variables is fine");
}

/// Field case N19: a daemon that works for a while and dies, again and again.
#[tokio::test]
async fn a_daemon_that_dies_slowly_is_given_up() {
    let fake = Fake::from_state(installed().await);
    let given_up = || {
        let mut state = fake.state.borrow_mut();
        (state.daemon.active, state.daemon.failed, state.on_proxy) = (false, true, false);
        state.now += 200;
    };
    for _ in 0..2 {
        given_up();
        assert!(
            work(&fake, &install("none", "v1")).await.unwrap().plan.is_settled(),
            "what stopped it may have passed"
        );
        assert!(fake.state.borrow().on_proxy);
    }
    given_up();
    let outcome = work(&fake, &install("none", "v1")).await.unwrap();
    assert_eq!(outcome.plan.target, Target::RolledBack);
    assert!(outcome.plan.holds[0].contains("systemd has given it up"), "{:?}", outcome.plan.holds);
    assert!(!fake.state.borrow().on_proxy);
}

/// Deadlines are of time, not of looks.
#[tokio::test]
async fn a_daemon_that_hangs_is_given_up_in_time() {
    let fake = Fake::new();
    let begin = {
        let mut state = fake.state.borrow_mut();
        (state.daemon_works, state.proxy_hangs_for) = (false, 3);
        state.now
    };
    let outcome = work(&fake, &install("none", "v1")).await.unwrap();
    assert_eq!(outcome.plan.target, Target::RolledBack);
    let journal = fake.state.borrow().journal.clone().unwrap();
    let took = journal.backoff.unwrap().failed_at - begin;
    assert!(took < 2 * TIMING.daemon_deadline.as_secs(), "given up after {took} s");
}

#[tokio::test]
async fn a_kubelet_that_dies_on_the_proxy_comes_back_to_containerd() {
    let fake = Fake::new();
    fake.state.borrow_mut().kubelet_works_on_proxy = false;
    let before = fake.state.borrow().things.clone();
    let outcome = work(&fake, &install("none", "v1")).await.unwrap();
    assert_eq!(outcome.plan.target, Target::RolledBack);
    {
        let state = fake.state.borrow();
        assert_eq!((state.kubelet.starts, &state.things, state.kubelet.active), (3, &before, true));
        assert!(!state.on_proxy);
    }
    // Nothing before the back-off is over; then one more try, which works now.
    assert!(work(&fake, &install("none", "v1")).await.unwrap().plan.steps.is_empty());
    assert_eq!(fake.state.borrow().kubelet.starts, 3);
    fake.state.borrow_mut().kubelet_works_on_proxy = true;
    fake.state.borrow_mut().now = outcome.plan.retry_at.unwrap();
    assert!(work(&fake, &install("none", "v1")).await.unwrap().plan.is_settled());
    // And the removal leaves no memory of the failure.
    assert!(work(&fake, &remove()).await.unwrap().plan.is_settled());
    assert_eq!(fake.state.borrow().journal, None);
}

#[tokio::test]
async fn a_roll_back_may_be_interrupted_at_every_call() {
    let start = Fake::new();
    start.state.borrow_mut().kubelet_works_on_proxy = false;
    let start = start.state.into_inner();
    let straight = Fake::from_state(start.clone());
    work(&straight, &install("none", "v1")).await.unwrap();
    for number in 0..straight.calls.get() {
        for failure in [Failure::Before, Failure::After] {
            let fake = Fake::from_state(start.clone());
            fake.fail_at.set(Some((number, failure)));
            let first = work(&fake, &install("none", "v1")).await.map(|outcome| outcome.plan.steps);
            let (fake, outcome) = next_agent(fake, &install("none", "v1")).await;
            assert_eq!(outcome.plan.target, Target::RolledBack, "call {number} {failure:?}");
            let state = fake.state.into_inner();
            assert!(state.kubelet.active && !state.on_proxy, "call {number} {failure:?}: {first:?}; {state:?}");
            assert_eq!(state.things, start.things, "call {number} {failure:?}");
        }
    }
}

/// The version before comes back, whatever becomes of the agent meanwhile; kubelet is left alone all the time.
#[tokio::test]
async fn a_bad_upgrade_leads_back_and_may_be_interrupted_at_every_call() {
    let mut start = installed().await;
    start.broken_daemon = "v2";
    let desired = install("none", "v2");
    let straight = Fake::from_state(start.clone());
    let outcome = work(&straight, &desired).await.unwrap();
    assert_eq!(outcome.plan.target, Target::Before);
    assert_eq!(crate::report::stage(&outcome.plan), extension_config::node_report::Stage::RolledBack);
    let wait = outcome.plan.retry_at.unwrap() - straight.state.borrow().now;
    assert!(wait > 1000, "a runtime that fails again is a gap in service, so not after {wait} s");
    for number in 0..straight.calls.get() {
        for failure in [Failure::Before, Failure::After] {
            let fake = Fake::from_state(start.clone());
            fake.fail_at.set(Some((number, failure)));
            drop(work(&fake, &desired).await);
            let (fake, outcome) = next_agent(fake, &desired).await;
            let what = format!("call {number} {failure:?}");
            assert_eq!(outcome.plan.target, Target::Before, "{what}");
            let state = fake.state.into_inner();
            assert_eq!(state.things, start.things, "{what}");
            assert_eq!((state.kubelet.starts, state.on_proxy), (start.kubelet.starts, true), "{what}");
        }
    }
}

#[tokio::test]
async fn a_hanging_daemon_is_restarted_and_kubelet_is_not() {
    let fake = Fake::from_state(installed().await);
    fake.state.borrow_mut().daemon.active = false;
    assert!(work(&fake, &install("none", "v1")).await.unwrap().plan.is_settled());
    assert_eq!((fake.state.borrow().daemon.starts, fake.state.borrow().kubelet.starts), (2, 2));
}

#[tokio::test]
async fn no_switch_begins_while_the_node_is_updated_in_place() {
    let fake = Fake::new();
    let mut updated = install("none", "v1");
    updated.labels = Some(BTreeMap::from([("node.machine.sapcloud.io/selected-for-update".into(), "true".into())]));
    let outcome = work(&fake, &updated).await.unwrap();
    assert!(outcome.plan.awaits_slot && outcome.plan.steps.is_empty(), "{:?}", outcome.plan);
    assert!(outcome.plan.holds[0].contains("is updated in place"), "{:?}", outcome.plan.holds);
    assert_eq!((fake.state.borrow().kubelet.starts, fake.holds_slot.get()), (1, false));
    assert_eq!(outcome.ask_again, Some(Duration::from_secs(15)));
    // When it is over it switches; and a removal waits for nothing.
    assert!(work(&fake, &install("none", "v1")).await.unwrap().plan.is_settled());
    let mut removed = remove();
    removed.labels = updated.labels;
    assert!(work(&fake, &removed).await.unwrap().plan.is_settled());
}

#[tokio::test]
async fn a_slot_is_held_while_switching_and_not_longer() {
    let fake = Fake::new();
    *fake.slot.borrow_mut() = Slot::Waiting("other nodes do so now".into());
    let outcome = work(&fake, &install("none", "v1")).await.unwrap();
    assert!(outcome.plan.awaits_slot && outcome.plan.steps.is_empty(), "{:?}", outcome.plan);
    assert_eq!((fake.state.borrow().kubelet.starts, fake.state.borrow().daemon.starts), (1, 1));
    // Asking again costs nothing on the node.
    let waiting = fake.state.borrow().clone();
    assert!(work(&fake, &install("none", "v1")).await.unwrap().plan.awaits_slot);
    assert_eq!(*fake.state.borrow(), waiting);
    *fake.slot.borrow_mut() = Slot::Held;
    assert!(work(&fake, &install("none", "v1")).await.unwrap().plan.is_settled());
    assert_eq!((fake.state.borrow().kubelet.starts, fake.holds_slot.get()), (2, false));
    // A removal asks for none.
    *fake.slot.borrow_mut() = Slot::Stopped("two roll-backs".into());
    assert!(work(&fake, &remove()).await.unwrap().plan.is_settled());
}

#[tokio::test]
async fn after_enough_roll_backs_nothing_is_begun() {
    let fake = Fake::new();
    *fake.slot.borrow_mut() = Slot::Stopped("two roll-backs".into());
    let outcome = work(&fake, &install("none", "v1")).await.unwrap();
    assert_eq!(outcome.plan.holds, ["kubelet runs on containerd; two roll-backs"]);
    assert_eq!(crate::report::stage(&outcome.plan), extension_config::node_report::Stage::Blocked);
    assert_eq!(fake.state.borrow().kubelet.starts, 1);
    // One that has switched keeps running, and is healed.
    let fake = Fake::from_state(installed().await);
    *fake.slot.borrow_mut() = Slot::Stopped("two roll-backs".into());
    fake.state.borrow_mut().daemon.active = false;
    assert!(work(&fake, &install("none", "v1")).await.unwrap().plan.is_settled());
}

#[tokio::test]
async fn a_roll_back_is_told_once() {
    let fake = Fake::new();
    fake.state.borrow_mut().kubelet_works_on_proxy = false;
    let outcome = work(&fake, &install("none", "v1")).await.unwrap();
    assert_eq!(outcome.plan.target, Target::RolledBack);
    let failed_at = fake.state.borrow().journal.as_ref().unwrap().backoff.as_ref().unwrap().failed_at;
    assert_eq!((fake.told.borrow().as_slice(), fake.holds_slot.get()), ([failed_at].as_slice(), false));
    // The next try asks for a slot and has nothing new to tell.
    fake.state.borrow_mut().kubelet_works_on_proxy = true;
    fake.state.borrow_mut().now = outcome.plan.retry_at.unwrap();
    assert!(work(&fake, &install("none", "v1")).await.unwrap().plan.is_settled());
    assert_eq!(fake.told.borrow().len(), 1);
}
