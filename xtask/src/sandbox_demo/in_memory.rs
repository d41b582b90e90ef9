//! The main job on many nodes in memory: a roll-out that stops, one that goes on, and the removal. Each step is a claim that is checked.

mod figures;
mod tally;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::ensure;
use sandbox::{Image, MemoryNode, Sandbox};

use super::story::{CHANGED, leases, provider_config, reported};
use crate::terminal::say;
use figures::Figures;
use tally::Watch;

/// After so many roll-backs no further node switches (docs/decisions/0005-switch-slots.md).
const ROLLBACK_LIMIT: usize = 2;
/// Every waiting node has asked for a slot again within this time of its own.
const EVERYBODY_HAS_ASKED: Duration = Duration::from_secs(60);

/// Shows everything on the sandbox's nodes in memory, so many of which have a daemon that does not answer at first.
pub(super) async fn show(sandbox: &Sandbox, root: &Path, failing: usize) -> anyhow::Result<()> {
    let begin = Instant::now();
    let nodes: Vec<&MemoryNode> = sandbox.memory_nodes().collect();
    let before: Vec<Image> = nodes.iter().map(|node| node.image()).collect();
    let broken = spread(nodes.len(), failing);
    let is_broken = |number: usize| broken.binary_search(&number).is_ok();
    let stops = failing >= ROLLBACK_LIMIT;
    let mut figures = Figures::default();
    say(&format!(
        "a seed, a shoot and {} nodes in memory, whose time runs {} times as fast; controller and agents are the real ones",
        nodes.len(),
        sandbox.speed()
    ));

    say(&format!("\nthe Shoot's owner switches the extension on; on {failing} nodes the daemon will not answer"));
    for number in &broken {
        nodes[*number].let_daemon_work(false);
    }
    let step = Instant::now();
    sandbox.switch_on(None).await?;
    let mut watch = Watch::begin(sandbox);
    if !stops && failing > 0 {
        watch
            .until("the nodes to be rolled back", |reports| {
                broken.iter().all(|number| reports.stage(nodes[*number].name()) == "RolledBack")
            })
            .await?;
        say(&format!("{failing} nodes are rolled back; they are mended before they fail again, which would count too"));
        mend(&nodes, &broken);
    }
    let stays_broken = |number: usize| stops && is_broken(number);
    let reached = watch
        .until("the nodes to be installed, rolled back or held", |reports| {
            nodes.iter().enumerate().all(|(number, node)| match reports.stage(node.name()) {
                "RolledBack" => stays_broken(number),
                "Installed" => !stays_broken(number),
                "Blocked" => stops && !is_broken(number),
                _ => false,
            })
        })
        .await?;
    figures.step("on", step.elapsed());
    let switched = ensure_partly_on(&nodes, &reached, stays_broken)?;
    say(&format!("{switched} nodes switched, each with one restart of kubelet"));
    if stops {
        say(&format!("{failing} nodes are rolled back; their kubelets stayed on containerd and were not restarted"));
        say(&format!("the Extension says: {}", reported(sandbox).await?));
        let step = Instant::now();
        ensure_stopped(sandbox, &nodes, &mut watch, switched).await?;
        figures.step("nothing more switches", step.elapsed());
        say(&format!(
            "{} nodes are held, since {ROLLBACK_LIMIT} were rolled back: no node has switched within the next minute of theirs",
            nodes.len() - switched - failing
        ));
    }

    if stops {
        say("\nthe nodes are mended, and the rest may go on with another configuration");
        mend(&nodes, &broken);
    }
    say(&format!("\nthe owner changes the configuration ({CHANGED})"));
    let step = Instant::now();
    sandbox.switch_on(Some(&provider_config(root)?)).await?;
    let desired = sandbox.desired_state_of_now(watch.desired()).await?;
    watch
        .until("every node to run through the proxy with the new configuration", |reports| {
            nodes.iter().all(|node| reports.is_installed(node.name(), &desired) && node.is_on_proxy())
        })
        .await?;
    sandbox.wait_healthy().await?;
    figures.step("changed, everything on", step.elapsed());
    ensure_restarts(&nodes, 1, "being switched on")?;
    say("every node runs through cri-resource-manager, each after one restart of its kubelet");

    say("\nthe Shoot's owner switches the extension off");
    let off = sandbox.switch_off().await?;
    figures.step("off", off);
    ensure_restarts(&nodes, 2, "being switched on and off")?;
    let left = leases(sandbox);
    ensure!(left.is_empty(), "Leases are left in the shoot: {left:?}");
    for (node, before) in nodes.iter().zip(&before) {
        let after = node.image();
        ensure!(after == *before, "{} is not as before:\n{before:?}\n{after:?}", node.name());
    }
    say("every node is as before, after exactly two restarts of its kubelet; no Lease is left in the shoot");
    ensure!(
        watch.most_at_a_time() <= slots(nodes.len()),
        "{} nodes switched at a time, {} may",
        watch.most_at_a_time(),
        slots(nodes.len())
    );
    say(&format!("never more than {} nodes held a slot at a time; {} may", watch.most_at_a_time(), slots(nodes.len())));
    figures.show(sandbox, begin.elapsed(), nodes.len())
}

fn mend(nodes: &[&MemoryNode], broken: &[usize]) {
    for number in broken {
        nodes[*number].let_daemon_work(true);
    }
}

/// Which of so many, evenly spread.
fn spread(all: usize, some: usize) -> Vec<usize> {
    (0..some).map(|number| number * all / some.max(1)).collect()
}

/// A tenth, and always one.
fn slots(nodes: usize) -> usize {
    (nodes / 10).max(1)
}

/// How many have switched; all others must be untouched.
fn ensure_partly_on(
    nodes: &[&MemoryNode],
    reached: &BTreeMap<String, String>,
    is_broken: impl Fn(usize) -> bool,
) -> anyhow::Result<usize> {
    let mut switched = 0;
    for (number, node) in nodes.iter().enumerate() {
        let stage = reached.get(node.name()).map_or("", String::as_str);
        let is_on = stage == "Installed";
        ensure!(
            node.is_on_proxy() == is_on && node.kubelet_restarts() == u32::from(is_on) && node.is_ready(),
            "{} is {stage}, on the proxy: {}, with {} restarts of kubelet",
            node.name(),
            node.is_on_proxy(),
            node.kubelet_restarts()
        );
        ensure!(!(is_on && is_broken(number)), "{} switched to a daemon that does not answer", node.name());
        switched += usize::from(is_on);
    }
    Ok(switched)
}

/// The roll-out stands still and says so once.
async fn ensure_stopped(
    sandbox: &Sandbox,
    nodes: &[&MemoryNode],
    watch: &mut Watch<'_>,
    switched: usize,
) -> anyhow::Result<()> {
    let until = sandbox.simulated_time() + EVERYBODY_HAS_ASKED;
    watch.until("a minute of the nodes' time", |_| sandbox.simulated_time() >= until).await?;
    let now = nodes.iter().filter(|node| node.is_on_proxy()).count();
    ensure!(now == switched, "{now} nodes run through the proxy, {switched} did when the roll-out had stopped");
    let mut reported = 0;
    sandbox.shoot.store().visit("events.k8s.io", "events", "", |event| {
        reported += usize::from(event["reason"] == "CriResmgrSwitchesStopped");
    });
    ensure!(reported == 1, "{reported} Events say that the roll-out has stopped");
    Ok(())
}

fn ensure_restarts(nodes: &[&MemoryNode], wanted: u32, when: &str) -> anyhow::Result<()> {
    for node in nodes {
        let found = node.kubelet_restarts();
        ensure!(found == wanted, "kubelet of {} was restarted {found} times {when}, not {wanted}", node.name());
    }
    Ok(())
}

/// How many nodes are a share of all: at least one, unless it is none.
pub(super) fn share(nodes: u16, percent: f64) -> usize {
    let exact = f64::from(nodes) * percent / 100.0;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the number of nodes")]
    let rounded = exact.round() as usize;
    if percent > 0.0 { rounded.max(1) } else { 0 }
}

/// How much faster than the clock: so fast that few nodes take seconds, and so slow that many can keep up on two processors.
pub(super) fn speed(nodes: u16) -> u32 {
    (1000 / u32::from(nodes.max(1))).clamp(1, 20)
}

#[cfg(test)]
mod tests {
    use sandbox::Binaries;

    use super::*;

    #[test]
    fn a_share_of_failing_nodes_is_rounded_to_whole_nodes() {
        for (nodes, percent, expected) in [(1000, 3.0, 30), (30, 10.0, 3), (30, 0.0, 0), (10, 0.1, 1), (7, 100.0, 7)] {
            assert_eq!(share(nodes, percent), expected, "{percent} % of {nodes}");
        }
        assert_eq!(spread(10, 3), [0, 3, 6]);
        assert_eq!(spread(10, 0), [0; 0]);
    }

    async fn run_demo(nodes: u16, percent: f64) -> anyhow::Result<()> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let sandbox = Sandbox::simulated(&root, &Binaries::build(&root)?, nodes, speed(nodes)).await?;
        let reported = show(&sandbox, &root, share(nodes, percent)).await;
        let reported = reported.map_err(|error| error.context(sandbox.explain()));
        sandbox.down().await?;
        reported
    }

    #[tokio::test]
    async fn a_roll_out_stops_after_two_roll_backs_and_goes_on() -> anyhow::Result<()> {
        run_demo(30, 10.0).await
    }

    #[tokio::test]
    async fn after_one_roll_back_the_others_switch_and_then_the_mended_node() -> anyhow::Result<()> {
        run_demo(12, 1.0).await
    }
}
