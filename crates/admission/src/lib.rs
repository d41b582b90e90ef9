//! The validating webhook for Shoots: says at `kubectl apply` what the seed controller would say to a providerConfig later.
//!
//! The verdict is a pure function of the request ([`verdict`]). Around it: a server that bounds what callers make it hold ([`server`]), and
//! certificates and a webhook configuration that this process makes and rotates itself ([`certificates`], [`keeper`]).

mod answer;
mod certificates;
mod keeper;
mod limits;
mod logs;
mod metrics;
mod options;
mod registration;
mod review;
mod served;
mod server;
mod verdict;

use std::sync::Arc;

use jiff::Timestamp;
use kube::Client;
use prometheus_client::registry::Registry;

pub use options::{AdmissionArgs, Mode};

use keeper::{Keeper, Settings};
use metrics::Metrics;
use served::Served;
use server::Server;

/// Why the webhook did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address cannot be bound.
    #[error("listen on {address}")]
    Bind {
        /// The address.
        address: std::net::SocketAddr,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
    /// The same, for probes and metrics.
    #[error(transparent)]
    Server(#[from] observability::ServerError),
}

/// Serves until `stop` resolves. `runtime` is the client of the cluster with the Secret, `garden` that of the garden.
///
/// # Errors
/// When an address cannot be bound.
pub async fn run<S: Future<Output = ()> + Send + 'static>(
    args: &AdmissionArgs,
    runtime: Client,
    garden: Client,
    mut registry: Registry,
    stop: impl Fn() -> S,
) -> Result<(), Error> {
    let served = Arc::new(Served::default());
    let metrics = Metrics::register(&mut registry);
    let bind = |source| Error::Bind { address: args.bind_address, source };
    let webhook = Server::bind(args.bind_address, Arc::clone(&served), metrics).await.map_err(bind)?;
    let ready = Arc::clone(&served);
    let health = observability::Server::new()
        .with_health(|| Ok(()))
        .with_ready_check(move || ready.check(Timestamp::now()))
        .bind(args.health_bind_address)
        .await?;
    let metrics = observability::Server::new().with_metrics(Arc::new(registry)).bind(args.metrics_bind_address).await?;
    let address = webhook.address().map_err(bind)?;
    tracing::info!(webhook = %address, health = %health.address(), metrics = %metrics.address(), "started the webhook");
    tokio::spawn(health.run(stop()));
    tokio::spawn(metrics.run(stop()));
    let settings = Settings {
        secret: args.secret.clone(),
        namespace: args.namespace.clone(),
        reach: args.reach(),
        owner: args.owner_namespace.clone().filter(|name| !name.is_empty()),
    };
    tokio::select! {
        () = webhook.run(stop()) => {}
        () = Keeper::new(runtime, &garden, settings, served).run() => {}
    }
    tracing::info!("stopped the webhook");
    Ok(())
}
