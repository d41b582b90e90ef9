//! What hostile configurations cost at most, and whether the daemon reads what we have checked.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};

use super::SoakArgs;
use crate::terminal::say;

/// The test of `extension-config` that asserts it, as a release and in all lengths.
pub(super) fn configurations(root: &Path, _: &SoakArgs) -> anyhow::Result<String> {
    let said = test(root, &["--test", "hostile"], &["--nocapture"], &[("HOSTILE_ALL_LENGTHS", "1".to_owned())])?;
    let texts = said.lines().filter(|line| line.contains(" bytes ") && line.contains(" KiB ")).count();
    ensure!(texts > 0, "nothing was tried");
    Ok(format!("{texts} texts, each within its bounds"))
}

/// Against the library itself, in the version that the daemon has.
pub(super) fn differential(root: &Path, args: &SoakArgs) -> anyhow::Result<String> {
    let time = args.time();
    let work = testbed::cache_dir()?.join("soak");
    std::fs::create_dir_all(&work).with_context(|| format!("cannot make {}", work.display()))?;
    let program = work.join("yaml-to-json");
    let mut build = Command::new("go");
    build.args(["build", "-trimpath", "-o"]).arg(&program).arg(".");
    let status = build.current_dir(root.join("deploy/testbed/yaml")).status().context("cannot run go")?;
    ensure!(status.success(), "the program with the daemon's YAML library cannot be built");
    let variables = [("YAML_TO_JSON", program.display().to_string()), ("YAML_SECONDS", time.as_secs().to_string())];
    let said = test(root, &["--test", "yaml"], &["--ignored", "--nocapture"], &variables)?;
    let reported =
        said.lines().find_map(|line| line.split_once("YAML ")).context("the test does not say what it did")?;
    Ok(reported.1.to_owned())
}

fn test(root: &Path, which: &[&str], how: &[&str], variables: &[(&str, String)]) -> anyhow::Result<String> {
    let mut command = image_builder::binaries::cargo();
    command.args(["test", "--release", "--locked", "--package", "extension-config"]).args(which);
    command.args(["--config", "profile.release.lto=false", "--"]).args(how);
    let output = command
        .current_dir(root)
        .envs(variables.iter().map(|(name, value)| (*name, value)))
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    say(&said);
    ensure!(output.status.success(), "some texts do not hold");
    Ok(said)
}
