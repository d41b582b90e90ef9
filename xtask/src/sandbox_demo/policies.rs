//! The backend nri-plugins on stand-ins of nodes whose containerd speaks NRI: where containers run before, with and after a policy. Each step is a claim that is
//! checked; the first that does not hold ends the demo with an error.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use extension_config::names;
use extension_config::names::node::{CONTAINERD_UNIT, PLUGIN_UNIT};
use sandbox::{Binaries, Containers, InEffect, Machine, Node, PolicyPrograms, Sandbox, WORKER_POOL, WithContainers};
use serde_json::{Value, json};
use testbed::components::{Component, NRI_BALLOONS, NRI_TOPOLOGY_AWARE};
use testbed::tree::{self, Snapshot};
use testbed::wait_for;

use super::story::{leases, reported};
use super::table::{Film, Table, kubelet_restarts};
use crate::terminal::say;

/// Between two checks of the nodes.
const INTERVAL: Duration = Duration::from_millis(200);
/// Until a policy has placed a container that is there, or nothing has a place any more.
const PLACED: Duration = Duration::from_secs(20);
/// The last node has half of the machine that the others have.
const SMALL: Machine = Machine { nodes: 1, cpus_per_node: 4, memory_per_node: 16 << 20 };
/// What runs on each node from its boot on, with the thousandths of a CPU that it asks for.
const PODS: [(&str, &str, u64); 3] = [("kube-system", "dns", 100), ("default", "web", 500), ("default", "job", 250)];
/// Of the Shoot's providerConfig.
const API_VERSION: &str = "cri-resmgr.extensions.gardener.cloud/v1alpha1";
/// Group of the second node.
const GROUP: &str = "low-latency";

/// What is in effect, by node and pod.
type Placed = BTreeMap<String, BTreeMap<String, InEffect>>;

/// The policies' programs where they are built, and says which.
fn programs(root: &Path) -> anyhow::Result<PolicyPrograms> {
    let find = |component: Component| -> anyhow::Result<Option<PathBuf>> {
        let Some(program) = component.built(root)? else {
            say(&format!(
                "{}: A STAND-IN, which registers and places by a rule of its own (the real program is not built here; \
                 `cargo xtask test --real --only nri-plugins` builds it)",
                component.name
            ));
            return Ok(None);
        };
        let content = std::fs::read(&program).with_context(|| format!("cannot read {}", program.display()))?;
        let (version, digest) = (component.pinned_version(root)?, image_builder::Digest::of(&content));
        say(&format!("{} {version}: the real program, {digest}", component.name));
        Ok(Some(program))
    };
    Ok(PolicyPrograms { balloons: find(NRI_BALLOONS)?, topology_aware: find(NRI_TOPOLOGY_AWARE)? })
}

/// Three nodes with containers, the last of which has fewer CPUs.
pub(super) async fn up(root: &Path, binaries: &Binaries) -> anyhow::Result<Sandbox> {
    up_with(root, binaries, &programs(root)?).await
}

async fn up_with(root: &Path, binaries: &Binaries, policies: &PolicyPrograms) -> anyhow::Result<Sandbox> {
    let node = |machine| (WORKER_POOL.to_owned(), Some(WithContainers { machine, policies: policies.clone() }));
    let nodes = vec![node(Machine::default()), node(Machine::default()), node(SMALL)];
    Sandbox::up_with(root, binaries, nodes).await
}

/// Pods of kube-system on these CPUs, those of `default` on two others.
fn balloons(reserved: &str) -> Value {
    json!({
        "kind": "BalloonsPolicy",
        "spec": {
            "reservedResources": { "cpu": format!("cpuset:{reserved}") },
            "balloonTypes": [
                // Held from the start, or other balloons might take it and leave nothing for pods of kube-system.
                { "name": "reserved", "minCPUs": 1 },
                { "name": "work", "namespaces": ["default"], "minCPUs": 2, "maxCPUs": 2, "minBalloons": 1 },
            ],
        },
    })
}

/// The second node's group has a policy of another kind; `of_last` is the last node's own.
fn config(of_last: Option<(&str, Value)>) -> Value {
    let topology_aware =
        json!({ "kind": "TopologyAwarePolicy", "spec": { "reservedResources": { "cpu": "cpuset:0" } } });
    let mut policies = json!({ "default": balloons("6"), "groups": { (GROUP): topology_aware } });
    if let Some((node, policy)) = of_last {
        policies["nodes"] = json!({ (node): policy });
    }
    json!({
        "apiVersion": API_VERSION, "kind": "CriResourceManagerConfig",
        "backend": "nri-plugins", "nri": { "policies": policies },
    })
}

fn containers(node: &Node) -> anyhow::Result<&Containers> {
    node.containers().with_context(|| format!("{} has no containers", node.name()))
}

async fn placed(sandbox: &Sandbox) -> anyhow::Result<Placed> {
    let mut all = Placed::new();
    for node in sandbox.nodes() {
        all.insert(node.name().to_owned(), containers(node)?.in_effect().await?);
    }
    Ok(all)
}

fn print_placement(moment: &str, placed: &Placed) {
    say(&format!("by their control groups, {moment}:"));
    for (node, pods) in placed {
        for (pod, InEffect { cpus, mems, shares }) in pods {
            say(&format!("  {node:<8} {pod:<16} CPUs {cpus:<8} memory nodes {mems:<4} shares {shares}"));
        }
    }
}

/// The CPUs of a kernel's list.
fn numbers(text: &str) -> anyhow::Result<Vec<u16>> {
    let mut found = Vec::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        found.extend(first.parse::<u16>()?..=last.parse()?);
    }
    Ok(found)
}

/// As [`balloons`] has it: the system on what is reserved, everything of `default` together on two CPUs that are not.
fn ensure_balloons(pods: &BTreeMap<String, InEffect>, reserved: &str) -> anyhow::Result<()> {
    let work = &pods.get("default/web").context("no default/web")?.cpus;
    let two = numbers(work)?;
    ensure!(two.len() == 2 && !two.contains(&reserved.parse()?), "default/web has the CPUs {work}");
    for (pod, InEffect { cpus, .. }) in pods {
        let wanted = if pod.starts_with("kube-system/") { reserved } else { work };
        ensure!(cpus == wanted, "{pod} has the CPUs {cpus}, not {wanted}");
    }
    Ok(())
}

fn trees(sandbox: &Sandbox) -> anyhow::Result<Vec<Snapshot>> {
    sandbox.nodes().iter().map(|node| tree::snapshot(node.root())).collect()
}

fn starts(node: &Node) -> u64 {
    node.unit(PLUGIN_UNIT).starts
}

/// Shows everything.
pub(super) async fn show(sandbox: &Sandbox, film: &mut Film) -> anyhow::Result<()> {
    let start = Instant::now();
    let [first, second, small] = sandbox.nodes() else { anyhow::bail!("three nodes are shown") };
    for node in sandbox.nodes() {
        for (namespace, name, milli_cpu) in PODS {
            containers(node)?.run(namespace, name, milli_cpu).await?;
        }
    }
    sandbox.set_node_label(second, names::NRI_GROUP_LABEL, GROUP)?;
    say(
        "a seed, a shoot and 3 nodes run, all stand-ins, each with pods; controller, agents and gate are the real ones",
    );
    let (trees_before, before) = (trees(sandbox)?, placed(sandbox).await?);
    let containerd: Vec<u32> = sandbox.nodes().iter().map(|node| node.unit(CONTAINERD_UNIT).main_pid).collect();
    print_placement("before", &before);

    say(&format!(
        "\nthe Shoot's owner switches the extension on: balloons for all nodes, topology-aware for the group {GROUP} ({}). The policy \
         of all reserves CPU 6, and {} has four CPUs",
        second.name(),
        small.name()
    ));
    let mut table = Table::begin(film, "switched on, and the policy fails on one node");
    let report = table
        .until(sandbox, INTERVAL, async {
            sandbox.switch_on(Some(&config(None))).await?;
            let both = async { tokio::try_join!(sandbox.wait_policy(first), sandbox.wait_policy(second)) };
            let (_, report) = tokio::try_join!(both, sandbox.wait_rolled_back(small))?;
            Ok(report)
        })
        .await?;
    table.end();
    say(&format!("{}: {}", small.name(), report.message));
    say(&format!("the Extension says: {}", reported(sandbox).await?));
    containers(first)?.run("default", "new", 500).await?;
    let with = placed(sandbox).await?;
    print_placement("with the policies, and a new pod", &with);
    ensure_balloons(&with[first.name()], "6")?;
    let grouped = &with[second.name()];
    ensure!(grouped["kube-system/dns"].cpus == "0", "the group's system pod has {:?}", grouped["kube-system/dns"]);
    ensure!(!numbers(&grouped["default/web"].cpus)?.contains(&0), "the group's pod has {:?}", grouped["default/web"]);
    ensure!(with[small.name()] == before[small.name()], "containers of {} were moved", small.name());
    ensure!(containers(small)?.plugins().await.is_empty(), "a policy is registered on {}", small.name());

    say(&format!("\nthe owner gives {} a policy of its own, which reserves CPU 3", small.name()));
    let (agents, starts_before) = (sandbox.agent_pods(), (starts(first), starts(second)));
    let mut table = Table::begin(film, "a policy of its own for that node");
    let changed = config(Some((small.name(), balloons("3"))));
    table
        .until(sandbox, INTERVAL, async {
            sandbox.switch_on(Some(&changed)).await?;
            sandbox.wait_policy(small).await?;
            sandbox.wait_healthy().await
        })
        .await?;
    table.end();
    let recovered = placed(sandbox).await?;
    print_placement("with all policies", &recovered);
    ensure_balloons(&recovered[small.name()], "3")?;
    let now = sandbox.agent_pods();
    ensure!(now == agents, "a policy rolled out agents: {agents:?} became {now:?}");
    ensure!((starts(first), starts(second)) == starts_before, "a policy of another node's was restarted");
    say("the agents' pods are those of before, and no other node's policy was started anew");

    say("\nthe Shoot's owner switches the extension off");
    let mut table = Table::begin(film, "switched off");
    let off = table.until(sandbox, INTERVAL, sandbox.switch_off()).await?;
    table.end();
    containers(first)?.run("default", "never-placed", 500).await?;
    let after = placed(sandbox).await?;
    print_placement("after, and a pod that no policy has ever seen", &after);
    for (node, pods) in &before {
        for (pod, before) in pods {
            let now = &after[node][pod];
            ensure!(now == before, "{pod} of {node} has {now:?}, not {before:?}");
        }
    }
    let (new, never) = (&after[first.name()]["default/new"], &after[first.name()]["default/never-placed"]);
    ensure!(new == never, "a pod that was made under the policy has {new:?}, one that was not {never:?}");
    for ((node, before), now) in sandbox.nodes().iter().zip(&trees_before).zip(trees(sandbox)?) {
        let difference = tree::diff(before, &now);
        ensure!(difference.is_empty(), "{} is not as before:\n{}", node.name(), difference.join("\n"));
        ensure!(kubelet_restarts(node) == 0, "kubelet of {} was restarted", node.name());
    }
    let now: Vec<u32> = sandbox.nodes().iter().map(|node| node.unit(CONTAINERD_UNIT).main_pid).collect();
    ensure!(now == containerd, "containerd was restarted");
    wait_for("our Leases to be gone", PLACED, || async { Ok(leases(sandbox).is_empty().then_some(())) }).await?;
    say(&format!(
        "every file tree is as before, CPUs, memory nodes and shares are those of a pod that was never placed; kubelet and containerd \
         were restarted on no node\noff {:>5.1} s\nin all {:>5.1} s",
        off.as_secs_f64(),
        start.elapsed().as_secs_f64()
    ));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bound of what it may take; it is mostly spent waiting for proofs.
    const LIMIT: Duration = Duration::from_secs(180);

    /// With stand-ins whatever is built: the demo itself takes what there is.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_main_job_with_policies_holds_on_stand_ins() -> anyhow::Result<()> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let sandbox = up_with(&root, &Binaries::build(&root)?, &PolicyPrograms::default()).await?;
        let reported = tokio::time::timeout(LIMIT, show(&sandbox, &mut Film::default())).await;
        let outcome = reported.context("it takes too long").flatten().map_err(|error| error.context(sandbox.explain()));
        sandbox.down().await?;
        outcome
    }

    #[test]
    fn a_list_of_the_kernel_is_read() {
        assert_eq!(numbers("0-2,5").unwrap(), [0, 1, 2, 5]);
        assert_eq!(numbers("").unwrap(), [0; 0]);
        assert!(numbers("x").is_err());
    }
}
