//! Machines that images are for.

use std::fmt;

use program_file::{Machine, Program};
use serde::{Deserialize, Serialize};

/// Operating system and architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Platform {
    /// `linux/amd64`
    LinuxAmd64,
    /// `linux/arm64`
    LinuxArm64,
}

impl Platform {
    /// The one that this program itself was built for; `None` when it is none of ours.
    #[must_use]
    pub fn of_this_machine() -> Option<Self> {
        match (std::env::consts::OS, std::env::consts::ARCH) {
            ("linux", "x86_64") => Some(Self::LinuxAmd64),
            ("linux", "aarch64") => Some(Self::LinuxArm64),
            _ => None,
        }
    }

    /// The one that a program is for; `None` when it is none of ours.
    #[must_use]
    pub fn of_program(program: &Program) -> Option<Self> {
        Some(match program.machine? {
            Machine::X86_64 => Self::LinuxAmd64,
            Machine::Aarch64 => Self::LinuxArm64,
        })
    }

    /// The architecture in Go's words, as manifests have it.
    #[must_use]
    pub fn architecture(self) -> &'static str {
        match self {
            Self::LinuxAmd64 => "amd64",
            Self::LinuxArm64 => "arm64",
        }
    }

    /// The Rust target that our static binaries are built for.
    #[must_use]
    pub fn rust_target(self) -> &'static str {
        match self {
            Self::LinuxAmd64 => "x86_64-unknown-linux-gnu",
            Self::LinuxArm64 => "aarch64-unknown-linux-gnu",
        }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "linux/{}", self.architecture())
    }
}

impl std::str::FromStr for Platform {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::LinuxAmd64, Self::LinuxArm64]
            .into_iter()
            .find(|platform| platform.to_string() == text)
            .ok_or_else(|| format!("platform {text:?} is neither linux/amd64 nor linux/arm64"))
    }
}

impl TryFrom<String> for Platform {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Platform> for String {
    fn from(platform: Platform) -> Self {
        platform.to_string()
    }
}
