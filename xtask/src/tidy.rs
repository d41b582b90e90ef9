//! `cargo xtask tidy`: the rules of ARCHITECTURE.md that a compiler does not check.

mod calls;
mod crates;
mod dependencies;
mod links;
mod modules;
mod retired;
mod texts;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail, ensure};
use clap::Args;

use crate::docs;
use crate::terminal::say;

/// Checks where the imports of crates and modules point, who may use which library, and what no file may say.
#[derive(Debug, Args)]
pub(crate) struct TidyArgs {}

/// Runs the command in the repository at `root`. All findings are shown before it fails.
pub(crate) fn run(_: &TidyArgs, root: &Path) -> anyhow::Result<()> {
    let mut findings = crates::check(&metadata(root)?);
    let (mut modules, mut dependencies) = (modules::Modules::default(), dependencies::Dependencies::default());
    let mut links = links::Links::default();
    let files = files(root)?;
    let documents = texts::documents(&files);
    let index = std::fs::read_to_string(root.join(docs::INDEX)).context(docs::INDEX)?;
    let unlisted = docs::unlisted(&index, files.iter().map(PathBuf::as_path))?;
    findings.extend(unlisted.iter().map(|page| format!("{} does not list {}", docs::INDEX, page.display())));
    for path in &files {
        // A file that is listed and gone is about to be deleted.
        let Ok(content) = std::fs::read(root.join(path)) else { continue };
        let text = String::from_utf8(content).ok();
        links.add(path, text.as_deref());
        // What is no text cannot break a rule about texts.
        if let Some(text) = text {
            findings.extend(texts::check(path, &text, &documents));
            findings.extend(calls::check(path, &text));
            findings.extend(retired::check(path, &text));
            modules.add(path, &text);
            dependencies.add(path, &text);
        }
    }
    findings.extend(modules.circles());
    findings.extend(links.broken());
    findings.extend(dependencies.unused());
    if findings.is_empty() {
        say("tidy");
        return Ok(());
    }
    for finding in &findings {
        say(finding);
    }
    bail!("{} findings", findings.len())
}

fn metadata(root: &Path) -> anyhow::Result<crates::Metadata> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let arguments = ["metadata", "--format-version", "1", "--no-deps"];
    let output = Command::new(cargo).current_dir(root).args(arguments).output().context("cannot start cargo")?;
    ensure!(output.status.success(), "cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).context("cargo metadata gave something unknown")
}

/// Everything that is, or is about to be, in the repository.
pub(crate) fn files(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let arguments = ["ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    let output = Command::new("git").current_dir(root).args(arguments).output().context("cannot start git")?;
    ensure!(output.status.success(), "git ls-files failed: {}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8(output.stdout).context("a file name is not UTF-8")?;
    Ok(names.split_terminator('\0').map(PathBuf::from).collect())
}
