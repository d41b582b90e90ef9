mod aside;
mod before;
mod cpus;
mod golden;
mod handover;
mod model;
mod plugin;
mod random;
mod slot;

use extension_config::names::node;
use kubelet_config::{Endpoint, Setting};
use model::{CUTS, NodeState, install, installation, remove, restarts};

use crate::budget;
use crate::desired::{Desired, NodePolicy, RestartRequest};
use crate::entry::Entry;
use crate::hold::Hold;
use crate::journal::{Change, Phase};
use crate::kubelet::UnitShapeError;
use crate::plan::Target;
use crate::refusal::Refusal;
use crate::restart::Cause;
use crate::step::{Action, FileAction, JournalAction, Proof, Restarts, UnitAction};
use crate::testing::KUBELET_CONFIG;

fn installed(policy: &str) -> NodeState {
    let mut model = NodeState::default();
    assert_eq!(model.converge(&install(policy, "v1")), Ok(1));
    model
}

#[test]
fn install_and_remove_leave_the_tree_as_it_was() {
    let mut model = installed("none");
    let plan = model.plan(&install("none", "v1"));
    assert!(plan.is_settled() && plan.target == Target::Installed, "{plan:?}");
    assert_eq!(model.endpoint, Endpoint::Proxy);
    assert_eq!(model.converge(&remove()), Ok(1));
    let plan = model.plan(&remove());
    assert!(plan.is_settled() && plan.target == Target::Clean, "{plan:?}");
    assert_eq!(model.tree(), NodeState::default().tree());
    assert_eq!(
        (model.endpoint, model.journal, model.loaded),
        (Endpoint::Containerd, None, NodeState::default().loaded)
    );
}

#[test]
fn removal_of_a_clean_node_plans_nothing() {
    let mut model = NodeState::default();
    assert_eq!(model.converge(&remove()), Ok(0));
    assert_eq!(model, NodeState::default());
}

/// An agent that was killed, or failed, between the journal and the lock.
#[test]
fn removal_interrupted_before_the_lock_was_removed_is_finished() {
    for path in crate::Backend::Proxy.footprint().bookkeeping {
        let mut model = NodeState::default();
        model.entries.insert((*path).into(), Entry::Directory { empty: false });
        let steps: Vec<Action> = model.plan(&remove()).steps.into_iter().map(|step| step.action).collect();
        assert_eq!(steps, [JournalAction::Forget.into()], "{path}");
    }
}

#[test]
fn install_restarts_kubelet_after_the_proxy_is_proven_and_removal_before_it_stops() {
    let steps = NodeState::default().plan(&install("none", "v1")).steps;
    let position = |wanted: &dyn Fn(&Action) -> bool| steps.iter().position(|step| wanted(&step.action)).unwrap();
    let proven = position(&|action| *action == Proof::DaemonAnswers.into());
    assert!(
        proven
            < position(
                &|action| matches!(action, Action::File(FileAction::Write { path, .. }) if path == node::KUBELET_DROP_IN)
            )
    );
    assert!(proven < position(&|action| matches!(action, Action::RestartKubelet { cause: Cause::Switch })));
    let steps = installed("none").plan(&remove()).steps;
    let position = |wanted: &dyn Fn(&Action) -> bool| steps.iter().position(|step| wanted(&step.action)).unwrap();
    let left = position(&|action| *action == Proof::Kubelet { endpoint: Endpoint::Containerd }.into());
    assert!(left < position(&|action| *action == UnitAction::Stop { unit: node::DAEMON_UNIT.into() }.into()));
    assert_eq!(steps.last().unwrap().action, JournalAction::Forget.into());
}

#[test]
fn execution_interrupted_at_any_step_converges_to_the_same_node() {
    let starts: [(&str, NodeState, Desired, u32); 5] = [
        ("install", NodeState::default(), install("none", "v1"), 1),
        ("upgrade", installed("none"), install("none", "v2"), 0),
        ("configuration", installed("balloons"), install("balloons", "v1"), 0),
        ("policy", installed("none"), install("balloons", "v1"), 0),
        ("remove", installed("none"), remove(), 1),
    ];
    for (name, start, desired, kubelet_restarts) in starts {
        let mut straight = start.clone();
        assert_eq!(straight.converge(&desired), Ok(kubelet_restarts), "{name}");
        let count = start.plan(&desired).steps.len();
        for number in 0..count {
            for cut in CUTS {
                let mut model = start.clone();
                model.interrupt(&desired, number, cut);
                model.converge(&desired).unwrap();
                let what = format!("{name} cut at step {number} {cut:?}");
                assert!(model.plan(&desired).is_settled(), "{what}");
                assert_eq!(model.tree(), straight.tree(), "{what}");
                assert_eq!(model.endpoint, straight.endpoint, "{what}");
                assert_eq!(model.kubelet.starts - start.kubelet.starts, kubelet_restarts, "{what}");
                // The other way, too: what was half installed can be removed.
                let mut model = start.clone();
                model.interrupt(&desired, number, cut);
                model.converge(&remove()).unwrap();
                assert_eq!(model.tree(), NodeState::default().tree(), "{what}, then removed");
                assert!(model.plan(&remove()).is_settled(), "{what}, then removed");
            }
        }
    }
}

#[test]
fn a_change_of_one_input_restarts_only_what_runs_with_it() {
    let model = installed("none");
    let mut gate = installation("none", "v1");
    gate.gate = model::blob("gate2");
    let mut options = installation("none", "v1");
    model::proxy(&mut options).extra_options = "--metrics-interval 5s".into();
    for (name, desired, daemon) in [
        ("nothing", install("none", "v1"), 0),
        ("gate", Desired::Installed(Box::new(gate)), 0),
        ("options", Desired::Installed(Box::new(options)), 1),
        ("binary", install("none", "v2"), 1),
    ] {
        let plan = model.plan(&desired);
        assert_eq!((restarts(&plan, Restarts::Daemon), restarts(&plan, Restarts::Kubelet)), (daemon, 0), "{name}");
    }
    // A policy switch: stop, reset, replace, start.
    let steps = model.plan(&install("balloons", "v1")).steps;
    let texts: Vec<String> = steps.iter().map(|step| step.action.to_string()).collect();
    insta::assert_snapshot!(texts.join("\n"), @"
    stop cri-resource-manager.service
    remove /var/lib/cri-resmgr/cache
    write /etc/cri-resmgr/fallback.cfg (mode 0644)
    restart cri-resource-manager.service
    prove that the proxy answers
    prove that kubelet runs well on the proxy
    ");
}

/// What was pushed to a running daemon needs another run: the run that is named ends, once, with its reason, and kubelet is left alone.
#[test]
fn a_restart_request_restarts_the_named_run_of_the_daemon_once() {
    let mut model = installed("balloons");
    let Desired::Installed(mut wanted) = install("balloons", "v1") else { unreachable!() };
    let run = model.observe().daemon.invocation;
    wanted.restart_request =
        Some(RestartRequest { invocation: run.clone(), because: "cri-resmgr-config.default (1a2b3c4d): a key".into() });
    let desired = Desired::Installed(wanted);
    let plan = model.plan(&desired);
    assert_eq!((restarts(&plan, Restarts::Daemon), restarts(&plan, Restarts::Kubelet)), (1, 0));
    let restart = plan.steps.iter().find(|step| step.action.restarts() == Restarts::Daemon).unwrap();
    assert_eq!(restart.evidence, "cri-resmgr-config.default (1a2b3c4d): a key");
    assert_eq!(model.converge(&desired), Ok(0));
    assert_ne!(model.observe().daemon.invocation, run);
    assert!(model.plan(&desired).is_settled(), "the wish is about a run that is over");
}

#[test]
fn foreign_files_and_directories_survive_install_and_removal() {
    // A directory that we made and somebody else uses now, and one that was there before.
    let mut model = NodeState::default();
    model.entries.insert("/opt/intel".into(), Entry::Directory { empty: true });
    model.converge(&install("none", "v1")).unwrap();
    let foreign = Entry::File { sha256: "x".into(), mode: 0o644, own: true, marked: false };
    model.entries.insert("/etc/systemd/system.control/kubelet.service.d/50-other.conf".into(), foreign);
    model.converge(&remove()).unwrap();
    assert!(model.plan(&remove()).is_settled());
    let left: Vec<&str> = model.entries.keys().map(String::as_str).collect();
    let before = ["/etc/default", "/etc/systemd/system.control", node::KUBELET_DROP_IN_DIR];
    assert!(before.iter().all(|path| left.contains(path)), "{left:?}");
    assert!(left.contains(&"/opt/intel") && !left.contains(&"/opt/intel/bin"), "{left:?}");
}

#[test]
fn a_refused_node_gets_no_step_and_a_hold_with_the_reason() {
    type Damage = fn(&mut NodeState);
    let unit = || "the command line of kubelet.service".to_owned();
    let systemd = |version: &str| Hold::from(Refusal::Systemd { version: version.into(), oldest: 239 });
    let setting = Setting { value: "static".into(), origin: KUBELET_CONFIG.into() };
    let cases: [(Hold, Damage); 9] = [
        (systemd("234"), |model| model.systemd = "234".into()),
        (systemd("v219-78.el7"), |model| model.systemd = "v219-78.el7".into()),
        (Refusal::KubeletShape(UnitShapeError::NoVariable).into(), |model| {
            model.kubelet_command = "/opt/bin/kubelet --v=2".into();
        }),
        (Refusal::KubeletShape(UnitShapeError::EditedByPredecessor(unit())).into(), |model| {
            model.kubelet_command =
                "/opt/bin/kubelet --container-runtime-endpoint=/var/run/cri-resmgr/cri-resmgr.sock $KUBELET_EXTRA_ARGS"
                    .into();
        }),
        (Refusal::KubeletManager { name: "cpuManagerPolicy", setting, works: "none" }.into(), |model| {
            model.configure_kubelet("cpuManagerPolicy: static\n");
        }),
        (Refusal::Masked { unit: node::DAEMON_UNIT }.into(), |model| {
            model.entries.insert(node::DAEMON_UNIT_FILE.into(), Entry::Link { target: "/dev/null".into() });
        }),
        (Refusal::Foreign { path: node::DAEMON_UNIT_FILE }.into(), |model| {
            model.entries.insert(node::DAEMON_UNIT_FILE.into(), model::unmarked());
        }),
        (Refusal::Predecessor { path: "/etc/cri-resmgr/EXTRA_OPTIONS.cfg" }.into(), |model| {
            model.entries.insert("/etc/cri-resmgr/EXTRA_OPTIONS.cfg".into(), model::unmarked());
        }),
        (Hold::ContainerdSilent, |model| model.containerd_answers = false),
    ];
    for (hold, damage) in cases {
        let mut model = NodeState::default();
        damage(&mut model);
        let plan = model.plan(&install("none", "v1"));
        assert!(plan.steps.is_empty(), "{hold}: {:?}", plan.steps);
        assert!(plan.holds.contains(&hold), "{hold}: {:?}", plan.holds);
        assert!(!plan.is_settled());
    }
    let mut arm = installation("none", "v1");
    model::proxy(&mut arm).daemon.architecture = "aarch64".into();
    let plan = NodeState::default().plan(&Desired::Installed(Box::new(arm)));
    let other = Refusal::Architecture { program: "cri-resmgr", node: "x86_64".into(), image: "aarch64".into() };
    assert_eq!((plan.steps, plan.holds), (Vec::new(), vec![other.into()]));
    let mut model = NodeState::default();
    model.entries.insert(node::DAEMON.into(), model::unmarked());
    assert!(model.plan(&install("none", "v1")).steps.is_empty());
}

#[test]
fn an_installed_node_that_becomes_unsuitable_is_made_clean() {
    let mut model = installed("none");
    model.configure_kubelet("cpuManagerPolicy: static\n");
    model.converge(&install("none", "v1")).unwrap();
    assert_eq!(model.tree(), NodeState::default().tree());
    assert!(!model.plan(&install("none", "v1")).is_settled());
}

#[test]
fn a_failed_proof_of_kubelet_rolls_back_and_waits_for_the_back_off() {
    let mut model = NodeState { kubelet_works_on_proxy: false, ..NodeState::default() };
    let desired = install("none", "v1");
    assert_eq!(model.converge(&desired), Err(Proof::Kubelet { endpoint: Endpoint::Proxy }.into()));
    let backoff = budget::after_failure(None, &installation("none", "v1").attempt(), "why".into(), model.now, 0);
    let not_before = backoff.not_before;
    model.journal.as_mut().unwrap().apply(&Change::Failed(backoff));
    assert_eq!(model.plan(&desired).target, Target::RolledBack);
    model.converge(&desired).unwrap();
    assert_eq!(model.tree(), NodeState::default().tree());
    assert_eq!(model.endpoint, Endpoint::Containerd);
    let plan = model.plan(&desired);
    assert!(plan.steps.is_empty() && plan.retry_at == Some(not_before) && !plan.is_settled(), "{plan:?}");
    assert_eq!(model.journal.as_ref().unwrap().phase, Phase::RolledBack);
    // Other inputs may be tried at once; the same ones when the wait is over; a removal forgets it all.
    assert!(!model.plan(&install("none", "v2")).steps.is_empty());
    let mut later = NodeState { now: not_before, kubelet_works_on_proxy: true, ..model.clone() };
    assert_eq!(later.converge(&desired), Ok(1));
    model.converge(&remove()).unwrap();
    assert_eq!(model.journal, None);
}

#[test]
fn restart_budget_limits_healing_and_not_removal() {
    let mut model = installed("none");
    for restarts in 1..=budget::FREE_RESTARTS {
        let plan = model.plan(&install("none", "v1"));
        assert!(plan.is_settled(), "after {restarts}");
        model.endpoint = Endpoint::Containerd;
        if restarts < budget::FREE_RESTARTS {
            assert_eq!(model.converge(&install("none", "v1")), Ok(1));
        }
    }
    let plan = model.plan(&install("none", "v1"));
    assert!(!plan.restarts(Restarts::Kubelet) && plan.retry_at.is_some() && !plan.is_settled(), "{plan:?}");
    model.endpoint = Endpoint::Proxy;
    assert_eq!(model.converge(&remove()), Ok(1));
}

#[test]
fn without_labels_an_installed_node_is_healed_and_a_new_one_is_undecided() {
    use extension_config::desired_state::{self, DesiredState, Phase, Selection};
    let state = |phase| DesiredState {
        phase,
        selection: Selection::default(),
        backend: desired_state::Backend::default(),
        handover: None,
    };
    let decide = |state: &DesiredState, journal| {
        Desired::decide(state, None, journal, &model::programs("v1"), &NodePolicy::Awaited)
    };
    assert!(matches!(decide(&state(Phase::Install), None), Desired::Undecided { .. }));
    let journal = installed("none").journal;
    assert!(matches!(decide(&state(Phase::Install), journal.as_ref()), Desired::Installed(_)));
    assert!(matches!(decide(&state(Phase::Remove), journal.as_ref()), Desired::Clean { .. }));
}

/// Field case N20: the controller has excluded the node's pool for what the Shoot says of its kubelets. The node is clean and as desired, also where
/// it was switched before; its agent has nothing to refuse.
#[test]
fn a_node_of_an_excluded_pool_is_clean_and_as_desired_whatever_its_kubelet() {
    use extension_config::desired_state::{self, DesiredState, Phase, Selection};
    let selection = Selection { excluded_pools: ["a".to_owned()].into(), ..Selection::default() };
    let state =
        DesiredState { phase: Phase::Install, selection, backend: desired_state::Backend::default(), handover: None };
    let labels = [(extension_config::names::WORKER_POOL_LABEL.to_owned(), "a".to_owned())].into();
    for mut model in [NodeState::default(), installed("none")] {
        model.configure_kubelet("cpuManagerPolicy: static\n");
        let journal = model.journal.clone();
        let programs = model::programs("v1");
        let desired = Desired::decide(&state, Some(&labels), journal.as_ref(), &programs, &NodePolicy::Awaited);
        model.converge(&desired).unwrap();
        let plan = model.plan(&desired);
        assert!(plan.is_settled() && plan.target == Target::Clean, "{plan:?}");
        assert_eq!((model.tree(), model.endpoint), (NodeState::default().tree(), Endpoint::Containerd));
    }
}

#[test]
fn a_used_up_restart_budget_plans_no_step() {
    let mut model = installed("none");
    for _ in 1..budget::FREE_RESTARTS {
        model.endpoint = Endpoint::Containerd;
        model.converge(&install("none", "v1")).unwrap();
    }
    // The proxy was restarted, so the proof is open; kubelet left it, and may not be restarted now.
    model.daemon.active = false;
    model.endpoint = Endpoint::Containerd;
    model.converge(&install("none", "v1")).unwrap();
    let plan = model.plan(&install("none", "v1"));
    assert!(plan.steps.is_empty() && !plan.holds.is_empty(), "{plan:?}");
}

#[test]
fn removal_without_the_journal_finds_and_removes_our_files() {
    let mut straight = installed("none");
    straight.journal = None;
    let steps = straight.plan(&remove()).steps.len();
    for number in 0..steps {
        let mut model = straight.clone();
        model.interrupt(&remove(), number, model::Cut::AfterStep);
        model.converge(&remove()).unwrap();
        let files: Vec<_> =
            model.entries.iter().filter(|(_, entry)| !matches!(entry, Entry::Directory { .. })).collect();
        assert!(files.is_empty(), "{files:?} after {number}");
        assert!(model.plan(&remove()).is_settled());
    }
}
