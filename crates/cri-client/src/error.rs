//! What can go wrong between us and a socket.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// What was being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// Connecting to the socket.
    Connect,
    /// CRI `Version`.
    Version,
    /// CRI `Status`.
    Status,
    /// CRI `ListContainers`.
    ListContainers,
    /// CRI `ContainerStatus`.
    ContainerStatus,
    /// CRI `UpdateContainerResources`.
    UpdateContainerResources,
    /// cri-resmgr's `SetConfig`.
    SetConfig,
    /// cri-resmgr's `SetAdjustment`.
    SetAdjustment,
}

impl fmt::Display for Phase {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Connect => "connecting",
            Self::Version => "Version",
            Self::Status => "Status",
            Self::ListContainers => "ListContainers",
            Self::ContainerStatus => "ContainerStatus",
            Self::UpdateContainerResources => "UpdateContainerResources",
            Self::SetConfig => "SetConfig",
            Self::SetAdjustment => "SetAdjustment",
        })
    }
}

/// Why a server behind a unix socket gave no usable answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CriError {
    /// Nobody listens: the socket file is missing, stale, or closed to us.
    #[error("cannot connect to {}", socket.display())]
    Connect {
        /// The socket's path.
        socket: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// No answer in time; a server can listen long before it serves.
    #[error("no answer from {} within {after:.1?} ({phase})", socket.display())]
    Timeout {
        /// The socket's path.
        socket: PathBuf,
        /// What was being waited for.
        phase: Phase,
        /// How long was waited in all.
        after: Duration,
    },
    /// The server answered the call with an error, or the connection broke.
    #[error("{phase} on {} failed with {code:?}: {message}", socket.display())]
    Call {
        /// The socket's path.
        socket: PathBuf,
        /// The call.
        phase: Phase,
        /// gRPC status code; `Unavailable` when the connection broke.
        code: tonic::Code,
        /// The server's text.
        message: String,
    },
    /// cri-resmgr refused the configuration; the call itself went well.
    #[error("cri-resmgr refused the configuration: {message}")]
    Refused {
        /// cri-resmgr's text.
        message: String,
    },
}

impl CriError {
    /// Nobody listens on the socket, as opposed to a server that listens and fails.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Connect { .. })
    }
}
