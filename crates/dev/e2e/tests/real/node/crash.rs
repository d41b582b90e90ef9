//! Killed, rebooted, without a bus, in company: the next look converges.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::ensure;
use extension_config::desired_state::Phase;
use extension_config::names::node as host;
use testbed::wait_for;

use super::fixture::{NodeFixture, SOON};

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

pub(super) async fn node_14_killed_at_any_time(fixture: &mut NodeFixture<'_>) -> anyhow::Result<()> {
    for _ in 0..ROUNDS {
        for phase in [Phase::Install, Phase::Remove] {
            fixture.desire(phase, "").await?;
            for _ in 0..2 {
                fixture.start_agent().await?;
                some_time().await;
                fixture.kill_agent().await?;
            }
            match phase {
                Phase::Install => drop(fixture.be_installed().await?),
                Phase::Remove => drop(fixture.be_clean().await?),
            }
            fixture.kill_agent().await?;
        }
    }
    Ok(())
}

pub(super) async fn node_15_rebooted_at_any_time(fixture: &mut NodeFixture<'_>) -> anyhow::Result<()> {
    for phase in [Phase::Install, Phase::Remove] {
        fixture.desire(phase, "").await?;
        fixture.start_agent().await?;
        some_time().await;
        fixture.worker.reboot().await?;
        // With no agent: whatever was half done, kubelet has a runtime.
        fixture.until_a_runtime_answers().await?;
        match phase {
            Phase::Install => drop(fixture.be_installed().await?),
            Phase::Remove => drop(fixture.be_clean().await?),
        }
        fixture.kill_agent().await?;
    }
    Ok(())
}

pub(super) async fn node_21_the_bus_restarts(fixture: &mut NodeFixture<'_>) -> anyhow::Result<()> {
    fixture.be_clean().await?;
    fixture.desire(Phase::Install, "").await?;
    fixture.start_agent().await?;
    until_overridden(fixture).await?;
    fixture.shell("systemctl restart dbus.service").await?;
    fixture.until_installed().await?;
    // A new socket file, while the agent is idle.
    fixture.shell("systemctl stop dbus.service; systemctl restart dbus.socket; systemctl start dbus.service").await?;
    fixture.be_clean().await.map(drop)
}

pub(super) async fn node_23_others_restart_kubelet_too(fixture: &mut NodeFixture<'_>) -> anyhow::Result<()> {
    fixture.be_clean().await?;
    fixture.desire(Phase::Install, "").await?;
    fixture.start_agent().await?;
    until_overridden(fixture).await?;
    // Five at once with ours are more than systemd allows within ten seconds; what then stays down is brought back.
    for _ in 0..5 {
        fixture.shell("systemctl restart kubelet; true").await?;
    }
    fixture.until_installed().await?;
    fixture.be_clean().await.map(drop)
}

async fn until_overridden(fixture: &NodeFixture<'_>) -> anyhow::Result<()> {
    wait_for("the override to be placed", SOON, || async { Ok(fixture.exists(host::KUBELET_DROP_IN)?.then_some(())) })
        .await
}

pub(super) async fn node_29_two_agents_at_once(fixture: &mut NodeFixture<'_>) -> anyhow::Result<()> {
    fixture.be_clean().await?;
    let starts = fixture.kubelet_starts().await?;
    fixture.desire(Phase::Install, "").await?;
    let (one, other) = tokio::join!(fixture.start_agent(), fixture.start_another("fixture-agent-2", 8898));
    one?;
    other?;
    fixture.until_installed().await?;
    let restarts = fixture.kubelet_starts().await? - starts;
    ensure!(restarts == 1, "{restarts} restarts of kubelet for one switch");
    fixture.shell("systemctl stop fixture-agent-2").await?;
    fixture.be_clean().await.map(drop)
}

/// Proxy and kubelet find the new containerd by themselves.
pub(super) async fn node_30_containerd_restarts(fixture: &mut NodeFixture<'_>) -> anyhow::Result<()> {
    fixture.be_installed().await?;
    fixture.kill_agent().await?;
    fixture.shell("systemctl restart containerd").await?;
    fixture.until_a_runtime_answers().await?;
    fixture.until_node_ready().await?;
    fixture.be_installed().await?;
    fixture.be_clean().await.map(drop)
}
