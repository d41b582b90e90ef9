//! The loop against a daemon's socket: what goes over the wire.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use cri_client::Code;
use cri_client::fake::{Behaviour, FakeRuntime};
use dynamic_config::{Adjustment, Answer, ConfigStatus, Core, DaemonMode, Data, Memory, Push, StatusWrite};
use extension_config::cri_resmgr::CpuSet;
use futures::StreamExt;
use futures::channel::mpsc;
use serde_json::json;
use tokio::sync::watch;

use super::{ConfigSocket, DaemonEnvironment, Dynamic, Input};
use crate::metrics::Metrics;
use crate::shoot::ShootError;

const READY: Behaviour = Behaviour::Answers { runtime_ready: true };
const DEADLINE: Duration = Duration::from_secs(30);
const DEFAULT: &str = "cri-resmgr-config.default";

#[derive(Default)]
struct Outside {
    memory: Memory,
    cached: Option<Data>,
    writes: Vec<StatusWrite>,
    failing_writes: usize,
}

struct TestDaemonEnvironment {
    run: watch::Receiver<Option<String>>,
    outside: Rc<RefCell<Outside>>,
}

impl DaemonEnvironment for TestDaemonEnvironment {
    async fn run(&mut self) -> Option<String> {
        self.run.borrow_and_update().clone()
    }

    async fn run_changed(&mut self) {
        if self.run.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    fn cpus(&self) -> Option<CpuSet> {
        CpuSet::of_kernel("0-3")
    }

    fn cached(&self) -> Option<Data> {
        self.outside.borrow().cached.clone()
    }

    fn remember(&self, memory: &Memory) {
        self.outside.borrow_mut().memory = memory.clone();
    }

    async fn write_status(&self, write: &StatusWrite) -> Result<(), ShootError> {
        let mut outside = self.outside.borrow_mut();
        if outside.failing_writes > 0 {
            outside.failing_writes -= 1;
            return Err(ShootError::NoClient);
        }
        outside.writes.push(write.clone());
        Ok(())
    }
}

struct Fixture {
    _directory: tempfile::TempDir,
    socket: PathBuf,
    run: watch::Sender<Option<String>>,
    daemon_mode: watch::Sender<DaemonMode>,
    outside: Rc<RefCell<Outside>>,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self {
            socket: directory.path().join("config.sock"),
            _directory: directory,
            run: watch::Sender::new(Some("run-1".to_owned())),
            daemon_mode: watch::Sender::new(DaemonMode::Serve { fallback: "policy: {Active: none}".to_owned() }),
            outside: Rc::default(),
        }
    }

    fn daemon(&self) -> FakeRuntime {
        FakeRuntime::serve(&self.socket, READY).unwrap()
    }

    /// An agent with what the one before remembered; its inputs, and what it says.
    fn agent(&self) -> (Dynamic<TestDaemonEnvironment>, mpsc::UnboundedSender<Input>, watch::Receiver<ConfigStatus>) {
        let (inputs, receiver) = mpsc::unbounded();
        let (config_status, config_statuses) = watch::channel(ConfigStatus::default());
        let environment = TestDaemonEnvironment { run: self.run.subscribe(), outside: Rc::clone(&self.outside) };
        let core = Core::new("n", self.outside.borrow().memory.clone());
        let config_socket = ConfigSocket::new(self.socket.clone(), "n".to_owned()).within(Duration::from_secs(2));
        let channels = (self.daemon_mode.subscribe(), config_status);
        let dynamic =
            Dynamic::new(core, environment, config_socket, channels, Metrics::default(), receiver.boxed_local());
        (dynamic, inputs, config_statuses)
    }
}

fn maps(text: &str) -> Input {
    Input::Maps(BTreeMap::from([(DEFAULT.to_owned(), config(text))]))
}

fn config(text: &str) -> Data {
    // In canonical form: it is pushed as it is.
    BTreeMap::from([
        ("policy".to_owned(), r#"{"Active":"none"}"#.to_owned()),
        ("logger".to_owned(), format!(r#"{{"Debug":"{text}"}}"#)),
    ])
}

fn adjustments() -> Input {
    let object = json!({"spec": {"scope": [], "classes": {"rdt": "gold"}}});
    Input::Adjustments(BTreeMap::from([("a".to_owned(), Adjustment::of(&object, "n"))]))
}

/// Lets the agent work until the condition holds.
async fn until(agent: &mut std::pin::Pin<&mut impl Future<Output = ()>>, what: &str, condition: impl Fn() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < end, "not within {DEADLINE:?}: {what}");
        drop(tokio::time::timeout(Duration::from_millis(20), agent.as_mut()).await);
    }
}

#[tokio::test]
async fn configuration_and_adjustments_are_pushed_and_pushed_again_after_a_restart() {
    let fixture = Fixture::new();
    let daemon = fixture.daemon();
    let (dynamic, inputs, config_status) = fixture.agent();
    let mut agent = std::pin::pin!(dynamic.run());
    for input in [Input::Group(None), maps("a"), adjustments()] {
        inputs.unbounded_send(input).unwrap();
    }
    until(&mut agent, "the first hand-over", || !daemon.adjustments().is_empty()).await;
    assert_eq!(daemon.configurations(), [config("a")]);
    assert_eq!(daemon.adjustments(), [r#"{"a":{"classes":{"rdt":"gold"},"scope":[]}}"#]);
    until(&mut agent, "the status", || fixture.outside.borrow().writes.len() == 1).await;
    until(&mut agent, "the standing", || config_status.borrow().accepted.is_some()).await;

    // The daemon restarts: for a while systemd has it and nobody listens.
    drop(daemon);
    std::fs::remove_file(&fixture.socket).unwrap();
    fixture.run.send_replace(Some("run-2".to_owned()));
    drop(tokio::time::timeout(Duration::from_millis(100), agent.as_mut()).await);
    let daemon = fixture.daemon();
    until(&mut agent, "the hand-over to the new run", || !daemon.adjustments().is_empty()).await;
    assert_eq!((daemon.configurations().len(), daemon.adjustments().len()), (1, 1));
    assert_eq!(fixture.outside.borrow().writes.len(), 1, "nothing new stands in the status");
}

/// Defect (a) on the wire, and trap 4: a new agent pushes nothing before it knows, and nothing that the run has.
#[tokio::test]
async fn a_new_agent_pushes_nothing_that_the_daemon_has() {
    let fixture = Fixture::new();
    let daemon = fixture.daemon();
    let (dynamic, inputs, config_status) = fixture.agent();
    {
        let mut agent = std::pin::pin!(dynamic.run());
        inputs.unbounded_send(Input::Group(None)).unwrap();
        inputs.unbounded_send(maps("a")).unwrap();
        until(&mut agent, "the first hand-over", || daemon.configurations().len() == 1).await;
        // It is reported after it was remembered.
        until(&mut agent, "the standing", || config_status.borrow().accepted.is_some()).await;
    }
    let (dynamic, inputs, _config_status) = fixture.agent();
    let mut agent = std::pin::pin!(dynamic.run());
    // Configurations come before adjustments in every check: once these have arrived, nothing of the former was to be pushed.
    inputs.unbounded_send(adjustments()).unwrap();
    until(&mut agent, "the adjustments", || daemon.adjustments().len() == 1).await;
    assert_eq!(daemon.configurations(), [config("a")]);
    for input in [Input::Group(None), maps("a"), Input::Adjustments(BTreeMap::new())] {
        inputs.unbounded_send(input).unwrap();
    }
    until(&mut agent, "no adjustments", || daemon.adjustments().last().is_some_and(|set| set == "{}")).await;
    assert_eq!(daemon.configurations(), [config("a")]);
}

/// Defects (b) and (c) on the wire: a daemon that hangs while everything changes gets the newest once it answers.
#[tokio::test]
async fn a_daemon_that_hung_gets_the_newest_configuration_once_it_answers() {
    let fixture = Fixture::new();
    let daemon = fixture.daemon();
    daemon.behave(Behaviour::Hangs);
    let (dynamic, inputs, _config_status) = fixture.agent();
    let mut agent = std::pin::pin!(dynamic.run());
    inputs.unbounded_send(Input::Group(None)).unwrap();
    inputs.unbounded_send(maps("a")).unwrap();
    until(&mut agent, "a first try", || !daemon.calls().is_empty()).await;
    inputs.unbounded_send(adjustments()).unwrap();
    inputs.unbounded_send(maps("b")).unwrap();
    let tries = daemon.calls().len();
    until(&mut agent, "another try", || daemon.calls().len() > tries + 1).await;
    daemon.behave(READY);
    until(&mut agent, "the hand-over", || daemon.adjustments().len() == 1).await;
    assert_eq!(daemon.configurations(), [config("b")]);
}

#[tokio::test]
async fn a_refusal_is_reported_without_the_daemons_text_and_requests_one_restart() {
    let fixture = Fixture::new();
    let daemon = fixture.daemon();
    daemon.behave(Behaviour::Refuses("failed to apply configuration: SECRET".to_owned()));
    let (dynamic, inputs, config_status) = fixture.agent();
    let mut agent = std::pin::pin!(dynamic.run());
    inputs.unbounded_send(Input::Group(None)).unwrap();
    inputs.unbounded_send(maps("SECRET")).unwrap();
    until(&mut agent, "the standing", || config_status.borrow().problem.is_some()).await;
    let reported = config_status.borrow().clone();
    assert!(
        reported.problem.as_ref().unwrap().message.starts_with(&format!("cri-resmgr refused {DEFAULT} (")),
        "{reported:?}"
    );
    assert!(!format!("{reported:?}").contains("SECRET"));
    assert_eq!(reported.restart_request.as_ref().unwrap().invocation, "run-1");
    fixture.run.send_replace(Some("run-2".to_owned()));
    until(&mut agent, "the new run", || config_status.borrow().restart_request.is_none()).await;
    assert_eq!(daemon.configurations().len(), 1);
}

#[tokio::test]
async fn a_daemon_that_takes_no_configuration_gets_no_push_and_status_writes_are_retried() {
    let fixture = Fixture::new();
    let daemon = fixture.daemon();
    fixture.outside.borrow_mut().failing_writes = 2;
    let (dynamic, inputs, config_status) = fixture.agent();
    let mut agent = std::pin::pin!(dynamic.run());
    for input in [Input::Group(None), maps("a"), adjustments()] {
        inputs.unbounded_send(input).unwrap();
    }
    until(&mut agent, "the status", || fixture.outside.borrow().writes.len() == 1).await;
    fixture.daemon_mode.send_replace(DaemonMode::Off);
    until(&mut agent, "the standing", || {
        let now = config_status.borrow().clone();
        now == ConfigStatus { meant: now.meant.clone(), ..ConfigStatus::default() }
    })
    .await;
    let before = daemon.calls().len();
    let object = json!({"spec": {"scope": []}, "status": {"nodes": {"n": {"errors": {}}}}});
    inputs.unbounded_send(maps("b")).unwrap();
    inputs.unbounded_send(Input::Adjustment("a".into(), Some(Adjustment::of(&object, "n")))).unwrap();
    until(&mut agent, "the status withdrawn", || fixture.outside.borrow().writes.len() == 2).await;
    assert_eq!(fixture.outside.borrow().writes[1].patch, json!({"status": {"nodes": {"n": null}}}));
    assert_eq!(daemon.calls().len(), before);
}

/// A call that the daemon cannot read is an answer, a connection that breaks in the middle of one is none.
#[tokio::test]
async fn a_grpc_error_is_an_answer_and_a_broken_connection_is_none() {
    let fixture = Fixture::new();
    let config_socket = ConfigSocket::new(fixture.socket.clone(), "n".to_owned()).within(DEADLINE);
    let push = Push::Adjustments { set: BTreeMap::from([("a".to_owned(), json!({"scope": []}))]) };
    assert!(config_socket.push(&push).await.is_err_and(|reason| reason.starts_with("cannot connect")));
    let daemon = fixture.daemon();
    for code in [Code::Unknown, Code::Internal, Code::InvalidArgument, Code::ResourceExhausted] {
        daemon.behave(Behaviour::Fails(code));
        let reported = BTreeMap::from([("request".to_owned(), "as told".to_owned())]);
        assert_eq!(config_socket.push(&push).await, Ok(Answer::Refused(reported)), "{code:?}");
    }
    daemon.behave(Behaviour::Fails(Code::Unavailable));
    assert!(config_socket.push(&push).await.is_err());
    daemon.behave(Behaviour::Hangs);
    let calls = daemon.calls().len();
    let mut call = std::pin::pin!(config_socket.push(&push));
    while daemon.calls().len() == calls {
        assert!(
            tokio::time::timeout(Duration::from_millis(20), call.as_mut()).await.is_err(),
            "a daemon that hangs answered"
        );
    }
    drop(daemon);
    assert_eq!(call.await, Err(format!("SetAdjustment on {} failed with Unavailable", fixture.socket.display())));
}
