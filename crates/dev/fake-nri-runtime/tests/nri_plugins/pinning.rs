//! What a policy makes of containers.

use std::collections::BTreeSet;

use fake_nri_runtime::{Cpu, Record};

use crate::plugin::{Policy, listing};
use crate::{GENEROUS, Node, PATIENCE, books, synchronized};

pub(crate) const BALLOONS: &str = "
apiVersion: config.nri/v1alpha1
kind: BalloonsPolicy
metadata:
  name: default
spec:
  reservedResources:
    cpu: cpuset:0
  pinCPU: true
  pinMemory: true
  allocatorTopologyBalancing: false
  balloonTypes:
  - name: full
    namespaces: [full]
    minCPUs: 1
    maxCPUs: 2
    maxBalloons: 1
    allocatorPriority: high
";

pub(crate) const TOPOLOGY_AWARE: &str = "
apiVersion: config.nri/v1alpha1
kind: TopologyAwarePolicy
metadata:
  name: default
spec:
  reservedResources:
    cpu: cpuset:0
  pinCPU: true
  pinMemory: true
  defaultCPUPriority: none
  unlimitedBurstable: package
";

/// The single CPUs of a list.
fn single(list: &str) -> BTreeSet<usize> {
    let ranges = list.split(',').filter(|part| !part.is_empty());
    ranges
        .flat_map(|part| {
            let (low, high) = part.split_once('-').unwrap_or((part, part));
            low.parse().unwrap()..=high.parse().unwrap()
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs NRI_BALLOONS"]
async fn balloons_pin_what_is_there_and_what_comes() {
    let node = Node::new(GENEROUS);
    node.fill().await;
    let plugin = node.start(Policy::Balloons, BALLOONS).await;
    println!("{:?}", synchronized(&node.runtime.records()));
    for (id, container) in node.runtime.containers() {
        let cpus = single(&container.effective.cpus);
        assert!(!cpus.is_empty() && cpus.iter().all(|cpu| *cpu < 8), "{id}: {:?}", container.effective);
        assert_eq!(cpus.contains(&0), id.contains("kube-system"), "{id}: CPU 0 is reserved: {:?}", container.effective);
        assert!(!container.effective.mems.is_empty(), "{id}: {:?}", container.effective);
    }
    let new = node.create("full", "new", 1000).await.unwrap();
    assert_eq!(single(&new.effective.cpus).len(), 1, "{:?}", new.effective);
    let mount = new.mounts.iter().find(|mount| mount.destination == "/.nri-resource-policy").unwrap();
    assert_eq!(mount.source, node.path("state/containers").join(&new.asked.id).display().to_string());
    books::agree(&node.path("state"), &node.runtime, PATIENCE).await;

    assert!(plugin.says("up and running", PATIENCE).await, "{}", plugin.log());
    let pid = std::fs::read_to_string(plugin.pid_file()).unwrap();
    assert_eq!(pid, format!("{}\n", plugin.pid()));
    println!("state directory: {:?}", listing(&node.path("state")).into_iter().take(8).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs NRI_TOPOLOGY_AWARE"]
async fn topology_aware_pins_what_is_there_and_what_comes() {
    let node = Node::new(GENEROUS);
    node.fill().await;
    let _plugin = node.start(Policy::TopologyAware, TOPOLOGY_AWARE).await;
    println!("{:?}", synchronized(&node.runtime.records()));
    node.create("work", "new", 500).await.unwrap();
    for (id, container) in node.runtime.containers() {
        let cpus = single(&container.effective.cpus);
        assert!(!cpus.is_empty() && cpus.iter().all(|cpu| *cpu < 8), "{id}: {:?}", container.effective);
        assert!(!container.effective.mems.is_empty(), "{id}: {:?}", container.effective);
    }
    books::agree(&node.path("state"), &node.runtime, PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs NRI_BALLOONS"]
async fn a_full_balloon_refuses_a_container() {
    let node = Node::new(GENEROUS);
    let _plugin = node.start(Policy::Balloons, BALLOONS).await;
    for name in ["a", "b"] {
        node.create("full", name, 1000).await.unwrap();
    }
    let error = node.create("full", "c", 1000).await.unwrap_err().to_string();
    println!("{error}");
    assert!(error.contains("refused CreateContainer") && error.contains("failed to allocate resources"), "{error}");
    assert_eq!(node.runtime.containers().len(), 2);
    assert_eq!(node.runtime.plugins(), ["90-resource-manager"], "an error does not cost the plugin its place");
    // There is room again once another one has gone.
    node.runtime.stop_container("container-full-a").await.unwrap();
    node.runtime.remove_container("container-full-a").await.unwrap();
    node.create("full", "d", 1000).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs NRI_BALLOONS"]
async fn balloons_leave_an_update_of_kubelet_as_it_is() {
    let node = Node::new(GENEROUS);
    let _plugin = node.start(Policy::Balloons, BALLOONS).await;
    let before = node.create("work", "a", 500).await.unwrap().effective;
    let resized = Cpu { shares: Some(4096), ..Cpu::default() };
    let after = node.runtime.update_container("container-work-a", &resized).await.unwrap().effective;
    assert_eq!(after, Cpu { shares: Some(4096), ..before });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs NRI_BALLOONS and NRI_TOPOLOGY_AWARE"]
async fn two_policies_fail_every_creation() {
    let node = Node::new(GENEROUS);
    let _first = node.start(Policy::Balloons, BALLOONS).await;
    let other = tempfile::tempdir().unwrap();
    for name in ["host", "nri.sock"] {
        std::os::unix::fs::symlink(node.path(name), other.path().join(name)).unwrap();
    }
    let more = ["--nri-plugin-index", "91"];
    let second = crate::plugin::Plugin::spawn(Policy::TopologyAware, TOPOLOGY_AWARE, other.path(), &more);
    let both = |records: &[Record]| synchronized(records).len() == 2;
    assert!(node.runtime.wait_for(PATIENCE, both).await, "{}", second.log());
    let error = node.create("work", "a", 100).await.unwrap_err().to_string();
    println!("{error}");
    assert!(error.contains("plugins 90-resource-manager and 91-resource-manager both set"), "{error}");
}
