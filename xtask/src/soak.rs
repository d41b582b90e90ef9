//! `cargo xtask soak`: what takes too long for every change.

mod cgroup_v2;
mod crash;
mod fuzz;
mod hostile;
mod longer;
mod nri_plugins;
mod reproducible;
mod upgrade;

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::bail;
use clap::Args;

use crate::terminal::say;

#[derive(Debug, Args)]
#[command(after_help = members())]
pub(crate) struct SoakArgs {
    /// Only those whose name contains this.
    #[arg(long)]
    only: Option<String>,
    /// How long each of them works.
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    minutes: u64,
    /// The revision that `upgrade` starts with.
    #[arg(long, value_name = "REVISION", default_value = upgrade::DEFAULT_FROM)]
    from: String,
}

impl SoakArgs {
    fn time(&self) -> Duration {
        Duration::from_secs(self.minutes.saturating_mul(60))
    }
}

/// One long run: its name, what it looks for, and how it is done. It gives what it did in a few words.
type Member = (&'static str, &'static str, fn(&Path, &SoakArgs) -> anyhow::Result<String>);

const MEMBERS: [Member; 18] = [
    ("fuzz-configuration", "texts that decoder and validator of configurations do not survive", fuzz::configuration),
    (
        "hostile-configurations",
        "texts that cost decoder and validator of configurations more time or memory for each byte than they may",
        hostile::configurations,
    ),
    (
        "yaml-differential",
        "texts that travel and that the daemon's YAML library reads otherwise than we do",
        hostile::differential,
    ),
    ("crash-matrix", "places where a killed or failing agent leaves a node that does not mend", crash::matrix),
    ("agent-restarts", "agents whose coming and going restarts something", crash::restarts),
    ("controller-histories", "histories of an Extension that end in a state the contract forbids", longer::histories),
    ("controller-faults", "what a faulty API server and leaders that are killed leave unfinished", longer::faults),
    (
        "control-plane-migration",
        "nodes that notice that their control plane goes to another seed, minutes without its API included",
        longer::migration,
    ),
    ("slow-daemon", "a daemon that dies again and again and is not given up in time", longer::slow_daemon),
    (
        "old-generation",
        "cases of a node that do not hold with the oldest kubelet and the oldest containerd that are supported",
        longer::old_generation,
    ),
    (
        "updates-in-place",
        "what does not hold when the kubelet of a node is replaced, and starts of kubelet without a reason",
        longer::updates_in_place,
    ),
    (
        "newest-kubelet",
        "what pods get of the newest kubelet through the proxy that is not as the table of docs/node-trials.md has it",
        longer::newest_kubelet,
    ),
    (
        "nri-plugins",
        "what does not hold on workers with a policy of nri-plugins, from the Shoot to the kernel",
        nri_plugins::on_the_new_generation,
    ),
    (
        "backend-migration",
        "workers whose pods notice that they go from one backend to the other, or back",
        nri_plugins::backend_migration,
    ),
    ("cgroup-v2", "what does not hold on a node with control groups of version 2", cgroup_v2::node),
    (
        "cgroup-v2-new",
        "what does not hold there with the newest kubelet and containerd; they have to be in the cache by another run",
        cgroup_v2::new_node,
    ),
    ("upgrade", "what the way from an earlier revision (`--from`) restarts or leaves behind", upgrade::upgrade),
    ("reproducible", "equal digests of two builds of both images, in two clones", reproducible::images),
];

/// All of them, for `--help`.
fn members() -> String {
    let lines = MEMBERS.iter().map(|(name, what, _)| format!("  {name:<23} {what}\n"));
    std::iter::once("What there is, and what it looks for:\n".to_owned()).chain(lines).collect()
}

pub(crate) fn run(args: &SoakArgs, root: &Path) -> anyhow::Result<()> {
    let only = args.only.as_deref().unwrap_or_default();
    let chosen: Vec<&Member> = MEMBERS.iter().filter(|(name, ..)| name.contains(only)).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = MEMBERS.iter().map(|(name, ..)| *name).collect();
        bail!("nothing is called {only:?}; there is: {}", names.join(", "));
    }
    let mut rows = Vec::new();
    for (name, what, work) in chosen {
        say(&format!("== {name}: {what}"));
        let start = Instant::now();
        let outcome = work(root, args);
        rows.push((*name, start.elapsed(), outcome));
    }
    let mut out = std::io::stdout();
    writeln!(out)?;
    for (name, took, outcome) in &rows {
        let (verdict, words) = match outcome {
            Ok(words) => ("ok", words.clone()),
            Err(error) => ("FAILED", format!("{error:#}")),
        };
        writeln!(out, "{name:<24} {verdict:<7} {took:>7.0?}  {words}")?;
    }
    let failed = rows.iter().filter(|(.., outcome)| outcome.is_err()).count();
    writeln!(out, "\n{} passed, {failed} failed", rows.len() - failed)?;
    if failed > 0 {
        bail!("{failed} failed");
    }
    Ok(())
}

/// What is dropped ends what it has started, and removes it.
fn unless_interrupted<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    crate::bed::runtime()?.block_on(async {
        tokio::select! {
            done = work => done,
            _ = tokio::signal::ctrl_c() => bail!("interrupted; nothing is left behind"),
        }
    })
}
