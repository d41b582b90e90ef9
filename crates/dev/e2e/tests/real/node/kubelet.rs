//! A kubelet that others configure in their own way: what the running one does counts.

use anyhow::ensure;
use e2e::Endpoint;
use extension_config::desired_state::Phase;
use extension_config::names::node as host;
use testbed::wait_for;

use super::fixture::{NodeFixture, SOON};

const EXTRA_ARGS: &str = "/var/lib/kubelet/extra_args";
/// kubelet does not start with another policy than the one that stands here.
const CPU_MANAGER_STATE: &str = "/var/lib/kubelet/cpu_manager_state";
const DROP_IN_DIR: &str = "/etc/systemd/system/kubelet.service.d";

/// Gardener's place for flags of an operator: the unit names the variable only.
pub(super) async fn node_34_a_static_cpu_manager_in_the_extra_arguments(
    fixture: &mut NodeFixture<'_>,
) -> anyhow::Result<()> {
    fixture.be_clean().await?;
    let flags = "--cpu_manager_policy static --kube-reserved=cpu=100m";
    fixture.worker.write(EXTRA_ARGS, &format!("KUBELET_EXTRA_ARGS={flags}\n"), 0o644)?;
    fixture.shell(&format!("systemctl stop kubelet && rm -f {CPU_MANAGER_STATE}")).await?;
    fixture.restart_kubelet().await?;
    fixture.rebase()?;
    fixture.untouched("cpuManagerPolicy of kubelet is \"static\" (--cpu-manager-policy)").await?;
    fixture.stop_agent().await?;
    fixture.shell(&format!("systemctl stop kubelet && rm -f {CPU_MANAGER_STATE} {EXTRA_ARGS}")).await?;
    fixture.restart_kubelet().await?;
    fixture.rebase()
}

/// It is seen in what systemd has loaded, before kubelet is restarted.
pub(super) async fn node_35_a_later_drop_in_takes_the_override_back(
    fixture: &mut NodeFixture<'_>,
) -> anyhow::Result<()> {
    fixture.be_clean().await?;
    let before = fixture.facts().await?;
    fixture.worker.write("/etc/default/later", "KUBELET_EXTRA_ARGS=--v=3\n", 0o644)?;
    fixture.worker.write(&format!("{DROP_IN_DIR}/99-later.conf"), "", 0o644)?;
    fixture.rebase()?;
    for (line, reason) in [
        ("EnvironmentFile=-/etc/default/later", "/etc/default/later sets KUBELET_EXTRA_ARGS"),
        ("ExecStartPre=", "ExecStartPre does not run the gate"),
    ] {
        fixture.worker.write(&format!("{DROP_IN_DIR}/99-later.conf"), &format!("[Service]\n{line}\n"), 0o644)?;
        fixture.rebase()?;
        fixture.desire(Phase::Install, "").await?;
        fixture.start_agent().await?;
        fixture.until_it_says("RolledBack").await?;
        let (_, said) = fixture.says().await?;
        ensure!(said.contains(reason), "{said}");
        fixture.ensure_as_before(&[host::STATE_DIR, host::RUN_DIR])?;
        fixture.be_clean().await?;
        ensure!(fixture.facts().await?.kubelet_invocation == before.kubelet_invocation, "kubelet was restarted");
    }
    fixture.shell(&format!("rm -r {DROP_IN_DIR} /etc/default/later; systemctl daemon-reload")).await?;
    fixture.rebase()
}

/// Whatever the spelling: on a dead proxy kubelet would not start.
pub(super) async fn node_36_a_stale_endpoint_in_the_extra_arguments(
    fixture: &mut NodeFixture<'_>,
) -> anyhow::Result<()> {
    fixture.be_installed().await?;
    fixture.kill_agent().await?;
    fixture.shell(&format!("systemctl stop {} {}", host::GUARD_TIMER, host::DAEMON_UNIT)).await?;
    for stale in [
        "--container-runtime-endpoint /var/run/cri-resmgr/cri-resmgr.sock",
        "--container_runtime_endpoint=/run//cri-resmgr/cri-resmgr.sock",
    ] {
        fixture.worker.write(EXTRA_ARGS, &format!("KUBELET_EXTRA_ARGS=\"--v=3 {stale}\"\n"), 0o644)?;
        fixture.restart_kubelet().await?;
        wait_for("kubelet to run on containerd", SOON, || async {
            let facts = fixture.facts().await?;
            let runs = facts.endpoint == Endpoint::Containerd && facts.kubelet_state == "active";
            ensure!(runs && facts.kubelet_command_line.contains("--v=3"), "{}", facts.kubelet_command_line);
            Ok(Some(()))
        })
        .await?;
    }
    fixture.start_agent().await?;
    fixture.until_installed().await?;
    fixture.shell(&format!("rm {EXTRA_ARGS}")).await?;
    fixture.be_clean().await.map(drop)
}
