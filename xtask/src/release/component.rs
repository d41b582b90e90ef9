//! The component descriptor by which Gardener's landscapes refer to a release: Open Component Model, schema v2
//! (open-component-model/ocm-spec: doc/04-extensions/00-component-descriptor/v2.md).

use anyhow::Context as _;
use extension_config::names::CONTROLLER_NAME;
use image_builder::reference::Pinned;
use serde_json::{Value, json};

use crate::pins::{Kind, Pins};

/// As YAML. Images and charts are named by digest.
pub(super) fn descriptor(version: &str, revision: &str, pins: &Pins) -> anyhow::Result<String> {
    let repository = env!("CARGO_PKG_REPOSITORY");
    let name = repository.strip_prefix("https://").context("the repository's address is no https one")?;
    let owner = name.split('/').nth(1).context("the repository's address names no owner")?;
    let mut resources: Vec<Value> =
        pins.of(Kind::Image).map(|image| resource(version, image.reference.base_name(), "ociImage", image)).collect();
    resources.extend(pins.of(Kind::Chart).map(|chart| resource(version, &chart_name(chart), "helmChart", chart)));
    let document = json!({
        "meta": { "schemaVersion": "v2" },
        "component": {
            "name": name,
            "version": version,
            "provider": owner,
            "repositoryContexts": [],
            "componentReferences": [],
            "sources": [{
                "name": "source",
                "version": version,
                "type": "git",
                "access": { "type": "gitHub", "repoUrl": repository, "commit": revision, "ref": format!("refs/tags/v{version}") },
            }],
            "resources": resources,
        },
    });
    Ok(serde_saphyr::to_string(&document)?)
}

fn resource(version: &str, name: &str, kind: &str, pinned: &Pinned) -> Value {
    json!({
        "name": name,
        "version": version,
        "type": kind,
        "relation": "local",
        "access": { "type": "ociArtifact", "imageReference": pinned.to_string() },
    })
}

/// `chart` for the controller's, `admission-runtime-chart` for another: no two resources have one name.
fn chart_name(chart: &Pinned) -> String {
    let name = chart.reference.base_name().strip_prefix(CONTROLLER_NAME).unwrap_or_default();
    format!("{name}-chart").trim_start_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_component_descriptor_names_what_was_pushed_by_digest() {
        let digest = format!("sha256:{}", "ab".repeat(32));
        let pins: Pins = format!(
            "image r.io/x/controller:1.2.0@{digest}\nchart r.io/x/charts/gardener-extension-cri-resmgr:1.2.0@{digest}\n"
        )
        .parse()
        .unwrap();
        let text = descriptor("1.2.0", "abc", &pins).unwrap();
        let read: Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(read["component"]["provider"], "intel");
        assert_eq!(read["component"]["sources"][0]["access"]["commit"], "abc");
        let resources = read["component"]["resources"].as_array().unwrap();
        let reported: Vec<_> = resources
            .iter()
            .map(|resource| (resource["name"].as_str().unwrap(), resource["type"].as_str().unwrap()))
            .collect();
        assert_eq!(reported, [("controller", "ociImage"), ("chart", "helmChart")]);
        for resource in resources {
            assert!(resource["access"]["imageReference"].as_str().unwrap().ends_with(&digest), "{resource}");
        }
    }
}
