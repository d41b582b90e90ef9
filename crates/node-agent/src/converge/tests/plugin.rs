//! The agent with a policy plugin, from what it is to become by hand.

use extension_config::desired_state::{self, Backend, NriPlugins};
use node_plan::testing::NodeState;
use node_plan::{BackendSpec, Blob, Desired, Hold, Installation, Journal, NodePolicy, Phase, PluginSpec, Target, Wait};
use nri_policy::Kind;

use super::{Outcome, next_agent, work};
use crate::effects::EffectError;
use crate::fake::{Failure, Fake, blob};
use crate::inputs::{Goal, Inputs};

/// What the node is to become, whatever the journal says.
struct HandMade(Desired);

impl Goal for HandMade {
    fn node(&self) -> &'static str {
        "n"
    }

    fn hash(&self) -> &'static str {
        "0123abcd"
    }

    fn update_in_place(&self) -> Option<Wait> {
        None
    }

    fn desired(&self, _journal: Option<&Journal>) -> Desired {
        self.0.clone()
    }
}

fn install(policy: &str, binary: Blob) -> HandMade {
    let backend = BackendSpec::Plugin(PluginSpec {
        kind: Kind::BalloonsPolicy,
        document: format!("{{\"policy\":\"{policy}\"}}\n"),
        binary,
        binary_is_kept: false,
        request_timeout_seconds: 2,
    });
    HandMade(Desired::Installed(Box::new(Installation {
        backend,
        gate: blob("gate"),
        restart_request: None,
        handover: None,
    })))
}

fn remove() -> HandMade {
    HandMade(Desired::Clean { because: "off".to_owned() })
}

/// Why the last try failed.
pub(super) fn failure(outcome: &Outcome) -> &str {
    match &outcome.plan.holds[..] {
        [Hold::RolledBack(last) | Hold::RolledBackToPrevious(last), ..] => &last.reason,
        other => panic!("{other:?}"),
    }
}

async fn installed() -> NodeState {
    let mut fake = Fake::new();
    assert!(work(&mut fake, &install("a", blob("v1"))).await.unwrap().plan.is_settled());
    fake.state
}

#[tokio::test]
async fn a_policy_is_installed_kept_and_removed_and_kubelet_is_left_alone() {
    let mut fake = Fake::new();
    let before = fake.state.clone();
    let desired = install("a", blob("v1"));
    let outcome = work(&mut fake, &desired).await.unwrap();
    assert!(outcome.plan.is_settled() && outcome.plan.target == Target::Installed, "{:?}", outcome.plan);
    assert!(fake.state.pinned && fake.state.plugin_registered() && !fake.holds_slot);
    let reached = fake.state.clone();
    let (mut fake, outcome) = next_agent(fake, &desired).await;
    assert!(outcome.plan.is_settled());
    assert_eq!(fake.state, reached, "an agent that finds the node as desired does nothing");
    assert!(work(&mut fake, &remove()).await.unwrap().plan.is_settled());
    let after = &fake.state;
    assert_eq!((&after.entries, &after.journal, after.pinned), (&before.entries, &None, false));
    assert_eq!(after.kubelet.starts, before.kubelet.starts);
    assert!(!fake.locked, "a clean node needs no lock");
}

/// Every call of every kind of work fails once, or is the agent's last; the next agent finishes the work.
#[tokio::test]
async fn an_agent_that_dies_at_any_call_is_finished_by_the_next() {
    let starts = [
        ("install", Fake::new().state, install("a", blob("v1"))),
        ("upgrade", installed().await, install("a", blob("v2"))),
        ("policy", installed().await, install("b", blob("v1"))),
        ("remove", installed().await, remove()),
    ];
    for (name, start, desired) in starts {
        let mut straight = Fake::from_state(start.clone());
        work(&mut straight, &desired).await.unwrap();
        let calls = straight.calls.get();
        for number in 0..calls {
            for failure in [Failure::Before, Failure::After] {
                let what = format!("{name}, call {number} of {calls}, {failure:?}");
                let mut fake = Fake::from_state(start.clone());
                fake.fail_at = Some((number, failure));
                // A failing look at the node during the work ends it; one that only a proof makes may not.
                drop(work(&mut fake, &desired).await);
                let (fake, outcome) = next_agent(fake, &desired).await;
                assert!(outcome.plan.is_settled(), "{what}: {:?}", outcome.plan);
                assert_eq!(fake.state.entries, straight.state.entries, "{what}");
                assert_eq!(fake.state.pinned, straight.state.pinned, "{what}");
                assert_eq!(fake.state.kubelet.starts, start.kubelet.starts, "{what}");
            }
        }
    }
}

#[tokio::test]
async fn a_document_that_is_not_taken_leaves_what_runs_as_it_is() {
    let start = NodeState { bad_document: "bad", ..installed().await };
    let mut fake = Fake::from_state(start.clone());
    let outcome = work(&mut fake, &install("bad", blob("v1"))).await.unwrap();
    assert_eq!(outcome.plan.target, Target::Before);
    assert_eq!(
        failure(&outcome),
        "try out the policy's document with /opt/gardener-extension-cri-resmgr/bin/nri-resource-policy: \
         the policy cannot run on this node: its program ended with 1: it is bad"
    );
    assert_eq!((&fake.state.entries, fake.state.plugin.starts), (&start.entries, start.plugin.starts));
}

#[tokio::test]
async fn a_policy_that_does_not_register_goes_away_and_its_pins_with_it() {
    let mut fake = Fake::from_state(NodeState { plugin_works: false, pinned: true, ..NodeState::default() });
    let before = fake.state.entries.clone();
    let outcome = work(&mut fake, &install("a", blob("v1"))).await.unwrap();
    assert_eq!(outcome.plan.target, Target::RolledBack);
    assert!(failure(&outcome).contains("it has not registered with containerd"), "{:?}", outcome.plan.holds);
    assert_eq!((&fake.state.entries, fake.state.pinned), (&before, false));
    assert_eq!(fake.state.journal.as_ref().unwrap().phase, Phase::RolledBack);
    assert_eq!(fake.reported.len(), 1);
}

#[tokio::test]
async fn containers_that_are_elsewhere_are_placed_again_and_in_the_end_the_policy_is_rolled_back() {
    let desired = install("a", blob("v1"));
    let mut fake = Fake::from_state(NodeState { missed: ["ns/pod/main"].into(), ..installed().await });
    assert!(work(&mut fake, &desired).await.unwrap().plan.is_settled());
    assert_eq!((fake.state.plugin.starts, fake.state.missed.len()), (2, 0));
    fake.state.missed = ["ns/pod/main"].into();
    fake.state.stays_missed = true;
    let outcome = work(&mut fake, &desired).await.unwrap();
    assert_eq!(outcome.plan.target, Target::RolledBack, "{:?}", outcome.plan);
    let reason = "1 of 3 containers are not as the policy has them: ns/pod/main is not in the books of the policy";
    assert!(failure(&outcome).ends_with(reason), "{:?}", outcome.plan.holds);
    assert!(!fake.state.pinned);
}

#[tokio::test]
async fn a_removal_waits_for_the_runtime_that_takes_the_pins_away() {
    let mut fake = Fake::from_state(NodeState { containerd_answers: false, ..installed().await });
    let error = work(&mut fake, &remove()).await.unwrap_err();
    assert!(matches!(error, EffectError::Job { .. }), "{error:?}");
    assert!(fake.state.pinned && fake.state.journal.is_some());
    fake.state.containerd_answers = true;
    assert!(work(&mut fake, &remove()).await.unwrap().plan.is_settled());
    assert!(!fake.state.pinned && fake.state.journal.is_none());
}

#[tokio::test]
async fn a_node_with_the_proxy_is_not_moved() {
    let mut fake = Fake::from_state(super::installed().await);
    let before = fake.state.clone();
    let outcome = work(&mut fake, &install("a", blob("v1"))).await.unwrap();
    assert!(matches!(outcome.plan.holds[..], [Hold::OtherBackend { .. }]), "{:?}", outcome.plan.holds);
    assert_eq!(fake.state.entries, before.entries);
}

/// A desired state of the second version, and what the ConfigMaps say of this node.
pub(super) fn wanted(policy: NodePolicy, version: &str) -> Inputs {
    let mut inputs = super::inputs(desired_state::Phase::Install, "none", version);
    inputs.state.backend = Backend::NriPlugins(NriPlugins::default());
    inputs.policy = policy;
    inputs
}

pub(super) fn valid(policy: &str) -> NodePolicy {
    let document = format!("{{\"policy\":\"{policy}\"}}\n");
    NodePolicy::Valid { source: "cri-resmgr-policy.default".into(), kind: Kind::BalloonsPolicy, document }
}

#[tokio::test]
async fn a_node_follows_its_policy_and_keeps_the_last_good_one() {
    let invalid = || NodePolicy::Invalid { source: "cri-resmgr-policy.default".into(), problems: vec!["x".into()] };
    let mut fake = Fake::new();
    let before = fake.state.clone();
    for policy in [NodePolicy::Awaited, NodePolicy::Missing, invalid()] {
        let outcome = work(&mut fake, &wanted(policy, "v1")).await.unwrap();
        assert_eq!(outcome.plan.target, Target::Unchanged);
        assert_eq!(fake.state, before, "a node without a policy is left alone");
    }
    assert!(work(&mut fake, &wanted(valid("a"), "v1")).await.unwrap().plan.is_settled());
    let installed = fake.state.clone();
    assert_eq!(installed.plugin.starts, 1);
    for policy in [NodePolicy::Awaited, NodePolicy::Missing, invalid()] {
        let outcome = work(&mut fake, &wanted(policy, "v1")).await.unwrap();
        assert!(outcome.plan.is_settled() && outcome.plan.target == Target::Installed, "{:?}", outcome.plan);
        assert_eq!(fake.state, installed);
    }
    // It is healed without one, too.
    fake.state.entries.remove(extension_config::names::node::PLUGIN_UNIT_FILE);
    assert!(work(&mut fake, &wanted(invalid(), "v1")).await.unwrap().plan.is_settled());
    assert_eq!((&fake.state.entries, fake.state.pinned), (&installed.entries, true));
    let starts = fake.state.plugin.starts;
    assert!(work(&mut fake, &wanted(valid("b"), "v1")).await.unwrap().plan.is_settled());
    assert_eq!(fake.state.plugin.starts, starts + 1);
    assert!(work(&mut fake, &super::remove()).await.unwrap().plan.is_settled());
    assert_eq!((&fake.state.entries, &fake.state.journal), (&before.entries, &None));
    assert_eq!(fake.state.kubelet.starts, before.kubelet.starts);
}
