//! `cargo xtask images`: both images and the charts, without a container engine.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use image_builder::chart::Chart;
use image_builder::definition::{ImageDefinition, Inputs};
use image_builder::image::{self, Annotations, Artifact, Image, Platform};
use image_builder::layout::{self, Output};
use image_builder::payload::{Limits, Progress, Source};
use image_builder::reference::{Pinned, Reference};
use image_builder::registry::{Upload, chart_digest};
use image_builder::sbom::{self, Packages};
use image_builder::tree::Tree;
use image_builder::{Digest, binaries, payload, toolchain};

use crate::controller_registration::{CHARTS, chart_reference};
use crate::pins::{Kind, Pins};
use crate::terminal::{Transfer, say};

/// The three ways to the payload, as the error and the help name them.
const WAYS: &str = "\
give cri-resource-manager's payload in one of three ways:
  --cri-resmgr-archive FILE                     a release's archive, cri-resource-manager-<version>.x86_64.tar.gz;
                                                with --payload-sha256 HEX refused when the sha256 differs
  --payload-url URL --payload-sha256 HEX        the same, downloaded; refused when the sha256 differs
  --payload from-source                         built from its Go module (needs Go)
The policies of nri-plugins, the other backend, come into the same image:
  --nri-plugins from-source                     built from their Go module (needs Go); with no way to cri-resource-manager
                                                given, the image is for this backend alone";

/// Builds both images, with a software bill of materials for each, and packs the charts, reproducibly; pushes them where
/// asked, and writes down their digests.
#[derive(Debug, Args)]
#[command(after_help = WAYS)]
pub(crate) struct ImagesArgs {
    /// Registry, with a path where it has one; without it the images have bare names.
    #[arg(long, env = "REGISTRY")]
    registry: Option<String>,
    /// Tag of both images; a version, never `latest`.
    #[arg(long, default_value = env!("CARGO_PKG_VERSION"))]
    tag: String,
    /// Form of the files that are written.
    #[arg(long, value_enum, default_value_t = OutputForm::OciArchive)]
    output: OutputForm,
    /// Where they are written.
    #[arg(long, default_value = "dist")]
    dir: PathBuf,
    /// Platform to build for; repeat it for an image index.
    #[arg(long = "platform", default_value = "linux/amd64")]
    platforms: Vec<Platform>,
    /// Archive of a cri-resource-manager release.
    #[arg(long, value_name = "FILE", groups = ["way", "archive"])]
    cri_resmgr_archive: Option<PathBuf>,
    /// Where to download such an archive.
    #[arg(long, value_name = "URL", groups = ["way", "archive"], requires = "payload_sha256")]
    payload_url: Option<String>,
    /// The archive's sha256.
    #[arg(long, value_name = "HEX", requires = "archive")]
    payload_sha256: Option<Digest>,
    /// Build the payload.
    #[arg(long, value_enum, group = "way")]
    payload: Option<PayloadSource>,
    /// Build the policies of nri-plugins, too.
    #[arg(long, value_enum)]
    nri_plugins: Option<PayloadSource>,
    /// Push the images to the registry too.
    #[arg(long, requires = "registry")]
    push: bool,
    /// Give tags that are in the registry other content; without it that is refused.
    #[arg(long, requires = "push")]
    force: bool,
    /// The registry speaks HTTP without TLS (taken for granted on loopback).
    #[arg(long)]
    plain_http: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum OutputForm {
    OciArchive,
    DockerArchive,
    Layout,
}

impl From<OutputForm> for Output {
    fn from(form: OutputForm) -> Self {
        match form {
            OutputForm::OciArchive => Self::OciArchive,
            OutputForm::DockerArchive => Self::DockerArchive,
            OutputForm::Layout => Self::Layout,
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum PayloadSource {
    FromSource,
}

/// The payload's files, and its version where the archive's name has it.
struct Payload {
    tree: Tree,
    version: Option<String>,
}

/// What is there for one platform before any image is built.
struct BuildContext {
    platform: Platform,
    binaries: PathBuf,
    packages: Packages,
}

/// Runs the command in the repository at `root`.
pub(crate) fn run(args: &ImagesArgs, root: &Path) -> anyhow::Result<()> {
    let definitions = ImageDefinition::read_all(&root.join("deploy/images"))?;
    let charts =
        CHARTS.iter().map(|chart| Chart::pack_for(&root.join(chart), &args.tag)).collect::<Result<Vec<_>, _>>()?;
    let platforms: BTreeSet<Platform> = args.platforms.iter().copied().collect();
    check(args, &definitions, &charts, &platforms)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let payload = with_nri_plugins(runtime.block_on(find_payload(args, root))?, args, root)?;
    let facts = facts(args, root);
    let mut contexts = Vec::new();
    for platform in platforms {
        say(&format!("building the binaries for {platform}"));
        let packages = sbom::packages(root, platform)?;
        contexts.push(BuildContext { platform, binaries: binaries::build(root, platform)?, packages });
    }
    let (with, without): (Vec<_>, Vec<_>) = definitions.iter().partition(|definition| definition.needs_payload());
    let buildable = without.into_iter().chain(with.iter().copied().filter(|_| payload.is_some()));
    let mut pins = Pins::default();
    let mut not_attached = Vec::new();
    for chart in &charts {
        write_chart(args, chart, root, &runtime, &mut pins)?;
    }
    for definition in buildable {
        let tree = payload.as_ref().map(|payload| &payload.tree);
        let images = build(definition, &contexts, root, tree, &facts)?;
        let reference = Reference::new(args.registry.as_deref(), &definition.name, &args.tag)?;
        let digest = write(args, root, &images, &reference)?;
        pins.add(Kind::Image, Pinned { reference: reference.clone(), digest });
        let bills = write_bills(args, root, definition, &images, &reference, &contexts, payload.as_ref())?;
        if args.push {
            not_attached.extend(runtime.block_on(push(args, &images, &bills, &reference))?);
        }
    }
    write_pins(args, root, &pins)?;
    if let Some(error) = not_attached.into_iter().next() {
        return Err(error).context("all images are pushed, and not all of their bills of materials: push again");
    }
    match (payload, &with[..]) {
        (None, [definition, ..]) => bail!("image {} is not built: {WAYS}", definition.name),
        _ => Ok(()),
    }
}

/// Whatever would fail later is reported before minutes go into a build.
fn check(
    args: &ImagesArgs,
    definitions: &[ImageDefinition],
    charts: &[Chart],
    platforms: &BTreeSet<Platform>,
) -> anyhow::Result<()> {
    args.payload_url.as_deref().map(str::parse::<Source>).transpose().context("--payload-url")?;
    for (registry, chart) in args.registry.iter().flat_map(|registry| charts.iter().map(move |chart| (registry, chart)))
    {
        chart_reference(registry, chart)?;
    }
    for definition in definitions {
        Reference::new(args.registry.as_deref(), &definition.name, &args.tag)?;
        let (name, made_for) = (&definition.name, &definition.platforms);
        match made_for.iter().filter(|platform| platforms.contains(platform)).count() {
            0 => {
                let made_for: Vec<String> = made_for.iter().map(ToString::to_string).collect();
                bail!("nothing is built: {name} is made for {} alone; ask for that, too", made_for.join(", "));
            }
            1 => {}
            _ if matches!(args.output, OutputForm::DockerArchive) => {
                bail!("nothing is built: a docker-archive holds one platform; take oci-archive or layout")
            }
            _ => {}
        }
    }
    platforms.iter().try_for_each(|platform| Ok(toolchain::ensure(*platform)?))
}

/// A chart, too, leaves as a file, and goes where `helm push` would put it.
fn write_chart(
    args: &ImagesArgs,
    chart: &Chart,
    root: &Path,
    runtime: &tokio::runtime::Runtime,
    pins: &mut Pins,
) -> anyhow::Result<()> {
    let path = root.join(&args.dir).join(chart.file_name());
    layout::write_file(&path, &chart.archive)?;
    say(&format!("{} {}", chart.name, path.display()));
    let Some(registry) = &args.registry else { return Ok(()) };
    let reference = chart_reference(registry, chart)?;
    let digest = if args.push {
        runtime.block_on(async {
            let mut upload = Upload::begin(&reference, args.plain_http).await?.overwriting(args.force);
            upload.chart(chart, |_, _| ()).await
        })?
    } else {
        // As for images: what it will be, whoever pushes it.
        chart_digest(chart)?
    };
    let pinned = Pinned { reference, digest };
    if args.push {
        say(&format!("pushed {pinned}"));
    }
    pins.add(Kind::Chart, pinned);
    Ok(())
}

/// The digests, unless nobody will ever see them: what is loaded from a docker-archive gets another one where it is pushed.
fn write_pins(args: &ImagesArgs, root: &Path, pins: &Pins) -> anyhow::Result<()> {
    let path = root.join(Pins::path(&args.dir, &args.tag));
    if matches!(args.output, OutputForm::DockerArchive) && !args.push {
        return match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove {}", path.display()))
            }
            _ => Ok(()),
        };
    }
    layout::write_file(&path, pins.to_string().as_bytes())?;
    say(&format!("digests for `cargo xtask controller-registration --digests` in {}", path.display()));
    Ok(())
}

async fn find_payload(args: &ImagesArgs, root: &Path) -> anyhow::Result<Option<Payload>> {
    let version = |name: &str| payload::version_in(name).map(str::to_owned);
    let local = |path: &Path, sha256: Option<Digest>| {
        let tree = sha256.map_or_else(|| payload::read(path), |sha256| payload::read_verified(path, sha256))?;
        Ok(Some(Payload { tree, version: path.file_name().and_then(|name| version(&name.to_string_lossy())) }))
    };
    if let Some(path) = &args.cri_resmgr_archive {
        return local(path, args.payload_sha256);
    }
    let cache = cache_dir()?;
    if let (Some(url), Some(sha256)) = (&args.payload_url, args.payload_sha256) {
        let source: Source = url.parse()?;
        let path = cache.join(format!("payload-{}.tar.gz", sha256.hex()));
        let transfer = Transfer::begin(&format!("downloading {source}"));
        let report = |progress: Progress| transfer.at(progress.done, progress.total);
        payload::download(&source, sha256, &path, Limits::PAYLOAD, report).await?;
        return Ok(Some(Payload {
            tree: payload::read_verified(&path, sha256)?,
            version: version(source.file_name()),
        }));
    }
    if let Some(PayloadSource::FromSource) = args.payload {
        say("building cri-resource-manager from its Go module (minutes the first time)");
        return local(&payload::payload_from_source(root, &cache)?, None);
    }
    Ok(None)
}

/// The payload with the policies of nri-plugins in it, where they are asked for.
fn with_nri_plugins(payload: Option<Payload>, args: &ImagesArgs, root: &Path) -> anyhow::Result<Option<Payload>> {
    let Some(PayloadSource::FromSource) = args.nri_plugins else { return Ok(payload) };
    say("building the policies of nri-plugins from their Go module (minutes the first time)");
    let policies = payload::read_nri_plugins(&payload::nri_plugins_from_source(root, &cache_dir()?)?)?;
    let Payload { mut tree, version } = payload.unwrap_or_else(|| Payload { tree: Tree::new(), version: None });
    tree.graft("", &policies)?;
    Ok(Some(Payload { tree, version }))
}

/// The user's cache folder for this project.
fn cache_dir() -> anyhow::Result<PathBuf> {
    std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
        .map(|cache| cache.join("gardener-extension-cri-resmgr"))
        .context("neither XDG_CACHE_HOME nor a home folder is known")
}

fn build(
    definition: &ImageDefinition,
    contexts: &[BuildContext],
    root: &Path,
    payload: Option<&Tree>,
    facts: &Annotations,
) -> anyhow::Result<Vec<Image>> {
    let mut images = Vec::new();
    for BuildContext { platform, binaries, .. } in contexts {
        if !definition.platforms.contains(platform) {
            say(&format!("{} is not made for {platform}", definition.name));
            continue;
        }
        let layers = definition.layers(*platform, Inputs { root, binaries, payload })?;
        images.push(image::build(definition, *platform, &layers, facts)?);
    }
    Ok(images)
}

fn write(args: &ImagesArgs, root: &Path, images: &[Image], reference: &Reference) -> anyhow::Result<Digest> {
    let output = Output::from(args.output);
    let path = root.join(&args.dir).join(format!("{}-{}{}", reference.base_name(), reference.tag(), output.suffix()));
    let digest = layout::write(images, reference, output, &path)?;
    let bytes: usize = images.iter().flat_map(|image| &image.layers).map(|layer| layer.packed.content.len()).sum();
    say(&format!("{reference} {digest} {:.1} MiB in {}", mebibytes(bytes), path.display()));
    Ok(digest)
}

/// One bill for each platform, next to the archives and ready to be attached.
fn write_bills(
    args: &ImagesArgs,
    root: &Path,
    definition: &ImageDefinition,
    images: &[Image],
    reference: &Reference,
    contexts: &[BuildContext],
    payload: Option<&Payload>,
) -> anyhow::Result<Vec<Artifact>> {
    let mut bills = Vec::new();
    for image in images {
        let context = contexts.iter().find(|context| context.platform == image.platform);
        let packages = &context.context("an image of a platform that was not asked for")?.packages;
        let (tree, version) =
            (payload.map(|payload| &payload.tree), payload.and_then(|payload| payload.version.as_deref()));
        let parts = sbom::components(definition, packages, tree, version);
        let bill = sbom::document(image, reference, env!("CARGO_PKG_LICENSE"), &parts)?;
        let name = format!("{}-{}.{}.cdx.json", definition.name, reference.tag(), image.platform.architecture());
        let path = root.join(&args.dir).join(&name);
        layout::write_file(&path, &bill)?;
        say(&format!("bill of materials with {} parts in {}", parts.len(), path.display()));
        bills.push(Artifact::about(image, sbom::MEDIA_TYPE, &name, bill)?);
    }
    Ok(bills)
}

#[expect(clippy::cast_precision_loss, reason = "shown with one digit after the point")]
fn mebibytes(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Pushes an image, and its bills of materials as far as its registry takes them: none of them keeps the next image from being
/// pushed. What another try may mend is returned.
async fn push(
    args: &ImagesArgs,
    images: &[Image],
    bills: &[Artifact],
    reference: &Reference,
) -> anyhow::Result<Vec<image_builder::Error>> {
    let transfer = Transfer::begin(&format!("pushing {reference}"));
    let mut upload = Upload::begin(reference, args.plain_http).await?.overwriting(args.force);
    let digest = upload.images(images, |digest, size| transfer.part(&digest.to_string(), size as u64)).await?;
    drop(transfer);
    say(&format!("pushed {reference}@{digest}"));
    let mut failed = Vec::new();
    for bill in bills {
        match upload.referrer(bill, |_, _| ()).await {
            Ok(digest) => say(&format!("attached its bill of materials {digest} to {}", bill.subject)),
            Err(error) => {
                let place = args.dir.display();
                say(&format!("its bill of materials is in {place}, not attached to {}: {error}", bill.subject));
                failed.extend(Some(error).filter(|error| !error.is_refusal()));
            }
        }
    }
    Ok(failed)
}

/// What is true of both images. The revision is left out where there is none, and marked when files differ from it.
fn facts(args: &ImagesArgs, root: &Path) -> Annotations {
    let mut facts = vec![
        ("version", args.tag.clone()),
        ("source", env!("CARGO_PKG_REPOSITORY").to_owned()),
        ("licenses", env!("CARGO_PKG_LICENSE").to_owned()),
    ];
    if let Some(revision) = git(root, &["rev-parse", "--verify", "HEAD"]) {
        let modified = git(root, &["status", "--porcelain"]).is_none_or(|changes| !changes.is_empty());
        facts.push(("revision", if modified { format!("{revision}-modified") } else { revision }));
    }
    facts.into_iter().map(|(key, value)| (format!("org.opencontainers.image.{key}"), value)).collect()
}

/// What git prints; `None` where it fails or is not there.
pub(crate) fn git(root: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").current_dir(root).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
