//! Command line.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Brings this node to the desired state of the cri-resmgr extension, and keeps it there.
#[derive(Debug, Parser)]
#[command(name = "cri-resmgr-node-agent", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Work until asked to stop.
    Run(RunOptions),
    /// Print what is observed and what is desired.
    Status(StatusOptions),
    /// Print the steps that would be taken, and what each would restart; take none.
    Plan(NodeOptions),
    /// Print the last lines that the units of the extension and the gate have written into the node's journal.
    HostLog(HostLogOptions),
}

#[derive(Debug, Args)]
pub(crate) struct HostLogOptions {
    /// Where the host's directories are mounted.
    #[arg(long, env = "HOST_ROOT", default_value = "/host")]
    pub(crate) host_root: PathBuf,
    /// How many lines.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=5000))]
    pub(crate) lines: u32,
}

#[derive(Debug, Args)]
pub(crate) struct StatusOptions {
    #[command(flatten)]
    pub(crate) node: NodeOptions,
    /// Form of the answer; json has the steps that are left, too.
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    pub(crate) output: OutputFormat,
}

/// Form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct RunOptions {
    #[command(flatten)]
    pub(crate) node: NodeOptions,
    /// Address of /healthz, /readyz and /metrics.
    #[arg(long, env = "LISTEN", default_value = "0.0.0.0:8891")]
    pub(crate) listen: SocketAddr,
    /// What to log: a level or directives.
    #[arg(long, env = "LOG_LEVEL", default_value = "info")]
    pub(crate) log_level: String,
    /// json or text.
    #[arg(long, env = "LOG_FORMAT", default_value = "json")]
    pub(crate) log_format: observability::LogFormat,
}

#[derive(Debug, Args)]
pub(crate) struct NodeOptions {
    /// The mounted desired state.
    #[arg(long, env = "DESIRED_STATE", default_value = "/etc/cri-resmgr-node-agent/desired.json")]
    pub(crate) desired_state: PathBuf,
    /// SHA-256 of the desired state's text, in hexadecimal digits; without it (a chart of an earlier version) any text is taken.
    #[arg(long, env = "DESIRED_STATE_SHA256")]
    pub(crate) desired_state_sha256: Option<String>,
    /// Where the host's /etc, /opt, /run, /var/lib and /sys/fs/cgroup are mounted.
    #[arg(long, env = "HOST_ROOT", default_value = "/host")]
    pub(crate) host_root: PathBuf,
    /// Directory with the files of the payload archive.
    #[arg(long, env = "PAYLOAD", default_value = "/payload")]
    pub(crate) payload: PathBuf,
    /// The gate's binary.
    #[arg(long, env = "GATE", default_value = "/runtime-gate")]
    pub(crate) gate: PathBuf,
    /// Where the last steps are written down for `status`, in a directory of the pod; without the directory they are not.
    #[arg(long, env = "RECENT_STEPS", default_value = "/run/cri-resmgr-node-agent/steps.json")]
    pub(crate) recent_steps: PathBuf,
    /// Name of this node in the shoot.
    #[arg(long, env = "NODE_NAME")]
    pub(crate) node_name: String,
    /// Name of the agent's own pod, whose readiness gate it writes; without it there is no gate to write.
    #[arg(long, env = "POD_NAME")]
    pub(crate) pod_name: Option<String>,
    /// Credentials for the shoot's API server; without it those of the pod.
    #[arg(long, env = "KUBECONFIG")]
    pub(crate) kubeconfig: Option<PathBuf>,
}
