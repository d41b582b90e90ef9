//! What stands at the daemon's places before us is not ours: it waits under another name and comes back.

use std::collections::BTreeMap;

use extension_config::names::node;
use kubelet_config::Endpoint;

use super::model::{self, CUTS, NodeState, install, remove};
use super::random::{Damage, corrupt};
use crate::entry::Entry;
use crate::journal::{Change, Made};
use crate::plan::Target;
use crate::refusal::Refusal;
use crate::restart::Cause;
use crate::step::{Action, FileAction, JournalAction, Proof};
use crate::{budget, plan};

/// The Go original's state, which a node of a former user has.
fn former() -> NodeState {
    let mut model = NodeState::default();
    let file = |content: &str| Entry::File { sha256: content.into(), mode: 0o600, own: true, marked: false };
    for directory in [node::DAEMON_STATE_DIR, "/var/lib/cri-resmgr/containers", node::DAEMON_RUN_DIR] {
        model.entries.insert(directory.into(), Entry::Directory { empty: true });
    }
    for (path, content) in [
        ("/var/lib/cri-resmgr/cache", "their cache"),
        ("/run/cri-resmgr/cri-resmgr.sock", "their socket"),
        (node::DAEMON_PID_FILE, "their pid"),
    ] {
        model.entries.insert(path.into(), file(content));
    }
    model
}

fn below<'a>(tree: &'a BTreeMap<String, Entry>, place: &'a str) -> Vec<(String, &'a Entry)> {
    let inside = |path: &String| path == place || path.starts_with(&format!("{place}/"));
    tree.iter().filter(|(path, _)| inside(path)).map(|(path, entry)| (path[place.len()..].to_owned(), entry)).collect()
}

/// Every entry of theirs stands in one of the two places, whole, and nowhere else.
fn assert_kept(model: &NodeState, what: &str) {
    let theirs = former().tree();
    for &(path, aside) in crate::Backend::Proxy.footprint().own_trees {
        let wanted = below(&theirs, path);
        let tree = model.tree();
        assert!(below(&tree, aside) == wanted || below(&tree, path) == wanted, "{path}, {what}: {tree:?}");
    }
}

#[test]
fn state_of_others_is_moved_aside_by_install_and_put_back_by_removal() {
    let mut model = former();
    assert_eq!(model.converge(&install("none", "v1")), Ok(1));
    let tree = model.tree();
    for &(path, aside) in crate::Backend::Proxy.footprint().own_trees {
        assert_eq!(below(&tree, aside), below(&former().tree(), path));
    }
    assert!(tree["/var/lib/cri-resmgr/cache"].has_content("daemon"), "our daemon starts with no state of others");
    assert!(model.plan(&install("none", "v1")).is_settled());
    // Neither a new daemon nor another policy touches it.
    model.converge(&install("balloons", "v2")).unwrap();
    assert_kept(&model, "upgraded");
    assert_eq!(model.converge(&remove()), Ok(1));
    assert_eq!(model.tree(), former().tree());
    assert_eq!(model.journal, None);
    assert!(model.plan(&remove()).is_settled(), "what is theirs is no residue");
    // And once more.
    assert_eq!(model.converge(&install("none", "v1")), Ok(1));
    assert_eq!(model.converge(&remove()), Ok(1));
    assert_eq!(model.tree(), former().tree());
}

#[test]
fn state_of_others_survives_an_interruption_at_any_step() {
    let mut installed = former();
    installed.converge(&install("none", "v1")).unwrap();
    for (name, start, desired) in [("install", former(), install("none", "v1")), ("remove", installed, remove())] {
        for number in 0..start.plan(&desired).steps.len() {
            for cut in CUTS {
                for second in [install("none", "v1"), remove()] {
                    let mut model = start.clone();
                    model.interrupt(&desired, number, cut);
                    let what = format!("{name} cut at step {number} {cut:?}, then {second:?}");
                    assert_kept(&model, &what);
                    // The second may be interrupted as well.
                    let steps = model.plan(&second).steps.len();
                    for other in (0..steps).filter(|other| *other < 6 || *other + 8 > steps) {
                        let mut model = model.clone();
                        model.interrupt(&second, other, cut);
                        assert_kept(&model, &format!("{what} cut at {other}"));
                        model.converge(&remove()).unwrap();
                        assert_eq!(model.tree(), former().tree(), "{what} cut at {other}");
                    }
                    model.converge(&second).unwrap();
                    assert!(model.plan(&second).is_settled(), "{what}");
                    assert_kept(&model, &what);
                    model.converge(&remove()).unwrap();
                    assert_eq!(model.tree(), former().tree(), "{what}");
                }
            }
        }
    }
}

/// The names are ours alone, so it comes back without the journal as well.
#[test]
fn state_of_others_comes_back_without_the_journal() {
    let mut installed = former();
    installed.converge(&install("none", "v1")).unwrap();
    for number in 0..installed.plan(&remove()).steps.len() {
        for cut in CUTS {
            let mut model = installed.clone();
            model.interrupt(&remove(), number, cut);
            corrupt(&mut model, &Damage::LoseJournal);
            assert_kept(&model, &format!("{number}"));
            model.converge(&remove()).unwrap();
            assert_kept(&model, &format!("{number} {cut:?}"));
            for &(path, aside) in crate::Backend::Proxy.footprint().own_trees {
                assert!(
                    model.entries.contains_key(path) && !model.entries.contains_key(aside),
                    "{path}, {number} {cut:?}"
                );
            }
        }
    }
}

#[test]
fn state_of_others_that_vanished_meanwhile_does_not_fail_the_removal() {
    let mut model = former();
    model.converge(&install("none", "v1")).unwrap();
    // A reboot empties /run, and somebody has no use for the old state.
    corrupt(&mut model, &Damage::Reboot);
    model.act(&FileAction::RemoveTree { path: node::ASIDE_STATE_DIR.into() }.into());
    model.converge(&install("none", "v1")).unwrap();
    model.converge(&remove()).unwrap();
    assert_eq!(model.tree(), NodeState::default().tree());
}

#[test]
fn state_of_others_at_both_paths_refuses_the_install() {
    let mut model = former();
    model.entries.insert(node::ASIDE_STATE_DIR.into(), Entry::Directory { empty: true });
    let before = model.tree();
    let plan = model.plan(&install("none", "v1"));
    let (path, aside) = (node::DAEMON_STATE_DIR, node::ASIDE_STATE_DIR);
    assert_eq!((plan.steps, plan.holds), (Vec::new(), vec![Refusal::AsideIsTaken { path, aside }.into()]));
    assert!(model.plan(&remove()).steps.is_empty());
    assert_eq!(model.tree(), before);
}

#[test]
fn a_roll_back_puts_the_state_of_others_back() {
    let mut model = NodeState { kubelet_works_on_proxy: false, ..former() };
    let desired = install("none", "v1");
    assert_eq!(model.converge(&desired), Err(Proof::Kubelet { endpoint: Endpoint::Proxy }.into()));
    let attempt = model::installation("none", "v1").attempt();
    let backoff = budget::after_failure(None, &attempt, "why".into(), model.now, 0);
    model.journal.as_mut().unwrap().apply(&Change::Failed(backoff));
    assert_eq!(model.plan(&desired).target, Target::RolledBack);
    model.converge(&desired).unwrap();
    assert_eq!(model.tree(), former().tree());
    assert_eq!(model.journal.as_ref().unwrap().made, Made::default());
    assert!(plan(&model.observe(), &remove()).steps.iter().all(|step| step.action == JournalAction::Forget.into()));
    assert!(
        !model.plan(&desired).steps.iter().any(|step| step.action == Action::RestartKubelet { cause: Cause::Heal })
    );
}

/// An installation of a version that knew nothing of this: what stands there is its daemon's.
#[test]
fn state_of_our_own_daemon_is_not_moved_aside() {
    let mut model = NodeState::default();
    model.converge(&install("none", "v1")).unwrap();
    model.journal = None;
    model.converge(&install("none", "v2")).unwrap();
    assert!(!model.entries.keys().any(|path| path.contains(".before-gardener")), "{:?}", model.entries.keys());
    model.converge(&remove()).unwrap();
    let files: Vec<_> = model.entries.iter().filter(|(_, entry)| matches!(entry, Entry::File { .. })).collect();
    assert!(files.is_empty(), "{files:?}");
}
