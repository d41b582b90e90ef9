//! The runtime with plugins that are a few lines each.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::task::JoinHandle;

use crate::trunk::{self, Service};
use crate::ttrpc::{self, Assembler, Kind, Message, code};
use crate::{Cpu, Error, FakeRuntime, NewContainer, Pod, Record, State, Timeouts, api};

const PATIENCE: Duration = Duration::from_secs(20);
/// Short, so that tests of slow plugins are not slow; only plugins that are meant to be slow take that long.
const TIMEOUTS: Timeouts = Timeouts { registration: Duration::from_millis(700), request: Duration::from_millis(700) };

/// What a plugin does with a call.
enum Reply {
    Answer(Bytes),
    Refuse(&'static str),
    /// An empty answer, and then an update of its own.
    AnswerAndUpdate(Vec<api::ContainerUpdate>),
    /// It hangs in this call.
    Silence,
}

fn answer(message: &impl prost::Message) -> Reply {
    Reply::Answer(message.encode_to_vec().into())
}

fn resources(cpu: &Cpu) -> api::LinuxResources {
    api::LinuxResources { memory: None, cpu: Some(cpu.to_api()) }
}

fn update(container: &str, cpu: &Cpu) -> api::ContainerUpdate {
    let linux = Some(api::LinuxContainerUpdate { resources: Some(resources(cpu)) });
    api::ContainerUpdate { container_id: container.to_owned(), linux, ignore_failure: false }
}

fn adjusted(cpu: &Cpu, update: Vec<api::ContainerUpdate>) -> Reply {
    let linux = Some(api::LinuxContainerAdjustment { resources: Some(resources(cpu)) });
    let adjust = Some(api::ContainerAdjustment { mounts: Vec::new(), linux });
    answer(&api::CreateContainerResponse { adjust, update })
}

fn cpus(list: &str) -> Cpu {
    Cpu { cpus: list.to_owned(), ..Cpu::default() }
}

async fn send(stream: &mut UnixStream, service: Service, number: u32, kind: Kind, payload: Vec<u8>) {
    let message = Message { stream: number, kind, flags: 0, payload: payload.into() };
    // The runtime may be gone.
    let _closed = stream.write_all(&trunk::frames(service, &message.encode().unwrap())).await;
}

async fn ask_runtime(stream: &mut UnixStream, number: u32, method: &str, request: &impl prost::Message) {
    let request = ttrpc::Request {
        service: api::RUNTIME.to_owned(),
        method: method.to_owned(),
        payload: request.encode_to_vec().into(),
        timeout_nano: 0,
    };
    send(stream, Service::Runtime, number, Kind::Request, request.encode_to_vec()).await;
}

/// A plugin that answers by `act`, which has the method and the request. It ends with its connection.
async fn plugin(
    socket: &Path,
    index: &'static str,
    act: impl Fn(&str, Bytes) -> Reply + Send + Sync + 'static,
) -> JoinHandle<()> {
    let mut stream = UnixStream::connect(socket).await.unwrap();
    let registration = api::RegisterPluginRequest {
        plugin_name: "test".to_owned(),
        plugin_idx: index.to_owned(),
        nri_version: "v0.0.0".to_owned(),
    };
    ask_runtime(&mut stream, 1, "RegisterPlugin", &registration).await;
    tokio::spawn(async move {
        let (mut calls, mut wish) = (Assembler::default(), None);
        loop {
            let mut head = [0; trunk::HEADER];
            if stream.read_exact(&mut head).await.is_err() {
                return;
            }
            let (service, length) = trunk::header(head).unwrap();
            let mut content = vec![0; length];
            if stream.read_exact(&mut content).await.is_err() {
                return;
            }
            if service == Service::Runtime {
                continue;
            }
            calls.push(&content);
            while let Some(call) = calls.next_message().unwrap() {
                let request = ttrpc::Request::decode(call.payload).unwrap();
                assert_eq!(request.service, api::PLUGIN);
                let response = match act(&request.method, request.payload) {
                    Reply::Answer(payload) => ttrpc::Response { status: None, payload },
                    Reply::Refuse(why) => ttrpc::Response {
                        status: Some(ttrpc::Status { code: code::UNKNOWN, message: why.to_owned() }),
                        payload: Bytes::new(),
                    },
                    Reply::AnswerAndUpdate(update) => {
                        wish = Some(api::UpdateContainersRequest { update });
                        ttrpc::Response::default()
                    }
                    Reply::Silence => continue,
                };
                send(&mut stream, Service::Plugin, call.stream, Kind::Response, response.encode_to_vec()).await;
                if let Some(wish) = wish.take() {
                    ask_runtime(&mut stream, 3, "UpdateContainers", &wish).await;
                }
            }
        }
    })
}

fn synchronized(count: usize) -> impl Fn(&[Record]) -> bool {
    move |records| records.iter().filter(|record| matches!(record, Record::Synchronized { .. })).count() == count
}

fn dropped(records: &[Record]) -> Option<String> {
    records.iter().find_map(|record| match record {
        Record::Dropped { reason, .. } => Some(reason.clone()),
        _ => None,
    })
}

struct Fixture {
    folder: tempfile::TempDir,
    runtime: FakeRuntime,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let runtime = FakeRuntime::listen(&folder.path().join("nri.sock"), TIMEOUTS).unwrap();
        Self { folder, runtime }
    }

    /// One with a pod `p` and a container `old` in it, which no plugin knows.
    async fn with_container() -> Self {
        let fixture = Self::new();
        fixture.runtime.run_pod(Pod { id: "p".into(), name: "p".into(), ..Pod::default() }).await.unwrap();
        fixture.create("old").await.unwrap();
        fixture
    }

    async fn join(&self, index: &'static str, act: impl Fn(&str, Bytes) -> Reply + Send + Sync + 'static) {
        let before = self.runtime.records().iter().filter(|r| matches!(r, Record::Synchronized { .. })).count();
        plugin(&self.folder.path().join("nri.sock"), index, act).await;
        assert!(self.runtime.wait_for(PATIENCE, synchronized(before + 1)).await, "{:?}", self.runtime.records());
    }

    async fn create(&self, id: &str) -> Result<crate::Container, Error> {
        let asked = NewContainer { id: id.into(), pod: "p".into(), name: id.into(), ..NewContainer::default() };
        self.runtime.create_container(asked).await
    }

    fn cpus(&self) -> BTreeMap<String, String> {
        self.runtime.containers().into_iter().map(|(id, container)| (id, container.effective.cpus)).collect()
    }
}

fn set(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(id, cpus)| ((*id).to_owned(), (*cpus).to_owned())).collect()
}

#[tokio::test]
async fn a_plugin_pins_what_is_there_and_what_comes() {
    let fixture = Fixture::with_container().await;
    fixture
        .join("90", |method, request| match method {
            "Synchronize" => {
                let request = api::SynchronizeRequest::decode(request).unwrap();
                let update = request.containers.iter().map(|container| update(&container.id, &cpus("1"))).collect();
                answer(&api::SynchronizeResponse { update, more: false })
            }
            "CreateContainer" => adjusted(&cpus("2"), vec![update("old", &cpus("0-1"))]),
            "StopContainer" => answer(&api::UpdatesResponse { update: vec![update("old", &cpus("0-3"))] }),
            _ => answer(&api::Empty {}),
        })
        .await;
    assert_eq!(fixture.runtime.plugins(), ["90-test"]);
    assert_eq!(fixture.cpus(), set(&[("old", "1")]));
    fixture.create("new").await.unwrap();
    assert_eq!(fixture.cpus(), set(&[("new", "2"), ("old", "0-1")]));
    fixture.runtime.start_container("new").await.unwrap();
    assert_eq!(fixture.runtime.containers()["new"].state, State::Running);
    fixture.runtime.stop_container("new").await.unwrap();
    fixture.runtime.remove_container("new").await.unwrap();
    assert_eq!(fixture.cpus(), set(&[("old", "0-3")]));
    assert_eq!((fixture.runtime.containers()["old"].updates, fixture.runtime.containers()["old"].changes), (3, 3));
}

#[tokio::test]
async fn a_refusal_fails_the_creation_and_the_plugin_stays() {
    let fixture = Fixture::with_container().await;
    fixture
        .join("90", |method, _| match method {
            "CreateContainer" => Reply::Refuse("no room"),
            _ => answer(&api::Empty {}),
        })
        .await;
    let error = fixture.create("new").await.unwrap_err();
    assert_eq!(error.to_string(), "plugin 90-test refused CreateContainer: no room");
    assert_eq!(fixture.cpus(), set(&[("old", "")]));
    assert_eq!(fixture.runtime.plugins(), ["90-test"]);
    let reported: Vec<_> = fixture.runtime.records().iter().filter_map(answered).collect();
    assert_eq!(reported, ["StopContainer", "RemoveContainer"], "it is notified that the container did not come to be");
}

fn answered(record: &Record) -> Option<&'static str> {
    match record {
        Record::Answered { method, .. } => Some(*method),
        _ => None,
    }
}

#[tokio::test]
async fn a_plugin_that_hangs_is_dropped_and_the_container_comes_without_it() {
    let fixture = Fixture::with_container().await;
    fixture
        .join("90", |method, _| match method {
            "CreateContainer" => Reply::Silence,
            _ => answer(&api::Empty {}),
        })
        .await;
    let asked = Instant::now();
    fixture.create("new").await.unwrap();
    assert!(asked.elapsed() >= TIMEOUTS.request);
    assert_eq!(dropped(&fixture.runtime.records()).unwrap(), "CreateContainer: no answer within 700ms");
    assert_eq!(fixture.runtime.plugins(), Vec::<String>::new());
    fixture.create("next").await.unwrap();
    assert_eq!(fixture.cpus(), set(&[("new", ""), ("next", ""), ("old", "")]));
}

#[tokio::test]
async fn a_plugin_that_hangs_in_synchronize_never_becomes_one() {
    let fixture = Fixture::with_container().await;
    let act = |method: &str, _| if method == "Synchronize" { Reply::Silence } else { answer(&api::Empty {}) };
    plugin(&fixture.folder.path().join("nri.sock"), "90", act).await;
    assert!(fixture.runtime.wait_for(PATIENCE, |records| dropped(records).is_some()).await);
    assert_eq!(dropped(&fixture.runtime.records()).unwrap(), "Synchronize: no answer within 700ms");
    assert_eq!(fixture.runtime.plugins(), Vec::<String>::new());
}

#[tokio::test]
async fn who_does_not_register_is_turned_away_and_the_next_one_is_let_in() {
    let fixture = Fixture::new();
    let _silent = UnixStream::connect(fixture.folder.path().join("nri.sock")).await.unwrap();
    fixture.join("90", |_, _| answer(&api::Empty {})).await;
    let reason = "no registration within 700ms".to_owned();
    assert!(fixture.runtime.records().contains(&Record::NotRegistered { reason }), "{:?}", fixture.runtime.records());
}

#[tokio::test]
async fn two_plugins_for_one_field_fail_the_creation() {
    let fixture = Fixture::with_container().await;
    for index in ["20", "10"] {
        fixture
            .join(index, |method, _| match method {
                "CreateContainer" => adjusted(&cpus("2"), Vec::new()),
                _ => answer(&api::Empty {}),
            })
            .await;
    }
    assert_eq!(fixture.runtime.plugins(), ["10-test", "20-test"], "by index");
    let error = fixture.create("new").await.unwrap_err();
    assert_eq!(error.to_string(), r#"plugins 10-test and 20-test both set cpuset.cpus of container "new""#);
    assert_eq!(fixture.cpus(), set(&[("old", "")]));
}

#[tokio::test]
async fn a_runtime_that_goes_away_takes_the_connection_and_keeps_containers() {
    let mut fixture = Fixture::with_container().await;
    let socket = fixture.folder.path().join("nri.sock");
    let gone = plugin(&socket, "90", |method, _| match method {
        "CreateContainer" => adjusted(&cpus("2"), Vec::new()),
        _ => answer(&api::Empty {}),
    })
    .await;
    assert!(fixture.runtime.wait_for(PATIENCE, synchronized(1)).await);
    fixture.create("new").await.unwrap();
    fixture.runtime.close().await;
    tokio::time::timeout(PATIENCE, gone).await.expect("the plugin sees the end").unwrap();
    assert!(!socket.exists());
    assert_eq!(fixture.cpus(), set(&[("new", "2"), ("old", "")]));
    fixture.runtime.reopen().unwrap();
    fixture.join("90", |_, _| answer(&api::Empty {})).await;
    assert_eq!(fixture.runtime.plugins(), ["90-test"]);
}

#[tokio::test]
async fn a_plugin_that_leaves_is_noticed() {
    let fixture = Fixture::with_container().await;
    let socket = fixture.folder.path().join("nri.sock");
    let leaves = plugin(&socket, "90", |_, _| answer(&api::Empty {})).await;
    assert!(fixture.runtime.wait_for(PATIENCE, synchronized(1)).await);
    leaves.abort();
    assert!(fixture.runtime.wait_for(PATIENCE, |records| dropped(records).is_some()).await);
    assert_eq!(fixture.runtime.plugins(), Vec::<String>::new());
}

#[tokio::test]
async fn a_thousand_containers_are_reported_in_full() {
    let fixture = Fixture::with_container().await;
    for number in 0..1000 {
        fixture.create(&format!("container-{number}")).await.unwrap();
    }
    fixture
        .join("90", |method, request| match method {
            "Synchronize" => {
                let request = api::SynchronizeRequest::decode(request).unwrap();
                assert_eq!((request.pods.len(), request.containers.len()), (1, 1001));
                answer(&api::SynchronizeResponse::default())
            }
            _ => answer(&api::Empty {}),
        })
        .await;
}

#[tokio::test]
async fn an_update_of_kubelet_is_overlaid_by_the_plugins() {
    let fixture = Fixture::with_container().await;
    fixture
        .join("90", |method, request| match method {
            "UpdateContainer" => {
                let asked = api::UpdateContainerRequest::decode(request).unwrap();
                assert_eq!(Cpu::of(asked.linux_resources), Cpu { shares: Some(5), ..cpus("0-7") });
                answer(&api::UpdatesResponse { update: vec![update("old", &cpus("3"))] })
            }
            _ => answer(&api::Empty {}),
        })
        .await;
    let updated = fixture.runtime.update_container("old", &Cpu { shares: Some(5), ..cpus("0-7") }).await.unwrap();
    assert_eq!(updated.effective, Cpu { shares: Some(5), ..cpus("3") });
}

#[tokio::test]
async fn unsolicited_updates_are_applied() {
    let fixture = Fixture::with_container().await;
    fixture
        .join("90", |method, _| match method {
            "StateChange" => Reply::AnswerAndUpdate(vec![update("old", &cpus("5")), update("none", &cpus("5"))]),
            _ => answer(&api::Empty {}),
        })
        .await;
    fixture.runtime.start_container("old").await.unwrap();
    let unsolicited =
        |records: &[Record]| records.iter().any(|record| matches!(record, Record::Unsolicited { updates: 2, .. }));
    assert!(fixture.runtime.wait_for(PATIENCE, unsolicited).await, "{:?}", fixture.runtime.records());
    assert_eq!(fixture.cpus(), set(&[("old", "5")]));
    assert_eq!(fixture.runtime.plugins(), ["90-test"]);
}

#[tokio::test]
async fn what_does_not_exist_is_named() {
    let fixture = Fixture::with_container().await;
    assert_eq!(fixture.runtime.start_container("x").await.unwrap_err().to_string(), r#"no container "x""#);
    assert_eq!(fixture.create("old").await.unwrap_err().to_string(), r#"container "old" exists already"#);
    assert_eq!(fixture.runtime.remove_pod("x").await.unwrap_err().to_string(), r#"no pod "x""#);
    fixture.runtime.remove_pod("p").await.unwrap();
    assert_eq!(fixture.runtime.containers().len(), 0);
}
