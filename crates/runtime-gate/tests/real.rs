//! What the gate writes, read back by a real systemd; and the gate against a real containerd and a real cri-resmgr.
//!
//! `RUNTIME_GATE_TEST_ROOT` is the root of a machine of one's own with systemd (`/proc/<pid of its systemd>/root`), in which the second test
//! wants containerd and cri-resmgr to run on their usual sockets. Run with `cargo test -p runtime-gate --test real -- --ignored`.
#![expect(clippy::expect_used, reason = "the set-up of a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cri_client::fake::{Behaviour, FakeRuntime};
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use systemd_client::{JobResult, Systemd};

const ENDPOINT: &str = "--container-runtime-endpoint=unix:///run/cri-resmgr/cri-resmgr.sock";
const UNIT: &str = "runtime-gate-test.service";
const TEXT: &str = "[Unit]\nStartLimitIntervalSec=0\n[Service]\nType=oneshot\nEnvironmentFile=/run/runtime-gate-test.env\n\
                    StandardOutput=append:/run/runtime-gate-test.out\nExecStart=/usr/bin/env -0\n\
                    ExecStart=/usr/bin/printf '<%%s>' $KUBELET_EXTRA_ARGS\n";

fn machine() -> PathBuf {
    std::env::var_os("RUNTIME_GATE_TEST_ROOT").expect("RUNTIME_GATE_TEST_ROOT names the machine's root").into()
}

async fn gate(root: &Path, own: &str) {
    let status = tokio::process::Command::new(env!("CARGO_BIN_EXE_runtime-gate"))
        .arg("gate")
        .env("CRI_RESMGR_GATE_ROOT", root)
        .env("KUBELET_EXTRA_ARGS", own)
        .stderr(std::process::Stdio::null())
        .status();
    assert!(status.await.expect("runs").success());
}

/// The variable, and the arguments it is split into, as a process started by systemd with this file sees them.
async fn read_back(systemd: &Systemd, machine: &Path, file: &str) -> (Option<String>, String) {
    let output = machine.join("run/runtime-gate-test.out");
    drop(fs::remove_file(&output));
    fs::write(machine.join("run/runtime-gate-test.env"), file).expect("write");
    let result = systemd.start(UNIT, Duration::from_secs(20)).await.expect("start");
    assert_eq!(result, JobResult::Done, "{file}");
    let output = fs::read_to_string(&output).expect("output");
    let (variables, words) = output.rsplit_once('\0').expect("both commands ran");
    let variable = variables.split('\0').find_map(|variable| variable.strip_prefix("KUBELET_EXTRA_ARGS="));
    (variable.map(str::to_owned), words.to_owned())
}

/// Written here once more, so that the host's own value can be read back alone.
fn own_file(own: &str) -> String {
    let protected: String = own
        .chars()
        .flat_map(|character| {
            matches!(character, '"' | '\\' | '`' | '$').then_some('\\').into_iter().chain([character])
        })
        .collect();
    format!("KUBELET_EXTRA_ARGS=\"{protected}\"\n")
}

#[tokio::test]
#[ignore = "needs a machine with systemd of its own: see above"]
async fn systemd_reads_back_the_same_value_and_adds_one_argument() {
    let machine = machine();
    let address = format!("unix:path={}", machine.join("run/dbus/system_bus_socket").display());
    let systemd = Systemd::connect(&address).await.expect("connect");
    systemd.subscribe().await.expect("subscribe");
    let unit_file = machine.join("run/systemd/system").join(UNIT);
    fs::create_dir_all(unit_file.parent().expect("directory")).expect("make");
    fs::write(&unit_file, TEXT).expect("write");
    systemd.reload().await.expect("reload");

    let root = tempfile::tempdir().expect("temporary directory");
    fs::create_dir_all(root.path().join("run/cri-resmgr")).expect("make");
    let socket = root.path().join("run/cri-resmgr/cri-resmgr.sock");
    let _proxy = FakeRuntime::serve(&socket, Behaviour::Answers { runtime_ready: true }).expect("proxy");
    let file = root.path().join("run/gardener-extension-cri-resmgr/runtime.env");

    let mut values: Vec<String> =
        ["--node-ip=\"::\"", "--fail-cgroupv1=false", "a # b ; c", "--x='$HOME %h' \\\" \\\\", "\n--a\n--b\t"]
            .map(str::to_owned)
            .into();
    let mut runner = TestRunner::deterministic();
    let random = "[a-c=#;: \t\n\"'$%`\\\\{}ä-]{1,30}";
    for _ in 0..150 {
        values.push(random.new_tree(&mut runner).expect("value").current());
    }
    let (mut appended, mut refused) = (0, 0);
    for own in &values {
        gate(root.path(), own).await;
        let (variable, own_words) = read_back(&systemd, &machine, &own_file(own)).await;
        assert_eq!(variable.as_deref(), Some(own.as_str()));
        if let Ok(text) = fs::read_to_string(&file) {
            let (variable, words) = read_back(&systemd, &machine, &text).await;
            let blank = own.trim().is_empty();
            let expected = if blank { ENDPOINT.to_owned() } else { format!("{own} {ENDPOINT}") };
            assert_eq!(variable, Some(expected), "{own:?}");
            let own_words = if blank { String::new() } else { own_words };
            assert_eq!(words, format!("{own_words}<{ENDPOINT}>"), "{own:?}");
            appended += 1;
        } else {
            // Refused with reason: what follows would become part of the last word.
            let (_, words) = read_back(&systemd, &machine, &own_file(&format!("{own} {ENDPOINT}"))).await;
            assert!(!words.ends_with(&format!("><{ENDPOINT}>")), "{own:?}: refused without need, {words}");
            refused += 1;
        }
    }
    fs::remove_file(&unit_file).expect("remove");
    systemd.reload().await.expect("reload");
    assert!(appended > 20 && refused > 20, "{appended} appended, {refused} refused");
}

#[tokio::test]
#[ignore = "needs a machine with containerd and cri-resmgr: see above"]
async fn probe_of_the_real_proxy_and_containerd_is_ready() {
    let machine = machine();
    for socket in ["run/containerd/containerd.sock", "run/cri-resmgr/cri-resmgr.sock"] {
        let outcome = cri_client::probe(&machine.join(socket), Duration::from_secs(5)).await.expect(socket);
        assert!(outcome.is_ready(), "{socket}: {outcome:?}");
        assert_eq!(outcome.version.name, "containerd");
    }
    let socket = machine.join("run/cri-resmgr/cri-resmgr-config.sock");
    let client = cri_client::ConfigClient::connect(&socket, Duration::from_secs(5)).await.expect("connect");
    let config = |text: &str| std::collections::BTreeMap::from([("policy".to_owned(), text.to_owned())]);
    let limit = Duration::from_secs(10);
    client.set_config("node", config("Active: none\n"), limit).await.expect("taken");
    let error = client.set_config("node", config("Active: [\n"), limit).await.expect_err("refused");
    assert!(matches!(error, cri_client::CriError::Refused { .. }), "{error:?}");
    assert!(client.set_adjustment("node", "{}".to_owned(), limit).await.expect("taken").is_empty());
    client.set_adjustment("node", "{".to_owned(), limit).await.expect_err("not JSON");
}
