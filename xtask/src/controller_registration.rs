//! `cargo xtask controller-registration`: what makes the extension known to a Gardener landscape.

mod manifest;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use clap::Args;
use extension_config::names::{CONTROLLER_NAME, INSTALLATION_IMAGE};
use image_builder::chart::Chart;
use image_builder::layout;
use image_builder::reference::Reference;

use crate::terminal::say;
use manifest::{Deployment, Gardener, Manifest, OciRepository, Values};

/// The chart of the controller.
pub(crate) const CHART: &str = "charts/gardener-extension-cri-resmgr";
/// The committed registration.
const DEFAULT_OUTPUT: &str = "examples/ctrldeploy-ctrlreg.yaml";

/// Writes the registration of the extension.
///
/// The default is a core.gardener.cloud/v1beta1 ControllerDeployment with the chart inside, and a ControllerRegistration
/// with no field that any Gardener from v1.54 on lacks. Equal arguments give an equal file.
#[derive(Debug, Args)]
pub(crate) struct ControllerRegistrationArgs {
    /// Registry of both images, with a path where it has one.
    #[arg(long, env = "REGISTRY")]
    registry: Option<String>,
    /// Tag of both images; a version, never `latest`.
    #[arg(long)]
    tag: Option<String>,
    /// Which fields may be used: those of every version from v1.54 on, or those of today's as well.
    #[arg(long, value_enum, default_value_t = Gardener::Old)]
    gardener: Gardener,
    /// How the chart is handed over; all but the first need a Gardener of today.
    #[arg(long, value_enum, default_value_t = Deployment::V1beta1)]
    deployment: Deployment,
    /// The chart in a registry, for `oci-repository` and `operator-extension`; the default is where
    /// `cargo xtask images --push` puts it.
    #[arg(long, value_name = "REF")]
    chart_ref: Option<String>,
    /// Secret in namespace `garden` with which gardenlet pulls that chart.
    #[arg(long, value_name = "SECRET")]
    chart_pull_secret: Option<String>,
    /// Secret in namespace `garden` with the CA of that registry.
    #[arg(long, value_name = "SECRET")]
    chart_ca_bundle: Option<String>,
    /// Enable the extension for every shoot that does not disable it.
    #[arg(long)]
    enable_for_all: bool,
    /// Where to write it.
    #[arg(long, default_value = DEFAULT_OUTPUT)]
    output: PathBuf,
    /// Write nothing; fail when the file is not what would be written.
    #[arg(long)]
    check: bool,
}

/// Where a chart lives next to the images of `registry`, by the convention of `helm push`.
pub(crate) fn chart_reference(registry: &str, chart: &Chart) -> Result<Reference, image_builder::Error> {
    let below = format!("{}/charts", registry.trim_end_matches('/'));
    Reference::new(Some(&below), &chart.name, &chart.version)
}

/// Runs the command in the repository at `root`.
pub(crate) fn run(args: &ControllerRegistrationArgs, root: &Path) -> anyhow::Result<()> {
    let chart = Chart::pack(&root.join(CHART))?;
    let text = manifest(args, &chart)?.to_string();
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
        bail!("{} is out of date: run `cargo xtask controller-registration` and commit it", path.display());
    }
    layout::write_file(&path, text.as_bytes())?;
    say(&format!("{} written", path.display()));
    Ok(())
}

fn manifest(args: &ControllerRegistrationArgs, chart: &Chart) -> anyhow::Result<Manifest> {
    if args.gardener == Gardener::Old && args.deployment != Deployment::V1beta1 {
        bail!("this kind of deployment needs `--gardener new`: old versions know v1beta1 only");
    }
    let values = if args.registry.is_some() || args.tag.is_some() {
        let tag = args.tag.as_deref().unwrap_or(env!("CARGO_PKG_VERSION"));
        let reference = |name| Reference::new(args.registry.as_deref(), name, tag);
        Some(Values { controller: reference(CONTROLLER_NAME)?, installation: reference(INSTALLATION_IMAGE)? })
    } else {
        None
    };
    let chart_ref = match (&args.chart_ref, &args.registry) {
        (Some(reference), _) => Some(reference.clone()),
        (None, Some(registry)) => Some(chart_reference(registry, chart)?.to_string()),
        (None, None) => None,
    };
    if args.deployment.needs_registry() && chart_ref.is_none() {
        bail!("a chart in a registry needs `--chart-ref`, or `--registry`");
    }
    let secrets = args.chart_pull_secret.is_some() || args.chart_ca_bundle.is_some();
    if secrets && !args.deployment.needs_registry() {
        bail!("`--chart-pull-secret` and `--chart-ca-bundle` are for a chart in a registry");
    }
    Ok(Manifest {
        gardener: args.gardener,
        deployment: args.deployment,
        enable_for_all: args.enable_for_all,
        archive: chart.archive.clone(),
        repository: OciRepository {
            reference: chart_ref.unwrap_or_default(),
            pull_secret: args.chart_pull_secret.clone(),
            ca_bundle: args.chart_ca_bundle.clone(),
        },
        values,
    })
}
