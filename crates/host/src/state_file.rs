//! A JSON document with a version, written atomically and only when it changes.

use std::marker::PhantomData;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::attributes::FileAttributes;
use crate::error::HostError;
use crate::root::{Change, HostRoot, Removal};

/// Longest file that is read, bytes; a longer one is damaged.
const LIMIT: u64 = 1 << 20;

/// Why a state file could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StateFileError {
    /// The file itself could not be read or written.
    #[error("cannot use the journal")]
    Host(#[from] HostError),
    /// The file is empty, as a power failure leaves a file that was not flushed.
    #[error("the journal {} is empty", path.display())]
    Empty {
        /// Host-absolute path.
        path: PathBuf,
    },
    /// The file is not the JSON that we write.
    #[error("the journal {} is unreadable", path.display())]
    Unreadable {
        /// Host-absolute path.
        path: PathBuf,
        /// Where the text is wrong.
        source: serde_json::Error,
    },
    /// A version of us that we do not know wrote the file.
    #[error("the journal {} has version {found}, not {known}", path.display())]
    UnknownVersion {
        /// Host-absolute path.
        path: PathBuf,
        /// Version in the file.
        found: u32,
        /// The newest version that is understood.
        known: u32,
    },
    /// The document cannot be written as JSON.
    #[error("the journal cannot be written as JSON")]
    Unwritable(#[source] serde_json::Error),
}

impl StateFileError {
    /// The file is there but unusable: the caller must go by what it finds on the host.
    #[must_use]
    pub fn is_damaged(&self) -> bool {
        matches!(self, Self::Empty { .. } | Self::Unreadable { .. })
    }
}

/// One state file with documents of type `T`: `{"version": …, "content": …}`.
#[derive(Debug, Clone)]
pub struct StateFile<T> {
    root: HostRoot,
    path: PathBuf,
    versions: RangeInclusive<u32>,
    attributes: FileAttributes,
    content: PhantomData<fn() -> T>,
}

#[derive(Serialize, Deserialize)]
struct Envelope<T> {
    version: u32,
    content: T,
}

#[derive(Deserialize)]
struct VersionOnly {
    version: u32,
}

impl<T: Serialize + DeserializeOwned> StateFile<T> {
    /// The journal at this host-absolute path, in these versions of its format, all of which are read, with mode 0600.
    #[must_use]
    pub fn new(root: HostRoot, path: impl Into<PathBuf>, versions: RangeInclusive<u32>) -> Self {
        Self { root, path: path.into(), versions, attributes: FileAttributes::with_mode(0o600), content: PhantomData }
    }

    /// Host-absolute path of the file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The document, or `None` when there is no file.
    pub fn read(&self) -> Result<Option<T>, StateFileError> {
        let Some(bytes) = self.root.read_optional(&self.path, LIMIT)? else {
            return Ok(None);
        };
        if bytes.iter().all(|byte| byte.is_ascii_whitespace() || *byte == 0) {
            return Err(StateFileError::Empty { path: self.path.clone() });
        }
        let unreadable = |source| StateFileError::Unreadable { path: self.path.clone(), source };
        let VersionOnly { version } = serde_json::from_slice(&bytes).map_err(unreadable)?;
        if !self.versions.contains(&version) {
            let known = *self.versions.end();
            return Err(StateFileError::UnknownVersion { path: self.path.clone(), found: version, known });
        }
        let envelope: Envelope<T> = serde_json::from_slice(&bytes).map_err(unreadable)?;
        Ok(Some(envelope.content))
    }

    /// Makes the file say this in one of the versions; an equal file is not touched. The directory must exist.
    pub fn write(&self, version: u32, content: &T) -> Result<Change, StateFileError> {
        let envelope = Envelope { version, content };
        let mut bytes = serde_json::to_vec_pretty(&envelope).map_err(StateFileError::Unwritable)?;
        bytes.push(b'\n');
        Ok(self.root.ensure_file(&self.path, &bytes, self.attributes)?)
    }

    /// Removes the file, whatever it says.
    pub fn remove(&self) -> Result<Removal, StateFileError> {
        Ok(self.root.remove_file(&self.path, None)?)
    }
}
