//! The index of the pages, as a person reads it, and as mdBook does.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

use super::{INDEX, normal, place};

/// Parts of the index, each with its pages.
#[derive(Debug)]
pub(super) struct Contents {
    parts: Vec<(String, Vec<Entry>)>,
}

#[derive(Debug)]
struct Entry {
    title: String,
    page: PathBuf,
    depth: usize,
}

impl Contents {
    /// Reads lines `## Part` and `- [Title](PAGE): what for`, the latter perhaps indented.
    ///
    /// # Errors
    /// A line of a list that is none of these.
    pub(super) fn read(index: &str) -> anyhow::Result<Self> {
        let mut parts: Vec<(String, Vec<Entry>)> = Vec::new();
        for line in index.lines() {
            if let Some(title) = line.strip_prefix("## ") {
                parts.push((title.to_owned(), Vec::new()));
            }
            let Some(item) = line.trim_start().strip_prefix("- ") else { continue };
            let depth = (line.len() - line.trim_start().len()) / 2;
            let link = item.strip_prefix('[').and_then(|item| item.split_once("]("));
            let (title, rest) = link.with_context(|| format!("{INDEX}: an entry without a link: {line}"))?;
            let (to, _) = rest.split_once(')').with_context(|| format!("{INDEX}: a link without an end: {line}"))?;
            let page = normal(&Path::new(INDEX).parent().unwrap_or(Path::new("")).join(to));
            let (_, entries) = parts.last_mut().with_context(|| format!("{INDEX}: an entry in no part: {line}"))?;
            ensure!(
                depth <= entries.last().map_or(0, |last: &Entry| last.depth + 1),
                "{INDEX}: indented too far: {line}"
            );
            entries.push(Entry { title: title.to_owned(), page, depth });
        }
        Ok(Self { parts })
    }

    /// Every page, with the index itself.
    pub(super) fn pages(&self) -> impl Iterator<Item = &Path> {
        let listed: Vec<&Path> =
            self.parts.iter().flat_map(|(_, entries)| entries).map(|entry| entry.page.as_path()).collect();
        let own = (!listed.is_empty()).then_some(Path::new(INDEX));
        own.into_iter().chain(listed)
    }

    /// mdBook's table of contents. A page stands in it once: where the index lists it first. The index itself comes last, because mdBook takes the first page for the
    /// site's start page, which is the README.
    pub(super) fn summary(&self) -> String {
        let mut out = "# Summary\n".to_owned();
        for (title, entries) in &self.parts {
            out.extend(["\n# ", title.as_str(), "\n\n"]);
            for Entry { title, page, depth } in entries {
                let to = place(page).display().to_string();
                out.extend(["  ".repeat(*depth).as_str(), "- [", title.as_str(), "](", to.as_str(), ")\n"]);
            }
        }
        out + &format!("\n[All pages]({})\n", place(Path::new(INDEX)).display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_and_pages_are_read_as_they_stand() {
        let contents = Contents::read(
            "# Index\n\n## One\n\n- [A](../README.md): of a\n  - [B](b/c.md)\n\n## Two\n\n- [D](d.md)\n",
        )
        .unwrap();
        let pages: Vec<_> = contents.pages().map(|page| page.display().to_string()).collect();
        assert_eq!(pages, [INDEX, "README.md", "docs/b/c.md", "docs/d.md"]);
        assert_eq!(
            contents.summary(),
            "# Summary\n\n# One\n\n- [A](index.md)\n  - [B](docs/b/c.md)\n\n# Two\n\n- [D](docs/d.md)\n\n[All pages](docs/index.md)\n"
        );
    }

    #[test]
    fn an_entry_that_is_none_is_an_error() {
        for index in ["## One\n- a\n", "- [A](a.md)\n", "## One\n- [A](a.md\n", "## One\n  - [A](a.md)\n"] {
            assert!(Contents::read(index).is_err(), "{index}");
        }
    }
}
