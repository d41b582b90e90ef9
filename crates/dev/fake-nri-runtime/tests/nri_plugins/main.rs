//! nri-plugins' real policies with this runtime, on a made-up machine of 8 CPUs and 2 NUMA nodes.
//!
//! Ignored unless asked for, because they need the programs: `NRI_BALLOONS` and `NRI_TOPOLOGY_AWARE` have their paths
//! (`testbed::components` builds them). A missing variable is a failure, not a pass.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a failed step ends the test; what is measured is shown"
)]

mod books;
mod dry_run;
mod loss;
mod pinning;
mod plugin;

use std::path::PathBuf;
use std::time::Duration;

use fake_nri_runtime::machine::Machine;
use fake_nri_runtime::{Container, Cpu, Error, FakeRuntime, NewContainer, Pod, Record, Timeouts};

use crate::plugin::{Plugin, Policy};

/// Long enough for a machine that does many other things.
const PATIENCE: Duration = Duration::from_secs(60);
/// For tests that are not about timeouts: a busy machine must not drop a plugin.
const GENEROUS: Timeouts = Timeouts { registration: PATIENCE, request: PATIENCE };

/// A node: a machine, a runtime, and a place for a plugin's state.
struct Node {
    folder: tempfile::TempDir,
    runtime: FakeRuntime,
}

impl Node {
    fn new(timeouts: Timeouts) -> Self {
        let folder = tempfile::tempdir().unwrap();
        Machine::default().write(&folder.path().join("host")).unwrap();
        let runtime = FakeRuntime::listen(&folder.path().join("nri.sock"), timeouts).unwrap();
        Self { folder, runtime }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts a policy with a document, and waits until it is synchronized.
    async fn start(&self, policy: Policy, document: &str) -> Plugin {
        let before = synchronized(&self.runtime.records()).len();
        let mut plugin = Plugin::spawn(policy, document, self.folder.path(), &[]);
        let in_time = self.runtime.wait_for(PATIENCE, |records| synchronized(records).len() > before).await;
        assert!(in_time, "{:?}\n{}\n{:?}", self.runtime.records(), plugin.log(), plugin.exit_now());
        plugin
    }

    async fn run_pod(&self, namespace: &str, name: &str) {
        let uid = format!("uid-{namespace}-{name}");
        let pod = Pod {
            id: format!("pod-{namespace}-{name}"),
            name: name.to_owned(),
            namespace: namespace.to_owned(),
            cgroup_parent: format!("/kubepods/burstable/pod{uid}"),
            uid,
            ..Pod::default()
        };
        self.runtime.run_pod(pod).await.unwrap();
    }

    /// Makes and starts a container in a pod of its own, with a request of so many thousandths of a CPU.
    async fn create(&self, namespace: &str, name: &str, milli: u64) -> Result<Container, Error> {
        self.run_pod(namespace, name).await;
        let asked = NewContainer {
            id: format!("container-{namespace}-{name}"),
            pod: format!("pod-{namespace}-{name}"),
            name: "main".to_owned(),
            cpu: Cpu { shares: Some((milli * 1024 / 1000).max(2)), period: Some(100_000), ..Cpu::default() },
            oom_score_adj: Some(990),
            cgroups_path: format!("/kubepods/burstable/poduid-{namespace}-{name}/container-{namespace}-{name}"),
            ..NewContainer::default()
        };
        let made = self.runtime.create_container(asked).await?;
        self.runtime.start_container(&made.asked.id).await?;
        Ok(made)
    }

    /// Thirty containers of 100 thousandths of a CPU, three of them of the system.
    async fn fill(&self) {
        for number in 0..30 {
            let namespace = if number % 10 == 0 { "kube-system" } else { "work" };
            self.create(namespace, &format!("c{number:02}"), 100).await.unwrap();
        }
    }
}

fn synchronized(records: &[Record]) -> Vec<&Record> {
    records.iter().filter(|record| matches!(record, Record::Synchronized { .. })).collect()
}

/// The reason why a plugin is no longer one.
fn dropped(records: &[Record]) -> Option<&str> {
    records.iter().rev().find_map(|record| match record {
        Record::Dropped { reason, .. } => Some(reason.as_str()),
        _ => None,
    })
}
