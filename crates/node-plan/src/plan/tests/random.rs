//! Random damage, random interruptions: the node still gets where it shall.

use extension_config::names::node;
use kubelet_config::Endpoint;
use proptest::prelude::*;

use super::model::{CUTS, NodeState, install, remove};
use crate::entry::Entry;
use crate::kind::Backend;

fn footprint() -> &'static crate::Footprint {
    Backend::Proxy.footprint()
}

#[derive(Debug, Clone)]
pub(super) enum Damage {
    Delete(usize),
    Alter(usize),
    StopDaemon,
    StopTimer,
    FailKubelet,
    MoveKubelet,
    LoseJournal,
    ForgetUnits,
    Interrupt { removing: bool, step: usize, cut: usize },
    Reboot,
}

pub(super) fn damage() -> impl Strategy<Value = Damage> {
    let paths = footprint().files.len() + footprint().links.len();
    prop_oneof![
        (0..paths).prop_map(Damage::Delete),
        (0..footprint().files.len()).prop_map(Damage::Alter),
        Just(Damage::StopDaemon),
        Just(Damage::StopTimer),
        Just(Damage::FailKubelet),
        Just(Damage::MoveKubelet),
        Just(Damage::LoseJournal),
        Just(Damage::ForgetUnits),
        (any::<bool>(), 0..40_usize, 0..3_usize).prop_map(|(removing, step, cut)| Damage::Interrupt {
            removing,
            step,
            cut
        }),
        Just(Damage::Reboot),
    ]
}

fn path(number: usize) -> &'static str {
    let links = footprint().links;
    footprint().files.get(number).copied().unwrap_or_else(|| links[number % links.len()].0)
}

pub(super) fn corrupt(model: &mut NodeState, damage: &Damage) {
    match damage {
        Damage::Delete(number) => {
            model.entries.remove(path(*number));
        }
        // Without the journal an altered file is a foreign one, and rightly refused.
        Damage::Alter(number) if model.journal.is_some() => {
            if let Some(Entry::File { sha256, .. }) = model.entries.get_mut(path(*number)) {
                "other".clone_into(sha256);
            }
        }
        Damage::Alter(_) => {}
        Damage::StopDaemon => model.daemon.active = false,
        Damage::StopTimer => model.timer.active = false,
        Damage::FailKubelet => {
            model.kubelet.active = false;
            model.kubelet.failed = true;
        }
        Damage::MoveKubelet => model.endpoint = Endpoint::Containerd,
        Damage::LoseJournal => model.journal = None,
        Damage::ForgetUnits => model.loaded.clear(),
        Damage::Interrupt { removing, step, cut } => {
            let desired = if *removing { remove() } else { install("none", "v1") };
            model.interrupt(&desired, *step, CUTS[*cut]);
        }
        Damage::Reboot => reboot(model),
    }
    // Far apart, so that the budget of restarts does not hide what is tested here.
    model.now += 1000;
}

fn reboot(model: &mut NodeState) {
    model.entries.retain(|path, _| !path.starts_with("/run/"));
    model.act(&crate::UnitAction::Reload.into());
    model.daemon.active = false;
    model.timer.active = false;
    for &(link, file) in footprint().links {
        if model.entries.contains_key(link) && model.entries.contains_key(file) {
            let unit = file.rsplit('/').next().unwrap();
            model.act(&crate::UnitAction::Start { unit: unit.into() }.into());
        }
    }
    model.act(&crate::Action::RestartKubelet { cause: crate::Cause::Heal });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn random_damage_of_an_installed_node_is_healed(all in prop::collection::vec(damage(), 1..6)) {
        let mut model = NodeState::default();
        model.converge(&install("none", "v1")).unwrap();
        for one in &all {
            corrupt(&mut model, one);
        }
        model.now += 1000;
        // A binary whose journal was lost has no marker: it stays ours only when it is the wanted one, which altering prevents.
        let foreign = matches!(model.entries.get(node::DAEMON), Some(Entry::File { sha256, .. }) if sha256 == "other");
        prop_assume!(!foreign || model.journal.as_ref().is_some_and(|journal| journal.made.files.contains(node::DAEMON)));
        let desired = install("none", "v1");
        let restarts = model.converge(&desired);
        prop_assert!(restarts.as_ref().is_ok_and(|restarts| *restarts <= 1), "{restarts:?}");
        let plan = model.plan(&desired);
        prop_assert!(plan.is_settled(), "{plan:?}");
        prop_assert_eq!(model.endpoint, Endpoint::Proxy);
        // And then removed: nothing of ours is left, whatever was lost; directories can be distinguished from others' only by the journal.
        model.now += 1000;
        prop_assert!(model.converge(&remove()).is_ok());
        prop_assert!(model.plan(&remove()).is_settled());
        let files: Vec<&String> =
            model.entries.iter().filter(|(_, entry)| !matches!(entry, Entry::Directory { .. })).map(|(path, _)| path).collect();
        prop_assert!(files.is_empty(), "{files:?}");
        prop_assert_eq!(model.endpoint, Endpoint::Containerd);
        prop_assert!(!model.daemon.active && !model.timer.active);
    }

    #[test]
    fn a_randomly_damaged_node_can_be_made_clean(all in prop::collection::vec(damage(), 1..6)) {
        let mut model = NodeState::default();
        model.converge(&install("none", "v1")).unwrap();
        let keeps_journal = !all.iter().any(|one| matches!(one, Damage::LoseJournal));
        for one in &all {
            corrupt(&mut model, one);
        }
        let removed = model.converge(&remove());
        prop_assert!(removed.is_ok(), "{removed:?}");
        prop_assert!(model.plan(&remove()).is_settled());
        if keeps_journal {
            prop_assert_eq!(model.tree(), NodeState::default().tree());
        }
    }
}
