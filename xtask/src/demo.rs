//! `cargo xtask demo`: the main job, shown on stand-ins, or with `--real` on real components.

mod policies;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use clap::{Args, ValueEnum};
use e2e::{NodeFacts, TestEnvironment, TestEnvironmentOptions, Workload};
use testbed::{Generation, Progress, Worker};

use crate::sandbox_demo::{self, Nodes};
use crate::terminal::say;
use crate::{artifacts, bed};

const NAME: &str = "demo";

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// On real components: needs root, Go and some GiB of disk.
    #[arg(long)]
    real: bool,
    /// What places containers.
    #[arg(long, value_enum, default_value_t)]
    backend: Backend,
    /// Number of nodes of the stand-ins, the last of which fails at first; more than 20 are nodes in memory.
    #[arg(long, default_value_t = 3, conflicts_with = "real", value_parser = clap::value_parser!(u16).range(2..))]
    nodes: u16,
    /// Nodes in memory: agents in one process, in a time that runs faster.
    #[arg(long, conflicts_with = "real")]
    simulated: bool,
    /// So many of the nodes fail at first, such as 3%; they are nodes in memory then.
    #[arg(long, conflicts_with = "real", value_name = "PERCENT", value_parser = percent)]
    fail: Option<f64>,
    /// Draws moments of the table into this SVG file.
    #[arg(long, conflicts_with_all = ["real", "simulated", "fail"], value_name = "FILE")]
    record: Option<PathBuf>,
    /// Number of real workers.
    #[arg(long, default_value_t = 1, requires = "real")]
    workers: u8,
    /// What they are: `old` (Kubernetes 1.34, containerd 1.6; the default) or `new` (1.37, 2.3), which the backend nri-plugins needs and has by itself.
    #[arg(long, requires = "real")]
    generation: Option<Generation>,
    /// Leaves everything running at the end, with the extension on, and prints the kubeconfigs.
    #[arg(long, requires = "real")]
    keep: bool,
}

/// What is shown at work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Backend {
    /// The proxy.
    #[default]
    CriResmgr,
    /// A policy of nri-plugins.
    NriPlugins,
}

/// Nodes with processes of their own, at most.
const PROCESSES: u8 = 20;

impl DemoArgs {
    fn stand_ins(&self) -> anyhow::Result<Nodes> {
        if self.backend == Backend::NriPlugins {
            let is_plain = self.nodes == 3 && !self.simulated && self.fail.is_none() && self.record.is_none();
            ensure!(is_plain, "with nri-plugins three nodes are shown, without --simulated, --fail and --record");
            return Ok(Nodes::WithPolicies);
        }
        match u8::try_from(self.nodes) {
            Ok(nodes) if nodes <= PROCESSES && !self.simulated && self.fail.is_none() => Ok(Nodes::Processes(nodes)),
            _ => {
                ensure!(self.record.is_none(), "nodes in memory have no table to record: at most {PROCESSES} nodes");
                Ok(Nodes::InMemory(self.nodes, self.fail.unwrap_or_default()))
            }
        }
    }
}

fn percent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text);
    match number.trim().parse::<f64>() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(percent),
        _ => Err("a percentage from 0% to 100%".to_owned()),
    }
}

pub(crate) fn run(args: &DemoArgs, root: &Path) -> anyhow::Result<()> {
    if !args.real {
        return sandbox_demo::run(root, args.stand_ins()?, args.record.as_ref());
    }
    bed::ensure_machine()?;
    let (payload, generation) = match args.backend {
        Backend::CriResmgr => (artifacts::Payload::CriResmgr, args.generation.unwrap_or_default()),
        Backend::NriPlugins => (artifacts::Payload::Both, args.generation.unwrap_or(Generation::New)),
    };
    let artifacts = artifacts::build(root, payload)?;
    let progress = Progress::default();
    let options = TestEnvironmentOptions {
        name: NAME.into(),
        root: root.to_owned(),
        workers: args.workers,
        generation,
        artifacts,
        progress: progress.clone(),
    };
    bed::runtime()?.block_on(bed::interruptible(NAME, async {
        let environment = match TestEnvironment::up(options).await {
            Ok(environment) => environment,
            Err(error) => {
                testbed::down(NAME).await?;
                return Err(error);
            }
        };
        let shown = match args.backend {
            Backend::CriResmgr => show(&environment, &progress).await,
            Backend::NriPlugins => policies::show(&environment, &progress).await,
        };
        if let Err(error) = &shown {
            say(&format!("FAILED: {error:#}\n{}", environment.explain().await));
        }
        if args.keep {
            if shown.is_ok() {
                match args.backend {
                    Backend::CriResmgr => drop(environment.switch_on(None).await?),
                    Backend::NriPlugins => policies::switch_on(&environment).await?,
                }
            }
            say("left running with the extension on; `cargo xtask testbed down --name demo` takes it down");
            bed::print_kubeconfigs(&environment.bed);
        } else {
            progress.step("taking everything down");
            environment.bed.down().await?;
        }
        shown.context("the demo has failed")
    }))
}

async fn show(environment: &TestEnvironment, progress: &Progress) -> anyhow::Result<()> {
    let workload = Workload::deploy(environment.bed.shoot().admin().await?, environment.bed.workers().len()).await?;
    let before = environment.trees()?;
    let containers = workload.containers().await?;

    progress.step("switching the extension on in the Shoot");
    let took = environment.switch_on(None).await?;
    progress.step(&format!("on: every worker runs through cri-resource-manager after {took:.1?}"));
    for worker in environment.bed.workers() {
        let facts = NodeFacts::observe(worker).await?;
        show_units(worker).await?;
        let runtime = facts.ensure_on_proxy(worker).await?;
        say(&format!("  {}: the runtime behind cri-resmgr.sock answers: {runtime}", worker.name()));
        workload.run_pod("started-through-the-proxy", worker.name()).await?;
        say(&format!("  {}: a new pod ran through the proxy", worker.name()));
    }
    ensure!(workload.containers().await? == containers, "the workload's containers were restarted by switching on");
    say("  the pods that ran before still run in the same containers");

    progress.step("switching the extension off");
    let took = environment.switch_off().await?;
    progress.step(&format!("off: the Extension is gone and every worker is back on containerd after {took:.1?}"));
    for worker in environment.bed.workers() {
        show_units(worker).await?;
    }
    ensure!(workload.containers().await? == containers, "the workload's containers were restarted by switching off");
    environment.ensure_trees_equal(&before)?;
    say("  the pods still run in the same containers, and the file tree of every worker is as before");
    Ok(())
}

async fn show_units(worker: &Worker) -> anyhow::Result<()> {
    let output = worker
        .exec(&["systemctl", "--no-pager", "--full", "--lines=0", "status", "cri-resource-manager", "kubelet"])
        .await?;
    say(&format!("  {} $ systemctl status cri-resource-manager kubelet", worker.name()));
    for line in output.stdout.lines().chain(output.stderr.lines()) {
        say(&format!("    {line}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        demo: DemoArgs,
    }

    fn stand_ins(words: &str) -> anyhow::Result<Nodes> {
        Line::try_parse_from(std::iter::once("demo").chain(words.split_whitespace()))?.demo.stand_ins()
    }

    #[test]
    fn few_nodes_have_processes_and_many_are_in_memory() {
        let table = [
            ("", "Processes(3)"),
            ("--nodes 20", "Processes(20)"),
            ("--nodes 21", "InMemory(21, 0.0)"),
            ("--simulated", "InMemory(3, 0.0)"),
            ("--backend nri-plugins", "WithPolicies"),
            ("--backend cri-resmgr", "Processes(3)"),
            ("--fail 0", "InMemory(3, 0.0)"),
            ("--nodes 1000 --fail 3%", "InMemory(1000, 3.0)"),
        ];
        for (words, expected) in table {
            assert_eq!(format!("{:?}", stand_ins(words).unwrap()), expected, "{words}");
        }
        for words in [
            "--nodes 1",
            "--fail x",
            "--fail 101%",
            "--fail nan",
            "--nodes 30 --record f",
            "--fail 3% --record f",
            "--backend nri-plugins --nodes 4",
            "--backend nri-plugins --simulated",
            "--backend x",
        ] {
            assert!(stand_ins(words).is_err(), "{words}");
        }
    }
}
