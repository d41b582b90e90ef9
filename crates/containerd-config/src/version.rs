//! The version of a containerd, and by which rules it reads its configuration.

use std::fmt;
use std::str::FromStr;

use crate::limits::cut;

/// A release of containerd. What follows the three numbers (`~ds1`, `+unknown`, `-rc.1`, `-0ubuntu1`) is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContainerdVersion {
    /// First number.
    pub major: u32,
    /// Second number.
    pub minor: u32,
    /// Third number.
    pub patch: u32,
}

/// No version of containerd.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no version of containerd, which is three numbers such as v1.7.34 or 2.3.7+unknown")]
pub struct VersionError(String);

/// The first release whose NRI is usable: registration could hang before (containerd#10085, NRI 0.6.1).
pub const OLDEST: ContainerdVersion = ContainerdVersion { major: 1, minor: 7, patch: 16 };

/// How files are put together, as read in the sources named below; `tests/contract` holds it against binaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rules {
    /// 1.7: a plugin's table replaces the one of an earlier file, the last `version` counts for all files
    /// (`services/server/config/config.go`, v1.7.34).
    Replace,
    /// 2.0 to 2.2: tables are merged, the last `version` above 1 counts for all files
    /// (`cmd/containerd/server/config/config.go`, v2.0.14 and v2.2.9).
    Merge,
    /// From 2.3 on: tables are merged, each file is migrated by its own `version` (same file, v2.3.7 and v2.4.2).
    MergeMigrated,
}

impl Rules {
    /// The newest `version` of a configuration that is read.
    pub(crate) fn newest(self) -> i64 {
        match self {
            Self::Replace => 2,
            Self::Merge => 3,
            Self::MergeMigrated => 4,
        }
    }
}

impl ContainerdVersion {
    pub(crate) fn rules(self) -> Rules {
        match (self.major, self.minor) {
            (0 | 1, _) => Rules::Replace,
            (2, 0..=2) => Rules::Merge,
            _ => Rules::MergeMigrated,
        }
    }

    /// Whether it is one of the lines whose rules are known: 1.7, and 2.
    pub(crate) fn is_known(self) -> bool {
        (self.major, self.minor) == (1, 7) || self.major == 2
    }
}

impl FromStr for ContainerdVersion {
    type Err = VersionError;

    /// As CRI `Version` and `containerd --version` give it: `v1.7.34`, `2.3.4`, `2.2.1~ds1`, `v2.3.7+unknown`.
    fn from_str(text: &str) -> Result<Self, VersionError> {
        let error = || VersionError(cut(text));
        let (major, rest) = text.strip_prefix('v').unwrap_or(text).split_once('.').ok_or_else(error)?;
        let (minor, rest) = rest.split_once('.').ok_or_else(error)?;
        let (patch, rest) = rest.split_at(rest.bytes().take_while(u8::is_ascii_digit).count());
        let number = |digits: &str| {
            let all_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
            all_digits.then(|| digits.parse().ok()).flatten().ok_or_else(error)
        };
        let is_fourth_number =
            rest.strip_prefix('.').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
        if is_fourth_number || rest.starts_with(char::is_alphabetic) {
            return Err(error());
        }
        Ok(Self { major: number(major)?, minor: number(minor)?, patch: number(patch)? })
    }
}

impl fmt::Display for ContainerdVersion {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::{ContainerdVersion, OLDEST, Rules};

    #[test]
    fn versions_are_read_as_runtimes_and_packages_give_them() {
        for (text, read) in [
            ("v1.7.34", "1.7.34"),
            ("2.3.4", "2.3.4"),
            ("2.2.1~ds1", "2.2.1"),
            ("v2.3.7+unknown", "2.3.7"),
            ("v2.4.0-beta.0", "2.4.0"),
            ("1.7.12-0ubuntu1~24.04", "1.7.12"),
            ("1.6.20~ds1", "1.6.20"),
        ] {
            assert_eq!(text.parse::<ContainerdVersion>().unwrap().to_string(), read, "{text}");
        }
        for text in
            ["", "v", "2", "2.3", "2.3.", "2..4", "a.b.c", "vv2.3.4", "+2.3.4", "2.3.4.5", "2.3.4a", "2.3.99999999999"]
        {
            assert!(text.parse::<ContainerdVersion>().is_err(), "{text}");
        }
    }

    #[test]
    fn rules_go_by_the_line() {
        for (text, rules) in [
            ("1.7.34", Rules::Replace),
            ("2.0.14", Rules::Merge),
            ("2.2.9", Rules::Merge),
            ("2.3.0", Rules::MergeMigrated),
            ("2.4.2", Rules::MergeMigrated),
        ] {
            let version: ContainerdVersion = text.parse().unwrap();
            assert_eq!(version.rules(), rules);
            assert!(version.is_known() && version >= OLDEST);
        }
        for text in ["1.6.40", "1.8.0", "3.0.0"] {
            assert!(!text.parse::<ContainerdVersion>().unwrap().is_known(), "{text}");
        }
        assert!("1.7.15".parse::<ContainerdVersion>().unwrap() < OLDEST);
    }
}
