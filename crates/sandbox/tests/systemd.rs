//! The stand-in of systemd, asked by the client that asks a real one.

use std::any::Any;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use sandbox::systemd::{Launch, Programs, Systemd};
use systemd_client::{ActiveState, JobResult, LoadState, SystemdError, UnitFileState};
use testbed::wait_for;

const LIMIT: Duration = Duration::from_secs(10);

struct Nobody;

impl Programs for Nobody {
    fn play(&self, _launch: &Launch) -> anyhow::Result<Box<dyn Any + Send>> {
        Ok(Box::new(()))
    }
}

struct Machine {
    root: tempfile::TempDir,
    _systemd: Systemd,
    client: systemd_client::Systemd,
}

/// A machine with these files; what is below `/bin` is executable.
async fn machine(files: &[(&str, &str)]) -> anyhow::Result<Machine> {
    let root = tempfile::tempdir()?;
    for (path, text) in files {
        write(root.path(), path, text)?;
    }
    let systemd = Systemd::boot(root.path(), Arc::new(Nobody)).await?;
    let client = systemd_client::Systemd::connect(&Systemd::address(root.path())).await?;
    client.subscribe().await?;
    Ok(Machine { root, _systemd: systemd, client })
}

fn write(root: &Path, path: &str, text: &str) -> anyhow::Result<PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    let file = root.join(path.trim_start_matches('/'));
    std::fs::create_dir_all(file.parent().context("no folder")?)?;
    std::fs::write(&file, text)?;
    if path.starts_with("/bin/") {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755))?;
    }
    Ok(file)
}

const SERVICE: &str = "/etc/systemd/system/a.service";
const RUNS: (&str, &str) = ("/bin/runs", "#!/bin/sh\nexec sleep 1000\n");
const FAILS: (&str, &str) = ("/bin/fails", "#!/bin/sh\nexit 3\n");

#[tokio::test]
async fn a_service_starts_stops_and_is_a_new_one_each_time() -> anyhow::Result<()> {
    let machine = machine(&[RUNS, (SERVICE, "[Service]\nExecStart=/bin/runs --x \"a b\"\n")]).await?;
    let client = &machine.client;
    ensure!(client.version().await?.contains("sandbox"), "another systemd answers");
    ensure!(client.load_unit("b.service").await?.load_state == LoadState::NotFound, "something is there");
    ensure!(matches!(client.start("b.service", LIMIT).await, Err(SystemdError::NoSuchUnit { .. })), "something starts");
    ensure!(client.start("a.service", LIMIT).await? == JobResult::Done, "the job has failed");
    let first = client.load_unit("a.service").await?;
    ensure!(first.is_running() && first.fragment_path == SERVICE && first.unit_file_state == "static", "{first:?}");
    let pid = first.service.as_ref().map_or(0, |service| service.main_pid);
    let processes = client.unit_processes("a.service").await?;
    ensure!(
        processes.len() == 1 && processes[0].pid == pid && processes[0].command_line == "/bin/runs --x \"a b\"",
        "{processes:?}"
    );
    ensure!(Path::new(&format!("/proc/{pid}")).exists(), "no process {pid}");
    ensure!(client.restart("a.service", LIMIT).await? == JobResult::Done, "the job has failed");
    let second = client.load_unit("a.service").await?;
    ensure!(second.invocation_id != first.invocation_id && second.invocation_id.len() == 32, "{second:?}");
    ensure!(!Path::new(&format!("/proc/{pid}")).exists(), "process {pid} is still there");
    ensure!(client.stop("a.service", LIMIT).await? == JobResult::Done, "the job has failed");
    ensure!(client.load_unit("a.service").await?.active_state == ActiveState::Inactive, "it runs");
    ensure!(client.list_jobs().await?.is_empty(), "jobs are left");
    Ok(())
}

#[tokio::test]
async fn commands_before_the_start_see_and_make_what_the_start_gets() -> anyhow::Result<()> {
    let unit = "[Service]\nEnvironmentFile=/etc/env\nEnvironmentFile=-/run/later\nExecStartPre=-/bin/fails\nExecStartPre=/bin/makes\nExecStart=/bin/runs $V\n";
    let machine = machine(&[RUNS, FAILS, (SERVICE, unit), ("/etc/env", "V=1\n")]).await?;
    let later = write(machine.root.path(), "/run/later", "V=2\n")?;
    write(machine.root.path(), "/bin/makes", &format!("#!/bin/sh\necho \"V=\\\"x$V y\\\"\" > {}\n", later.display()))?;
    machine.client.start("a.service", LIMIT).await?;
    let processes = machine.client.unit_processes("a.service").await?;
    ensure!(processes[0].command_line == "/bin/runs x2 y", "{processes:?}");
    Ok(())
}

#[tokio::test]
async fn files_count_after_a_reload() -> anyhow::Result<()> {
    let machine = machine(&[RUNS, (SERVICE, "[Service]\nExecStart=/bin/runs\n")]).await?;
    let client = &machine.client;
    client.start("a.service", LIMIT).await?;
    write(
        machine.root.path(),
        "/etc/systemd/system.control/a.service.d/50-x.conf",
        "[Service]\nExecStartPre=-/bin/none\n",
    )?;
    ensure!(client.load_unit("a.service").await?.drop_in_paths.is_empty(), "read without a reload");
    client.reload().await?;
    let unit = client.load_unit("a.service").await?;
    ensure!(
        unit.is_running() && unit.drop_in_paths == ["/etc/systemd/system.control/a.service.d/50-x.conf"],
        "{unit:?}"
    );
    write(
        machine.root.path(),
        "/etc/systemd/system.control/a.service.d/50-x.conf",
        "[Service]\nExecStart=/bin/second\n",
    )?;
    client.reload().await?;
    ensure!(client.load_unit("a.service").await?.load_state == LoadState::BadSetting, "two programs are accepted");
    ensure!(
        matches!(client.restart("a.service", LIMIT).await, Err(SystemdError::BadUnitSetting { .. })),
        "it restarts"
    );
    ensure!(client.load_unit("a.service").await?.is_running(), "what ran no longer runs");
    Ok(())
}

#[tokio::test]
async fn what_is_killed_comes_back_and_what_fails_again_and_again_does_not() -> anyhow::Result<()> {
    let unit = "[Unit]\nStartLimitIntervalSec=60\nStartLimitBurst=3\nOnFailure=b.service\n[Service]\nExecStart=/bin/runs\nRestart=always\nRestartSec=100ms\n";
    let helper = ("/etc/systemd/system/b.service", "[Service]\nExecStart=/bin/runs\n");
    let machine = machine(&[RUNS, FAILS, (SERVICE, unit), helper]).await?;
    let client = &machine.client;
    client.start("a.service", LIMIT).await?;
    let pid = client.load_unit("a.service").await?.service.context("no service")?.main_pid;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid.try_into()?), nix::sys::signal::Signal::SIGKILL)?;
    wait_for("it to come back", LIMIT, || async {
        let unit = client.load_unit("a.service").await?;
        let service = unit.service.clone().context("no service")?;
        Ok((unit.is_running() && service.main_pid != pid && service.n_restarts == 1).then_some(()))
    })
    .await?;
    std::fs::copy(machine.root.path().join("bin/fails"), machine.root.path().join("bin/runs2"))?;
    std::fs::rename(machine.root.path().join("bin/runs2"), machine.root.path().join("bin/runs"))?;
    let pid = client.load_unit("a.service").await?.service.context("no service")?.main_pid;
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid.try_into()?), nix::sys::signal::Signal::SIGKILL)?;
    wait_for("it to be given up", LIMIT, || async {
        let unit = client.load_unit("a.service").await?;
        let service = unit.service.context("no service")?;
        ensure!(unit.active_state == ActiveState::Failed, "{:?}", unit.active_state);
        Ok((service.result == "start-limit-hit").then_some(()))
    })
    .await?;
    wait_for("its helper to be started", LIMIT, || async {
        Ok((!client.load_unit("b.service").await?.invocation_id.is_empty()).then_some(()))
    })
    .await?;
    client.reset_failed("a.service").await?;
    ensure!(client.load_unit("a.service").await?.active_state == ActiveState::Inactive, "the failure stays");
    Ok(())
}

#[tokio::test]
async fn a_timer_starts_its_unit_again_and_again_and_a_condition_holds_it_back() -> anyhow::Result<()> {
    let timer = "[Timer]\nOnActiveSec=50ms\nOnUnitInactiveSec=50ms\n[Install]\nWantedBy=timers.target\n";
    let unit = "[Service]\nType=oneshot\nExecCondition=/bin/test\nExecStart=/bin/work\n";
    let machine = machine(&[(SERVICE, unit), ("/etc/systemd/system/a.timer", timer)]).await?;
    let (client, root) = (&machine.client, machine.root.path());
    let (count, work) = (root.join("count"), root.join("worked"));
    write(root, "/bin/test", &format!("#!/bin/sh\necho x >> {0}\ntest $(wc -l < {0}) -ge 3\n", count.display()))?;
    write(root, "/bin/work", &format!("#!/bin/sh\n/bin/cp {} {}\n", count.display(), work.display()))?;
    ensure!(client.unit_file_state("a.timer").await? == Some(UnitFileState::Disabled), "it is enabled");
    let made = client.enable_unit_files(&["a.timer"]).await?;
    ensure!(made.carries_install_info && made.changes.len() == 1, "{made:?}");
    ensure!(client.unit_file_state("a.timer").await? == Some(UnitFileState::Enabled), "it is not enabled");
    client.start("a.timer", LIMIT).await?;
    wait_for("the work", LIMIT, || async { Ok(work.exists().then_some(())) }).await?;
    ensure!(std::fs::read_to_string(&work)?.lines().count() >= 3, "the condition did not hold it back");
    client.stop("a.timer", LIMIT).await?;
    ensure!(client.disable_unit_files(&["a.timer"]).await?.len() == 1, "no link was there");
    Ok(())
}

#[tokio::test]
async fn changes_are_told() -> anyhow::Result<()> {
    use futures::StreamExt as _;
    let machine = machine(&[RUNS, (SERVICE, "[Service]\nExecStart=/bin/runs\n")]).await?;
    let mut events = machine.client.events(&["a.service"]).await?;
    machine.client.start("a.service", LIMIT).await?;
    machine.client.reload().await?;
    let (mut unit, mut job, mut reloaded) = (false, false, false);
    while !(unit && job && reloaded) {
        match tokio::time::timeout(LIMIT, events.next()).await?.context("the bus is gone")? {
            systemd_client::Event::UnitChanged { .. } => unit = true,
            systemd_client::Event::JobRemoved { .. } => job = true,
            systemd_client::Event::Reloaded => reloaded = true,
            _ => {}
        }
    }
    Ok(())
}
