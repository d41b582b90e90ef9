//! Whether what a policy has written down is so.

use std::collections::BTreeMap;
use std::fmt;

use extension_config::cri_resmgr::CpuSet;

use super::books::Books;
use super::cgroup::Cgroup;
use super::limits::{self, cut};

/// A container that runs, as the runtime reports it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Container {
    /// Its id.
    pub id: String,
    /// For people: `NAMESPACE/POD/NAME`.
    pub name: String,
}

/// How a container is not as its policy has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// The books do not know it.
    NotInBooks,
    /// Its control group cannot be found.
    NoCgroup,
    /// It runs on other CPUs.
    Cpus {
        /// As written down.
        books: String,
        /// In effect.
        effect: String,
    },
    /// Its memory is on other nodes.
    Mems {
        /// As written down.
        books: String,
        /// In effect.
        effect: String,
    },
}

/// A container that is not as its policy has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Miss {
    /// Which one.
    pub container: Container,
    /// How.
    pub difference: Difference,
}

/// All that are not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Misses {
    /// Containers that were checked.
    pub of: usize,
    /// Those that were not checked: there are more than [`limits::CONTAINERS`].
    pub not_looked_at: usize,
    /// The others, in the order of their ids.
    pub misses: Vec<Miss>,
}

impl Misses {
    /// Every container is as its policy has it.
    #[must_use]
    pub fn is_none(&self) -> bool {
        self.misses.is_empty()
    }

    /// Those that were missed in an earlier check, too, and in the same way: what was between two checks at different places (a container that came
    /// or went, books that are written after the answer) does not count.
    #[must_use]
    pub fn still(&self, earlier: &Self) -> Self {
        let misses = self.misses.iter().filter(|miss| earlier.misses.contains(miss)).cloned().collect();
        Self { of: self.of, not_looked_at: self.not_looked_at, misses }
    }
}

/// Compares what a policy has written down with what is in effect. `cgroups` has, by id, those that could be read. Where the books say nothing about CPUs
/// or memory nodes, the policy has no opinion, and anything is right.
///
/// Where the books [lag](super::books_lag), `records` has what the runtime has written down of the same containers at the policy's word; then the
/// books count only for which containers the policy knows.
#[must_use]
pub fn compare(
    books: &Books,
    records: Option<&Books>,
    cgroups: &BTreeMap<String, Cgroup>,
    containers: &[Container],
) -> Misses {
    let mut sorted: Vec<&Container> = containers.iter().collect();
    sorted.sort_unstable();
    sorted.dedup();
    let not_looked_at = sorted.len().saturating_sub(limits::CONTAINERS);
    sorted.truncate(limits::CONTAINERS);
    let of = sorted.len();
    let misses = sorted.into_iter().filter_map(|container| {
        let difference = difference(books, records, cgroups, &container.id)?;
        Some(Miss { container: container.clone(), difference })
    });
    Misses { of, not_looked_at, misses: misses.collect() }
}

fn difference(
    books: &Books,
    records: Option<&Books>,
    cgroups: &BTreeMap<String, Cgroup>,
    id: &str,
) -> Option<Difference> {
    let Some(entry) = books.0.get(id) else { return Some(Difference::NotInBooks) };
    // A container that is gone since has none.
    let entry = if let Some(records) = records { records.0.get(id)? } else { entry };
    if entry.cpus.is_empty() && entry.mems.is_empty() {
        return None;
    }
    let Some(cgroup) = cgroups.get(id) else { return Some(Difference::NoCgroup) };
    if !entry.cpus.is_empty() && !is_same(&entry.cpus, &cgroup.cpus) {
        return Some(Difference::Cpus { books: entry.cpus.clone(), effect: cgroup.cpus.clone() });
    }
    (!entry.mems.is_empty() && !is_same(&entry.mems, &cgroup.mems))
        .then(|| Difference::Mems { books: entry.mems.clone(), effect: cgroup.mems.clone() })
}

/// Whether two lists are of the same numbers. What is no list, or an empty one, is the same as nothing.
pub(super) fn is_same(one: &str, other: &str) -> bool {
    match (CpuSet::of_kernel(one), CpuSet::of_kernel(other)) {
        (Some(one), Some(other)) => one == other,
        _ => false,
    }
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = cut(&self.container.name);
        match &self.difference {
            Difference::NotInBooks => write!(f, "{name} is not in the books of the policy"),
            Difference::NoCgroup => write!(f, "the control group of {name} cannot be found"),
            Difference::Cpus { books, effect } => {
                write!(f, "{name} runs on CPUs {}, not {}", or_none(effect), cut(books))
            }
            Difference::Mems { books, effect } => {
                write!(f, "{name} has memory nodes {}, not {}", or_none(effect), cut(books))
            }
        }
    }
}

fn or_none(list: &str) -> String {
    if list.trim().is_empty() { "unknown".to_owned() } else { cut(list.trim()) }
}

impl fmt::Display for Misses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} containers are not as the policy has them", self.misses.len(), self.of)?;
        for (number, miss) in self.misses.iter().take(limits::MISSES).enumerate() {
            write!(f, "{} {miss}", if number == 0 { ":" } else { ";" })?;
        }
        if self.misses.len() > limits::MISSES {
            f.write_str("; …")?;
        }
        if self.not_looked_at > 0 {
            write!(f, " ({} more were not looked at)", self.not_looked_at)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::books::Entry;
    use super::*;

    fn container(id: &str) -> Container {
        Container { id: id.into(), name: format!("ns/{id}/main") }
    }

    fn entry(cpus: &str, mems: &str) -> Entry {
        Entry { cpus: cpus.into(), mems: mems.into(), cgroups_path: format!("/{cpus}") }
    }

    fn cgroup(cpus: &str, mems: &str) -> Cgroup {
        let all = || "0-7".to_owned();
        Cgroup { cpus: cpus.into(), mems: mems.into(), weight: None, parent_cpus: all(), parent_mems: all() }
    }

    #[test]
    fn each_container_is_as_its_policy_has_it_or_is_named() {
        let books = Books(
            [
                ("same", entry("0-2,3", "0")),
                ("other", entry("0", "0")),
                ("memory", entry("0", "0")),
                ("free", entry("", "")),
                ("half", entry("", "1")),
                ("gone", entry("1", "")),
                ("strange", entry("one", "")),
                ("dead", entry("1", "1")),
            ]
            .map(|(id, entry)| (id.to_owned(), entry))
            .into(),
        );
        let cgroups = [
            ("same", cgroup("0-3\n", "0\n")),
            ("other", cgroup("0-1", "0")),
            ("memory", cgroup("0", "0-1")),
            ("half", cgroup("5", "1")),
            ("strange", cgroup("1", "1")),
            ("new", cgroup("0-7", "0-1")),
        ]
        .map(|(id, cgroup)| (id.to_owned(), cgroup))
        .into();
        let running = ["same", "other", "memory", "free", "half", "gone", "strange", "new"].map(container);
        let misses = compare(&books, None, &cgroups, &running);
        let reported: Vec<String> = misses.misses.iter().map(Miss::to_string).collect();
        assert_eq!(
            reported,
            [
                "the control group of ns/gone/main cannot be found",
                "ns/memory/main has memory nodes 0-1, not 0",
                "ns/new/main is not in the books of the policy",
                "ns/other/main runs on CPUs 0-1, not 0",
                "ns/strange/main runs on CPUs 1, not one",
            ]
        );
        assert_eq!(misses.of, 8);
        assert!(compare(&books, None, &cgroups, &[container("same"), container("free")]).is_none());
    }

    #[test]
    fn books_that_lag_count_only_for_who_is_in_them() {
        let books =
            |all: &[(&str, &str)]| Books(all.iter().map(|(id, cpus)| ((*id).to_owned(), entry(cpus, ""))).collect());
        let lagging = books(&[("a", ""), ("b", "7"), ("gone", "1")]);
        let records = books(&[("a", "0"), ("b", "1"), ("new", "2")]);
        let cgroups = ["a", "b", "new"].map(|id| (id.to_owned(), cgroup("0", "0"))).into();
        let misses = compare(&lagging, Some(&records), &cgroups, &["a", "b", "gone", "new"].map(container));
        let reported: Vec<String> = misses.misses.iter().map(Miss::to_string).collect();
        assert_eq!(reported, ["ns/b/main runs on CPUs 0, not 1", "ns/new/main is not in the books of the policy"]);
    }

    #[test]
    fn what_is_missed_once_does_not_count() {
        let none = Books::default();
        let first = compare(&none, None, &BTreeMap::new(), &["a", "b"].map(container));
        let second = compare(&none, None, &BTreeMap::new(), &["b", "c"].map(container));
        let still = second.still(&first);
        assert_eq!(still.misses.iter().map(|miss| miss.container.id.as_str()).collect::<Vec<_>>(), ["b"]);
        assert!(second.still(&Misses::default()).is_none());
    }

    #[test]
    fn many_misses_are_counted_and_few_are_reported() {
        let many: Vec<Container> = (0..limits::CONTAINERS + 2).map(|number| container(&number.to_string())).collect();
        let misses = compare(&Books::default(), None, &BTreeMap::new(), &many);
        assert_eq!((misses.misses.len(), misses.not_looked_at), (limits::CONTAINERS, 2));
        let text = misses.to_string();
        assert!(text.starts_with("4096 of 4096 containers are not as the policy has them: ns/0/main is not"), "{text}");
        assert!(text.ends_with("; … (2 more were not looked at)") && text.len() < 600, "{text}");
        let long = Miss { container: container(&"x".repeat(5000)), difference: Difference::NotInBooks };
        assert!(long.to_string().chars().count() < 150);
    }

    proptest! {
        /// Books that say what is in effect miss nothing, whatever it is; a container whose CPUs are changed is missed.
        #[test]
        fn effect_and_books_agree_exactly_when_they_say_the_same(sets in prop::collection::vec((0..64_u32, 0..64_u32), 1..20), changed: prop::sample::Index) {
            let lists: Vec<String> = sets.iter().map(|(low, more)| format!("{low}-{}", low + more)).collect();
            let ids: Vec<String> = (0..lists.len()).map(|number| format!("c{number}")).collect();
            let books = Books(ids.iter().cloned().zip(lists.iter().map(|list| entry(list, "0"))).collect());
            let mut cgroups: BTreeMap<String, Cgroup> =
                ids.iter().cloned().zip(lists.iter().map(|list| cgroup(list, "0"))).collect();
            let running: Vec<Container> = ids.iter().map(|id| container(id)).collect();
            prop_assert!(compare(&books, None, &cgroups, &running).is_none());
            let id = changed.get(&ids);
            cgroups.get_mut(id).unwrap().cpus = "200".into();
            let misses = compare(&books, None, &cgroups, &running);
            prop_assert_eq!(misses.misses.iter().map(|miss| &miss.container.id).collect::<Vec<_>>(), [id]);
        }
    }
}
