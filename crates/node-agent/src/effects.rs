//! What the agent can see and do on its node, as traits: the real node behind them, or a fake that fails where a test wants it.

use std::time::Duration;

use extension_config::cri_resmgr::CpuSet;
use extension_config::names::node;
use host::{HostError, StateFileError};
use node_plan::pins::{BooksError, Misses};
use node_plan::{Backend, Desired, Entry, FileAction, Journal, Nri, Plan, Programs, RuntimeVersion, Slot, Step, Unit};
use systemd_client::SystemdError;

use crate::proof_failure::ProofFailure;

/// Why something on the node could not be seen or done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EffectError {
    /// A file.
    #[error("the host's files")]
    Host(#[from] HostError),
    /// The journal.
    #[error("the journal")]
    Journal(#[from] StateFileError),
    /// A file of the agent's own image.
    #[error("cannot read {path} of the agent's image")]
    Payload {
        /// Path in the agent's container.
        path: String,
        /// The operating system's answer.
        source: std::io::Error,
    },
    /// systemd or the bus.
    #[error("systemd")]
    Systemd(#[from] SystemdError),
    /// A job that did not end well.
    #[error("{what} ended with {result:?}")]
    Job {
        /// The job with its unit: `restart of kubelet.service`.
        what: String,
        /// systemd's result.
        result: String,
    },
    /// A proof that failed.
    #[error(transparent)]
    Proof(#[from] ProofFailure),
    /// containerd's answer about containers.
    #[error("containerd")]
    Cri(#[from] cri_client::CriError),
    /// What a policy has written down.
    #[error("the policy's books")]
    Books(#[from] BooksError),
    /// Containers of which nobody can say whether they are pinned.
    #[error("the control groups of {unseen} running containers cannot be seen, so their pins cannot be reset")]
    PinsUnseen {
        /// How many.
        unseen: usize,
    },
    /// Containers that are still placed by a policy that is gone.
    #[error("{left} containers still have what the policy gave them after a reset")]
    PinsLeft {
        /// How many.
        left: usize,
    },
    /// A directory that cannot be removed.
    #[error("{path} is a mount point of the agent's pod")]
    MountPoint {
        /// The directory.
        path: String,
    },
    /// A look that was given up.
    #[error("they could not be looked at in time")]
    Slow,
    /// The agent is asked to end; what was begun is taken up by the next one.
    #[error("the agent is stopping")]
    Stopping,
    /// What a test injected.
    #[cfg(test)]
    #[error("injected: {0}")]
    Injected(String),
}

impl EffectError {
    /// The runtime path did not prove itself (rather than: we could not do or see something), so the way back is taken.
    pub(crate) fn is_proof(&self) -> bool {
        matches!(
            self,
            Self::Proof(_)
                | Self::Job { .. }
                | Self::Systemd(SystemdError::BadUnitSetting { .. } | SystemdError::Masked { .. })
        )
    }
}

/// Result of an effect.
pub(crate) type Result<T> = std::result::Result<T, EffectError>;

/// A socket that a runtime answers on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Socket {
    /// The daemon's relay socket.
    Proxy,
    /// containerd's.
    Containerd,
}

impl Socket {
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Proxy => node::RELAY_SOCKET,
            Self::Containerd => node::CONTAINERD_SOCKET,
        }
    }
}

/// Why a runtime does not answer as it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAnswer {
    /// It answers, and says so itself.
    #[error("{0} answers, but RuntimeReady is not true")]
    NotReady(&'static str),
    /// It does not.
    #[error(transparent)]
    Cri(#[from] cri_client::CriError),
    /// One in memory does not.
    #[cfg(any(test, feature = "simulation"))]
    #[error("{0} does not answer")]
    Silent(&'static str),
}

/// Files of the host.
pub(crate) trait Files {
    /// What stands at a path.
    fn entry(&mut self, path: &str) -> Result<Entry>;
    /// A text file of moderate size, `None` where there is none.
    fn read_text(&self, path: &str) -> Result<Option<String>>;
    /// Names in a directory, sorted, and whether each is a directory itself; none where there is no directory. An error where there are more.
    fn list(&self, path: &str, most: usize) -> Result<Vec<(String, bool)>>;
    /// Free bytes at a path.
    fn free_space(&self, path: &str) -> Result<u64>;
    /// The journal. A damaged one counts as lost.
    fn journal(&self) -> Result<Option<Journal>>;
    /// Writes the journal, making its directory.
    fn write_journal(&mut self, journal: &Journal) -> Result<()>;
    /// Carries out a change.
    fn change(&mut self, action: &FileAction) -> Result<()>;
    /// Removes the journal, the lock and their directories.
    fn forget(&mut self) -> Result<()>;
    /// Takes the host lock where it is not held; [`EffectError`] when another agent holds it.
    fn lock(&mut self) -> Result<()>;
    /// Lets the host lock go.
    fn unlock(&mut self);
}

/// A unit with what only kubelet's is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct UnitView {
    /// State.
    pub(crate) unit: Unit,
    /// `ExecStart` command lines.
    pub(crate) exec_start: Vec<Vec<String>>,
    /// `ExecStartPre` command lines, those of drop-ins too.
    pub(crate) exec_start_pre: Vec<Vec<String>>,
    /// Files that variables are read from, in order; the last one that sets a variable wins.
    pub(crate) environment_files: Vec<String>,
    /// Command line of the main process.
    pub(crate) command_line: Option<String>,
}

/// systemd.
pub(crate) trait Units {
    /// systemd's version.
    async fn version(&mut self) -> Result<String>;
    /// A unit's state; a missing unit is `not-found`.
    async fn unit(&mut self, name: &str) -> Result<UnitView>;
    /// daemon-reload.
    async fn reload(&mut self) -> Result<()>;
    /// Starts and waits.
    async fn start(&mut self, unit: &str) -> Result<()>;
    /// Stops and waits; a missing unit is stopped.
    async fn stop(&mut self, unit: &str) -> Result<()>;
    /// Restarts and waits.
    async fn restart(&mut self, unit: &str) -> Result<()>;
    /// Zeroes the start counters.
    async fn reset_failed(&mut self, unit: &str) -> Result<()>;
}

/// What runtimes and the cluster say.
pub(crate) trait Probe {
    /// CRI `Version` and `Status` are answered and the runtime is ready; else why not.
    async fn answers(&mut self, socket: Socket) -> std::result::Result<(), NoAnswer>;
    /// Seconds since 1970 of the Node's last heartbeat; `None` when the API server cannot be asked or does not know the node.
    async fn heartbeat(&self) -> Option<u64>;
    /// CPUs of the machine that are online; `None` when that cannot be read.
    fn cpus(&self) -> Option<CpuSet>;
}

/// A policy plugin's word that it has registered with containerd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Registration {
    /// Its process.
    pub(crate) pid: u32,
    /// Seconds since 1970.
    pub(crate) at: u64,
}

/// The policy plugin, and the containers that it places.
pub(crate) trait Plugins {
    /// containerd's name and version; `None` when it does not answer.
    async fn runtime(&mut self) -> Option<RuntimeVersion>;
    /// What containerd lets plugins do.
    fn nri(&mut self) -> Result<Nri>;
    /// What the pid file says; it outlives its process.
    fn registration(&mut self) -> Result<Option<Registration>>;
    /// Containers that are not where the policy that has registered at this time has them, by one check.
    async fn misses(&mut self, registered_at: u64) -> Result<Misses>;
    /// Gives all containers what they would have without a policy; how many had something else.
    async fn reset_pins(&mut self) -> Result<usize>;
    /// Lets a policy's program read a document, apart from everything; an error of a proof when it does not take it.
    async fn try_out(&mut self, program: &str, document: &str) -> Result<()>;
}

/// Time, and waiting.
pub(crate) trait Clock {
    /// Seconds since 1970.
    fn now(&self) -> u64;
    /// Monotonic time, for deadlines.
    fn uptime(&self) -> Duration;
    /// Waits; ends early with [`EffectError::Stopping`] when the agent has to end.
    async fn pause(&mut self, time: Duration) -> Result<()>;
}

/// A request for a switch slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SwitchRequest {
    /// Hash of the desired state.
    pub(crate) desired: String,
    /// Digest of what is to be installed.
    pub(crate) attempt: String,
    /// A failure of this node with it that is not recorded in the shoot yet, seconds since 1970.
    pub(crate) failed_at: Option<u64>,
    /// It ends what was begun: no stop of switches holds it.
    pub(crate) finishes: bool,
}

/// The answer to a request for a switch slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SwitchPermit {
    /// Whether the slot is held.
    pub(crate) slot: Slot,
    /// The failure is recorded in the shoot.
    pub(crate) reported: bool,
    /// This failure is the one that stops all further switches.
    pub(crate) stopped_now: bool,
    /// When to ask again if the slot is not held.
    pub(crate) again_in: Duration,
}

/// The shoot-wide limit on how many nodes switch at the same time.
pub(crate) trait Slots {
    /// Takes or renews the node's slot.
    async fn take_slot(&mut self, request: &SwitchRequest) -> SwitchPermit;
    /// Returns the slot; gives whether the failure was recorded. Best effort: a slot expires by itself.
    async fn give_back_slot(&mut self, request: &SwitchRequest) -> bool;
}

/// Observers of the work: metrics and the dynamic configuration. Nothing that they do changes what is planned or done.
pub(crate) trait Progress {
    /// What the node with this journal is to become; before anything is begun.
    fn decided(&self, desired: &Desired, journal: Option<&Journal>);
    /// The first step of a plan comes next: from now on the node is not as desired.
    fn begin(&self, plan: &Plan);
    /// A step was done.
    fn done(&mut self, step: &Step);
    /// A step failed.
    fn failed(&mut self, step: &Step, error: &EffectError);
    /// What was tried with this backend failed, and the way back is taken.
    fn rolled_back(&self, tried: Backend);
}

/// All of a node.
pub(crate) trait Effects: Files + Units + Probe + Plugins + Clock + Slots + Progress {}

impl<T: Files + Units + Probe + Plugins + Clock + Slots + Progress> Effects for T {}

/// A node that an agent can stay with.
pub(crate) trait Node: Effects {
    /// The programs of the agent's image.
    fn programs(&self) -> &Programs;
    /// Whether we restarted kubelet since the last call.
    fn take_restarted(&mut self) -> bool;
}
