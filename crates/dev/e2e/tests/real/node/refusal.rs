//! Nodes that are refused, or that have no room: nothing is half done, the reason is told, and what can heal heals.

use anyhow::ensure;
use extension_config::desired_state::Phase;
use extension_config::names::node as host;

use super::lab::Lab;

pub(super) async fn node_08_a_unit_without_the_variable(lab: &mut Lab<'_>) -> anyhow::Result<()> {
    lab.restart_with_unit(&lab.unit().replace(" $KUBELET_EXTRA_ARGS", "")).await?;
    lab.rebase()?;
    lab.untouched("$KUBELET_EXTRA_ARGS").await?;
    // The agent is still there, and takes the node when its unit can be overridden.
    lab.restart_with_unit(lab.unit()).await?;
    lab.until_installed().await?;
    lab.desire(Phase::Remove, "").await?;
    lab.stop_agent().await?;
    // Compared with the node as it was at first.
    lab.write_unit(&lab.unit().replace(" $KUBELET_EXTRA_ARGS", ""))?;
    lab.be_clean().await?;
    lab.restart_with_unit(lab.unit()).await?;
    lab.rebase()
}

pub(super) async fn node_26_a_masked_unit(lab: &mut Lab<'_>) -> anyhow::Result<()> {
    lab.be_clean().await?;
    lab.shell("ln -s /dev/null /etc/systemd/system/cri-resource-manager.service; systemctl daemon-reload").await?;
    lab.rebase()?;
    lab.untouched("is masked").await?;
    lab.stop_agent().await?;
    lab.shell("rm /etc/systemd/system/cri-resource-manager.service; systemctl daemon-reload").await?;
    lab.rebase()
}

pub(super) async fn node_16_no_space(lab: &mut Lab<'_>) -> anyhow::Result<()> {
    lab.be_clean().await?;
    let before = lab.facts().await?;
    // What the preflight cannot see: the folder itself is a small file system of its own.
    for (folder, file) in [("/opt/intel", host::DAEMON), (host::CONFIG_DIR, host::FALLBACK_CONFIG)] {
        lab.shell(&format!("mkdir {folder} && mount -t tmpfs -o size=4k,mode=755 tmpfs {folder} && dd if=/dev/zero of={folder}/fill bs=4k count=1 2>/dev/null"))
            .await?;
        lab.desire(Phase::Install, "").await?;
        lab.start_agent().await?;
        lab.until_it_says("No space left").await?;
        ensure!(!lab.exists(file)?, "{file} is half written");
        ensure!(lab.facts().await?.kubelet_invocation == before.kubelet_invocation, "kubelet was restarted");
        lab.stop_agent().await?;
        lab.shell(&format!("umount {folder} && rmdir {folder}")).await?;
        lab.be_clean().await?;
    }
    // systemd refuses to reload with less than 16 MiB in /run.
    lab.shell("free=$(df --output=avail -B1 /run | tail -1); fallocate -l $((free - 8388608)) /run/fill").await?;
    lab.desire(Phase::Install, "").await?;
    lab.start_agent().await?;
    lab.until_it_says("/run has").await?;
    ensure!(lab.facts().await?.kubelet_invocation == before.kubelet_invocation, "kubelet was restarted");
    lab.shell("rm /run/fill").await?;
    lab.until_installed().await?;
    lab.be_clean().await.map(drop)
}

pub(super) async fn node_17_etc_is_read_only(lab: &mut Lab<'_>) -> anyhow::Result<()> {
    lab.be_clean().await?;
    let freeze = "mount --bind /etc /etc && mount -o remount,ro,bind /etc";
    let before = lab.facts().await?;
    lab.shell(freeze).await?;
    lab.desire(Phase::Install, "").await?;
    lab.start_agent().await?;
    lab.until_it_says("Read-only file system").await?;
    ensure!(lab.facts().await?.kubelet_invocation == before.kubelet_invocation, "kubelet was restarted");
    lab.shell("umount --lazy /etc").await?;
    let installed = lab.until_installed().await?;

    lab.shell(freeze).await?;
    lab.desire(Phase::Remove, "").await?;
    lab.until_it_says("Read-only file system").await?;
    let held = lab.facts().await?;
    ensure!(held.kubelet_invocation == installed.kubelet_invocation, "kubelet was restarted");
    held.ensure_on_proxy(lab.worker).await?;
    lab.shell("umount --lazy /etc").await?;
    lab.be_clean().await.map(drop)
}

pub(super) async fn node_27_a_linked_kubelet_service(lab: &mut Lab<'_>) -> anyhow::Result<()> {
    lab.be_clean().await?;
    let unit = "/etc/systemd/system/kubelet.service";
    lab.shell(&format!("mv {unit} /opt/kubelet.unit && ln -s /opt/kubelet.unit {unit}")).await?;
    lab.restart_kubelet().await?;
    lab.rebase()?;
    lab.be_installed().await?;
    lab.be_clean().await?;
    lab.shell(&format!("rm {unit} && mv /opt/kubelet.unit {unit}")).await?;
    lab.restart_kubelet().await?;
    lab.rebase()
}

/// A socket that nobody listens on, the number of a process that is gone, and a cache of another policy.
pub(super) async fn node_19_and_20_stale_state_of_a_daemon(lab: &mut Lab<'_>) -> anyhow::Result<()> {
    lab.be_clean().await?;
    let listen = "use Socket; socket(S, AF_UNIX, SOCK_STREAM, 0); bind(S, pack_sockaddr_un(shift)) or die";
    let cache_before = r#"{"Version":"1","Pods":{},"Containers":{},"NextID":1,"Cfg":{"NodeName":"","Data":{"policy":"Active: balloons\n"}},"PolicyName":"balloons","PolicyJSON":{}}"#;
    lab.shell(&format!(
        "mkdir -m 711 {run}; perl -e '{listen}' {socket}; echo 999999 >{pid}; mkdir -m 710 {state}",
        run = host::DAEMON_RUN_DIR,
        socket = host::RELAY_SOCKET,
        pid = host::DAEMON_PID_FILE,
        state = host::DAEMON_STATE_DIR,
    ))
    .await?;
    lab.worker.write(&format!("{}/cache", host::DAEMON_STATE_DIR), cache_before, 0o644)?;
    lab.rebase()?;
    lab.be_installed().await?;
    let cache: serde_json::Value = serde_json::from_str(&lab.read(&format!("{}/cache", host::DAEMON_STATE_DIR))?)?;
    ensure!(cache["PolicyName"] == "none", "the policy is {}", cache["PolicyName"]);
    let aside = lab.read(&format!("{}/cache", host::ASIDE_STATE_DIR))?;
    ensure!(aside == cache_before, "what was there before us is now {aside}");
    // Back as it was: it is not ours.
    lab.be_clean().await?;
    let back = lab.read(&format!("{}/cache", host::DAEMON_STATE_DIR))?;
    ensure!(back == cache_before && lab.exists(host::RELAY_SOCKET)?, "what was there before us is {back}");
    lab.shell(&format!("rm -r {} {}", host::DAEMON_RUN_DIR, host::DAEMON_STATE_DIR)).await?;
    lab.rebase()
}
