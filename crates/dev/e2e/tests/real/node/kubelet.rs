//! A kubelet that others configure in their own way: what the running one does counts.

use anyhow::ensure;
use e2e::Endpoint;
use extension_config::desired_state::Phase;
use extension_config::names::node as host;
use testbed::wait_for;

use super::lab::{Lab, SOON};

const EXTRA_ARGS: &str = "/var/lib/kubelet/extra_args";
/// kubelet does not start with another policy than the one that stands here.
const CPU_MANAGER_STATE: &str = "/var/lib/kubelet/cpu_manager_state";
const DROP_IN_DIR: &str = "/etc/systemd/system/kubelet.service.d";

/// Gardener's place for flags of an operator: the unit names the variable only.
pub(super) async fn node_34_a_static_cpu_manager_in_the_extra_arguments(lab: &mut Lab<'_>) -> anyhow::Result<()> {
    lab.be_clean().await?;
    let flags = "--cpu_manager_policy static --kube-reserved=cpu=100m";
    lab.worker.write(EXTRA_ARGS, &format!("KUBELET_EXTRA_ARGS={flags}\n"), 0o644)?;
    lab.shell(&format!("systemctl stop kubelet && rm -f {CPU_MANAGER_STATE}")).await?;
    lab.restart_kubelet().await?;
    lab.rebase()?;
    lab.untouched("cpuManagerPolicy of kubelet is \"static\" (--cpu-manager-policy)").await?;
    lab.stop_agent().await?;
    lab.shell(&format!("systemctl stop kubelet && rm -f {CPU_MANAGER_STATE} {EXTRA_ARGS}")).await?;
    lab.restart_kubelet().await?;
    lab.rebase()
}

/// It is seen in what systemd has loaded, before kubelet is restarted.
pub(super) async fn node_35_a_later_drop_in_takes_the_override_back(lab: &mut Lab<'_>) -> anyhow::Result<()> {
    lab.be_clean().await?;
    let before = lab.facts().await?;
    lab.worker.write("/etc/default/later", "KUBELET_EXTRA_ARGS=--v=3\n", 0o644)?;
    lab.worker.write(&format!("{DROP_IN_DIR}/99-later.conf"), "", 0o644)?;
    lab.rebase()?;
    for (line, reason) in [
        ("EnvironmentFile=-/etc/default/later", "/etc/default/later sets KUBELET_EXTRA_ARGS"),
        ("ExecStartPre=", "ExecStartPre does not run the gate"),
    ] {
        lab.worker.write(&format!("{DROP_IN_DIR}/99-later.conf"), &format!("[Service]\n{line}\n"), 0o644)?;
        lab.rebase()?;
        lab.desire(Phase::Install, "").await?;
        lab.start_agent().await?;
        lab.until_it_says("RolledBack").await?;
        let (_, said) = lab.says().await?;
        ensure!(said.contains(reason), "{said}");
        lab.ensure_as_before(&[host::STATE_DIR, host::RUN_DIR])?;
        lab.be_clean().await?;
        ensure!(lab.facts().await?.kubelet_invocation == before.kubelet_invocation, "kubelet was restarted");
    }
    lab.shell(&format!("rm -r {DROP_IN_DIR} /etc/default/later; systemctl daemon-reload")).await?;
    lab.rebase()
}

/// Whatever the spelling: on a dead proxy kubelet would not start.
pub(super) async fn node_36_a_stale_endpoint_in_the_extra_arguments(lab: &mut Lab<'_>) -> anyhow::Result<()> {
    lab.be_installed().await?;
    lab.kill_agent().await?;
    lab.shell(&format!("systemctl stop {} {}", host::GUARD_TIMER, host::DAEMON_UNIT)).await?;
    for stale in [
        "--container-runtime-endpoint /var/run/cri-resmgr/cri-resmgr.sock",
        "--container_runtime_endpoint=/run//cri-resmgr/cri-resmgr.sock",
    ] {
        lab.worker.write(EXTRA_ARGS, &format!("KUBELET_EXTRA_ARGS=\"--v=3 {stale}\"\n"), 0o644)?;
        lab.restart_kubelet().await?;
        wait_for("kubelet to run on containerd", SOON, || async {
            let facts = lab.facts().await?;
            let runs = facts.endpoint == Endpoint::Containerd && facts.kubelet_state == "active";
            ensure!(runs && facts.kubelet_command_line.contains("--v=3"), "{}", facts.kubelet_command_line);
            Ok(Some(()))
        })
        .await?;
    }
    lab.start_agent().await?;
    lab.until_installed().await?;
    lab.shell(&format!("rm {EXTRA_ARGS}")).await?;
    lab.be_clean().await.map(drop)
}
