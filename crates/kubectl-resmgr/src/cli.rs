//! Command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

/// Which nodes of a shoot are as the cri-resmgr extension wants them, and if not, why and what to do. Reads only; a shoot's kubeconfig is enough.
///
/// Exit status: 0 when all nodes are as desired, or the command did what it was asked for; 1 when nothing is known (the API server refused, or there is no
/// such node); 2 when the command line is wrong; 3 when nodes are on their way or wait; 4 when a node needs somebody; 5 when the extension is not in the
/// cluster. `check` and `convert` have their own.
#[derive(Debug, Parser)]
#[command(name = "kubectl-resmgr", bin_name = "kubectl resmgr", version)]
pub struct Cli {
    #[command(flatten)]
    pub(crate) connection: Connection,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// How the API servers are reached.
#[derive(Debug, Args)]
pub(crate) struct Connection {
    /// The shoot's kubeconfig; without it KUBECONFIG, else ~/.kube/config.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig.
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// A kubeconfig of the seed: `status` and `must-gather` then tell of the Extension, too.
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) seed_kubeconfig: Option<PathBuf>,
    /// Its context.
    #[arg(long, global = true, value_name = "NAME", requires = "seed_kubeconfig")]
    pub(crate) seed_context: Option<String>,
    /// The shoot's namespace in the seed (its technical id, such as shoot--PROJECT--NAME); needed where the seed has more than one shoot with the extension.
    #[arg(long, global = true, value_name = "NAMESPACE", requires = "seed_kubeconfig")]
    pub(crate) seed_namespace: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// A table of the nodes.
    Status(StatusArgs),
    /// One node, looked at by its agent now: what is there, what shall be, and the steps that are left.
    Node(NodeArgs),
    /// The last lines that cri-resmgr, the policy and the gate have written into a node's journal.
    HostLog(HostLogArgs),
    /// Why nodes are not as desired, and what to do.
    Explain(ExplainArgs),
    /// Events of the extension about nodes, the newest last.
    Events(EventsArgs),
    /// An archive of all that is needed to look into a trouble from elsewhere: no Secrets, and no configurations unless asked for.
    MustGather(MustGatherArgs),
    /// What controller and agent would say to files, before they are applied; asks no cluster.
    Check(preview::CheckArgs),
    /// A configuration of cri-resmgr as policies of nri-plugins; asks no cluster, but for --shoot.
    Convert(ConvertArgs),
    /// A script with which a shell completes command lines.
    Completion {
        /// The shell.
        shell: Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Show it again whenever something changes, until interrupted.
    #[arg(long, short)]
    pub(crate) watch: bool,
    #[command(flatten)]
    pub(crate) form: Form,
}

#[derive(Debug, Args)]
pub(crate) struct NodeArgs {
    /// Name of the node.
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) form: Form,
}

#[derive(Debug, Args)]
pub(crate) struct HostLogArgs {
    /// Name of the node.
    pub(crate) name: String,
    /// How many lines.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=5000))]
    pub(crate) lines: u32,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// Name of a node; without it all that are not as desired.
    pub(crate) node: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct EventsArgs {
    /// Only those about this node.
    #[arg(long, value_name = "NAME")]
    pub(crate) node: Option<String>,
    #[command(flatten)]
    pub(crate) form: Form,
}

#[derive(Debug, Args)]
pub(crate) struct MustGatherArgs {
    /// Where the archive is written; a file that is there is not overwritten.
    #[arg(long, short, value_name = "FILE", default_value = "cri-resmgr-must-gather.tar.gz")]
    pub(crate) file: PathBuf,
    /// Put the texts of the ConfigMaps into it, too: desired state, dynamic configurations, policies.
    #[arg(long)]
    pub(crate) with_configuration: bool,
}

/// Converts a configuration of cri-resmgr into policies of nri-plugins, and says of each key what becomes of it. Files are those that `cargo xtask convert`
/// and the controller's `convert` take.
///
/// Exit status: 0 when the configuration can be taken over as it is, or with what is accepted; 3 when something has another meaning or needs a decision; 4
/// when something is lost that is not accepted; 1 when a file or the shoot cannot be read, or an accepted id is none of the report; 2 when the command line is
/// wrong.
#[derive(Debug, Args)]
pub(crate) struct ConvertArgs {
    /// What to convert; - is standard input.
    #[arg(required_unless_present = "shoot", value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Convert what a shoot runs with: the nodes' configuration, ConfigMaps cri-resmgr-config.NAME, Adjustments, and annotations of pods that run. Only reads.
    #[arg(long)]
    pub(crate) shoot: bool,
    #[command(flatten)]
    pub(crate) options: policy_convert::ConvertOptions,
}

/// Form of an answer.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Form {
    /// Form of the answer.
    #[arg(long, short, value_enum, default_value_t = OutputFormat::Text)]
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

impl Form {
    /// Whether programs read it.
    pub(crate) fn is_json(self) -> bool {
        self.output == OutputFormat::Json
    }
}
