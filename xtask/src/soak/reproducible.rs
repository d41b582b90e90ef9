//! Two builds of one revision, each from nothing: the same digests, or somebody else's build cannot be compared with ours.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, bail, ensure};
use image_builder::Digest;

use super::SoakArgs;
use crate::terminal::say;

/// Folders of the two clones: other names of other length, so that a path that leaks into a file makes a difference.
const CLONES: [&str; 2] = ["one", "another/and-deeper"];
/// What each of them is built under; a umask must not show in an image.
const UMASKS: [&str; 2] = ["022", "077"];
const TAG: &str = "0.0.0-reproducible";

/// Builds both images, the payload from source, in two clones of HEAD with nothing in common but the toolchains and
/// the downloaded crates and Go modules, one after the other. It takes as long as it takes.
pub(super) fn images(root: &Path, _: &SoakArgs) -> anyhow::Result<String> {
    let work = tempfile::Builder::new().prefix("reproducible-").tempdir().context("no temporary folder")?;
    let mut builds = Vec::new();
    for (clone, umask) in CLONES.iter().zip(UMASKS) {
        let start = Instant::now();
        let artefacts = build(root, &work.path().join(clone), umask)?;
        say(&format!("-- built in {clone} with umask {umask} within {:.0?}", start.elapsed()));
        for (name, digest) in &artefacts.files {
            say(&format!("--   {name} {digest}"));
        }
        builds.push(artefacts);
    }
    let [one, other] = &builds[..] else { bail!("there are not two builds") };
    compare(one, other)
}

/// What was made: each image with what the command says of it, and the digest of each file in `dist`.
#[derive(Debug, PartialEq, Eq)]
struct Artefacts {
    images: BTreeMap<String, String>,
    files: BTreeMap<String, Digest>,
}

fn build(root: &Path, clone: &Path, umask: &str) -> anyhow::Result<Artefacts> {
    run(Command::new("git").args(["clone", "--quiet", "--no-hardlinks"]).arg(root).arg(clone))?;
    // Everything that a build leaves behind is its own, Go's cache and the finished payload included; and it lies outside of
    // the clone, which would count as modified with it.
    let scratch = clone.with_extension("scratch");
    let script = format!("umask {umask} && exec cargo xtask images --payload from-source --tag {TAG}");
    let mut command = Command::new("sh");
    command
        .args(["-c", &script])
        .current_dir(clone)
        .env("CARGO_TARGET_DIR", scratch.join("target"))
        .env("XDG_CACHE_HOME", scratch.join("cache"))
        .env("GOCACHE", scratch.join("go"));
    // What cargo hands this program is about this checkout.
    for key in ["CARGO", "CARGO_MANIFEST_DIR", "REGISTRY"] {
        command.env_remove(key);
    }
    let said = run(&mut command)?;
    let images: BTreeMap<String, String> = said.lines().filter_map(reported).collect();
    ensure!(images.len() == 2, "the command named {} images, not of two:\n{said}", images.len());
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(clone.join("dist")).context("the command has made no dist")? {
        let path = entry?.path();
        let content = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        files.insert(path.file_name().unwrap_or_default().to_string_lossy().into_owned(), Digest::of(&content));
    }
    ensure!(files.len() == 5, "{files:?} in dist, expected two images, two bills of materials and the chart");
    Ok(Artefacts { images, files })
}

/// Name and digest with size, from a line such as `NAME:TAG sha256:… 1.2 MiB in PATH`.
fn reported(line: &str) -> Option<(String, String)> {
    let (reference, rest) = line.split_once(' ')?;
    let (what, _path) = rest.split_once(" in ")?;
    let name = reference.strip_suffix(&format!(":{TAG}"))?.to_owned();
    what.starts_with("sha256:").then(|| (name, what.to_owned()))
}

fn compare(one: &Artefacts, other: &Artefacts) -> anyhow::Result<String> {
    ensure!(one == other, "two builds of one revision differ: {one:?} and {other:?}");
    let all: Vec<String> = one.images.iter().map(|(name, reported)| format!("{name} {reported}")).collect();
    Ok(format!("equal: {}", all.join("; ")))
}

/// Runs it to its end, shows what it says on standard error, and gives that.
fn run(command: &mut Command) -> anyhow::Result<String> {
    use std::io::{BufRead as _, BufReader};
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {name}"))?;
    let mut said = String::new();
    for line in BufReader::new(child.stderr.take().context("its standard error is piped")?).lines() {
        let line = line?;
        say(&line);
        said.push_str(&line);
        said.push('\n');
    }
    let status = child.wait()?;
    ensure!(status.success(), "{name} ended with {status}");
    Ok(said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_found_in_the_output_of_the_command() {
        let line = format!("some-image:{TAG} sha256:ab 1.2 MiB in /tmp/x y/dist");
        assert_eq!(reported(&line), Some(("some-image".to_owned(), "sha256:ab 1.2 MiB".to_owned())));
        for other in ["some-image:1 sha256:ab 1.2 MiB in /tmp", "bill of materials with 3 parts in /tmp", ""] {
            assert_eq!(reported(other), None, "{other}");
        }
    }

    #[test]
    fn one_differing_digest_is_reported_as_a_difference() {
        let artefacts = |reported: &str, file: &[u8]| Artefacts {
            images: BTreeMap::from([("image".to_owned(), reported.to_owned())]),
            files: BTreeMap::from([("bill".to_owned(), Digest::of(file))]),
        };
        let one = artefacts("sha256:a", b"x");
        assert_eq!(compare(&one, &artefacts("sha256:a", b"x")).unwrap(), "equal: image sha256:a");
        for other in [artefacts("sha256:b", b"x"), artefacts("sha256:a", b"y")] {
            let error = compare(&one, &other).unwrap_err();
            assert!(error.to_string().contains("differ"), "{error}");
        }
    }
}
