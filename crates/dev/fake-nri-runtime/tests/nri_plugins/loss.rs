//! A runtime or a policy that goes away, hangs, and comes back.

use std::time::{Duration, Instant};

use fake_nri_runtime::{Record, Timeouts};
use nix::sys::signal::Signal;

use crate::pinning::{BALLOONS, TOPOLOGY_AWARE};
use crate::plugin::{Exit, Policy};
use crate::{GENEROUS, Node, PATIENCE, books, dropped, synchronized};

/// A restart of the runtime with a policy: it exits with 1, and once it is started again all is pinned as its books say.
async fn outlives_a_restart_of_the_runtime(policy: Policy, document: &str) {
    let mut node = Node::new(GENEROUS);
    node.fill().await;
    let mut plugin = node.start(policy, document).await;
    node.run_pod("work", "one").await;
    books::agree(&node.path("state"), &node.runtime, PATIENCE).await;
    let before = books::of(&node.runtime);

    let asked = Instant::now();
    node.runtime.close().await;
    assert_eq!(plugin.exit_within(PATIENCE).await, Exit::With(1), "{}", plugin.log());
    println!("exit 1 after {:?}", asked.elapsed());
    assert!(plugin.log().contains("connection to NRI/runtime lost, exiting..."), "{}", plugin.log());
    assert_eq!(books::read(&node.path("state")), before, "the books stay");
    assert!(plugin.pid_file().exists(), "the pid file stays");

    node.runtime.reopen().unwrap();
    // A container that came while no policy was there.
    node.create("work", "meanwhile", 100).await.unwrap();
    assert_eq!(node.runtime.containers()["container-work-meanwhile"].effective.cpus, "");
    let _again = node.start(policy, document).await;
    node.run_pod("work", "another").await;
    books::agree(&node.path("state"), &node.runtime, PATIENCE).await;
    let after = books::of(&node.runtime);
    assert!(after.values().all(|(cpus, mems)| !cpus.is_empty() && !mems.is_empty()), "{after:?}");
    let moved = before.iter().filter(|(id, place)| after[*id] != **place).count();
    println!("{policy:?}: {moved} of {} moved", before.len());
    for record in synchronized(&node.runtime.records()) {
        println!("{record:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs NRI_BALLOONS"]
async fn balloons_outlive_a_restart_of_the_runtime() {
    outlives_a_restart_of_the_runtime(Policy::Balloons, BALLOONS).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs NRI_TOPOLOGY_AWARE"]
async fn topology_aware_outlives_a_restart_of_the_runtime() {
    outlives_a_restart_of_the_runtime(Policy::TopologyAware, TOPOLOGY_AWARE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs NRI_BALLOONS"]
async fn a_policy_that_hangs_is_dropped_and_containers_come_unpinned() {
    let request = Duration::from_secs(2);
    let node = Node::new(Timeouts { registration: PATIENCE, ..Timeouts::default() });
    let mut plugin = node.start(Policy::Balloons, BALLOONS).await;
    plugin.signal(Signal::SIGSTOP);
    let asked = Instant::now();
    node.run_pod("work", "a").await;
    assert!(asked.elapsed() >= request);
    assert_eq!(dropped(&node.runtime.records()), Some("RunPodSandbox: no answer within 2s"));
    let made = node.create("work", "b", 100).await.unwrap();
    assert_eq!((made.effective.cpus.as_str(), made.effective.mems.as_str()), ("", ""));
    // Awake again it finds the connection closed.
    plugin.signal(Signal::SIGCONT);
    assert_eq!(plugin.exit_within(PATIENCE).await, Exit::With(1), "{}", plugin.log());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs NRI_BALLOONS"]
async fn a_policy_that_is_asked_to_end_exits_with_0_and_its_pins_stay() {
    let node = Node::new(GENEROUS);
    let mut plugin = node.start(Policy::Balloons, BALLOONS).await;
    assert!(plugin.says("up and running", PATIENCE).await, "{}", plugin.log());
    node.create("work", "a", 100).await.unwrap();
    let before = books::of(&node.runtime);
    plugin.signal(Signal::SIGTERM);
    assert_eq!(plugin.exit_within(PATIENCE).await, Exit::With(0), "{}", plugin.log());
    let left = |records: &[Record]| dropped(records) == Some("it closed the connection");
    assert!(node.runtime.wait_for(PATIENCE, left).await, "{:?}", node.runtime.records());
    assert_eq!(books::of(&node.runtime), before);
    assert!(plugin.pid_file().exists(), "the pid file stays");
}
