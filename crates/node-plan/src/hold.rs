//! Why a node is not as desired although no step can change that now. Each reason is a variant, and its sentence for people stands here.

use std::fmt;

use extension_config::ReasonCode;
use jiff::Timestamp;

use crate::journal::Backoff;
use crate::kind::Backend;
use crate::refusal::Refusal;
use crate::restart::WINDOW_SECONDS;
use crate::slot::{Slot, Wait};
use crate::step::Action;

/// A reason why a node is not as desired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hold {
    /// The desired state of the node is not known; the text says what is missing.
    Undecided(String),
    /// This installation must not be on this node.
    Refused(Refusal),
    /// A try failed, and the node is clean until the next one.
    RolledBack(Failure),
    /// A try failed, and what was proven before it runs until the next one.
    RolledBackToPrevious(Failure),
    /// containerd does not answer.
    ContainerdSilent,
    /// Somebody stopped kubelet.
    KubeletStopped,
    /// kubelet was restarted too often.
    RestartBudget {
        /// Why it is to be restarted again.
        because: PacedChange,
        /// Restarts within [`WINDOW_SECONDS`].
        restarts: usize,
        /// Seconds since 1970 of the next one.
        next_at: u64,
    },
    /// A change that only a few nodes of a shoot may make at a time.
    Slot {
        /// What is held.
        change: PacedChange,
        /// What it is held by.
        by: SlotHold,
    },
    /// The node has another backend, and nobody asked for a change.
    OtherBackend {
        /// What it has.
        here: Backend,
        /// What is wanted.
        wanted: Backend,
    },
    /// The node would lose something of its configuration with its backend, which nobody has accepted; a sentence for each.
    Unaccepted(Vec<String>),
    /// The same step is needed in every round.
    Unsettled {
        /// The step.
        action: Box<Action>,
        /// What makes it necessary.
        evidence: String,
    },
}

/// A try that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Failures in a row.
    pub count: u32,
    /// The last one.
    pub reason: String,
    /// Seconds from it to the next try.
    pub wait: u64,
}

/// Why kubelet is to be restarted onto the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KubeletOffProxy {
    /// It has failed, or a restart of ours was cut off.
    Down,
    /// It runs on containerd.
    OnContainerd,
    /// It runs on a third socket.
    OnOtherSocket,
}

/// What takes a switch slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PacedChange {
    /// kubelet onto the proxy for the first time.
    Switch(KubeletOffProxy),
    /// A restart of the daemon in use, with other inputs.
    NewInputs,
    /// A start of a policy plugin with other inputs, the first one too: it places all containers of the node.
    Policy,
    /// kubelet off the proxy, whose place a policy plugin has taken.
    LeaveProxy,
}

/// Why no slot is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SlotHold {
    /// Nobody was asked yet.
    NotAsked,
    /// Not yet.
    Waiting(Wait),
    /// Not before something changes.
    Stopped {
        /// Roll-backs in the shoot with the same change.
        rollbacks: usize,
    },
}

impl SlotHold {
    /// `None`: the slot is held.
    pub(crate) fn of(slot: &Slot) -> Option<Self> {
        match slot {
            Slot::Held => None,
            Slot::NotAsked => Some(Self::NotAsked),
            Slot::Waiting(wait) => Some(Self::Waiting(wait.clone())),
            Slot::Stopped { rollbacks } => Some(Self::Stopped { rollbacks: *rollbacks }),
        }
    }
}

impl From<&Backoff> for Failure {
    fn from(backoff: &Backoff) -> Self {
        let wait = backoff.not_before.saturating_sub(backoff.failed_at);
        Self { count: backoff.failures, reason: backoff.reason.clone(), wait }
    }
}

impl From<Refusal> for Hold {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl Hold {
    /// The word by which programs distinguish it.
    #[must_use]
    pub fn code(&self) -> ReasonCode {
        match self {
            Self::Undecided(_) => ReasonCode::Undecided,
            Self::Refused(refusal) => refusal.code(),
            Self::RolledBack(_) => ReasonCode::RolledBack,
            Self::RolledBackToPrevious(_) => ReasonCode::RolledBackToPrevious,
            Self::ContainerdSilent => ReasonCode::ContainerdSilent,
            Self::KubeletStopped => ReasonCode::KubeletStopped,
            Self::RestartBudget { .. } => ReasonCode::RestartBudget,
            Self::Slot { by, .. } => by.code(),
            Self::OtherBackend { .. } => ReasonCode::OtherBackend,
            Self::Unaccepted(_) => ReasonCode::Unaccepted,
            Self::Unsettled { .. } => ReasonCode::Unsettled,
        }
    }
}

impl SlotHold {
    fn code(&self) -> ReasonCode {
        match self {
            Self::NotAsked => ReasonCode::SlotNotAsked,
            Self::Waiting(Wait::SlotsTaken { .. }) => ReasonCode::SlotsTaken,
            Self::Waiting(Wait::Halted { .. }) => ReasonCode::SwitchesHalted,
            Self::Waiting(Wait::SlotsUnknown(_)) => ReasonCode::SlotsUnknown,
            Self::Waiting(Wait::UpdateInPlace { .. }) => ReasonCode::UpdateInPlace,
            Self::Waiting(Wait::FailedUpdateInPlace { .. }) => ReasonCode::FailedUpdateInPlace,
            Self::Stopped { .. } => ReasonCode::SwitchesStopped,
        }
    }
}

impl KubeletOffProxy {
    /// The sentence, which is also the evidence of the step.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Down => "kubelet.service is down, and not on purpose",
            Self::OnContainerd => "kubelet runs on containerd",
            Self::OnOtherSocket => "kubelet runs on another socket",
        }
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Undecided(because) => f.write_str(because),
            Self::Refused(refusal) => refusal.fmt(f),
            Self::RolledBack(failure) => failure.fmt(f),
            Self::RolledBackToPrevious(failure) => {
                write!(f, "{failure}; running the previous installation until then")
            }
            Self::ContainerdSilent => f.write_str("waiting for containerd to answer CRI calls"),
            Self::KubeletStopped => f.write_str("kubelet.service is stopped; waiting for somebody to start it"),
            Self::RestartBudget { because, restarts, next_at } => {
                let next = Time(*next_at);
                write!(
                    f,
                    "{because}; restart budget used up ({restarts} within {WINDOW_SECONDS} s); next restart at {next}"
                )
            }
            Self::Slot { change, by } => write!(f, "{change}; {by}"),
            Self::OtherBackend { here, wanted } => write!(
                f,
                "the node runs {}, and {} is wanted: name the former in migration.from, or switch the extension off first",
                here.name(),
                wanted.name()
            ),
            Self::Unaccepted(what) => {
                write!(f, "the change of backend would lose what is not accepted: {}", what.join("; "))
            }
            Self::Unsettled { action, evidence } => {
                write!(f, "the node does not settle: {action} is needed again ({evidence})")
            }
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, reason, wait } = self;
        write!(f, "rolled back after failure {count}: {reason}; next attempt {wait} s later")
    }
}

impl fmt::Display for PacedChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Switch(because) => because.as_str(),
            Self::NewInputs => "cri-resmgr must restart with new inputs",
            Self::Policy => "the policy must start with new inputs",
            Self::LeaveProxy => "kubelet must leave cri-resmgr, whose place a policy has taken",
        })
    }
}

impl fmt::Display for SlotHold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAsked => f.write_str("that takes a switch slot"),
            Self::Waiting(wait) => wait.fmt(f),
            Self::Stopped { rollbacks } => write!(
                f,
                "no node switches any more after {rollbacks} roll-backs in the shoot, until the configuration or the version changes"
            ),
        }
    }
}

/// Seconds since 1970, as people read them.
struct Time(u64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match i64::try_from(self.0).ok().and_then(|seconds| Timestamp::from_second(seconds).ok()) {
            Some(time) => time.fmt(f),
            None => write!(f, "{} s since 1970", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hold_has_one_sentence() {
        let failure = || Failure { count: 2, reason: "prove that the proxy answers: it crashed".into(), wait: 120 };
        let slot = |by| Hold::Slot { change: PacedChange::NewInputs, by };
        let because = KubeletOffProxy::OnContainerd;
        let all = [
            Hold::Undecided("the labels of the node cannot be read from the API server".into()),
            Hold::RolledBack(failure()),
            Hold::RolledBackToPrevious(failure()),
            Hold::ContainerdSilent,
            Hold::KubeletStopped,
            Hold::RestartBudget { because: PacedChange::Switch(because), restarts: 3, next_at: 1_800_000_000 },
            Hold::Slot { change: PacedChange::Switch(because), by: SlotHold::NotAsked },
            slot(SlotHold::Waiting(Wait::SlotsTaken { slots: 1 })),
            slot(SlotHold::Waiting(Wait::SlotsTaken { slots: 3 })),
            slot(SlotHold::Waiting(Wait::SlotsUnknown("get DaemonSet x: no answer within 5 s".into()))),
            slot(SlotHold::Waiting(Wait::Halted { reason: String::new() })),
            slot(SlotHold::Waiting(Wait::Halted { reason: "INC-4711".into() })),
            slot(SlotHold::Waiting(Wait::UpdateInPlace { label: "example.com/label" })),
            slot(SlotHold::Waiting(Wait::FailedUpdateInPlace { label: "example.com/label" })),
            slot(SlotHold::Stopped { rollbacks: 2 }),
            Hold::Slot { change: PacedChange::Policy, by: SlotHold::NotAsked },
            Hold::OtherBackend { here: Backend::Proxy, wanted: Backend::Plugin },
            Hold::Unaccepted(vec!["Adjustment default/quiet has no place (adjustment:default/quiet)".into()]),
            Hold::Slot { change: PacedChange::LeaveProxy, by: SlotHold::NotAsked },
            Hold::Unsettled {
                action: Box::new(crate::UnitAction::Reload.into()),
                evidence: "unit files changed".into(),
            },
        ];
        let codes: Vec<&str> = all.iter().map(|hold| hold.code().as_str()).collect();
        insta::assert_snapshot!(codes.join(" "), @"Undecided RolledBack RolledBackToPrevious ContainerdSilent KubeletStopped RestartBudget SlotNotAsked SlotsTaken SlotsTaken SlotsUnknown SwitchesHalted SwitchesHalted UpdateInPlace FailedUpdateInPlace SwitchesStopped SlotNotAsked OtherBackend Unaccepted SlotNotAsked Unsettled");
        let text: Vec<String> = all.iter().map(Hold::to_string).collect();
        insta::assert_snapshot!(text.join("\n"), @"
        the labels of the node cannot be read from the API server
        rolled back after failure 2: prove that the proxy answers: it crashed; next attempt 120 s later
        rolled back after failure 2: prove that the proxy answers: it crashed; next attempt 120 s later; running the previous installation until then
        waiting for containerd to answer CRI calls
        kubelet.service is stopped; waiting for somebody to start it
        kubelet runs on containerd; restart budget used up (3 within 600 s); next restart at 2027-01-15T08:00:00Z
        kubelet runs on containerd; that takes a switch slot
        cri-resmgr must restart with new inputs; waiting for a switch slot (1 node at a time)
        cri-resmgr must restart with new inputs; waiting for a switch slot (3 nodes at a time)
        cri-resmgr must restart with new inputs; cannot ask for a switch slot: get DaemonSet x: no answer within 5 s
        cri-resmgr must restart with new inputs; all switches are halted
        cri-resmgr must restart with new inputs; all switches are halted: INC-4711
        cri-resmgr must restart with new inputs; this node is updated in place (example.com/label)
        cri-resmgr must restart with new inputs; the update of this node in place has failed (example.com/label)
        cri-resmgr must restart with new inputs; no node switches any more after 2 roll-backs in the shoot, until the configuration or the version changes
        the policy must start with new inputs; that takes a switch slot
        the node runs cri-resmgr, and a policy of nri-plugins is wanted: name the former in migration.from, or switch the extension off first
        the change of backend would lose what is not accepted: Adjustment default/quiet has no place (adjustment:default/quiet)
        kubelet must leave cri-resmgr, whose place a policy has taken; that takes a switch slot
        the node does not settle: have systemd reload its units is needed again (unit files changed)
        ");
    }
}
