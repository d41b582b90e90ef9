//! The last steps of this agent, for `status`: another process in the same pod, so they stand in a file of the pod. It goes with the pod; nothing of
//! it is on the host.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use extension_config::node_status::{StepStatus, TakenStep};
use node_plan::{Restarts, Step};

/// Steps that are remembered.
const STEPS: usize = 20;
/// Characters of each text of a step: evidence and errors quote what others have written.
const TEXT: usize = 500;
/// Longest file that is read, bytes: all texts, each of their characters as long as JSON makes one.
const FILE_BYTES: u64 = 512 << 10;

/// What was remembered, and where.
#[derive(Debug)]
pub(crate) struct RecentSteps {
    file: PathBuf,
    steps: VecDeque<TakenStep>,
}

impl RecentSteps {
    /// Goes on with what an earlier run in the same pod has left.
    pub(crate) fn open(file: &Path) -> Self {
        Self { steps: read(file).into(), file: file.to_owned() }
    }

    /// Adds a step that has ended now, seconds since 1970. A file that cannot be written costs nobody but who wants to read it.
    pub(crate) fn add(&mut self, step: &Step, error: Option<&str>, now: u64) {
        let taken = TakenStep { at: now, step: reported(step), error: error.map(shortened) };
        if self.steps.len() >= STEPS {
            self.steps.pop_front();
        }
        self.steps.push_back(taken);
        if let Err(error) = self.write() {
            tracing::debug!(%error, path = %self.file.display(), "failed to write down the last steps");
        }
    }

    /// In one piece: `status` may read at any time.
    fn write(&self) -> std::io::Result<()> {
        let unfinished = self.file.with_extension("unfinished");
        std::fs::File::create(&unfinished)?.write_all(&serde_json::to_vec(&self.steps)?)?;
        std::fs::rename(&unfinished, &self.file)
    }
}

/// What is written down, the newest last; nothing where nothing can be read.
pub(crate) fn read(file: &Path) -> Vec<TakenStep> {
    let mut text = Vec::new();
    let Ok(opened) = std::fs::File::open(file) else { return Vec::new() };
    if opened.take(FILE_BYTES).read_to_end(&mut text).is_err() {
        return Vec::new();
    }
    serde_json::from_slice(&text).unwrap_or_default()
}

/// A step as it is reported.
pub(crate) fn reported(step: &Step) -> StepStatus {
    StepStatus {
        action: shortened(&step.action.to_string()),
        because: shortened(&step.evidence),
        restarts: match step.action.restarts() {
            Restarts::Nothing => None,
            Restarts::Daemon => Some("daemon".to_owned()),
            Restarts::Kubelet => Some("kubelet".to_owned()),
        },
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(TEXT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use node_plan::{Action, Cause, UnitAction};

    use super::*;

    fn step(evidence: &str) -> Step {
        Step {
            action: Action::Unit(UnitAction::Reload),
            evidence: evidence.to_owned(),
            before: Vec::new(),
            after: Vec::new(),
        }
    }

    #[test]
    fn the_last_steps_are_read_by_another_process_and_outlive_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("steps.json");
        let mut steps = RecentSteps::open(&file);
        for number in 0..25 {
            steps.add(&step(&number.to_string()), None, number);
        }
        let mut steps = RecentSteps::open(&file);
        let action = Action::RestartKubelet { cause: Cause::Switch };
        steps.add(&Step { action, ..step("kubelet runs on containerd") }, Some("it does not answer"), 99);
        let found = read(&file);
        let all: Vec<(u64, &str)> = found.iter().map(|taken| (taken.at, taken.step.because.as_str())).collect();
        assert_eq!((all.len(), all[0], all[19]), (20, (6, "6"), (99, "kubelet runs on containerd")));
        assert_eq!(found[19].step.restarts.as_deref(), Some("kubelet"));
        assert_eq!(found[19].error.as_deref(), Some("it does not answer"));
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn texts_are_bounded_and_the_longest_file_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("steps.json");
        let mut steps = RecentSteps::open(&file);
        for number in 0..20 {
            steps.add(&step(&"\u{1}".repeat(5000)), Some(&"\u{7f}€".repeat(5000)), number);
        }
        let found = read(&file);
        assert_eq!((found.len(), found[0].step.because.chars().count()), (20, TEXT + 1));
    }

    #[test]
    fn without_a_directory_and_with_a_damaged_file_nothing_is_remembered() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("none/steps.json");
        RecentSteps::open(&file).add(&step("x"), None, 1);
        assert_eq!(read(&file), []);
        let file = directory.path().join("steps.json");
        std::fs::write(&file, "{").unwrap();
        assert_eq!(read(&file), []);
    }
}
