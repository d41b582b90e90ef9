//! Units without a file, for one run: a command on the host that may do next to nothing there.

use std::time::Duration;

use zbus::Variant;

use crate::error::SystemdError;
use crate::job::JobResult;
use crate::systemd::Systemd;

/// How much longer than the command's own limit its end is waited for: systemd ends it, which takes some time, too.
const GRACE: Duration = Duration::from_secs(15);

/// A command that runs once as a user of its own: without network, capabilities or new privileges, the host's files read-only to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trial {
    /// Name of the unit, `….service`; no other unit has it.
    pub unit: String,
    /// For people.
    pub description: String,
    /// Absolute path of the program, and its arguments; `${CREDENTIALS_DIRECTORY}` is the directory of the texts.
    pub command: Vec<String>,
    /// Texts that it reads as files of these names.
    pub texts: Vec<(String, Vec<u8>)>,
    /// Directory of its own below `/run`, mode 0700, which goes when it ends.
    pub directory: String,
    /// Host path of the file that takes what it prints; written over from its begin, so it should not exist.
    pub output: String,
    /// It is ended after this time.
    pub limit: Duration,
    /// Most memory, bytes.
    pub memory: u64,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this code.
    Exit(i32),
    /// It was still running when its time was over.
    TimeOver,
    /// In another way; systemd's word: `signal`, `oom-kill`, `resources`, …
    Otherwise(String),
}

/// `ExecStart`: path, arguments with the zeroth, failure is ignored.
type RawCommand = (String, Vec<String>, bool);

/// Properties of a unit by their names (org.freedesktop.systemd1(5)).
pub(crate) type Properties<'a> = Vec<(&'static str, Variant<'a>)>;

/// A unit that runs one command to its end.
pub(crate) struct RunOnce<'a> {
    /// Its name; no other unit has it.
    pub(crate) unit: &'a str,
    /// It is ended after this time.
    pub(crate) limit: Duration,
    /// All else.
    pub(crate) properties: Properties<'a>,
}

impl Systemd {
    /// Runs a command and waits for its end. Nothing of the unit is left, also of one that an earlier caller did not see end.
    pub async fn try_out(&self, trial: &Trial) -> Result<Ended, SystemdError> {
        self.run_once(RunOnce { unit: &trial.unit, limit: trial.limit, properties: trial.properties() }).await
    }

    pub(crate) async fn run_once(&self, run: RunOnce<'_>) -> Result<Ended, SystemdError> {
        let RunOnce { unit, limit, mut properties } = run;
        // One that still runs would be joined, not started anew.
        match self.stop(unit, GRACE).await {
            Ok(_) | Err(SystemdError::NoSuchUnit { .. }) => {}
            Err(error) => return Err(error),
        }
        self.reset_failed(unit).await?;
        let what = format!("StartTransientUnit {unit}");
        let auxiliary: Vec<(String, Vec<(String, Variant<'_>)>)> = Vec::new();
        properties.push(("Type", Variant::new("oneshot")));
        properties.push(("TimeoutStartUSec", Variant::new(u64::try_from(limit.as_micros()).unwrap_or(u64::MAX))));
        let body = (unit, "fail", properties, auxiliary);
        let result = self.run(&what, "StartTransientUnit", &body, limit + GRACE).await?;
        let ended = self.ended(unit, &result).await;
        self.reset_failed(unit).await?;
        ended
    }

    async fn ended(&self, unit: &str, result: &JobResult) -> Result<Ended, SystemdError> {
        if *result == JobResult::Done {
            return Ok(Ended::Exit(0));
        }
        let state = self.load_unit(unit).await?;
        let Some(service) = state.service else { return Ok(Ended::Otherwise(result.to_string())) };
        Ok(match service.result.as_str() {
            "exit-code" => Ended::Exit(service.exec_main_status),
            "timeout" => Ended::TimeOver,
            other => Ended::Otherwise(other.to_owned()),
        })
    }
}

impl Trial {
    fn properties(&self) -> Properties<'_> {
        let command: RawCommand = (self.command.first().cloned().unwrap_or_default(), self.command.clone(), false);
        vec![
            ("Description", Variant::new(self.description.as_str())),
            ("ExecStart", Variant::new(vec![command])),
            ("SetCredential", Variant::new(self.texts.clone())),
            ("StandardOutputFile", Variant::new(self.output.as_str())),
            ("StandardError", Variant::new("inherit")),
            ("RuntimeDirectory", Variant::new(vec![self.directory.as_str()])),
            ("RuntimeDirectoryMode", Variant::new(0o700_u32)),
            ("DynamicUser", Variant::new(true)),
            ("PrivateNetwork", Variant::new(true)),
            ("CapabilityBoundingSet", Variant::new(0_u64)),
            ("NoNewPrivileges", Variant::new(true)),
            ("ProtectSystem", Variant::new("strict")),
            ("ProtectHome", Variant::new("yes")),
            ("MemoryMax", Variant::new(self.memory)),
            ("TasksMax", Variant::new(TASKS)),
        ]
    }
}

/// Most threads and processes of a trial: a Go program on a machine of many CPUs has some dozens.
const TASKS: u64 = 512;
