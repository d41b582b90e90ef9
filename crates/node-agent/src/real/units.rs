//! systemd over the host's bus, with a new connection after a loss.

use std::time::Duration;

use extension_config::names::node;
use host::HostRoot;
use node_plan::Unit;
use systemd_client::{
    Ended, Events, ExecCommand, JobResult, JournalLines, JournalQuery, Systemd, SystemdError, Trial, UnitState,
};

use super::RealNode;
use crate::effects::{EffectError, Result, UnitView, Units};

/// Longest wait for a job: the start of the daemon includes its own wait of 30 s.
const JOB_DEADLINE: Duration = Duration::from_secs(75);

/// The bus, connected when it is needed.
pub(crate) struct Bus {
    address: String,
    connection: Option<Systemd>,
}

impl Bus {
    /// That of this host.
    pub(crate) fn of(root: &HostRoot) -> Self {
        let address = format!("unix:path={}", root.path_in_this_namespace("/run/dbus/system_bus_socket").display());
        Self { address, connection: None }
    }

    async fn connect(&mut self) -> Result<Systemd> {
        if let Some(systemd) = &self.connection {
            return Ok(systemd.clone());
        }
        let systemd = Systemd::connect(&self.address).await?;
        systemd.subscribe().await?;
        self.connection = Some(systemd.clone());
        Ok(systemd)
    }

    /// Hints that something changed; ends when the connection is lost.
    pub(crate) async fn events(&mut self) -> Result<Events> {
        let systemd = self.connect().await?;
        let units = [node::KUBELET_UNIT, node::DAEMON_UNIT, node::PLUGIN_UNIT, node::CONTAINERD_UNIT];
        self.note(systemd.events(&units).await)
    }

    /// Forgets a connection that is lost, so that the next call makes a new one.
    fn note<T>(&mut self, outcome: std::result::Result<T, SystemdError>) -> Result<T> {
        if let Err(error) = &outcome
            && error.needs_reconnect()
        {
            self.connection = None;
        }
        Ok(outcome?)
    }

    /// Runs a command on the host once.
    pub(super) async fn try_out(&mut self, trial: &Trial) -> Result<Ended> {
        let systemd = self.connect().await?;
        self.note(systemd.try_out(trial).await)
    }

    /// Lines of the host's journal.
    pub(crate) async fn journal(&mut self, query: &JournalQuery) -> Result<JournalLines> {
        let systemd = self.connect().await?;
        self.note(systemd.journal(query).await)
    }

    /// For when the stream of events ended.
    pub(crate) fn forget(&mut self) {
        self.connection = None;
    }

    /// A call that only reads, asked once more after a lost connection.
    async fn read<T>(&mut self, call: impl AsyncFn(&Systemd) -> std::result::Result<T, SystemdError>) -> Result<T> {
        let first = self.connect().await?;
        match self.note(call(&first).await) {
            Err(EffectError::Systemd(error)) if error.needs_reconnect() => {
                let second = self.connect().await?;
                self.note(call(&second).await)
            }
            other => other,
        }
    }
}

fn view(state: UnitState) -> UnitView {
    let unit = Unit {
        load_state: state.load_state.to_string(),
        active_state: state.active_state.to_string(),
        sub_state: state.sub_state,
        invocation: state.invocation_id,
        main_pid: state.service.as_ref().map_or(0, |service| service.main_pid),
        n_restarts: state.service.as_ref().map_or(0, |service| service.n_restarts),
        fragment: state.fragment_path,
        drop_ins: state.drop_in_paths.into_iter().collect(),
    };
    let Some(service) = state.service else { return UnitView { unit, ..UnitView::default() } };
    let arguments = |commands: Vec<ExecCommand>| commands.into_iter().map(|command| command.arguments).collect();
    UnitView {
        unit,
        exec_start: arguments(service.exec_start),
        exec_start_pre: arguments(service.exec_start_pre),
        environment_files: service.environment_files.into_iter().map(|(path, _)| path).collect(),
        command_line: None,
    }
}

fn done(what: &str, unit: &str, result: JobResult) -> Result<()> {
    match result {
        JobResult::Done | JobResult::Skipped => Ok(()),
        other => Err(EffectError::Job { what: format!("{what} of {unit}"), result: other.to_string() }),
    }
}

impl Units for RealNode {
    async fn version(&mut self) -> Result<String> {
        self.bus.read(async |systemd| systemd.version().await).await
    }

    async fn unit(&mut self, name: &str) -> Result<UnitView> {
        let mut view = view(self.bus.read(async |systemd| systemd.load_unit(name).await).await?);
        let pid = view.unit.main_pid;
        if name == node::KUBELET_UNIT && pid != 0 {
            let processes = self.bus.read(async |systemd| systemd.unit_processes(name).await).await?;
            view.command_line =
                processes.into_iter().find(|process| process.pid == pid).map(|process| process.command_line);
        }
        Ok(view)
    }

    async fn reload(&mut self) -> Result<()> {
        let systemd = self.bus.connect().await?;
        self.bus.note(systemd.reload().await)
    }

    async fn start(&mut self, unit: &str) -> Result<()> {
        let systemd = self.bus.connect().await?;
        done("start", unit, self.bus.note(systemd.start(unit, JOB_DEADLINE).await)?)
    }

    async fn stop(&mut self, unit: &str) -> Result<()> {
        let systemd = self.bus.connect().await?;
        match self.bus.note(systemd.stop(unit, JOB_DEADLINE).await) {
            Err(EffectError::Systemd(SystemdError::NoSuchUnit { .. })) => Ok(()),
            other => done("stop", unit, other?),
        }
    }

    async fn restart(&mut self, unit: &str) -> Result<()> {
        let systemd = self.bus.connect().await?;
        done("restart", unit, self.bus.note(systemd.restart(unit, JOB_DEADLINE).await)?)
    }

    async fn reset_failed(&mut self, unit: &str) -> Result<()> {
        let systemd = self.bus.connect().await?;
        self.bus.note(systemd.reset_failed(unit).await)
    }
}
