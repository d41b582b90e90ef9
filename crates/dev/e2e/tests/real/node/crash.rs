//! Killed, rebooted, without a bus, in company: the next look converges.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::ensure;
use extension_config::desired_state::Phase;
use extension_config::names::node as host;
use testbed::wait_for;

use super::lab::{Lab, SOON};

/// Every boundary between two steps is killed at in the agent's own tests; here it is systemd and the disk that are real.
const ROUNDS: u32 = 3;
/// An install or a removal takes longer than this.
const LONGEST_LIFE_MS: u128 = 9_000;

/// A moment of the clock decides when to kill: another one in each run.
async fn some_time() {
    #[expect(clippy::disallowed_methods, reason = "any number will do, as long as it is another one each time")]
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    let millis = (nanos / 1_000) % LONGEST_LIFE_MS;
    tokio::time::sleep(Duration::from_millis(u64::try_from(millis).unwrap_or(0))).await;
}

pub(super) async fn node_14_killed_at_any_time(lab: &mut Lab<'_>) -> anyhow::Result<()> {
    for _ in 0..ROUNDS {
        for phase in [Phase::Install, Phase::Remove] {
            lab.desire(phase, "").await?;
            for _ in 0..2 {
                lab.start_agent().await?;
                some_time().await;
                lab.kill_agent().await?;
            }
            match phase {
                Phase::Install => drop(lab.be_installed().await?),
                Phase::Remove => drop(lab.be_clean().await?),
            }
            lab.kill_agent().await?;
        }
    }
    Ok(())
}

pub(super) async fn node_15_rebooted_at_any_time(lab: &mut Lab<'_>) -> anyhow::Result<()> {
    for phase in [Phase::Install, Phase::Remove] {
        lab.desire(phase, "").await?;
        lab.start_agent().await?;
        some_time().await;
        lab.worker.reboot().await?;
        // With no agent: whatever was half done, kubelet has a runtime.
        lab.until_a_runtime_answers().await?;
        match phase {
            Phase::Install => drop(lab.be_installed().await?),
            Phase::Remove => drop(lab.be_clean().await?),
        }
        lab.kill_agent().await?;
    }
    Ok(())
}

pub(super) async fn node_21_the_bus_restarts(lab: &mut Lab<'_>) -> anyhow::Result<()> {
    lab.be_clean().await?;
    lab.desire(Phase::Install, "").await?;
    lab.start_agent().await?;
    until_overridden(lab).await?;
    lab.shell("systemctl restart dbus.service").await?;
    lab.until_installed().await?;
    // A new socket file, while the agent is idle.
    lab.shell("systemctl stop dbus.service; systemctl restart dbus.socket; systemctl start dbus.service").await?;
    lab.be_clean().await.map(drop)
}

pub(super) async fn node_23_others_restart_kubelet_too(lab: &mut Lab<'_>) -> anyhow::Result<()> {
    lab.be_clean().await?;
    lab.desire(Phase::Install, "").await?;
    lab.start_agent().await?;
    until_overridden(lab).await?;
    // Five at once with ours are more than systemd allows within ten seconds; what then stays down is brought back.
    for _ in 0..5 {
        lab.shell("systemctl restart kubelet; true").await?;
    }
    lab.until_installed().await?;
    lab.be_clean().await.map(drop)
}

async fn until_overridden(lab: &Lab<'_>) -> anyhow::Result<()> {
    wait_for("the override to be placed", SOON, || async { Ok(lab.exists(host::KUBELET_DROP_IN)?.then_some(())) }).await
}

pub(super) async fn node_29_two_agents_at_once(lab: &mut Lab<'_>) -> anyhow::Result<()> {
    lab.be_clean().await?;
    let starts = lab.kubelet_starts().await?;
    lab.desire(Phase::Install, "").await?;
    let (one, other) = tokio::join!(lab.start_agent(), lab.start_another("lab-agent-2", 8898));
    one?;
    other?;
    lab.until_installed().await?;
    let restarts = lab.kubelet_starts().await? - starts;
    ensure!(restarts == 1, "{restarts} restarts of kubelet for one switch");
    lab.shell("systemctl stop lab-agent-2").await?;
    lab.be_clean().await.map(drop)
}

/// Proxy and kubelet find the new containerd by themselves.
pub(super) async fn node_30_containerd_restarts(lab: &mut Lab<'_>) -> anyhow::Result<()> {
    lab.be_installed().await?;
    lab.kill_agent().await?;
    lab.shell("systemctl restart containerd").await?;
    lab.until_a_runtime_answers().await?;
    lab.until_node_ready().await?;
    lab.be_installed().await?;
    lab.be_clean().await.map(drop)
}
