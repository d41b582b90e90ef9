//! `cargo xtask docs`: all pages as one site with search. The files stay what they are, readable in the repository; the site is made of copies.
//!
//! `docs/README.md`, the index by role, is the table of contents: a page that is not in it is an error.

mod contents;
mod html;
mod renew;

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail, ensure};
use clap::Args;

use crate::terminal::say;
use contents::Contents;

/// Version of mdBook, and its only feature that is wanted: without those for its server it is built in half the time.
const MDBOOK: (&str, &str) = ("0.5.4", "search");
/// The table of contents.
pub(crate) const INDEX: &str = "docs/README.md";
/// What a command printed is read to its end, without a scroll bar.
const STYLE: (&str, &str) = (
    "site.css",
    "pre > code.language-console, pre > code.language-sh { white-space: pre-wrap; overflow-wrap: anywhere; }\n",
);
/// Where links to what is no page lead.
const REPOSITORY: &str = env!("CARGO_PKG_REPOSITORY");

/// Makes one site with search of all pages, by mdBook, which is built from crates.io where it is missing (once; a minute or two).
#[derive(Debug, Args)]
pub(crate) struct DocsArgs {
    /// Where to: `html/index.html` is the first page.
    #[arg(long, default_value = "dist/docs", value_name = "FOLDER")]
    output: PathBuf,
    /// Instead brings a bed up, gives the commands whose output pages show, and writes into the pages what has changed. Needs root and Go.
    #[arg(long, conflicts_with = "output")]
    renew: bool,
}

/// Runs the command in the repository at `root`.
pub(crate) fn run(args: &DocsArgs, root: &Path) -> anyhow::Result<()> {
    if args.renew {
        return renew::run(root);
    }
    ensure_mdbook(root)?;
    let folder = root.join(&args.output);
    if folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| format!("cannot clear {}", folder.display()))?;
    }
    let read = |path: &Path| std::fs::read_to_string(root.join(path)).with_context(|| format!("{}", path.display()));
    let contents = Contents::read(&read(Path::new(INDEX))?)?;
    let pages: BTreeSet<PathBuf> = contents.pages().map(Path::to_path_buf).collect();
    for page in &pages {
        let site = Site { pages: &pages, page };
        write(&folder.join("src").join(place(page)), &site.rewritten(&read(page)?))?;
    }
    for picture in pictures(root)? {
        let to = folder.join("src").join(&picture);
        std::fs::create_dir_all(to.parent().context("a picture without a folder")?)?;
        std::fs::copy(root.join(&picture), &to).with_context(|| picture.display().to_string())?;
    }
    write(&folder.join("src/SUMMARY.md"), &contents.summary())?;
    write(&folder.join("book.toml"), &book())?;
    write(&folder.join(STYLE.0), STYLE.1)?;
    let output = Command::new("mdbook").arg("build").arg(&folder).output().context("cannot start mdbook")?;
    let printed = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success() && !printed.contains("ERROR") && !printed.contains(" WARN "),
        "mdbook build: {printed}"
    );
    let dead = html::dead_links(&folder.join("html"))?;
    for link in &dead {
        say(link);
    }
    ensure!(dead.is_empty(), "{} links of the site lead nowhere", dead.len());
    say(&format!("{} pages: {}", pages.len(), folder.join("html/index.html").display()));
    Ok(())
}

/// Whether mdBook is here.
pub(crate) fn has_mdbook() -> bool {
    Command::new("mdbook").arg("--version").output().is_ok_and(|output| output.status.success())
}

/// Built once, into the user's folder of cargo's programs.
pub(crate) fn ensure_mdbook(root: &Path) -> anyhow::Result<()> {
    if has_mdbook() {
        return Ok(());
    }
    let (version, feature) = MDBOOK;
    say("== building mdbook (once; a minute or two)");
    let words = [
        "install",
        "--locked",
        "--quiet",
        "mdbook",
        "--version",
        version,
        "--no-default-features",
        "--features",
        feature,
    ];
    let status = Command::new("cargo").args(words).current_dir(root).status().context("cannot start cargo")?;
    ensure!(status.success(), "cargo install mdbook ended with {status}");
    Ok(())
}

fn book() -> String {
    format!(
        "[book]\ntitle = \"gardener-extension-cri-resmgr\"\nlanguage = \"en\"\nsrc = \"src\"\n\n[build]\nbuild-dir = \"html\"\ncreate-missing = false\n\n\
         [output.html]\ngit-repository-url = \"{REPOSITORY}\"\nno-section-label = true\nadditional-css = [\"{}\"]\n\n[output.html.fold]\nenable = true\nlevel = 1\n",
        STYLE.0
    )
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    std::fs::create_dir_all(path.parent().context("a file without a folder")?)?;
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Pictures of pages.
fn pictures(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root.join("docs"))? {
        let name = entry?.file_name();
        if Path::new(&name).extension().is_some_and(|extension| extension == "svg" || extension == "png") {
            found.push(Path::new("docs").join(name));
        }
    }
    Ok(found)
}

/// Where a page stands in the site: what a repository shows as README is a folder's index here.
fn place(page: &Path) -> PathBuf {
    if page.ends_with("README.md") { page.with_file_name("index.md") } else { page.to_path_buf() }
}

/// A page on its way into the site.
struct Site<'a> {
    pages: &'a BTreeSet<PathBuf>,
    page: &'a Path,
}

impl Site<'_> {
    /// The page with each link leading into the site, or, where it is to no page, into the repository.
    fn rewritten(&self, text: &str) -> String {
        let mut is_code = false;
        let mut out = String::with_capacity(text.len());
        for line in text.split_inclusive('\n') {
            if line.trim_start().starts_with("```") {
                is_code = !is_code;
            }
            if is_code {
                out += line;
                continue;
            }
            let mut rest = line;
            while let Some((before, after)) = rest.split_once("](") {
                let Some((target, after)) = after.split_once(')') else { break };
                out += before;
                out += "](";
                out += &self.target(target);
                out.push(')');
                rest = after;
            }
            out += rest;
        }
        out
    }

    fn target(&self, to: &str) -> String {
        let (path, anchor) = to.split_once('#').map_or((to, None), |(path, anchor)| (path, Some(anchor)));
        if path.is_empty() || path.contains(':') {
            return to.to_owned();
        }
        let anchor = anchor.map(|anchor| format!("#{anchor}")).unwrap_or_default();
        let file = normal(&self.page.parent().unwrap_or(Path::new("")).join(path));
        let is_picture = file.extension().is_some_and(|extension| extension == "svg" || extension == "png");
        if self.pages.contains(&file) || is_picture {
            let up = "../".repeat(self.page.components().count() - 1);
            return format!("{up}{}{anchor}", place(&file).display());
        }
        format!("{REPOSITORY}/blob/HEAD/{}{anchor}", file.display())
    }
}

/// A path without `.` and `..`.
fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(part) => out.push(part),
            Component::ParentDir => drop(out.pop()),
            _ => {}
        }
    }
    out
}

/// Pages of the repository that the index does not list.
///
/// # Errors
/// When the index cannot be read.
pub(crate) fn unlisted<'a>(index: &str, files: impl Iterator<Item = &'a Path>) -> anyhow::Result<Vec<&'a Path>> {
    let contents = Contents::read(index)?;
    let listed: BTreeSet<&Path> = contents.pages().collect();
    if listed.is_empty() {
        bail!("{INDEX} lists no page");
    }
    let is_page = |file: &&Path| file.extension().is_some_and(|extension| extension == "md");
    Ok(files.filter(is_page).filter(|file| !listed.contains(file)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_lead_to_pages_of_the_site_and_else_into_the_repository() {
        let pages = ["README.md", "docs/README.md", "docs/a.md", "docs/decisions/1.md"].map(PathBuf::from).into();
        let site = Site { pages: &pages, page: Path::new("docs/decisions/1.md") };
        for (link, expected) in [
            ("../a.md#part", "../../docs/a.md#part".to_owned()),
            ("../README.md", "../../docs/index.md".to_owned()),
            ("../../README.md", "../../index.md".to_owned()),
            ("../demo.svg", "../../docs/demo.svg".to_owned()),
            ("#here", "#here".to_owned()),
            ("https://example.com/a.md", "https://example.com/a.md".to_owned()),
            ("../../crates/x/src/a.rs", format!("{REPOSITORY}/blob/HEAD/crates/x/src/a.rs")),
            ("../../charts/", format!("{REPOSITORY}/blob/HEAD/charts")),
        ] {
            assert_eq!(site.rewritten(&format!("x [y]({link}), z\n")), format!("x [y]({expected}), z\n"));
        }
        let code = "```sh\n[y](../a.md)\n```\n[open](\n";
        assert_eq!(site.rewritten(code), code);
    }

    #[test]
    fn a_page_that_the_index_does_not_list_is_found() {
        let files = ["docs/a.md", "docs/b.md", "docs/c.yaml", INDEX].map(Path::new);
        let found = unlisted("# Index\n\n## Part\n\n- [A](a.md): of a\n", files.into_iter()).unwrap();
        assert_eq!(found, [Path::new("docs/b.md")]);
        assert!(unlisted("# Index\n", files.into_iter()).is_err());
    }
}
