//! systemd, the host's files and the API server.

use std::rc::Rc;
use std::time::Duration;

use dynamic_config::{Data, Memory, StatusWrite};
use extension_config::cri_resmgr::CpuSet;
use extension_config::names::node;
use futures::StreamExt;
use host::{HostRoot, StateFile, StateFileError};
use observability::ErrorChain;
use systemd_client::{Events, Systemd, SystemdError};

use super::{DaemonEnvironment, cache};
use crate::real::online_cpus;
use crate::shoot::{ShootApi, ShootError};

/// Version of the memory's format.
const MEMORY_VERSION: u32 = 1;
/// Wait before the bus is tried again.
const BUS_RETRY: Duration = Duration::from_secs(2);

/// The node's own; with a bus connection of its own, so that neither waits for the other.
pub(crate) struct RealDaemonEnvironment {
    root: HostRoot,
    memory: StateFile<Memory>,
    shoot: Rc<ShootApi>,
    bus: Option<(Systemd, Events)>,
}

pub(crate) fn memory_file(root: &HostRoot) -> StateFile<Memory> {
    StateFile::new(root.clone(), node::DYNAMIC_MEMORY, MEMORY_VERSION..=MEMORY_VERSION)
}

/// What an earlier agent knew. A file that cannot be read is as good as none: then everything is pushed once more.
pub(crate) fn remembered(root: &HostRoot) -> Memory {
    let report = |error: StateFileError| {
        tracing::warn!(error = %ErrorChain(&error), "failed to read what was pushed before");
        None
    };
    memory_file(root).read().unwrap_or_else(report).unwrap_or_default()
}

impl RealDaemonEnvironment {
    pub(crate) fn new(root: HostRoot, shoot: Rc<ShootApi>) -> Self {
        Self { memory: memory_file(&root), root, shoot, bus: None }
    }

    async fn bus(&mut self) -> Result<&mut (Systemd, Events), SystemdError> {
        let connected = if let Some(bus) = self.bus.take() {
            bus
        } else {
            let address =
                format!("unix:path={}", self.root.path_in_this_namespace("/run/dbus/system_bus_socket").display());
            let systemd = Systemd::connect(&address).await?;
            systemd.subscribe().await?;
            let events = systemd.events(&[node::DAEMON_UNIT]).await?;
            (systemd, events)
        };
        Ok(self.bus.insert(connected))
    }

    async fn invocation(&mut self) -> Result<Option<String>, SystemdError> {
        let (systemd, _) = self.bus().await?;
        let unit = systemd.load_unit(node::DAEMON_UNIT).await?;
        Ok((unit.active_state.to_string() == "active").then_some(unit.invocation_id))
    }
}

impl DaemonEnvironment for RealDaemonEnvironment {
    async fn run(&mut self) -> Option<String> {
        match self.invocation().await {
            Ok(run) => run,
            Err(error) => {
                tracing::warn!(error = %ErrorChain(&error), "failed to read the state of cri-resmgr");
                self.bus = None;
                None
            }
        }
    }

    async fn run_changed(&mut self) {
        let Some((_, events)) = &mut self.bus else {
            return tokio::time::sleep(BUS_RETRY).await;
        };
        if events.next().await.is_none() {
            self.bus = None;
        }
    }

    fn cpus(&self) -> Option<CpuSet> {
        online_cpus()
    }

    fn cached(&self) -> Option<Data> {
        let file = self.root.open_bounded(format!("{}/cache", node::DAEMON_STATE_DIR), cache::LIMIT);
        file.map_err(|error| tracing::warn!(error = %ErrorChain(&error), "failed to read the cache of cri-resmgr"))
            .ok()?
            .and_then(cache::configuration)
    }

    fn remember(&self, memory: &Memory) {
        if let Err(error) = self.memory.write(MEMORY_VERSION, memory) {
            tracing::warn!(error = %ErrorChain(&error), "failed to record what was pushed");
        }
    }

    async fn write_status(&self, write: &StatusWrite) -> Result<(), ShootError> {
        self.shoot.write_adjustment_status(&write.name, &write.patch).await
    }
}
