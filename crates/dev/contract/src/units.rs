//! Units of systemd, as its clients see them.

use anyhow::{Context as _, ensure};
use futures::StreamExt as _;
use systemd_client::{ActiveState, Event, JobResult, LoadState, SystemdError, UnitFileState};
use testbed::wait_for;

use super::machine::{A, B, LIMIT, Machine, TIMER};

pub(super) async fn a_missing_unit_is_not_found_and_can_be_inspected(machine: &Machine) -> anyhow::Result<()> {
    let systemd = &machine.systemd;
    let missing = machine.state(A).await?;
    ensure!(missing.load_state == LoadState::NotFound && missing.active_state == ActiveState::Inactive, "{missing:?}");
    ensure!(machine.service(A).await?.main_pid == 0, "it has a process");
    ensure!(systemd.unit_file_state(A).await?.is_none(), "it has a file");
    ensure!(systemd.unit_processes(A).await?.is_empty(), "it has processes");
    ensure!(systemd.disable_unit_files(&[A]).await?.is_empty(), "it was enabled");
    systemd.reset_failed(A).await?;
    for outcome in [systemd.start(A, LIMIT).await, systemd.restart(A, LIMIT).await, systemd.stop(A, LIMIT).await] {
        ensure!(matches!(outcome, Err(SystemdError::NoSuchUnit { .. })), "{outcome:?}");
    }
    Ok(())
}

pub(super) async fn a_service_has_a_new_invocation_at_each_start(machine: &Machine) -> anyhow::Result<()> {
    let (systemd, runs) = (&machine.systemd, machine.program("runs", "trap 'exit 0' TERM; sleep 1000 & wait")?);
    machine.unit(A, &format!("[Service]\nExecStart={runs} --x \"a b\"\n")).await?;
    ensure!(systemd.unit_file_state(A).await? == Some(UnitFileState::Static), "it can be enabled");
    machine.start(A).await?;
    let first = machine.state(A).await?;
    ensure!(first.is_running() && first.fragment_path == format!("/etc/systemd/system/{A}"), "{first:?}");
    ensure!(first.invocation_id.len() == 32 && first.active_enter_timestamp_monotonic > 0, "{first:?}");
    let service = machine.service(A).await?;
    ensure!(service.exec_start.len() == 1 && service.exec_start[0].arguments == [&runs, "--x", "a b"], "{service:?}");
    let processes = systemd.unit_processes(A).await?;
    let main = processes.iter().find(|process| process.pid == service.main_pid).context("no main process")?;
    ensure!(main.command_line.ends_with(&format!("{runs} --x \"a b\"")), "{main:?}");
    ensure!(systemd.start(A, LIMIT).await? == JobResult::Done, "a second start fails");
    ensure!(machine.state(A).await?.invocation_id == first.invocation_id, "a second start is a new run");
    ensure!(systemd.restart(A, LIMIT).await? == JobResult::Done, "the restart fails");
    let second = machine.state(A).await?;
    ensure!(second.is_running() && second.invocation_id != first.invocation_id, "{second:?}");
    ensure!(systemd.stop(A, LIMIT).await? == JobResult::Done, "the stop fails");
    let stopped = machine.state(A).await?;
    ensure!(stopped.active_state == ActiveState::Inactive && stopped.sub_state == "dead", "{stopped:?}");
    ensure!(machine.service(A).await?.result == "success", "{stopped:?}");
    ensure!(!systemd.list_jobs().await?.iter().any(|job| job.unit == A), "jobs are left");
    Ok(())
}

pub(super) async fn exec_start_pre_can_write_the_environment_file_of_the_start(
    machine: &Machine,
) -> anyhow::Result<()> {
    machine.file("/opt/contract/env", "V=1\n", 0o644)?;
    let fails = machine.program("fails", "exit 3")?;
    let makes = machine.program("makes", "echo \"V=\\\"x$V y\\\"\" > $R/opt/contract/later")?;
    let runs = machine.program("runs", "echo \"$# $2\" > $R/opt/contract/seen; exec sleep 1000")?;
    let unit = format!(
        "[Service]\nEnvironmentFile=/opt/contract/env\nEnvironmentFile=-/opt/contract/later\nExecStartPre=-{fails}\n\
         ExecStartPre=-/bin/rm -f /opt/contract/later\nExecStartPre={makes}\nExecStart={runs} $V\n"
    );
    machine.unit(A, &unit).await?;
    machine.start(A).await?;
    let service = machine.service(A).await?;
    ensure!(
        service.environment_files
            == [("/opt/contract/env".to_owned(), false), ("/opt/contract/later".to_owned(), true)],
        "{service:?}"
    );
    ensure!(service.exec_start_pre.iter().map(|command| command.ignore_failure).eq([true, true, false]), "{service:?}");
    let seen = machine.path("/opt/contract/seen");
    let seen = wait_for("the program", LIMIT, || async {
        Ok(std::fs::read_to_string(&seen).ok().filter(|text| text.ends_with('\n')))
    })
    .await?;
    // Of an unquoted variable each word is an argument.
    ensure!(seen == "2 y\n", "{seen:?}");
    Ok(())
}

pub(super) async fn a_failing_exec_start_pre_fails_the_start(machine: &Machine) -> anyhow::Result<()> {
    let (fails, runs) = (machine.program("fails", "exit 3")?, machine.runs()?);
    machine.unit(A, &format!("[Service]\nExecStartPre={fails}\nExecStart={runs}\n")).await?;
    ensure!(machine.systemd.start(A, LIMIT).await? == JobResult::Failed, "it starts");
    let state = machine.state(A).await?;
    ensure!(state.active_state == ActiveState::Failed, "{state:?}");
    ensure!(machine.service(A).await?.result == "exit-code", "{state:?}");
    Ok(())
}

pub(super) async fn changed_unit_files_take_effect_after_a_reload(machine: &Machine) -> anyhow::Result<()> {
    let runs = machine.runs()?;
    machine.unit(A, &format!("[Service]\nExecStart={runs}\n")).await?;
    machine.start(A).await?;
    let drop_in = format!("/etc/systemd/system/{A}.d/50-x.conf");
    machine.file(&drop_in, "[Service]\nExecStartPre=-/bin/none\n", 0o644)?;
    ensure!(machine.state(A).await?.drop_in_paths.is_empty(), "read without a reload");
    machine.systemd.reload().await?;
    let unit = machine.state(A).await?;
    ensure!(unit.is_running() && unit.drop_in_paths == [drop_in], "{unit:?}");
    Ok(())
}

pub(super) async fn a_unit_with_two_exec_start_lines_is_bad_and_its_running_process_stays(
    machine: &Machine,
) -> anyhow::Result<()> {
    let runs = machine.runs()?;
    machine.unit(A, &format!("[Service]\nExecStart={runs}\n")).await?;
    machine.start(A).await?;
    let before = machine.service(A).await?.main_pid;
    machine.unit(&format!("{A}.d/50-x.conf"), "[Service]\nExecStart=/bin/second\n").await?;
    let bad = machine.state(A).await?;
    ensure!(bad.load_state == LoadState::BadSetting && bad.load_error.0.ends_with("BadUnitSetting"), "{bad:?}");
    for outcome in [machine.systemd.restart(A, LIMIT).await, machine.systemd.start(A, LIMIT).await] {
        ensure!(matches!(outcome, Err(SystemdError::BadUnitSetting { .. })), "{outcome:?}");
    }
    ensure!(machine.state(A).await?.is_running(), "what ran no longer runs");
    ensure!(machine.service(A).await?.main_pid == before, "another process runs");
    Ok(())
}

pub(super) async fn a_masked_unit_does_not_start(machine: &Machine) -> anyhow::Result<()> {
    machine.unit(A, "").await?;
    std::os::unix::fs::symlink("/dev/null", machine.path(&format!("/etc/systemd/system/{B}")))?;
    machine.systemd.reload().await?;
    for unit in [A, B] {
        let state = machine.state(unit).await?;
        ensure!(state.load_state == LoadState::Masked, "{state:?}");
        let outcome = machine.systemd.start(unit, LIMIT).await;
        ensure!(matches!(outcome, Err(SystemdError::Masked { .. })), "{outcome:?}");
        ensure!(machine.systemd.unit_file_state(unit).await? == Some(UnitFileState::Masked), "{unit} is not masked");
    }
    Ok(())
}

pub(super) async fn a_service_that_exits_with_an_error_has_failed_with_its_status(
    machine: &Machine,
) -> anyhow::Result<()> {
    let exits = machine.program("exits", "exit 7")?;
    machine.unit(A, &format!("[Service]\nRestart=no\nExecStart={exits}\n")).await?;
    machine.start(A).await?;
    machine.wait("the end", A, |unit| unit.active_state == ActiveState::Failed).await?;
    let service = machine.service(A).await?;
    ensure!(
        (service.exec_main_code, service.exec_main_status) == (1, 7) && service.result == "exit-code",
        "{service:?}"
    );
    ensure!(service.main_pid == 0 && service.n_restarts == 0, "{service:?}");
    Ok(())
}

pub(super) async fn a_service_whose_program_cannot_be_executed_fails_after_its_start(
    machine: &Machine,
) -> anyhow::Result<()> {
    machine.unit(A, "[Service]\nExecStart=/opt/contract/none\n").await?;
    // Of a simple service only forking is waited for.
    machine.start(A).await?;
    machine.wait("the end", A, |unit| unit.active_state == ActiveState::Failed).await?;
    let service = machine.service(A).await?;
    ensure!((service.exec_main_status, service.result.as_str()) == (203, "exit-code"), "{service:?}");
    Ok(())
}

pub(super) async fn a_killed_service_with_restart_always_gets_a_new_invocation(
    machine: &Machine,
) -> anyhow::Result<()> {
    let script = "until test -e $R/opt/contract/die; do sleep 0.1; done; rm $R/opt/contract/die; kill -9 $$";
    let dies = machine.program("dies", script)?;
    machine.unit(A, &format!("[Service]\nExecStart={dies}\nRestart=always\nRestartSec=100ms\n")).await?;
    machine.start(A).await?;
    let before = machine.state(A).await?;
    machine.file("/opt/contract/die", "", 0o644)?;
    let after = machine
        .wait("it to come back", A, |unit| unit.is_running() && unit.invocation_id != before.invocation_id)
        .await?;
    let (old, new) = (before.service.context("no service")?, after.service.context("no service")?);
    ensure!(new.main_pid != 0 && new.main_pid != old.main_pid && new.n_restarts == 1, "{new:?}");
    ensure!(machine.systemd.restart(A, LIMIT).await? == JobResult::Done, "the restart fails");
    ensure!(machine.service(A).await?.n_restarts == 0, "a restart that was asked for is counted, or counts on");
    Ok(())
}

pub(super) async fn a_service_that_reaches_its_start_limit_is_failed(machine: &Machine) -> anyhow::Result<()> {
    let (fails, helps) = (machine.program("fails", "exit 3")?, machine.program("helps", "exit 0")?);
    let limit = "StartLimitIntervalSec=60\nStartLimitBurst=3";
    machine.unit(B, &format!("[Service]\nType=oneshot\nExecStart={helps}\n")).await?;
    let unit =
        format!("[Unit]\n{limit}\nOnFailure={B}\n[Service]\nExecStart={fails}\nRestart=always\nRestartSec=100ms\n");
    machine.unit(A, &unit).await?;
    machine.start(A).await?;
    let state = machine.wait("it to be given up", A, |unit| unit.active_state == ActiveState::Failed).await?;
    let service = machine.service(A).await?;
    ensure!(state.sub_state == "failed" && service.result == "exit-code" && service.n_restarts == 3, "{service:?}");
    machine.wait("its helper to be started", B, |unit| !unit.invocation_id.is_empty()).await?;
    ensure!(machine.systemd.start(A, LIMIT).await? == JobResult::Failed, "it may start again at once");
    ensure!(machine.service(A).await?.result == "exit-code", "the limit hides the reason");
    machine.systemd.reset_failed(A).await?;
    ensure!(machine.state(A).await?.active_state == ActiveState::Inactive, "the failure stays");
    machine.start(A).await
}

pub(super) async fn a_failed_unit_without_its_file_stays_listed_until_reset_failed(
    machine: &Machine,
) -> anyhow::Result<()> {
    let fails = machine.program("fails", "exit 3")?;
    machine.unit(A, &format!("[Service]\nExecStart={fails}\n")).await?;
    machine.start(A).await?;
    machine.wait("the end", A, |unit| unit.active_state == ActiveState::Failed).await?;
    std::fs::remove_file(machine.path(&format!("/etc/systemd/system/{A}")))?;
    machine.systemd.reload().await?;
    let state = machine.state(A).await?;
    ensure!((state.load_state, state.active_state) == (LoadState::NotFound, ActiveState::Failed), "no trace is left");
    machine.systemd.reset_failed(A).await?;
    let state = machine.state(A).await?;
    ensure!((state.load_state, state.active_state) == (LoadState::NotFound, ActiveState::Inactive), "a trace is left");
    // systemd forgets such a unit when it has nothing else to do.
    machine.wait("it to be forgotten", A, |unit| unit.invocation_id.is_empty()).await.map(drop)
}

pub(super) async fn stop_works_in_every_state_of_a_unit(machine: &Machine) -> anyhow::Result<()> {
    let (systemd, runs) = (&machine.systemd, machine.runs()?);
    machine.unit(A, &format!("[Service]\nExecStart={runs}\n")).await?;
    ensure!(systemd.stop(A, LIMIT).await? == JobResult::Done, "what does not run cannot be stopped");
    machine.start(A).await?;
    std::fs::remove_file(machine.path(&format!("/etc/systemd/system/{A}")))?;
    systemd.reload().await?;
    ensure!(machine.state(A).await?.is_running(), "what runs ends with its file");
    ensure!(systemd.stop(A, LIMIT).await? == JobResult::Done, "without its file it cannot be stopped");
    ensure!(machine.state(A).await?.active_state == ActiveState::Inactive, "it runs on");
    Ok(())
}

pub(super) async fn a_stop_job_cancels_a_start_job_under_way(machine: &Machine) -> anyhow::Result<()> {
    let systemd = &machine.systemd;
    let waits = machine.program("waits", "touch $R/opt/contract/begun; exec sleep 1000")?;
    let runs = machine.program("runs", "touch $R/opt/contract/ran; exec sleep 1000")?;
    machine.unit(A, &format!("[Service]\nExecStartPre={waits}\nExecStart={runs}\n")).await?;
    let stop = async {
        let path = machine.path("/opt/contract/begun");
        wait_for("the command before the start", LIMIT, || async { Ok(path.exists().then_some(())) }).await?;
        let state = machine.state(A).await?;
        ensure!(state.active_state == ActiveState::Activating && state.sub_state == "start-pre", "{state:?}");
        anyhow::Ok(systemd.stop(A, LIMIT).await?)
    };
    let start = async { anyhow::Ok(systemd.start(A, LIMIT).await?) };
    let (started, stopped) = tokio::try_join!(start, stop)?;
    ensure!(started == JobResult::Canceled, "the start ends as {started}");
    ensure!(stopped == JobResult::Done, "the stop ends as {stopped}");
    let state = machine.state(A).await?;
    // A command that is killed before the start is no clean end, also when it was asked for.
    ensure!(state.active_state == ActiveState::Failed && state.sub_state == "failed", "{state:?}");
    let service = machine.service(A).await?;
    ensure!(service.main_pid == 0 && service.result == "signal", "{service:?}");
    ensure!(!machine.path("/opt/contract/ran").exists(), "it was started after the stop");
    ensure!(!systemd.list_jobs().await?.iter().any(|job| job.unit == A), "jobs are left");
    Ok(())
}

pub(super) async fn a_unit_that_waits_for_its_restart_can_be_stopped(machine: &Machine) -> anyhow::Result<()> {
    let fails = machine.program("fails", "exit 3")?;
    machine.unit(A, &format!("[Service]\nExecStart={fails}\nRestart=always\nRestartSec=1000\n")).await?;
    machine.start(A).await?;
    let waits = machine.wait("its end", A, |unit| unit.sub_state == "auto-restart").await?;
    ensure!(waits.active_state == ActiveState::Activating, "{waits:?}");
    ensure!(machine.systemd.stop(A, LIMIT).await? == JobResult::Done, "the stop fails");
    let state = machine.state(A).await?;
    ensure!(state.active_state == ActiveState::Inactive && state.sub_state == "dead", "{state:?}");
    Ok(())
}

pub(super) async fn enable_makes_the_link_and_disable_removes_it(machine: &Machine) -> anyhow::Result<()> {
    let (systemd, runs) = (&machine.systemd, machine.runs()?);
    machine.unit(A, &format!("[Service]\nExecStart={runs}\n[Install]\nWantedBy=multi-user.target\n")).await?;
    ensure!(systemd.unit_file_state(A).await? == Some(UnitFileState::Disabled), "it is not disabled");
    let made = systemd.enable_unit_files(&[A]).await?;
    ensure!(made.carries_install_info && made.changes.len() == 1, "{made:?}");
    ensure!(systemd.enable_unit_files(&[A]).await?.changes.is_empty(), "it is enabled twice");
    ensure!(systemd.unit_file_state(A).await? == Some(UnitFileState::Enabled), "it is not enabled");
    let link = machine.path(&format!("/etc/systemd/system/multi-user.target.wants/{A}"));
    ensure!(std::fs::read_link(&link)?.ends_with(A), "the link leads elsewhere");
    ensure!(systemd.disable_unit_files(&[A]).await?.len() == 1 && std::fs::read_link(&link).is_err(), "the link stays");
    Ok(())
}

pub(super) async fn a_failed_condition_skips_the_start_without_a_failure(machine: &Machine) -> anyhow::Result<()> {
    let (no, works) = (machine.program("no", "exit 1")?, machine.program("works", "touch $R/opt/contract/worked")?);
    machine.unit(A, &format!("[Service]\nType=oneshot\nExecCondition={no}\nExecStart={works}\n")).await?;
    machine.start(A).await?;
    let state = machine.state(A).await?;
    // Why it did not run, systemd may have forgotten already.
    ensure!(state.active_state == ActiveState::Inactive, "{state:?}");
    ensure!(!machine.path("/opt/contract/worked").exists(), "it was started");
    Ok(())
}

pub(super) async fn a_timer_starts_its_unit_repeatedly(machine: &Machine) -> anyhow::Result<()> {
    let works = machine.program("works", "echo x >> $R/opt/contract/count")?;
    machine.unit(A, &format!("[Service]\nType=oneshot\nExecStart={works}\n")).await?;
    let timer = "[Timer]\nOnActiveSec=100ms\nOnUnitInactiveSec=100ms\nAccuracySec=10ms\n";
    machine.unit(TIMER, timer).await?;
    machine.start(TIMER).await?;
    ensure!(machine.state(TIMER).await?.active_state == ActiveState::Active, "the timer is not active");
    let count = machine.path("/opt/contract/count");
    wait_for("three runs", LIMIT, || async {
        Ok((std::fs::read_to_string(&count)?.lines().count() >= 3).then_some(()))
    })
    .await?;
    ensure!(machine.systemd.stop(TIMER, LIMIT).await? == JobResult::Done, "the timer does not stop");
    ensure!(machine.state(TIMER).await?.active_state == ActiveState::Inactive, "the timer is active");
    Ok(())
}

pub(super) async fn try_restart_does_not_start_a_stopped_unit(machine: &Machine) -> anyhow::Result<()> {
    let runs = machine.runs()?;
    machine.unit(A, &format!("[Service]\nExecStart={runs}\n")).await?;
    machine.unit(B, &format!("[Service]\nType=oneshot\nExecStart=/bin/systemctl try-restart {A}\n")).await?;
    machine.start(B).await?;
    ensure!(machine.state(A).await?.active_state == ActiveState::Inactive, "what did not run was started");
    machine.start(A).await?;
    let before = machine.state(A).await?.invocation_id;
    machine.start(B).await?;
    machine.wait("the restart", A, |unit| unit.is_running() && unit.invocation_id != before).await.map(drop)
}

pub(super) async fn changes_of_units_are_signalled(machine: &Machine) -> anyhow::Result<()> {
    let runs = machine.runs()?;
    machine.unit(A, &format!("[Service]\nExecStart={runs}\n[Install]\nWantedBy=multi-user.target\n")).await?;
    let mut events = machine.systemd.events(&[A]).await?;
    machine.start(A).await?;
    machine.systemd.enable_unit_files(&[A]).await?;
    machine.systemd.reload().await?;
    let mut wanted = vec![
        Event::UnitChanged { unit: A.to_owned() },
        Event::JobRemoved { unit: A.to_owned() },
        Event::UnitFilesChanged,
        Event::Reloaded,
    ];
    while !wanted.is_empty() {
        let event = tokio::time::timeout(LIMIT, events.next()).await;
        let event = event.with_context(|| format!("no event: {wanted:?}"))?.context("the bus is gone")?;
        wanted.retain(|wanted| *wanted != event);
    }
    Ok(())
}
