//! What an agent writes into the shoot over its life and over those that come after it.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use dynamic_config::{ConfigStatus, DaemonMode, Meant};
use extension_config::desired_state::{Backend, Daemon, DesiredState, Phase, Selection};
use extension_config::names;
use http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use node_plan::testing::NodeState;
use node_plan::{Slot, Wait};
use observability::readiness::readiness;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::Agent;
use crate::desired_file;
use crate::fake::Fake;
use crate::metrics::Metrics;
use crate::policies::policies;
use crate::shoot::ShootApi;
use crate::telemetry::Telemetry;

/// The shoot's API, as far as an agent asks it: its Node, the Lease with its report, Events.
#[derive(Debug, Clone, Default)]
struct Api(Arc<Mutex<ApiState>>);

#[derive(Debug, Default)]
struct ApiState {
    report: Option<Value>,
    reports_written: usize,
    events: Vec<String>,
}

impl ApiState {
    fn answer(&mut self, method: &Method, path: &str, body: &Value) -> (u16, Value) {
        let missing =
            (404, json!({ "kind": "Status", "status": "Failure", "reason": "NotFound", "message": "", "code": 404 }));
        match (method, path) {
            (&Method::GET, "/api/v1/nodes/n1") => {
                let metadata = json!({ "name": "n1", "uid": "7", "labels": {} });
                (200, json!({ "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": metadata }))
            }
            (&Method::PATCH, path) if path.ends_with("/leases/cri-resmgr-node-n1") => {
                if *body != json!({}) {
                    self.report = Some(body.clone());
                    self.reports_written += 1;
                }
                self.report.clone().map_or(missing, |report| (200, report))
            }
            (&Method::POST, path) if path.ends_with("/events") => {
                self.events.push(format!("{} {}", body["type"].as_str().unwrap(), body["reason"].as_str().unwrap()));
                (201, body.clone())
            }
            _ => missing,
        }
    }
}

impl Api {
    fn client(&self) -> Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let api = api.clone();
            async move {
                let (parts, body) = request.into_parts();
                let bytes = body.collect_bytes().await.unwrap();
                let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
                let (code, answer) = api.0.lock().unwrap().answer(&parts.method, parts.uri.path(), &body);
                let answer = Body::from(answer.to_string().into_bytes());
                Ok::<_, Infallible>(Response::builder().status(code).body(answer).unwrap())
            }
        });
        Client::new(service, "kube-system")
    }

    fn agent(&self, state: NodeState) -> Agent<Fake> {
        let shoot = Rc::new(ShootApi::new("n1".to_owned(), Some(self.client())));
        let metrics = Metrics::register(&mut Registry::default());
        let telemetry = Telemetry {
            metrics,
            readiness: readiness("not yet").0,
            daemon_mode: watch::channel(DaemonMode::default()).0,
        };
        let config_status = ConfigStatus { meant: Some(Meant::default()), ..ConfigStatus::default() };
        Agent::new(Fake::from_state(state), shoot, None, telemetry, watch::channel(config_status).1, policies("n1").0)
    }

    /// What was published since the last check, and how often the report was written.
    fn take_events(&self) -> (Vec<String>, usize) {
        let mut state = self.0.lock().unwrap();
        (std::mem::take(&mut state.events), std::mem::take(&mut state.reports_written))
    }
}

fn desired(phase: Phase, policy: &str) -> String {
    let daemon = Daemon {
        fallback_config: Some(format!("policy:\n  Active: {policy}\n  ReservedResources:\n    CPU: 750m\n")),
        ..Daemon::default()
    };
    let selection = Selection { match_labels: BTreeMap::new(), ..Selection::default() };
    DesiredState { phase, selection, backend: Backend::CriResmgr(daemon), handover: None }.encode().unwrap()
}

/// One round, a second that has nothing to do, and the first of another agent on the same node, which has nothing to do either.
async fn rounds(api: &Api, agent: Agent<Fake>, desired: &str) -> (Agent<Fake>, Vec<String>) {
    let mut agent = agent;
    agent.round(desired_file::decode(desired)).await;
    let (events, _) = api.take_events();
    agent.round(desired_file::decode(desired)).await;
    assert_eq!(api.take_events(), (Vec::new(), 0), "the second round");
    let mut next = api.agent(agent.node_mut().state.clone());
    next.round(desired_file::decode(desired)).await;
    assert_eq!(api.take_events().0, [""; 0], "the next agent");
    (next, events)
}

#[tokio::test]
async fn each_change_of_a_node_is_published_once_whichever_agent_sees_it() {
    let api = Api::default();
    let wait = Wait::Halted { reason: "INC-1".to_owned() };
    let agent = api.agent(NodeState { slot: Slot::Waiting(wait), ..NodeState::default() });
    let (mut agent, events) = rounds(&api, agent, &desired(Phase::Install, "none")).await;
    assert_eq!(events, ["Normal CriResmgrHeld"]);
    agent.node_mut().state.slot = Slot::Held;
    let (mut agent, events) = rounds(&api, agent, &desired(Phase::Install, "none")).await;
    assert_eq!(events, ["Normal CriResmgrInstalled"], "a switch in one round");
    agent.node_mut().state.daemon.active = false;
    let (agent, events) = rounds(&api, agent, &desired(Phase::Install, "none")).await;
    assert_eq!(events, ["Normal CriResmgrHealed"]);
    let (mut agent, events) = rounds(&api, agent, &desired(Phase::Install, "balloons")).await;
    assert_eq!(events, ["Normal CriResmgrConfigInEffect"]);
    agent.round(desired_file::decode(&desired(Phase::Remove, "none"))).await;
    assert_eq!(api.take_events().0, ["Normal CriResmgrRemoved"]);
}

#[tokio::test]
async fn a_roll_back_is_published_once_and_the_report_stays_short() {
    let api = Api::default();
    let agent = api.agent(NodeState::default());
    let (mut agent, events) = rounds(&api, agent, &desired(Phase::Install, "none")).await;
    assert_eq!(events, ["Normal CriResmgrInstalled"]);
    agent.node_mut().state.daemon_works = false;
    let (_, events) = rounds(&api, agent, &desired(Phase::Install, "topology-aware")).await;
    assert_eq!(events, ["Warning CriResmgrRolledBack"]);
    let report = api.0.lock().unwrap().report.clone().unwrap();
    let text = report["metadata"]["annotations"][names::NODE_REPORT_ANNOTATION].as_str().unwrap().to_owned();
    assert!(text.len() < 2000, "{text}");
}
