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

impl Systemd {
    /// Runs a command and waits for its end. Nothing of the unit is left, also of one that an earlier caller did not see end.
    pub async fn try_out(&self, trial: &Trial) -> Result<Ended, SystemdError> {
        // One that still runs would be joined, not started anew.
        match self.stop(&trial.unit, GRACE).await {
            Ok(_) | Err(SystemdError::NoSuchUnit { .. }) => {}
            Err(error) => return Err(error),
        }
        self.reset_failed(&trial.unit).await?;
        let what = format!("StartTransientUnit {}", trial.unit);
        let auxiliary: Vec<(String, Vec<(String, Variant<'_>)>)> = Vec::new();
        let body = (trial.unit.as_str(), "fail", trial.properties(), auxiliary);
        let result = self.run(&what, "StartTransientUnit", &body, trial.limit + GRACE).await?;
        let ended = self.ended(trial, &result).await;
        self.reset_failed(&trial.unit).await?;
        ended
    }

    async fn ended(&self, trial: &Trial, result: &JobResult) -> Result<Ended, SystemdError> {
        if *result == JobResult::Done {
            return Ok(Ended::Exit(0));
        }
        let state = self.load_unit(&trial.unit).await?;
        let Some(service) = state.service else { return Ok(Ended::Otherwise(result.to_string())) };
        Ok(match service.result.as_str() {
            "exit-code" => Ended::Exit(service.exec_main_status),
            "timeout" => Ended::TimeOver,
            other => Ended::Otherwise(other.to_owned()),
        })
    }
}

impl Trial {
    fn properties(&self) -> Vec<(&'static str, Variant<'_>)> {
        let command: RawCommand = (self.command.first().cloned().unwrap_or_default(), self.command.clone(), false);
        let limit = u64::try_from(self.limit.as_micros()).unwrap_or(u64::MAX);
        vec![
            ("Description", Variant::new(self.description.as_str())),
            ("Type", Variant::new("oneshot")),
            ("ExecStart", Variant::new(vec![command])),
            ("TimeoutStartUSec", Variant::new(limit)),
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
