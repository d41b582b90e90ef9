//! The agent's log lines, as the real JSON layer writes them.

use std::collections::BTreeSet;
use std::process::Command;
use std::rc::Rc;

use dynamic_config::{ConfigStatus, DaemonMode};
use extension_config::desired_state::{Backend, Daemon, DesiredState, Phase, Selection};
use observability::{LogConfig, LogFormat};
use prometheus_client::registry::Registry;
use serde::Deserialize;
use tokio::sync::watch;

use crate::agent::Agent;
use crate::desired_file;
use crate::fake::Fake;
use crate::metrics::Metrics;
use crate::policies::policies;
use crate::shoot::ShootApi;
use crate::telemetry::Telemetry;

/// Set for the process that writes the lines.
const WRITER: &str = "NODE_AGENT_TEST_WRITES_LOG_LINES";
const THIS_TEST: &str = "log_lines::every_json_line_of_an_agent_has_unique_keys_and_names_its_node";

#[derive(Debug, Deserialize)]
struct Line {
    message: String,
    #[serde(default)]
    span: Option<Span>,
    #[serde(default)]
    step: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Span {
    name: String,
    node: String,
    desired: String,
}

fn desired_state(phase: Phase, policy: &str) -> String {
    let daemon = Daemon {
        fallback_config: Some(format!("policy:\n  Active: {policy}\n  ReservedResources:\n    CPU: 750m\n")),
        ..Daemon::default()
    };
    DesiredState { phase, selection: Selection::default(), backend: Backend::CriResmgr(daemon), handover: None }
        .encode()
        .unwrap()
}

/// An agent without an API server, which takes the node for selected where it was installed before.
fn agent(fake: Fake) -> Agent<Fake> {
    let shoot = Rc::new(ShootApi::new("n1".to_owned(), None));
    let (readiness, _) = observability::readiness::readiness("not yet");
    let metrics = Metrics::register(&mut Registry::default());
    let telemetry = Telemetry { metrics, readiness, daemon_mode: watch::channel(DaemonMode::default()).0 };
    Agent::new(fake, shoot, None, telemetry, watch::channel(ConfigStatus::default()).1, policies("n1").0)
}

/// Installs, heals, fails, rolls back and removes.
async fn whole_life_of_a_node() {
    let mut fake = Fake::new();
    // Labels are not known, so a node goes by its journal.
    fake.state.journal = Some(node_plan::Journal::default());
    let mut agent = agent(fake);
    agent.round(desired_file::decode(&desired_state(Phase::Install, "none"))).await;
    agent.node_mut().state.daemon.active = false;
    agent.round(desired_file::decode(&desired_state(Phase::Install, "none"))).await;
    agent.node_mut().state.daemon_works = false;
    agent.round(desired_file::decode(&desired_state(Phase::Install, "balloons"))).await;
    agent.round(desired_file::decode("nonsense")).await;
    let next = agent.node_mut().calls.get();
    agent.node_mut().fail_at = Some((next + 3, crate::fake::Failure::Before));
    agent.round(desired_file::decode(&desired_state(Phase::Remove, "none"))).await;
    agent.round(desired_file::decode(&desired_state(Phase::Remove, "none"))).await;
}

/// In a process of its own: which lines are written is settled for the whole process by the first test that meets them.
#[test]
fn every_json_line_of_an_agent_has_unique_keys_and_names_its_node() {
    if std::env::var_os(WRITER).is_some() {
        observability::logging::init(&LogConfig { level: "node_agent=debug".to_owned(), format: LogFormat::Json })
            .unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        return runtime.block_on(whole_life_of_a_node());
    }
    let this = std::env::current_exe().unwrap();
    let writer = Command::new(this).args([THIS_TEST, "--exact", "--nocapture"]).env(WRITER, "1").output().unwrap();
    let text = String::from_utf8(writer.stderr).unwrap();
    assert!(writer.status.success(), "{}\n{text}", String::from_utf8_lossy(&writer.stdout));
    let mut found = BTreeSet::new();
    for line in text.lines() {
        let parsed = observability::json_lines::parse(line).and_then(serde_json::from_value::<Line>);
        let parsed = parsed.unwrap_or_else(|error| panic!("{error}: {line}"));
        let span = parsed.span.unwrap_or_else(|| panic!("no span: {line}"));
        assert_eq!(span.node, "n1", "{line}");
        assert!(span.name == "step" || (span.name == "round" && parsed.step.is_none()), "{line}");
        // A desired state that cannot be read has no hash.
        assert!(span.desired.len() == 8 || parsed.message.starts_with("failed to bring"), "{line}");
        found.insert(parsed.message);
    }
    for event in [
        "began step",
        "restarted kubelet",
        "restarted cri-resmgr",
        "began rollback",
        "assessed the node",
        "failed to bring the node to the desired state",
    ] {
        assert!(found.contains(event), "{event} is missing of {found:?}");
    }
}
