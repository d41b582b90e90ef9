//! Nodes in memory and the agents that work on them, in one thread: what the agent is but for its surroundings.
//!
//! Rounds, plans, proofs, slots, reports and the pod's gate are those of the program, and they go over HTTP to the shoot's API. In memory are the
//! node's files, its units and its runtime. Time runs faster than on the clock, for agents and nodes alike, so that the program's own timings hold. There
//! is no dynamic configuration, and nothing but time and the agent's own work wakes it.

mod clock;
mod memory_node;
mod simulated;

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use anyhow::Context;
use dynamic_config::{ConfigStatus, DaemonMode, Meant};
use kube::client::ClientBuilder;
use kube::{Client, Config};
use node_plan::Blob;
use observability::{Readiness, ReadinessHandle};
use tokio::sync::{mpsc, oneshot, watch};
use tower::limit::GlobalConcurrencyLimitLayer;

pub use clock::Clock;
pub use memory_node::{Image, MemoryNode};

use crate::agent::Agent;
use crate::desired_file;
use crate::effects::Clock as _;
use crate::metrics::Metrics;
use crate::policies::policies;
use crate::shoot::{self, ShootApi};
use crate::telemetry::Telemetry;
use simulated::SimulatedNode;

/// All agents share one client. So many requests are under way at a time, each of which takes a connection.
const REQUESTS: usize = 64;

/// Nodes, and a thread in which agents can be run on them. It ends when this is dropped, and all agents with it.
#[derive(Debug)]
pub struct Simulation {
    clock: Clock,
    nodes: BTreeMap<String, MemoryNode>,
    orders: mpsc::UnboundedSender<Order>,
}

/// An agent that runs.
#[derive(Debug)]
pub struct RunningAgent {
    stop: watch::Sender<bool>,
    readiness: Readiness,
    ended: oneshot::Receiver<()>,
}

/// An agent to run.
struct Order {
    node: MemoryNode,
    pod: String,
    desired_state: String,
    stop: watch::Receiver<bool>,
    readiness: ReadinessHandle,
    /// Dropped when the agent has ended.
    _ended: oneshot::Sender<()>,
}

impl Simulation {
    /// Makes nodes with these names, in a time that runs `speed` times as fast. `credentials` lead to the shoot's API.
    ///
    /// # Errors
    /// When the thread or its client cannot be made.
    pub async fn start(
        credentials: &Path,
        names: impl IntoIterator<Item = String>,
        speed: u32,
    ) -> anyhow::Result<Self> {
        let clock = Clock::new(speed);
        let nodes = names.into_iter().map(|name| (name.clone(), MemoryNode::new(name))).collect();
        let config = shoot::configuration(Some(credentials)).await?;
        let (orders, inbox) = mpsc::unbounded_channel();
        let (ready, is_ready) = oneshot::channel();
        let thread = std::thread::Builder::new().name("agents".to_owned());
        let theirs = clock.clone();
        thread.spawn(move || run(config, theirs, inbox, ready)).context("no thread for the agents")?;
        is_ready.await.context("the agents' thread has ended")??;
        Ok(Self { clock, nodes, orders })
    }

    /// The time in which the nodes live.
    #[must_use]
    pub fn clock(&self) -> Clock {
        self.clock.clone()
    }

    /// The nodes, by their names.
    #[must_use]
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = &MemoryNode> {
        self.nodes.values()
    }

    /// Runs an agent on a node, in `pod`, with the text of the desired state that is mounted there.
    ///
    /// # Errors
    /// When there is no such node, or its thread has ended.
    pub fn run_agent(&self, node: &str, pod: &str, desired_state: &str) -> anyhow::Result<RunningAgent> {
        let node = self.nodes.get(node).with_context(|| format!("there is no node {node}"))?.clone();
        let (stop, stopping) = watch::channel(false);
        let (handle, readiness) = observability::readiness::readiness("the node was not looked at yet");
        let (ending, ended) = oneshot::channel();
        let order = Order {
            node,
            pod: pod.to_owned(),
            desired_state: desired_state.to_owned(),
            stop: stopping,
            readiness: handle,
            _ended: ending,
        };
        self.orders.send(order).ok().context("the agents' thread has ended")?;
        Ok(RunningAgent { stop, readiness, ended })
    }
}

impl RunningAgent {
    /// What `/readyz` would answer.
    ///
    /// # Errors
    /// Why the node is not as desired.
    pub fn readiness(&self) -> Result<(), String> {
        self.readiness.get()
    }

    /// Asks it to end, as SIGTERM does.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Waits until it has ended.
    pub async fn ended(&mut self) {
        if !self.ended.is_terminated() {
            // The sender is only ever dropped.
            let _ended = (&mut self.ended).await;
        }
    }
}

fn run(
    config: Config,
    clock: Clock,
    inbox: mpsc::UnboundedReceiver<Order>,
    ready: oneshot::Sender<anyhow::Result<()>>,
) {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return drop(ready.send(Err(error.into()))),
    };
    let agents = tokio::task::LocalSet::new();
    agents.block_on(&runtime, async {
        drop(tokio::task::spawn_local(clock.clone().run()));
        match client(config) {
            Ok(client) => {
                // Nobody waits any more: then nobody sends orders either.
                let _nobody_waits = ready.send(Ok(()));
                carry_out(inbox, client, clock).await;
            }
            Err(error) => drop(ready.send(Err(error))),
        }
    });
}

fn client(config: Config) -> anyhow::Result<Client> {
    drop(rustls::crypto::ring::default_provider().install_default());
    Ok(ClientBuilder::try_from(config)?.with_layer(&GlobalConcurrencyLimitLayer::new(REQUESTS)).build())
}

async fn carry_out(mut inbox: mpsc::UnboundedReceiver<Order>, client: Client, clock: Clock) {
    let metrics = Metrics::default();
    while let Some(order) = inbox.recv().await {
        drop(tokio::task::spawn_local(attend(order, client.clone(), clock.clone(), metrics.clone())));
    }
}

/// One agent, from its start to its end.
async fn attend(order: Order, client: Client, clock: Clock, metrics: Metrics) {
    let shoot = Rc::new(ShootApi::new(order.node.name().to_owned(), Some(client)));
    // Nobody looks at what the daemon may be given, and nothing is known of dynamic configurations.
    let (daemon_mode, _duties) = watch::channel(DaemonMode::default());
    let telemetry = Telemetry { metrics, readiness: order.readiness, daemon_mode };
    let node = SimulatedNode::new(order.node, Rc::clone(&shoot), clock, order.stop, telemetry.clone());
    let (_config_status, config_statuses) =
        watch::channel(ConfigStatus { meant: Some(Meant::default()), ..ConfigStatus::default() });
    let (source, _policies) = policies(shoot.node_name());
    let mut agent = Agent::new(node, shoot, Some(order.pod), telemetry, config_statuses, source);
    loop {
        let wait = agent.round(desired_file::decode(&order.desired_state)).await;
        if agent.node_mut().pause(wait).await.is_err() {
            return;
        }
    }
}

/// What stands for the files of the agent's image.
fn blob(name: &str) -> Blob {
    Blob { sha256: name.to_owned(), size: 1 << 20, architecture: std::env::consts::ARCH.to_owned(), needs: None }
}
