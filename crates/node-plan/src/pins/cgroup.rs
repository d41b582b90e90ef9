//! Control groups of containers: where they are, and what they say.

/// What a container's control group says, and the one above it, which is its pod's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroup {
    /// CPUs in effect, as the kernel lists them.
    pub cpus: String,
    /// Memory nodes in effect.
    pub mems: String,
    /// Share of CPU time; `None` where it cannot be read.
    pub weight: Option<Weight>,
    /// CPUs in effect of the group above.
    pub parent_cpus: String,
    /// Memory nodes in effect of the group above.
    pub parent_mems: String,
}

/// A share of CPU time, by the version of control groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// `cpu.shares` of version 1.
    Shares(u64),
    /// `cpu.weight` of version 2.
    Weight(u64),
}

impl Weight {
    /// Whether it is what a runtime makes of these shares. Runtimes convert them to a weight in two ways: on a line until runc 1.3.1, on a curve
    /// since (opencontainers/cgroups: `ConvertCPUSharesToCgroupV2Value`).
    #[must_use]
    pub fn is_of(self, shares: u64) -> bool {
        // kubelet's least; the kernel takes less for it.
        let shares = shares.clamp(2, 262_144);
        match self {
            Self::Shares(own) => own.max(2) == shares,
            Self::Weight(own) => own == on_a_line(shares) || own == on_a_curve(shares),
        }
    }
}

fn on_a_line(shares: u64) -> u64 {
    1 + (shares - 2) * 9999 / 262_142
}

#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "from 2 to 262144 into 1 to 10000, as the runtime computes it"
)]
fn on_a_curve(shares: u64) -> u64 {
    match shares {
        ..=2 => 1,
        262_144.. => 10_000,
        _ => {
            let log = (shares as f64).log2();
            let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
            10_f64.powf(exponent).ceil() as u64
        }
    }
}

/// Path below the root of a hierarchy of control groups, without a slash at its begin; `None` for what names none. Runtimes are given either a path
/// or, with systemd's driver, `SLICE:PREFIX:NAME` for the scope `PREFIX-NAME.scope` in a slice that lies in the slices that its name begins with.
#[must_use]
pub fn cgroup_path(cgroups_path: &str) -> Option<String> {
    let is_name = |name: &str| {
        !name.is_empty()
            && name != "."
            && name != ".."
            && !name.contains(['/', ':'])
            && !name.contains(char::is_control)
    };
    if let Some(path) = cgroups_path.strip_prefix('/') {
        return path.split('/').all(is_name).then(|| path.to_owned());
    }
    let mut parts = cgroups_path.splitn(3, ':');
    let (slice, prefix, name) = (parts.next()?, parts.next()?, parts.next()?);
    if ![slice, prefix, name].into_iter().all(is_name) {
        return None;
    }
    let own = slice.strip_suffix(".slice")?;
    let mut path = String::new();
    for (end, _) in own.match_indices('-').chain([(own.len(), "")]) {
        path.push_str(own.get(..end).filter(|begin| !begin.is_empty())?);
        path.push_str(".slice/");
    }
    Some(format!("{path}{prefix}-{name}.scope"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_drivers_name_the_same_place() {
        for (text, expected) in [
            ("/kubepods/burstable/pod1/ab", Some("kubepods/burstable/pod1/ab")),
            (
                "kubepods-burstable-pod1_2.slice:cri-containerd:ab",
                Some("kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1_2.slice/cri-containerd-ab.scope"),
            ),
            ("kubepods.slice:cri-containerd:ab", Some("kubepods.slice/cri-containerd-ab.scope")),
            ("", None),
            ("/", None),
            ("/a/../b", None),
            ("/a//b", None),
            ("a/b", None),
            ("a.slice:b", None),
            ("a:b:c", None),
            (".slice:b:c", None),
            ("-a.slice:b:c", None),
            ("a.slice:b/..:c", None),
        ] {
            assert_eq!(cgroup_path(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn shares_are_recognised_in_every_form() {
        for (shares, line, curve) in
            [(0, 1, 1), (2, 1, 1), (102, 4, 17), (1024, 39, 100), (2048, 79, 174), (262_144, 10_000, 10_000)]
        {
            assert!(Weight::Weight(line).is_of(shares) && Weight::Weight(curve).is_of(shares), "{shares}");
            assert!(!Weight::Weight(line + 1).is_of(shares) || line + 1 == curve, "{shares}");
            assert!(Weight::Shares(shares.max(2)).is_of(shares), "{shares}");
        }
        assert!(!Weight::Shares(102).is_of(1024) && !Weight::Weight(39).is_of(102));
    }
}
