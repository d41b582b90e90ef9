//! Units, jobs and signals.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::{broadcast, oneshot};
use tokio::task::JoinHandle;

use super::Programs;
use super::unit::{Files, Unit, link_path, wanted_by, wants};
use faults::Faults;

/// Signals that a slow client may leave unread.
const SIGNALS: usize = 1024;

/// What is sent to everybody on the bus.
#[derive(Debug, Clone)]
pub(super) enum Signal {
    JobNew { id: u32, unit: String },
    JobRemoved { id: u32, unit: String, result: &'static str },
    Reloading(bool),
    UnitFilesChanged,
    Changed { unit: String },
}

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JobKind {
    Start,
    Stop,
    Restart,
    /// systemd's own, for the run that has ended.
    AutoRestart(u64),
}

impl JobKind {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart | Self::AutoRestart(_) => "restart",
        }
    }
}

/// A job that waits or runs.
struct Job {
    unit: String,
    kind: JobKind,
    cancel: oneshot::Sender<()>,
}

/// Kind, path and target of a link that was made or removed.
type LinkChange = (String, String, String);

/// Why a call is refused: D-Bus name and text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) name: String,
    pub(super) message: String,
}

/// One node's systemd.
pub(super) struct Manager {
    pub(super) root: PathBuf,
    pub(super) programs: Arc<dyn Programs>,
    pub(super) faults: Faults<String>,
    units: Mutex<BTreeMap<String, Unit>>,
    /// One job of a unit at a time.
    turns: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>,
    jobs: Mutex<BTreeMap<u32, Job>>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
    signals: broadcast::Sender<Signal>,
    last_job: AtomicU32,
    own: Weak<Self>,
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Manager {
    pub(super) fn new(root: PathBuf, programs: Arc<dyn Programs>) -> Arc<Self> {
        Arc::new_cyclic(|own| Self {
            root,
            programs,
            faults: Faults::default(),
            units: Mutex::default(),
            turns: Mutex::default(),
            jobs: Mutex::default(),
            tasks: Mutex::default(),
            signals: broadcast::channel(SIGNALS).0,
            last_job: AtomicU32::new(0),
            own: Weak::clone(own),
        })
    }

    pub(super) fn signals(&self) -> broadcast::Receiver<Signal> {
        self.signals.subscribe()
    }

    pub(super) fn emit(&self, signal: Signal) {
        // Nobody has to listen.
        drop(self.signals.send(signal));
    }

    /// Runs something that ends with this manager.
    pub(super) fn spawn<Work: Future<Output = ()> + Send + 'static>(&self, work: impl FnOnce(Arc<Self>) -> Work) {
        let Some(own) = self.own.upgrade() else { return };
        let task = tokio::spawn(work(own));
        let mut tasks = locked(&self.tasks);
        tasks.retain(|task| !task.is_finished());
        tasks.push(task);
    }

    /// Looks at a unit, or changes it; loads it where it is not running.
    pub(super) fn with<T>(&self, name: &str, read: impl FnOnce(&mut Unit) -> T) -> T {
        let mut units = locked(&self.units);
        let unit = units.entry(name.to_owned()).or_default();
        // Units that do nothing are forgotten by systemd and read anew when somebody asks.
        if unit.is_down() || unit.files.load_state.is_empty() {
            unit.read(Files::load(&self.root, name));
        }
        read(unit)
    }

    /// Sets the states and emits the change.
    pub(super) fn turn(&self, name: &str, change: impl FnOnce(&mut Unit)) {
        self.with(name, change);
        self.emit(Signal::Changed { unit: name.to_owned() });
    }

    pub(super) fn knows(&self, name: &str) -> bool {
        // A unit that has failed stays in memory until that is reset, with its file or without.
        locked(&self.units).get(name).is_some_and(|unit| unit.active != "inactive" || unit.files.load_state == "loaded")
    }

    /// daemon-reload.
    pub(super) fn reload(&self) {
        self.emit(Signal::Reloading(true));
        for (name, unit) in locked(&self.units).iter_mut() {
            unit.read(Files::load(&self.root, name));
        }
        self.emit(Signal::Reloading(false));
    }

    pub(super) fn reset_failed(&self, name: &str) -> Result<(), Refusal> {
        if !self.knows(name) {
            return Err(no_such_unit(name));
        }
        self.turn(name, |unit| {
            unit.starts.clear();
            unit.n_restarts = 0;
            unit.result = "success";
            if unit.active == "failed" {
                (unit.active, unit.sub) = ("inactive", "dead");
            }
        });
        self.forget_transient(name);
        Ok(())
    }

    /// Queues a job; its number is given back before it begins.
    pub(super) fn queue(&self, name: &str, kind: JobKind) -> Result<u32, Refusal> {
        let files = self.with(name, |unit| unit.files.clone());
        let running = self.with(name, |unit| !unit.is_down());
        let stops = kind == JobKind::Stop && running;
        if files.load_state != "loaded" && !stops {
            return Err(match files.load_state {
                "not-found" => no_such_unit(name),
                _ => Refusal { name: files.load_error.0, message: files.load_error.1 },
            });
        }
        if kind == JobKind::Stop {
            self.cancel_starts(name);
        }
        let id = self.last_job.fetch_add(1, Ordering::Relaxed) + 1;
        let (cancel, canceled) = oneshot::channel();
        locked(&self.jobs).insert(id, Job { unit: name.to_owned(), kind, cancel });
        self.emit(Signal::JobNew { id, unit: name.to_owned() });
        let name = name.to_owned();
        self.spawn(|manager| async move {
            let turn = Arc::clone(locked(&manager.turns).entry(name.clone()).or_default());
            let mut own_turn = None;
            let work = async {
                own_turn = Some(turn.lock().await);
                manager.carry_out(&name, kind).await
            };
            // The sender lives until the job is done, so that nothing but a cancellation ends the wait for it.
            let result = tokio::select! {
                biased;
                Ok(()) = canceled => "canceled",
                result = work => result,
            };
            locked(&manager.jobs).remove(&id);
            manager.emit(Signal::JobRemoved { id, unit: name, result });
            // Who waits for its turn reports its end after us.
            drop(own_turn);
        });
        Ok(id)
    }

    /// A stop conflicts with every start of its unit, and the later job wins, as with the mode `replace`. The programs that a start runs end
    /// with it; the stop that follows does the rest.
    fn cancel_starts(&self, name: &str) {
        let mut jobs = locked(&self.jobs);
        let conflicting: Vec<u32> =
            jobs.iter().filter(|(_, job)| job.unit == name && job.kind != JobKind::Stop).map(|(id, _)| *id).collect();
        for job in conflicting.iter().filter_map(|id| jobs.remove(id)) {
            // One that has just ended is beyond it.
            let _ended = job.cancel.send(());
        }
    }

    /// Queues a job and waits for its end.
    pub(super) async fn run(&self, name: &str, kind: JobKind) -> &'static str {
        let mut signals = self.signals();
        let Ok(job) = self.queue(name, kind) else { return "failed" };
        while let Ok(signal) = signals.recv().await {
            if let Signal::JobRemoved { id, result, .. } = signal
                && id == job
            {
                return result;
            }
        }
        "canceled"
    }

    pub(super) fn jobs(&self) -> Vec<(u32, String, JobKind)> {
        locked(&self.jobs).iter().map(|(id, job)| (*id, job.unit.clone(), job.kind)).collect()
    }

    async fn carry_out(&self, name: &str, kind: JobKind) -> &'static str {
        if let JobKind::AutoRestart(run) = kind {
            return self.restart_by_itself(name, run).await;
        }
        let is_timer = Path::new(name).extension().is_some_and(|kind| kind == "timer");
        if kind != JobKind::Start {
            if is_timer { self.stop_timer(name) } else { self.stop_service(name).await }
        }
        match kind {
            JobKind::Stop => "done",
            _ if is_timer => self.start_timer(name),
            _ => self.start_service(name).await,
        }
    }

    /// Starts what is enabled: units after those that they name in `After=`.
    pub(super) async fn boot(&self) {
        let mut waiting = wants(&self.root, "multi-user.target");
        while !waiting.is_empty() {
            let after = |name: &String| {
                self.with(name, |unit| {
                    unit.files.settings.words("Unit", "After").into_iter().map(str::to_owned).collect::<Vec<_>>()
                })
            };
            let before = |name: &String, other: &String| {
                self.with(other, |unit| unit.files.settings.words("Unit", "Before").contains(&name.as_str()))
            };
            let is_free = |name: &String| {
                !waiting.iter().any(|other| other != name && (after(name).contains(other) || before(name, other)))
            };
            let position = waiting.iter().position(is_free).unwrap_or(0);
            let name = waiting.remove(position);
            self.run(&name, JobKind::Start).await;
        }
        for name in wants(&self.root, "timers.target") {
            self.run(&name, JobKind::Start).await;
        }
    }

    /// Makes or removes the links of units; gives kind, path and target of each change.
    pub(super) fn link(&self, names: &[String], enable: bool) -> Result<(bool, Vec<LinkChange>), Refusal> {
        let mut changes = Vec::new();
        let mut installs = false;
        for name in names {
            let files = Files::load(&self.root, name);
            if files.load_state == "not-found" && enable {
                return Err(no_such_unit(name));
            }
            for target in wanted_by(&files.settings) {
                installs = true;
                let path = link_path(&target, name);
                let file = super::below(&self.root, &path);
                let failed = |error: std::io::Error| Refusal {
                    name: "org.freedesktop.DBus.Error.IOError".to_owned(),
                    message: error.to_string(),
                };
                if enable && std::fs::read_link(&file).ok() != Some(PathBuf::from(&files.fragment)) {
                    file.parent().map_or(Ok(()), std::fs::create_dir_all).map_err(failed)?;
                    drop(std::fs::remove_file(&file));
                    std::os::unix::fs::symlink(&files.fragment, &file).map_err(failed)?;
                    changes.push(("symlink".to_owned(), path, files.fragment.clone()));
                } else if !enable && std::fs::remove_file(&file).is_ok() {
                    changes.push(("unlink".to_owned(), path, String::new()));
                }
            }
        }
        self.emit(Signal::UnitFilesChanged);
        Ok((installs, changes))
    }

    pub(super) async fn shut_down(&self) {
        let names: Vec<String> = locked(&self.units).keys().cloned().collect();
        for name in &names {
            if !self.with(name, |unit| unit.is_down()) {
                self.run(name, JobKind::Stop).await;
            }
        }
    }

    /// Ends everything without waiting.
    pub(super) fn end(&self) {
        for task in locked(&self.tasks).drain(..) {
            task.abort();
        }
    }
}

pub(super) fn no_such_unit(name: &str) -> Refusal {
    Refusal { name: "org.freedesktop.systemd1.NoSuchUnit".to_owned(), message: format!("Unit {name} not found.") }
}
