//! Rules about crates: the arrows between ours, and the gatekeepers of foreign ones.

use std::path::PathBuf;

use serde::Deserialize;

/// Our crates and their levels, the table of ARCHITECTURE.md. A crate imports from lower levels only. From level
/// [`DEVELOPMENT`] on they are for development and stand above everything that ships.
const LEVELS: [(&str, u8); 36] = [
    ("gardener-api", 0),
    ("nri-policy", 0),
    ("extension-config", 1),
    ("containerd-config", 2),
    ("cri-client", 2),
    ("dynamic-config", 2),
    ("host", 2),
    ("image-vector", 2),
    ("kubelet-config", 2),
    ("lease", 2),
    ("managed-resource", 2),
    ("observability", 2),
    ("policy-convert", 2),
    ("program-file", 2),
    ("systemd-client", 2),
    ("unit-files", 2),
    ("gardener-extension", 3),
    ("node-plan", 3),
    ("admission", 4),
    ("preview", 4),
    ("image-builder", 5),
    ("kubectl-resmgr", 5),
    ("node-agent", 5),
    ("runtime-gate", 5),
    ("seed-controller", 5),
    ("faults", 6),
    ("testbed", 6),
    ("contract", 7),
    ("fake-kube-api", 7),
    ("fake-nri-runtime", 7),
    ("fake-systemd", 7),
    ("bench", 8),
    ("sandbox", 8),
    ("crash-matrix", 9),
    ("e2e", 9),
    ("xtask", 10),
];

/// The lowest level of what never ships.
const DEVELOPMENT: u8 = 6;

/// A foreign crate, the feature that matters (none: the crate as such), and which of the crates that ship may depend on
/// it outside of tests. What never ships takes what it needs.
const GATEKEEPERS: [(&str, Option<&str>, &[&str]); 6] = [
    (
        "kube",
        Some("client"),
        &["admission", "lease", "gardener-extension", "seed-controller", "node-agent", "kubectl-resmgr"],
    ),
    ("zbus", None, &["systemd-client"]),
    ("tera", None, &["managed-resource"]),
    ("nix", None, &["host", "runtime-gate", "systemd-client"]),
    ("reqwest", None, &["image-builder"]),
    ("anyhow", None, &["seed-controller", "node-agent", "kubectl-resmgr"]),
];

/// What `cargo metadata --no-deps` says, as far as it is needed.
#[derive(Debug, Deserialize)]
pub(super) struct Metadata {
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    manifest_path: PathBuf,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    #[serde(default)]
    features: Vec<String>,
    uses_default_features: bool,
    /// `dev`, `build`, or nothing.
    kind: Option<String>,
}

impl Dependency {
    fn is_for_tests(&self) -> bool {
        self.kind.as_deref() == Some("dev")
    }
}

/// Every breach, as a line for people.
pub(super) fn check(metadata: &Metadata) -> Vec<String> {
    let mut findings = Vec::new();
    for package in &metadata.packages {
        let Some(level) = level(&package.name) else {
            findings.push(format!("crate {} has no level: add it to ARCHITECTURE.md and xtask's tidy", package.name));
            continue;
        };
        findings.extend(folder(package, level));
        for dependency in &package.dependencies {
            findings.extend(arrow(package, level, dependency));
            if level < DEVELOPMENT {
                findings.extend(gate(package, dependency));
            }
        }
    }
    for (name, _) in LEVELS {
        if !metadata.packages.iter().any(|package| package.name == name) {
            findings.push(format!("crate {name} has a level and does not exist"));
        }
    }
    findings
}

fn level(name: &str) -> Option<u8> {
    LEVELS.iter().find_map(|(known, level)| (*known == name).then_some(*level))
}

/// The folder says what ships. (`default-members` of the workspace has to list the same crates, and Cargo sees to the
/// rest: a crate that is in no list is no member.)
fn folder(package: &Package, level: u8) -> Option<String> {
    let parent = package.manifest_path.parent()?.parent()?;
    let ships = parent.file_name()? == "crates";
    (ships != (level < DEVELOPMENT)).then(|| {
        format!(
            "{} (level {level}) is in {}: crates/ holds what ships, and nothing else",
            package.name,
            parent.display()
        )
    })
}

fn arrow(package: &Package, own: u8, dependency: &Dependency) -> Option<String> {
    // What has no level is foreign.
    let other = level(&dependency.name)?;
    if dependency.is_for_tests() && dependency.name == package.name {
        return None; // a crate's tests with a feature of its own
    }
    (other >= own).then(|| {
        format!(
            "{} (level {own}) imports {} (level {other}): imports point downwards only",
            package.name, dependency.name
        )
    })
}

fn gate(package: &Package, dependency: &Dependency) -> Option<String> {
    let (name, feature, allowed) = GATEKEEPERS.iter().find(|(name, ..)| *name == dependency.name)?;
    let uses = feature.is_none_or(|feature| {
        dependency.uses_default_features || dependency.features.iter().any(|used| used == feature)
    });
    let what = feature.map_or_else(|| (*name).to_owned(), |feature| format!("{name} with its feature {feature}"));
    (uses && !dependency.is_for_tests() && !allowed.contains(&package.name.as_str()))
        .then(|| format!("{} uses {what}, which is for {} only", package.name, allowed.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A workspace in which every crate exists and one has `dependencies`.
    fn workspace(name: &str, dependencies: &serde_json::Value) -> Metadata {
        let packages: Vec<_> = LEVELS
            .iter()
            .map(|(known, level)| {
                let manifest =
                    format!("/r/{}/{known}/Cargo.toml", if *level < DEVELOPMENT { "crates" } else { "crates/dev" });
                let dependencies = if *known == name { dependencies.clone() } else { serde_json::json!([]) };
                serde_json::json!({ "name": known, "manifest_path": manifest, "dependencies": dependencies })
            })
            .collect();
        serde_json::from_value(serde_json::json!({ "packages": packages })).unwrap()
    }

    fn dependency(name: &str, features: &[&str]) -> serde_json::Value {
        serde_json::json!([{ "name": name, "features": features, "uses_default_features": false }])
    }

    #[test]
    fn arrows_point_downwards() {
        for (from, to, good) in [
            ("node-plan", "extension-config", true),
            ("seed-controller", "gardener-extension", true),
            ("xtask", "testbed", true),
            ("extension-config", "node-plan", false),
            ("host", "node-plan", false),
            ("node-agent", "seed-controller", false),
            ("node-agent", "node-agent", false),
            ("gardener-extension", "testbed", false),
        ] {
            let findings = check(&workspace(from, &dependency(to, &[])));
            assert_eq!(findings.is_empty(), good, "{from} -> {to}: {findings:?}");
        }
    }

    #[test]
    fn a_foreign_crate_is_allowed_only_to_its_gatekeepers() {
        for (from, to, features, good) in [
            ("lease", "kube", &["client"][..], true),
            ("gardener-api", "kube", &["derive"], true),
            ("gardener-api", "kube", &["derive", "client"], false),
            ("systemd-client", "zbus", &[], true),
            ("node-agent", "zbus", &[], false),
            ("seed-controller", "tera", &[], false),
            ("node-plan", "nix", &[], false),
            ("extension-config", "anyhow", &[], false),
            ("extension-config", "thiserror", &[], true),
            ("sandbox", "zbus", &[], true),
        ] {
            let findings = check(&workspace(from, &dependency(to, features)));
            assert_eq!(findings.is_empty(), good, "{from} -> {to}: {findings:?}");
        }
    }

    #[test]
    fn tests_may_use_what_the_crate_may_not() {
        let test = |name: &str| serde_json::json!([{ "name": name, "uses_default_features": false, "kind": "dev" }]);
        for (from, to, good) in [
            ("cri-client", "cri-client", true),
            ("lease", "nix", true),
            ("cri-client", "host", false),
            ("host", "testbed", false),
        ] {
            assert_eq!(check(&workspace(from, &test(to))).is_empty(), good, "{from} -> {to}");
        }
    }

    #[test]
    fn default_features_count_as_the_feature() {
        let kube = serde_json::json!([{ "name": "kube", "uses_default_features": true }]);
        assert_eq!(check(&workspace("gardener-api", &kube)).len(), 1);
    }

    #[test]
    fn a_crate_in_the_folder_of_the_others_is_found() {
        for (name, folder) in [("host", "crates/dev"), ("sandbox", "crates"), ("xtask", "crates")] {
            let mut metadata = workspace("", &serde_json::json!([]));
            let package = metadata.packages.iter_mut().find(|package| package.name == name).unwrap();
            package.manifest_path = format!("/r/{folder}/{name}/Cargo.toml").into();
            assert_eq!(check(&metadata).len(), 1, "{name} in {folder}");
        }
    }

    #[test]
    fn every_crate_has_a_level_and_every_level_a_crate() {
        let mut metadata = workspace("", &serde_json::json!([]));
        assert_eq!(check(&metadata), Vec::<String>::new());
        metadata.packages[0].name = "new".to_owned();
        assert_eq!(check(&metadata).len(), 2);
    }
}
