//! Proofs: waiting for a condition with a deadline, and saying what was awaited when it did not come.

use std::time::Duration;

use extension_config::names::node;
use kubelet_config::{Endpoint, effective_endpoint, of_process};
use node_plan::{Proof, Unit, leftovers, leftovers_of, override_undone};
use observability::ErrorChain;

use crate::effects::{Effects, Result, Socket};
use crate::observe::{observe, steady_misses};
use crate::proof_failure::{DaemonFault, KubeletFault, PluginFault, ProofFailure, UnitState};

/// How long proofs take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timing {
    /// Between two checks.
    pub(crate) poll: Duration,
    /// The daemon waits for containerd itself, so it gets time.
    pub(crate) daemon_deadline: Duration,
    /// How long the daemon must live on after its first answer.
    pub(crate) daemon_settle: Duration,
    /// kubelet must run well within this time.
    pub(crate) kubelet_deadline: Duration,
    /// How long kubelet must live on unchanged when the Node's heartbeat is seen to be fresh.
    pub(crate) settle_with_heartbeat: Duration,
    /// The same when the API server cannot be asked: six times kubelet's `RestartSec`.
    pub(crate) settle_alone: Duration,
    /// How long a policy plugin may take to register.
    pub(crate) plugin_deadline: Duration,
    /// How long containers may take to be where the policy has them: containerd updates one after the other.
    pub(crate) pins_deadline: Duration,
}

impl Timing {
    /// What holds on real nodes.
    pub(crate) const REAL: Self = Self {
        poll: Duration::from_millis(500),
        daemon_deadline: Duration::from_secs(60),
        daemon_settle: Duration::from_secs(2),
        kubelet_deadline: Duration::from_secs(90),
        settle_with_heartbeat: Duration::from_secs(10),
        settle_alone: Duration::from_secs(30),
        plugin_deadline: Duration::from_secs(30),
        pins_deadline: Duration::from_secs(30),
    };
}

/// Waits for a condition; an error says what was missing.
pub(crate) async fn prove(effects: &mut impl Effects, timing: &Timing, proof: Proof) -> Result<()> {
    match proof {
        Proof::DaemonAnswers => daemon(effects, timing).await,
        Proof::Override { loaded } => override_loaded(effects, loaded).await,
        Proof::Kubelet { endpoint } => kubelet(effects, timing, endpoint).await,
        Proof::PluginRegistered { settle_seconds } => {
            plugin_registered(effects, timing, Duration::from_secs(settle_seconds)).await
        }
        Proof::PinsEffective => pins_effective(effects, timing).await,
        Proof::NothingLeftOf { backend } => nothing_left(leftovers_of(&observe(effects).await?, backend)),
        Proof::Clean => nothing_left(leftovers(&observe(effects).await?)),
    }
}

/// The plugin's pid file names its process, which lives on: containerd closes the connection of one that it drops, and that ends the process.
async fn plugin_registered(effects: &mut impl Effects, timing: &Timing, steady_for: Duration) -> Result<()> {
    let begin = effects.uptime();
    let deadline = timing.plugin_deadline + steady_for;
    let mut good: Option<(Duration, (u32, u32))> = None;
    let mut why;
    loop {
        let unit = effects.unit(node::PLUGIN_UNIT).await?.unit;
        let registered = effects.registration()?.is_some_and(|found| found.pid == unit.main_pid);
        if unit.main_pid != 0 && registered {
            let identity = (unit.main_pid, unit.n_restarts);
            let now = effects.uptime();
            let since = good.filter(|(_, same)| *same == identity).map_or(now, |(since, _)| since);
            if now.saturating_sub(since) >= steady_for {
                return Ok(());
            }
            good = Some((since, identity));
            why = PluginFault::NotStable;
        } else {
            good = None;
            why = if unit.main_pid == 0 { PluginFault::NoProcess } else { PluginFault::NotRegistered };
        }
        if effects.uptime().saturating_sub(begin) >= deadline {
            let (restarts, state) = (unit.n_restarts, state(unit));
            return Err(ProofFailure::Plugin { deadline, why, state, restarts }.into());
        }
        effects.pause(timing.poll).await?;
    }
}

/// Every container that runs is where the policy has it. A container that comes meanwhile is placed by its creation.
async fn pins_effective(effects: &mut impl Effects, timing: &Timing) -> Result<()> {
    let begin = effects.uptime();
    loop {
        let registered_at = effects.registration()?.map_or(0, |registration| registration.at);
        let misses = steady_misses(effects, registered_at).await?;
        if misses.is_none() {
            return Ok(());
        }
        if effects.uptime().saturating_sub(begin) >= timing.pins_deadline {
            return Err(ProofFailure::Pins(misses).into());
        }
        effects.pause(timing.poll).await?;
    }
}

/// The proxy answers `Version` and `Status`, and the daemon lives on for a while.
async fn daemon(effects: &mut impl Effects, timing: &Timing) -> Result<()> {
    let begin = effects.uptime();
    let mut good: Option<(Duration, (u32, u32))> = None;
    let mut why;
    loop {
        let unit = effects.unit(node::DAEMON_UNIT).await?.unit;
        if unit.is_failed() {
            return Err(ProofFailure::DaemonGivenUp.into());
        }
        let identity = (unit.main_pid, unit.n_restarts);
        match effects.answers(Socket::Proxy).await {
            Ok(()) if unit.main_pid != 0 => {
                let now = effects.uptime();
                let since = good.filter(|(_, same)| *same == identity).map_or(now, |(since, _)| since);
                if now.saturating_sub(since) >= timing.daemon_settle {
                    return Ok(());
                }
                good = Some((since, identity));
                why = DaemonFault::NotStable;
            }
            Ok(()) => {
                good = None;
                why = DaemonFault::NoProcess;
            }
            Err(error) => {
                good = None;
                why = DaemonFault::NoAnswer(ErrorChain(&error).to_string());
            }
        }
        // The probe takes its time, too: that of a proxy that hangs takes seconds.
        if effects.uptime().saturating_sub(begin) >= timing.daemon_deadline {
            let (restarts, state) = (unit.n_restarts, state(unit));
            return Err(ProofFailure::Daemon { deadline: timing.daemon_deadline, why, state, restarts }.into());
        }
        effects.pause(timing.poll).await?;
    }
}

/// kubelet runs on the endpoint and stays up; where the API server can be asked, the Node's heartbeat is newer than the beginning of the proof.
async fn kubelet(effects: &mut impl Effects, timing: &Timing, wanted: Endpoint) -> Result<()> {
    let (begin, asked) = (effects.uptime(), effects.now());
    let mut good: Option<(Duration, (u32, String, u32))> = None;
    let mut why;
    loop {
        let view = effects.unit(node::KUBELET_UNIT).await?;
        let unit = view.unit;
        let restarts = unit.n_restarts;
        let endpoint = view.command_line.as_deref().map(|line| effective_endpoint(&of_process(line)));
        if unit.is_failed() {
            return Err(ProofFailure::KubeletGivenUp.into());
        }
        if unit.is_active() && endpoint == Some(wanted) {
            let identity = (unit.main_pid, unit.invocation.clone(), unit.n_restarts);
            let now = effects.uptime();
            let since = match &good {
                Some((since, same)) if *same == identity => *since,
                _ => now,
            };
            let heartbeat = effects.heartbeat().await;
            let stable = now.saturating_sub(since);
            why = match heartbeat {
                Some(at) if at >= asked && stable >= timing.settle_with_heartbeat => return Ok(()),
                None if stable >= timing.settle_alone => return Ok(()),
                Some(at) if at < asked => KubeletFault::StaleHeartbeat,
                _ => KubeletFault::NotLongEnough,
            };
            good = Some((since, identity));
        } else {
            good = None;
            why = match endpoint {
                // Our override is gone by then: nothing but the host itself can lead it there.
                Some(Endpoint::Proxy) if wanted == Endpoint::Containerd => KubeletFault::OnProxyByItself,
                Some(other) if other != wanted => KubeletFault::OnEndpoint(other),
                _ => KubeletFault::NotRunning(state(unit)),
            };
        }
        if effects.uptime().saturating_sub(begin) >= timing.kubelet_deadline {
            let deadline = timing.kubelet_deadline;
            return Err(ProofFailure::Kubelet { endpoint: wanted, deadline, why, restarts }.into());
        }
        effects.pause(timing.poll).await?;
    }
}

fn state(unit: Unit) -> UnitState {
    UnitState { active: unit.active_state, sub: unit.sub_state }
}

/// systemd has loaded our override and no later drop-in takes it back, or has dropped it.
async fn override_loaded(effects: &mut impl Effects, wanted: bool) -> Result<()> {
    let view = effects.unit(node::KUBELET_UNIT).await?;
    let unit = &view.unit;
    if unit.load_state == "bad-setting" || unit.load_state == "error" {
        return Err(ProofFailure::KubeletUnitUnreadable { load_state: unit.load_state.clone() }.into());
    }
    if unit.drop_ins.contains(node::KUBELET_DROP_IN) != wanted {
        let failure = if wanted { ProofFailure::OverrideNotLoaded } else { ProofFailure::OverrideStillLoaded };
        return Err(failure.into());
    }
    if wanted {
        let undone = override_undone(&view.exec_start_pre, &view.environment_files, |path| effects.read_text(path))?;
        if let Some(undone) = undone {
            return Err(ProofFailure::from(undone).into());
        }
    }
    Ok(())
}

/// Nothing that we made is left.
fn nothing_left(left: Vec<String>) -> Result<()> {
    if left.is_empty() { Ok(()) } else { Err(ProofFailure::LeftBehind(left).into()) }
}
