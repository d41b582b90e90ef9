//! Command line and environment: those of the original, so that it can be replaced in place.

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;

use clap::{ArgAction, Parser, Subcommand, ValueEnum};
use extension_config::names;
use gardener_extension::shoot_access::Authority;
use observability::LogFormat;
use observability::server::parse_address;

/// The cri-resmgr extension for Gardener: the controller in the seed.
#[derive(Debug, Clone, Parser)]
#[command(name = names::CONTROLLER_NAME, version, args_conflicts_with_subcommands = true)]
#[expect(clippy::struct_excessive_bools, reason = "switches that have nothing to do with each other")]
pub(crate) struct Options {
    /// Without one it is the controller.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    /// Kubeconfig of the seed; else KUBECONFIG, else the pod's own service account.
    #[arg(long, env = "KUBECONFIG", hide_env_values = true)]
    pub(crate) kubeconfig: Option<PathBuf>,

    /// Work only as the elected leader.
    #[arg(long, default_value_t = true, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) leader_election: bool,

    /// Namespace of the leader election's Lease; else the namespace of the pod.
    #[arg(long, env = "LEADER_ELECTION_NAMESPACE")]
    pub(crate) leader_election_namespace: Option<String>,

    /// Namespace of this controller: heartbeat Lease, base configuration.
    #[arg(long, env = names::BASE_CONFIG_NAMESPACE_ENV)]
    pub(crate) namespace: Option<String>,

    /// Seconds between two heartbeats.
    #[arg(long, default_value = "30")]
    pub(crate) renew_interval_seconds: NonZeroU32,

    /// Extensions worked on at the same time.
    #[arg(long, default_value = "5")]
    pub(crate) max_concurrent_reconciles: NonZeroUsize,

    /// React to changes of the spec instead of to the operation annotation.
    #[arg(long, default_value_t = false, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) ignore_operation_annotation: bool,

    /// Address of /metrics, as host:port or :port.
    #[arg(long, default_value = ":8080", value_parser = parse_address)]
    pub(crate) metrics_bind_address: SocketAddr,

    /// Address of /healthz and /readyz, as host:port or :port.
    #[arg(long, default_value = ":8081", value_parser = parse_address)]
    pub(crate) health_bind_address: SocketAddr,

    /// error, warn, info, debug or trace, or directives of tracing's filter.
    #[arg(long, default_value = "info")]
    pub(crate) log_level: String,

    /// json or text.
    #[arg(long, default_value_t = LogFormat::Json)]
    pub(crate) log_format: LogFormat,

    /// File with overrides of the image vector.
    #[arg(long = "imagevector-overwrite", env = image_vector::OVERWRITE_ENV)]
    pub(crate) image_vector_overwrite: Option<PathBuf>,

    /// How the shoots' API servers are known: by what gardener-resource-manager of Gardener v1.110 or newer writes next to the token, or by the
    /// generic kubeconfig.
    #[arg(long, env = "SHOOT_CA", value_enum, default_value_t = ShootCa::GenericKubeconfig)]
    pub(crate) shoot_ca: ShootCa,

    /// Check the nodes of every shoot from time to time, and show in the Extension's status how far they are.
    #[arg(long, default_value_t = true, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) roll_up_nodes: bool,

    /// Have the node agents scraped by the Prometheus of their shoot, with rules and a dashboard. It takes the roll-up of nodes.
    #[arg(long, env = "SHOOT_MONITORING", default_value_t = true, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) shoot_monitoring: bool,

    /// Keep other pods off a new node until the node agent is done with it.
    #[arg(long, env = "NODE_AGENT_NODE_CRITICAL", default_value_t = false, action = ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) node_agent_node_critical: bool,

    /// The node agent's appArmorProfile, as JSON; empty: none.
    #[arg(long, env = "NODE_AGENT_APPARMOR_PROFILE", default_value = r#"{"type":"Unconfined"}"#, value_parser = json)]
    pub(crate) node_agent_apparmor_profile: Json,

    /// The node agent's seLinuxOptions, as JSON; empty: none.
    #[arg(long = "node-agent-selinux-options", env = "NODE_AGENT_SELINUX_OPTIONS", default_value = "", value_parser = json)]
    pub(crate) node_agent_selinux: Json,

    /// Names of Secrets in the shoot's kube-system with which the node agent's image is pulled, separated by commas.
    #[arg(long, env = "NODE_AGENT_PULL_SECRETS", value_delimiter = ',')]
    pub(crate) node_agent_pull_secrets: Vec<String>,
}

/// What this program does, if it is not the controller.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Command {
    Check(preview::CheckArgs),
    Convert(policy_convert::ConvertArgs),
    Admission(Box<admission::AdmissionArgs>),
}

/// Where the certificate authority of a shoot's API server comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ShootCa {
    /// The Secret with the token.
    Bundle,
    /// The generic kubeconfig, which takes the right to read every Secret of the seed.
    GenericKubeconfig,
}

impl From<ShootCa> for Authority {
    fn from(choice: ShootCa) -> Self {
        match choice {
            ShootCa::Bundle => Self::Bundle,
            ShootCa::GenericKubeconfig => Self::GenericKubeconfig,
        }
    }
}

/// An object, or nothing.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Json(pub(crate) Option<serde_json::Value>);

fn json(text: &str) -> Result<Json, String> {
    if text.is_empty() {
        return Ok(Json(None));
    }
    match serde_json::from_str(text) {
        Ok(value @ serde_json::Value::Object(_)) => Ok(Json(Some(value))),
        Ok(_) => Err("expected a JSON object".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Options, clap::Error> {
        Options::try_parse_from([&["x"], arguments].concat())
    }

    #[test]
    fn defaults_are_those_of_the_original() {
        let options = parse(&[]).unwrap();
        assert_eq!(options.metrics_bind_address.to_string(), "[::]:8080");
        assert_eq!(options.health_bind_address.to_string(), "[::]:8081");
        assert_eq!((options.log_level.as_str(), options.log_format), ("info", LogFormat::Json));
        assert!(options.leader_election && !options.ignore_operation_annotation && !options.node_agent_node_critical);
        assert!(options.roll_up_nodes && options.shoot_monitoring);
        assert_eq!(options.renew_interval_seconds.get(), 30);
        assert_eq!(options.shoot_ca, ShootCa::GenericKubeconfig);
        assert!(options.node_agent_apparmor_profile.0.is_some() && options.node_agent_selinux.0.is_none());
    }

    #[test]
    fn flags_are_read_as_go_reads_them() {
        let options = parse(&[
            "--leader-election=false",
            "--leader-election-namespace=garden",
            "--namespace",
            "extension-x",
            "--ignore-operation-annotation",
            "--metrics-bind-address=127.0.0.1:0",
            "--health-bind-address=:0",
            "--max-concurrent-reconciles=1",
            "--log-format=text",
            "--node-agent-pull-secrets=a,b",
        ])
        .unwrap();
        assert!(!options.leader_election && options.ignore_operation_annotation);
        assert_eq!(options.metrics_bind_address.to_string(), "127.0.0.1:0");
        assert_eq!(options.node_agent_pull_secrets, ["a", "b"]);
    }

    #[test]
    fn nonsense_is_refused() {
        for arguments in [
            ["--renew-interval-seconds=0"],
            ["--max-concurrent-reconciles=0"],
            ["--metrics-bind-address=8080"],
            ["--health-bind-address=:port"],
            ["--node-agent-apparmor-profile=Unconfined"],
            ["--node-agent-selinux-options=[]"],
            ["--log-format=xml"],
        ] {
            assert!(parse(&arguments).is_err(), "{arguments:?}");
        }
    }
}
