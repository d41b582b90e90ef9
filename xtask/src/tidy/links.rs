//! Links of pages into the repository: the file is there, and so is the name that the link shows.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

/// Words before a name where Rust defines it.
const DEFINES: [&str; 8] = ["fn", "struct", "enum", "trait", "type", "const", "static", "mod"];

/// What pages link to, and the files that there are.
#[derive(Debug, Default)]
pub(super) struct Links {
    found: Vec<Link>,
    /// Texts of source files, and nothing for the others.
    files: BTreeMap<PathBuf, Option<String>>,
    /// Of each page the places that a link can name.
    anchors: BTreeMap<PathBuf, BTreeSet<String>>,
}

#[derive(Debug)]
struct Link {
    page: PathBuf,
    line: usize,
    /// What the link shows, where that is one name in back-ticks.
    name: Option<String>,
    target: PathBuf,
    /// The place in the page.
    anchor: Option<String>,
}

impl Links {
    /// Takes note of a file of the repository; `path` is relative to it.
    pub(super) fn add(&mut self, path: &Path, text: Option<&str>) {
        let has = |extension: &str| path.extension().is_some_and(|found| found == extension);
        if let Some(page) = text.filter(|_| has("md")) {
            for (line, text) in (1..).zip(page.lines()) {
                self.found.extend(links(text).filter_map(|(shown, to)| link(path, line, shown, to)));
            }
            self.anchors.insert(path.to_owned(), anchors(page));
        }
        self.files.insert(path.to_owned(), text.filter(|_| has("rs")).map(str::to_owned));
    }

    /// Each that leads nowhere, as a line for people.
    pub(super) fn broken(&self) -> Vec<String> {
        self.found.iter().filter_map(|link| self.fault(link)).collect()
    }

    fn fault(&self, link: &Link) -> Option<String> {
        let place = format!("{}:{}", link.page.display(), link.line);
        let target = link.target.display();
        let Some(file) = self.files.get(&link.target) else {
            let is_folder = self.files.keys().any(|path| path.starts_with(&link.target));
            return (!is_folder).then(|| format!("{place} links to {target}, which is not in the repository"));
        };
        if let (Some(anchor), Some(anchors)) = (&link.anchor, self.anchors.get(&link.target))
            && !anchors.contains(anchor)
        {
            return Some(format!("{place} links to #{anchor} in {target}, which has no such heading"));
        }
        let (name, text) = (link.name.as_ref()?, file.as_ref()?);
        let is_module = link.target.file_stem().is_some_and(|stem| stem == name.as_str());
        (!is_module && !defines(text, name)).then(|| format!("{place} links to {name} in {target}, which has none"))
    }
}

/// Text and target of each link in a line.
fn links(line: &str) -> impl Iterator<Item = (&str, &str)> {
    line.match_indices("](").filter_map(|(at, _)| {
        let shown = line[..at].rsplit_once('[')?.1;
        let to = line[at + 2..].split_once(')')?.0;
        Some((shown, to))
    })
}

/// The link, if it stays in the repository.
fn link(page: &Path, line: usize, shown: &str, to: &str) -> Option<Link> {
    let (path, anchor) = to.split_once('#').map_or((to, None), |(path, anchor)| (path, Some(anchor.to_owned())));
    if path.contains(':') || to.is_empty() {
        return None;
    }
    let mut target = PathBuf::new();
    let file = if path.is_empty() { page.to_owned() } else { page.parent()?.join(path) };
    for part in file.components() {
        match part {
            Component::Normal(part) => target.push(part),
            Component::ParentDir => drop(target.pop()),
            _ => {}
        }
    }
    let name = shown.strip_prefix('`').and_then(|shown| shown.strip_suffix('`'));
    let is_name = |name: &&str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    Some(Link { page: page.to_owned(), line, name: name.filter(is_name).map(str::to_owned), target, anchor })
}

/// The places in a page that a link can name: its headings, as GitHub and mdBook spell them.
fn anchors(page: &str) -> BTreeSet<String> {
    let mut is_code = false;
    let mut found = BTreeSet::new();
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        }
        let title = line.trim_start_matches('#');
        if is_code || title.len() == line.len() || !title.starts_with(' ') {
            continue;
        }
        let title = title.trim().to_lowercase();
        let kept = title.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        found.insert(kept.map(|c| if c == ' ' { '-' } else { c }).collect());
    }
    found
}

/// Whether a source file defines the name, by itself or as a variant of an enum.
fn defines(text: &str, name: &str) -> bool {
    let is_end = |c: char| !c.is_alphanumeric() && c != '_';
    text.match_indices(name).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + name.len()..]);
        let word = before.trim_end().rsplit(is_end).next().unwrap_or_default();
        before.ends_with(' ') && DEFINES.contains(&word) && after.chars().next().is_none_or(is_end)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(page: &str) -> Vec<String> {
        let mut links = Links::default();
        links.add(Path::new("docs/page.md"), Some(page));
        links.add(Path::new("README.md"), Some("# It\n\n## Part\n\n## A `b`: c, d (v1.2)?\n\n```sh\n# no part\n```\n"));
        links.add(Path::new("crates/x/src/plan.rs"), Some("pub struct Plan;\npub(crate) fn steps<T>() {}\n// fn gone"));
        links.broken()
    }

    #[test]
    fn a_link_to_what_is_there_is_fine() {
        for page in [
            "[a](../README.md#part), [b](page.md), [c](../README.md#a-b-c-d-v12), [d](https://example.com/x.md), [e](../crates/x)",
            "[`Plan`](../crates/x/src/plan.rs) and [`steps`](../crates/x/src/plan.rs)",
            "[`plan`](../crates/x/src/plan.rs), [some words](../crates/x/src/plan.rs), [`a::b`](../crates/x/src/plan.rs)",
        ] {
            assert_eq!(broken(page), Vec::<String>::new(), "{page}");
        }
    }

    #[test]
    fn a_link_to_a_missing_file_is_found_with_its_line() {
        let found = broken("x\n[a](other.md)");
        assert_eq!(found, ["docs/page.md:2 links to docs/other.md, which is not in the repository"]);
    }

    #[test]
    fn a_link_to_a_heading_that_is_not_there_is_found() {
        for (link, expected) in [
            ("../README.md#no-part", "docs/page.md:1 links to #no-part in README.md, which has no such heading"),
            ("#here", "docs/page.md:1 links to #here in docs/page.md, which has no such heading"),
        ] {
            assert_eq!(broken(&format!("[a]({link})")), [expected]);
        }
        assert_eq!(broken("[a](#here)\n\n## Here"), Vec::<String>::new());
    }

    #[test]
    fn a_link_to_a_name_that_the_file_does_not_define_is_found() {
        for name in ["Pla", "Plans", "step", "T"] {
            let found = broken(&format!("[`{name}`](../crates/x/src/plan.rs)"));
            let expected = format!("docs/page.md:1 links to {name} in crates/x/src/plan.rs, which has none");
            assert_eq!(found, [expected]);
        }
    }
}
