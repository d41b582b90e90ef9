//! Links within the site that was made, judged by what is there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::normal;

/// Each link to a page, a file or a place in a page that is not there, as a line for people.
pub(super) fn dead_links(folder: &Path) -> anyhow::Result<Vec<String>> {
    let mut pages = BTreeMap::new();
    for path in files(folder)? {
        let is_page = path.extension().is_some_and(|extension| extension == "html");
        let text = if is_page { std::fs::read_to_string(folder.join(&path))? } else { String::new() };
        pages.insert(path, text);
    }
    let ids: BTreeMap<&Path, BTreeSet<&str>> =
        pages.iter().map(|(path, text)| (path.as_path(), attributes(text, "id").collect())).collect();
    let mut dead = Vec::new();
    // The first is shown where a page is missing, at any address; the other has all pages in one.
    for (page, text) in pages.iter().filter(|(page, _)| !page.ends_with("404.html") && !page.ends_with("print.html")) {
        for to in attributes(text, "href").chain(attributes(text, "src")) {
            let (path, place) = to.split_once('#').map_or((to, ""), |(path, place)| (path, place));
            if path.contains(':') {
                continue;
            }
            let target =
                if path.is_empty() { page.clone() } else { normal(&page.parent().unwrap_or(Path::new("")).join(path)) };
            let is_there = ids.get(target.as_path()).is_some_and(|ids| place.is_empty() || ids.contains(place));
            if !is_there {
                dead.push(format!("{} links to {to}, which is not there", page.display()));
            }
        }
    }
    Ok(dead)
}

/// Values of an attribute.
fn attributes<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    text.match_indices(name).filter_map(move |(at, _)| {
        let is_whole = text[..at].ends_with([' ', '\n']);
        is_whole.then(|| text[at + name.len()..].strip_prefix("=\"")?.split('"').next())?
    })
}

fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let (mut found, mut below) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(path) = below.pop() {
        let entries =
            std::fs::read_dir(folder.join(&path)).with_context(|| folder.join(&path).display().to_string())?;
        for entry in entries {
            let entry = entry?;
            let path = path.join(entry.file_name());
            if entry.file_type()?.is_dir() { below.push(path) } else { found.push(path) }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_to_what_is_not_there_is_found() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("d")).unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write(
            "a.html",
            r##"<a href="d/b.html#x">, <a href="#here">, <h1 id="here">, <img src="c.svg">, <a href="https://x/y">"##,
        );
        write("c.svg", "");
        write(
            "d/b.html",
            r##"<h2 id="x">, <a href="../a.html#gone">, <a href="e.html">, <img src="../c.png">, <a href="#y">"##,
        );
        let dead = dead_links(folder.path()).unwrap();
        let expected = ["../a.html#gone", "e.html", "#y", "../c.png"]
            .map(|to| format!("d/b.html links to {to}, which is not there"));
        assert_eq!(dead, expected);
    }
}
