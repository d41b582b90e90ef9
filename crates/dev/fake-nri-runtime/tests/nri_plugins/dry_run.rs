//! A policy pointed at a socket that does not exist: the way to try a document on a node.

use std::time::Duration;

use fake_nri_runtime::machine::Machine;

use crate::PATIENCE;
use crate::pinning::{BALLOONS, TOPOLOGY_AWARE};
use crate::plugin::{Exit, Plugin, Policy};

/// How long a process that stays up is checked.
const LOOK: Duration = Duration::from_secs(5);

struct Tried {
    exit: Exit,
    log: String,
}

async fn dry_run(policy: Policy, document: &str, limit: Duration) -> Tried {
    let folder = tempfile::tempdir().unwrap();
    Machine::default().write(&folder.path().join("host")).unwrap();
    let mut plugin = Plugin::spawn(policy, document, folder.path(), &[]);
    let exit = plugin.exit_within(limit).await;
    let log = plugin.log();
    let took = plugin.started.elapsed();
    println!(
        "=== {policy:?}: exit {exit:?} after {took:?}\n{}",
        log.lines().rev().take(4).collect::<Vec<_>>().join("\n")
    );
    Tried { exit, log }
}

/// Whether the policy was built from the document before the connection failed.
fn reached_the_runtime(tried: &Tried) -> bool {
    tried.exit == Exit::With(1) && tried.log.contains("failed to start NRI plugin") && tried.log.contains("nri.sock")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs NRI_BALLOONS"]
async fn a_good_document_of_balloons_gets_as_far_as_the_socket() {
    let tried = dry_run(Policy::Balloons, BALLOONS, PATIENCE).await;
    assert!(reached_the_runtime(&tried), "{}", tried.log);
    assert!(tried.log.contains("balloons policy started"), "{}", tried.log);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs NRI_TOPOLOGY_AWARE"]
async fn a_good_document_of_topology_aware_gets_as_far_as_the_socket() {
    let tried = dry_run(Policy::TopologyAware, TOPOLOGY_AWARE, PATIENCE).await;
    assert!(reached_the_runtime(&tried), "{}", tried.log);
    assert!(!tried.log.contains("policy started"), "it has no such line: {}", tried.log);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs NRI_BALLOONS and NRI_TOPOLOGY_AWARE"]
async fn an_unknown_key_ends_both_before_the_socket() {
    for (policy, document) in [(Policy::Balloons, BALLOONS), (Policy::TopologyAware, TOPOLOGY_AWARE)] {
        let tried = dry_run(policy, &format!("{document}  noSuchKey: 1\n"), PATIENCE).await;
        assert_eq!(tried.exit, Exit::With(1), "{}", tried.log);
        assert!(tried.log.contains("noSuchKey") && !reached_the_runtime(&tried), "{}", tried.log);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs NRI_BALLOONS and NRI_TOPOLOGY_AWARE"]
async fn the_kind_is_not_checked() {
    for (policy, document) in [(Policy::Balloons, BALLOONS), (Policy::TopologyAware, TOPOLOGY_AWARE)] {
        let tried = dry_run(policy, &document.replace("Policy\n", "Nonsense\n"), PATIENCE).await;
        assert!(reached_the_runtime(&tried), "{}", tried.log);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs NRI_BALLOONS"]
async fn what_only_the_policy_itself_finds_ends_balloons_before_the_socket() {
    for document in [
        BALLOONS.replace("cpuset:0", "cpuset:99"),
        BALLOONS.replace("  - name: full\n", "  - name: full\n  - name: full\n"),
    ] {
        let tried = dry_run(Policy::Balloons, &document, PATIENCE).await;
        assert_eq!(tried.exit, Exit::With(1), "{}", tried.log);
        assert!(!reached_the_runtime(&tried), "{}", tried.log);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs NRI_BALLOONS and NRI_TOPOLOGY_AWARE"]
async fn a_document_that_fails_validation_leaves_both_up_and_unregistered() {
    let balloons = BALLOONS.replace(
        "    maxBalloons: 1\n",
        "    maxBalloons: 1\n    matchExpressions:\n    - {key: name, operator: Resembles, values: [x]}\n",
    );
    let topology_aware = format!("{TOPOLOGY_AWARE}  namespaceSchedulingClasses: {{x: none-such}}\n");
    for (policy, document) in [(Policy::Balloons, balloons), (Policy::TopologyAware, topology_aware)] {
        let tried = dry_run(policy, &document, LOOK).await;
        assert_eq!(tried.exit, Exit::Runs, "{}", tried.log);
        assert!(!tried.log.contains("nri.sock"), "{}", tried.log);
    }
}
