//! The way back from pins: what containers would have if no policy had ever been there.

use super::cgroup::Cgroup;
use super::compare::is_same;
use super::limits;

/// A container that may be pinned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    /// Its id.
    pub id: String,
    /// Shares that kubelet asked for when it was made; `None` where that is not known.
    pub shares: Option<u64>,
    /// Its control group.
    pub cgroup: Cgroup,
}

/// An update of a container's resources; what is `None` stays as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// The container's id.
    pub id: String,
    /// CPUs as the kernel lists them.
    pub cpus: Option<String>,
    /// Memory nodes, likewise.
    pub mems: Option<String>,
    /// Shares of CPU time, 1024 for a whole CPU that is requested.
    pub shares: Option<u64>,
}

/// The updates after which no container is pinned: CPUs and memory nodes of the pod's control group, and the shares that kubelet asked for. A container
/// that has them already gets none.
#[must_use]
pub fn reset(containers: &[Pinned]) -> Vec<Update> {
    let updates = containers.iter().take(limits::CONTAINERS).filter_map(|container| {
        let Cgroup { cpus, mems, weight, parent_cpus, parent_mems } = &container.cgroup;
        let wider = |own: &str, parent: &str| {
            let parent = parent.trim();
            (!parent.is_empty() && !is_same(own, parent)).then(|| parent.to_owned())
        };
        let update = Update {
            id: container.id.clone(),
            cpus: wider(cpus, parent_cpus),
            mems: wider(mems, parent_mems),
            shares: container.shares.filter(|shares| weight.is_some_and(|weight| !weight.is_of(*shares))),
        };
        let is_needed = update.cpus.is_some() || update.mems.is_some() || update.shares.is_some();
        is_needed.then_some(update)
    });
    updates.collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::cgroup::Weight;
    use super::*;

    fn pinned(cpus: &str, mems: &str, weight: Option<Weight>, shares: Option<u64>) -> Pinned {
        let cgroup = Cgroup {
            cpus: cpus.into(),
            mems: mems.into(),
            weight,
            parent_cpus: "0-7\n".into(),
            parent_mems: "0-1\n".into(),
        };
        Pinned { id: "a".into(), shares, cgroup }
    }

    #[test]
    fn only_what_differs_is_updated() {
        let shares = |value| Some(Weight::Shares(value));
        for (container, expected) in [
            (pinned("0-3", "0", shares(2), Some(102)), Some((Some("0-7"), Some("0-1"), Some(102)))),
            (pinned("0-7", "0", shares(102), Some(102)), Some((None, Some("0-1"), None))),
            (pinned("0-7", "0-1", Some(Weight::Weight(1)), Some(1024)), Some((None, None, Some(1024)))),
            (pinned("0-7", "0-1", Some(Weight::Weight(39)), Some(1024)), None),
            (pinned("0-7", "0-1", Some(Weight::Weight(100)), Some(1024)), None),
            (pinned("0-7", "0-1", shares(2), None), None),
            (pinned("0-7", "0-1", None, Some(1024)), None),
        ] {
            let updates = reset(std::slice::from_ref(&container));
            let found: Vec<_> =
                updates.iter().map(|update| (update.cpus.as_deref(), update.mems.as_deref(), update.shares)).collect();
            assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "{container:?}");
        }
    }

    #[test]
    fn a_parent_that_cannot_be_read_changes_nothing() {
        let mut container = pinned("0", "0", None, None);
        (container.cgroup.parent_cpus, container.cgroup.parent_mems) = ("\n".into(), String::new());
        assert!(reset(&[container]).is_empty());
    }

    proptest! {
        /// Carried out, the updates leave nothing to update.
        #[test]
        fn a_reset_needs_no_other(cpu in 0..8_u32, mem in 0..2_u32, weight in 1..300_000_u64, asked in prop::option::of(2..262_144_u64)) {
            let mut container = pinned(&cpu.to_string(), &mem.to_string(), Some(Weight::Shares(weight)), asked);
            for update in reset(std::slice::from_ref(&container)) {
                container.cgroup.cpus = update.cpus.unwrap_or(container.cgroup.cpus);
                container.cgroup.mems = update.mems.unwrap_or(container.cgroup.mems);
                container.cgroup.weight = update.shares.map(Weight::Shares).or(container.cgroup.weight);
            }
            prop_assert!(reset(std::slice::from_ref(&container)).is_empty());
            prop_assert!(asked.is_none_or(|asked| container.cgroup.weight.unwrap().is_of(asked)));
        }
    }
}
