//! `cargo xtask kind-load`: the images into the nodes of a kind cluster.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use extension_config::names::CONTROLLER_NAME;
use image_builder::layout::Output;

use crate::terminal::say;

/// The forms of archive that kind takes.
const FORMS: [Output; 2] = [Output::OciArchive, Output::DockerArchive];

/// Loads what `cargo xtask images` wrote into the nodes of a kind cluster.
#[derive(Debug, Args)]
pub(crate) struct KindLoadArgs {
    /// Name of the kind cluster.
    #[arg(long, default_value = "gardener-local")]
    name: String,
    /// Where the archives are.
    #[arg(long, default_value = "dist")]
    dir: PathBuf,
}

/// Runs the command in the repository at `root`.
pub(crate) fn run(args: &KindLoadArgs, root: &Path) -> anyhow::Result<()> {
    let dir = root.join(&args.dir);
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    let archives = archives(names);
    if archives.is_empty() {
        bail!("no archives in {}: run `cargo xtask images` first", dir.display());
    }
    for name in archives {
        if let Some(newer) = newer_form(&dir, &name)? {
            say(&format!("leaving out {name}: {newer} is newer"));
            continue;
        }
        say(&format!("loading {name} into {}", args.name));
        let status = Command::new("kind")
            .args(["load", "image-archive"])
            .arg(dir.join(&name))
            .args(["--name", &args.name])
            .status()
            .context("cannot start kind: is it installed?")?;
        ensure!(status.success(), "kind could not load {name} ({status})");
    }
    Ok(())
}

/// The archives of our images among the files of a folder, sorted.
fn archives(mut names: Vec<String>) -> Vec<String> {
    names.retain(|name| name.starts_with(CONTROLLER_NAME) && FORMS.iter().any(|form| name.ends_with(form.suffix())));
    names.sort();
    names
}

/// The archive of the same image in the other form, if it is newer. Both hold one name, which in a node belongs to what was
/// loaded last: an old build would take it from a new one.
fn newer_form(dir: &Path, name: &str) -> anyhow::Result<Option<String>> {
    let age = |name: &str| {
        let path = dir.join(name);
        match path.metadata().and_then(|metadata| metadata.modified()) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            other => other.map(Some).with_context(|| format!("cannot look at {}", path.display())),
        }
    };
    let own = age(name)?;
    for form in FORMS {
        let Some(stem) = name.strip_suffix(form.suffix()) else { continue };
        for other in FORMS.into_iter().filter(|other| *other != form) {
            let other = format!("{stem}{}", other.suffix());
            if age(&other)? > own {
                return Ok(Some(other));
            }
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn only_our_archives_are_loaded_into_kind() {
        let names = [
            "gardener-extension-cri-resmgr-installation-0.1.0.oci.tar",
            "gardener-extension-cri-resmgr-0.1.0.docker.tar",
            "gardener-extension-cri-resmgr-0.1.0.tgz",
            "gardener-extension-cri-resmgr-0.1.0.oci",
            ".gardener-extension-cri-resmgr-0.1.0.oci.tar.77",
            "other.oci.tar",
        ];
        assert_eq!(
            archives(names.map(str::to_owned).to_vec()),
            [
                "gardener-extension-cri-resmgr-0.1.0.docker.tar",
                "gardener-extension-cri-resmgr-installation-0.1.0.oci.tar"
            ]
        );
    }

    #[test]
    fn an_older_build_in_the_other_form_is_left_out() -> anyhow::Result<()> {
        let dir = tempfile::tempdir()?;
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        for (name, age) in
            [("a.oci.tar", 1), ("a.docker.tar", 2), ("b.oci.tar", 2), ("b.docker.tar", 1), ("c.oci.tar", 3)]
        {
            std::fs::File::create(dir.path().join(name))?.set_modified(now - Duration::from_secs(age))?;
        }
        for (name, newer) in [
            ("a.oci.tar", None),
            ("a.docker.tar", Some("a.oci.tar")),
            ("b.oci.tar", Some("b.docker.tar")),
            ("b.docker.tar", None),
            ("c.oci.tar", None),
        ] {
            assert_eq!(newer_form(dir.path(), name)?.as_deref(), newer, "{name}");
        }
        Ok(())
    }
}
