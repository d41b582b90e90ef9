//! What an update in place does to a node: kubelet's program, its configuration, the operating system's `/etc`. Nobody takes the extension off
//! before, and its agent may be away meanwhile.

use anyhow::ensure;
use e2e::{Endpoint, Workload};
use extension_config::desired_state::Phase;
use extension_config::names::node as host;
use k8s_openapi::api::core::v1::Node;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use testbed::components::{Component, KUBELET, NEW_KUBELET};
use testbed::{Progress, wait_for};

use super::fixture::{NodeFixture, SOON, WORK};

const KUBELET_PROGRAM: &str = "/opt/bin/kubelet";
const KUBELET_CONFIG: &str = "/var/lib/kubelet/config/kubelet";
const CPU_MANAGER_STATE: &str = "/var/lib/kubelet/cpu_manager_state";
/// What machine-controller-manager puts on a Node while its machine is updated in place.
const SELECTED_FOR_UPDATE: &str = "node.machine.sapcloud.io/selected-for-update";

/// A kubelet that is three minors older than its control plane runs through the proxy, and becomes the newest one: others restart it once, we never.
/// Not for every change: it asks for both generations of kubelet.
pub(super) async fn node_38_kubelet_of_an_older_minor_is_replaced(fixture: &mut NodeFixture<'_>) -> anyhow::Result<()> {
    fixture.be_clean().await?;
    let root = crate::root();
    let (old, new) = (KUBELET.pinned_version(&root)?, NEW_KUBELET.pinned_version(&root)?);
    ensure!(fixture.unit().contains(&new[1..]), "the worker's kubelet is not {new}");
    install(fixture, KUBELET).await?;
    fixture.restart_with_unit(&fixture.unit().replace(&new[1..], &old[1..])).await?;
    until_kubelet_is(fixture, &old).await?;
    fixture.rebase()?;
    fixture.be_installed().await?;
    let pods = Workload::none(fixture.shoot());
    let pod = pods.start_pod("stays", fixture.worker.name()).await?;
    let starts = fixture.kubelet_starts().await?;

    select_for_update(fixture, json!("true")).await?;
    install(fixture, NEW_KUBELET).await?;
    fixture.restart_with_unit(fixture.unit()).await?;
    until_kubelet_is(fixture, &new).await?;
    fixture.until_installed().await?;
    select_for_update(fixture, Value::Null).await?;
    fixture.until_installed().await?;
    let more = fixture.kubelet_starts().await? - starts;
    ensure!(more == 1, "kubelet was started {more} times for an update that starts it once");
    let now = pods.container_of("stays").await?;
    ensure!(now == pod, "{pod:?} became {now:?}");
    pods.remove_pod("stays").await?;

    fixture.desire(Phase::Remove, "").await?;
    fixture.until_nothing_is_left().await?;
    fixture.stop_agent().await?;
    fixture.rebase()
}

/// kubelet that pins CPUs itself and the proxy do not go together: the node leaves the proxy and says why, and comes back when that is over.
pub(super) async fn node_39_a_static_cpu_manager_comes_while_the_proxy_runs(
    fixture: &mut NodeFixture<'_>,
) -> anyhow::Result<()> {
    fixture.be_installed().await?;
    let before = fixture.read(KUBELET_CONFIG)?;
    let after = before.replace("cpuManagerPolicy: none", "cpuManagerPolicy: static\nreservedSystemCPUs: \"0\"");
    ensure!(before != after, "kubelet's configuration has another shape");
    configure_kubelet(fixture, &after).await?;
    fixture.until_it_says("cpuManagerPolicy of kubelet is \"static\"").await?;
    wait_for("kubelet to run on containerd", WORK, || async {
        let facts = fixture.facts().await?;
        Ok((facts.endpoint == Endpoint::Containerd && facts.kubelet_state == "active").then_some(()))
    })
    .await?;
    configure_kubelet(fixture, &before).await?;
    fixture.until_installed().await?;
    fixture.be_clean().await.map(drop)
}

/// What Gardener keeps in `/etc` it writes again. What we keep there is gone with the boot: kubelet is on containerd then, whatever our journal says, and
/// an agent mends the node with one restart.
pub(super) async fn node_40_the_operating_systems_etc_is_replaced(fixture: &mut NodeFixture<'_>) -> anyhow::Result<()> {
    fixture.be_clean().await?;
    // What earlier cases have left in `/run` for us to keep goes with any boot.
    fixture.worker.reboot().await?;
    fixture.until_node_ready().await?;
    fixture.rebase()?;
    fixture.be_installed().await?;
    fixture.kill_agent().await?;
    let ours = [host::CONFIG_DIR, host::ENVIRONMENT_FILE, "/etc/systemd/system.control"].join(" ");
    fixture
        .shell(&format!("rm -rf {ours} {0}/cri-resource-manager* {0}/*.wants/cri-resource-manager*", host::UNIT_DIR))
        .await?;
    fixture.worker.reboot().await?;
    ensure!(
        fixture.until_a_runtime_answers().await? == Endpoint::Containerd,
        "nothing of ours is there that leads elsewhere"
    );
    ensure!(fixture.exists(host::JOURNAL)?, "the journal does not lie in /etc");
    fixture.until_node_ready().await?;
    let starts = fixture.kubelet_starts().await?;
    fixture.be_installed().await?;
    let more = fixture.kubelet_starts().await? - starts;
    ensure!(more == 1, "kubelet was started {more} times to be mended");
    fixture.be_clean().await.map(drop)
}

async fn install(fixture: &NodeFixture<'_>, kubelet: Component) -> anyhow::Result<()> {
    fixture.copy(&kubelet.obtain(&crate::root(), &Progress::default()).await?, KUBELET_PROGRAM)
}

async fn configure_kubelet(fixture: &NodeFixture<'_>, text: &str) -> anyhow::Result<()> {
    fixture.worker.write(KUBELET_CONFIG, text, 0o644)?;
    // kubelet does not start with another policy than the one that stands there.
    fixture.shell(&format!("systemctl stop kubelet && rm -f {CPU_MANAGER_STATE}")).await?;
    fixture.restart_kubelet().await
}

async fn until_kubelet_is(fixture: &NodeFixture<'_>, version: &str) -> anyhow::Result<()> {
    let nodes: Api<Node> = Api::all(fixture.shoot());
    wait_for(&format!("kubelet {version} to have told its version"), SOON, || async {
        let node = nodes.get(fixture.worker.name()).await?;
        let found = node.status.and_then(|status| status.node_info).map(|info| info.kubelet_version);
        ensure!(found.as_deref() == Some(version), "it is {found:?}");
        Ok(Some(()))
    })
    .await?;
    fixture.until_node_ready().await
}

async fn select_for_update(fixture: &NodeFixture<'_>, value: Value) -> anyhow::Result<()> {
    let label = json!({ "metadata": { "labels": { SELECTED_FOR_UPDATE: value } } });
    let nodes: Api<Node> = Api::all(fixture.shoot());
    nodes.patch(fixture.worker.name(), &PatchParams::default(), &Patch::Merge(label)).await?;
    Ok(())
}
