//! `cargo xtask demo`: the main job on stand-ins, with the real programs, for anybody on any machine.

mod table;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use sandbox::{Binaries, Sandbox};
use testbed::tree::{self, Snapshot};
use tokio::signal::unix::{SignalKind, signal};

use crate::terminal::say;
use table::Table;

/// Between two looks at the nodes.
const LOOK: Duration = Duration::from_millis(200);
/// A daemon that crashed is back within a few seconds.
const CRASH: Duration = Duration::from_secs(10);

/// Builds the programs, shows them, and takes everything down again.
pub(crate) fn run(root: &Path, nodes: u8) -> anyhow::Result<()> {
    let binaries = build(root)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let sandbox = tokio::select! {
            sandbox = Sandbox::up(root, &binaries, nodes) => sandbox?,
            () = asked_to_stop() => anyhow::bail!("interrupted"),
        };
        let shown = tokio::select! {
            shown = show(&sandbox) => shown,
            () = asked_to_stop() => {
                sandbox.down().await?;
                anyhow::bail!("interrupted; nothing is left behind")
            }
        };
        if let Err(error) = &shown {
            say(&format!("FAILED: {error:#}\n{}", sandbox.explain()));
        }
        sandbox.down().await?;
        shown.context("the demo has failed")
    })
}

/// Ctrl-C, or somebody's polite wish.
async fn asked_to_stop() {
    let wait = async |kind| match signal(kind) {
        Ok(mut signals) => drop(signals.recv().await),
        Err(_no_handler) => std::future::pending().await,
    };
    tokio::select! {
        () = wait(SignalKind::interrupt()) => {}
        () = wait(SignalKind::terminate()) => {}
        () = wait(SignalKind::hangup()) => {}
    }
}

fn build(root: &Path) -> anyhow::Result<Binaries> {
    say("building gardener-extension-cri-resmgr, cri-resmgr-node-agent and runtime-gate");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(root).args([
        "build",
        "--quiet",
        "--bins",
        "-p",
        "seed-controller",
        "-p",
        "node-agent",
        "-p",
        "runtime-gate",
    ]);
    // Where this program stands the others shall stand too.
    let own = std::env::current_exe()?;
    let target = own.parent().and_then(Path::parent).context("this program stands in no target folder")?;
    command.arg("--target-dir").arg(target);
    ensure!(command.status().context("cannot run cargo")?.success(), "the programs cannot be built");
    let dir = target.join("debug");
    Ok(Binaries {
        controller: dir.join("gardener-extension-cri-resmgr"),
        agent: dir.join("cri-resmgr-node-agent"),
        gate: dir.join("runtime-gate"),
    })
}

async fn show(sandbox: &Sandbox) -> anyhow::Result<()> {
    let start = Instant::now();
    let before = trees(sandbox)?;
    say(&format!(
        "a seed, a shoot and {} nodes run, all stand-ins; the three programs are the real ones",
        sandbox.nodes().len()
    ));

    say("\nthe Shoot's owner switches the extension on");
    let on = watched(sandbox, sandbox.switch_on()).await?;
    say(&format!("on: kubelet of every node runs through cri-resource-manager after {:.1} s", on.as_secs_f64()));

    let node = sandbox.nodes().first().context("there is no node")?;
    say(&format!("\nwhat changed on {}:", node.name()));
    let after = tree::snapshot(node.root())?;
    for line in tree::diff(&before[0], &after) {
        say(&format!("  {}", shortened(&line)));
    }
    let kubelet = node.unit(extension_config::names::node::KUBELET_UNIT);
    say(&format!("  kubelet runs as: {}", kubelet.command_line));

    let took = node.crash_proxy(CRASH).await?;
    say(&format!(
        "\nkill -9 of cri-resource-manager on {}: it answers again after {:.1} s, kubelet was left alone",
        node.name(),
        took.as_secs_f64()
    ));

    say("\nthe Shoot's owner switches the extension off");
    let off = watched(sandbox, sandbox.switch_off()).await?;
    say(&format!("off: kubelet of every node is back on containerd after {:.1} s", off.as_secs_f64()));
    for ((node, before), after) in sandbox.nodes().iter().zip(&before).zip(trees(sandbox)?) {
        let difference = tree::diff(before, &after);
        ensure!(difference.is_empty(), "{} is not as before:\n{}", node.name(), difference.join("\n"));
        let restarts = node.unit(extension_config::names::node::KUBELET_UNIT).starts.saturating_sub(1);
        say(&format!(
            "  {}: {} paths, each as before; kubelet was restarted {restarts} times in all",
            node.name(),
            before.len()
        ));
    }
    say(&format!(
        "\n{} nodes on in {:.1} s, off in {:.1} s, {:.1} s in all; {} requests to the seed's API, {} to the shoot's",
        sandbox.nodes().len(),
        on.as_secs_f64(),
        off.as_secs_f64(),
        start.elapsed().as_secs_f64(),
        sandbox.seed.requests(),
        sandbox.shoot.requests(),
    ));
    Ok(())
}

fn trees(sandbox: &Sandbox) -> anyhow::Result<Vec<Snapshot>> {
    sandbox.nodes().iter().map(|node| tree::snapshot(node.root())).collect()
}

/// The path and what happened to it, without sums and modes.
fn shortened(line: &str) -> &str {
    line.find(" is Node").or_else(|| line.find(" was Node")).map_or(line, |end| &line[..end])
}

/// Shows the nodes while something is under way.
async fn watched<T>(sandbox: &Sandbox, work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let mut table = Table::begin();
    tokio::pin!(work);
    let done = loop {
        table.show(sandbox);
        tokio::select! {
            done = &mut work => break done,
            () = tokio::time::sleep(LOOK) => {}
        }
    };
    table.show(sandbox);
    done
}
