//! systemd of one node: units below the node's root, started for real or faked, and systemd's interface on a D-Bus socket.
//!
//! A program of a unit is a file below the node's root. One that says `# sandbox: NAME` in its second line is faked by [`Programs`], with a
//! real process that holds its place (and its process id, so that it can be killed); any other is run.

mod bus;
mod manager;
mod properties;
mod service;
mod timer;
mod transient;
mod unit;

use std::any::Any;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use anyhow::Context as _;
use tokio::net::UnixListener;
use tokio::task::JoinSet;

use faults::Faults;
use manager::Manager;
use unit::below;

/// Where the bus listens, as the host sees it.
const BUS: &str = "/run/dbus/system_bus_socket";

/// A program that is to be faked.
#[derive(Debug, Clone)]
pub struct Spawn {
    /// What the file says that it is.
    pub name: String,
    /// The command line, variables resolved.
    pub arguments: Vec<String>,
    /// Its environment.
    pub environment: BTreeMap<String, String>,
    /// Process that holds its place.
    pub pid: u32,
}

/// Fakes programs.
pub trait Programs: Send + Sync + 'static {
    /// Begins; what is given back is dropped when the process has ended. Called inside a tokio runtime.
    ///
    /// # Errors
    /// When it cannot begin; the process then ends at once, as a program that fails at its start.
    fn start(&self, spawn: &Spawn) -> anyhow::Result<Box<dyn Any + Send>>;

    /// Where real programs of units write what they say on standard error; nowhere unless it is given.
    fn journal(&self) -> Option<std::fs::File> {
        None
    }

    /// Fakes a program that is waited for, of a unit of type `oneshot`; its process id is 0.
    fn run_to_end(&self, spawn: Spawn) -> Pin<Box<dyn Future<Output = anyhow::Result<Ran>> + Send + '_>> {
        Box::pin(async move { anyhow::bail!("nothing here fakes {:?} to its end", spawn.name) })
    }
}

/// How a program has run that was waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    /// Its exit code.
    pub code: i32,
    /// What it has printed.
    pub output: String,
}

/// A running systemd; everything that it started ends when it is dropped.
pub struct Systemd {
    manager: Arc<Manager>,
    _tasks: JoinSet<()>,
}

impl std::fmt::Debug for Systemd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Systemd").finish_non_exhaustive()
    }
}

impl Systemd {
    /// Listens on the bus socket below `root`, and starts what the links of `multi-user.target` and `timers.target` want.
    ///
    /// # Errors
    /// When there is no socket.
    pub async fn boot(root: &Path, programs: Arc<dyn Programs>) -> anyhow::Result<Self> {
        // systemd's own, which every machine has from its boot on.
        for directory in [unit::TRANSIENT, transient::CREDENTIALS] {
            std::fs::create_dir_all(below(root, directory))?;
        }
        let socket = below(root, BUS);
        std::fs::create_dir_all(socket.parent().unwrap_or(root))?;
        let listener = UnixListener::bind(&socket).with_context(|| format!("cannot listen on {}", socket.display()))?;
        let manager = Manager::new(root.to_owned(), programs);
        let mut tasks = JoinSet::new();
        let shared = Arc::clone(&manager);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(bus::serve(stream, Arc::clone(&shared)));
                while connections.try_join_next().is_some() {}
            }
        });
        manager.boot().await;
        Ok(Self { manager, _tasks: tasks })
    }

    /// `ActiveState` and `SubState` of a unit, its main process and its command line.
    #[must_use]
    pub fn unit(&self, name: &str) -> UnitFacts {
        self.manager.with(name, |unit| UnitFacts {
            load_state: unit.files.load_state,
            active_state: unit.active,
            sub_state: unit.sub,
            main_pid: unit.main_pid,
            command_line: unit.command_line.clone(),
            starts: unit.begun,
        })
    }

    /// What goes wrong with calls of the manager and of properties, described by method and first argument (`StartUnit a.service`); a
    /// refusal is the name of a D-Bus error.
    #[must_use]
    pub fn faults(&self) -> &Faults<String> {
        &self.manager.faults
    }

    /// The address for D-Bus clients.
    #[must_use]
    pub fn address(root: &Path) -> String {
        format!("unix:path={}", below(root, BUS).display())
    }

    /// Stops everything, in no order.
    pub async fn shut_down(&self) {
        self.manager.shut_down().await;
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        self.manager.end();
    }
}

/// What a unit is like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitFacts {
    /// `loaded`, `not-found`, …
    pub load_state: &'static str,
    /// `active`, `inactive`, …
    pub active_state: &'static str,
    /// `running`, `dead`, …
    pub sub_state: &'static str,
    /// 0 = none.
    pub main_pid: u32,
    /// Of the main process.
    pub command_line: String,
    /// Starts so far, automatic ones too.
    pub starts: u64,
}

/// A node's path on this machine.
#[must_use]
pub fn on_this_machine(root: &Path, path: &str) -> PathBuf {
    below(root, path)
}
