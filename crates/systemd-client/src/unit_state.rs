//! A snapshot of one unit.

use std::collections::HashMap;

use zbus::OwnedVariant;

use crate::error::SystemdError;
use crate::text_enum::text_enum;

text_enum! {
    /// Whether systemd could load the unit.
    LoadState {
        /// Loaded without a complaint.
        Loaded = "loaded",
        /// There is no such unit file.
        NotFound = "not-found",
        /// The text has a fatal error; a running process goes on, but nothing can be started any more.
        BadSetting = "bad-setting",
        /// The file could not be read.
        Error = "error",
        /// Linked to `/dev/null`, or an empty file.
        Masked = "masked",
    }
}

text_enum! {
    /// Whether the unit runs. A crash loop alternates between `active` and `activating`.
    ActiveState {
        /// Runs.
        Active = "active",
        /// Runs and reloads its configuration.
        Reloading = "reloading",
        /// Does not run.
        Inactive = "inactive",
        /// Has failed and stays down.
        Failed = "failed",
        /// Starts, or waits for its next automatic restart.
        Activating = "activating",
        /// Stops.
        Deactivating = "deactivating",
    }
}

/// What systemd says about a unit, read in one go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitState {
    /// Primary name.
    pub name: String,
    /// Whether the unit could be loaded.
    pub load_state: LoadState,
    /// Error name and text of a unit that could not be loaded; both empty otherwise.
    pub load_error: (String, String),
    /// Whether it runs.
    pub active_state: ActiveState,
    /// Finer state, `running`, `auto-restart`, `dead`, …
    pub sub_state: String,
    /// Path of the unit file as systemd sees it; empty where there is none.
    pub fragment_path: String,
    /// Drop-ins in effect, in the order they are read.
    pub drop_in_paths: Vec<String>,
    /// systemd's own opinion whether files changed since it read them. It says false for a first file in a new `.d` directory and for
    /// files that are not newer: reload after own writes whatever it says.
    pub need_daemon_reload: bool,
    /// `enabled`, `disabled`, `static`, …; empty for a unit without file.
    pub unit_file_state: String,
    /// Id of this run, 32 hexadecimal digits, new at every start; empty for a unit that never ran.
    pub invocation_id: String,
    /// When it last became active, µs of the monotonic clock; 0 = never.
    pub active_enter_timestamp_monotonic: u64,
    /// Restart limit: how many starts …
    pub start_limit_burst: u32,
    /// What only services have; `None` for other units.
    pub service: Option<ServiceState>,
}

/// What systemd says about a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceState {
    /// Process id of the main process in the host's view; 0 = none.
    pub main_pid: u32,
    /// Automatic restarts since the last manual start or reset.
    pub n_restarts: u32,
    /// `success`, `exit-code`, `signal`, `timeout`, `resources`, `start-limit-hit`, …
    pub result: String,
    /// Exit code or signal number of the last main process.
    pub exec_main_status: i32,
    /// 1 exited, 2 killed, 3 dumped; 0 = has not ended.
    pub exec_main_code: i32,
    /// Files that variables are read from, in order; true = a missing one is ignored.
    pub environment_files: Vec<(String, bool)>,
    /// `ExecStartPre=` commands, those of drop-ins too.
    pub exec_start_pre: Vec<ExecCommand>,
    /// `ExecStart=` commands; exactly one unless the type is oneshot.
    pub exec_start: Vec<ExecCommand>,
    /// Control group below the systemd hierarchy; empty when not running.
    pub control_group: String,
}

/// A command line of a unit. Quotes, `\` and `%` are resolved already, variables are not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecCommand {
    /// Executable.
    pub path: String,
    /// Arguments, the zeroth included.
    pub arguments: Vec<String>,
    /// Failure is ignored (`-` before the path).
    pub ignore_failure: bool,
}

impl UnitState {
    /// Loaded and running, not waiting for an automatic restart.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.active_state == ActiveState::Active && self.sub_state == "running"
    }
}

type RawExec = (String, Vec<String>, bool, u64, u64, u64, u64, u32, i32, i32);

/// Properties as `GetAll` hands them over, taken out by name.
pub(crate) struct Properties<'a> {
    pub(crate) what: &'a str,
    pub(crate) values: HashMap<String, OwnedVariant>,
}

impl Properties<'_> {
    fn take<T>(&mut self, name: &'static str) -> Result<T, SystemdError>
    where
        T: TryFrom<OwnedVariant>,
        T::Error: Into<zbus::Error>,
    {
        let protocol = |source| SystemdError::Protocol { what: format!("{} property {name}", self.what), source };
        let value = self.values.remove(name).ok_or_else(|| protocol(zbus::Error::MissingField))?;
        value.try_into().map_err(|error: T::Error| protocol(error.into()))
    }

    fn text<T: for<'w> From<&'w str>>(&mut self, name: &'static str) -> Result<T, SystemdError> {
        self.take::<String>(name).map(|word| T::from(word.as_str()))
    }

    fn commands(&mut self, name: &'static str) -> Result<Vec<ExecCommand>, SystemdError> {
        let raw: Vec<RawExec> = self.take(name)?;
        let commands = raw.into_iter().map(|(path, arguments, ignore_failure, ..)| ExecCommand {
            path,
            arguments,
            ignore_failure,
        });
        Ok(commands.collect())
    }

    pub(crate) fn into_unit(mut self) -> Result<UnitState, SystemdError> {
        let id: Vec<u8> = self.take("InvocationID")?;
        Ok(UnitState {
            name: self.take("Id")?,
            load_state: self.text("LoadState")?,
            load_error: self.take("LoadError")?,
            active_state: self.text("ActiveState")?,
            sub_state: self.take("SubState")?,
            fragment_path: self.take("FragmentPath")?,
            drop_in_paths: self.take("DropInPaths")?,
            need_daemon_reload: self.take("NeedDaemonReload")?,
            unit_file_state: self.take("UnitFileState")?,
            invocation_id: id.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}")),
            active_enter_timestamp_monotonic: self.take("ActiveEnterTimestampMonotonic")?,
            start_limit_burst: self.take("StartLimitBurst")?,
            service: None,
        })
    }

    pub(crate) fn into_service(mut self) -> Result<ServiceState, SystemdError> {
        Ok(ServiceState {
            main_pid: self.take("MainPID")?,
            n_restarts: self.take("NRestarts")?,
            result: self.take("Result")?,
            exec_main_status: self.take("ExecMainStatus")?,
            exec_main_code: self.take("ExecMainCode")?,
            environment_files: self.take("EnvironmentFiles")?,
            exec_start_pre: self.commands("ExecStartPre")?,
            exec_start: self.commands("ExecStart")?,
            control_group: self.take("ControlGroup")?,
        })
    }
}
