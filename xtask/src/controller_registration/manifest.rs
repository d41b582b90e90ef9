//! The texts of a registration. Written by hand, so that comments and order stay as a reader wants them.

use std::fmt::{self, Display, Formatter};

use anyhow::bail;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::ValueEnum;
use extension_config::names::{CONTROLLER_NAME, EXTENSION_TYPE, INSTALLATION_IMAGE};
use image_builder::Digest;
use image_builder::reference::Reference;
use serde_json::{Map, Value, json};

/// Which fields the landscape's Gardener knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Gardener {
    /// v1.54 and everything since.
    Old,
    /// v1.123 and everything since.
    New,
}

/// How the chart gets into the landscape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Deployment {
    /// Inside a core.gardener.cloud/v1beta1 ControllerDeployment.
    V1beta1,
    /// Inside a core.gardener.cloud/v1 ControllerDeployment.
    RawChart,
    /// In a registry, named by a core.gardener.cloud/v1 ControllerDeployment.
    OciRepository,
    /// In a registry, named by an operator.gardener.cloud/v1alpha1 Extension, from which gardener-operator makes the rest.
    OperatorExtension,
}

impl Deployment {
    pub(super) fn needs_registry(self) -> bool {
        matches!(self, Self::OciRepository | Self::OperatorExtension)
    }
}

/// Values other than the chart's own.
#[derive(Debug, Clone, Default)]
pub(super) struct Values {
    pub(super) images: Option<Images>,
    /// The operator's.
    pub(super) own: Map<String, Value>,
}

/// Images other than the chart's own.
#[derive(Debug, Clone)]
pub(super) struct Images {
    pub(super) controller: Image,
    pub(super) installation: Image,
}

impl Values {
    /// Which image runs is said once: by the arguments or by the operator's values.
    pub(super) fn checked(self) -> anyhow::Result<Self> {
        if self.images.is_some() {
            ensure_no_image(&self.own, "--values")?;
            if self.own.contains_key(IMAGE_VECTOR) {
                bail!(
                    "--registry, --tag and --digests name the agent's image, and --values has {IMAGE_VECTOR}, too: take it out there"
                );
            }
        }
        Ok(self)
    }
}

/// Which image runs is said once.
pub(super) fn ensure_no_image(own: &Map<String, Value>, option: &str) -> anyhow::Result<()> {
    let image = own.get("image");
    let twice =
        ["ref", "repository", "tag"].into_iter().find(|key| image.is_some_and(|image| image.get(key).is_some()));
    if let Some(key) = twice {
        bail!(
            "--registry, --tag and --digests name the controller's image, and {option} has image.{key}, too: take it out there"
        );
    }
    Ok(())
}

/// The chart's value with the override of the image vector.
const IMAGE_VECTOR: &str = "imageVectorOverwrite";

/// An image by its tag, or by its content.
#[derive(Debug, Clone)]
pub(super) struct Image {
    pub(super) reference: Reference,
    pub(super) digest: Option<Digest>,
}

impl Image {
    /// What the chart and image vectors take as a tag: there, `sha256:…` is a digest. The tag is then a comment, for people.
    fn tag(&self) -> String {
        let tag = self.reference.tag();
        self.digest.map_or_else(|| format!("{tag:?}"), |digest| format!("\"{digest}\" # {tag}"))
    }
}

/// Where a chart in a registry is, and what is needed to get it.
#[derive(Debug, Clone)]
pub(super) struct OciRepository {
    pub(super) reference: String,
    pub(super) pull_secret: Option<String>,
    pub(super) ca_bundle: Option<String>,
}

impl OciRepository {
    fn text(&self, indent: &str) -> String {
        let mut lines = vec!["ociRepository:".to_owned(), format!("  ref: {}", plain(&self.reference))];
        for (key, secret) in [("pullSecretRef", &self.pull_secret), ("caBundleSecretRef", &self.ca_bundle)] {
            if let Some(secret) = secret {
                lines.extend([format!("  {key}:"), format!("    name: {secret}")]);
            }
        }
        indented(lines.iter().map(String::as_str), indent)
    }
}

/// A whole registration; `Display` is its YAML.
#[derive(Debug, Clone)]
pub(super) struct Manifest {
    pub(super) gardener: Gardener,
    pub(super) deployment: Deployment,
    pub(super) enable_for_all: bool,
    pub(super) archive: Vec<u8>,
    pub(super) repository: OciRepository,
    pub(super) values: Values,
    /// The webhook, where it comes with the extension.
    pub(super) admission: Option<Admission>,
}

/// The webhook that judges Shoots at `kubectl apply`.
#[derive(Debug, Clone)]
pub(super) struct Admission {
    /// The chart for the cluster that it runs in.
    pub(super) runtime: OciRepository,
    /// The chart for the garden.
    pub(super) application: OciRepository,
    /// The operator's values; both charts are given them.
    pub(super) own: Map<String, Value>,
    /// Its image, which is the controller's.
    pub(super) image: Option<Image>,
}

impl Admission {
    fn text(&self) -> String {
        let (runtime, application) = (self.runtime.text("          "), self.application.text("          "));
        let values = chart_values(self.image.as_ref(), None, &self.own, "      ");
        format!(
            "    admission:
      runtimeCluster:
        helm:
{runtime}      virtualCluster:
        helm:
{application}{values}"
        )
    }
}

/// What the pods of the chart allow; see the chart's security contexts.
const POD_SECURITY: &str = "  annotations:
    security.gardener.cloud/pod-security-enforce: restricted
";

impl Display for Manifest {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(
            "# Made by `cargo xtask controller-registration`. Change the chart or the arguments, not this file.\n",
        )?;
        if self.deployment != Deployment::V1beta1 {
            f.write_str("# For Gardener v1.123 and newer.\n")?;
        }
        match self.deployment {
            Deployment::V1beta1 => self.v1beta1(f)?,
            Deployment::RawChart | Deployment::OciRepository => self.v1(f)?,
            Deployment::OperatorExtension => return self.operator_extension(f),
        }
        write!(
            f,
            "---
apiVersion: core.gardener.cloud/v1beta1
kind: ControllerRegistration
metadata:
  name: {EXTENSION_TYPE}
{POD_SECURITY}spec:
  resources:
{}  deployment:
    deploymentRefs:
    - name: {EXTENSION_TYPE}
",
            self.resource()
        )
    }
}

impl Manifest {
    fn v1beta1(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "---
apiVersion: core.gardener.cloud/v1beta1
kind: ControllerDeployment
metadata:
  name: {EXTENSION_TYPE}
type: helm
providerConfig:
  chart: {}
{}",
            STANDARD.encode(&self.archive),
            self.values("  ")
        )
    }

    fn v1(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let source = if self.deployment == Deployment::RawChart {
            format!("  rawChart: {}\n", STANDARD.encode(&self.archive))
        } else {
            self.repository.text("  ")
        };
        write!(
            f,
            "---
apiVersion: core.gardener.cloud/v1
kind: ControllerDeployment
metadata:
  name: {EXTENSION_TYPE}
helm:
{source}{}",
            self.values("  ")
        )
    }

    fn operator_extension(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "---
apiVersion: operator.gardener.cloud/v1alpha1
kind: Extension
metadata:
  name: {EXTENSION_TYPE}
{POD_SECURITY}spec:
  resources:
{}  deployment:
    extension:
      helm:
{}{}{}",
            self.resource(),
            self.repository.text("        "),
            self.values("      "),
            self.admission.as_ref().map(Admission::text).unwrap_or_default()
        )
    }

    /// The entry under `resources`.
    fn resource(&self) -> String {
        let mut lines = vec!["- kind: Extension".to_owned(), format!("  type: {EXTENSION_TYPE}")];
        match (self.gardener, self.enable_for_all) {
            (Gardener::Old, false) => {}
            (Gardener::Old, true) => lines.push("  globallyEnabled: true".to_owned()),
            (Gardener::New, enable) => {
                if enable {
                    lines.extend(["  autoEnable:", "  - shoot"].map(str::to_owned));
                }
                // Nodes are cleaned while the shoot's API server and its resource manager still run.
                lines.extend(
                    [
                        "  clusterCompatibility:",
                        "  - shoot",
                        "  lifecycle:",
                        "    reconcile: AfterKubeAPIServer",
                        "    delete: BeforeKubeAPIServer",
                        "    migrate: BeforeKubeAPIServer",
                        "  workerlessSupported: false",
                    ]
                    .map(str::to_owned),
                );
            }
        }
        indented(lines.iter().map(String::as_str), "  ")
    }

    /// The chart's values, when they are not its own.
    fn values(&self, indent: &str) -> String {
        let Values { images, own } = &self.values;
        chart_values(images.as_ref().map(|images| &images.controller), images.as_ref(), own, indent)
    }
}

/// Values of a chart, none where all are its own: the image that runs, the image vector, and what the operator wants.
fn chart_values(image: Option<&Image>, vector: Option<&Images>, own: &Map<String, Value>, indent: &str) -> String {
    let mut lines = Vec::new();
    let mut own = own.clone();
    // The operator's part of what the image is a part of.
    let own_image = own.remove("image").filter(|image| image.as_object().is_some_and(|image| !image.is_empty()));
    if let Some(image) = image {
        lines.extend([
            "image:".to_owned(),
            format!("  repository: {}", plain(image.reference.repository())),
            format!("  tag: {}", image.tag()),
        ]);
        lines.extend(yaml(&own_image.unwrap_or_default()).into_iter().map(|line| format!("  {line}")));
    } else if let Some(image) = own_image {
        lines.extend(yaml(&json!({ "image": image })));
    }
    if let Some(Images { controller, installation }) = vector {
        lines.extend([format!("{IMAGE_VECTOR}: |"), "  images:".to_owned()]);
        for (image, name) in [(controller, CONTROLLER_NAME), (installation, INSTALLATION_IMAGE)] {
            lines.extend([
                format!("  - name: {name}"),
                format!("    repository: {}", plain(image.reference.repository())),
                format!("    tag: {}", image.tag()),
            ]);
        }
    }
    lines.extend(yaml(&Value::Object(own)));
    if lines.is_empty() {
        return String::new();
    }
    let below = lines.iter().map(|line| format!("  {line}"));
    let lines: Vec<String> = std::iter::once("values:".to_owned()).chain(below).collect();
    indented(lines.iter().map(String::as_str), indent)
}

/// A map as lines of YAML; none for an empty one.
fn yaml(value: &Value) -> Vec<String> {
    if value.as_object().is_none_or(Map::is_empty) {
        return Vec::new();
    }
    // JSON's values are YAML's, and no error of a writer can happen to a text.
    serde_saphyr::to_string(value).unwrap_or_default().lines().map(str::to_owned).collect()
}

/// A reference as YAML: all but those to an IPv6 address can stand as they are.
fn plain(reference: &str) -> String {
    if reference.starts_with('[') { format!("{reference:?}") } else { reference.to_owned() }
}

fn indented<'a>(lines: impl Iterator<Item = &'a str>, indent: &'a str) -> String {
    lines.flat_map(|line| if line.trim().is_empty() { ["", "", "\n"] } else { [indent, line, "\n"] }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn documents(manifest: &Manifest) -> Vec<Value> {
        serde_saphyr::from_multiple(&manifest.to_string()).unwrap()
    }

    fn manifest(gardener: Gardener, deployment: Deployment, enable_for_all: bool) -> Manifest {
        let image = |name| {
            let reference = Reference::new(Some("localhost:5001/team"), name, "1.10").unwrap();
            Image { reference, digest: None }
        };
        Manifest {
            gardener,
            deployment,
            enable_for_all,
            archive: b"archive".to_vec(),
            repository: OciRepository {
                reference: "localhost:5001/team/charts/chart:0.1.0".to_owned(),
                pull_secret: None,
                ca_bundle: None,
            },
            values: Values {
                images: Some(Images { controller: image(CONTROLLER_NAME), installation: image(INSTALLATION_IMAGE) }),
                own: Map::new(),
            },
            admission: None,
        }
    }

    #[test]
    fn the_default_registration_has_only_fields_of_old_gardener_versions() {
        let [deployment, registration] =
            &documents(&Manifest { values: Values::default(), ..manifest(Gardener::Old, Deployment::V1beta1, false) })
                [..]
        else {
            panic!("two documents");
        };
        assert_eq!(deployment["apiVersion"], "core.gardener.cloud/v1beta1");
        assert_eq!(deployment["providerConfig"], serde_json::json!({ "chart": STANDARD.encode("archive") }));
        assert_eq!(
            registration["spec"],
            serde_json::json!({
                "resources": [{ "kind": "Extension", "type": "cri-resmgr-extension" }],
                "deployment": { "deploymentRefs": [{ "name": "cri-resmgr-extension" }] },
            })
        );
    }

    #[test]
    fn registry_and_tag_reach_the_chart_value_and_the_image_vector() {
        let documents = documents(&manifest(Gardener::Old, Deployment::V1beta1, false));
        let values = &documents[0]["providerConfig"]["values"];
        assert_eq!(values["image"]["repository"], "localhost:5001/team/gardener-extension-cri-resmgr");
        assert_eq!(values["image"]["tag"], "1.10", "a text, not a number");
        let vector: Value = serde_saphyr::from_str(values["imageVectorOverwrite"].as_str().unwrap()).unwrap();
        let entry = |name: &str| serde_json::json!({ "name": name, "repository": format!("localhost:5001/team/{name}"), "tag": "1.10" });
        assert_eq!(
            vector["images"],
            serde_json::json!([entry(CONTROLLER_NAME), entry("gardener-extension-cri-resmgr-installation")])
        );
    }

    #[test]
    fn operator_values_are_kept_beside_the_images() {
        let own = json!({
            "configs": { "fallback": { "policy": { "Active": "none" } }, "EXTRA_OPTIONS": "-a: # b\n\nc" },
            "image": { "pullPolicy": "Always" },
            "nodeAgent": { "imagePullSecrets": ["a"] },
        });
        let Value::Object(own) = own else { panic!("a map") };
        for deployment in Deployment::value_variants() {
            let mut manifest = manifest(Gardener::New, *deployment, false);
            manifest.values.own = own.clone();
            let document = documents(&manifest)[0].clone();
            let places = ["/providerConfig/values", "/helm/values", "/spec/deployment/extension/values"];
            let values = places.iter().find_map(|place| document.pointer(place)).unwrap();
            assert_eq!(values["configs"], own["configs"], "{deployment:?}");
            assert_eq!(values["nodeAgent"], own["nodeAgent"], "{deployment:?}");
            assert_eq!(values["image"]["pullPolicy"], "Always");
            assert_eq!(values["image"]["tag"], "1.10");
            manifest.values.images = None;
            let document = documents(&manifest)[0].clone();
            let values = places.iter().find_map(|place| document.pointer(place)).unwrap();
            assert_eq!(*values, Value::Object(own.clone()), "{deployment:?}");
        }
    }

    #[test]
    fn an_image_that_is_set_twice_is_refused() {
        let images = manifest(Gardener::New, Deployment::V1beta1, false).values.images;
        for (own, reported) in [
            (json!({ "image": { "tag": "1" } }), "image.tag"),
            (json!({ "image": { "ref": "x" } }), "image.ref"),
            (json!({ "imageVectorOverwrite": {} }), "imageVectorOverwrite"),
        ] {
            let Value::Object(own) = own else { panic!("a map") };
            let error = Values { images: images.clone(), own: own.clone() }.checked().unwrap_err().to_string();
            assert!(error.contains(reported), "{error}");
            assert!(Values { images: None, own }.checked().is_ok());
        }
    }

    #[test]
    fn enabling_for_all_shoots_uses_the_fields_of_the_gardener_version() {
        for (gardener, enable, globally, auto) in [
            (Gardener::Old, false, Value::Null, Value::Null),
            (Gardener::Old, true, Value::Bool(true), Value::Null),
            (Gardener::New, false, Value::Null, Value::Null),
            (Gardener::New, true, Value::Null, serde_json::json!(["shoot"])),
        ] {
            let documents = documents(&manifest(gardener, Deployment::V1beta1, enable));
            let resource = &documents[1]["spec"]["resources"][0];
            assert_eq!(resource["globallyEnabled"], globally);
            assert_eq!(resource["autoEnable"], auto);
            assert_eq!(resource["lifecycle"].is_object(), gardener == Gardener::New);
        }
    }

    #[test]
    fn each_deployment_kind_names_the_chart_in_its_own_field() {
        let chart = |deployment| documents(&manifest(Gardener::New, deployment, false))[0].clone();
        assert_eq!(chart(Deployment::RawChart)["helm"]["rawChart"], STANDARD.encode("archive"));
        assert_eq!(chart(Deployment::RawChart)["helm"]["values"]["image"]["tag"], "1.10");
        let reference = "localhost:5001/team/charts/chart:0.1.0";
        assert_eq!(chart(Deployment::OciRepository)["helm"]["ociRepository"]["ref"], reference);
        let operator = chart(Deployment::OperatorExtension);
        assert_eq!(operator["kind"], "Extension");
        let extension = &operator["spec"]["deployment"]["extension"];
        assert_eq!(extension["helm"]["ociRepository"], serde_json::json!({ "ref": reference }));
        assert_eq!(extension["values"]["image"]["tag"], "1.10");
        assert_eq!(documents(&manifest(Gardener::New, Deployment::OperatorExtension, false)).len(), 1);
    }

    #[test]
    fn a_chart_of_a_private_registry_names_its_secrets() {
        for (deployment, place) in [
            (Deployment::OciRepository, "/helm/ociRepository"),
            (Deployment::OperatorExtension, "/spec/deployment/extension/helm/ociRepository"),
        ] {
            let mut manifest = manifest(Gardener::New, deployment, false);
            manifest.repository.pull_secret = Some("pull".to_owned());
            manifest.repository.ca_bundle = Some("ca".to_owned());
            let repository = documents(&manifest)[0].pointer(place).unwrap().clone();
            assert_eq!(repository["pullSecretRef"], serde_json::json!({ "name": "pull" }));
            assert_eq!(repository["caBundleSecretRef"], serde_json::json!({ "name": "ca" }));
        }
    }
}
