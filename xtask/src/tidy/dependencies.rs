//! Dependencies that the workspace declares and no crate takes: each is a version that somebody keeps up to date for nothing.

use std::collections::BTreeSet;
use std::path::Path;

/// What the manifests say.
#[derive(Debug, Default)]
pub(super) struct Dependencies {
    declared: BTreeSet<String>,
    taken: BTreeSet<String>,
}

impl Dependencies {
    /// Takes note of a manifest; other files are passed over.
    pub(super) fn add(&mut self, path: &Path, text: &str) {
        if path.file_name().is_none_or(|name| name != "Cargo.toml") {
            return;
        }
        let mut section = "";
        for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
            if line.starts_with('[') {
                section = line;
                continue;
            }
            let Some(name) = line.split(['=', '.', ' ']).next().filter(|name| !name.is_empty()) else { continue };
            if section == "[workspace.dependencies]" {
                self.declared.insert(name.to_owned());
            } else if section.contains("dependencies") {
                self.taken.insert(name.to_owned());
            }
        }
    }

    /// Each that nobody takes, as a line for people.
    pub(super) fn unused(&self) -> Vec<String> {
        let unused = self.declared.difference(&self.taken);
        unused.map(|name| format!("Cargo.toml declares {name}, and no crate of the workspace takes it")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dependency_that_no_crate_takes_is_found() {
        let mut dependencies = Dependencies::default();
        dependencies.add(
            Path::new("Cargo.toml"),
            "[workspace.dependencies]\n# a comment\na = \"1\"\nb-c = { version = \"1\" }\nd = \"1\"\n[profile.dev]\nx = 1\n",
        );
        dependencies
            .add(Path::new("crates/x/Cargo.toml"), "[package]\nname = \"x\"\n[dependencies]\na.workspace = true\n");
        dependencies.add(
            Path::new("crates/y/Cargo.toml"),
            "[target.'cfg(unix)'.dev-dependencies]\nb-c = { workspace = true }\n",
        );
        dependencies.add(Path::new("README.md"), "[dependencies]\nd = \"1\"\n");
        assert_eq!(dependencies.unused(), ["Cargo.toml declares d, and no crate of the workspace takes it"]);
    }
}
