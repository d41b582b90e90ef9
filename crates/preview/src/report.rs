//! What is found.

use serde::Serialize;

use crate::kind::Kind;
use crate::limits;

/// Something that is wrong, or worth a warning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Where it stands; empty for the whole.
    pub place: String,
    /// What stands there, and what is allowed.
    pub message: String,
}

impl Finding {
    pub(crate) fn new(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self { place: place.into(), message: message.into() }
    }
}

/// What is said of one document or node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// As what it was judged.
    pub kind: Kind,
    /// The line at which it begins, from 1.
    pub line: usize,
    /// What would come of it.
    pub outcome: String,
    /// What is refused.
    pub findings: Vec<Finding>,
    /// What works, but perhaps not as its author thinks.
    pub warnings: Vec<Finding>,
}

impl Report {
    pub(crate) fn accepted(kind: Kind, outcome: &str, warnings: Vec<Finding>) -> Self {
        Self { kind, line: 1, outcome: format!("would be accepted: {outcome}"), findings: Vec::new(), warnings }
    }

    pub(crate) fn refused(kind: Kind, findings: Vec<Finding>) -> Self {
        Self { kind, line: 1, outcome: "would be refused".to_owned(), findings, warnings: Vec::new() }
    }
}

/// Without the lines around it: a file may hold a Secret beside what is checked.
pub(crate) fn where_and_why(error: &serde_saphyr::Error) -> String {
    error.without_snippet().render_with_formatter(&serde_saphyr::UserMessageFormatter)
}

/// A document of which nothing is said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Skipped {
    /// The line at which it begins, from 1.
    pub line: usize,
    /// Why.
    pub reason: String,
}

/// All that is said of one file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Judged {
    /// Each document that was judged.
    pub documents: Vec<Report>,
    /// The others.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub skipped: Vec<Skipped>,
    /// Those that cannot be read, or of which nobody knows what they are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<Skipped>,
}

impl Judged {
    /// Whether something is refused, or cannot be read.
    #[must_use]
    pub fn status(&self) -> Status {
        if !self.unreadable.is_empty() {
            Status::Unreadable
        } else if self.documents.iter().all(|report| report.findings.is_empty()) {
            Status::Fine
        } else {
            Status::Findings
        }
    }
}

/// How a check ends; the worst of all files counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// Nothing is refused; there may be warnings.
    Fine,
    /// Something is refused.
    Findings,
    /// Something cannot be read, or nobody knows what it is.
    Unreadable,
}

impl From<Status> for u8 {
    fn from(status: Status) -> Self {
        match status {
            Status::Fine => 0,
            Status::Findings => 1,
            Status::Unreadable => 2,
        }
    }
}

impl From<Status> for std::process::ExitCode {
    fn from(status: Status) -> Self {
        Self::from(u8::from(status))
    }
}

const CHOOSE: &str =
    "say what it is with --as provider-config, shoot, daemon, image-vector, values or kubelet (a node is a directory)";

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// Not there, or not to be read.
    #[error("cannot be read: {0}")]
    Io(#[from] std::io::Error),
    /// Too much.
    #[error("has more than {allowed} {what}, allowed: {allowed}")]
    TooMuch {
        /// Of what.
        what: &'static str,
        /// As many are read.
        allowed: usize,
    },
    /// No text.
    #[error("is no UTF-8 text")]
    NotText,
    /// Neither YAML nor JSON, of no kind, or of several.
    #[error("line {}: {}", .0.line, .0.reason)]
    Document(Skipped),
    /// A file that was to hold the base configuration.
    #[error(
        "has no base configuration, which is the map configs of the chart's values, of a ControllerDeployment or of an Extension of the operator, or the data of a ConfigMap"
    )]
    NoBase,
    /// A directory is of one kind alone.
    #[error("is a directory, which only a node's kubelet can be (--as kubelet)")]
    Directory,
    /// All documents are of other kinds.
    #[error("has no document that can be checked ({0}); {CHOOSE}")]
    Nothing(String),
}

impl Skipped {
    /// Only its owner knows what it is.
    pub(crate) fn to_choose(line: usize, why: &str) -> Self {
        Self { line, reason: format!("{why}; {CHOOSE}") }
    }
}

impl Unreadable {
    pub(crate) fn too_large() -> Self {
        Self::TooMuch { what: "bytes", allowed: limits::FILE_BYTES }
    }
}
