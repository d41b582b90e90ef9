//! What wakes the agent: files, systemd, the desired state, and a slow resync below them all.

use std::path::Path;
use std::time::Duration;

use extension_config::names::node;
use futures::StreamExt;
use host::{HostRoot, Watch, Watched};
use systemd_client::Events;

use crate::real::RealNode;

/// Changes come in bursts (gardener-node-agent rewrites unit, drop-ins and state one after the other): the agent waits for a second of quiet.
const QUIET: Duration = Duration::from_secs(1);

/// Sources of wake-ups. A lost source is silent; the next [`Wake::renew`] brings it back, and the resync covers the time between.
pub(crate) struct Wake {
    files: Option<Watch>,
    own: Option<Watch>,
    events: Option<Events>,
}

impl Wake {
    pub(crate) fn new() -> Self {
        Self { files: None, own: None, events: None }
    }

    /// Opens what is missing.
    pub(crate) async fn renew(&mut self, root: &HostRoot, desired_state: &Path, node: &mut RealNode) {
        if self.files.is_none() {
            self.files = opened("the host's files", Watch::new(root.clone(), watched(), QUIET));
        }
        if self.own.is_none() {
            self.own = desired_state.parent().and_then(|directory| {
                let root = HostRoot::open(directory)
                    .map_err(|error| tracing::warn!(error = %observability::ErrorChain(&error), "failed to watch the desired state"))
                    .ok()?;
                opened("the desired state", Watch::new(root, vec![Watched::all("/")], QUIET))
            });
        }
        if self.events.is_none() {
            // The connection may be what was lost.
            node.bus().forget();
            match node.bus().events().await {
                Ok(events) => self.events = Some(events),
                Err(error) => {
                    tracing::warn!(error = %observability::ErrorChain(&error), "failed to subscribe to the events of systemd");
                }
            }
        }
    }

    /// Waits for the next reason to look, and returns it, for the log.
    pub(crate) async fn next(&mut self) -> &'static str {
        let (mut files_lost, mut own_lost, mut events_lost) = (false, false, false);
        let why = tokio::select! {
            outcome = tick(self.files.as_mut()) => { files_lost = outcome.is_err(); "files of the host changed" }
            outcome = tick(self.own.as_mut()) => { own_lost = outcome.is_err(); "the desired state changed" }
            outcome = event(self.events.as_mut()) => { events_lost = outcome.is_err(); "systemd" }
        };
        if files_lost {
            self.files = None;
        }
        if own_lost {
            self.own = None;
        }
        if events_lost {
            self.events = None;
        }
        why
    }

    /// Takes the hints that come within a second: one check serves them all.
    pub(crate) async fn gather(&mut self) {
        let drain = async {
            loop {
                tokio::select! {
                    Ok(()) = tick(self.files.as_mut()) => {}
                    Ok(()) = event(self.events.as_mut()) => {}
                    else => std::future::pending().await,
                }
            }
        };
        drop(tokio::time::timeout(QUIET, drain).await);
    }
}

fn opened(what: &str, outcome: Result<Watch, host::WatchError>) -> Option<Watch> {
    outcome.map_err(|error| tracing::warn!(error = %observability::ErrorChain(&error), "failed to watch {what}")).ok()
}

/// Directories whose changes matter, with the names that do.
fn watched() -> Vec<Watched> {
    vec![
        Watched::only(
            node::UNIT_DIR,
            [
                node::KUBELET_UNIT,
                "kubelet.service.d",
                node::DAEMON_UNIT,
                node::PLUGIN_UNIT,
                node::GUARD_UNIT,
                node::GUARD_TIMER,
                "multi-user.target.wants",
                "timers.target.wants",
            ],
        ),
        Watched::only("/etc/systemd/system/multi-user.target.wants", [node::DAEMON_UNIT, node::PLUGIN_UNIT]),
        Watched::only("/etc/systemd/system/timers.target.wants", [node::GUARD_TIMER]),
        Watched::all(node::KUBELET_DROP_IN_DIR),
        Watched::all(node::CONFIG_DIR),
        Watched::all(node::PLUGIN_CONFIG_DIR),
        Watched::only("/etc/default", ["cri-resource-manager"]),
        Watched::all("/opt/intel/bin"),
        Watched::all(node::GATE_DIR),
        Watched::only("/var/lib/kubelet", ["extra_args"]),
    ]
}

async fn tick(watch: Option<&mut Watch>) -> Result<(), ()> {
    match watch {
        Some(watch) => watch
            .tick()
            .await
            .map_err(|error| tracing::warn!(error = %observability::ErrorChain(&error), "lost a watch on files")),
        None => std::future::pending().await,
    }
}

async fn event(events: Option<&mut Events>) -> Result<(), ()> {
    let Some(events) = events else { return std::future::pending().await };
    if events.next().await.is_some() {
        return Ok(());
    }
    tracing::warn!("lost the connection to systemd");
    Err(())
}
