//! The rules by which keys are judged. Their ids are stable: an owner accepts by them.

use serde::{Serialize, Serializer};

/// What becomes of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grade {
    /// Containers are placed as before.
    Same,
    /// It goes on under another meaning.
    ChangedMeaning,
    /// nri-plugins has nothing for it.
    Lost,
    /// Only its owner can say what is meant, or what shall be instead.
    NeedsDecision,
}

impl Grade {
    /// All of them, in the order of a report.
    pub const ALL: [Self; 4] = [Self::NeedsDecision, Self::Lost, Self::ChangedMeaning, Self::Same];

    /// In words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::ChangedMeaning => "changed meaning",
            Self::Lost => "lost",
            Self::NeedsDecision => "needs a decision",
        }
    }
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.id())
    }
}

macro_rules! rules {
    ($($(#[doc = $doc:literal])+ $name:ident = $id:literal $grade:ident,)+) => {
        /// Why a key is graded as it is.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Rule {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Rule {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The stable beginning of an entry's id.
            #[must_use]
            pub fn id(self) -> &'static str {
                match self { $(Self::$name => $id),+ }
            }

            /// What becomes of the keys that it is about.
            #[must_use]
            pub fn grade(self) -> Grade {
                match self { $(Self::$name => Grade::$grade),+ }
            }
        }
    };
}

rules! {
    /// Stands in the new policy, perhaps under another name or in another form, and means the same.
    Same = "same" Same,
    /// Did nothing in cri-resmgr, where it stands, and is left out.
    NoEffect = "no-effect" Same,

    /// The policy none: the new one lets every container run everywhere.
    PolicyNone = "policy-none" ChangedMeaning,
    /// Old: containers of one to two CPUs with a fraction; new: all Guaranteed containers.
    PreferSharedCpus = "prefer-shared-cpus" ChangedMeaning,
    /// The default balloon ran on the reserved CPUs and now has some of its own.
    DefaultOwnBalloon = "balloons-default-own-balloon" ChangedMeaning,
    /// The reserved balloon grows beyond the reserved CPUs.
    ReservedGrows = "balloons-reserved-grows" ChangedMeaning,
    /// Balloons of high priority may take CPUs that are reserved by number.
    ReservedChosenLater = "balloons-reserved-chosen-later" ChangedMeaning,
    /// A balloon that cannot grow let containers in and now refuses them.
    FullRefuses = "balloons-full-refuses" ChangedMeaning,
    /// How many CPUs balloons take, and what kubelet must leave for them.
    Capacity = "balloons-capacity" ChangedMeaning,
    /// Priority 3 made none of the first balloons and now makes them.
    PriorityNone = "balloons-priority-none" ChangedMeaning,
    /// The first balloons chose CPUs in the order of the list, now in that of their priority.
    StaticOrder = "balloons-static-order" ChangedMeaning,
    /// The CPU class `default` now applies to balloons without a class.
    CpuClassDefault = "cpu-class-default" ChangedMeaning,
    /// The energy-performance preference was read and never applied.
    EnergyPreference = "cpu-energy-preference-applied" ChangedMeaning,
    /// Without the uncore driver the plugin does not start, where cri-resmgr went on.
    Uncore = "cpu-uncore-needs-driver" ChangedMeaning,
    /// Without resctrl the plugin does not start, where cri-resmgr went on.
    RdtNeedsResctrl = "rdt-needs-resctrl" ChangedMeaning,
    /// Groups of resctrl have other names.
    RdtGroupsRenamed = "rdt-groups-renamed" ChangedMeaning,
    /// Classes by quality of service are there for some and not for others.
    RdtQosIncomplete = "rdt-qos-classes-incomplete" ChangedMeaning,
    /// Metrics have other names.
    MetricNames = "metric-names" ChangedMeaning,
    /// The sources of log lines have other names.
    LogSources = "log-sources" ChangedMeaning,
    /// More log lines than nri-plugins has levels for.
    LogLevel = "log-level-bounded" ChangedMeaning,
    /// Written by another program, and not read for init containers.
    ResourcesAnnotation = "resources-annotation" ChangedMeaning,

    /// A key of a policy that nri-plugins does not have.
    PolicyKey = "policy-key" Lost,
    /// Block-I/O classes.
    BlockIo = "blockio" Lost,
    /// Whether pods may name an RDT class.
    RdtDeny = "rdt-deny-annotation" Lost,
    /// RDT's monitoring groups.
    RdtMonitoring = "rdt-monitoring" Lost,
    /// A controller that has to work, or is not there.
    Controller = "controller-mode" Lost,
    /// Moving pages between kinds of memory.
    PageMigration = "page-migration" Lost,
    /// Dumps of CRI messages.
    Dump = "dump" Lost,
    /// Addresses of Jaeger.
    Jaeger = "jaeger" Lost,
    /// Serves other hosts, without authentication.
    Endpoint = "endpoint-not-loopback" Lost,
    /// A flag of the daemon's command line.
    KlogFlag = "log-flag" Lost,
    /// The daemon's command line.
    ExtraOptions = "extra-options" Lost,
    /// An Adjustment.
    Adjustment = "adjustment" Lost,
    /// An annotation for which nothing looks any more.
    Annotation = "annotation" Lost,

    /// A policy that nri-plugins does not have.
    NoSuchPolicy = "no-such-policy" NeedsDecision,
    /// A key that cri-resmgr does not know.
    UnknownKey = "unknown-key" NeedsDecision,
    /// A key that is given twice.
    GivenTwice = "given-twice" NeedsDecision,
    /// A value that cri-resmgr does not take.
    InvalidValue = "invalid-value" NeedsDecision,
    /// CPUs that only a node's control groups know.
    CpusOfCgroup = "cpus-of-cgroup" NeedsDecision,
    /// Available CPUs by number instead of by name.
    AvailableCount = "available-as-count" NeedsDecision,
    /// Nothing is reserved.
    ReservedMissing = "reserved-missing" NeedsDecision,
    /// What came of it is refused.
    PolicyRefused = "policy-refused" NeedsDecision,
    /// A node has fewer CPUs than the balloons ask for.
    NodeTooSmall = "node-too-small" NeedsDecision,
    /// An annotation names a balloon type that no policy has.
    UnknownBalloon = "annotation-unknown-balloon" NeedsDecision,
    /// An annotation names an RDT class that no policy has.
    UnknownClass = "annotation-unknown-class" NeedsDecision,
    /// An annotation that cri-resmgr does not know, or whose value it cannot read.
    UnknownAnnotation = "annotation-unknown" NeedsDecision,
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_are_unique_and_documented() {
        let ids: BTreeSet<&str> = Rule::ALL.iter().map(|rule| rule.id()).collect();
        assert_eq!(ids.len(), Rule::ALL.len());
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/migration-to-nri.md");
        let page = std::fs::read_to_string(path).unwrap();
        let documented: BTreeSet<&str> = page
            .lines()
            .filter_map(|line| line.strip_prefix("| `")?.split_once("` | ").filter(|(id, _)| ids.contains(id)))
            .inspect(|(id, rest)| {
                let rule = Rule::ALL.iter().find(|rule| rule.id() == *id).unwrap();
                assert!(rest.starts_with(rule.grade().name()), "{id}: {rest}");
            })
            .map(|(id, _)| id)
            .collect();
        assert_eq!(documented, ids, "{path}");
    }
}
