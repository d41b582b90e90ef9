//! Where a release comes from: an in-toto statement (in-toto/attestation: spec/v1/statement.md) with a predicate of SLSA 1.0
//! (slsa.dev/spec/v1.0/provenance). It is not signed: whoever publishes it signs it.

use std::path::Path;

use anyhow::Context as _;
use image_builder::Digest;
use serde_json::{Value, json};

/// What pins everything that is downloaded for a build.
const LOCKS: [&str; 3] =
    ["Cargo.lock", "deploy/testbed/cri-resource-manager/go.mod", "deploy/testbed/cri-resource-manager/go.sum"];

/// The files that pin what a build downloads, with their digests.
pub(super) fn inputs(root: &Path) -> anyhow::Result<Vec<(String, Digest)>> {
    let read = |name: &str| {
        let content = std::fs::read(root.join(name)).with_context(|| format!("cannot read {name}"))?;
        Ok((name.to_owned(), Digest::of(&content)))
    };
    LOCKS.into_iter().map(read).collect()
}

/// The statement about these files.
pub(super) fn statement(
    version: &str,
    registry: &str,
    revision: &str,
    subjects: &[(String, Digest)],
    inputs: &[(String, Digest)],
) -> String {
    let repository = env!("CARGO_PKG_REPOSITORY");
    let named = |(name, digest): &(String, Digest)| json!({ "name": name, "digest": { "sha256": digest.hex() } });
    let mut dependencies = vec![json!({
        "uri": format!("git+{repository}@refs/tags/v{version}"),
        "digest": { "gitCommit": revision },
    })];
    dependencies.extend(inputs.iter().map(named));
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": subjects.iter().map(named).collect::<Vec<Value>>(),
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": format!("{repository}/blob/v{version}/CONTRIBUTING.md#releases"),
                "externalParameters": { "version": version, "registry": registry },
                "resolvedDependencies": dependencies,
            },
            "runDetails": { "builder": { "id": format!("{repository}/blob/v{version}/xtask/src/release.rs") } },
        },
    });
    format!("{statement:#}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_a_subject_and_every_lock_a_dependency() {
        let digest = Digest::of(b"x");
        let text = statement("1.2.0", "r.io/x", "abc", &[("a".into(), digest)], &[("Cargo.lock".into(), digest)]);
        let read: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["subject"], json!([{ "name": "a", "digest": { "sha256": digest.hex() } }]));
        let dependencies = &read["predicate"]["buildDefinition"]["resolvedDependencies"];
        assert_eq!(dependencies[0]["digest"]["gitCommit"], "abc");
        assert_eq!(dependencies[1]["name"], "Cargo.lock");
    }

    #[test]
    fn the_locks_are_in_the_repository() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        assert_eq!(inputs(&root).unwrap().len(), LOCKS.len());
    }
}
