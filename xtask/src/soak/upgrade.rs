//! From an earlier revision to this one, on a bed. The earlier one is built out of the repository's own history.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use extension_config::names;
use image_builder::image::Platform;

use super::SoakArgs;
use crate::artifacts;
use crate::terminal::say;
use crate::test::{self, Tally};

/// The last revision before the node agent had an admission policy and the daemon a confined unit.
pub(super) const DEFAULT_FROM: &str = "593e16a";

/// Needs what `cargo xtask test --real` needs, and the history of the repository.
pub(super) fn upgrade(root: &Path, args: &SoakArgs) -> anyhow::Result<String> {
    crate::bed::ensure_machine()?;
    let former = build(root, &args.from)?;
    let artifacts = artifacts::build(root, artifacts::Payload::CriResmgr)?;
    let mut tally = Tally::default();
    let arguments = ["--test-threads=1", "--nocapture", "--ignored", "upgrade::"];
    let variables = [&artifacts.to_env()[..], &former.to_env()].concat();
    test::run_tests(root, ("e2e", Some("real")), &arguments, &variables, &mut tally)?;
    ensure!(tally.failed == 0 && tally.passed > 0, "{} passed, {} failed", tally.passed, tally.failed);
    Ok(format!("from {}", former.revision))
}

/// An earlier revision, built.
struct Former {
    revision: String,
    dir: PathBuf,
}

impl Former {
    fn checkout(&self) -> PathBuf {
        self.dir.join("checkout")
    }

    fn dist(&self) -> PathBuf {
        self.dir.join("dist")
    }

    fn controller(&self) -> PathBuf {
        let programs = self.dir.join("target").join(Platform::LinuxAmd64.rust_target()).join("release");
        programs.join(names::CONTROLLER_NAME)
    }

    fn to_env(&self) -> [(&'static str, String); 4] {
        let path = |path: PathBuf| path.display().to_string();
        let (name, tag) = (names::INSTALLATION_IMAGE, &self.revision);
        [
            ("E2E_FORMER_CHECKOUT", path(self.checkout())),
            ("E2E_FORMER_CONTROLLER", path(self.controller())),
            ("E2E_FORMER_INSTALLATION_IMAGE", path(self.dist().join(format!("{name}-{tag}.docker.tar")))),
            ("E2E_FORMER_INSTALLATION_IMAGE_NAME", format!("{}/{name}:{tag}", artifacts::REGISTRY)),
        ]
    }
}

/// Builds `revision` with its own command, once: what is in the cache under its full name is whole.
fn build(root: &Path, revision: &str) -> anyhow::Result<Former> {
    let commit = format!("{revision}^{{commit}}");
    let revision = output(Command::new("git").args(["rev-parse", "--verify", "--quiet", &commit]).current_dir(root))
        .with_context(|| format!("this checkout's history has no revision {revision:?}"))?;
    let dir = testbed::cache_dir()?.join("revisions").join(&revision);
    let former = Former { revision, dir };
    let done = former.dir.join("done");
    if done.exists() {
        return Ok(former);
    }
    say(&format!("== building {} (once; minutes)", former.revision));
    let checkout = former.checkout();
    if checkout.exists() {
        std::fs::remove_dir_all(&checkout).with_context(|| format!("cannot remove {}", checkout.display()))?;
    }
    std::fs::create_dir_all(&former.dir)?;
    run(Command::new("git").args(["clone", "--quiet", "--no-checkout"]).arg(root).arg(&checkout))?;
    run(Command::new("git").args(["checkout", "--quiet", "--detach", &former.revision]).current_dir(&checkout))?;
    let mut images = image_builder::binaries::cargo();
    images
        .args(["xtask", "images", "--payload", "from-source", "--output", "docker-archive"])
        .args(["--registry", artifacts::REGISTRY, "--tag", &former.revision, "--dir"])
        .arg(former.dist())
        .current_dir(&checkout)
        .env("CARGO_TARGET_DIR", former.dir.join("target"));
    // What cargo hands this program is about this checkout.
    for key in ["CARGO", "CARGO_MANIFEST_DIR"] {
        images.env_remove(key);
    }
    run(&mut images)?;
    ensure!(former.controller().exists(), "the build has left no {}", former.controller().display());
    std::fs::write(done, "")?;
    Ok(former)
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("cannot start {name}"))?;
    ensure!(status.success(), "{name} ended with {status}");
    Ok(())
}

fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output()?;
    ensure!(output.status.success(), "ended with {}", output.status);
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
