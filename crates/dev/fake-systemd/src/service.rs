//! Services: starting, ending, starting again.

use std::any::Any;
use std::collections::BTreeMap;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use std::os::unix::process::ExitStatusExt as _;

use nix::sys::signal::{Signal as Kill, kill};
use nix::unistd::Pid;
use tokio::process::{Child, ChildStdin, Command as Process};
use tokio::sync::oneshot;
use tokio::time::Instant;
use unit_files::Command;

use super::manager::{JobKind, Manager};
use super::transient::{CREDENTIALS_DIRECTORY, credentials};
use super::unit::Files;
use super::{Spawn, below};

/// Program that could not be executed, as systemd reports it.
const NOT_EXECUTED: i32 = 203;
/// Credentials that could not be read, likewise.
const NO_CREDENTIALS: i32 = 243;
/// `CLD_EXITED` and `CLD_KILLED`.
const EXITED: i32 = 1;
const KILLED: i32 = 2;

/// How a process ended: `CLD_…` and status or signal.
type Exit = (i32, i32);

/// A main process, and who fakes it.
struct Main {
    child: Child,
    part: Option<Box<dyn Any + Send>>,
    /// Waiting for a process closes what it reads from, unless it is held elsewhere.
    _input: Option<ChildStdin>,
}

impl Manager {
    pub(super) async fn start_service(&self, name: &str) -> &'static str {
        if self.with(name, |unit| unit.active == "active") {
            return "done";
        }
        // Restarts are counted since the last start that was asked for.
        self.with(name, |unit| unit.n_restarts = 0);
        self.begin(name).await
    }

    /// A start, by a job or automatic.
    async fn begin(&self, name: &str) -> &'static str {
        let files = self.with(name, |unit| unit.files.clone());
        if !self.with(name, |unit| unit.may_start(Instant::now())) {
            self.turn(name, |unit| {
                (unit.active, unit.sub) = ("failed", "failed");
                // What failed before is the better reason.
                if unit.result == "success" {
                    unit.result = "start-limit-hit";
                }
                unit.main_pid = 0;
            });
            self.on_failure(&files);
            return "failed";
        }
        let invocation: Vec<u8> = random();
        self.turn(name, |unit| {
            unit.run += 1;
            unit.begun += 1;
            unit.invocation.clone_from(&invocation);
            (unit.active, unit.sub, unit.result) = ("activating", "start-pre", "success");
        });
        if self.load_credentials(name, &files).is_err() {
            return self.failed(name, &files, (EXITED, NO_CREDENTIALS));
        }
        for condition in files.commands("ExecCondition") {
            match self.run_to_end(&files, &condition, None).await {
                (EXITED, 0) => {}
                (EXITED, 1..=254) => {
                    self.turn(name, |unit| {
                        (unit.active, unit.sub, unit.result) = ("inactive", "dead", "exec-condition");
                    });
                    return "done";
                }
                exit => return self.failed(name, &files, exit),
            }
        }
        for command in files.commands("ExecStartPre") {
            let exit = self.run_to_end(&files, &command, None).await;
            if exit != (EXITED, 0) && !command.ignore_failure {
                return self.failed(name, &files, exit);
            }
        }
        if files.is_oneshot() { self.run_oneshot(name, &files).await } else { self.run_simple(name, &files).await }
    }

    async fn run_oneshot(&self, name: &str, files: &Files) -> &'static str {
        self.turn(name, |unit| unit.sub = "start");
        for command in files.commands("ExecStart") {
            let exit = self.run_to_end(files, &command, None).await;
            if exit != (EXITED, 0) && !command.ignore_failure {
                return self.failed(name, files, exit);
            }
        }
        self.turn(name, |unit| (unit.active, unit.sub) = ("inactive", "dead"));
        "done"
    }

    async fn run_simple(&self, name: &str, files: &Files) -> &'static str {
        let Some(command) = files.commands("ExecStart").into_iter().next() else { return "failed" };
        let Ok(environment) = self.environment(files) else { return self.failed(name, files, (EXITED, 1)) };
        let arguments = unit_files::expand(&command.arguments, &environment);
        let mut main = match self.spawn_process(&command.path, &arguments, &environment) {
            Ok(main) => main,
            // Only forking is waited for, so that this ends the process and not the job.
            Err(_not_executed) => {
                self.ended(name, files, (EXITED, NOT_EXECUTED));
                return "done";
            }
        };
        let pid = main.child.id().unwrap_or_default();
        let (stop, stopped) = oneshot::channel();
        let run = self.with(name, |unit| unit.run);
        self.turn(name, |unit| {
            unit.main_pid = pid;
            unit.command_line = arguments.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
            unit.sub = "start-post";
            unit.stop = Some(stop);
        });
        let (owned, patience) = (name.to_owned(), files.settings.seconds("Service", "TimeoutStopSec").unwrap_or(90.0));
        let of_run = files.clone();
        self.spawn(|manager| async move {
            let (exit, asked) = watch(&mut main, stopped, Duration::from_secs_f64(patience)).await;
            drop(main.part.take());
            match asked {
                Some(answer) => drop(answer.send(())),
                None if manager.with(&owned, |unit| unit.run) == run => manager.ended(&owned, &of_run, exit),
                None => {}
            }
        });
        for command in files.commands("ExecStartPost") {
            let exit = self.run_to_end(files, &command, Some(pid)).await;
            if exit != (EXITED, 0) && !command.ignore_failure {
                self.stop_service(name).await;
                return self.failed(name, files, exit);
            }
        }
        self.turn(name, |unit| {
            // It may have ended meanwhile.
            if unit.run == run && unit.main_pid == pid {
                (unit.active, unit.sub) = ("active", "running");
                unit.active_enter = monotonic();
            }
        });
        "done"
    }

    /// The main process ended by itself.
    fn ended(&self, name: &str, files: &Files, exit: Exit) {
        let clean = exit == (EXITED, 0);
        let restarts = match files.settings.last("Service", "Restart") {
            Some("always") => true,
            Some("on-failure" | "on-abnormal") => !clean,
            _ => false,
        };
        let pause = files.settings.seconds("Service", "RestartSec").unwrap_or(0.1);
        let mut run = 0;
        self.turn(name, |unit| {
            run = unit.run;
            (unit.main_pid, unit.exit, unit.stop) = (0, exit, None);
            unit.command_line.clear();
            unit.result = if clean {
                "success"
            } else if exit.0 == KILLED {
                "signal"
            } else {
                "exit-code"
            };
            (unit.active, unit.sub) = match (restarts, clean) {
                (true, _) => ("activating", "auto-restart"),
                (false, true) => ("inactive", "dead"),
                (false, false) => ("failed", "failed"),
            };
        });
        if !restarts {
            if !clean {
                self.on_failure(files);
            }
            return;
        }
        let name = name.to_owned();
        self.spawn(|manager| async move {
            tokio::time::sleep(Duration::from_secs_f64(pause)).await;
            // A unit whose file is gone meanwhile is not started again.
            drop(manager.queue(&name, JobKind::AutoRestart(run)));
        });
    }

    /// What `Restart=` asks for after a run that has ended, unless it was stopped or started meanwhile.
    pub(super) async fn restart_by_itself(&self, name: &str, run: u64) -> &'static str {
        let waits = self.with(name, |unit| {
            let waits = unit.run == run && unit.sub == "auto-restart";
            unit.n_restarts += u32::from(waits);
            waits
        });
        if waits { self.begin(name).await } else { "canceled" }
    }

    fn failed(&self, name: &str, files: &Files, exit: Exit) -> &'static str {
        self.ended(name, files, exit);
        "failed"
    }

    fn on_failure(&self, files: &Files) {
        for other in files.settings.words("Unit", "OnFailure") {
            // A unit that is not there cannot help; systemd logs it.
            drop(self.queue(other, JobKind::Start));
        }
    }

    pub(super) async fn stop_service(&self, name: &str) {
        // A command of `ExecStartPre` has died with its job.
        let was_killed = self.with(name, |unit| unit.active == "activating" && unit.sub == "start-pre");
        let stop = self.with(name, |unit| unit.stop.take());
        if let Some(stop) = stop {
            self.turn(name, |unit| (unit.active, unit.sub) = ("deactivating", "stop-sigterm"));
            let (answer, answered) = oneshot::channel();
            if stop.send(answer).is_ok() {
                drop(answered.await);
            }
        }
        self.drop_credentials(name);
        self.turn(name, |unit| {
            unit.run += 1;
            unit.main_pid = 0;
            unit.command_line.clear();
            if was_killed {
                (unit.active, unit.sub, unit.result) = ("failed", "failed", "signal");
            } else {
                (unit.active, unit.sub) = ("inactive", "dead");
            }
        });
    }

    async fn run_to_end(&self, files: &Files, command: &Command, main: Option<u32>) -> Exit {
        // Read anew for each command, as systemd does: one may write what the next one gets.
        let Ok(mut environment) = self.environment(files) else { return (EXITED, 1) };
        if let Some(main) = main {
            environment.insert("MAINPID".to_owned(), main.to_string());
        }
        let arguments = unit_files::expand(&command.arguments, &environment);
        if let Some(exit) = self.own_program(&arguments) {
            return exit;
        }
        let limit = files.settings.seconds("Service", "TimeoutStartSec").unwrap_or(90.0);
        if let Ok(Some(name)) = faked_by(&below(&self.root, &command.path)) {
            let spawn = Spawn { name, arguments, environment, pid: 0 };
            let run = self.programs.run_to_end(spawn);
            return match tokio::time::timeout(Duration::from_secs_f64(limit), run).await {
                Ok(Ok(ran)) if self.keep_output(files, &ran.output).is_ok() => (EXITED, ran.code),
                Ok(_) => (EXITED, NOT_EXECUTED),
                Err(_elapsed) => (KILLED, Kill::SIGKILL as i32),
            };
        }
        let Ok(mut main) = self.spawn_process(&command.path, &arguments, &environment) else {
            return (EXITED, NOT_EXECUTED);
        };
        match tokio::time::timeout(Duration::from_secs_f64(limit), main.child.wait()).await {
            Ok(Ok(status)) => exit_of(status),
            _ => (KILLED, Kill::SIGKILL as i32),
        }
    }

    /// Programs of the system that have to act on this node and not on the machine.
    fn own_program(&self, arguments: &[String]) -> Option<Exit> {
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        match words.as_slice() {
            ["/bin/rm" | "/usr/bin/rm", "-f", paths @ ..] => {
                let is_gone = |path: &&str| match std::fs::remove_file(below(&self.root, path)) {
                    Err(error) => error.kind() == std::io::ErrorKind::NotFound,
                    Ok(()) => true,
                };
                Some((EXITED, i32::from(!paths.iter().all(is_gone))))
            }
            ["/bin/systemctl" | "/usr/bin/systemctl", "restart", unit] => {
                Some((EXITED, i32::from(self.queue(unit, JobKind::Restart).is_err())))
            }
            ["/bin/systemctl" | "/usr/bin/systemctl", "try-restart", unit] => {
                let is_down = self.with(unit, |unit| unit.is_down());
                Some((EXITED, i32::from(!is_down && self.queue(unit, JobKind::Restart).is_err())))
            }
            _ => None,
        }
    }

    fn environment(&self, files: &Files) -> std::io::Result<BTreeMap<String, String>> {
        let mut environment = BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]);
        if !files.settings.all("Service", "LoadCredential").is_empty() {
            environment.insert(CREDENTIALS_DIRECTORY.to_owned(), credentials(files.name()));
        }
        for value in files.settings.all("Service", "Environment") {
            environment.extend(unit_files::environment(value));
        }
        for (path, optional) in files.settings.environment_files() {
            match std::fs::read_to_string(below(&self.root, path)) {
                Ok(text) => environment.extend(unit_files::environment(&text)),
                Err(_) if optional => {}
                Err(error) => return Err(error),
            }
        }
        Ok(environment)
    }

    fn spawn_process(
        &self,
        path: &str,
        arguments: &[String],
        environment: &BTreeMap<String, String>,
    ) -> anyhow::Result<Main> {
        let file = below(&self.root, path);
        let faked = faked_by(&file)?;
        let mut process = Process::new(if faked.is_some() { "cat".into() } else { file.into_os_string() });
        process.env_clear().envs(environment).kill_on_drop(true).stdout(Stdio::null());
        // What a unit runs writes to the journal; a node here has none of systemd's.
        process.stderr(self.programs.journal().map_or_else(Stdio::null, Stdio::from));
        let Some(name) = faked else {
            process.args(arguments.iter().skip(1)).stdin(Stdio::null()).env("CRI_RESMGR_GATE_ROOT", &self.root);
            return Ok(Main { child: process.spawn()?, part: None, _input: None });
        };
        // It reads from us, so that it ends with us whatever happens, and gets no signal of our terminal.
        let mut child = process.stdin(Stdio::piped()).process_group(0).spawn()?;
        let spawn = Spawn {
            name,
            arguments: arguments.to_vec(),
            environment: environment.clone(),
            pid: child.id().unwrap_or_default(),
        };
        let part = self.programs.start(&spawn)?;
        Ok(Main { _input: child.stdin.take(), child, part: Some(part) })
    }
}

/// The name in a faked program's second line.
fn faked_by(file: &std::path::Path) -> std::io::Result<Option<String>> {
    use std::io::Read as _;
    let mut head = Vec::new();
    std::fs::File::open(file)?.take(256).read_to_end(&mut head)?;
    let head = String::from_utf8_lossy(&head);
    let second = head.lines().nth(1).unwrap_or_default();
    Ok(second.strip_prefix("# sandbox: ").map(str::to_owned))
}

/// Waits for the end of a process; when it is asked to end, by itself or by force.
async fn watch(
    main: &mut Main,
    stop: oneshot::Receiver<oneshot::Sender<()>>,
    patience: Duration,
) -> (Exit, Option<oneshot::Sender<()>>) {
    tokio::select! {
        status = main.child.wait() => (status.map_or((EXITED, 1), exit_of), None),
        Ok(answer) = stop => {
            if let Some(pid) = main.child.id().and_then(|pid| i32::try_from(pid).ok()) {
                // It may be gone already.
                let _gone = kill(Pid::from_raw(pid), Kill::SIGTERM);
            }
            let status = tokio::time::timeout(patience, main.child.wait()).await;
            if status.is_err() {
                drop(main.child.kill().await);
            }
            (status.ok().and_then(Result::ok).map_or((KILLED, Kill::SIGKILL as i32), exit_of), Some(answer))
        }
    }
}

fn exit_of(status: ExitStatus) -> Exit {
    match (status.code(), status.signal()) {
        (Some(code), _) => (EXITED, code),
        (None, Some(signal)) => (KILLED, signal),
        (None, None) => (EXITED, 1),
    }
}

/// As systemd shows a word of a command line.
fn quoted(word: &str) -> String {
    if word.is_empty() || word.contains(char::is_whitespace) { format!("\"{word}\"") } else { word.to_owned() }
}

fn monotonic() -> u64 {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)
        .map_or(0, |now| u64::try_from(std::time::Duration::from(now).as_micros()).unwrap_or(u64::MAX))
}

/// 16 bytes that no other start has.
fn random() -> Vec<u8> {
    use std::hash::{BuildHasher as _, Hasher as _};
    let number = || std::collections::hash_map::RandomState::new().build_hasher().finish().to_be_bytes();
    [number(), number()].concat()
}
