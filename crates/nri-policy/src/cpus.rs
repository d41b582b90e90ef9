//! CPUs as `availableResources` and `reservedResources` give them: by number, all but some, or how many.
//!
//! Source: Constraints.Get in pkg/apis/config/v1alpha1/resmgr/policy/config.go @ v0.14.0.

use std::fmt;

use crate::limits;

const BITS: usize = limits::CPUS as usize;
const WORDS: usize = BITS / 64;

/// How CPUs are given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cpus {
    /// `cpuset:0-3`
    Set(CpuSet),
    /// `exclude-cpuset:0-3`
    AllBut(CpuSet),
    /// `2`, `750m`: in thousandths of a CPU.
    Count(u64),
}

impl Cpus {
    pub(crate) fn read(text: &str) -> Option<Self> {
        if let Some(list) = text.strip_prefix("cpuset:") {
            return CpuSet::read(list).filter(|set| set.len() > 0).map(Self::Set);
        }
        if let Some(list) = text.strip_prefix("exclude-cpuset:") {
            return CpuSet::read(list).filter(|set| set.len() > 0).map(Self::AllBut);
        }
        milli(text).filter(|milli| (1..=1000 * u64::from(limits::CPUS)).contains(milli)).map(Self::Count)
    }
}

/// CPUs by number.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct CpuSet(Box<[u64; WORDS]>);

impl CpuSet {
    /// Reads a list such as `0-3,8`; `None` for anything else, and for more CPUs than any machine has.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let mut set = Self(Box::new([0; WORDS]));
        for (index, part) in text.split(',').enumerate() {
            let (low, high) = part.split_once('-').unwrap_or((part, part));
            let (low, high) = (cpu(low)?, cpu(high)?);
            if low > high || index == limits::CPU_RANGES {
                return None;
            }
            for word in low / 64..=high / 64 {
                let from = if word == low / 64 { low % 64 } else { 0 };
                let to = if word == high / 64 { high % 64 } else { 63 };
                set.0[word] |= (u64::MAX >> (63 - to)) & (u64::MAX << from);
            }
        }
        Some(set)
    }

    pub(crate) fn len(&self) -> u64 {
        self.0.iter().map(|word| u64::from(word.count_ones())).sum()
    }

    /// Those that the other set has, too.
    pub(crate) fn within(&self, other: &Self) -> Self {
        let mut both = self.clone();
        both.0.iter_mut().zip(other.0.iter()).for_each(|(word, other)| *word &= other);
        both
    }

    /// Those that the other set does not have.
    pub(crate) fn without(&self, other: &Self) -> Self {
        let mut left = self.clone();
        left.0.iter_mut().zip(other.0.iter()).for_each(|(word, other)| *word &= !other);
        left
    }

    fn has(&self, cpu: usize) -> bool {
        self.0.get(cpu / 64).is_some_and(|word| word >> (cpu % 64) & 1 == 1)
    }
}

impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut comma = "";
        let mut low = 0;
        while low < BITS {
            if !self.has(low) {
                low += 1;
                continue;
            }
            let mut high = low;
            while self.has(high + 1) {
                high += 1;
            }
            if low == high {
                write!(f, "{comma}{low}")?;
            } else {
                write!(f, "{comma}{low}-{high}")?;
            }
            (comma, low) = (",", high + 1);
        }
        Ok(())
    }
}

impl fmt::Debug for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CpuSet({self})")
    }
}

fn cpu(text: &str) -> Option<usize> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| text.parse().ok())?
        .filter(|cpu| *cpu < BITS)
}

/// A number of CPUs in thousandths, rounded up as Kubernetes does; units up to `k` and no powers.
fn milli(text: &str) -> Option<u64> {
    let (digits, power) = match text.char_indices().last()? {
        (end, 'n') => (&text[..end], -6),
        (end, 'u') => (&text[..end], -3),
        (end, 'm') => (&text[..end], 0),
        (end, 'k') => (&text[..end], 6),
        _ => (text, 3),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let all = format!("{whole}{part}");
    if all.is_empty() || all.len() > 18 || !all.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u128 = all.parse().ok()?;
    // At most 18 digits after the point, so the power is from -24 to 6.
    let power = power - i32::try_from(part.len()).ok()?;
    let ten = 10_u128.pow(power.unsigned_abs());
    u64::try_from(if power < 0 { number.div_ceil(ten) } else { number * ten }).ok()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::{CpuSet, Cpus, milli};

    #[test]
    fn forms_are_distinguished() {
        for (text, expected) in [
            ("2", Some(2000)),
            ("750m", Some(750)),
            ("1.1", Some(1100)),
            ("0.0001", Some(1)),
            ("1500000000n", Some(1500)),
            (".5", Some(500)),
            ("8k", Some(8_000_000)),
        ] {
            assert_eq!(Cpus::read(text), expected.map(Cpus::Count), "{text}");
        }
        for text in [
            "",
            "0",
            "0m",
            "0-3",
            "0,2",
            "-1",
            "9k",
            "1e3",
            "1Ki",
            "m",
            ".",
            "cpuset:",
            "cpuset:3-1",
            "cpuset: 1",
            "cpuset:8192",
            "cpuset:1,",
            "exclude-cpuset:",
            "cpu:1",
            "999999999999999999999",
            "½",
        ] {
            assert_eq!(Cpus::read(text), None, "{text}");
        }
        let text = |cpus| match cpus {
            Some(Cpus::Set(set)) => format!("cpuset:{set}"),
            Some(Cpus::AllBut(set)) => format!("exclude-cpuset:{set}"),
            other => format!("{other:?}"),
        };
        assert_eq!(text(Cpus::read("cpuset:3,0-1,1-2,64-130,8191")), "cpuset:0-3,64-130,8191");
        assert_eq!(text(Cpus::read("exclude-cpuset:0")), "exclude-cpuset:0");
        assert_eq!(milli("0"), Some(0));
    }

    #[test]
    fn as_many_ranges_as_there_can_be() {
        let ranges = |count: u32| (0..count).map(|range| (2 * range).to_string()).collect::<Vec<_>>().join(",");
        assert_eq!(CpuSet::read(&ranges(4096)).map(|set| set.len()), Some(4096));
        assert_eq!(CpuSet::read(&format!("{},0", ranges(4096))), None);
    }

    proptest! {
        #[test]
        fn ranges_are_sets(
            one in proptest::collection::vec((0..200_u32, 0..90_u32), 1..8),
            other in proptest::collection::vec((0..200_u32, 0..90_u32), 1..8),
        ) {
            let numbers = |ranges: &[(u32, u32)]| -> BTreeSet<u32> {
                ranges.iter().flat_map(|(low, more)| *low..=low + more).collect()
            };
            let set = |numbers: &BTreeSet<u32>| {
                CpuSet::read(&numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(","))
            };
            let read = |ranges: &[(u32, u32)]| {
                let text: Vec<_> = ranges.iter().map(|(low, more)| format!("{low}-{}", low + more)).collect();
                CpuSet::read(&text.join(",")).unwrap()
            };
            let (left, both): (BTreeSet<u32>, BTreeSet<u32>) =
                numbers(&one).into_iter().partition(|cpu| !numbers(&other).contains(cpu));
            prop_assert_eq!(Some(read(&one)), set(&numbers(&one)));
            prop_assert_eq!(read(&one).len(), numbers(&one).len() as u64);
            prop_assert_eq!(CpuSet::read(&read(&one).to_string()), Some(read(&one)));
            if !left.is_empty() {
                prop_assert_eq!(Some(read(&one).without(&read(&other))), set(&left));
            }
            if !both.is_empty() {
                prop_assert_eq!(Some(read(&one).within(&read(&other))), set(&both));
            }
        }
    }
}
