use std::time::Duration;

use node_plan::{Blob, Desired, Installation, Phase, Slot, StaticConfig, Target};

use super::{Outcome, converge};
use crate::effects::Result;
use crate::fake::{Failure, Fake, State};
use crate::prove::Timing;

const TIMING: Timing = Timing {
    poll: Duration::from_secs(1),
    daemon_deadline: Duration::from_secs(10),
    daemon_settle: Duration::from_secs(1),
    kubelet_deadline: Duration::from_secs(20),
    settle_with_heartbeat: Duration::from_secs(2),
    settle_alone: Duration::from_secs(5),
};

fn install(policy: &str, version: &str) -> Desired {
    let blob =
        |name: &str| Blob { sha256: name.into(), size: 1, architecture: std::env::consts::ARCH.into(), needs: None };
    Desired::Installed(Box::new(Installation {
        config: StaticConfig::Fallback(format!("policy:\n  Active: {policy}\n")),
        extra_options: String::new(),
        daemon: blob(version),
        daemon_is_kept: false,
        gate: blob("gate"),
        renewal: None,
    }))
}

fn remove() -> Desired {
    Desired::Clean { because: "off".into() }
}

async fn work(fake: &Fake, desired: &Desired) -> Result<Outcome> {
    converge(fake, &TIMING, |_| desired.clone()).await
}

/// A later agent on the same node: nothing of the first one's memory is left.
async fn next_agent(fake: Fake, desired: &Desired) -> (Fake, Outcome) {
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
