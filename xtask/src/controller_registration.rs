//! `cargo xtask controller-registration`: what makes the extension known to a Gardener landscape.

mod manifest;
mod values;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use extension_config::names::{CONTROLLER_NAME, INSTALLATION_IMAGE};
use image_builder::chart::Chart;
use image_builder::reference::{Pinned, Reference};
use image_builder::{Digest, layout};
use serde_json::{Map, Value};

use crate::pins::Pins;
use crate::terminal::say;
use manifest::{Admission, Deployment, Gardener, Image, Images, Manifest, OciRepository, Values, ensure_no_image};

/// The chart of the controller.
pub(crate) const CHART: &str = "charts/gardener-extension-cri-resmgr";
/// The chart of the webhook, which runs next to the garden.
pub(crate) const ADMISSION_RUNTIME_CHART: &str = "charts/gardener-extension-cri-resmgr-admission/runtime";
/// The chart of its rights in the garden.
pub(crate) const ADMISSION_APPLICATION_CHART: &str = "charts/gardener-extension-cri-resmgr-admission/application";
/// All of them.
pub(crate) const CHARTS: [&str; 3] = [CHART, ADMISSION_RUNTIME_CHART, ADMISSION_APPLICATION_CHART];
/// Where a registration is written; nothing there is committed.
const DEFAULT_OUTPUT: &str = "dist/ctrldeploy-ctrlreg.yaml";
/// The committed examples and the arguments that make them. Nothing is published, so registries are made up and digests are placeholders.
const EXAMPLES: [(&str, &[&str]); 3] = [
    ("examples/ctrldeploy-ctrlreg.yaml", &[]),
    (
        "examples/enabled-for-all.yaml",
        &[
            "--gardener",
            "new",
            "--deployment",
            "oci-repository",
            "--registry",
            "registry.example.com/team",
            "--tag",
            env!("CARGO_PKG_VERSION"),
            "--enable-for-all",
        ],
    ),
    (
        "examples/extension.yaml",
        &["--gardener", "new", "--deployment", "operator-extension", "--digests", "examples/digests-placeholder.txt"],
    ),
];

/// Writes the registration of the extension.
///
/// The default is a core.gardener.cloud/v1beta1 ControllerDeployment with the chart inside, and a ControllerRegistration
/// with no field that any Gardener from v1.54 on lacks. Equal arguments give an equal file.
#[derive(Debug, Args)]
pub(crate) struct ControllerRegistrationArgs {
    /// Registry of both images, with a path where it has one.
    #[arg(long, env = "REGISTRY")]
    registry: Option<String>,
    /// Tag of both images; a version, never `latest`. The chart has the same version.
    #[arg(long)]
    tag: Option<String>,
    /// The digests that `cargo xtask images` wrote: images, and a chart in a registry, are then named by content, and a tag that
    /// is moved later changes nothing. Without `--registry` and `--tag` those of the file hold.
    #[arg(long, value_name = "FILE")]
    digests: Option<PathBuf>,
    /// Which fields may be used: those of every version from v1.54 on, or those of v1.123 as well.
    #[arg(long, value_enum, default_value_t = Gardener::Old)]
    gardener: Gardener,
    /// How Gardener gets the chart; all but the first need v1.123 or newer.
    #[arg(long, value_enum, default_value_t = Deployment::V1beta1)]
    deployment: Deployment,
    /// The chart in a registry, for `oci-repository` and `operator-extension`; the default is where
    /// `cargo xtask images --push` puts it.
    #[arg(long, value_name = "REF")]
    chart_ref: Option<String>,
    #[command(flatten)]
    webhook: WebhookArgs,
    /// Secret in namespace `garden` with which gardenlet pulls that chart.
    #[arg(long, value_name = "SECRET")]
    chart_pull_secret: Option<String>,
    /// Secret in namespace `garden` with the CA of that registry.
    #[arg(long, value_name = "SECRET")]
    chart_ca_bundle: Option<String>,
    /// Enable the extension for every shoot that does not disable it.
    #[arg(long)]
    enable_for_all: bool,
    /// Values of your own for the chart: base configuration, pull Secrets, the agent's settings. Keep the file, and give it again at the next
    /// upgrade. May be repeated: maps are merged, and later files win, as with Helm. What the chart would not take is refused.
    #[arg(long = "values", value_name = "FILE")]
    values: Vec<PathBuf>,
    /// Where to write it.
    #[arg(long, default_value = DEFAULT_OUTPUT)]
    output: PathBuf,
    /// Write nothing; fail when the file is not what would be written.
    #[arg(long)]
    check: bool,
    /// Write the committed examples, whatever else is said; with `--check`, look whether they are current.
    #[arg(long)]
    write_examples: bool,
}

/// About the webhook, which only `operator-extension` has.
#[derive(Debug, Args)]
struct WebhookArgs {
    /// Leave the webhook out that judges Shoots at `kubectl apply`.
    #[arg(long)]
    without_admission: bool,
    /// Values of your own for the webhook's charts, as `--values` for the controller's.
    #[arg(long = "admission-values", value_name = "FILE", conflicts_with = "without_admission")]
    admission_values: Vec<PathBuf>,
}

/// Where a chart lives next to the images of `registry`, by the convention of `helm push`.
pub(crate) fn chart_reference(registry: &str, chart: &Chart) -> Result<Reference, image_builder::Error> {
    let below = format!("{}/charts", registry.trim_end_matches('/'));
    Reference::new(Some(&below), &chart.name, &chart.version)
}

/// Runs the command in the repository at `root`.
pub(crate) fn run(args: &ControllerRegistrationArgs, root: &Path) -> anyhow::Result<()> {
    if !args.write_examples {
        return write(args, root);
    }
    for (output, words) in EXAMPLES {
        let check = if args.check { &["--check"][..] } else { &[] };
        crate::within(&[&["controller-registration", "--output", output], words, check].concat(), root)?;
    }
    Ok(())
}

fn write(args: &ControllerRegistrationArgs, root: &Path) -> anyhow::Result<()> {
    let pins = args.digests.as_ref().map(|path| Pins::read(&root.join(path))).transpose()?;
    let charts = Charts::pack(root, tag(args, pins.as_ref())?)?;
    let own = Own {
        controller: values::read(root, &args.values, &root.join(CHART))?.unwrap_or_default(),
        admission: values::read(root, &args.webhook.admission_values, &root.join(ADMISSION_RUNTIME_CHART))?
            .unwrap_or_default(),
    };
    let text = manifest(args, &charts, pins.as_ref(), own)?.to_string();
    let path = root.join(&args.output);
    let present = match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        other => Some(other.with_context(|| format!("cannot read {}", path.display()))?),
    };
    if present.as_deref() == Some(text.as_str()) {
        say(&format!("{} is up to date", path.display()));
        return Ok(());
    }
    if args.check {
        bail!(
            "{} is not what would be written (examples: `cargo xtask controller-registration --write-examples`)",
            path.display()
        );
    }
    layout::write_file(&path, text.as_bytes())?;
    say(&format!("{} written", path.display()));
    Ok(())
}

/// The three charts.
struct Charts {
    controller: Chart,
    runtime: Chart,
    application: Chart,
}

impl Charts {
    /// With the version that belongs to images of this tag.
    fn pack(root: &Path, tag: &str) -> Result<Self, image_builder::Error> {
        let pack = |folder: &str| Chart::pack_for(&root.join(folder), tag);
        let (runtime, application) = (pack(ADMISSION_RUNTIME_CHART)?, pack(ADMISSION_APPLICATION_CHART)?);
        Ok(Self { controller: pack(CHART)?, runtime, application })
    }
}

/// Values of the operator's own.
#[derive(Default)]
struct Own {
    controller: Map<String, Value>,
    admission: Map<String, Value>,
}

fn manifest(
    args: &ControllerRegistrationArgs,
    charts: &Charts,
    pins: Option<&Pins>,
    own: Own,
) -> anyhow::Result<Manifest> {
    if args.gardener == Gardener::Old && args.deployment != Deployment::V1beta1 {
        bail!("this kind of deployment needs `--gardener new`: old versions know v1beta1 only");
    }
    let secrets = args.chart_pull_secret.is_some() || args.chart_ca_bundle.is_some();
    if secrets && !args.deployment.needs_registry() {
        bail!("`--chart-pull-secret` and `--chart-ca-bundle` are for a chart in a registry");
    }
    if args.deployment != Deployment::OperatorExtension && (args.webhook.without_admission || !own.admission.is_empty())
    {
        bail!(
            "`--without-admission` and `--admission-values` are for `--deployment operator-extension`, which alone has the webhook"
        );
    }
    let images = images(args, pins)?;
    let repository = |reference: String| OciRepository {
        reference,
        pull_secret: args.chart_pull_secret.clone(),
        ca_bundle: args.chart_ca_bundle.clone(),
    };
    let admission = if args.deployment == Deployment::OperatorExtension && !args.webhook.without_admission {
        let find = |chart| {
            let found = chart_in_registry(args, chart, pins);
            found.context("the webhook's charts are in no registry that is known here: name it, or leave the webhook out by `--without-admission`")
        };
        let image = images.as_ref().map(|images| images.controller.clone());
        if image.is_some() {
            ensure_no_image(&own.admission, "--admission-values")?;
        }
        let (runtime, application) = (find(&charts.runtime)?, find(&charts.application)?);
        Some(Admission {
            runtime: repository(runtime),
            application: repository(application),
            own: own.admission,
            image,
        })
    } else {
        None
    };
    let own_chart = match &args.chart_ref {
        Some(reference) => {
            check_chart_ref(reference)?;
            reference.clone()
        }
        None if args.deployment.needs_registry() => chart_in_registry(args, &charts.controller, pins)?,
        None => String::new(),
    };
    Ok(Manifest {
        gardener: args.gardener,
        deployment: args.deployment,
        enable_for_all: args.enable_for_all,
        archive: charts.controller.archive.clone(),
        repository: repository(own_chart),
        values: Values { images, own: own.controller }.checked()?,
        admission,
    })
}

/// The tag of the images: chart and images have one version, however they are named.
fn tag<'a>(args: &'a ControllerRegistrationArgs, pins: Option<&'a Pins>) -> anyhow::Result<&'a str> {
    match (&args.tag, pins) {
        (Some(tag), _) => Ok(tag),
        (None, Some(pins)) => Ok(pins.image(CONTROLLER_NAME)?.reference.tag()),
        (None, None) => Ok(env!("CARGO_PKG_VERSION")),
    }
}

/// Both images, where they are others than the chart's own.
fn images(args: &ControllerRegistrationArgs, pins: Option<&Pins>) -> anyhow::Result<Option<Images>> {
    let image = |name| {
        let Some(pins) = pins else {
            let tag = args.tag.as_deref().unwrap_or(env!("CARGO_PKG_VERSION"));
            return Ok(Image { reference: Reference::new(args.registry.as_deref(), name, tag)?, digest: None });
        };
        let Pinned { reference, digest } = pins.image(name)?;
        let tag = reference.tag();
        if args.tag.as_deref().is_some_and(|wanted| wanted != tag) {
            bail!("`--digests` has the digest of {name} for tag {tag} alone, and not for `--tag`");
        }
        let reference = match &args.registry {
            Some(registry) => Reference::new(Some(registry), name, tag)?,
            None => reference.clone(),
        };
        Ok(Image { reference, digest: Some(*digest) })
    };
    if args.registry.is_none() && args.tag.is_none() && pins.is_none() {
        return Ok(None);
    }
    Ok(Some(Images { controller: image(CONTROLLER_NAME)?, installation: image(INSTALLATION_IMAGE)? }))
}

/// Where a chart is, for the deployments that have it in a registry.
fn chart_in_registry(args: &ControllerRegistrationArgs, chart: &Chart, pins: Option<&Pins>) -> anyhow::Result<String> {
    let Some(pins) = pins else {
        let registry =
            args.registry.as_deref().context("a chart in a registry needs `--chart-ref`, or `--registry`")?;
        return Ok(chart_reference(registry, chart)?.to_string());
    };
    let pinned = pins.chart(&chart.name)?.with_context(|| {
        format!(
            "`--digests` has none of the chart {}, which was not pushed: push it by `cargo xtask images --push`, or give `--chart-ref`",
            chart.name
        )
    })?;
    match &args.registry {
        // A copy that keeps the digest, by `skopeo` for one.
        Some(registry) => {
            let below = format!("{}/charts", registry.trim_end_matches('/'));
            let Pinned { reference, digest } = pinned;
            let reference = Reference::new(Some(&below), reference.base_name(), reference.tag())?;
            Ok(Pinned { reference, digest: *digest }.to_string())
        }
        None => Ok(pinned.to_string()),
    }
}

/// `[oci://]REPOSITORY:TAG`, `REPOSITORY@DIGEST` or both, as Gardener takes it.
fn check_chart_ref(text: &str) -> anyhow::Result<()> {
    let name = text.strip_prefix("oci://").unwrap_or(text);
    let (name, digest) = name.split_once('@').map_or((name, None), |(name, digest)| (name, Some(digest)));
    digest.map(str::parse::<Digest>).transpose().context("--chart-ref")?;
    let tagless = name.rsplit('/').next().is_some_and(|last| !last.contains(':'));
    if digest.is_some() && tagless {
        Reference::new(None, name, env!("CARGO_PKG_VERSION")).context("--chart-ref")?;
    } else {
        name.parse::<Reference>().context("--chart-ref")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use serde_json::json;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: ControllerRegistrationArgs,
    }

    const TEAM: &str = "localhost:5001/team";

    fn digest(digit: &str) -> String {
        format!("sha256:{}", digit.repeat(64))
    }

    /// What `cargo xtask images` writes; the chart only where it was pushed.
    fn pins(registry: &str, pushed: bool) -> Pins {
        let controller = format!("image {registry}{CONTROLLER_NAME}:1.10@{}", digest("a"));
        let installation = format!("image {registry}{INSTALLATION_IMAGE}:1.10@{}", digest("b"));
        let charts = [CONTROLLER_NAME, "runtime", "application"]
            .map(|name| format!("chart {registry}charts/{name}:0.9.0@{}", digest("c")));
        [controller, installation, if pushed { charts.join("\n") } else { String::new() }].join("\n").parse().unwrap()
    }

    fn written(words: &[&str], pins: &Pins) -> anyhow::Result<Vec<Value>> {
        let args = Line::try_parse_from([&["x"][..], words].concat())?.args;
        let chart = |name: &str| Chart {
            name: name.to_owned(),
            version: "0.9.0".to_owned(),
            metadata: String::new(),
            archive: b"archive".to_vec(),
        };
        let charts =
            Charts { controller: chart(CONTROLLER_NAME), runtime: chart("runtime"), application: chart("application") };
        Ok(serde_saphyr::from_multiple(&manifest(&args, &charts, Some(pins), Own::default())?.to_string())?)
    }

    #[test]
    fn digests_pin_both_images_and_a_chart_in_a_registry() {
        let new = ["--gardener", "new", "--deployment", "oci-repository"];
        for (more, registry) in [(&[][..], TEAM), (&["--registry", "[fd00::1]:5000/x/"], "[fd00::1]:5000/x")] {
            let documents = written(&[&new, more].concat(), &pins(&format!("{TEAM}/"), true)).unwrap();
            let helm = &documents[0]["helm"];
            let chart = format!("{registry}/charts/{CONTROLLER_NAME}:0.9.0@{}", digest("c"));
            assert_eq!(helm["ociRepository"], json!({ "ref": chart }));
            let controller = format!("{registry}/{CONTROLLER_NAME}");
            assert_eq!(helm["values"]["image"], json!({ "repository": controller, "tag": digest("a") }));
            let vector: Value =
                serde_saphyr::from_str(helm["values"]["imageVectorOverwrite"].as_str().unwrap()).unwrap();
            let installation = format!("{registry}/{INSTALLATION_IMAGE}");
            assert_eq!(
                vector["images"],
                json!([
                    { "name": CONTROLLER_NAME, "repository": controller, "tag": digest("a") },
                    { "name": INSTALLATION_IMAGE, "repository": installation, "tag": digest("b") },
                ])
            );
        }
        // Images of bare names, which somebody carries into a registry.
        let documents = written(&["--registry", TEAM], &pins("", false)).unwrap();
        let image = &documents[0]["providerConfig"]["values"]["image"];
        assert_eq!(*image, json!({ "repository": format!("{TEAM}/{CONTROLLER_NAME}"), "tag": digest("a") }));
    }

    #[test]
    fn digests_of_several_tags_or_with_a_missing_image_are_refused() {
        let new = ["--gardener", "new", "--deployment", "oci-repository"];
        for (words, pins, reported) in [
            (&["--tag", "1.11"][..], pins("", true), "for tag 1.10 alone"),
            (&new, pins(&format!("{TEAM}/"), false), "none of the chart"),
            (&[], Pins::default(), "no digest of gardener-extension-cri-resmgr"),
        ] {
            let error = format!("{:#}", written(words, &pins).unwrap_err());
            assert!(error.contains(reported), "{words:?}: {error}");
        }
        assert!(written(&["--tag", "1.10"], &pins("", false)).is_ok());
        let own = [&new[..], &["--chart-ref", "r.example.com/c:1"]].concat();
        assert_eq!(
            written(&own, &pins("", false)).unwrap()[0]["helm"]["ociRepository"]["ref"],
            "r.example.com/c:1",
            "the chart is somebody's own"
        );
    }

    #[test]
    fn the_chart_moves_with_the_tag() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let new = ["x", "--gardener", "new", "--deployment", "oci-repository", "--registry", TEAM];
        for (words, pins, version) in [
            (&["--tag", "v9.8.7"][..], None, "9.8.7"),
            (&[], None, env!("CARGO_PKG_VERSION")),
            (&[], Some(pins(&format!("{TEAM}/"), true)), concat!(env!("CARGO_PKG_VERSION"), "-tag-1-10")),
        ] {
            let args = Line::try_parse_from([&new[..], words].concat()).unwrap().args;
            let charts = Charts::pack(root, tag(&args, pins.as_ref()).unwrap()).unwrap();
            for chart in [&charts.controller, &charts.runtime, &charts.application] {
                assert_eq!(chart.version, version, "{words:?}: {}", chart.name);
            }
            if pins.is_none() {
                let text = manifest(&args, &charts, None, Own::default()).unwrap().to_string();
                assert!(text.contains(&format!("{TEAM}/charts/{CONTROLLER_NAME}:{version}\n")), "{text}");
            }
        }
    }

    #[test]
    fn the_webhook_comes_with_an_operator_extension_unless_it_is_left_out() {
        let operator = ["--gardener", "new", "--deployment", "operator-extension"];
        let admission = |words: &[&str], pins: &Pins| {
            written(&[&operator[..], words].concat(), pins).map(|all| all[0]["spec"]["deployment"]["admission"].clone())
        };
        let pushed = pins(&format!("{TEAM}/"), true);
        let found = admission(&[], &pushed).unwrap();
        for (cluster, name) in [("runtimeCluster", "runtime"), ("virtualCluster", "application")] {
            let chart = format!("{TEAM}/charts/{name}:0.9.0@{}", digest("c"));
            assert_eq!(found[cluster]["helm"]["ociRepository"], json!({ "ref": chart }), "{cluster}");
        }
        let image = json!({ "repository": format!("{TEAM}/{CONTROLLER_NAME}"), "tag": digest("a") });
        assert_eq!(found["values"], json!({ "image": image }));
        assert_eq!(admission(&["--without-admission"], &pushed).unwrap(), Value::Null);
        // A chart of somebody's own says nothing about the webhook's.
        let own = ["--chart-ref", "r.example.com/c:1"];
        let error = format!("{:#}", admission(&own, &pins("", false)).unwrap_err());
        assert!(error.contains("--without-admission"), "{error}");
        assert!(admission(&[&own[..], &["--without-admission"]].concat(), &pins("", false)).is_ok());
        let other = ["--gardener", "new", "--deployment", "oci-repository", "--without-admission"];
        assert!(written(&other, &pushed).is_err());
    }

    #[test]
    fn a_chart_s_name_is_checked() {
        let hex = digest("a");
        for good in
            ["r.example.com/c:1", "oci://r.example.com:5000/c:1", &format!("r/c@{hex}"), &format!("r/c:1@{hex}")]
        {
            assert!(check_chart_ref(good).is_ok(), "{good}");
        }
        for bad in ["r.example.com/c", "https://r.example.com/c:1", "r_.example.com:1/c:1", "r/c@sha256:0", "r/c:1@"] {
            assert!(check_chart_ref(bad).is_err(), "{bad}");
        }
    }
}
