//! The policy plugin's way onto a node and off it. kubelet is not restarted by any of it.

use extension_config::names::node;
use kubelet_config::Endpoint;
use nri_policy::Kind;
use proptest::prelude::*;

use super::model::{self, CUTS, NodeState, remove, restarts};
use crate::backend::{BackendSpec, PluginSpec};
use crate::budget;
use crate::desired::{Desired, Installation};
use crate::entry::Entry;
use crate::hold::{Hold, PacedChange, SlotHold};
use crate::journal::{Change, FIRST_VERSION, Journal, PLUGIN_VERSION, Phase};
use crate::kind::Backend;
use crate::plan::Target;
use crate::refusal::Refusal;
use crate::slot::Slot;
use crate::step::{Action, Check, Proof, Restarts, UnitAction};

/// A document is what the fake gets of it: a word for the policy.
pub(super) fn installation(policy: &str, version: &str) -> Installation {
    let kind = if policy == "topology-aware" { Kind::TopologyAwarePolicy } else { Kind::BalloonsPolicy };
    let backend = BackendSpec::Plugin(PluginSpec {
        kind,
        document: format!("{{\"policy\":\"{policy}\"}}\n"),
        binary: model::blob(version),
        binary_is_kept: false,
        request_timeout_seconds: 2,
    });
    Installation { backend, gate: model::blob("gate"), restart_request: None, handover: None }
}

pub(super) fn install(policy: &str, version: &str) -> Desired {
    Desired::Installed(Box::new(installation(policy, version)))
}

pub(super) fn installed(policy: &str) -> NodeState {
    let mut model = NodeState::default();
    assert_eq!(model.converge(&install(policy, "v1")), Ok(0));
    model
}

/// A try has failed: v2 does not register.
pub(super) fn failed(desired: &Desired, with: NodeState) -> NodeState {
    let broken_plugin = if with.broken_plugin.is_empty() { "v2" } else { with.broken_plugin };
    let mut model = NodeState { broken_plugin, now: with.now + 1000, ..with };
    let registered = Proof::PluginRegistered { settle_seconds: 12 };
    assert_eq!(model.converge(desired), Err(registered.into()));
    note_failure(&mut model, desired);
    model
}

fn note_failure(model: &mut NodeState, desired: &Desired) {
    let Desired::Installed(wanted) = desired else { unreachable!() };
    let backoff = budget::after_failure(None, &wanted.attempt(), "it crashed".into(), model.now, 0);
    model.journal.as_mut().unwrap().apply(&Change::Failed(backoff));
}

#[test]
fn install_and_remove_leave_the_tree_as_it_was_and_kubelet_alone() {
    let mut model = installed("balloons");
    let plan = model.plan(&install("balloons", "v1"));
    assert!(plan.is_settled() && plan.target == Target::Installed, "{plan:?}");
    assert!(model.plugin_registered() && model.pinned);
    assert_eq!(model.journal.as_ref().map(Journal::version), Some(PLUGIN_VERSION));
    assert_eq!(model.converge(&remove()), Ok(0));
    let plan = model.plan(&remove());
    assert!(plan.is_settled() && plan.target == Target::Clean, "{plan:?}");
    assert_eq!(model.tree(), NodeState::default().tree());
    assert_eq!((model.journal, model.loaded, model.pinned), (None, NodeState::default().loaded, false));
    assert_eq!((model.kubelet.starts, model.endpoint), (1, Endpoint::Containerd));
}

#[test]
fn what_changes_is_tried_out_first_and_what_heals_is_not() {
    let checks = |model: &NodeState, desired: &Desired| -> Vec<&'static str> {
        let steps = model.plan(desired).steps;
        steps
            .iter()
            .filter_map(|step| match step.action {
                Action::Check(Check::DryRun { program, .. }) => Some(program),
                _ => None,
            })
            .collect()
    };
    let model = installed("balloons");
    assert_eq!(checks(&NodeState::default(), &install("balloons", "v1")), [node::TRIED_PLUGIN]);
    assert_eq!(checks(&model, &install("other", "v1")), [node::PLUGIN]);
    assert_eq!(checks(&model, &install("balloons", "v2")), [node::TRIED_PLUGIN]);
    let mut dead = model.clone();
    dead.plugin.active = false;
    assert_eq!(restarts(&dead.plan(&install("balloons", "v1")), Restarts::Daemon), 1);
    assert_eq!(checks(&dead, &install("balloons", "v1")), Vec::<&str>::new());
}

#[test]
fn a_document_that_its_program_does_not_take_changes_nothing_that_runs() {
    let start = NodeState { bad_document: "bad", ..installed("balloons") };
    for version in ["v1", "v2"] {
        let desired = install("bad", version);
        let mut model = NodeState { now: start.now + 1000, ..start.clone() };
        let check = model.converge(&desired).unwrap_err();
        assert!(matches!(check, Action::Check(_)), "{check:?}");
        note_failure(&mut model, &desired);
        assert_eq!(model.converge(&desired), Ok(0));
        assert_eq!(model.plan(&desired).target, Target::Before);
        assert_eq!((model.tree(), model.plugin.starts), (start.tree(), start.plugin.starts), "{version}");
    }
    let mut fresh = NodeState { bad_document: "bad", ..NodeState::default() };
    let desired = install("bad", "v1");
    fresh.converge(&desired).unwrap_err();
    note_failure(&mut fresh, &desired);
    assert_eq!((fresh.converge(&desired), fresh.plugin.starts), (Ok(0), 0));
    assert_eq!(fresh.tree(), NodeState::default().tree());
    assert_eq!(fresh.journal.as_ref().map(Journal::version), Some(FIRST_VERSION), "nothing of it is left");
}

#[test]
fn execution_interrupted_at_any_step_converges_to_the_same_node() {
    let starts: [(&str, NodeState, Desired); 5] = [
        ("install", NodeState::default(), install("balloons", "v1")),
        ("upgrade", installed("balloons"), install("balloons", "v2")),
        ("policy", installed("balloons"), install("other", "v1")),
        ("other policy", installed("balloons"), install("topology-aware", "v2")),
        ("remove", installed("balloons"), remove()),
    ];
    for (name, start, desired) in starts {
        let mut straight = start.clone();
        assert_eq!(straight.converge(&desired), Ok(0), "{name}");
        for number in 0..start.plan(&desired).steps.len() {
            for cut in CUTS {
                let what = format!("{name} cut at step {number} {cut:?}");
                let mut model = start.clone();
                model.interrupt(&desired, number, cut);
                assert_eq!(model.converge(&desired), Ok(0), "{what}");
                assert!(model.plan(&desired).is_settled(), "{what}: {:?}", model.plan(&desired));
                assert_eq!(model.tree(), straight.tree(), "{what}");
                assert_eq!(model.pinned, straight.pinned, "{what}");
                assert!(model.plugin.starts <= start.plugin.starts + 1, "{what}: {} starts", model.plugin.starts);
                let mut model = start.clone();
                model.interrupt(&desired, number, cut);
                assert_eq!(model.converge(&remove()), Ok(0), "{what}, then removed");
                assert_eq!((model.tree(), model.pinned), (NodeState::default().tree(), false), "{what}, then removed");
                assert!(model.plan(&remove()).is_settled() && model.journal.is_none(), "{what}, then removed");
            }
        }
    }
}

#[test]
fn a_policy_starts_only_in_a_slot_and_what_heals_needs_none() {
    let without = |model| NodeState { slot: Slot::NotAsked, ..model };
    let held = [Hold::Slot { change: PacedChange::Policy, by: SlotHold::NotAsked }];
    let mut fresh = without(NodeState::default());
    let desired = install("balloons", "v1");
    assert_eq!(fresh.converge(&desired), Ok(0));
    let plan = fresh.plan(&desired);
    assert!(plan.steps.is_empty() && plan.awaits_slot && plan.holds == held, "{plan:?}");
    assert_eq!((fresh.plugin.starts, fresh.entry(node::PLUGIN)), (0, Entry::Absent));
    fresh.slot = Slot::Held;
    assert_eq!((fresh.converge(&desired), fresh.plugin.starts), (Ok(0), 1));

    let start = without(installed("balloons"));
    for desired in [install("other", "v1"), install("balloons", "v2")] {
        let mut model = start.clone();
        assert_eq!(model.converge(&desired), Ok(0));
        assert_eq!(model.plan(&desired).holds, held);
        assert_eq!((model.tree(), model.plugin.starts), (start.tree(), 1));
    }
    let mut dead = start.clone();
    dead.plugin.active = false;
    assert_eq!((dead.converge(&install("balloons", "v1")), dead.plugin.starts), (Ok(0), 2));
    let mut edited = start.clone();
    let other = Entry::File { sha256: "other".into(), mode: 0o644, own: true, marked: true };
    edited.entries.insert(node::PLUGIN_CONFIG.into(), other);
    assert_eq!((edited.converge(&install("balloons", "v1")), edited.tree()), (Ok(0), start.tree()));
    let mut leaving = start;
    assert_eq!((leaving.converge(&remove()), leaving.pinned), (Ok(0), false));
}

#[test]
fn containers_that_are_elsewhere_are_placed_again_three_times_in_ten_minutes_at_most() {
    let desired = install("balloons", "v1");
    let mut model = NodeState { missed: ["a"].into(), ..installed("balloons") };
    assert_eq!((model.converge(&desired), model.plugin.starts), (Ok(0), 2));
    assert!(model.plan(&desired).is_settled());
    for _ in 1..budget::FREE_HEALS {
        model.now += 60;
        model.missed = ["a"].into();
        assert_eq!(model.converge(&desired), Ok(0));
    }
    model.now += 60;
    model.missed = ["a"].into();
    let starts = model.plugin.starts;
    assert_eq!(model.converge(&desired), Err(Proof::PinsEffective.into()));
    assert_eq!(model.plugin.starts, starts);
    // Much later it is tried again.
    model.now += crate::restart::WINDOW_SECONDS;
    assert_eq!((model.converge(&desired), model.plugin.starts), (Ok(0), starts + 1));
}

#[test]
fn containers_that_no_start_places_make_it_fail() {
    let desired = install("balloons", "v1");
    let mut model = NodeState { missed: ["a"].into(), stays_missed: true, ..NodeState::default() };
    assert_eq!(model.converge(&desired), Err(Proof::PinsEffective.into()));
    note_failure(&mut model, &desired);
    assert_eq!((model.converge(&desired), model.pinned), (Ok(0), false));
    assert_eq!(model.tree(), NodeState::default().tree());
    assert_eq!(model.journal.as_ref().unwrap().phase, Phase::RolledBack);
}

#[test]
fn a_node_with_one_backend_is_not_moved_to_the_other() {
    let mut proxy = NodeState::default();
    proxy.converge(&model::install("none", "v1")).unwrap();
    let plugin = installed("balloons");
    for (model, desired, here, wanted) in [
        (&proxy, install("balloons", "v1"), Backend::Proxy, Backend::Plugin),
        (&plugin, model::install("none", "v1"), Backend::Plugin, Backend::Proxy),
        (&NodeState { journal: None, ..plugin.clone() }, model::install("none", "v1"), Backend::Plugin, Backend::Proxy),
    ] {
        let plan = model.plan(&desired);
        assert!(plan.steps.is_empty(), "{plan:?}");
        assert_eq!(plan.holds, [Hold::OtherBackend { here, wanted }]);
    }
    // By way of a removal it is.
    let mut moved = proxy.clone();
    moved.converge(&remove()).unwrap();
    assert_eq!(moved.converge(&install("balloons", "v1")), Ok(0));
    assert!(moved.pinned);
}

#[test]
fn a_refused_node_gets_no_step_and_a_hold_with_the_reason() {
    type Damage = fn(&mut NodeState);
    let other = |trace: &str| Refusal::OtherPolicy { trace: trace.into() };
    let cases: [(Refusal, Damage); 7] = [
        (Refusal::OldContainerd { version: "1.7.13".into(), oldest: "1.7.16".into() }, |model| {
            model.runtime.version = "1.7.13".into();
        }),
        (Refusal::NotContainerd { name: "cri-o".into(), version: "1.34.0".into() }, |model| {
            (model.runtime.name, model.runtime.version) = ("cri-o".into(), "1.34.0".into());
        }),
        (Refusal::NriOff { version: "v2.3.7".into() }, |model| model.nri.socket = false),
        (Refusal::Systemd { version: "246".into(), oldest: 247 }, |model| model.systemd = "246".into()),
        (other("/opt/nri/plugins/90-nri-resource-policy-balloons"), |model| {
            model.nri.prelaunched = ["10-logger", "90-nri-resource-policy-balloons"].map(str::to_owned).into();
        }),
        (other(node::PLUGIN_STATE_DIR), |model| {
            model.entries.insert(node::PLUGIN_STATE_DIR.into(), Entry::Directory { empty: false });
        }),
        (other(node::FOREIGN_PLUGIN_RUN_DIR), |model| {
            model.entries.insert(node::FOREIGN_PLUGIN_RUN_DIR.into(), Entry::Directory { empty: false });
        }),
    ];
    for (refusal, damage) in cases {
        let mut model = NodeState::default();
        damage(&mut model);
        let plan = model.plan(&install("balloons", "v1"));
        assert_eq!((plan.steps, plan.holds), (Vec::new(), vec![refusal.into()]));
    }
    let mut model = NodeState::default();
    model.configure_kubelet("cpuManagerPolicy: static\n");
    let holds = model.plan(&install("balloons", "v1")).holds;
    let [Hold::Refused(refusal @ Refusal::KubeletPins { .. })] = &holds[..] else { panic!("{holds:?}") };
    assert!(refusal.to_string().starts_with("cpuManagerPolicy of kubelet is \"static\" (/k)"), "{refusal}");
    // Nothing of kubelet's unit matters: it is not touched.
    model.configure_kubelet("cpuManagerPolicy: none\n");
    model.kubelet_command = "/opt/bin/kubelet --v=2".into();
    assert_eq!(model.converge(&install("balloons", "v1")), Ok(0));
}

#[derive(Debug, Clone)]
enum Damage {
    Delete(usize),
    Alter(usize),
    StopPlugin,
    Miss,
    LoseJournal,
    ForgetUnits,
    Interrupt { removing: bool, step: usize, cut: usize },
    Reboot,
}

fn damage() -> impl Strategy<Value = Damage> {
    let files = Backend::Plugin.footprint().files.len();
    prop_oneof![
        (0..files).prop_map(Damage::Delete),
        (0..files).prop_map(Damage::Alter),
        Just(Damage::StopPlugin),
        Just(Damage::Miss),
        Just(Damage::LoseJournal),
        Just(Damage::ForgetUnits),
        (any::<bool>(), 0..30_usize, 0..3_usize).prop_map(|(removing, step, cut)| Damage::Interrupt {
            removing,
            step,
            cut
        }),
        Just(Damage::Reboot),
    ]
}

fn corrupt(model: &mut NodeState, damage: &Damage) {
    let footprint = Backend::Plugin.footprint();
    match damage {
        Damage::Delete(number) => drop(model.entries.remove(footprint.files[*number])),
        Damage::Alter(number) => {
            if let Some(Entry::File { sha256, .. }) = model.entries.get_mut(footprint.files[*number]) {
                "other".clone_into(sha256);
            }
        }
        Damage::StopPlugin => model.plugin.active = false,
        Damage::Miss => drop(model.missed.insert("a")),
        Damage::LoseJournal => model.journal = None,
        Damage::ForgetUnits => model.loaded.clear(),
        Damage::Interrupt { removing, step, cut } => {
            let desired = if *removing { remove() } else { install("balloons", "v1") };
            model.interrupt(&desired, *step, CUTS[*cut]);
        }
        Damage::Reboot => {
            model.entries.retain(|path, _| !path.starts_with("/run/"));
            model.act(&UnitAction::Reload.into());
            model.plugin.active = false;
            if model.entries.contains_key(node::PLUGIN_UNIT_LINK) {
                model.act(&UnitAction::Start { unit: node::PLUGIN_UNIT.into() }.into());
            }
        }
    }
    model.now += 1000;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever happens to a node, with and without a slot: kubelet is never restarted, it gets where it shall, and is removed without a trace.
    #[test]
    fn any_damage_is_healed_and_removed_without_kubelet(all in prop::collection::vec(damage(), 1..6), slot: bool) {
        let mut model = installed("balloons");
        for one in &all {
            corrupt(&mut model, one);
        }
        if !slot {
            model.slot = Slot::NotAsked;
        }
        let desired = install("balloons", "v1");
        prop_assert_eq!(model.converge(&desired), Ok(0));
        let plan = model.plan(&desired);
        prop_assert!(plan.is_settled() || (!slot && plan.awaits_slot), "{plan:?}");
        prop_assert!(!plan.is_settled() || (model.plugin_registered() && model.pinned && model.missed.is_empty()));
        model.now += 1000;
        prop_assert_eq!(model.converge(&remove()), Ok(0));
        prop_assert!(model.plan(&remove()).is_settled());
        prop_assert_eq!(model.journal.clone(), None);
        let files: Vec<&String> =
            model.entries.iter().filter(|(_, entry)| !matches!(entry, Entry::Directory { .. })).map(|(path, _)| path).collect();
        prop_assert!(files.is_empty(), "{files:?}");
        prop_assert!(!model.plugin.active && !model.pinned);
        prop_assert_eq!(model.kubelet.starts, 1);
    }

    /// Over backend, what is remembered and where it was cut off: no plan of the plugin restarts kubelet, and none of the proxy touches the plugin.
    #[test]
    fn plans_keep_to_their_backend(proxy: bool, other: bool, removing: bool, step in 0..40_usize, cut in 0..3_usize, lost: bool) {
        let mut model = NodeState::default();
        let (own, next) = if proxy {
            (model::install("none", "v1"), model::install("balloons", "v2"))
        } else {
            (install("balloons", "v1"), install("other", "v2"))
        };
        model.converge(&own).unwrap();
        let desired = if removing { remove() } else { next };
        model.interrupt(&desired, step, CUTS[cut]);
        if lost {
            model.journal = None;
        }
        let wanted = match (other, proxy) {
            (false, _) => desired,
            (true, true) => install("balloons", "v1"),
            (true, false) => model::install("none", "v1"),
        };
        let units: Vec<String> = model
            .plan(&wanted)
            .steps
            .iter()
            .filter_map(|step| match &step.action {
                Action::Unit(UnitAction::Start { unit } | UnitAction::Restart { unit } | UnitAction::Stop { unit }) => Some(unit.clone()),
                Action::RestartKubelet { .. } => Some(node::KUBELET_UNIT.to_owned()),
                _ => None,
            })
            .collect();
        let is_gone = model.journal.is_none() && super::super::handover::present(&model.observe()).is_empty();
        if other && is_gone {
            // A node like any other.
        } else if !proxy {
            prop_assert!(units.iter().all(|unit| unit == node::PLUGIN_UNIT), "{units:?}");
            let mut model = model.clone();
            drop(model.converge(&wanted));
            prop_assert!(other || model.kubelet.starts == 1);
        } else {
            prop_assert!(units.iter().all(|unit| unit != node::PLUGIN_UNIT), "{units:?}");
        }
    }
}
