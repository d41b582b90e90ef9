//! From one backend to the other: one restart of kubelet, two where it leads back, and no plan that leaves a node without either.

use extension_config::names::node;
use kubelet_config::Endpoint;
use proptest::prelude::*;

use super::model::{self, CUTS, Cut, NodeState, remove};
use super::plugin;
use crate::budget;
use crate::desired::{Desired, Handover};
use crate::entry::Entry;
use crate::hold::{Hold, PacedChange, SlotHold};
use crate::journal::{Applied, Change, FIRST_VERSION, HANDOVER_VERSION, Journal, PLUGIN_VERSION};
use crate::kind::Backend;
use crate::plan::Target;
use crate::refusal::Refusal;
use crate::slot::Slot;
use crate::step::{Action, Proof};

/// The desired installation, with leave to take over from the other backend.
pub(super) fn permitted(desired: Desired, unaccepted: &[&str]) -> Desired {
    let Desired::Installed(mut installation) = desired else { unreachable!() };
    let from = installation.backend.backend().other();
    let unaccepted = unaccepted.iter().map(|&one| one.to_owned()).collect();
    installation.handover = Some(Handover { from, unaccepted });
    Desired::Installed(installation)
}

/// The proxy with the policy `none`, or the plugin with the one of balloons.
fn alone(backend: Backend) -> Desired {
    match backend {
        Backend::Proxy => model::install("none", "v1"),
        Backend::Plugin => plugin::install("balloons", "v1"),
    }
}

pub(super) fn to(backend: Backend) -> Desired {
    permitted(alone(backend), &[])
}

pub(super) fn on(backend: Backend) -> NodeState {
    let mut model = NodeState::default();
    model.converge(&alone(backend)).unwrap();
    model.now += 1000;
    model
}

/// Nothing but this backend is on the node, and works.
#[track_caller]
fn assert_is_on(model: &NodeState, backend: Backend, what: &str) {
    assert_eq!(model.tree(), on(backend).tree(), "{what}");
    let is_proxy = backend == Backend::Proxy;
    assert_eq!(
        (model.daemon.active, model.timer.active, model.plugin.active),
        (is_proxy, is_proxy, !is_proxy),
        "{what}"
    );
    assert_eq!(model.endpoint, if is_proxy { Endpoint::Proxy } else { Endpoint::Containerd }, "{what}");
    assert_eq!(model.pinned, !is_proxy, "{what}");
    assert!(model.kubelet.active, "{what}");
    let version = if is_proxy { FIRST_VERSION } else { PLUGIN_VERSION };
    assert_eq!(model.journal.as_ref().map(Journal::version), Some(version), "{what}: {:?}", model.journal);
}

/// Notes a failed try, as the agent does.
fn note(model: &mut NodeState, desired: &Desired, failed: &Action) {
    let Desired::Installed(wanted) = desired else { unreachable!() };
    let backoff = budget::after_failure(None, &wanted.attempt(), format!("{failed}"), model.now, 0);
    model.record(&[Change::Failed(backoff)]);
}

/// Tries, fails at `proof`, and goes back; restarts of kubelet.
#[track_caller]
fn fails(model: &mut NodeState, desired: &Desired, proof: Proof) -> u32 {
    let before = model.kubelet.starts;
    assert_eq!(model.converge(desired), Err(proof.into()));
    note(model, desired, &proof.into());
    model.converge(desired).unwrap();
    let plan = model.plan(desired);
    assert!(plan.steps.is_empty() && plan.target == Target::Before, "{plan:?}");
    assert!(matches!(plan.holds[..], [Hold::RolledBackToPrevious(_)]), "{plan:?}");
    model.kubelet.starts - before
}

#[test]
fn a_node_goes_to_the_other_backend_and_back_with_one_restart_of_kubelet_each() {
    let mut model = on(Backend::Proxy);
    for backend in [Backend::Plugin, Backend::Proxy, Backend::Plugin] {
        let starts = model.plugin.starts;
        assert_eq!(model.converge(&to(backend)), Ok(1), "{backend:?}");
        assert_is_on(&model, backend, "moved");
        assert!(model.plan(&to(backend)).is_settled());
        // The permission may go when it was used, or stay.
        assert!(model.plan(&alone(backend)).is_settled());
        assert_eq!(model.plugin.starts - starts, u32::from(backend == Backend::Plugin));
        model.now += 1000;
    }
    assert_eq!(model.converge(&remove()), Ok(0));
    assert_eq!((model.tree(), model.journal, model.pinned), (NodeState::default().tree(), None, false));
}

/// Carries out `rounds` whole plans, and the next one up to the cut.
fn interrupt(model: &mut NodeState, desired: &Desired, rounds: usize, count: usize, cut: Cut) {
    for _ in 0..rounds {
        model.interrupt(desired, usize::MAX - 1, Cut::AfterStep);
    }
    model.interrupt(desired, count, cut);
}

#[test]
fn a_handover_interrupted_at_any_step_goes_on_or_back_or_is_removed() {
    for backend in Backend::ALL {
        let (start, desired) = (on(backend.other()), to(backend));
        let mut rounds = Vec::new();
        let mut straight = start.clone();
        while !straight.plan(&desired).steps.is_empty() {
            rounds.push(straight.plan(&desired).steps.len());
            straight.interrupt(&desired, usize::MAX - 1, Cut::AfterStep);
        }
        assert!(rounds.len() >= 2, "{rounds:?}");
        for (round, steps) in rounds.into_iter().enumerate() {
            for (number, cut) in (0..steps).flat_map(|number| CUTS.map(|cut| (number, cut))) {
                let what = format!("to {backend:?}, round {round} cut at step {number} {cut:?}");
                let cut_off = || {
                    let mut model = start.clone();
                    interrupt(&mut model, &desired, round, number, cut);
                    model
                };
                let mut model = cut_off();
                model.converge(&desired).unwrap();
                assert!(model.plan(&desired).is_settled(), "{what}: {:?}", model.plan(&desired));
                assert_is_on(&model, backend, &what);
                assert_eq!(model.kubelet.starts - start.kubelet.starts, 1, "{what}");

                // The owner takes it back in the middle.
                let mut model = cut_off();
                let back = to(backend.other());
                model.converge(&back).unwrap();
                assert!(model.plan(&back).is_settled(), "{what}, then back: {:?}", model.plan(&back));
                assert_is_on(&model, backend.other(), &format!("{what}, then back"));

                let mut model = cut_off();
                model.converge(&remove()).unwrap();
                assert!(model.plan(&remove()).is_settled(), "{what}, then removed");
                assert_eq!((model.tree(), model.pinned), (NodeState::default().tree(), false), "{what}, then removed");
                assert!(
                    model.journal.is_none() && !model.daemon.active && !model.plugin.active,
                    "{what}, then removed"
                );
                assert_eq!(model.endpoint, Endpoint::Containerd, "{what}, then removed");
            }
        }
    }
}

#[test]
fn a_journal_with_both_is_of_a_version_that_earlier_agents_do_not_read() {
    let mut model = on(Backend::Proxy);
    model.interrupt(&to(Backend::Plugin), usize::MAX - 1, Cut::AfterStep);
    let journal = model.journal.as_ref().unwrap();
    assert_eq!(journal.version(), HANDOVER_VERSION);
    assert_eq!(serde_json::from_str::<Journal>(&serde_json::to_string(journal).unwrap()).unwrap(), *journal);
}

#[test]
fn a_policy_that_does_not_register_leaves_the_proxy_as_it_was() {
    let mut model = NodeState { broken_plugin: "v1", ..on(Backend::Proxy) };
    let starts = model.daemon.starts;
    let proof = Proof::PluginRegistered { settle_seconds: 12 };
    assert_eq!(fails(&mut model, &to(Backend::Plugin), proof), 0);
    assert_is_on(&model, Backend::Proxy, "rolled back");
    // It may have placed containers: the proxy places them again.
    assert_eq!(model.daemon.starts, starts + 1);
    model.now += 1000;
    model.broken_plugin = "";
    assert_eq!(model.converge(&to(Backend::Plugin)), Ok(1));
    assert_is_on(&model, Backend::Plugin, "the next try");
}

#[test]
fn a_document_that_is_not_taken_costs_the_proxy_nothing() {
    let start = NodeState { bad_document: "balloons", ..on(Backend::Proxy) };
    let (mut model, desired) = (start.clone(), to(Backend::Plugin));
    let check = model.converge(&desired).unwrap_err();
    assert!(matches!(check, Action::Check(_)), "{check:?}");
    note(&mut model, &desired, &check);
    assert_eq!(model.converge(&desired), Ok(0));
    assert_is_on(&model, Backend::Proxy, "not taken");
    assert_eq!((model.plugin.starts, model.kubelet.starts), (0, start.kubelet.starts));
}

#[test]
fn containers_that_the_policy_does_not_place_lead_back_to_the_proxy() {
    let mut model = NodeState { missed: ["a"].into(), stays_missed: true, ..on(Backend::Proxy) };
    assert_eq!(fails(&mut model, &to(Backend::Plugin), Proof::PinsEffective), 0);
    assert_is_on(&model, Backend::Proxy, "rolled back");
}

#[test]
fn a_kubelet_that_does_not_run_on_containerd_goes_back_to_the_proxy() {
    let mut model = NodeState { kubelet_works_on_containerd: false, ..on(Backend::Proxy) };
    let proof = Proof::Kubelet { endpoint: Endpoint::Containerd };
    assert_eq!(fails(&mut model, &to(Backend::Plugin), proof), 2);
    assert_is_on(&model, Backend::Proxy, "rolled back");
}

#[test]
fn a_proxy_that_fails_leaves_the_policy_as_it_was() {
    let start = on(Backend::Plugin);
    let mut model = NodeState { broken_daemon: "v1", ..start.clone() };
    assert_eq!(fails(&mut model, &to(Backend::Proxy), Proof::DaemonAnswers), 0);
    assert_is_on(&model, Backend::Plugin, "no answer");
    let mut model = NodeState { kubelet_works_on_proxy: false, ..start.clone() };
    let proof = Proof::Kubelet { endpoint: Endpoint::Proxy };
    assert_eq!(fails(&mut model, &to(Backend::Proxy), proof), 2);
    assert_is_on(&model, Backend::Plugin, "kubelet does not stay up");
    assert_eq!(model.plugin.starts, start.plugin.starts);
}

/// Then nothing is left to go back to but the node as it was.
#[test]
fn what_was_proven_once_and_fails_as_well_leaves_a_clean_node() {
    let desired = to(Backend::Plugin);
    let mut model = NodeState { broken_plugin: "v1", ..on(Backend::Proxy) };
    let proof = Proof::PluginRegistered { settle_seconds: 12 };
    assert_eq!(model.converge(&desired), Err(proof.into()));
    note(&mut model, &desired, &proof.into());
    model.daemon_works = false;
    assert_eq!(model.converge(&desired), Err(Proof::DaemonAnswers.into()));
    model.record(&[Change::NothingProven]);
    model.converge(&desired).unwrap();
    let plan = model.plan(&desired);
    assert!(plan.steps.is_empty() && plan.target == Target::RolledBack, "{plan:?}");
    assert_eq!((model.tree(), model.endpoint), (NodeState::default().tree(), Endpoint::Containerd));
}

#[test]
fn a_handover_takes_a_slot_and_what_works_is_healed_meanwhile() {
    let desired = to(Backend::Plugin);
    let mut model = NodeState { slot: Slot::NotAsked, ..on(Backend::Proxy) };
    assert_eq!(model.converge(&desired), Ok(0));
    let plan = model.plan(&desired);
    assert_eq!(plan.holds, [Hold::Slot { change: PacedChange::Policy, by: SlotHold::NotAsked }]);
    assert!(plan.awaits_slot && model.plugin.starts == 0);
    model.daemon.active = false;
    model.entries.remove(node::ENVIRONMENT_FILE);
    assert_eq!(model.converge(&desired), Ok(0));
    assert!(model.daemon.active && model.entries.contains_key(node::ENVIRONMENT_FILE), "healed");
    assert_eq!(model.plan(&desired).holds, plan.holds);
    // The slot was lost when the policy had taken over: kubelet waits for it.
    model.slot = Slot::Held;
    model.interrupt(&desired, usize::MAX - 1, Cut::AfterStep);
    model.slot = Slot::NotAsked;
    assert_eq!(model.converge(&desired), Ok(0));
    let plan = model.plan(&desired);
    assert_eq!(plan.holds, [Hold::Slot { change: PacedChange::LeaveProxy, by: SlotHold::NotAsked }], "{plan:?}");
    assert!(plan.steps.is_empty() && plan.awaits_slot, "{plan:?}");
    model.slot = Slot::Held;
    assert_eq!(model.converge(&desired), Ok(1));
    assert_is_on(&model, Backend::Plugin, "with a slot");
}

#[test]
fn kubelet_leaves_the_proxy_within_the_budget_of_restarts() {
    use crate::restart::{Cause, Restart};
    let mut model = on(Backend::Proxy);
    for _ in 0..budget::FREE_RESTARTS {
        model.record(&[Change::KubeletRestarts(Restart { at: model.now, cause: Cause::Heal }), Change::KubeletProven]);
    }
    let desired = to(Backend::Plugin);
    assert_eq!(model.converge(&desired), Ok(0));
    let plan = model.plan(&desired);
    assert!(matches!(plan.holds[..], [Hold::RestartBudget { because: PacedChange::LeaveProxy, .. }]), "{plan:?}");
    model.now = plan.retry_at.unwrap();
    assert_eq!(model.converge(&desired), Ok(1));
    assert_is_on(&model, Backend::Plugin, "later");
}

#[test]
fn a_node_that_may_not_or_cannot_move_stays_and_is_healed() {
    let held = |hold: Hold| [hold];
    let other = |here: Backend| Hold::OtherBackend { here, wanted: here.other() };
    let lost = "Adjustment default/quiet (adjustment:default/quiet)";
    let off = Hold::from(Refusal::NriOff { version: "v2.3.7".into() });
    for (name, here, desired, hold) in [
        ("not permitted", Backend::Proxy, alone(Backend::Plugin), other(Backend::Proxy)),
        ("not permitted", Backend::Plugin, alone(Backend::Proxy), other(Backend::Plugin)),
        ("unaccepted", Backend::Proxy, permitted(alone(Backend::Plugin), &[lost]), Hold::Unaccepted(vec![lost.into()])),
        ("refused", Backend::Proxy, to(Backend::Plugin), off),
    ] {
        let mut model = on(here);
        model.nri.socket = here == Backend::Plugin;
        assert_eq!(model.converge(&desired), Ok(0), "{name}");
        assert_eq!(model.plan(&desired).holds, held(hold.clone()), "{name}");
        match here {
            Backend::Proxy => model.daemon.active = false,
            Backend::Plugin => model.plugin.active = false,
        }
        assert_eq!(model.converge(&desired), Ok(0), "{name}");
        let plan = model.plan(&desired);
        assert_eq!((plan.holds, plan.target), (vec![hold], Target::Installed), "{name}");
        assert_is_on(&model, here, name);
    }
}

/// A new agent may bring another unit for what is in use.
#[test]
fn what_goes_on_is_restarted_with_other_inputs_in_a_slot_only() {
    for (here, desired) in [(Backend::Proxy, alone(Backend::Plugin)), (Backend::Plugin, alone(Backend::Proxy))] {
        let mut model = NodeState { slot: Slot::NotAsked, ..on(here) };
        let starts = (model.daemon.starts, model.plugin.starts);
        let applied = Applied { inputs: "earlier".into(), ..model.journal.as_ref().unwrap().of(here).applied.unwrap() };
        model.record(&[Change::DaemonStarts(applied).of(here)]);
        assert_eq!(model.converge(&desired), Ok(0), "{here:?}");
        let plan = model.plan(&desired);
        assert!(plan.steps.is_empty() && plan.awaits_slot, "{plan:?}");
        assert!(matches!(plan.holds[..], [Hold::OtherBackend { .. }, Hold::Slot { .. }]), "{plan:?}");
        assert_eq!((model.daemon.starts, model.plugin.starts), starts);
        model.slot = Slot::Held;
        assert_eq!(model.converge(&desired), Ok(0), "{here:?}");
        assert_eq!(model.daemon.starts + model.plugin.starts, starts.0 + starts.1 + 1);
        assert_is_on(&model, here, "in a slot");
    }
}

/// Its files are put in place before it has its turn, which is nothing that would have to be finished.
#[test]
fn a_permission_that_is_taken_back_before_the_turn_holds() {
    let mut model = NodeState { slot: Slot::NotAsked, ..on(Backend::Proxy) };
    assert_eq!(model.converge(&to(Backend::Plugin)), Ok(0));
    model.slot = Slot::Held;
    let desired = alone(Backend::Plugin);
    assert_eq!(model.converge(&desired), Ok(0));
    let hold = Hold::OtherBackend { here: Backend::Proxy, wanted: Backend::Plugin };
    assert_eq!((model.plan(&desired).holds, model.plugin.starts), (vec![hold], 0));
    assert_eq!(model.converge(&to(Backend::Proxy)), Ok(0));
    assert_is_on(&model, Backend::Proxy, "taken back");
}

/// What comes up in the middle and forbids the policy leads back; what only hinders it waits.
#[test]
fn a_refusal_in_the_middle_leads_back_where_it_is_about_safety() {
    let desired = to(Backend::Plugin);
    let mut begun = on(Backend::Proxy);
    begun.interrupt(&desired, usize::MAX - 1, Cut::AfterStep);
    let mut other = begun.clone();
    other.entries.insert(node::FOREIGN_PLUGIN_RUN_DIR.into(), Entry::Directory { empty: false });
    assert_eq!(other.converge(&desired), Ok(0));
    other.entries.remove(node::FOREIGN_PLUGIN_RUN_DIR);
    assert_is_on(&other, Backend::Proxy, "another policy came");
    let mut off = NodeState { nri: crate::Nri::default(), ..begun };
    let tree = off.tree();
    assert_eq!((off.converge(&desired), off.tree()), (Ok(0), tree));
}

/// What happens to a node.
#[derive(Debug, Clone)]
enum Event {
    Delete(Backend, usize),
    Stop(Backend),
    LoseJournal,
    ForgetUnits,
    Cut { towards: Option<Backend>, round: usize, step: usize, cut: usize },
}

fn backend() -> impl Strategy<Value = Backend> {
    prop_oneof![Just(Backend::Proxy), Just(Backend::Plugin)]
}

fn event() -> impl Strategy<Value = Event> {
    let cut = (prop::option::of(backend()), 0..4_usize, 0..30_usize, 0..3_usize);
    prop_oneof![
        (backend(), any::<usize>()).prop_map(|(backend, number)| Event::Delete(backend, number)),
        backend().prop_map(Event::Stop),
        Just(Event::LoseJournal),
        Just(Event::ForgetUnits),
        cut.prop_map(|(towards, round, step, cut)| Event::Cut { towards, round, step, cut }),
    ]
}

fn happen(model: &mut NodeState, event: &Event) {
    match event {
        Event::Delete(backend, number) => {
            let files = backend.footprint().files;
            // Nothing distinguishes a program of ours without the journal from somebody else's once its unit is gone.
            if model.journal.is_some() {
                model.entries.remove(files[number % files.len()]);
            }
        }
        Event::Stop(Backend::Proxy) => model.daemon.active = false,
        Event::Stop(Backend::Plugin) => model.plugin.active = false,
        Event::LoseJournal => model.journal = None,
        Event::ForgetUnits => model.loaded.clear(),
        Event::Cut { towards, round, step, cut } => {
            let desired = towards.map_or_else(remove, to);
            interrupt(model, &desired, *round, *step, CUTS[*cut]);
        }
    }
    model.now += 1000;
}

/// An agent that began with the policy has made its directory and died, and the journal is lost.
#[test]
fn a_directory_of_the_other_backend_alone_holds_up_no_removal_and_goes_with_it() {
    for desired in [to(Backend::Proxy), alone(Backend::Proxy), remove()] {
        let mut model = on(Backend::Proxy);
        interrupt(&mut model, &to(Backend::Plugin), 0, 1, Cut::AfterStep);
        assert!(model.entries.contains_key(node::PLUGIN_CONFIG_DIR), "{:?}", model.tree());
        model.journal = None;
        let starts = model.kubelet.starts;
        model.converge(&desired).unwrap();
        if matches!(desired, Desired::Installed(_)) {
            assert_eq!(model.kubelet.starts, starts);
            model.converge(&remove()).unwrap();
        }
        assert!(model.plan(&remove()).is_settled());
        assert!(!model.entries.contains_key(node::PLUGIN_CONFIG_DIR), "{:?}", model.tree());
        // Without anything else of ours, too.
        let mut bare = NodeState::default();
        bare.entries.insert(node::PLUGIN_CONFIG_DIR.into(), Entry::Directory { empty: true });
        bare.converge(&remove()).unwrap();
        assert_eq!((bare.tree(), bare.journal), (NodeState::default().tree(), None));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_node_gets_to_any_backend_from_anywhere(
        start in backend(), events in prop::collection::vec(event(), 0..6), wanted in backend(),
    ) {
        let keeps_journal = !events.iter().any(|event| matches!(event, Event::LoseJournal));
        let mut model = on(start);
        for one in &events {
            happen(&mut model, one);
        }
        let moved = model.converge(&to(wanted));
        prop_assert!(moved.as_ref().is_ok_and(|restarts| *restarts <= 2), "{moved:?}");
        let plan = model.plan(&to(wanted));
        prop_assert!(plan.is_settled(), "{plan:?}");
        if keeps_journal {
            assert_is_on(&model, wanted, "random");
        }
        model.now += 1000;
        prop_assert!(model.converge(&remove()).is_ok());
        prop_assert!(model.plan(&remove()).is_settled());
        if keeps_journal {
            prop_assert_eq!(model.tree(), NodeState::default().tree());
        }
        prop_assert!(!model.pinned && model.endpoint == Endpoint::Containerd);
        prop_assert!(!model.daemon.active && !model.plugin.active && !model.timer.active);
    }
}
