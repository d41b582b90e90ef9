use extension_config::desired_state::{Backend, DesiredState, NriPlugins, Selection};

use super::*;
use crate::journal::{Change, ProvenPlugin};

const DOCUMENT: &str = "{\"policy\":\"new\"}\n";

fn programs(version: &str) -> Programs {
    let blob =
        |name: &str| Blob { sha256: format!("{name} {version}"), size: 1, architecture: "x86_64".into(), needs: None };
    Programs {
        daemon: blob("daemon"),
        gate: blob("gate"),
        balloons: blob("balloons"),
        topology_aware: blob("topology-aware"),
    }
}

fn state(phase: Phase) -> DesiredState {
    let backend = Backend::NriPlugins(NriPlugins::default());
    DesiredState { phase, selection: Selection::default(), backend, handover: None }
}

fn valid(kind: Kind) -> NodePolicy {
    NodePolicy::Valid { source: "cri-resmgr-policy.default".into(), kind, document: DOCUMENT.into() }
}

/// Of a node on which topology-aware was proven by an earlier agent.
fn proven() -> Journal {
    let mut journal = Journal::default();
    let proven = ProvenPlugin {
        kind: Kind::TopologyAwarePolicy,
        document: "{\"policy\":\"old\"}\n".into(),
        binary: programs("v0").topology_aware,
        request_timeout_seconds: 2,
    };
    journal.apply(&Change::Proven(Proven::Plugin(proven)).of(crate::kind::Backend::Plugin));
    journal
}

fn decide(journal: Option<&Journal>, policy: &NodePolicy) -> Desired {
    Desired::decide(&state(Phase::Install), Some(&BTreeMap::new()), journal, &programs("v1"), policy)
}

fn plugin(desired: Desired) -> PluginSpec {
    match desired {
        Desired::Installed(installation) => match installation.backend {
            BackendSpec::Plugin(plugin) => plugin,
            BackendSpec::Proxy(other) => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_valid_policy_is_installed_with_the_program_of_its_kind() {
    for (kind, program) in [(Kind::BalloonsPolicy, "balloons v1"), (Kind::TopologyAwarePolicy, "topology-aware v1")] {
        for journal in [None, Some(proven())] {
            let plugin = plugin(decide(journal.as_ref(), &valid(kind)));
            assert_eq!((plugin.kind, &*plugin.document, &*plugin.binary.sha256), (kind, DOCUMENT, program));
        }
    }
}

#[test]
fn without_a_usable_policy_what_was_proven_stays_and_a_new_node_waits_with_the_reason() {
    let invalid = NodePolicy::Invalid {
        source: "cri-resmgr-policy.node.n".into(),
        problems: vec!["spec.a: is unknown".into(), "spec.b: is missing".into()],
    };
    for (policy, reason) in [
        (NodePolicy::Awaited, "the node's policy has not been read from the API server yet"),
        (
            NodePolicy::Missing,
            "there is no policy for this node: none of the ConfigMaps cri-resmgr-policy.node.NAME, \
             cri-resmgr-policy.group.NAME and cri-resmgr-policy.default is there for it",
        ),
        (invalid, "ConfigMap cri-resmgr-policy.node.n: spec.a: is unknown; spec.b: is missing"),
    ] {
        assert_eq!(decide(None, &policy), Desired::Undecided { because: reason.to_owned() });
        assert_eq!(policy.problem().as_deref(), Some(reason));
        let kept = plugin(decide(Some(&proven()), &policy));
        assert_eq!((kept.kind, &*kept.document), (Kind::TopologyAwarePolicy, "{\"policy\":\"old\"}\n"));
        // Of this image: an update of the agent does not wait for a policy.
        assert_eq!(kept.binary, programs("v1").topology_aware);
    }
    assert_eq!(valid(Kind::BalloonsPolicy).problem(), None);
}

#[test]
fn a_removal_needs_no_policy() {
    for policy in [NodePolicy::Awaited, NodePolicy::Missing] {
        let desired = Desired::decide(&state(Phase::Remove), None, Some(&proven()), &programs("v1"), &policy);
        assert!(matches!(desired, Desired::Clean { .. }), "{desired:?}");
    }
}
