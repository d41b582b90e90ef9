//! The host lock: two agents at once (an old and a new pod) must not both act.

use std::fs::{File, TryLockError};
use std::path::Path;

use crate::error::{HostError, Result};
use crate::operation::Operation;

/// An exclusive `flock`, released when dropped or when the process ends.
#[derive(Debug)]
pub struct HostLock {
    _file: File,
}

impl HostLock {
    pub(crate) fn try_take(file: File, path: &Path) -> Result<Self> {
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(HostError::Locked { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => Err(HostError::io(Operation::Lock, path, source)),
        }
    }
}
