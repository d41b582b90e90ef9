//! What of a container belongs to one plugin.

use crate::objects::Cpu;

/// A field of a container that only one plugin may set in one event.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Field {
    /// `cpu.shares`.
    CpuShares,
    /// `cpu.quota`.
    CpuQuota,
    /// `cpu.period`.
    CpuPeriod,
    /// `cpuset.cpus`.
    CpusetCpus,
    /// `cpuset.mems`.
    CpusetMems,
    /// The mount at this path in the container.
    Mount(String),
}

impl std::fmt::Display for Field {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::CpuShares => formatter.write_str("cpu.shares"),
            Self::CpuQuota => formatter.write_str("cpu.quota"),
            Self::CpuPeriod => formatter.write_str("cpu.period"),
            Self::CpusetCpus => formatter.write_str("cpuset.cpus"),
            Self::CpusetMems => formatter.write_str("cpuset.mems"),
            Self::Mount(path) => write!(formatter, "mount {path}"),
        }
    }
}

/// Those that are set.
pub(crate) fn fields(cpu: &Cpu) -> impl Iterator<Item = Field> {
    [
        (cpu.shares.is_some(), Field::CpuShares),
        (cpu.quota.is_some(), Field::CpuQuota),
        (cpu.period.is_some(), Field::CpuPeriod),
        (!cpu.cpus.is_empty(), Field::CpusetCpus),
        (!cpu.mems.is_empty(), Field::CpusetMems),
    ]
    .into_iter()
    .filter_map(|(is_set, field)| is_set.then_some(field))
}
