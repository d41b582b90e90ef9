//! Nodes that are refused, or that have no room: nothing is half done, the reason is told, and what can heal heals.

use anyhow::ensure;
use extension_config::desired_state::Phase;
use extension_config::names::node as host;

use super::fixture::NodeFixture;

pub(super) async fn node_08_a_unit_without_the_variable(fixture: &mut NodeFixture<'_>) -> anyhow::Result<()> {
    fixture.restart_with_unit(&fixture.unit().replace(" $KUBELET_EXTRA_ARGS", "")).await?;
    fixture.rebase()?;
    fixture.untouched("$KUBELET_EXTRA_ARGS").await?;
    // The agent is still there, and takes the node when its unit can be overridden.
    fixture.restart_with_unit(fixture.unit()).await?;
    fixture.until_installed().await?;
    fixture.desire(Phase::Remove, "").await?;
    fixture.stop_agent().await?;
    // Compared with the node as it was at first.
    fixture.write_unit(&fixture.unit().replace(" $KUBELET_EXTRA_ARGS", ""))?;
    fixture.be_clean().await?;
    fixture.restart_with_unit(fixture.unit()).await?;
    fixture.rebase()
}

pub(super) async fn node_26_a_masked_unit(fixture: &mut NodeFixture<'_>) -> anyhow::Result<()> {
    fixture.be_clean().await?;
    fixture.shell("ln -s /dev/null /etc/systemd/system/cri-resource-manager.service; systemctl daemon-reload").await?;
    fixture.rebase()?;
    fixture.untouched("is masked").await?;
    fixture.stop_agent().await?;
    fixture.shell("rm /etc/systemd/system/cri-resource-manager.service; systemctl daemon-reload").await?;
    fixture.rebase()
}

pub(super) async fn node_16_no_space(fixture: &mut NodeFixture<'_>) -> anyhow::Result<()> {
    fixture.be_clean().await?;
    let before = fixture.facts().await?;
    // What the preflight cannot see: the folder itself is a small file system of its own.
    for (folder, file) in [("/opt/intel", host::DAEMON), (host::CONFIG_DIR, host::FALLBACK_CONFIG)] {
        fixture.shell(&format!("mkdir {folder} && mount -t tmpfs -o size=4k,mode=755 tmpfs {folder} && dd if=/dev/zero of={folder}/fill bs=4k count=1 2>/dev/null"))
            .await?;
        fixture.desire(Phase::Install, "").await?;
        fixture.start_agent().await?;
        fixture.until_it_says("No space left").await?;
        ensure!(!fixture.exists(file)?, "{file} is half written");
        ensure!(fixture.facts().await?.kubelet_invocation == before.kubelet_invocation, "kubelet was restarted");
        fixture.stop_agent().await?;
        fixture.shell(&format!("umount {folder} && rmdir {folder}")).await?;
        fixture.be_clean().await?;
    }
    // systemd refuses to reload with less than 16 MiB in /run.
    fixture.shell("free=$(df --output=avail -B1 /run | tail -1); fallocate -l $((free - 8388608)) /run/fill").await?;
    fixture.desire(Phase::Install, "").await?;
    fixture.start_agent().await?;
    fixture.until_it_says("/run has").await?;
    ensure!(fixture.facts().await?.kubelet_invocation == before.kubelet_invocation, "kubelet was restarted");
    fixture.shell("rm /run/fill").await?;
    fixture.until_installed().await?;
    fixture.be_clean().await.map(drop)
}

pub(super) async fn node_17_etc_is_read_only(fixture: &mut NodeFixture<'_>) -> anyhow::Result<()> {
    fixture.be_clean().await?;
    let freeze = "mount --bind /etc /etc && mount -o remount,ro,bind /etc";
    let before = fixture.facts().await?;
    fixture.shell(freeze).await?;
    fixture.desire(Phase::Install, "").await?;
    fixture.start_agent().await?;
    fixture.until_it_says("Read-only file system").await?;
    ensure!(fixture.facts().await?.kubelet_invocation == before.kubelet_invocation, "kubelet was restarted");
    fixture.shell("umount --lazy /etc").await?;
    let installed = fixture.until_installed().await?;

    fixture.shell(freeze).await?;
    fixture.desire(Phase::Remove, "").await?;
    fixture.until_it_says("Read-only file system").await?;
    let held = fixture.facts().await?;
    ensure!(held.kubelet_invocation == installed.kubelet_invocation, "kubelet was restarted");
    held.ensure_on_proxy(fixture.worker).await?;
    fixture.shell("umount --lazy /etc").await?;
    fixture.be_clean().await.map(drop)
}

pub(super) async fn node_27_a_linked_kubelet_service(fixture: &mut NodeFixture<'_>) -> anyhow::Result<()> {
    fixture.be_clean().await?;
    let unit = "/etc/systemd/system/kubelet.service";
    fixture.shell(&format!("mv {unit} /opt/kubelet.unit && ln -s /opt/kubelet.unit {unit}")).await?;
    fixture.restart_kubelet().await?;
    fixture.rebase()?;
    fixture.be_installed().await?;
    fixture.be_clean().await?;
    fixture.shell(&format!("rm {unit} && mv /opt/kubelet.unit {unit}")).await?;
    fixture.restart_kubelet().await?;
    fixture.rebase()
}

/// A socket that nobody listens on, the number of a process that is gone, and a cache of another policy.
pub(super) async fn node_19_and_20_stale_state_of_a_daemon(fixture: &mut NodeFixture<'_>) -> anyhow::Result<()> {
    fixture.be_clean().await?;
    let listen = "use Socket; socket(S, AF_UNIX, SOCK_STREAM, 0); bind(S, pack_sockaddr_un(shift)) or die";
    let cache_before = r#"{"Version":"1","Pods":{},"Containers":{},"NextID":1,"Cfg":{"NodeName":"","Data":{"policy":"Active: balloons\n"}},"PolicyName":"balloons","PolicyJSON":{}}"#;
    fixture
        .shell(&format!(
            "mkdir -m 711 {run}; perl -e '{listen}' {socket}; echo 999999 >{pid}; mkdir -m 710 {state}",
            run = host::DAEMON_RUN_DIR,
            socket = host::RELAY_SOCKET,
            pid = host::DAEMON_PID_FILE,
            state = host::DAEMON_STATE_DIR,
        ))
        .await?;
    fixture.worker.write(&format!("{}/cache", host::DAEMON_STATE_DIR), cache_before, 0o644)?;
    fixture.rebase()?;
    fixture.be_installed().await?;
    let cache: serde_json::Value = serde_json::from_str(&fixture.read(&format!("{}/cache", host::DAEMON_STATE_DIR))?)?;
    ensure!(cache["PolicyName"] == "none", "the policy is {}", cache["PolicyName"]);
    let aside = fixture.read(&format!("{}/cache", host::ASIDE_STATE_DIR))?;
    ensure!(aside == cache_before, "what was there before us is now {aside}");
    // Back as it was: it is not ours.
    fixture.be_clean().await?;
    let back = fixture.read(&format!("{}/cache", host::DAEMON_STATE_DIR))?;
    ensure!(back == cache_before && fixture.exists(host::RELAY_SOCKET)?, "what was there before us is {back}");
    fixture.shell(&format!("rm -r {} {}", host::DAEMON_RUN_DIR, host::DAEMON_STATE_DIR)).await?;
    fixture.rebase()
}
