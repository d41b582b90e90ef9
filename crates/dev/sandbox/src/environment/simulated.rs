//! A sandbox whose nodes are in memory, as many as one likes.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use extension_config::names;
use node_agent::simulation::{MemoryNode, Simulation};

use super::{ControlPlanes, OF_SHOOT, PATIENCE, Sandbox};
use crate::binaries::Binaries;
use crate::daemon_set::Runner;
use crate::node::WORKER_POOL;
use crate::runtime::{kubelets, register};

/// How much longer a removal may take for each node: everybody works at the same time, on one processor.
const PATIENCE_FOR_EACH_NODE: Duration = Duration::from_millis(500);

impl Sandbox {
    /// As [`Sandbox::up`], but the nodes and their agents are in memory, in a time that runs `speed` times as fast.
    ///
    /// # Errors
    /// When something does not start.
    pub async fn simulated(repository: &Path, binaries: &Binaries, nodes: u16, speed: u32) -> anyhow::Result<Self> {
        let control_planes = ControlPlanes::prepare().await?;
        let names: Vec<String> = (1..=nodes).map(|number| format!("node-{number:04}")).collect();
        for name in &names {
            register(control_planes.shoot.store(), name, WORKER_POOL)?;
        }
        let credentials = control_planes.dir.path().join(OF_SHOOT);
        let simulation = Arc::new(Simulation::start(&credentials, names.clone(), speed).await?);
        let runner = |name| (name, Runner::Simulation(Arc::clone(&simulation)));
        let runners = names.into_iter().map(runner).collect();
        let mut sandbox = control_planes.run(repository, binaries, runners)?;
        let all = simulation.nodes().cloned().collect();
        sandbox.tasks.spawn(kubelets::run(all, simulation.clock(), sandbox.shoot.store().clone()));
        sandbox.simulation = Some(simulation);
        Ok(sandbox)
    }

    /// The nodes in memory.
    pub fn memory_nodes(&self) -> impl Iterator<Item = &MemoryNode> {
        self.simulation.iter().flat_map(|simulation| simulation.nodes())
    }

    /// How many times as fast the time of the nodes in memory runs.
    #[must_use]
    pub fn speed(&self) -> u32 {
        self.simulation.as_ref().map_or(1, |simulation| simulation.clock().speed())
    }

    /// Time in the life of the nodes in memory, since they were made.
    #[must_use]
    pub fn simulated_time(&self) -> Duration {
        self.simulation.as_ref().map_or(Duration::ZERO, |simulation| simulation.clock().uptime())
    }

    /// Calls `visit` with every node's name and what its agent reported last.
    pub fn each_report(&self, mut visit: impl FnMut(&str, super::NodeReport)) {
        self.shoot.store().visit("coordination.k8s.io", "leases", names::SHOOT_NAMESPACE, |lease| {
            let name = lease["metadata"]["name"].as_str().unwrap_or_default();
            let reported = lease["metadata"]["annotations"][names::NODE_REPORT_ANNOTATION].as_str();
            let report = reported.and_then(|reported| serde_json::from_str(reported).ok());
            if let (Some(node), Some(report)) = (name.strip_prefix(names::NODE_REPORT_LEASE_PREFIX), report) {
                visit(node, report);
            }
        });
    }

    pub(super) fn removal_patience(&self) -> Duration {
        let nodes = self.simulation.as_ref().map_or(0, |simulation| simulation.nodes().len());
        PATIENCE + PATIENCE_FOR_EACH_NODE * u32::try_from(nodes).unwrap_or(u32::MAX)
    }
}
