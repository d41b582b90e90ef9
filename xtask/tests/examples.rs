//! The examples are what they say: each configuration is one that the controller accepts.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test's set-up ends the test")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use extension_config::Facts;
use extension_config::names::{CONTROLLER_NAME, EXTENSION_TYPE, INSTALLATION_IMAGE};
use policy_convert::resolve;
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &Path) -> Value {
    serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap())
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn every_provider_config_is_accepted() {
    let mut seen = 0;
    for entry in std::fs::read_dir(root().join("examples/provider-config")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        let shoot = read(&path);
        let extension = &shoot["spec"]["extensions"][0];
        assert_eq!(extension["type"], EXTENSION_TYPE, "{}", path.display());
        let config = &extension["providerConfig"];
        assert!(config.is_object(), "{}", path.display());
        if let Err(problems) = resolve(None, Some(config), &Facts::default()) {
            panic!("{}: {problems}", path.display());
        }
        seen += 1;
    }
    assert_eq!(seen, 7);
}

#[test]
fn the_shoot_has_the_extension_switched_off() {
    let shoot = read(&root().join("examples/shoot.yaml"));
    assert_eq!(shoot["spec"]["extensions"], serde_json::json!([{ "type": EXTENSION_TYPE, "disabled": true }]));
}

/// Field by field against what Gardener v1.54 knows (`ControllerRegistrationSpec`, `ControllerResource` and
/// `ControllerDeployment` of core.gardener.cloud/v1beta1): an old API server drops or refuses anything else.
#[test]
fn the_registration_has_only_fields_that_every_gardener_knows() {
    const KNOWN: [&str; 15] = [
        "apiVersion",
        "kind",
        "metadata.name",
        "metadata.annotations.security.gardener.cloud/pod-security-enforce",
        "type",
        "providerConfig.chart",
        "providerConfig.values",
        "spec.resources.kind",
        "spec.resources.type",
        "spec.resources.primary",
        "spec.resources.globallyEnabled",
        "spec.resources.reconcileTimeout",
        "spec.deployment.policy",
        "spec.deployment.seedSelector",
        "spec.deployment.deploymentRefs.name",
    ];
    fn leaves(value: &Value, path: &str, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                for (key, value) in fields {
                    let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    leaves(value, &path, found);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| leaves(item, path, found)),
            _ => found.push(path.to_owned()),
        }
    }
    let text = std::fs::read_to_string(root().join("examples/ctrldeploy-ctrlreg.yaml")).unwrap();
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    assert_eq!(documents.len(), 2);
    let mut found = Vec::new();
    for document in &documents {
        assert_eq!(document["apiVersion"], "core.gardener.cloud/v1beta1");
        leaves(document, "", &mut found);
    }
    let unknown: Vec<_> = found
        .iter()
        .filter(|path| !KNOWN.contains(&path.as_str()) && !path.starts_with("providerConfig.values."))
        .collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn the_second_registration_is_for_all_shoots() {
    let text = std::fs::read_to_string(root().join("examples/enabled-for-all.yaml")).unwrap();
    let [deployment, registration] = &serde_saphyr::from_multiple::<Value>(&text).unwrap()[..] else {
        panic!("two documents")
    };
    assert_eq!(registration["spec"]["resources"][0]["autoEnable"], serde_json::json!(["shoot"]));
    assert!(deployment["helm"]["ociRepository"]["ref"].as_str().unwrap().starts_with("registry.example.com/team/"));
}

#[test]
fn the_base_configuration_of_the_chart_s_override_values_is_accepted() {
    let values = read(&root().join("charts/gardener-extension-cri-resmgr/ci/overrides-values.yaml"));
    let mut base = BTreeMap::new();
    for (key, value) in values["configs"].as_object().unwrap() {
        let text = value.as_str().map_or_else(|| serde_json::to_string(value).unwrap(), str::to_owned);
        base.insert(key.clone(), text);
    }
    if let Err(problems) = resolve(Some(&base), None, &Facts::default()) {
        panic!("{problems}");
    }
}

#[test]
fn image_vector_chart_and_workspace_have_one_version() {
    let version = env!("CARGO_PKG_VERSION");
    let vector = read(&root().join("charts/images.yaml"));
    let images: Vec<(&str, &str)> = vector["images"]
        .as_array()
        .unwrap()
        .iter()
        .map(|image| (image["name"].as_str().unwrap(), image["tag"].as_str().unwrap()))
        .collect();
    assert_eq!(images, [(CONTROLLER_NAME, version), (INSTALLATION_IMAGE, version)]);
    let chart = read(&root().join("charts/gardener-extension-cri-resmgr/Chart.yaml"));
    assert_eq!((&chart["version"], &chart["appVersion"]), (&Value::from(version), &Value::from(version)));
}
