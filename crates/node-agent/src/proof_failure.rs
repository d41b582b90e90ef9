//! Why a proof failed, each reason a variant with its sentence for people. The sentences are persisted: they are the reason of a roll-back in the
//! journal and in the node report.

use std::fmt;
use std::time::Duration;

use extension_config::names::node;
use kubelet_config::Endpoint;
use node_plan::OverrideUndone;

/// A proof that failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProofFailure {
    /// systemd does not start the daemon any more.
    #[error("{} has failed: systemd has given it up", node::DAEMON_UNIT)]
    DaemonGivenUp,
    /// The daemon did not answer, or not long enough.
    #[error("the proxy did not prove itself within {deadline:?}: {why} ({state}, {restarts} automatic restarts)")]
    Daemon {
        /// How long was waited.
        deadline: Duration,
        /// What was missing at the end.
        why: DaemonFault,
        /// The unit's state at the end.
        state: UnitState,
        /// Automatic restarts since the last manual one.
        restarts: u32,
    },
    /// systemd does not start kubelet any more.
    #[error("kubelet.service has failed: systemd has given it up")]
    KubeletGivenUp,
    /// kubelet did not run well on the endpoint.
    #[error(
        "kubelet.service did not prove itself on {endpoint} within {deadline:?}: {why} ({restarts} automatic restarts)"
    )]
    Kubelet {
        /// Where it had to run.
        endpoint: Endpoint,
        /// How long was waited.
        deadline: Duration,
        /// What was missing at the end.
        why: KubeletFault,
        /// Automatic restarts since the last manual one.
        restarts: u32,
    },
    /// systemd cannot read kubelet's unit.
    #[error("kubelet.service is {load_state} in systemd")]
    KubeletUnitUnreadable {
        /// `bad-setting` or `error`.
        load_state: String,
    },
    /// systemd does not know our override.
    #[error("systemd has not loaded {} after a reload", node::KUBELET_DROP_IN)]
    OverrideNotLoaded,
    /// systemd still knows our override.
    #[error("systemd still has loaded {} after a reload", node::KUBELET_DROP_IN)]
    OverrideStillLoaded,
    /// Somebody else's drop-in is in the way.
    #[error(transparent)]
    OverrideUndone(#[from] OverrideUndone),
    /// A removal was not complete.
    #[error("left behind: {}", .0.join(", "))]
    LeftBehind(Vec<String>),
}

/// A unit's state, as systemd writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnitState {
    /// `active`, `activating`, …
    pub(crate) active: String,
    /// `running`, `auto-restart`, …
    pub(crate) sub: String,
}

impl fmt::Display for UnitState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.active, self.sub)
    }
}

/// What was missing of the daemon's proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DaemonFault {
    /// Its process changed again and again.
    NotStable,
    /// Somebody else has its socket.
    NoProcess,
    /// No answer, and why not.
    NoAnswer(String),
}

impl fmt::Display for DaemonFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotStable => "it answers but does not stay up",
            Self::NoProcess => "something answers, but the unit has no process",
            Self::NoAnswer(reason) => reason,
        })
    }
}

/// What was missing of kubelet's proof.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KubeletFault {
    /// It runs, but its Node does not say so yet.
    StaleHeartbeat,
    /// It was started anew too short a time ago.
    NotLongEnough,
    /// Our override is gone, and it runs on the proxy all the same.
    OnProxyByItself,
    /// It runs on another runtime.
    OnEndpoint(Endpoint),
    /// It does not run.
    NotRunning(UnitState),
}

impl fmt::Display for KubeletFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StaleHeartbeat => f.write_str("the Node's heartbeat is not fresh"),
            Self::NotLongEnough => f.write_str("it has not run long enough"),
            Self::OnProxyByItself => f.write_str(
                "it runs on the proxy by the host's own arguments (KUBELET_EXTRA_ARGS?); take the endpoint out of them",
            ),
            Self::OnEndpoint(endpoint) => write!(f, "it runs on {endpoint}"),
            Self::NotRunning(state) => write!(f, "it is {state}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_proof_failure_has_one_sentence() {
        let state = || UnitState { active: "activating".into(), sub: "auto-restart".into() };
        let daemon = |why| ProofFailure::Daemon { deadline: Duration::from_secs(60), why, state: state(), restarts: 4 };
        let kubelet =
            |endpoint, why| ProofFailure::Kubelet { endpoint, deadline: Duration::from_secs(90), why, restarts: 1 };
        let all = [
            ProofFailure::DaemonGivenUp,
            daemon(DaemonFault::NotStable),
            daemon(DaemonFault::NoProcess),
            daemon(DaemonFault::NoAnswer("no answer".into())),
            ProofFailure::KubeletGivenUp,
            kubelet(Endpoint::Proxy, KubeletFault::StaleHeartbeat),
            kubelet(Endpoint::Proxy, KubeletFault::NotLongEnough),
            kubelet(Endpoint::Containerd, KubeletFault::OnProxyByItself),
            kubelet(Endpoint::Proxy, KubeletFault::OnEndpoint(Endpoint::Foreign)),
            kubelet(Endpoint::Containerd, KubeletFault::NotRunning(state())),
            ProofFailure::KubeletUnitUnreadable { load_state: "bad-setting".into() },
            ProofFailure::OverrideNotLoaded,
            ProofFailure::OverrideStillLoaded,
            OverrideUndone::GateIsNotRun.into(),
            OverrideUndone::EnvironmentIsNotRead.into(),
            OverrideUndone::VariableIsSetAgain { path: "/etc/default/kubelet".into() }.into(),
            ProofFailure::LeftBehind(vec!["/etc/cri-resmgr".into(), "x.service (active)".into()]),
        ];
        let text: Vec<String> = all.iter().map(ProofFailure::to_string).collect();
        insta::assert_snapshot!(text.join("\n"), @"
        cri-resource-manager.service has failed: systemd has given it up
        the proxy did not prove itself within 60s: it answers but does not stay up (activating/auto-restart, 4 automatic restarts)
        the proxy did not prove itself within 60s: something answers, but the unit has no process (activating/auto-restart, 4 automatic restarts)
        the proxy did not prove itself within 60s: no answer (activating/auto-restart, 4 automatic restarts)
        kubelet.service has failed: systemd has given it up
        kubelet.service did not prove itself on the proxy within 90s: the Node's heartbeat is not fresh (1 automatic restarts)
        kubelet.service did not prove itself on the proxy within 90s: it has not run long enough (1 automatic restarts)
        kubelet.service did not prove itself on containerd within 90s: it runs on the proxy by the host's own arguments (KUBELET_EXTRA_ARGS?); take the endpoint out of them (1 automatic restarts)
        kubelet.service did not prove itself on the proxy within 90s: it runs on another runtime (1 automatic restarts)
        kubelet.service did not prove itself on containerd within 90s: it is activating/auto-restart (1 automatic restarts)
        kubelet.service is bad-setting in systemd
        systemd has not loaded /etc/systemd/system.control/kubelet.service.d/90-cri-resmgr.conf after a reload
        systemd still has loaded /etc/systemd/system.control/kubelet.service.d/90-cri-resmgr.conf after a reload
        a later drop-in of kubelet.service undoes ours: ExecStartPre does not run the gate
        a later drop-in of kubelet.service undoes ours: EnvironmentFile does not name /run/gardener-extension-cri-resmgr/runtime.env
        a later drop-in of kubelet.service undoes ours: EnvironmentFile /etc/default/kubelet sets KUBELET_EXTRA_ARGS
        left behind: /etc/cri-resmgr, x.service (active)
        ");
    }
}
