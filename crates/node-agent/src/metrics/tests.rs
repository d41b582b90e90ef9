use std::rc::Rc;

use dynamic_config::{ConfigStatus, DaemonMode};
use extension_config::desired_state::{self, Daemon, DesiredState, Phase, Selection};
use extension_config::node_report::Published;
use node_plan::{Check, FileAction, JournalAction, UnitAction};
use tokio::sync::watch;

use super::*;
use crate::agent::Agent;
use crate::desired_file;
use crate::fake::Fake;
use crate::policies::policies;
use crate::proof_failure::ProofFailure;
use crate::shoot::ShootApi;
use crate::telemetry::Telemetry;

fn exported(registry: &Registry) -> Vec<String> {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, registry).unwrap();
    let mut lines: Vec<String> = text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
    lines.sort_unstable();
    lines
}

fn name(line: &str) -> &str {
    line.rsplit_once(' ').unwrap().0
}

fn actions() -> Vec<Action> {
    let unit = || "u.service".to_owned();
    let proofs = [
        Proof::DaemonAnswers,
        Proof::Override { loaded: true },
        Proof::Kubelet { endpoint: kubelet_config::Endpoint::Containerd },
        Proof::Clean,
        Proof::NothingLeftOf { backend: Backend::Plugin },
        Proof::PluginRegistered { settle_seconds: 1 },
        Proof::PinsEffective,
    ];
    let mut all: Vec<Action> = proofs.into_iter().map(Action::Prove).collect();
    all.extend([
        FileAction::Remove { path: "/x".to_owned() }.into(),
        UnitAction::Stop { unit: unit() }.into(),
        Action::ResetPins,
        Check::DryRun { program: "/p", document: String::new() }.into(),
        JournalAction::Record.into(),
    ]);
    all.extend(Cause::ALL.map(|cause| Action::RestartKubelet { cause }));
    all
}

fn report(backend: Option<Backend>, codes: &[ReasonCode]) -> NodeReport {
    NodeReport {
        stage: Stage::Installed,
        phase: String::new(),
        desired: String::new(),
        since: 0,
        restarts: 0,
        message: String::new(),
        warnings: Vec::new(),
        config: Some("cri-resmgr-config.default".to_owned()),
        retry_at: None,
        awaits_slot: true,
        backend: backend.map(|backend| backend_word(backend).to_owned()),
        version: None,
        codes: codes.iter().map(|code| code.as_str().to_owned()).collect(),
        slot_since: None,
        published: Published::default(),
    }
}

/// Whatever happens on a node, its series are those of the first scrape.
#[test]
fn a_node_has_a_fixed_number_of_series() {
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let before = exported(&registry);
    assert_eq!(before.len(), SERIES, "{before:#?}");
    assert!(before.iter().all(|line| line.starts_with("cri_resmgr_") && line.ends_with(" 0")), "{before:#?}");
    let failure = || EffectError::Proof(ProofFailure::DaemonGivenUp);
    for action in actions() {
        metrics.step_done(&action);
        metrics.step_failed(&action, &EffectError::Injected("x".to_owned()));
        metrics.step_failed(&action, &failure());
        metrics.step_failed(&action, &EffectError::Stopping);
    }
    for cause in Cause::ALL {
        metrics.kubelet_restarted(cause);
    }
    metrics.kubelet_restarted_by_others();
    for backend in Backend::ALL {
        metrics.healed(backend);
        metrics.rolled_back(backend);
        metrics.reported(&report(Some(backend), &[]));
    }
    for stage in Stage::ALL {
        metrics.stage_is(stage);
    }
    metrics.reported(&report(None, &[]));
    let after = exported(&registry);
    assert_eq!(
        after.iter().map(|line| name(line)).collect::<Vec<_>>(),
        before.iter().map(|line| name(line)).collect::<Vec<_>>()
    );
    let has = |line: &str| assert!(after.iter().any(|found| found == line), "{line} is not in {after:#?}");
    // What stopped is no failure, and what could not be done has proven nothing.
    has(r#"cri_resmgr_steps_total{kind="file",outcome="failed"} 2"#);
    has(r#"cri_resmgr_steps_total{kind="proof",outcome="done"} 7"#);
    for proof in PROOFS {
        has(&format!(r#"cri_resmgr_proof_failures_total{{proof="{proof}"}} 1"#));
    }
}

#[test]
fn a_round_that_failed_says_nothing_of_the_node() {
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let version = env!("CARGO_PKG_VERSION");
    let value = |line: &str| {
        let all = exported(&registry);
        let found = all.iter().find(|found| name(found) == line).unwrap_or_else(|| panic!("{line} is not in {all:#?}"));
        found.rsplit_once(' ').unwrap().1.to_owned()
    };
    let build = |backend: &str| format!(r#"cri_resmgr_build_info{{version="{version}",backend="{backend}"}}"#);
    metrics.reported(&report(Some(Backend::Plugin), &[ReasonCode::PolicyInvalid]));
    let values = || {
        [
            build("nri-plugins"),
            build("none"),
            "cri_resmgr_config_refused".to_owned(),
            "cri_resmgr_slot_waiting".to_owned(),
        ]
        .map(|line| value(&line))
    };
    assert_eq!(values(), ["1", "0", "1", "1"]);
    metrics.reported(&report(None, &[ReasonCode::RoundFailed]));
    assert_eq!(values(), ["1", "0", "1", "1"]);
    metrics.reported(&report(None, &[ReasonCode::ConfigUnsettled]));
    assert_eq!(values(), ["0", "1", "0", "1"]);
}

fn desired(policy: &str) -> String {
    let daemon = Daemon {
        fallback_config: Some(format!("policy:\n  Active: {policy}\n  ReservedResources:\n    CPU: 750m\n")),
        ..Daemon::default()
    };
    let backend = desired_state::Backend::CriResmgr(daemon);
    let state = DesiredState { phase: Phase::Install, selection: Selection::default(), backend, handover: None };
    state.encode().unwrap()
}

/// What others have changed on a node that was as desired; neither an installation nor another configuration.
#[tokio::test(start_paused = true)]
async fn a_heal_is_what_nobody_has_asked_for() {
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let count = |name: &str| {
        let all = exported(&registry);
        let found =
            all.iter().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name} is not in {all:#?}"));
        found.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()
    };
    let heals = || count(r#"cri_resmgr_heals_total{backend="cri-resmgr"}"#);
    let mut fake = Fake::new();
    // Labels are not known, so a node goes by its journal.
    fake.state.journal = Some(node_plan::Journal::default());
    let (readiness, _) = observability::readiness::readiness("not yet");
    let telemetry =
        Telemetry { metrics: metrics.clone(), readiness, daemon_mode: watch::channel(DaemonMode::default()).0 };
    let shoot = Rc::new(ShootApi::new("n1".to_owned(), None));
    let mut agent =
        Agent::new(fake, shoot, None, telemetry, watch::channel(ConfigStatus::default()).1, policies("n1").0);
    agent.round(desired_file::decode(&desired("none"))).await;
    agent.round(desired_file::decode(&desired("none"))).await;
    assert_eq!((heals(), count(r#"cri_resmgr_daemon_up{backend="cri-resmgr"}"#)), (0, 1));
    agent.node_mut().state.daemon.active = false;
    agent.round(desired_file::decode(&desired("none"))).await;
    assert_eq!(heals(), 1);
    agent.round(desired_file::decode(&desired("balloons"))).await;
    agent.round(desired_file::decode(&desired("balloons"))).await;
    assert_eq!(heals(), 1);
    // A try that fails is none either, but it is rolled back.
    agent.node_mut().state.daemon_works = false;
    agent.round(desired_file::decode(&desired("topology-aware"))).await;
    assert_eq!(heals(), 1);
    assert!(agent.node_mut().metrics.rollbacks.get_or_create(&BackendLabel { backend: "cri-resmgr" }).get() > 0);
}
