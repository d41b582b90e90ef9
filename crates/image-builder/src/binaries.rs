//! The static release binaries of this workspace.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::image::Platform;
use crate::{Error, program, toolchain};

/// The packages whose programs ship, and the programs' names.
pub(crate) const PROGRAMS: [(&str, &str); 3] = [
    ("seed-controller", "gardener-extension-cri-resmgr"),
    ("node-agent", "cri-resmgr-node-agent"),
    ("runtime-gate", "runtime-gate"),
];
/// Between the flags in cargo's variable; no path can contain it.
const FLAG_SEPARATOR: &str = "\u{1f}";

/// Builds them for `platform` with cargo and returns the folder they are in. Cargo reports its progress on our
/// standard error.
///
/// The flags are handed over in `CARGO_ENCODED_RUSTFLAGS`, because that wins over `RUSTFLAGS` and every configuration
/// file: a user's flags must neither undo the static linking nor change the digest. Paths of this machine are mapped
/// away for the same reason.
///
/// # Errors
/// [`Error::Program`] when the build fails. [`toolchain::ensure`] says beforehand what is missing for it.
pub fn build(root: &Path, platform: Platform) -> Result<PathBuf, Error> {
    let target = platform.rust_target();
    let mut command = cargo();
    command.current_dir(root).args(["build", "--locked", "--release", "--target", target]);
    for (package, _) in PROGRAMS {
        command.args(["--package", package]);
    }
    command.env("CARGO_ENCODED_RUSTFLAGS", flags(root, &cargo_home()));
    command.envs(toolchain::linker(platform));
    program::run(&mut command)?;
    let folder = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir));
    Ok(folder.join(target).join("release"))
}

/// The cargo that runs us, where one does. What it hands its programs about their own package is not handed on: build
/// scripts watch it (ring's does), and half of the crates would be built anew whenever another program asks.
#[must_use]
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (key, _) in std::env::vars_os().filter(|(key, _)| is_of_a_package(&key.to_string_lossy())) {
        command.env_remove(key);
    }
    command
}

fn is_of_a_package(variable: &str) -> bool {
    ["CARGO_PKG_", "CARGO_MANIFEST_"].iter().any(|prefix| variable.starts_with(prefix))
}

fn flags(root: &Path, cargo_home: &Path) -> String {
    [
        "-C".to_owned(),
        "target-feature=+crt-static".to_owned(),
        format!("--remap-path-prefix={}=/cargo", cargo_home.display()),
        format!("--remap-path-prefix={}=/source", root.display()),
    ]
    .join(FLAG_SEPARATOR)
}

fn cargo_home() -> PathBuf {
    std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cargo")))
        .unwrap_or_else(|| PathBuf::from("/.cargo"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_gets_no_variables_of_the_package_that_runs_it() {
        // Set by the cargo that runs this test.
        assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some() && std::env::var_os("CARGO_PKG_NAME").is_some());
        let command = cargo();
        let removed: Vec<_> = command.get_envs().filter(|(_, value)| value.is_none()).map(|(key, _)| key).collect();
        assert!(
            removed.iter().any(|key| *key == "CARGO_MANIFEST_DIR")
                && removed.iter().any(|key| *key == "CARGO_PKG_NAME")
        );
        for kept in ["CARGO_TARGET_DIR", "CARGO_HOME", "CARGO_PKGS", "PATH"] {
            assert!(!is_of_a_package(kept), "{kept}");
        }
    }

    #[test]
    fn flags_remap_the_repository_and_cargo_home() {
        let flags = flags(Path::new("/a b/root"), Path::new("/home/u/.cargo"));
        assert_eq!(
            flags.split(FLAG_SEPARATOR).collect::<Vec<_>>(),
            [
                "-C",
                "target-feature=+crt-static",
                "--remap-path-prefix=/home/u/.cargo=/cargo",
                "--remap-path-prefix=/a b/root=/source"
            ]
        );
    }
}
