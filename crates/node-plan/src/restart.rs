//! Restarts that we cause: of kubelet with their cause, of the daemon with what stopped it, and how long either counts.

use serde::{Deserialize, Serialize};

/// Length of the window that restarts of kubelet are counted in.
pub(crate) const WINDOW_SECONDS: u64 = 600;

/// Length of the window in which systemd's giving the daemon up is counted. systemd itself gives it up after ten starts within ten minutes
/// ([`crate::texts::daemon_unit`]).
pub(crate) const GIVEN_UP_WINDOW_SECONDS: u64 = 3600;

/// Why we restart kubelet; label of the metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cause {
    /// First time onto the proxy.
    Switch,
    /// Back to containerd after a failed proof.
    Rollback,
    /// Back onto the proxy after others moved kubelet away, or a failed kubelet brought back.
    Heal,
    /// Back to containerd because the node is to be clean.
    Remove,
}

impl Cause {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Switch, Self::Rollback, Self::Heal, Self::Remove];

    /// Value of the metric's label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Switch => "switch",
            Self::Rollback => "rollback",
            Self::Heal => "heal",
            Self::Remove => "remove",
        }
    }
}

/// One restart of kubelet that we caused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restart {
    /// Seconds since 1970.
    pub at: u64,
    /// What it was for.
    pub cause: Cause,
}
