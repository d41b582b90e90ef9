//! The agent on a node that goes from one backend to the other.

use extension_config::desired_state::{BackendKind, Handover, Phase};
use node_plan::testing::NodeState;
use node_plan::{Backend, Hold, Journal, Target};

use super::plugin::{failure, valid, wanted};
use super::{inputs, installed, next_agent, work};
use crate::fake::{Failure, Fake};
use crate::inputs::Inputs;

/// To this backend, from the other one.
fn to(backend: Backend) -> Inputs {
    let (mut inputs, from) = match backend {
        Backend::Proxy => (inputs(Phase::Install, "none", "v1"), BackendKind::NriPlugins),
        Backend::Plugin => (wanted(valid("a"), "v1"), BackendKind::CriResmgr),
    };
    inputs.state.handover = Some(Handover { from, accepted: [].into(), delivered: [].into() });
    inputs
}

async fn on(backend: Backend) -> NodeState {
    let mut state = match backend {
        Backend::Proxy => installed().await,
        Backend::Plugin => {
            let mut fake = Fake::new();
            assert!(work(&mut fake, &to(backend)).await.unwrap().plan.is_settled());
            fake.state
        }
    };
    state.now += 1000;
    state
}

fn is_on(state: &NodeState) -> Option<Backend> {
    state.journal.as_ref().and_then(Journal::backend)
}

#[tokio::test]
async fn a_node_goes_over_in_one_slot_with_one_restart_of_kubelet() {
    for backend in Backend::ALL {
        let start = on(backend.other()).await;
        let mut fake = Fake::from_state(start.clone());
        let outcome = work(&mut fake, &to(backend)).await.unwrap();
        assert!(outcome.plan.is_settled() && outcome.plan.target == Target::Installed, "{:?}", outcome.plan);
        assert_eq!((outcome.had, is_on(&fake.state)), (Some(backend.other()), Some(backend)));
        assert_eq!(fake.state.kubelet.starts, start.kubelet.starts + 1);
        assert!(!fake.holds_slot);
        let reached = fake.state.clone();
        let (fake, outcome) = next_agent(fake, &to(backend)).await;
        assert!(outcome.plan.is_settled());
        assert_eq!(fake.state, reached);
    }
}

/// Every call fails once, or is the agent's last; the next agent finishes the work, or the owner takes it back.
#[tokio::test]
async fn an_agent_that_dies_at_any_call_is_finished_by_the_next() {
    for backend in Backend::ALL {
        let start = on(backend.other()).await;
        let mut straight = Fake::from_state(start.clone());
        work(&mut straight, &to(backend)).await.unwrap();
        let calls = straight.calls.get();
        for number in 0..calls {
            for fails in [Failure::Before, Failure::After] {
                let what = format!("to {backend:?}, call {number} of {calls}, {fails:?}");
                for onward in [true, false] {
                    let mut fake = Fake::from_state(start.clone());
                    fake.fail_at = Some((number, fails));
                    drop(work(&mut fake, &to(backend)).await);
                    let wanted = if onward { backend } else { backend.other() };
                    // A failing look in a proof may have led back.
                    fake.state.now += 2000;
                    let (fake, outcome) = next_agent(fake, &to(wanted)).await;
                    assert!(outcome.plan.is_settled(), "{what}, {wanted:?}: {:?}", outcome.plan);
                    let expected = if onward { &straight.state.entries } else { &start.entries };
                    assert_eq!(fake.state.entries, *expected, "{what}, {wanted:?}");
                    assert_eq!(fake.state.pinned, wanted == Backend::Plugin, "{what}, {wanted:?}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_policy_that_does_not_register_leaves_kubelet_on_the_proxy() {
    let start = NodeState { plugin_works: false, ..on(Backend::Proxy).await };
    let mut fake = Fake::from_state(start.clone());
    let outcome = work(&mut fake, &to(Backend::Plugin)).await.unwrap();
    assert_eq!(outcome.plan.target, Target::Before);
    assert!(failure(&outcome).contains("it has not registered with containerd"), "{:?}", outcome.plan.holds);
    assert_eq!((&fake.state.entries, fake.state.kubelet.starts), (&start.entries, start.kubelet.starts));
    assert_eq!((is_on(&fake.state), fake.reported.len()), (Some(Backend::Proxy), 1));
}

#[tokio::test]
async fn a_kubelet_that_fails_on_containerd_is_led_back_to_the_proxy() {
    let start = NodeState { kubelet_works_on_containerd: false, ..on(Backend::Proxy).await };
    let mut fake = Fake::from_state(start.clone());
    let outcome = work(&mut fake, &to(Backend::Plugin)).await.unwrap();
    assert_eq!(outcome.plan.target, Target::Before, "{:?}", outcome.plan);
    assert!(failure(&outcome).starts_with("prove that kubelet runs well on"), "{:?}", outcome.plan.holds);
    assert!(fake.state.is_on_proxy());
    assert_eq!((&fake.state.entries, fake.state.kubelet.starts), (&start.entries, start.kubelet.starts + 2));
}

#[tokio::test]
async fn what_is_not_accepted_holds_the_node() {
    let start = on(Backend::Proxy).await;
    let mut fake = Fake::from_state(start.clone());
    let mut inputs = to(Backend::Plugin);
    inputs.meant = Some(dynamic_config::Meant { config_map: None, adjustments: vec!["quiet".to_owned()] });
    let outcome = work(&mut fake, &inputs).await.unwrap();
    assert!(matches!(&outcome.plan.holds[..], [Hold::Unaccepted(_)]), "{:?}", outcome.plan);
    assert_eq!(fake.state.entries, start.entries);
    inputs.state.handover.as_mut().unwrap().accepted.insert("adjustment:quiet".to_owned());
    assert!(work(&mut fake, &inputs).await.unwrap().plan.is_settled());
}
