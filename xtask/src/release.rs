//! `cargo xtask release`: everything that a release consists of, in one folder, from a clean checkout.
//!
//! Images, chart, bills of materials and digests are those of `cargo xtask images`; added are the registration that pins them, release notes,
//! a component descriptor, a statement of provenance and checksums of all of it. Nothing is signed and no tag is made: both need keys
//! and rights that are a maintainer's ([CONTRIBUTING.md](../../CONTRIBUTING.md)).

mod changelog;
mod component;
mod provenance;
mod readiness;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use image_builder::{Digest, layout};

use crate::controller_registration::CHARTS;
use crate::pins::Pins;
use crate::terminal::say;
use readiness::{Facts, obstacles};

/// The version that is released: the workspace's.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Makes a release: images, charts, bills of materials, registration, notes, component descriptor, provenance and checksums.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "flags of a command line")]
pub(crate) struct ReleaseArgs {
    /// Registry that the images and the charts are for, with a path where it has one.
    #[arg(long, env = "REGISTRY")]
    registry: String,
    /// Where everything is written; must not exist yet.
    #[arg(long, default_value = concat!("dist/release-", env!("CARGO_PKG_VERSION")))]
    dir: PathBuf,
    /// Push images, charts and bills of materials too.
    #[arg(long)]
    push: bool,
    /// The registry speaks HTTP without TLS (taken for granted on loopback).
    #[arg(long)]
    plain_http: bool,
    /// Only say what is in the way of a release.
    #[arg(long)]
    check: bool,
    /// Make the files although something is in the way, to look at them; nothing is pushed then.
    #[arg(long, conflicts_with_all = ["push", "check"])]
    rehearsal: bool,
}

/// Runs the command in the repository at `root`.
pub(crate) fn run(args: &ReleaseArgs, root: &Path) -> anyhow::Result<()> {
    let dir = root.join(&args.dir);
    let facts = Facts::read(root, VERSION, dir.exists())?;
    let found = obstacles(&facts);
    for obstacle in &found {
        say(&format!("in the way of {VERSION}: {obstacle}"));
    }
    if args.check {
        ensure!(found.is_empty(), "{} things are in the way", found.len());
        say(&format!("{VERSION} can be released"));
        return Ok(());
    }
    if !found.is_empty() && !args.rehearsal {
        bail!(
            "{} things are in the way of {VERSION}; see them with --check, or make the files alone with --rehearsal",
            found.len()
        );
    }
    build(args, root)?;
    let pins = Pins::read(&root.join(Pins::path(&args.dir, VERSION)))?;
    let revision = facts.revision.as_deref().unwrap_or_default();
    layout::write_file(&dir.join("NOTES.md"), facts.notes.as_deref().unwrap_or("(no notes)\n").as_bytes())?;
    let component = component::descriptor(VERSION, revision, &pins)?;
    layout::write_file(&dir.join("component-descriptor.yaml"), component.as_bytes())?;
    // Last of all, over what is there.
    let subjects = subjects(&dir)?;
    let provenance = provenance::statement(VERSION, &args.registry, revision, &subjects, &provenance::inputs(root)?);
    layout::write_file(&dir.join("provenance.intoto.json"), provenance.as_bytes())?;
    let sums: Vec<String> = subjects.iter().map(|(name, digest)| format!("{}  {name}\n", digest.hex())).collect();
    layout::write_file(&dir.join("SHA256SUMS"), sums.concat().as_bytes())?;
    say(&format!("{} files of {VERSION} in {}", subjects.len() + 2, dir.display()));
    Ok(())
}

/// As a person would make them, with the payload from source: no other way is reproducible by everybody.
fn build(args: &ReleaseArgs, root: &Path) -> anyhow::Result<()> {
    let dir = args.dir.display().to_string();
    let mut words =
        vec!["images", "--registry", &args.registry, "--tag", VERSION, "--payload", "from-source", "--dir", &dir];
    words.extend(args.push.then_some("--push"));
    words.extend(args.plain_http.then_some("--plain-http"));
    crate::within(&words, root)?;
    let digests = Pins::path(&args.dir, VERSION).display().to_string();
    // For the operator, and for landscapes that register by hand, of any age.
    for (file, form) in [
        ("extension.yaml", &["--gardener", "new", "--deployment", "operator-extension"][..]),
        ("controller-registration.yaml", &[]),
    ] {
        let output = args.dir.join(file).display().to_string();
        let words = [&["controller-registration", "--digests", &digests, "--output", &output], form].concat();
        crate::within(&words, root).with_context(|| format!("cannot make {file}"))?;
    }
    Ok(())
}

/// Every file in the folder, by name.
fn subjects(dir: &Path) -> anyhow::Result<Vec<(String, Digest)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).context("a file's name is not UTF-8")?.to_owned();
        found.push((name, Digest::of(&std::fs::read(&path)?)));
    }
    found.sort();
    Ok(found)
}

/// Each chart's folder, its own version and that of its application.
fn chart_versions(root: &Path) -> anyhow::Result<Vec<(&'static str, String, String)>> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Metadata {
        version: String,
        app_version: String,
    }
    let read = |chart: &'static str| {
        let path = root.join(chart).join("Chart.yaml");
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let metadata: Metadata =
            serde_saphyr::from_str(&text).with_context(|| format!("{} is no chart's", path.display()))?;
        Ok((chart, metadata.version, metadata.app_version))
    };
    CHARTS.into_iter().map(read).collect()
}
