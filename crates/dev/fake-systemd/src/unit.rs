//! Units: what their files say, and how they are.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use unit_files::{Command, DIRECTORIES, Settings};

/// Units that have no file but the one that systemd makes for them.
pub(super) const TRANSIENT: &str = "/run/systemd/transient";

/// What the files of a unit say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Files {
    pub(super) load_state: &'static str,
    pub(super) load_error: (String, String),
    pub(super) fragment: String,
    pub(super) drop_ins: Vec<String>,
    pub(super) settings: Settings,
}

/// How a unit is.
#[derive(Debug)]
pub(super) struct Unit {
    pub(super) files: Files,
    pub(super) active: &'static str,
    pub(super) sub: &'static str,
    pub(super) invocation: Vec<u8>,
    pub(super) active_enter: u64,
    pub(super) main_pid: u32,
    pub(super) command_line: String,
    pub(super) n_restarts: u32,
    pub(super) result: &'static str,
    pub(super) exit: (i32, i32),
    pub(super) starts: VecDeque<Instant>,
    /// Starts so far.
    pub(super) begun: u64,
    /// Counts runs, so that the end of an old one is not taken for that of the new one.
    pub(super) run: u64,
    /// Asks the main process to end; the answer comes when it has.
    pub(super) stop: Option<oneshot::Sender<oneshot::Sender<()>>>,
}

impl Default for Unit {
    fn default() -> Self {
        Self {
            files: Files::default(),
            active: "inactive",
            sub: "dead",
            invocation: Vec::new(),
            active_enter: 0,
            main_pid: 0,
            command_line: String::new(),
            n_restarts: 0,
            result: "success",
            exit: (0, 0),
            starts: VecDeque::new(),
            begun: 0,
            run: 0,
            stop: None,
        }
    }
}

impl Unit {
    /// Counts a start; false when the start limit is reached.
    pub(super) fn may_start(&mut self, now: Instant) -> bool {
        let interval = self.files.settings.seconds("Unit", "StartLimitIntervalSec").unwrap_or(10.0);
        let burst = self.start_limit_burst() as usize;
        let interval = Duration::from_secs_f64(interval);
        self.starts.retain(|start| now.duration_since(*start) < interval);
        if burst > 0 && !interval.is_zero() && self.starts.len() >= burst {
            return false;
        }
        self.starts.push_back(now);
        true
    }

    pub(super) fn start_limit_burst(&self) -> u32 {
        self.files.settings.last("Unit", "StartLimitBurst").and_then(|burst| burst.parse().ok()).unwrap_or(5)
    }

    /// Takes what its files say now. What has no file, does not run and has not failed is forgotten.
    pub(super) fn read(&mut self, files: Files) {
        if files.load_state == "not-found" && self.active == "inactive" {
            *self = Self { run: self.run, ..Self::default() };
        }
        self.files = files;
    }

    /// There is nothing to stop.
    pub(super) fn is_down(&self) -> bool {
        matches!(self.active, "inactive" | "failed")
    }
}

impl Files {
    pub(super) fn commands(&self, name: &str) -> Vec<Command> {
        self.settings.all("Service", name).into_iter().filter_map(unit_files::command).collect()
    }

    /// The unit's, by its file.
    pub(super) fn name(&self) -> &str {
        self.fragment.rsplit('/').next().unwrap_or_default()
    }

    pub(super) fn is_oneshot(&self) -> bool {
        self.settings.last("Service", "Type") == Some("oneshot")
    }

    /// Reads the files of a unit as they are now.
    pub(super) fn load(root: &Path, name: &str) -> Self {
        let fragment = std::iter::once(TRANSIENT)
            .chain(DIRECTORIES)
            .map(|directory| format!("{directory}/{name}"))
            .find(|path| below(root, path).symlink_metadata().is_ok());
        let mut files = Self { load_state: "loaded", ..Self::default() };
        let Some(fragment) = fragment else {
            let message = format!("Unit {name} not found.");
            return Self {
                load_state: "not-found",
                load_error: ("org.freedesktop.systemd1.NoSuchUnit".to_owned(), message),
                ..files
            };
        };
        let file = below(root, &fragment);
        let is_empty = std::fs::metadata(&file).is_ok_and(|found| found.is_file() && found.len() == 0);
        if is_empty || std::fs::read_link(&file).is_ok_and(|target| target == Path::new("/dev/null")) {
            let message = format!("Unit {name} is masked.");
            return Self {
                load_state: "masked",
                fragment,
                load_error: ("org.freedesktop.systemd1.UnitMasked".to_owned(), message),
                ..files
            };
        }
        files.settings.read(&std::fs::read_to_string(&file).unwrap_or_default());
        files.fragment = fragment;
        for (path, text) in drop_ins(root, name) {
            files.settings.read(&text);
            files.drop_ins.push(path);
        }
        let lines = ["ExecStart", "ExecStartPre", "ExecStartPost", "ExecCondition"];
        let is_bad = lines.iter().any(|setting| {
            files.settings.all("Service", setting).into_iter().any(|line| unit_files::command(line).is_none())
        });
        let count = files.settings.all("Service", "ExecStart").len();
        let wrong_count = Path::new(name).extension().is_some_and(|kind| kind == "service")
            && count != 1
            && !(files.is_oneshot() && count > 0);
        if is_bad || wrong_count {
            files.load_state = "bad-setting";
            files.load_error = (
                "org.freedesktop.systemd1.BadUnitSetting".to_owned(),
                format!("Unit {name} has a bad unit file setting."),
            );
        }
        files
    }

    /// Enablement as the links say.
    pub(super) fn unit_file_state(&self, root: &Path, name: &str) -> &'static str {
        match self.load_state {
            "masked" => return "masked",
            "not-found" => return "",
            _ => {}
        }
        let wanted = wanted_by(&self.settings);
        if wanted.is_empty() {
            return "static";
        }
        let linked = |target: &String| below(root, &link_path(target, name)).symlink_metadata().is_ok();
        if wanted.iter().any(linked) { "enabled" } else { "disabled" }
    }
}

/// Targets that an enabled unit is linked from.
pub(super) fn wanted_by(settings: &Settings) -> Vec<String> {
    settings.words("Install", "WantedBy").into_iter().map(str::to_owned).collect()
}

pub(super) fn link_path(target: &str, name: &str) -> String {
    format!("/etc/systemd/system/{target}.wants/{name}")
}

/// Names of the units that a target wants.
pub(super) fn wants(root: &Path, target: &str) -> Vec<String> {
    let entries = std::fs::read_dir(below(root, &format!("/etc/systemd/system/{target}.wants")));
    let mut names: Vec<String> =
        entries.into_iter().flatten().flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// A host path on this machine.
pub(super) fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

/// Drop-ins by name; of equal names the strongest directory's is taken.
fn drop_ins(root: &Path, name: &str) -> Vec<(String, String)> {
    let mut found = BTreeMap::new();
    for directory in DIRECTORIES {
        let directory = format!("{directory}/{name}.d");
        for entry in std::fs::read_dir(below(root, &directory)).into_iter().flatten().flatten() {
            let file = entry.file_name().to_string_lossy().into_owned();
            if Path::new(&file).extension().is_some_and(|kind| kind == "conf")
                && let Ok(text) = std::fs::read_to_string(entry.path())
            {
                found.entry(file.clone()).or_insert_with(|| (format!("{directory}/{file}"), text));
            }
        }
    }
    found.into_values().collect()
}
