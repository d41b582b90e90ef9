//! The way to the shoot's API server.

use std::path::Path;

use http::{HeaderValue, header};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use super::ShootError;

/// Names the agent in the API server's audit log, and in the managed fields of what it writes without naming a manager. The client sends none of
/// its own (kube-client 5.0), and the API server then writes `unknown`.
const USER_AGENT: &str = concat!("cri-resmgr-node-agent/", env!("CARGO_PKG_VERSION"));

/// How the API server is reached: by a kubeconfig file, or by the pod's service account.
pub(crate) async fn configuration(kubeconfig: Option<&Path>) -> Result<Config, ShootError> {
    let mut config = match kubeconfig {
        None => Config::incluster().map_err(|error| ShootError::ServiceAccount(Box::new(error)))?,
        Some(path) => from_file(path).await?,
    };
    config.headers.push((header::USER_AGENT, HeaderValue::from_static(USER_AGENT)));
    Ok(config)
}

async fn from_file(path: &Path) -> Result<Config, ShootError> {
    let wrong = |source| ShootError::Kubeconfig { path: path.display().to_string(), source: Box::new(source) };
    let file = Kubeconfig::read_from(path).map_err(wrong)?;
    Config::from_custom_kubeconfig(file, &KubeConfigOptions::default()).await.map_err(wrong)
}

/// A client for the API server.
pub(super) async fn client(kubeconfig: Option<&Path>) -> Result<Client, ShootError> {
    let config = configuration(kubeconfig).await?;
    Client::try_from(config).map_err(|error| ShootError::Client(Box::new(error)))
}
