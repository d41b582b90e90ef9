//! Against a real systemd, a machine of one's own (systemd-nspawn, for example): its units are started, broken and removed.
//!
//! `SYSTEMD_CLIENT_TEST_ROOT` is the machine's root as seen from here (`/proc/<pid of its systemd>/root`); run with
//! `cargo test -p systemd-client --test real -- --ignored --test-threads=1`.
#![expect(clippy::expect_used, reason = "the set-up of a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::StreamExt;
use systemd_client::{
    ActiveState, Ended, Event, Events, JobResult, JournalQuery, LoadState, Systemd, SystemdError, Trial, UnitFileState,
};

const DEADLINE: Duration = Duration::from_secs(20);

struct Machine {
    root: PathBuf,
    systemd: Systemd,
}

async fn machine() -> Machine {
    let root = std::env::var_os("SYSTEMD_CLIENT_TEST_ROOT").expect("SYSTEMD_CLIENT_TEST_ROOT names the machine's root");
    let root = PathBuf::from(root);
    let systemd = connect(&root).await;
    Machine { root, systemd }
}

async fn connect(root: &Path) -> Systemd {
    let socket = root.join("run/dbus/system_bus_socket");
    let systemd = Systemd::connect(&format!("unix:path={}", socket.display())).await.expect("connect");
    systemd.subscribe().await.expect("subscribe");
    systemd.subscribe().await.expect("a second time");
    systemd
}

impl Machine {
    /// Writes a unit file below `/etc` and reloads.
    async fn unit(&self, name: &str, text: &str) {
        let path = self.root.join("etc/systemd/system").join(name);
        fs::create_dir_all(path.parent().expect("directory")).expect("make");
        fs::write(path, text).expect("write");
        self.systemd.reload().await.expect("reload");
    }

    async fn remove(&self, name: &str) {
        drop(self.systemd.stop(name, DEADLINE).await);
        let path = self.root.join("etc/systemd/system").join(name);
        drop(fs::remove_file(&path));
        drop(fs::remove_dir_all(path.with_file_name(format!("{name}.d"))));
        self.systemd.reload().await.expect("reload");
        self.systemd.reset_failed(name).await.expect("reset");
    }
}

async fn expect_event(events: &mut Events, wanted: Event) {
    let found = tokio::time::timeout(DEADLINE, async {
        while let Some(event) = events.next().await {
            if event == wanted {
                return true;
            }
        }
        false
    });
    assert!(found.await.unwrap_or(false), "no {wanted:?}");
}

#[tokio::test]
#[ignore = "needs a machine with systemd of its own: see above"]
async fn a_unit_is_started_stopped_and_removed() {
    let machine = machine().await;
    let systemd = &machine.systemd;
    assert!(systemd.version().await.expect("version").starts_with('2'));
    let unit = "hl-plain.service";
    let missing = systemd.load_unit(unit).await.expect("a missing unit is no error");
    assert_eq!(missing.load_state, LoadState::NotFound);
    assert_eq!(missing.service.expect("service").main_pid, 0);
    assert_eq!(systemd.unit_file_state(unit).await.expect("state"), None);
    assert!(systemd.unit_processes(unit).await.expect("none").is_empty());
    systemd.reset_failed(unit).await.expect("nothing to reset");
    assert!(systemd.disable_unit_files(&[unit]).await.expect("nothing to disable").is_empty());
    let error = systemd.start(unit, DEADLINE).await.expect_err("missing");
    assert!(matches!(error, SystemdError::NoSuchUnit { .. }), "{error:?}");

    let text = "[Service]\nEnvironmentFile=-/run/hl.env\nExecStartPre=-/bin/rm -f /run/hl.env\n\
                ExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n";
    machine.unit(unit, text).await;
    assert_eq!(systemd.unit_file_state(unit).await.expect("state"), Some(UnitFileState::Disabled));
    let enabled = systemd.enable_unit_files(&[unit]).await.expect("enable");
    assert!(enabled.carries_install_info);
    assert_eq!(enabled.changes.len(), 1);
    assert!(systemd.enable_unit_files(&[unit]).await.expect("again").changes.is_empty());
    assert_eq!(systemd.unit_file_state(unit).await.expect("state"), Some(UnitFileState::Enabled));

    assert_eq!(systemd.start(unit, DEADLINE).await.expect("start"), JobResult::Done);
    let first = systemd.load_unit(unit).await.expect("state");
    assert!(first.is_running(), "{first:?}");
    assert_eq!(first.fragment_path, format!("/etc/systemd/system/{unit}"));
    assert_eq!(first.invocation_id.len(), 32);
    assert!(first.active_enter_timestamp_monotonic > 0);
    let service = first.service.clone().expect("service");
    assert_eq!(service.environment_files, [("/run/hl.env".to_owned(), true)]);
    assert_eq!(service.exec_start.len(), 1);
    assert_eq!(service.exec_start[0].arguments, ["/bin/sleep", "infinity"]);
    assert!(service.exec_start_pre[0].ignore_failure);
    let processes = systemd.unit_processes(unit).await.expect("processes");
    assert_eq!(processes.len(), 1);
    assert_eq!(processes[0].pid, service.main_pid);
    assert_eq!(processes[0].command_line, "/bin/sleep infinity");

    assert_eq!(systemd.restart(unit, DEADLINE).await.expect("restart"), JobResult::Done);
    let second = systemd.load_unit(unit).await.expect("state");
    assert_ne!(second.invocation_id, first.invocation_id);
    assert!(systemd.list_jobs().await.expect("jobs").is_empty());

    assert_eq!(systemd.stop(unit, DEADLINE).await.expect("stop"), JobResult::Done);
    assert_eq!(systemd.disable_unit_files(&[unit]).await.expect("disable").len(), 1);
    machine.remove(unit).await;
    assert_eq!(systemd.load_unit(unit).await.expect("state").load_state, LoadState::NotFound);
}

#[tokio::test]
#[ignore = "needs a machine with systemd of its own: see above"]
async fn bad_masked_crashing_and_slow_units_give_different_errors() {
    let machine = machine().await;
    let systemd = &machine.systemd;

    machine.unit("hl-bad.service", "[Service]\nExecStart=/bin/a\nExecStart=/bin/b\n").await;
    let state = systemd.load_unit("hl-bad.service").await.expect("state");
    assert_eq!(state.load_state, LoadState::BadSetting);
    assert!(state.load_error.0.ends_with("BadUnitSetting"), "{:?}", state.load_error);
    let error = systemd.restart("hl-bad.service", DEADLINE).await.expect_err("bad");
    assert!(matches!(error, SystemdError::BadUnitSetting { .. }), "{error:?}");
    machine.remove("hl-bad.service").await;

    machine.unit("hl-masked.service", "").await;
    let state = systemd.load_unit("hl-masked.service").await.expect("state");
    assert_eq!(state.load_state, LoadState::Masked);
    let error = systemd.start("hl-masked.service", DEADLINE).await.expect_err("masked");
    assert!(matches!(error, SystemdError::Masked { .. }), "{error:?}");
    machine.remove("hl-masked.service").await;

    machine.unit("hl-crash.service", "[Service]\nRestart=no\nExecStart=/bin/sh -c 'exit 7'\n").await;
    assert_eq!(systemd.start("hl-crash.service", DEADLINE).await.expect("forked"), JobResult::Done);
    let end = std::time::Instant::now() + DEADLINE;
    let crashed = loop {
        let state = systemd.load_unit("hl-crash.service").await.expect("state");
        if state.active_state == ActiveState::Failed {
            break state.service.expect("service");
        }
        assert!(std::time::Instant::now() < end, "never failed: {state:?}");
    };
    assert_eq!((crashed.exec_main_status, crashed.exec_main_code), (7, 1));
    assert_eq!(crashed.result, "exit-code");
    systemd.reset_failed("hl-crash.service").await.expect("reset");
    machine.remove("hl-crash.service").await;

    machine.unit("hl-pre.service", "[Service]\nExecStartPre=/bin/false\nExecStart=/bin/true\n").await;
    assert_eq!(systemd.start("hl-pre.service", DEADLINE).await.expect("ends"), JobResult::Failed);
    machine.remove("hl-pre.service").await;

    machine.unit("hl-slow.service", "[Service]\nType=oneshot\nExecStart=/bin/sleep 30\n").await;
    let error = systemd.start("hl-slow.service", Duration::from_millis(300)).await.expect_err("slow");
    assert!(matches!(error, SystemdError::Timeout { .. }), "{error:?}");
    let jobs = systemd.list_jobs().await.expect("jobs");
    assert!(jobs.iter().any(|job| job.unit == "hl-slow.service" && job.kind == "start"), "{jobs:?}");
    let other = systemd.clone();
    let start = tokio::spawn(async move { other.start("hl-slow.service", DEADLINE).await });
    let end = std::time::Instant::now() + DEADLINE;
    while systemd.stop("hl-slow.service", DEADLINE).await.expect("stop") != JobResult::Done || !start.is_finished() {
        assert!(std::time::Instant::now() < end, "the start is not cancelled");
        tokio::task::yield_now().await;
    }
    let started = start.await.expect("task").expect("ends");
    assert!(matches!(started, JobResult::Canceled | JobResult::Failed | JobResult::Done), "{started:?}");
    machine.remove("hl-slow.service").await;
}

#[tokio::test]
#[ignore = "needs a machine with systemd of its own: see above"]
async fn reload_loads_new_drop_ins_at_once() {
    let machine = machine().await;
    let systemd = &machine.systemd;
    machine.unit("hl-drop.service", "[Service]\nExecStart=/bin/sleep infinity\n").await;
    assert!(systemd.load_unit("hl-drop.service").await.expect("state").drop_in_paths.is_empty());
    machine.unit("hl-drop.service.d/90-x.conf", "[Service]\nEnvironment=A=1\n").await;
    let state = systemd.load_unit("hl-drop.service").await.expect("state");
    assert_eq!(state.drop_in_paths, ["/etc/systemd/system/hl-drop.service.d/90-x.conf"]);
    machine.remove("hl-drop.service").await;
}

#[tokio::test]
#[ignore = "needs a machine with systemd of its own: see above"]
async fn events_arrive_and_a_slow_reader_does_not_block_calls() {
    let machine = machine().await;
    let systemd = &machine.systemd;
    let unit = "hl-events.service";
    machine.unit(unit, "[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n").await;
    let mut events = systemd.events(&[unit]).await.expect("events");
    systemd.reload().await.expect("reload");
    expect_event(&mut events, Event::Reloaded).await;
    systemd.start(unit, DEADLINE).await.expect("start");
    expect_event(&mut events, Event::UnitChanged { unit: unit.to_owned() }).await;
    expect_event(&mut events, Event::JobRemoved { unit: unit.to_owned() }).await;
    systemd.enable_unit_files(&[unit]).await.expect("enable");
    expect_event(&mut events, Event::UnitFilesChanged).await;
    // Nobody reads the events now: many times more signals than any queue holds, and all calls still answer.
    for _ in 0..300 {
        systemd.reset_failed(unit).await.expect("reset");
        systemd.restart(unit, DEADLINE).await.expect("restart");
    }
    systemd.disable_unit_files(&[unit]).await.expect("disable");
    machine.remove(unit).await;
}

#[tokio::test]
#[ignore = "needs a machine with systemd of its own: see above"]
async fn reload_with_a_full_run_directory_fails_with_its_reason() {
    let machine = machine().await;
    let fill = machine.root.join("run/hl-fill");
    let space = nix_free(&machine.root.join("run"));
    let keep = 8 << 20;
    assert!(space > keep);
    // Really written, for a sparse file takes no space.
    let filled = fs::write(&fill, vec![0; usize::try_from(space - keep).expect("fits")]);
    let outcome = machine.systemd.reload().await;
    fs::remove_file(&fill).expect("remove");
    filled.expect("fill");
    let error = outcome.expect_err("too little space");
    assert!(matches!(error, SystemdError::DiskFull { .. }), "{error:?}");
    machine.systemd.reload().await.expect("space again");
}

fn nix_free(path: &Path) -> u64 {
    let stat = nix::sys::statvfs::statvfs(path).expect("statvfs");
    stat.blocks_available() * stat.fragment_size()
}

#[tokio::test]
#[ignore = "needs a machine with systemd of its own: see above"]
async fn a_lost_bus_ends_events_and_calls_and_a_new_connection_works() {
    let machine = machine().await;
    let mut events = machine.systemd.events(&["dbus.service"]).await.expect("events");
    // The bus goes away with the very call, so its answer may be lost.
    drop(machine.systemd.restart("dbus.service", DEADLINE).await);
    let ended = tokio::time::timeout(DEADLINE, async { while events.next().await.is_some() {} });
    ended.await.expect("the events end");
    let error = machine.systemd.load_unit("dbus.service").await.expect_err("lost");
    assert!(error.needs_reconnect(), "{error:?}");
    let end = std::time::Instant::now() + DEADLINE;
    loop {
        let fresh = connect_quietly(&machine.root).await;
        if let Ok(fresh) = fresh
            && fresh.load_unit("dbus.service").await.is_ok_and(|state| state.is_running())
        {
            break;
        }
        assert!(std::time::Instant::now() < end, "the bus did not come back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn connect_quietly(root: &Path) -> Result<Systemd, SystemdError> {
    let socket = root.join("run/dbus/system_bus_socket");
    Systemd::connect(&format!("unix:path={}", socket.display())).await
}

#[tokio::test]
#[ignore = "needs a machine with systemd of its own: see above"]
async fn a_reexec_keeps_the_connection() {
    let machine = machine().await;
    let systemd = &machine.systemd;
    let unit = "hl-reexec.service";
    machine.unit(unit, "[Service]\nType=oneshot\nExecStart=/bin/sleep 3\n").await;
    let mut events = systemd.events(&[unit]).await.expect("events");
    let other = systemd.clone();
    let start = tokio::spawn(async move { other.start(unit, DEADLINE).await });
    expect_event(&mut events, Event::UnitChanged { unit: unit.to_owned() }).await;
    reexec(&machine.root);
    expect_event(&mut events, Event::ManagerRestarted).await;
    // Signals sent between two owners of the name may be lost; the job's end comes long after.
    let result = start.await.expect("task");
    assert!(matches!(result, Ok(JobResult::Done)), "{result:?}");
    let end = std::time::Instant::now() + DEADLINE;
    loop {
        match systemd.load_unit(unit).await {
            Ok(_) => break,
            Err(SystemdError::Unavailable { .. }) if std::time::Instant::now() < end => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    machine.remove(unit).await;
}

/// SIGTERM makes systemd execute itself anew.
fn reexec(root: &Path) {
    let pid = root.parent().and_then(Path::file_name).and_then(|name| name.to_str()).expect("/proc/<pid>/root");
    let status = std::process::Command::new("kill").args(["-TERM", pid]).status().expect("kill");
    assert!(status.success());
}

fn trial(script: &str, limit: Duration) -> Trial {
    Trial {
        unit: "systemd-client-trial.service".to_owned(),
        description: "a trial".to_owned(),
        command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
        texts: vec![("text".to_owned(), b"what it reads\n".to_vec())],
        directory: "systemd-client-trial".to_owned(),
        output: "/run/systemd-client-trial.log".to_owned(),
        limit,
        memory: 64 << 20,
    }
}

#[tokio::test]
#[ignore = "needs SYSTEMD_CLIENT_TEST_ROOT"]
async fn the_journal_is_read_within_its_limits_and_nothing_is_left() {
    let machine = machine().await;
    let unit = "hl-journal.service";
    let script = "for i in $(seq 1 300); do echo line $i; done; echo the last one";
    machine.unit(unit, &format!("[Service]\nType=oneshot\nExecStart=/bin/sh -c '{script}'\n")).await;
    machine.systemd.start(unit, DEADLINE).await.expect("start");
    let query = JournalQuery {
        unit: "systemd-client-journal.service".to_owned(),
        matches: vec![format!("_SYSTEMD_UNIT={unit}")],
        lines: 10,
        bytes: 64 << 10,
        limit: DEADLINE,
    };
    let read = async |query: &JournalQuery| {
        let found = machine.systemd.journal(query).await.expect("read");
        let left = machine.systemd.load_unit(&query.unit).await.expect("looked at");
        assert_eq!(left.load_state, LoadState::NotFound);
        found
    };
    // journald writes down what was printed a moment later.
    let begin = std::time::Instant::now();
    let mut found = read(&query).await;
    while !found.text.contains("the last one") && begin.elapsed() < DEADLINE {
        tokio::time::sleep(Duration::from_millis(100)).await;
        found = read(&query).await;
    }
    let lines: Vec<&str> = found.text.lines().collect();
    assert_eq!((found.ended, lines.len()), (Ended::Exit(0), 10), "{lines:?}");
    assert!(lines[0].ends_with("line 292") && lines[9].ends_with("the last one"), "{lines:?}");
    // More than it may write: the newest lines, each whole.
    let found = read(&JournalQuery { lines: 300, bytes: 1000, ..query.clone() }).await;
    assert!(matches!(&found.ended, Ended::Otherwise(how) if how == "signal"), "{:?}", found.ended);
    assert!(found.text.len() <= 1000 && found.text.ends_with("the last one\n"), "{}", found.text);
    assert!(found.text.lines().all(|line| line.contains("sh[")), "{}", found.text);
    // Nothing matches.
    let none = JournalQuery { matches: vec!["_SYSTEMD_UNIT=hl-none.service".to_owned()], ..query };
    assert_eq!(read(&none).await.text, "");
    machine.remove(unit).await;
}

#[tokio::test]
#[ignore = "needs SYSTEMD_CLIENT_TEST_ROOT"]
async fn a_trial_returns_how_it_ended_can_do_nothing_and_leaves_nothing() {
    let machine = machine().await;
    let output = machine.root.join("run/systemd-client-trial.log");
    let directory = machine.root.join("run/systemd-client-trial");
    let tried = async |script: &str, limit: u64| {
        drop(fs::remove_file(&output));
        let ended = machine.systemd.try_out(&trial(script, Duration::from_secs(limit))).await.expect("tried");
        let unit = machine.systemd.load_unit("systemd-client-trial.service").await.expect("looked at");
        assert_eq!((unit.load_state, directory.exists()), (LoadState::NotFound, false), "{script}");
        (ended, fs::read_to_string(&output).unwrap_or_default())
    };
    let script = "cat ${CREDENTIALS_DIRECTORY}/text; touch /run/systemd-client-trial/x /etc/x /run/x; id -u; exit 7";
    let (ended, said) = tried(script, 20).await;
    assert_eq!(ended, Ended::Exit(7), "{said}");
    assert!(said.starts_with("what it reads\n") && said.contains("/etc/x") && said.contains("/run/x"), "{said}");
    assert!(!said.contains("systemd-client-trial/x") && !said.ends_with("\n0\n"), "{said}");
    assert_eq!(tried("exit 0", 20).await, (Ended::Exit(0), String::new()));
    assert_eq!(tried("sleep 60", 1).await.0, Ended::TimeOver);
    assert!(matches!(tried("kill -9 $$$$", 20).await.0, Ended::Otherwise(how) if how == "signal"));
    // One that an earlier caller left.
    let left = trial("sleep 60", Duration::from_secs(60));
    let early = tokio::time::timeout(Duration::from_secs(1), machine.systemd.try_out(&left)).await;
    assert!(early.is_err());
    assert_eq!(tried("exit 3", 20).await.0, Ended::Exit(3));
    drop(fs::remove_file(&output));
}
