use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::image::Platform;

/// What can go wrong while artefacts are made. `Display` never repeats the source.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder could not be read or written.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// What was tried, as a verb: `read`, `write`, `create`.
        action: &'static str,
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A tar or gzip stream could not be read or made.
    #[error("cannot process the archive {what}")]
    Archive {
        /// Which archive.
        what: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A path inside an archive or image that could escape it, or that says the same thing twice.
    #[error("bad path {path:?}: {reason}")]
    Path {
        /// The path as given.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// An image definition is wrong.
    #[error("image definition {}: {reason}", path.display())]
    Definition {
        /// The definition's file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A reference (registry, name, tag) is wrong.
    #[error("image reference {reference:?}: {reason}")]
    Reference {
        /// As given.
        reference: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// The chart's folder is no chart.
    #[error("chart {}: {reason}", path.display())]
    Chart {
        /// The chart's folder or file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Cargo.lock, or what cargo says about it, is not as expected.
    #[error("{}: {reason}", path.display())]
    Lock {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Content is not what its digest says.
    #[error("{what}: the sha256 is {actual}, expected {expected}; refused")]
    Digest {
        /// Which content.
        what: String,
        /// The digest that was given.
        expected: Digest,
        /// The digest of what came.
        actual: Digest,
    },
    /// A tag has other content.
    #[error(
        "{reference} is {there} already, and what was built is {new}: take a new tag, as whoever has pulled this one keeps what it was"
    )]
    Taken {
        /// Registry, name and tag.
        reference: String,
        /// What it is there.
        there: Digest,
        /// What it would become.
        new: Digest,
    },
    /// Content is larger than it may be.
    #[error("{what}: more than {limit} bytes; refused")]
    TooLarge {
        /// Which content.
        what: String,
        /// The limit, in bytes.
        limit: u64,
    },
    /// A text is no URL from which something could be downloaded. It may hold a password and is not repeated.
    #[error("the URL is none from which a file can be downloaded: {reason}")]
    Url {
        /// What is wrong.
        reason: String,
    },
    /// A text is no sha256.
    #[error("{0:?} is not a sha256 (64 hexadecimal digits)")]
    DigestSyntax(String),
    /// The payload does not have the layout of a cri-resource-manager release.
    #[error("payload {}: {reason}", path.display())]
    Payload {
        /// The archive.
        path: PathBuf,
        /// What is missing or wrong.
        reason: String,
    },
    /// A program that is to be in an image for one platform is not one that runs there.
    #[error("{} {reason}, and cannot be in an image for {platform}", path.display())]
    Unfit {
        /// The program's file.
        path: PathBuf,
        /// What it is instead.
        reason: String,
        /// The image's platform.
        platform: Platform,
    },
    /// This machine cannot build for a platform.
    #[error("nothing is built: for {platform} install {}", lacks.join(" and "))]
    Target {
        /// The platform.
        platform: Platform,
        /// What is missing, each with the command that brings it.
        lacks: Vec<String>,
    },
    /// A program that was started failed; its last lines stand in the text.
    #[error("{program} failed ({status}): {stderr}")]
    Program {
        /// Program and first arguments.
        program: String,
        /// Its exit status.
        status: String,
        /// The end of its standard error.
        stderr: String,
    },
    /// A program could not be started.
    #[error("cannot start {program}")]
    Start {
        /// The program.
        program: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A download or an upload failed.
    #[error("{what}")]
    Transfer {
        /// What was transferred, from or to where.
        what: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A registry did not do what it was asked for.
    #[error("{what}: the registry answers {status}{reason}")]
    Refused {
        /// What was to be done.
        what: String,
        /// The status of its answer.
        status: u16,
        /// Its own words, in brackets, where it has any.
        reason: String,
    },
    /// A document of ours could not be serialized.
    #[error("cannot serialize {what}")]
    Json {
        /// Which document.
        what: &'static str,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
}

impl Error {
    /// Whether a registry says no for good, so that another try would end the same way.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if !matches!(status, 408 | 429 | 500 | 502..))
    }

    /// For `map_err` after a file operation on `path`.
    pub(crate) fn io(action: &'static str, path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        move |source| Self::Io { action, path, source }
    }

    /// For `map_err` after an archive operation.
    pub(crate) fn archive(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        move |source| Self::Archive { what, source }
    }
}
