//! `run`: work, report, wait for a reason to look again.

use std::rc::Rc;
use std::sync::Arc;

use anyhow::Context;
use dynamic_config::{ConfigStatus, Core, DaemonMode};
use extension_config::names;
use futures::StreamExt;
use host::HostRoot;
use observability::{BuildInfo, LogConfig, Server};
use prometheus_client::registry::Registry;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::Instrument;

use crate::agent::Agent;
use crate::cli::RunOptions;
use crate::desired_file::DesiredFile;
use crate::dynamic::{self, ConfigSocket, Dynamic, RealDaemonEnvironment};
use crate::effects::Clock;
use crate::metrics::Metrics;
use crate::payload::PayloadBinaries;
use crate::policies::{FoundPolicy, policies};
use crate::real::RealNode;
use crate::recent::RecentSteps;
use crate::shoot::ShootApi;
use crate::telemetry::Telemetry;
use crate::wake::Wake;

/// Runs until SIGTERM or SIGINT. Neither is an order to remove anything.
pub(crate) async fn run(options: RunOptions) -> anyhow::Result<()> {
    observability::logging::init(&LogConfig { level: options.log_level.clone(), format: options.log_format })?;
    let (stop, stopping) = watch::channel(false);
    let mut registry = Registry::default();
    BuildInfo { name: "cri-resmgr-node-agent", version: env!("CARGO_PKG_VERSION"), revision: "" }
        .register(&mut registry);
    let metrics = Metrics::register(&mut registry);
    let (readiness, reader) = observability::readiness::readiness("the node was not looked at yet");
    let server = Server::new().with_health(|| Ok(())).with_readiness(reader).with_metrics(Arc::new(registry));
    let bound = server.bind(options.listen).await?;
    let mut stopped = stopping.clone();
    let serving = tokio::spawn(bound.run(async move { drop(stopped.wait_for(|stop| *stop).await) }));

    let binaries = PayloadBinaries::load(&options.node.payload, &options.node.gate)?;
    let root = HostRoot::open(&options.node.host_root).context("open the host root")?;
    let name = options.node.node_name.clone();
    let shoot = Rc::new(ShootApi::connect(name, options.node.kubeconfig.as_deref()).await);
    let (daemon_mode, duties) = watch::channel(DaemonMode::default());
    let telemetry = Telemetry { metrics: metrics.clone(), readiness, daemon_mode };
    let recent = RecentSteps::open(&options.node.recent_steps);
    let node = RealNode::new(root.clone(), binaries, Rc::clone(&shoot), stopping, Some((telemetry.clone(), recent)));
    let (config_status, config_statuses) = watch::channel(ConfigStatus::default());
    let name = options.node.node_name.clone();
    let dynamic = Dynamic::new(
        Core::new(name.clone(), dynamic::remembered(&root)),
        RealDaemonEnvironment::new(root.clone(), Rc::clone(&shoot)),
        ConfigSocket::new(root.path_in_this_namespace(names::node::CONFIG_SOCKET), name.clone()),
        (duties, config_status),
        metrics,
        shoot
            .client()
            .map_or_else(|| futures::stream::pending().boxed_local(), |client| dynamic::watches(client, &name)),
    );
    let desired = DesiredFile::of(&options.node);
    let pod = options.node.pod_name.clone();
    let (source, following) = policies(&options.node.node_name);
    let watched = Rc::clone(&shoot);
    let policy_watches = move || match watched.client() {
        Some(client) => dynamic::policy_watches(client, watched.node_name()),
        None => futures::stream::pending().boxed_local(),
    };
    let policy = source.changes();
    let mut agent = Agent::new(node, shoot, pod, telemetry, config_statuses.clone(), source);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("received a request to stop; the next agent takes up what was begun");
        stop.send_replace(true);
    });
    tokio::select! {
        () = work(&mut agent, &root, &desired, (config_statuses, policy)) => {}
        () = following.run(policy_watches) => {}
        () = dynamic.run().instrument(tracing::info_span!("dynamic-config", node = options.node.node_name)) => {}
    }
    serving.await.context("serve HTTP")
}

async fn work(
    agent: &mut Agent<RealNode>,
    root: &HostRoot,
    desired: &DesiredFile,
    (mut config_status, mut policy): (watch::Receiver<ConfigStatus>, watch::Receiver<FoundPolicy>),
) {
    let mut wake = Wake::new();
    loop {
        // Before the look: what changes while we work is a reason to look again at once.
        wake.renew(root, desired.path(), agent.node_mut()).await;
        let wait = agent.round(desired.read()).await;
        let why = tokio::select! {
            why = wake.next() => why,
            Ok(()) = config_status.changed() => "the dynamic configuration",
            Ok(()) = policy.changed() => "the policy",
            stopped = agent.node_mut().pause(wait) => match stopped {
                Err(_stopping) => return,
                Ok(()) => "time",
            },
        };
        tracing::debug!(%why, "woke up");
        wake.gather().await;
    }
}
