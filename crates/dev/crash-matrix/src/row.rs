//! The rows: what is done, what goes wrong, and where.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use extension_config::desired_state::Phase;
use nix::errno::Errno;

use crate::operation::{Kind, Operation};
use crate::tracer::{Effect, Fault};
use crate::worker_node::{Goal, WorkerNode};

/// What the agent is doing when it goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Scenario {
    Install,
    /// Another daemon.
    Upgrade,
    /// Another policy.
    Policy,
    /// Others damaged the installation.
    Heal,
    Remove,
}

impl Scenario {
    pub(crate) const ALL: [Self; 5] = [Self::Install, Self::Upgrade, Self::Policy, Self::Heal, Self::Remove];

    pub(crate) fn goal(self) -> Goal {
        match self {
            Self::Install | Self::Heal => Goal::INSTALLED,
            Self::Upgrade => Goal::UPGRADED,
            Self::Policy => Goal::ANOTHER_POLICY,
            Self::Remove => Goal::REMOVED,
        }
    }

    /// Brings a clean node to where this begins.
    pub(crate) async fn prepare(self, worker_node: &WorkerNode) -> anyhow::Result<()> {
        if self != Self::Install {
            worker_node.reach(Goal::INSTALLED).await?;
        }
        if self == Self::Heal {
            worker_node.corrupt().await?;
        }
        Ok(())
    }

    pub(crate) fn leaves_a_clean_node(self) -> bool {
        self.goal().phase == Phase::Remove
    }
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FaultKind {
    /// SIGKILL just before a change; the next row kills just after it.
    Killed,
    /// EIO, once.
    BadDisk,
    /// ENOSPC from then on, until the agent has complained.
    FullDisk,
    /// EROFS from then on, until the agent has complained.
    ReadOnly,
    /// The connection to the bus breaks, once.
    BusBreaks,
    /// No message reaches the bus from then on, until the agent has complained.
    BusGone,
}

impl FaultKind {
    pub(crate) const ALL: [Self; 6] =
        [Self::Killed, Self::BadDisk, Self::FullDisk, Self::ReadOnly, Self::BusBreaks, Self::BusGone];

    fn concerns(self) -> fn(Kind) -> bool {
        match self {
            // Between two checks nothing changes, so a kill at a check is one at the next change.
            Self::Killed => |kind| kind != Kind::Query,
            Self::BadDisk | Self::ReadOnly => |kind| !kind.is_on_the_bus(),
            Self::FullDisk => Kind::takes_space,
            Self::BusBreaks | Self::BusGone => Kind::is_on_the_bus,
        }
    }

    /// It goes on until it is lifted.
    pub(crate) fn lasts(self) -> bool {
        matches!(self, Self::FullDisk | Self::ReadOnly | Self::BusGone)
    }

    pub(crate) fn fault(self, at: usize) -> Fault {
        let effect = match self {
            Self::Killed => Effect::Kill,
            Self::BadDisk => Effect::Fail(Errno::EIO),
            Self::FullDisk => Effect::Fail(Errno::ENOSPC),
            Self::ReadOnly => Effect::Fail(Errno::EROFS),
            Self::BusBreaks | Self::BusGone => Effect::Fail(Errno::ECONNRESET),
        };
        Fault { concerns: self.concerns(), from: at, to: if self.lasts() { usize::MAX } else { at }, effect }
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Killed => "SIGKILL",
            Self::BadDisk => "EIO once",
            Self::FullDisk => "ENOSPC from then on",
            Self::ReadOnly => "EROFS from then on",
            Self::BusBreaks => "the bus breaks",
            Self::BusGone => "no bus from then on",
        })
    }
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) scenario: Scenario,
    pub(crate) fault_kind: FaultKind,
    /// Which of the operations that the fault concerns, from 1.
    pub(crate) at: usize,
}

impl fmt::Display for Row {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}, {} at {}", self.scenario, self.fault_kind, self.at)
    }
}

/// A row for each operation that was seen in an undisturbed run and each kind of fault that concerns it; of those every `stride`-th.
pub(crate) fn rows(scenario: Scenario, operations: &[Operation], stride: usize) -> Vec<Row> {
    let mut rows = Vec::new();
    for fault_kind in FaultKind::ALL {
        let concerned: Vec<&Operation> =
            operations.iter().filter(|operation| (fault_kind.concerns())(operation.kind)).collect();
        let stand_for_all = representatives(operations, fault_kind.concerns());
        let at = (0..concerned.len()).filter(|at| stand_for_all.contains(at));
        rows.extend(at.map(|at| Row { scenario, fault_kind, at: at + 1 }));
    }
    rows.into_iter().step_by(stride.max(1)).collect()
}

/// Positions among the concerned operations. Of equal ones between two other changes, the many writes of a large file and the many checks of
/// a proof, the first, the second and the last stand for all.
fn representatives(operations: &[Operation], concerns: fn(Kind) -> bool) -> BTreeSet<usize> {
    let mut groups: BTreeMap<(usize, &Operation), Vec<usize>> = BTreeMap::new();
    let (mut stretch, mut position) = (0, 0);
    let mut last: Option<&Operation> = None;
    for operation in operations {
        if operation.kind != Kind::Query && last != Some(operation) {
            stretch += 1;
            last = Some(operation);
        }
        if concerns(operation.kind) {
            groups.entry((stretch, operation)).or_default().push(position);
            position += 1;
        }
    }
    let ends = |all: Vec<usize>| all.iter().copied().take(2).chain(all.last().copied()).collect::<Vec<_>>();
    groups.into_values().flat_map(ends).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(kind: Kind) -> Operation {
        Operation { kind, path: "/etc/a".into() }
    }

    #[test]
    fn every_operation_is_killed_and_failed_in_every_way() {
        let operations = [Kind::Create, Kind::Query, Kind::Remove, Kind::Command].map(seen);
        let all: Vec<String> = rows(Scenario::Install, &operations, 1).iter().map(Row::to_string).collect();
        assert_eq!(
            all,
            [
                "Install, SIGKILL at 1",
                "Install, SIGKILL at 2",
                "Install, SIGKILL at 3",
                "Install, EIO once at 1",
                "Install, EIO once at 2",
                "Install, ENOSPC from then on at 1",
                "Install, EROFS from then on at 1",
                "Install, EROFS from then on at 2",
                "Install, the bus breaks at 1",
                "Install, the bus breaks at 2",
                "Install, no bus from then on at 1",
                "Install, no bus from then on at 2",
            ]
        );
        assert_eq!(rows(Scenario::Install, &operations, 4).len(), 3);
    }

    #[test]
    fn writes_of_one_file_are_one_row_to_be_killed_at() {
        let operations = [Kind::Create, Kind::Write, Kind::Write, Kind::Write, Kind::Write, Kind::Rename].map(seen);
        let killed = rows(Scenario::Install, &operations, 1);
        let at: Vec<usize> =
            killed.iter().filter(|row| row.fault_kind == FaultKind::Killed).map(|row| row.at).collect();
        assert_eq!(at, [1, 2, 3, 5, 6]);
    }

    #[test]
    fn only_some_of_the_reads_between_two_changes_become_rows() {
        let queries = [Kind::Query; 4].map(seen);
        let operations = [&queries[..], &[seen(Kind::Command)], &queries].concat();
        let broken = rows(Scenario::Install, &operations, 1);
        let at: Vec<usize> =
            broken.iter().filter(|row| row.fault_kind == FaultKind::BusBreaks).map(|row| row.at).collect();
        assert_eq!(at, [1, 2, 4, 5, 6, 7, 9]);
    }
}
