//! The process: who runs when, and in which order it ends.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use extension_config::{limits, names};
use gardener_api::constants::HEARTBEAT_LEASE_NAME;
use gardener_extension::managed_resources::Applied;
use gardener_extension::retry::retrying_client;
use gardener_extension::{Controller, ControllerConfig, ControllerHandle, HealthConfig, Metrics, Observer};
use kube::Client;
use lease::{ElectionConfig, Elector, Fence, Heartbeat, Timing};
use observability::{BuildInfo, Server};
use prometheus_client::registry::Registry;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

use crate::actuator::CriResmgr;
use crate::base_config::{BaseConfigWatch, Revision};
use crate::client::client;
use crate::configuration::BaseConfig;
use crate::manifests::{AgentSettings, Manifests};
use crate::monitoring::{Monitoring, Reports};
use crate::options::Options;
use crate::removal::Removals;
use crate::shoot;
use crate::shoot::node_checks::{NodeChecks, Waiting};
use crate::shoot::rollups::RollUps;
use image_vector::ImageVector;

/// Runs until a signal asks to stop or leadership is lost.
pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    // What is wrong with the images must not come to light at the first shoot.
    let images = ImageVector::load(options.image_vector_overwrite.as_deref()).context("load the image vector")?;
    let manifests = Manifests::new(settings(&options)).context("load the templates")?;
    let stop = signals().context("listen for signals")?;
    let client = client(options.kubeconfig.as_deref()).await?;

    let mut registry = Registry::default();
    BuildInfo { name: names::CONTROLLER_NAME, version: env!("CARGO_PKG_VERSION"), revision: "" }
        .register(&mut registry);
    let metrics = Metrics::register(&mut registry);
    let base = Arc::new(BaseConfig::default());
    let (base_watch, revision) = BaseConfigWatch::new(Arc::clone(&base), &mut registry);

    let (elector, fence) = election(&options, &client)?;
    // The elector has its own way with failures, and little time.
    let fenced = lease::fenced_client(retrying_client(client.clone()).context("set up the client")?, fence.clone());
    let access = shoot::access(options.shoot_ca.into());
    let (node_checks, checked) = NodeChecks::new(access);
    let (removals, applied) = (Removals::default(), Applied::default());
    let (reports, reported) = Reports::new();
    let reports = Arc::new(reports);
    let roll_ups = RollUps::new(access, fenced.clone(), Arc::clone(&reports));
    let roll_ups = options.roll_up_nodes.then(|| Arc::new(roll_ups) as Arc<dyn Observer>);
    let monitoring =
        Monitoring::new(options.shoot_monitoring, reports).context("load the templates for the shoots' Prometheus")?;
    let actuator = Arc::new(CriResmgr { manifests, images, base, removals, access, node_checks, applied, monitoring });
    let controller = Controller::new(fenced.clone(), config(&options), Arc::clone(&actuator) as _, roll_ups, metrics);
    let handle = controller.handle();

    let health = health_server(&fence, &handle, revision.clone()).bind(options.health_bind_address).await?;
    let metrics = Server::new().with_metrics(Arc::new(registry)).bind(options.metrics_bind_address).await?;
    tracing::info!(health = %health.address(), metrics = %metrics.address(), version = env!("CARGO_PKG_VERSION"), "started the controller");
    tokio::spawn(health.run(stopped(stop.clone())));
    tokio::spawn(metrics.run(stopped(stop.clone())));

    match options.namespace.clone().filter(|namespace| !namespace.is_empty()) {
        Some(namespace) => drop(tokio::spawn({
            let client = client.clone();
            async move { base_watch.run(client, &namespace).await }
        })),
        None => base_watch.none().await,
    }

    let monitored = Box::pin(follow_agents(reported, actuator, fenced.clone(), controller.handle()));
    let heartbeat = Heartbeat {
        namespace: options
            .namespace
            .clone()
            .filter(|n| !n.is_empty())
            .unwrap_or_else(|| client.default_namespace().to_owned()),
        client: fenced,
        name: HEARTBEAT_LEASE_NAME.to_owned(),
        holder: names::EXTENSION_NAME.to_owned(),
        field_manager: names::CONTROLLER_NAME.to_owned(),
        interval: Duration::from_secs(options.renew_interval_seconds.get().into()),
    };
    let followed = follow(checked, controller.handle(), monitored);
    let leading = lead(fence, revision, followed, controller, heartbeat, stop.clone());
    match elector {
        None => leading.await,
        Some(elector) => {
            // The lease goes back when everything that writes has ended, and not before.
            let (ended, mut has_ended) = watch::channel(false);
            let work = async {
                leading.await;
                ended.send_replace(true);
            };
            let stop_election = async { drop(has_ended.wait_for(|ended| *ended).await) };
            tokio::pin!(work);
            let election = elector.run(stop_election);
            tokio::pin!(election);
            tokio::select! {
                // Lost: what is under way is dropped, the fence is closed.
                ended = &mut election => ended?,
                () = &mut work => election.await?,
            }
        }
    }
    tracing::info!("stopped the controller");
    Ok(())
}

/// Judges Shoots for a garden until a signal asks to stop.
pub(crate) async fn admission(args: admission::AdmissionArgs) -> anyhow::Result<()> {
    let stop = signals().context("listen for signals")?;
    let runtime = client(args.kubeconfig.as_deref()).await?;
    let garden = match &args.garden_kubeconfig {
        Some(path) if !path.as_os_str().is_empty() => client(Some(path)).await.context("the garden")?,
        _ => runtime.clone(),
    };
    let mut registry = Registry::default();
    BuildInfo { name: names::CONTROLLER_NAME, version: env!("CARGO_PKG_VERSION"), revision: "" }
        .register(&mut registry);
    Ok(admission::run(&args, runtime, garden, registry, || stopped(stop.clone())).await?)
}

/// Works once this process may write, until asked to stop.
async fn lead(
    mut fence: Fence,
    mut revision: Revision,
    followed: impl Future<Output = ()>,
    controller: Controller,
    heartbeat: Heartbeat,
    stop: watch::Receiver<bool>,
) {
    let handle = controller.handle();
    let ready = async {
        // Without the base configuration shoots would get another one than they have.
        fence.acquired().await && revision.wait_for(|revision| *revision > 0).await.is_ok()
    };
    let may_work = tokio::select! {
        ready = ready => ready,
        () = stopped(stop.clone()) => false,
    };
    if !may_work {
        return;
    }
    tracing::info!("began to reconcile Extensions");
    revision.mark_unchanged();
    tokio::select! {
        () = async { tokio::join!(controller.run(stopped(stop.clone())), heartbeat.run(stopped(stop.clone()))); } => {}
        () = follow_base(revision, handle) => {}
        () = followed => {}
    }
}

/// What happens in shoots, and concerns their Extensions.
async fn follow(checked: mpsc::Receiver<Waiting>, handle: ControllerHandle, monitored: impl Future<Output = ()>) {
    tokio::join!(call_again(checked, handle), monitored);
}

/// The first agent of a shoot has reported, or the last one is gone: the shoot's Prometheus has to know.
async fn follow_agents(
    mut reported: mpsc::Receiver<String>,
    actuator: Arc<CriResmgr>,
    seed: Client,
    handle: ControllerHandle,
) {
    while let Some(namespace) = reported.recv().await {
        if actuator.monitoring.is_due(&seed, &handle, &namespace).await {
            handle.trigger(namespace, names::EXTENSION_TYPE.to_owned());
        }
    }
    // No shoot is checked; the work goes on.
    std::future::pending::<()>().await;
}

/// A removal goes on when its check of the shoot has finished.
async fn call_again(mut checked: mpsc::Receiver<Waiting>, handle: ControllerHandle) {
    while let Some(Waiting { namespace, name }) = checked.recv().await {
        handle.awaited(namespace, name);
    }
    // Nothing is checked any more; the work goes on.
    std::future::pending::<()>().await;
}

/// Every Extension is reconciled again when the base configuration changes.
async fn follow_base(mut revision: Revision, handle: ControllerHandle) {
    while revision.changed().await.is_ok() {
        let count = handle.trigger_all();
        tracing::info!(extensions = count, "the base configuration changed; reconciling every Extension");
    }
    // Nothing will change any more; the work goes on.
    std::future::pending::<()>().await;
}

fn health_server(fence: &Fence, handle: &ControllerHandle, revision: Revision) -> Server {
    let (fence, handle) = (fence.clone(), handle.clone());
    Server::new().with_health(|| Ok(())).with_ready_check(move || {
        if *revision.borrow() == 0 {
            return Err("the base configuration was not read yet".to_owned());
        }
        // A replica in waiting has no watches and is ready to take over.
        if fence.is_held() { handle.check_synced() } else { Ok(()) }
    })
}

fn config(options: &Options) -> ControllerConfig {
    let resource = names::SHOOT_MANAGED_RESOURCE.to_owned();
    ControllerConfig {
        finalizer: names::FINALIZER.to_owned(),
        managed_resources: vec![resource.clone(), names::MONITORING_MANAGED_RESOURCE.to_owned()],
        max_concurrent_reconciles: options.max_concurrent_reconciles,
        ignore_operation_annotation: options.ignore_operation_annotation,
        health: HealthConfig { managed_resources: vec![resource], ..HealthConfig::default() },
        provider_config_limit: limits::PROVIDER_CONFIG_BYTES,
        ..ControllerConfig::new(names::CONTROLLER_NAME, names::EXTENSION_TYPE)
    }
}

fn settings(options: &Options) -> AgentSettings {
    let secrets = options.node_agent_pull_secrets.iter().filter(|name| !name.is_empty());
    AgentSettings {
        node_critical: options.node_agent_node_critical,
        app_armor_profile: options.node_agent_apparmor_profile.0.clone(),
        se_linux_options: options.node_agent_selinux.0.clone(),
        pull_secrets: secrets.map(|name| json!({"name": name})).collect(),
    }
}

fn election(options: &Options, client: &Client) -> anyhow::Result<(Option<Elector>, Fence)> {
    if !options.leader_election {
        return Ok((None, Fence::open()));
    }
    let namespace = options.leader_election_namespace.clone().unwrap_or_else(|| client.default_namespace().to_owned());
    if namespace.is_empty() {
        bail!("leader election needs --leader-election-namespace outside a pod");
    }
    let config = ElectionConfig {
        namespace,
        name: format!("{}-leader-election", names::EXTENSION_NAME),
        identity: lease::identity(),
        field_manager: names::CONTROLLER_NAME.to_owned(),
        timing: Timing::default(),
    };
    let (elector, fence) = Elector::new(client.clone(), config);
    Ok((Some(elector), fence))
}

/// Turns true at SIGTERM or SIGINT.
fn signals() -> std::io::Result<watch::Receiver<bool>> {
    let (sender, receiver) = watch::channel(false);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal = name, "received a signal to stop");
        sender.send_replace(true);
        // Kept: a closed channel would pass for a signal.
        sender.closed().await;
    });
    Ok(receiver)
}

async fn stopped(mut stop: watch::Receiver<bool>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        std::future::pending::<()>().await;
    }
}
