//! The command line of the subcommand.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use observability::LogFormat;
use observability::server::parse_address;

use crate::registration::Reach;

/// Judge Shoots at `kubectl apply`: the validating webhook for a garden's API server.
///
/// It keeps its own certificates in a Secret of the cluster that it runs in, and its ValidatingWebhookConfiguration in the garden.
#[derive(Debug, Clone, Args)]
pub struct AdmissionArgs {
    /// Kubeconfig of the cluster with the Secret; else the pod's own service account, else what kubectl would use.
    #[arg(long)]
    pub kubeconfig: Option<PathBuf>,

    /// Kubeconfig of the garden, whose API server asks; gardener-operator brings it. Without one, the cluster that this runs in is the garden.
    #[arg(long, env = "GARDEN_KUBECONFIG", hide_env_values = true)]
    pub garden_kubeconfig: Option<PathBuf>,

    /// Namespace of the Secret and of the Service.
    #[arg(long, env = "POD_NAMESPACE", default_value = "garden")]
    pub namespace: String,

    /// The Secret with the certificates. It must be there; what is in it is this process's.
    #[arg(long, default_value = "gardener-extension-cri-resmgr-admission-certificates")]
    pub secret: String,

    /// The Service by which API servers reach this process.
    #[arg(long, default_value = "gardener-extension-cri-resmgr-admission")]
    pub service: String,

    /// How API servers are configured to reach it: by URL, where they run in another cluster than the one whose API they serve, or by Service.
    #[arg(long, value_enum, default_value_t = Mode::Url)]
    pub mode: Mode,

    /// Host that API servers call in mode url; else SERVICE.NAMESPACE.
    #[arg(long)]
    pub host: Option<String>,

    /// Port that API servers call, of the host or Service.
    #[arg(long, default_value = "443")]
    pub port: u16,

    /// Namespace in the garden with which the webhook configuration is deleted; gardener-operator makes one for each extension.
    #[arg(long)]
    pub owner_namespace: Option<String>,

    /// Address of the webhook, as host:port or :port.
    #[arg(long, default_value = ":10250", value_parser = parse_address)]
    pub bind_address: SocketAddr,

    /// Address of /metrics, as host:port or :port.
    #[arg(long, default_value = ":8080", value_parser = parse_address)]
    pub metrics_bind_address: SocketAddr,

    /// Address of /healthz and /readyz, as host:port or :port.
    #[arg(long, default_value = ":8081", value_parser = parse_address)]
    pub health_bind_address: SocketAddr,

    /// error, warn, info, debug or trace, or directives of tracing's filter.
    #[arg(long, default_value = "info")]
    pub log_level: String,

    /// json or text.
    #[arg(long, default_value_t = LogFormat::Json)]
    pub log_format: LogFormat,
}

/// See [`AdmissionArgs::mode`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// `https://HOST:443/…`.
    Url,
    /// The Service.
    Service,
}

impl AdmissionArgs {
    pub(crate) fn reach(&self) -> Reach {
        match self.mode {
            Mode::Url => Reach::Url {
                host: self.host.clone().unwrap_or_else(|| format!("{}.{}", self.service, self.namespace)),
                port: self.port,
            },
            Mode::Service => {
                Reach::Service { name: self.service.clone(), namespace: self.namespace.clone(), port: self.port }
            }
        }
    }
}
