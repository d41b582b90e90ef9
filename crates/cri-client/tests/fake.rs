//! The client against the fake server, over a real unix socket.
#![expect(clippy::expect_used, reason = "the set-up of a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use cri_client::fake::{Behaviour, FakeContainer, FakeRuntime, FakeUpdate};
use cri_client::{Code, ConfigClient, ContainerState, CriError, Phase, ResourceUpdate, RuntimeClient, probe};

const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(10);
const READY: Behaviour = Behaviour::Answers { runtime_ready: true };

fn socket() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("temporary directory");
    let socket = directory.path().join("runtime.sock");
    (directory, socket)
}

#[tokio::test]
async fn probe_of_a_ready_runtime_is_ready() {
    let (_directory, socket) = socket();
    let fake = FakeRuntime::serve(&socket, READY).expect("serve");
    let outcome = probe(&socket, LONG).await.expect("answers");
    assert!(outcome.is_ready());
    assert_eq!(outcome.version.name, "containerd");
    assert_eq!(outcome.version.api_version, "v1");
    assert!(outcome.status.condition("NetworkReady").is_some_and(|network| !network.status));
    assert_eq!(fake.calls(), ["/runtime.v1.RuntimeService/Version", "/runtime.v1.RuntimeService/Status"]);
}

#[tokio::test]
async fn probe_of_a_runtime_that_is_not_ready_says_so() {
    let (_directory, socket) = socket();
    let _fake = FakeRuntime::serve(&socket, Behaviour::Answers { runtime_ready: false }).expect("serve");
    assert!(!probe(&socket, LONG).await.expect("answers").is_ready());
}

#[tokio::test]
async fn probe_of_a_runtime_that_hangs_times_out() {
    let (_directory, socket) = socket();
    let _fake = FakeRuntime::serve(&socket, Behaviour::Hangs).expect("serve");
    let begin = Instant::now();
    let error = probe(&socket, SHORT).await.expect_err("hangs");
    assert!(matches!(error, CriError::Timeout { phase: Phase::Version, .. }), "{error:?}");
    assert!(begin.elapsed() < LONG);
}

#[tokio::test]
async fn probe_of_a_listener_that_never_accepts_times_out() {
    let (_directory, socket) = socket();
    let _listener = std::os::unix::net::UnixListener::bind(&socket).expect("bind");
    let error = probe(&socket, SHORT).await.expect_err("hangs");
    assert!(matches!(error, CriError::Timeout { .. }), "{error:?}");
}

#[tokio::test]
async fn probe_of_a_missing_or_stale_socket_finds_it_absent() {
    let (_directory, socket) = socket();
    let missing = probe(&socket, LONG).await.expect_err("missing");
    assert!(missing.is_absent(), "{missing:?}");
    drop(std::os::unix::net::UnixListener::bind(&socket).expect("bind"));
    assert!(socket.exists());
    let stale = probe(&socket, LONG).await.expect_err("stale");
    assert!(stale.is_absent(), "{stale:?}");
}

#[tokio::test]
async fn probe_of_a_runtime_that_fails_is_an_error() {
    let (_directory, socket) = socket();
    let _fake = FakeRuntime::serve(&socket, Behaviour::Fails(tonic::Code::Unavailable)).expect("serve");
    let error = probe(&socket, LONG).await.expect_err("fails");
    assert!(
        matches!(&error, CriError::Call { phase: Phase::Version, code: tonic::Code::Unavailable, message, .. } if message == "as told"),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_client_survives_a_restart_of_the_server() {
    let (_directory, socket) = socket();
    let first = FakeRuntime::serve(&socket, READY).expect("serve");
    let client = RuntimeClient::connect(&socket, LONG).await.expect("connect");
    client.version(LONG).await.expect("first");
    drop(first);
    std::fs::remove_file(&socket).expect("remove");
    let _second = FakeRuntime::serve(&socket, READY).expect("serve again");
    let end = Instant::now() + LONG;
    while let Err(error) = client.version(SHORT).await {
        assert!(Instant::now() < end, "not reconnected: {error:?}");
    }
}

#[tokio::test]
async fn set_config_delivers_the_whole_configuration_and_returns_refusals() {
    let (_directory, socket) = socket();
    let fake = FakeRuntime::serve(&socket, READY).expect("serve");
    let client = ConfigClient::connect(&socket, LONG).await.expect("connect");
    let config = BTreeMap::from([
        ("policy".to_owned(), "Active: none\n".to_owned()),
        ("logger".to_owned(), "Debug: \"ä\"\n".to_owned()),
    ]);
    client.set_config("node-1", config.clone(), LONG).await.expect("taken");
    assert_eq!(fake.configurations(), std::slice::from_ref(&config));
    assert!(client.set_adjustment("node-1", "{}".to_owned(), LONG).await.expect("taken").is_empty());
    assert_eq!(fake.adjustments(), ["{}"]);
    fake.behave(Behaviour::Refuses("failed to apply configuration".to_owned()));
    let error = client.set_config("node-1", config, LONG).await.expect_err("refused");
    assert!(matches!(error, CriError::Refused { .. }), "{error:?}");
}

fn containers() -> BTreeMap<String, FakeContainer> {
    let labels = [
        ("io.kubernetes.pod.namespace", "kube-system"),
        ("io.kubernetes.pod.name", "dns"),
        ("io.kubernetes.container.name", "main"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()));
    let container = |state, labels| FakeContainer {
        labels,
        state,
        info: r#"{"config":{"linux":{"resources":{"cpu_shares":102}}},"runtimeSpec":{"linux":{"cgroupsPath":"/a"}}}"#
            .to_owned(),
    };
    BTreeMap::from([
        ("a".to_owned(), container(ContainerState::Running, labels.into())),
        ("b".to_owned(), container(ContainerState::Exited, BTreeMap::new())),
    ])
}

#[tokio::test]
async fn containers_are_listed_by_pod_name_and_state() {
    let (_directory, socket) = socket();
    let fake = FakeRuntime::serve(&socket, READY).expect("serve");
    fake.hold(containers());
    let client = RuntimeClient::connect(&socket, LONG).await.expect("connect");
    let listed = client.containers(LONG).await.expect("list");
    let found: Vec<_> = listed.iter().map(|info| (info.id.as_str(), info.name.as_str(), info.state)).collect();
    assert_eq!(found, [("a", "kube-system/dns/main", ContainerState::Running), ("b", "//", ContainerState::Exited)]);
    let record = client.record("a", LONG).await.expect("status");
    assert_eq!((record.asked_shares, record.cgroups_path.as_deref()), (Some(102), Some("/a")));
    let error = client.record("c", LONG).await.expect_err("unknown");
    assert!(matches!(error, CriError::Call { phase: Phase::ContainerStatus, code: Code::NotFound, .. }), "{error:?}");
}

#[tokio::test]
async fn an_update_sends_only_what_is_to_change() {
    let (_directory, socket) = socket();
    let fake = FakeRuntime::serve(&socket, READY).expect("serve");
    fake.hold(containers());
    let client = RuntimeClient::connect(&socket, LONG).await.expect("connect");
    let update = ResourceUpdate { cpus: Some("0-7".to_owned()), ..ResourceUpdate::default() };
    client.update("a", update, LONG).await.expect("update");
    let sent = FakeUpdate { id: "a".to_owned(), cpu_shares: 0, cpus: "0-7".to_owned(), mems: String::new() };
    assert_eq!(fake.updates(), [sent]);
    let error = client.update("c", ResourceUpdate::default(), LONG).await.expect_err("unknown");
    assert!(matches!(error, CriError::Call { code: Code::NotFound, .. }), "{error:?}");
}
