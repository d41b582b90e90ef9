//! What a reason means, and what to do about it. A reason that nobody has written about does not compile.

use extension_config::ReasonCode;

/// Whose turn it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Nobody's: the agent goes on by itself.
    Nobody,
    /// Somebody has to do something.
    Somebody,
}

/// What is to be known of a reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Advice {
    /// What is the case.
    pub(crate) means: &'static str,
    /// What to do.
    pub(crate) todo: &'static str,
    /// Whose turn it is.
    pub(crate) turn: Turn,
}

const fn wait(means: &'static str, todo: &'static str) -> Advice {
    Advice { means, todo, turn: Turn::Nobody }
}

const fn act(means: &'static str, todo: &'static str) -> Advice {
    Advice { means, todo, turn: Turn::Somebody }
}

/// For a reason.
#[expect(clippy::too_many_lines, reason = "a table: one row for each reason, with no way to leave one out")]
pub(crate) fn advice(code: ReasonCode) -> Advice {
    match code {
        ReasonCode::Undecided => wait(
            "The agent does not know yet what the node shall be; everything stays as it is.",
            "Wait; if it lasts, see that the agent reaches the API server (its log says what it could not read).",
        ),
        ReasonCode::KubeletShape => act(
            "kubelet's unit or command line has a shape that the extension cannot lead onto the proxy.",
            "Undo what changed kubelet.service on this node, or replace the node; a worker pool that needs it so cannot be switched.",
        ),
        ReasonCode::KubeletNotLoaded => act(
            "systemd has not loaded kubelet.service.",
            "Look at `systemctl status kubelet` on the node and mend the unit; the agent goes on by itself.",
        ),
        ReasonCode::KubeletManager => act(
            "kubelet places containers itself (CPU or memory manager), and cri-resmgr would swallow its updates.",
            "Set the manager's policy of this worker pool to none in the Shoot, or leave the pool out with `nodeSelector` or the pool's settings; the agent notices.",
        ),
        ReasonCode::KubeletPins => act(
            "kubelet sets CPUs or memory nodes of containers itself, as a policy of nri-plugins does.",
            "Set the manager's policy of this worker pool to none in the Shoot, or do not select the pool; the agent notices.",
        ),
        ReasonCode::NotContainerd => act(
            "The container runtime of the node is not a containerd of a known version.",
            "Use a worker pool with containerd; this node cannot run a policy of nri-plugins.",
        ),
        ReasonCode::OldContainerd => act(
            "containerd is too old for plugins.",
            "Use a machine image with a newer containerd, or the backend cri-resmgr.",
        ),
        ReasonCode::NriOff => act(
            "containerd has no socket for plugins: NRI is off in its configuration.",
            "Switch NRI on in containerd's configuration, or use the backend cri-resmgr.",
        ),
        ReasonCode::OtherPolicy => act(
            "Another policy of nri-plugins is on the node, or was; two would be in each other's way.",
            "Remove that policy and what it left, as the message names it.",
        ),
        ReasonCode::KubeletConfiguration => act(
            "The configuration of kubelet cannot be read, so nothing is known of it; a switched node stays as it is.",
            "Mend the file that the message names; `kubectl resmgr check DIRECTORY` judges a copy of kubelet's files.",
        ),
        ReasonCode::Systemd => {
            act("systemd is older than what the extension needs.", "Use a newer machine image for this worker pool.")
        }
        ReasonCode::Architecture => act(
            "The agent's image has no program for this machine.",
            "Use a worker pool of an architecture that the image carries, or rebuild the image.",
        ),
        ReasonCode::Predecessor => act(
            "The former extension (the one in Go) has left something here.",
            "Remove what it installed, then the file that the message names; or replace the node.",
        ),
        ReasonCode::Masked => act(
            "Somebody has masked one of the extension's units, to keep it off this node.",
            "`systemctl unmask UNIT` on the node, if it is wanted again.",
        ),
        ReasonCode::AsideIsTaken => act(
            "What stood on the node before the extension cannot be moved aside, because its place is taken.",
            "Move one of the two that the message names elsewhere.",
        ),
        ReasonCode::Foreign => act(
            "A file of somebody else stands where one of the extension's would.",
            "Remove what put it there; the agent overwrites nothing that is not its own.",
        ),
        ReasonCode::AbsentCpus => act(
            "The configuration names CPUs that this machine does not have.",
            "Use `group.GROUP` or `node.NODE` configurations for machines of several sizes, or correct the CPUs.",
        ),
        ReasonCode::Space => act(
            "A file system of the node is too full for the installation.",
            "Free space below the path that the message names; the agent tries again by itself.",
        ),
        ReasonCode::RolledBack => act(
            "The installation did not prove itself, and the node went back to containerd. Pods run on.",
            "Read what failed in the message, and the daemon's own words on the node (kubectl resmgr host-log NODE); another configuration or version is tried at once, the same one again at the time that the message gives.",
        ),
        ReasonCode::RolledBackToPrevious => act(
            "The new configuration or version did not prove itself, and the node runs as before the change.",
            "Read what failed in the message; correct the configuration. The same one is tried again after half an hour.",
        ),
        ReasonCode::ContainerdSilent => act(
            "containerd does not answer, so nothing is changed on the node.",
            "Look at `systemctl status containerd` on the node; the agent goes on when it answers.",
        ),
        ReasonCode::KubeletStopped => act(
            "Somebody has stopped kubelet, and the agent does not start what was stopped on purpose.",
            "Start it (`systemctl start kubelet`) when the work on the node is done, or replace the node.",
        ),
        ReasonCode::RestartBudget => wait(
            "kubelet was restarted so often recently that the agent waits before it does so again.",
            "Wait until the time that the message gives; if it comes again, find out who moves kubelet away from the proxy (journalctl -u kubelet -t runtime-gate).",
        ),
        ReasonCode::SlotNotAsked => wait(
            "The next change takes a switch slot, which the agent is about to ask for.",
            "Wait; a tenth of the shoot's nodes switch at a time.",
        ),
        ReasonCode::SlotsTaken => wait(
            "Other nodes switch now; this one waits for its turn.",
            "Wait; `kubectl resmgr status` shows who holds the slots.",
        ),
        ReasonCode::SlotsUnknown => wait(
            "The agent could not ask for a switch slot.",
            "See that the agent reaches the API server; it asks again by itself.",
        ),
        ReasonCode::UpdateInPlace => {
            wait("Gardener updates this node in place; no switch begins meanwhile.", "Wait until the update has ended.")
        }
        ReasonCode::FailedUpdateInPlace => act(
            "Gardener's update of this node in place has failed; no switch begins before it has succeeded.",
            "Mend or replace the node as Gardener's documentation says; the agent goes on by itself.",
        ),
        ReasonCode::SwitchesStopped => act(
            "Two nodes rolled back with the same configuration and version, so no further node begins to switch.",
            "Look at the nodes that are RolledBack (`kubectl resmgr status`). Another configuration or version goes on; to go on with the same, delete the Lease kube-system/cri-resmgr-switches.",
        ),
        ReasonCode::SwitchesHalted => wait(
            "All switches are halted: no node of the shoot begins to leave its runtime for another. What runs goes on, and is healed.",
            "Ask who has halted them, an operator of the landscape or the shoot's owner; the reason stands in the message. The node goes on by itself when that ends (docs/halt.md).",
        ),
        ReasonCode::OtherBackend => act(
            "The node runs the other backend, and a change of backend was not asked for.",
            "Name the former backend in `migration.from` of the providerConfig, and the node goes over without a pod being restarted; or ask for the former backend again.",
        ),
        ReasonCode::Unaccepted => act(
            "The node would lose something with its backend that only the shoot has: a ConfigMap cri-resmgr-config.… made by hand, or Adjustments.",
            "Put what they say into the providerConfig, or do without; then delete them, or add the ids that the message names to `migration.accept`.",
        ),
        ReasonCode::Unsettled => act(
            "The same step is needed again in every round: something on the node undoes it.",
            "Find out who changes what the message names; then the agent settles by itself.",
        ),
        ReasonCode::UnderWay => wait("There are steps to do, and the agent is at them.", "Wait."),
        ReasonCode::RoundFailed => act(
            "The agent's last round ended with an error. It tries again, at least every two minutes.",
            "If it lasts, read the agent's log (`kubectl -n kube-system logs POD`, or `kubectl resmgr must-gather`).",
        ),
        ReasonCode::ConfigInvalid => act(
            "A dynamic configuration is not valid and is not handed to the daemon, which goes on with what it has.",
            "Correct the ConfigMap or the key of the providerConfig that the message names; `kubectl resmgr check FILE` says what is wrong.",
        ),
        ReasonCode::ConfigRefused => act(
            "The daemon refused a dynamic configuration, or did not start with it; it goes on with what it had.",
            "The daemon's reason is on the node (kubectl resmgr host-log NODE); change the configuration.",
        ),
        ReasonCode::ConfigUnsettled => act(
            "A dynamic configuration would need one restart of the daemon after the other.",
            "Write the sticky keys in full in every level of the configuration (docs/operations.md).",
        ),
        ReasonCode::ConfigUndelivered => act(
            "Nothing can be handed to the daemon: its configuration socket does not answer.",
            "If it lasts, look at `systemctl status cri-resource-manager` on the node.",
        ),
        ReasonCode::PolicyInvalid => act(
            "There is no valid policy for this node; the last one goes on.",
            "Correct the ConfigMap cri-resmgr-policy.NAME, or the key of the providerConfig that it comes from.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_advice() {
        let all: Vec<Advice> = ReasonCode::ALL.iter().map(|code| advice(*code)).collect();
        for (number, one) in all.iter().enumerate() {
            assert!(one.means.ends_with('.') && one.todo.len() > 4, "{one:?}");
            assert!(!all[..number].iter().any(|other| other.means == one.means), "said twice: {}", one.means);
        }
    }

    #[test]
    fn every_reason_stands_in_the_documentation() {
        let rows = ReasonCode::ALL.iter().map(|code| {
            let Advice { means, todo, turn } = advice(*code);
            let turn = if turn == Turn::Nobody { "time" } else { "somebody" };
            format!("| `{}` | {turn} | {means} | {todo} |", code.as_str())
        });
        let page = include_str!("../../../docs/troubleshooting.md");
        let (_, table) = page.split_once("## Reason codes").unwrap();
        let documented: Vec<&str> = table.lines().filter(|line| line.starts_with("| `")).collect();
        assert_eq!(documented, rows.collect::<Vec<_>>());
    }

    /// Whether a script that waits may go on waiting.
    #[test]
    fn these_reasons_pass_by_themselves() {
        let passing: Vec<&str> = ReasonCode::ALL
            .iter()
            .filter(|code| advice(**code).turn == Turn::Nobody)
            .map(|code| code.as_str())
            .collect();
        let expected = [
            "Undecided",
            "RestartBudget",
            "SlotNotAsked",
            "SlotsTaken",
            "SlotsUnknown",
            "UpdateInPlace",
            "SwitchesHalted",
            "UnderWay",
        ];
        assert_eq!(passing, expected);
    }
}
