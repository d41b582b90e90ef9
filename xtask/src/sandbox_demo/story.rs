//! What is shown, in its order. Each step is a claim that is checked; the first that does not hold ends the demo with an error.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use extension_config::names;
use futures::future::try_join_all;
use sandbox::{Fault, Node, Sandbox, WORKER_POOL};
use serde_json::{Value, json};
use testbed::tree::{self, Snapshot};
use testbed::wait_for;

use super::table::{Film, Table, kubelet_restarts};
use crate::terminal::say;

/// Between two checks of the nodes.
const INTERVAL: Duration = Duration::from_millis(200);
/// A daemon that crashed is back within a few seconds.
const CRASH: Duration = Duration::from_secs(10);
/// Until the controllers have seen each other's changes.
const PROPAGATION: Duration = Duration::from_secs(30);
/// Of the Shoot's providerConfig.
const API_VERSION: &str = "cri-resmgr.extensions.gardener.cloud/v1alpha1";
/// What the Shoot's owner changes to.
pub(super) const CHANGED: &str = "examples/provider-config/balloons.yaml";

/// Shows everything.
pub(super) async fn show(sandbox: &Sandbox, root: &Path, film: &mut Film) -> anyhow::Result<()> {
    let start = Instant::now();
    let mut times = Vec::new();
    let before = trees(sandbox)?;
    let (failing, others) = sandbox.nodes().split_last().context("there is no node")?;
    // Nodes switch one after the other, with ten seconds of proof each; one that is not meant shows something else in no time.
    let (others, left_alone): (Vec<&Node>, Vec<&Node>) = others.iter().partition(|node| node.pool() == WORKER_POOL);
    let first = *others.first().context("with one node nothing could be compared")?;
    say(&format!(
        "a seed, a shoot and {} nodes run, all stand-ins; the three programs are the real ones",
        sandbox.nodes().len()
    ));

    // The agents are held back until their plan was shown.
    sandbox.faults().pods.add("start", .., Fault::Break);
    failing.faults().programs.add("start proxy", .., Fault::Break);
    say(&format!(
        "\nthe Shoot's owner switches the extension on for the worker pool {WORKER_POOL}; on {} the daemon will crash",
        failing.name()
    ));
    let begin = Instant::now();
    let mut table = Table::begin(film, "switched on, and the daemon of one node crashes");
    let selecting = for_the_pool(&json!({ "apiVersion": API_VERSION, "kind": "CriResourceManagerConfig" }));
    table.until(sandbox, INTERVAL, sandbox.switch_on(Some(&selecting))).await?;
    wait_for("the desired state in the shoot", PROPAGATION, || async { sandbox.desired_state().map(Some) }).await?;
    say(&format!("what the agent of {} is about to do (cri-resmgr-node-agent plan):", first.name()));
    let plan = sandbox.plan(first).await?;
    for line in plan.lines().filter(|line| line.trim_start().starts_with(|first: char| first.is_ascii_digit())) {
        say(&format!("  {line}"));
    }
    ensure!(plan.contains("[kubelet]"), "the plan has no restart of kubelet:\n{plan}");
    sandbox.faults().pods.clear();
    let report = table
        .until(sandbox, INTERVAL, async {
            let installed = try_join_all(others.iter().map(|node| sandbox.wait_installed(node)));
            let left_alone = try_join_all(left_alone.iter().map(|node| sandbox.wait_left_alone(node)));
            let (_, _, report) = tokio::try_join!(installed, left_alone, sandbox.wait_rolled_back(failing))?;
            Ok(report)
        })
        .await?;
    table.end();
    times.push(("on, one node rolled back", begin.elapsed()));
    let made = leases(sandbox);
    ensure!(made.iter().any(|name| name == names::SWITCH_LEASE), "the nodes switched by no slot: {made:?}");
    say(&format!("{}: {}", failing.name(), report.message));
    ensure!(kubelet_restarts(failing) == 0, "kubelet of {} was restarted for a daemon that never ran", failing.name());
    say(&format!("{}: kubelet stays on containerd and was not restarted; left of the try:", failing.name()));
    show_difference(&before[before.len() - 1], failing)?;
    say(&format!("the Extension says: {}", reported(sandbox).await?));

    say(&format!("\nwhat changed on {}:", first.name()));
    show_difference(&before[0], first)?;
    say(&format!("  kubelet runs as: {}", first.unit(names::node::KUBELET_UNIT).command_line));

    for node in &left_alone {
        let pool = node.pool();
        say(&format!("{}: the worker pool {pool} is not meant; it was left alone", node.name()));
    }

    failing.faults().programs.clear();
    say(&format!(
        "\n{} is mended, and the owner changes the configuration ({CHANGED}), which ends its wait",
        failing.name()
    ));
    let begin = Instant::now();
    let restarts: Vec<u64> = others.iter().copied().map(kubelet_restarts).collect();
    let changed = for_the_pool(&provider_config(root)?);
    let mut table = Table::begin(film, "mended, and another configuration");
    table
        .until(sandbox, INTERVAL, async {
            sandbox.switch_on(Some(&changed)).await?;
            try_join_all(others.iter().chain([&failing]).map(|node| sandbox.wait_installed(node))).await?;
            sandbox.wait_healthy().await
        })
        .await?;
    table.end();
    times.push(("changed, that node recovered", begin.elapsed()));
    ensure!(
        restarts == others.iter().copied().map(kubelet_restarts).collect::<Vec<_>>(),
        "kubelet was restarted for a changed configuration"
    );
    say(
        "every node of the pool runs through cri-resource-manager; the others took the configuration without a restart of kubelet",
    );

    let took = first.crash_proxy(CRASH).await?;
    times.push(("daemon killed, answers again", took));
    say(&format!("\nkill -9 of cri-resource-manager on {}: it answers again, kubelet was left alone", first.name()));

    say("\nthe Shoot's owner switches the extension off");
    let mut table = Table::begin(film, "switched off");
    let off = table.until(sandbox, INTERVAL, sandbox.switch_off()).await?;
    table.end();
    times.push(("off", off));
    let left = leases(sandbox);
    ensure!(left.is_empty(), "Leases are left in the shoot: {left:?}");
    ensure_as_before(sandbox, &before)?;
    times.push(("in all", start.elapsed()));

    say("");
    for (what, time) in times {
        say(&format!("{what:<30} {:>5.1} s", time.as_secs_f64()));
    }
    let (seed, shoot) = (sandbox.seed.requests(), sandbox.shoot.requests());
    say(&format!("{} nodes; {seed} requests to the seed's API, {shoot} to the shoot's", sandbox.nodes().len()));
    Ok(())
}

/// Every file tree, and a restart of kubelet for each switch.
fn ensure_as_before(sandbox: &Sandbox, before: &[Snapshot]) -> anyhow::Result<()> {
    for ((node, before), after) in sandbox.nodes().iter().zip(before).zip(trees(sandbox)?) {
        let difference = tree::diff(before, &after);
        ensure!(difference.is_empty(), "{} is not as before:\n{}", node.name(), difference.join("\n"));
        let (paths, restarts) = (before.len(), kubelet_restarts(node));
        let wanted = if node.pool() == WORKER_POOL { 2 } else { 0 };
        ensure!(restarts == wanted, "kubelet of {} was restarted {restarts} times, not {wanted}", node.name());
        say(&format!(
            "  {}: {paths} paths, each as before; kubelet was restarted {restarts} times in all",
            node.name()
        ));
    }
    Ok(())
}

/// Our Leases in the shoot.
pub(super) fn leases(sandbox: &Sandbox) -> Vec<String> {
    let all = sandbox.shoot.store().list("coordination.k8s.io", "leases", names::SHOOT_NAMESPACE);
    let names = all.iter().filter_map(|lease| lease["metadata"]["name"].as_str());
    names.filter(|name| name.starts_with("cri-resmgr")).map(str::to_owned).collect()
}

fn trees(sandbox: &Sandbox) -> anyhow::Result<Vec<Snapshot>> {
    sandbox.nodes().iter().map(|node| tree::snapshot(node.root())).collect()
}

fn show_difference(before: &Snapshot, node: &Node) -> anyhow::Result<()> {
    for line in tree::diff(before, &tree::snapshot(node.root())?) {
        say(&format!("  {}", shortened(&line)));
    }
    Ok(())
}

/// The path and what happened to it, without sums and modes.
fn shortened(line: &str) -> &str {
    line.find(" is Node").or_else(|| line.find(" was Node")).map_or(line, |end| &line[..end])
}

/// The condition that names a node to the owner that is not as desired.
pub(super) async fn reported(sandbox: &Sandbox) -> anyhow::Result<String> {
    wait_for("the Extension to report it", PROPAGATION, || async {
        let bad = sandbox.conditions().into_iter().find(|(_, status, _)| status != "True");
        Ok(bad.map(|(kind, status, message)| format!("{kind} is {status}: {message}")))
    })
    .await
}

/// The same for nodes of the one worker pool only.
fn for_the_pool(provider_config: &Value) -> Value {
    let mut selecting = provider_config.clone();
    selecting["selection"] = json!({ "workerPools": [WORKER_POOL] });
    selecting
}

pub(super) fn provider_config(root: &Path) -> anyhow::Result<Value> {
    let path = root.join(CHANGED);
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let shoot: Value = serde_saphyr::from_str(&text)?;
    let found = shoot.pointer("/spec/extensions/0/providerConfig").cloned();
    found.with_context(|| format!("{} has no providerConfig", path.display()))
}
