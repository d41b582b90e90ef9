//! `cargo xtask chart`: the charts under the real Helm.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use image_builder::chart::Chart;
use image_builder::layout;
use serde_json::{Value, json};

use crate::controller_registration::{ADMISSION_APPLICATION_CHART, ADMISSION_RUNTIME_CHART, CHART};
use crate::terminal::say;

/// Kubernetes versions of the oldest seed and of one of today.
const KUBERNETES: [&str; 2] = ["1.20.15", "1.33.0"];
const NAMESPACE: &str = "extension-cri-resmgr";
const RELEASE: &str = "cri-resmgr-extension";
/// Kinds without a namespace.
const CLUSTER_SCOPED: [&str; 2] = ["ClusterRole", "ClusterRoleBinding"];
/// Sets of values in which the controller may read every Secret of the seed: those of a Gardener before v1.110, which writes no certificate
/// authority next to the token, and those that say no version.
const WIDE: [&str; 4] = ["no-bundle-values", "old-seed-values", "overrides-values", "unknown-version-values"];
/// What it may read elsewhere: what it has written itself.
const NARROW: &str = r#"["managedresource-extension-runtime-cri-resmgr","managedresource-extension-monitoring-cri-resmgr","shoot-access-extension-cri-resmgr"]"#;
const VPA: &str = "VerticalPodAutoscaler";
const UPDATE_MODE: &str = "/spec/updatePolicy/updateMode";
/// What a set of values leads to: the set, a kind, a place in its object, and what stands there; nothing where there is no such object or place.
const CONSEQUENCES: [(&str, &str, &str, &str); 9] = [
    ("new-seed-values", VPA, UPDATE_MODE, r#""InPlaceOrRecreate""#),
    ("new-seed-values", VPA, "/spec/resourcePolicy/containerPolicies/0/minAllowed", r#"{"memory":"32Mi"}"#),
    ("old-seed-values", VPA, UPDATE_MODE, r#""Recreate""#),
    ("unknown-version-values", VPA, UPDATE_MODE, r#""Recreate""#),
    ("new-seed-values", "Service", "/spec/ports/0/port", "8080"),
    ("bootstrap-values", "Service", "", ""),
    ("bootstrap-values", "Deployment", "/spec/template/metadata/annotations/prometheus.io~1scrape", ""),
    (
        "bootstrap-values",
        "Deployment",
        "/spec/template/spec/containers/0/image",
        r#""registry.example.com/team/gardener-extension-cri-resmgr:0.1.0@sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad""#,
    ),
    ("bootstrap-values", "Deployment", "/spec/template/spec/containers/0/ports/1/containerPort", "41002"),
];

/// Kubernetes versions of a garden's runtime cluster: the oldest and the newest that gardener-operator v1.149 takes.
const KUBERNETES_OF_GARDENS: [&str; 2] = ["1.32.0", "1.36.0"];
/// What the webhook may do, in the cluster that it runs in and in the garden: what it makes itself, by name.
const ADMISSION_RIGHTS: [(&str, &str); 2] = [
    (
        ADMISSION_RUNTIME_CHART,
        r#"[{"apiGroups":[""],"resourceNames":["gardener-extension-cri-resmgr-admission-certificates"],"resources":["secrets"],"verbs":["get","patch"]}]"#,
    ),
    (
        ADMISSION_APPLICATION_CHART,
        r#"[{"apiGroups":["admissionregistration.k8s.io"],"resourceNames":["gardener-extension-cri-resmgr"],"resources":["validatingwebhookconfigurations"],"verbs":["create","get","patch"]},{"apiGroups":[""],"resourceNames":["extension-cri-resmgr"],"resources":["namespaces"],"verbs":["get"]}]"#,
    ),
];

/// What of the webhook's chart a garden goes by: as [`CONSEQUENCES`].
const ADMISSION_CONSEQUENCES: [(&str, &str, &str, &str); 8] = [
    ("operator-values", "Secret", "/metadata/annotations/resources.gardener.cloud~1ignore", r#""true""#),
    ("operator-values", "Secret", "/data", ""),
    (
        "operator-values",
        "Service",
        "/metadata/annotations/networking.resources.gardener.cloud~1from-all-webhook-targets-allowed-ports",
        r#""[{\"protocol\":\"TCP\",\"port\":10250}]""#,
    ),
    ("operator-values", "PodDisruptionBudget", "/spec/maxUnavailable", "1"),
    ("operator-values", "Deployment", "/spec/template/spec/priorityClassName", r#""gardener-garden-system-400""#),
    ("operator-values", "Deployment", "/spec/strategy/rollingUpdate/maxUnavailable", "0"),
    ("service-values", "Service", "/spec/trafficDistribution", ""),
    ("kubeconfig-values", "PodDisruptionBudget", "", ""),
];
/// How the webhook's Service keeps calls in a zone: the word of each Kubernetes.
const IN_THE_ZONE: [(&str, &str); 2] = [("1.32.0", "PreferClose"), ("1.36.0", "PreferSameZone")];

/// Lints and renders the charts with the real Helm (built once from its Go module), for every set of
/// values in its folder `ci`, from the folder and from the archive, and checks what comes out.
#[derive(Debug, Args)]
pub(crate) struct ChartArgs {}

/// Runs the command in the repository at `root`.
pub(crate) fn run(_: &ChartArgs, root: &Path) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(check_all(root))
}

async fn check_all(root: &Path) -> anyhow::Result<()> {
    let helm = testbed::components::HELM.obtain(root, &testbed::Progress::default()).await?.display().to_string();
    let controller = |objects: &[Value], set: &str, _: &str| {
        let secrets = check_secrets(objects, WIDE.contains(&set));
        [check(objects, &CONTROLLER_LABELS), secrets, check_consequences(objects, set, &CONSEQUENCES)].concat()
    };
    check_chart(&helm, root, CHART, KUBERNETES, controller).await?;
    for (chart, rights) in ADMISSION_RIGHTS {
        let admission = |objects: &[Value], set: &str, version: &str| {
            let mut findings = check_rights(objects, rights);
            if chart == ADMISSION_RUNTIME_CHART {
                findings.extend(check(objects, &ADMISSION_LABELS));
                findings.extend(check_consequences(objects, set, &ADMISSION_CONSEQUENCES));
                if let Some((_, word)) = IN_THE_ZONE.iter().find(|(of, _)| *of == version && set == "operator-values") {
                    let routing = (set, "Service", "/spec/trafficDistribution", &*json!(word).to_string());
                    findings.extend(check_consequences(objects, set, &[routing]));
                }
            }
            findings
        };
        check_chart(&helm, root, chart, KUBERNETES_OF_GARDENS, admission).await?;
    }
    Ok(())
}

/// Every set of values in the chart's folder `ci`, from the folder and from the archive.
async fn check_chart(
    helm: &str,
    root: &Path,
    chart: &str,
    versions: [&str; 2],
    check: impl Fn(&[Value], &str, &str) -> Vec<String>,
) -> anyhow::Result<()> {
    let folder = root.join(chart);
    let chart = Chart::pack(&folder)?;
    let archive = testbed::cache_dir()?.join(format!("{}-{}", std::process::id(), chart.file_name()));
    layout::write_file(&archive, &chart.archive)?;
    let result = check_sets(helm, &folder, &archive, versions, check).await;
    std::fs::remove_file(&archive)?;
    result.with_context(|| chart.name)
}

async fn check_sets(
    helm: &str,
    folder: &Path,
    archive: &Path,
    versions: [&str; 2],
    check: impl Fn(&[Value], &str, &str) -> Vec<String>,
) -> anyhow::Result<()> {
    let mut sets: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(folder.join("ci"))? {
        sets.push(entry?.path());
    }
    sets.sort();
    let mut findings = Vec::new();
    for values in &sets {
        let name = values.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let (chart, archive, values) =
            (folder.display().to_string(), archive.display().to_string(), values.display().to_string());
        testbed::run(helm, &["lint", "--strict", &chart, "--values", &values]).await?;
        for version in versions {
            let render = async |chart: &str| {
                let options = ["--namespace", NAMESPACE, "--kube-version", version, "--values", &values];
                testbed::run(helm, &[&["template", RELEASE, chart][..], &options].concat()).await
            };
            let rendered = render(&chart).await?;
            if rendered != render(&archive).await? {
                findings.push("the archive renders otherwise than the folder".to_owned());
            }
            let objects: Vec<Value> =
                serde_saphyr::from_multiple(&rendered).with_context(|| format!("{name} renders no YAML"))?;
            let found = check(&objects, &name, version);
            findings.extend(found.into_iter().map(|finding| format!("{name}, Kubernetes {version}: {finding}")));
        }
        say(&format!("{name}: linted and rendered for Kubernetes {}", versions.join(" and ")));
    }
    if findings.is_empty() {
        return Ok(());
    }
    bail!("{}", findings.join("\n"))
}

/// Labels of the controller's pods and Deployment.
const CONTROLLER_LABELS: [(&str, &str); 4] = [
    ("/spec/template/metadata/labels/networking.gardener.cloud~1to-dns", "\"allowed\""),
    ("/spec/template/metadata/labels/networking.gardener.cloud~1to-runtime-apiserver", "\"allowed\""),
    ("/spec/template/metadata/labels/networking.gardener.cloud~1to-seed-apiserver", "\"allowed\""),
    ("/metadata/labels/high-availability-config.resources.gardener.cloud~1type", "\"controller\""),
];
/// Those of the webhook's.
const ADMISSION_LABELS: [(&str, &str); 4] = [
    ("/spec/template/metadata/labels/networking.gardener.cloud~1to-dns", "\"allowed\""),
    ("/spec/template/metadata/labels/networking.gardener.cloud~1to-runtime-apiserver", "\"allowed\""),
    (
        "/spec/template/metadata/labels/networking.resources.gardener.cloud~1to-virtual-garden-kube-apiserver-tcp-443",
        "\"allowed\"",
    ),
    ("/metadata/labels/high-availability-config.resources.gardener.cloud~1type", "\"server\""),
];

/// All rules of all roles.
fn check_rights(objects: &[Value], expected: &str) -> Vec<String> {
    let rules = objects.iter().flat_map(|object| object["rules"].as_array().into_iter().flatten().cloned());
    let found = Value::Array(rules.collect()).to_string();
    if found == expected { Vec::new() } else { vec![format!("the rights are {found}, expected {expected}")] }
}

/// What a seed, or a garden's runtime cluster, demands of every rendering.
fn check(objects: &[Value], labels: &[(&str, &str)]) -> Vec<String> {
    let mut findings = Vec::new();
    for object in objects.iter().filter(|object| !object.is_null()) {
        let kind = object["kind"].as_str().unwrap_or_default();
        if !CLUSTER_SCOPED.contains(&kind) && object["metadata"]["namespace"] != NAMESPACE {
            findings.push(format!("{kind} is not in the namespace of the release"));
        }
        for rule in object["rules"].as_array().into_iter().flatten() {
            if rule.to_string().contains("\"*\"") {
                findings.push(format!("{kind} has a wildcard: {rule}"));
            }
        }
    }
    let Some(deployment) = objects.iter().find(|object| object["kind"] == "Deployment") else {
        findings.push("there is no Deployment".to_owned());
        return findings;
    };
    let template = &deployment["spec"]["template"];
    let container = &template["spec"]["containers"][0];
    let expected = [
        ("/spec/template/spec/securityContext/runAsNonRoot", "true"),
        ("/spec/template/spec/securityContext/seccompProfile/type", "\"RuntimeDefault\""),
        ("/spec/template/spec/containers/0/securityContext/allowPrivilegeEscalation", "false"),
        ("/spec/template/spec/containers/0/securityContext/readOnlyRootFilesystem", "true"),
        ("/spec/template/spec/containers/0/securityContext/capabilities/drop", "[\"ALL\"]"),
    ];
    for (path, value) in labels.iter().copied().chain(expected) {
        let found = deployment.pointer(path).map(Value::to_string).unwrap_or_default();
        if found != value {
            findings.push(format!("{path} of the Deployment is {found:?}, expected {value}"));
        }
    }
    if !template["spec"]["priorityClassName"].as_str().is_some_and(|name| name.starts_with("gardener-")) {
        findings.push("the Deployment has none of Gardener's priority classes".to_owned());
    }
    if container["image"].as_str().is_none_or(|image| image.ends_with(":latest") || image.ends_with(':')) {
        findings.push(format!("the image is {}", container["image"]));
    }
    findings
}

/// The right to read Secrets, and what the controller is configured to read.
fn check_secrets(objects: &[Value], wide: bool) -> Vec<String> {
    let reads = |rule: &&Value| {
        let has = |field: &str, word: &str| rule[field].as_array().is_some_and(|all| all.iter().any(|one| one == word));
        has("resources", "secrets") && ["get", "list", "watch"].into_iter().any(|verb| has("verbs", verb))
    };
    let rules = objects.iter().flat_map(|object| object["rules"].as_array().into_iter().flatten());
    let found: Vec<String> = rules.filter(reads).map(|rule| rule["resourceNames"].to_string()).collect();
    let expected = if wide { "null" } else { NARROW };
    let mut findings = Vec::new();
    if found != [expected] {
        findings.push(format!("the Secrets that may be read are {found:?}, expected {expected}"));
    }
    let deployment = objects.iter().find(|object| object["kind"] == "Deployment");
    let env = deployment.and_then(|deployment| deployment.pointer("/spec/template/spec/containers/0/env"));
    let reported = env.and_then(Value::as_array).into_iter().flatten().find(|variable| variable["name"] == "SHOOT_CA");
    let reported = reported.map_or(&Value::Null, |variable| &variable["value"]);
    let expected = if wide { "generic-kubeconfig" } else { "bundle" };
    if reported != expected {
        findings.push(format!("SHOOT_CA is {reported}, expected {expected:?}"));
    }
    findings
}

fn check_consequences(objects: &[Value], set: &str, consequences: &[(&str, &str, &str, &str)]) -> Vec<String> {
    let of_set = consequences.iter().filter(|(of, ..)| *of == set);
    of_set
        .filter_map(|(_, kind, place, expected)| {
            let object = objects.iter().find(|object| object["kind"] == *kind);
            let found = object.and_then(|object| object.pointer(place)).map(Value::to_string).unwrap_or_default();
            (found != *expected).then(|| format!("{kind}{place} is {found:?}, expected {expected:?}"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_without_any_hardening_violates_every_rule() {
        let bare = json!({ "kind": "Deployment", "metadata": { "namespace": NAMESPACE },
            "spec": { "template": { "spec": { "containers": [{ "image": "x:latest" }] } } } });
        assert_eq!(check(&[bare], &CONTROLLER_LABELS).len(), 11);
    }

    #[test]
    fn a_secret_right_that_no_flag_needs_is_found() {
        let role = |names: Value| json!({ "kind": "ClusterRole", "rules": [{ "resources": ["secrets"], "verbs": ["get"], "resourceNames": names }] });
        let reported = |how: &str| {
            json!({ "kind": "Deployment", "spec": { "template": { "spec": { "containers": [
            { "env": [{ "name": "SHOOT_CA", "value": how }] }] } } } })
        };
        let own: Value = serde_json::from_str(NARROW).unwrap();
        for (names, how, wide, findings) in [
            (own.clone(), "bundle", false, 0),
            (Value::Null, "generic-kubeconfig", true, 0),
            (Value::Null, "bundle", false, 1),
            (own.clone(), "generic-kubeconfig", false, 1),
            (json!(["shoot-access-extension-cri-resmgr", "cloudprovider"]), "bundle", false, 1),
            (own.clone(), "bundle", true, 2),
        ] {
            let found = check_secrets(&[role(names.clone()), reported(how)], wide);
            assert_eq!(found.len(), findings, "{names} {how} {wide}: {found:?}");
        }
        assert_eq!(check_secrets(&[role(own.clone()), role(Value::Null), reported("bundle")], false).len(), 1);
    }

    #[test]
    fn a_chart_value_without_its_consequence_is_found() {
        let vpa = |mode: &str| json!({ "kind": VPA, "spec": { "updatePolicy": { "updateMode": mode } } });
        assert!(check_consequences(&[vpa("Recreate")], "old-seed-values", &CONSEQUENCES).is_empty());
        assert_eq!(check_consequences(&[vpa("InPlaceOrRecreate")], "old-seed-values", &CONSEQUENCES).len(), 1);
        assert_eq!(check_consequences(&[json!({ "kind": "Service" })], "bootstrap-values", &CONSEQUENCES).len(), 3);
    }

    #[test]
    fn wildcards_foreign_namespaces_and_a_missing_deployment_are_found() {
        let role = json!({ "kind": "ClusterRole", "metadata": {}, "rules": [{ "resources": ["*"] }] });
        let service = json!({ "kind": "Service", "metadata": { "namespace": "default" } });
        assert_eq!(check(&[role, service, Value::Null], &CONTROLLER_LABELS).len(), 3);
    }
}
