//! Exit codes, as docs/kubectl-resmgr.md has them.

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// All nodes are as desired, or the command did what it was asked for.
    Done,
    /// Nothing is known: the API server was not reached, or refused, or the node is none.
    Failed,
    /// Some nodes are on their way, or wait; nobody has to do anything yet.
    UnderWay,
    /// Some node needs somebody.
    Stuck,
    /// The extension is not in this cluster.
    Absent,
    /// As another command of ours has said (`check`, `convert`).
    Other(u8),
}

impl Exit {
    /// The number.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            // 2 is a wrong command line, by clap.
            Self::UnderWay => 3,
            Self::Stuck => 4,
            Self::Absent => 5,
            Self::Other(code) => code,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}
