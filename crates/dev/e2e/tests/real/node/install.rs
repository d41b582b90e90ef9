//! Installed: what kubelet runs with, what others rewrite, what a new version and a removal do.

use anyhow::ensure;
use extension_config::desired_state::Phase;
use extension_config::names::node as host;
use testbed::wait_for;

use super::fixture::{NodeFixture, SOON, WORK};

const UNIT: &str = "etc/systemd/system/kubelet.service";
const EXTRA_ARGS: &str = "/var/lib/kubelet/extra_args";

pub(super) async fn node_01_the_last_endpoint_is_the_proxys(fixture: &mut NodeFixture<'_>) -> anyhow::Result<()> {
    let before = fixture.facts().await?;
    let starts = fixture.kubelet_starts().await?;
    let after = fixture.be_installed().await?;
    let expected = format!("{} {}", before.kubelet_command_line, host::KUBELET_ENDPOINT_ARGUMENT);
    ensure!(after.kubelet_command_line == expected, "{}", after.kubelet_command_line);
    ensure!(fixture.read(UNIT)? == fixture.unit(), "kubelet.service was changed");
    let restarts = fixture.kubelet_starts().await? - starts;
    ensure!(restarts == 1, "{restarts} restarts of kubelet for one switch");
    Ok(())
}

pub(super) async fn node_04_a_new_agent_restarts_nothing(fixture: &mut NodeFixture<'_>) -> anyhow::Result<()> {
    let before = fixture.be_installed().await?;
    for round in 0..10 {
        fixture.kill_agent().await?;
        fixture.start_agent().await?;
        let after = fixture.until_installed().await?;
        ensure!(after.kubelet_invocation == before.kubelet_invocation, "kubelet was restarted in round {round}");
        ensure!(after.daemon_pid == before.daemon_pid, "the daemon was restarted in round {round}");
    }
    Ok(())
}

/// The shape that a provider's webhook makes: a quoted argument, an `ExecStartPre=`, and flags behind the variable.
pub(super) async fn node_02_flags_after_the_variable(fixture: &mut NodeFixture<'_>) -> anyhow::Result<()> {
    fixture.be_clean().await?;
    let unit = fixture
        .unit()
        .replace(
            "--v=2 $KUBELET_EXTRA_ARGS",
            "--node-labels=\"example.org/quoted=yes\" $KUBELET_EXTRA_ARGS --max-pods=77",
        )
        .replace("ExecStart=", "ExecStartPre=/bin/sh -c 'exit 0'\nExecStart=");
    fixture.restart_with_unit(&unit).await?;
    let facts = fixture.be_installed().await?;
    let words: Vec<&str> = facts.kubelet_command_line.split(' ').collect();
    let tail = ["--node-labels=example.org/quoted=yes", host::KUBELET_ENDPOINT_ARGUMENT, "--max-pods=77"];
    ensure!(words.ends_with(&tail), "{}", facts.kubelet_command_line);
    ensure!(fixture.read(UNIT)? == unit, "kubelet.service was changed");
    fixture.restart_with_unit(fixture.unit()).await
}

pub(super) async fn node_03_arguments_of_others_are_merged(fixture: &mut NodeFixture<'_>) -> anyhow::Result<()> {
    fixture.be_installed().await?;
    for value in ["--fail-cgroupv1=false", "--fail-cgroupv1=false --v=3"] {
        fixture.worker.write(EXTRA_ARGS, &format!("KUBELET_EXTRA_ARGS={value}\n"), 0o644)?;
        fixture.restart_kubelet().await?;
        let facts = fixture.until_installed().await?;
        let tail = format!(" {value} {}", host::KUBELET_ENDPOINT_ARGUMENT);
        ensure!(facts.kubelet_command_line.ends_with(&tail), "{}", facts.kubelet_command_line);
    }
    fixture.shell(&format!("rm {EXTRA_ARGS}")).await?;
    fixture.restart_kubelet().await?;
    fixture.until_installed().await.map(drop)
}

/// Unit rewritten in place, the directory of its drop-ins deleted, enabled, reloaded, restarted.
pub(super) async fn node_05_rewritten_as_gardener_node_agent_does(fixture: &mut NodeFixture<'_>) -> anyhow::Result<()> {
    fixture.be_installed().await?;
    let starts = fixture.kubelet_starts().await?;
    fixture.write_unit(&fixture.unit().replace("--v=2", "--v=3"))?;
    let rewrite = "rm -rf /etc/systemd/system/kubelet.service.d; systemctl enable --force kubelet; systemctl daemon-reload; systemctl restart kubelet";
    fixture.shell(rewrite).await?;
    settles_with(fixture, "--v=3", starts).await?;
    fixture.restart_with_unit(fixture.unit()).await
}

/// The same, with containerd restarted at the same time.
pub(super) async fn node_06_rewritten_as_cloud_config_downloader_did(
    fixture: &mut NodeFixture<'_>,
) -> anyhow::Result<()> {
    fixture.be_installed().await?;
    let starts = fixture.kubelet_starts().await?;
    fixture.write_unit(&fixture.unit().replace("--v=2", "--v=4"))?;
    fixture.shell(
        "systemctl daemon-reload; systemctl enable kubelet containerd; systemctl restart --no-block kubelet containerd",
    )
    .await?;
    settles_with(fixture, "--v=4", starts).await?;
    fixture.restart_with_unit(fixture.unit()).await?;
    fixture.until_installed().await.map(drop)
}

/// On the proxy with the new flag, after the others' restart and at most one of ours.
async fn settles_with(fixture: &NodeFixture<'_>, flag: &str, starts: usize) -> anyhow::Result<()> {
    wait_for("kubelet to run on the proxy with the new flag", WORK, || async {
        let facts = fixture.until_installed().await?;
        ensure!(facts.kubelet_command_line.contains(flag), "{}", facts.kubelet_command_line);
        Ok(Some(()))
    })
    .await?;
    let restarts = fixture.kubelet_starts().await? - starts;
    ensure!((1..=2).contains(&restarts), "{restarts} restarts of kubelet");
    Ok(())
}

pub(super) async fn node_18_a_new_version_while_the_old_one_runs(fixture: &mut NodeFixture<'_>) -> anyhow::Result<()> {
    let before = fixture.be_installed().await?;
    fixture.newer_daemon().await?;
    fixture.kill_agent().await?;
    fixture.start_agent().await?;
    let equal = format!(
        "cmp -s /root/fixture/payload{0} {0} && cmp -s {0} /proc/$(systemctl show --value -p MainPID cri-resource-manager)/exe",
        host::DAEMON
    );
    wait_for("the new version to run", WORK, || async {
        Ok(fixture.worker.exec(&["/bin/sh", "-c", &equal]).await?.success.then_some(()))
    })
    .await?;
    let after = fixture.until_installed().await?;
    ensure!(after.daemon_pid != before.daemon_pid, "the daemon was not restarted");
    ensure!(after.kubelet_invocation == before.kubelet_invocation, "kubelet was restarted");
    Ok(())
}

/// Not re-executed: systemd of the bed's machines does not survive that (`docs/development.md`).
pub(super) async fn node_22_systemd_reloads(fixture: &mut NodeFixture<'_>) -> anyhow::Result<()> {
    let before = fixture.be_installed().await?;
    for _ in 0..3 {
        fixture.shell("systemctl daemon-reload; systemctl daemon-reload").await?;
        let after = fixture.until_installed().await?;
        ensure!(after.kubelet_invocation == before.kubelet_invocation, "kubelet was restarted");
        ensure!(after.daemon_pid == before.daemon_pid, "the daemon was restarted");
    }
    // The agent still sees what happens.
    fixture.shell(&format!("rm {}", host::FALLBACK_CONFIG)).await?;
    wait_for("the deleted file to be put back", SOON, || async {
        Ok(fixture.exists(host::FALLBACK_CONFIG)?.then_some(()))
    })
    .await?;
    let after = fixture.until_installed().await?;
    ensure!(after.kubelet_invocation == before.kubelet_invocation, "kubelet was restarted");
    Ok(())
}

/// A second `ExecStart=` makes kubelet's unit invalid: it runs on, and would never start again.
pub(super) async fn node_24_an_invalid_override_is_repaired(fixture: &mut NodeFixture<'_>) -> anyhow::Result<()> {
    let before = fixture.be_installed().await?;
    let corrupt =
        format!("printf '[Service]\\nExecStart=/bin/false\\n' >{}; systemctl daemon-reload", host::KUBELET_DROP_IN);
    fixture.shell(&corrupt).await?;
    let loaded = || async {
        let state = fixture.shell("systemctl show --value -p LoadState kubelet").await?;
        ensure!(state.trim() == "loaded", "kubelet.service is {state}");
        Ok(Some(()))
    };
    wait_for("the override to be repaired", SOON, loaded).await?;
    let after = fixture.until_installed().await?;
    ensure!(after.kubelet_invocation == before.kubelet_invocation, "kubelet was restarted");

    fixture.kill_agent().await?;
    fixture.shell(&corrupt).await?;
    fixture.shell("kill -9 $(systemctl show --value -p MainPID kubelet)").await?;
    wait_for("systemd to give kubelet up", SOON, || async {
        Ok((fixture.shell("systemctl show --value -p ActiveState kubelet").await?.trim() == "failed").then_some(()))
    })
    .await?;
    fixture.start_agent().await?;
    fixture.until_installed().await.map(drop)
}

pub(super) async fn node_25_removal_and_a_second_one(fixture: &mut NodeFixture<'_>) -> anyhow::Result<()> {
    fixture.be_installed().await?;
    let clean = fixture.be_clean().await?;
    let units = fixture.shell("systemctl list-units --all --no-legend --plain 'cri-resource-manager*'").await?;
    ensure!(units.trim().is_empty(), "{units}");
    let drop_ins = fixture.shell("systemctl show --value -p DropInPaths kubelet").await?;
    ensure!(!drop_ins.contains("cri-resmgr"), "{drop_ins}");
    let again = fixture.be_clean().await?;
    ensure!(again.kubelet_invocation == clean.kubelet_invocation, "the second removal restarted kubelet");
    Ok(())
}

pub(super) async fn node_07_the_drop_in_of_the_operating_system_stays(
    fixture: &mut NodeFixture<'_>,
) -> anyhow::Result<()> {
    fixture.be_clean().await?;
    let folder = "/etc/systemd/system/kubelet.service.d";
    let drop_in = "[Service]\nExecStartPre=/bin/sh -c 'echo started >>/root/os-drop-in'\n";
    fixture.worker.write(&format!("{folder}/10-configure-resolv-conf.conf"), drop_in, 0o644)?;
    fixture.restart_kubelet().await?;
    fixture.rebase()?;
    let runs = || async { Ok::<_, anyhow::Error>(fixture.read("/root/os-drop-in")?.lines().count()) };
    ensure!(runs().await? == 1, "the drop-in did not run");
    fixture.desire(Phase::Install, "").await?;
    fixture.be_installed().await?;
    ensure!(runs().await? == 2, "the drop-in did not run with ours");
    fixture.be_clean().await?;
    ensure!(runs().await? == 3, "the drop-in did not run after ours");
    fixture.shell(&format!("rm -r {folder} /root/os-drop-in")).await?;
    fixture.restart_kubelet().await?;
    fixture.rebase()
}
