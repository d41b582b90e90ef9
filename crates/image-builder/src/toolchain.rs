//! Whether this machine can build for a platform: asked before minutes go into a build that could only fail.

use std::path::Path;
use std::process::Command;

use crate::image::Platform;
use crate::{Error, program};

/// Checks that rustc has the platform's standard library and, where it is not this machine's own platform, that there is a C
/// compiler for it, which also links.
///
/// # Errors
/// [`Error::Target`], which names all that has to be installed; [`Error::Start`] or [`Error::Program`] when rustc cannot be asked.
pub fn ensure(platform: Platform) -> Result<(), Error> {
    let target = platform.rust_target();
    // As cargo finds it.
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let printed = program::output(Command::new(rustc).args(["--print", "target-libdir", "--target", target]))?;
    let found = Found {
        standard_library: holds_standard_library(Path::new(String::from_utf8_lossy(&printed).trim())),
        linker: linker(platform).is_none_or(|(_, compiler)| is_on_the_path(compiler)),
    };
    match lacks(platform, found) {
        lacks if lacks.is_empty() => Ok(()),
        lacks => Err(Error::Target { platform, lacks }),
    }
}

/// Variable of cargo and the linker to set it to, for another platform than this machine's; `None` also where the user
/// has set it.
pub(crate) fn linker(platform: Platform) -> Option<(String, &'static str)> {
    let variable = format!("CARGO_TARGET_{}_LINKER", platform.rust_target().replace('-', "_").to_uppercase());
    let is_foreign = Platform::of_this_machine() != Some(platform);
    (is_foreign && std::env::var_os(&variable).is_none()).then(|| (variable, cross_compiler(platform)))
}

/// Under its Debian name, by which crates with C in them look for it, too.
fn cross_compiler(platform: Platform) -> &'static str {
    match platform {
        Platform::LinuxAmd64 => "x86_64-linux-gnu-gcc",
        Platform::LinuxArm64 => "aarch64-linux-gnu-gcc",
    }
}

#[derive(Debug, Clone, Copy)]
struct Found {
    standard_library: bool,
    linker: bool,
}

fn lacks(platform: Platform, found: Found) -> Vec<String> {
    let (target, architecture) = (platform.rust_target(), platform.architecture());
    let mut lacks = Vec::new();
    if !found.standard_library {
        lacks.push(format!("the Rust target {target} (`rustup target add {target}`)"));
    }
    if !found.linker {
        let compiler = cross_compiler(platform);
        // Package names have no underscore.
        let package = format!("gcc-{}", compiler.trim_end_matches("-gcc").replace('_', "-"));
        lacks.push(format!("the C compiler {compiler} (`apt-get install {package} libc6-dev-{architecture}-cross`)"));
    }
    lacks
}

fn holds_standard_library(folder: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(folder) else { return false };
    let mut names = entries.filter_map(Result::ok).map(|entry| entry.file_name());
    names.any(|name| {
        let name = name.to_string_lossy();
        name.starts_with("libstd-") && name.ends_with(".rlib")
    })
}

fn is_on_the_path(name: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(name).is_file()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_tools_are_named_with_the_command_that_installs_them() {
        let found = |standard_library, linker| Found { standard_library, linker };
        assert!(lacks(Platform::LinuxArm64, found(true, true)).is_empty());
        let error =
            Error::Target { platform: Platform::LinuxArm64, lacks: lacks(Platform::LinuxArm64, found(false, false)) };
        assert_eq!(
            error.to_string(),
            "nothing is built: for linux/arm64 install the Rust target aarch64-unknown-linux-gnu (`rustup target add \
             aarch64-unknown-linux-gnu`) and the C compiler aarch64-linux-gnu-gcc (`apt-get install \
             gcc-aarch64-linux-gnu libc6-dev-arm64-cross`)"
        );
        let lacks = lacks(Platform::LinuxAmd64, found(true, false));
        assert!(lacks.len() == 1 && lacks[0].contains("gcc-x86-64-linux-gnu libc6-dev-amd64-cross"), "{lacks:?}");
    }

    #[test]
    fn this_machine_s_own_platform_can_be_built() {
        // It has built this test; whatever else is installed, no cross compiler is asked for.
        let own = Platform::of_this_machine().unwrap();
        assert_eq!(linker(own), None);
        ensure(own).unwrap();
    }

    #[test]
    fn a_target_without_a_standard_library_is_recognized() {
        let folder = tempfile::tempdir().unwrap();
        assert!(!holds_standard_library(&folder.path().join("none")));
        std::fs::write(folder.path().join("libcore-1.rlib"), "").unwrap();
        assert!(!holds_standard_library(folder.path()));
        std::fs::write(folder.path().join("libstd-1.rlib"), "").unwrap();
        assert!(holds_standard_library(folder.path()));
    }
}
