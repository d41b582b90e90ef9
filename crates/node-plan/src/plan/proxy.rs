//! How kubelet is led onto the proxy, and back: an override of its unit, a restart, a proof.

use extension_config::names::node;
use kubelet_config::Endpoint;

use crate::budget;
use crate::hold::{Hold, KubeletOffProxy, PacedChange};
use crate::journal::{Change, Journal, Phase};
use crate::kind::Backend;
use crate::managed_file::FileRole;
use crate::observed::Observed;
use crate::plan::planner::Planner;
use crate::restart::{Cause, Restart};
use crate::step::{Action, FileAction, Proof, Step, UnitAction};

/// When the proxy has proven itself: kubelet onto it.
pub(super) fn after_start(planner: &mut Planner<'_>) {
    place_override(planner);
    switch_kubelet(planner);
}

fn place_override(planner: &mut Planner<'_>) {
    for path in planner.footprint.late_directories {
        planner.make_directory(path);
    }
    let file = planner.files.iter().find(|file| file.role == FileRole::Override).cloned();
    let written = file.is_some_and(|file| planner.place(&file));
    let broken = planner.observed.kubelet.unit.load_state != "loaded";
    if written || broken || !planner.observed.override_loaded() {
        planner.reload = true;
        planner.reload("systemd does not have the override loaded");
        prove_override(planner);
    }
}

/// Also before a restart long after it was placed: a drop-in that came later may have taken it back.
fn prove_override(planner: &mut Planner<'_>) {
    let proof = Action::from(Proof::Override { loaded: true });
    if !planner.steps.iter().any(|step| step.action == proof) {
        planner.steps.push(Step::new(proof, "kubelet must not restart without the override"));
    }
}

fn switch_kubelet(planner: &mut Planner<'_>) {
    let kubelet = &planner.observed.kubelet;
    let down = is_down_unintentionally(planner.observed, &planner.journal);
    let why = match kubelet.endpoint() {
        _ if down => Some(KubeletOffProxy::Down),
        Some(Endpoint::Containerd) => Some(KubeletOffProxy::OnContainerd),
        Some(Endpoint::Foreign) => Some(KubeletOffProxy::OnOtherSocket),
        Some(Endpoint::Proxy) | None => None,
    };
    if !kubelet.unit.is_up() && !down {
        planner.holds.push(Hold::KubeletStopped);
        return;
    }
    if let Some(why) = why {
        if let Some(at) = budget::next_switch(&planner.journal, planner.observed.now) {
            planner.retry_at = Some(at);
            let restarts = planner.journal.restarts.len();
            planner.holds.push(Hold::RestartBudget { because: PacedChange::Switch(why), restarts, next_at: at });
            return;
        }
        let healing = planner.journal.switched || down;
        let cause = if healing { Cause::Heal } else { Cause::Switch };
        if cause == Cause::Switch && !planner.may_begin(PacedChange::Switch(why)) {
            return;
        }
        prove_override(planner);
        planner.steps.push(
            Step::new(Action::RestartKubelet { cause }, why.as_str())
                .before(Change::KubeletRestarts(Restart { at: planner.observed.now, cause }))
                .before(Change::Phase(Phase::Installing)),
        );
        planner.journal.phase = Phase::Installing;
    }
    let unproven = planner.journal.kubelet_unproven || planner.journal.phase != Phase::Installed;
    if why.is_some() || unproven || !kubelet.unit.is_active() {
        planner.steps.push(
            Step::new(
                Proof::Kubelet { endpoint: Endpoint::Proxy },
                "the node is as desired only when kubelet runs well",
            )
            .after(Change::KubeletProven)
            .after(Change::Proven(planner.installation.backend.to_remember()))
            .after(Change::Phase(Phase::Installed)),
        );
    }
}

/// After a plugin that placed containers, too, has left and taken their pins with it: the proxy places them at its start.
pub(super) fn place_again(steps: &mut Vec<Step>) {
    let unit = node::DAEMON_UNIT.to_owned();
    steps.push(Step::new(UnitAction::Restart { unit }, "the policy that has left has taken all pins with it"));
    steps.push(Step::new(Proof::DaemonAnswers, "kubelet must not be left on a dead socket"));
}

/// Before the proxy is stopped: kubelet back to containerd. `cause`: of its restart.
pub(super) fn switch_to_containerd(observed: &Observed, journal: &Journal, cause: Cause, steps: &mut Vec<Step>) {
    let there = Backend::Proxy.footprint().is_ours(observed, node::KUBELET_DROP_IN);
    if there {
        steps.push(
            Step::new(FileAction::Remove { path: node::KUBELET_DROP_IN.into() }, "the override is there")
                .before(Change::ReloadPending(true)),
        );
    }
    if there || observed.override_loaded() || journal.reload_pending {
        steps.push(
            Step::new(UnitAction::Reload, "systemd may still have the override loaded")
                .after(Change::ReloadPending(false)),
        );
        steps.push(Step::new(Proof::Override { loaded: false }, "the override must be gone before kubelet restarts"));
    }
    let kubelet = &observed.kubelet;
    let on_proxy = kubelet.endpoint() == Some(Endpoint::Proxy);
    let down = is_down_unintentionally(observed, journal);
    if on_proxy || down {
        let cause = if on_proxy { cause } else { Cause::Heal };
        let evidence = if on_proxy { "kubelet runs on the proxy" } else { KubeletOffProxy::Down.as_str() };
        steps.push(
            Step::new(Action::RestartKubelet { cause }, evidence)
                .before(Change::KubeletRestarts(Restart { at: observed.now, cause })),
        );
    }
    if on_proxy || down || journal.kubelet_unproven {
        steps.push(
            Step::new(
                Proof::Kubelet { endpoint: Endpoint::Containerd },
                "kubelet must run well before the proxy stops",
            )
            .after(Change::KubeletProven),
        );
    }
}

/// kubelet has failed, or is down in the middle of a restart of ours (whose first half resets the failed state). A kubelet that somebody
/// stopped is left alone.
fn is_down_unintentionally(observed: &Observed, journal: &Journal) -> bool {
    let unit = &observed.kubelet.unit;
    unit.is_failed() || (journal.kubelet_unproven && !unit.is_up())
}
