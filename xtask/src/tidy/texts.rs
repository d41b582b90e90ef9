//! Rules about the texts of files.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What no file may mention: places outside the repository that exist on one machine only. Written in two parts, or
/// this file would be the first finding.
const FOREIGN_PLACES: [&str; 2] = [concat!("/wo", "rk/"), concat!("../sha", "red")];
/// Longest source file, in lines without its tests.
const LONGEST: usize = 800;

/// File names of all pages of the repository.
pub(super) fn documents(files: &[PathBuf]) -> BTreeSet<String> {
    let pages = files.iter().filter(|path| path.extension().is_some_and(|extension| extension == "md"));
    pages.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect()
}

/// Every breach in the file at `path` (relative to the repository), as a line for people. `documents`: names of the pages
/// that a comment may refer to.
pub(super) fn check(path: &Path, text: &str, documents: &BTreeSet<String>) -> Vec<String> {
    let mut findings = Vec::new();
    let name = path.display();
    if is_rust(path) {
        for (number, line) in (1..).zip(text.lines()) {
            for page in pages(line).filter(|page| !documents.contains(*page)) {
                findings.push(format!("{name}:{number} refers to {page}, which is not in the repository"));
            }
        }
    }
    for (number, line) in (1..).zip(text.lines()) {
        for place in FOREIGN_PLACES {
            if line.contains(place) {
                findings.push(format!("{name}:{number} mentions {place}, which is not part of this repository"));
            }
        }
    }
    if is_source(path) {
        let lines = lines_without_tests(text);
        if lines > LONGEST {
            findings.push(format!("{name} has {lines} lines without its tests; {LONGEST} are allowed"));
        }
    }
    if path.file_name().is_some_and(|name| name == "Cargo.toml") && text.contains("[package]") && !inherits_lints(text)
    {
        findings.push(format!("{name} does not take the lints of the workspace"));
    }
    findings
}

fn is_rust(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "rs")
}

/// Names of pages in a comment. A page of somebody else is written with its address or path: `owner/repository/…/page.md`.
fn pages(line: &str) -> impl Iterator<Item = &str> {
    let comment = if line.trim_start().starts_with("//") { line } else { "" };
    let words =
        comment.split(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | '`' | ',' | ';' | '[' | ']' | '<' | '>'));
    let words = words.map(|word| word.trim_end_matches(['.', ':'])).filter_map(|word| word.split('#').next());
    words
        .filter(|word| Path::new(word).extension().is_some_and(|extension| extension == "md") && !word.contains("://"))
        .filter(|word| !word.contains('/') || word.starts_with("docs/") || word.starts_with("../"))
        .filter_map(|word| word.rsplit('/').next())
        .filter(|page| !page.contains('*'))
}

fn is_source(path: &Path) -> bool {
    let is_test = path.components().any(|part| part.as_os_str() == "tests") || path.ends_with("tests.rs");
    is_rust(path) && !is_test
}

/// Lines up to the module of tests, which stands last.
fn lines_without_tests(text: &str) -> usize {
    let mut lines = text
        .lines()
        .zip(text.lines().skip(1))
        .take_while(|(line, next)| !(line.trim() == "#[cfg(test)]" && next.trim_start().starts_with("mod tests")));
    lines.by_ref().count() + 1
}

fn inherits_lints(manifest: &str) -> bool {
    let mut lines = manifest.lines().map(str::trim);
    lines.any(|line| line == "[lints]") && lines.next() == Some("workspace = true")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> usize {
        check(Path::new(path), text, &BTreeSet::from(["page.md".to_owned()])).len()
    }

    #[test]
    fn foreign_places_are_found_with_their_line() {
        let text = format!("one\nsee {}reference.md\n", FOREIGN_PLACES[1]);
        let found = check(Path::new("README.md"), &text, &BTreeSet::new());
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("README.md:2 "), "{found:?}");
        assert_eq!(findings("a.sh", &format!("cd {}main", FOREIGN_PLACES[0])), 1);
        assert_eq!(findings("a.md", "working, shared, ../examples"), 0);
    }

    #[test]
    fn only_code_counts_for_the_length() {
        let code = "x\n".repeat(LONGEST);
        let tests = format!("#[cfg(test)]\nmod tests {{\n{code}}}\n");
        assert_eq!(findings("src/a.rs", &code), 0);
        assert_eq!(findings("src/a.rs", &format!("{code}x\n")), 1);
        assert_eq!(findings("src/a.rs", &format!("x\n{tests}")), 0);
        assert_eq!(findings("src/a/tests.rs", &format!("{code}x\n")), 0);
        assert_eq!(findings("tests/a.rs", &format!("{code}x\n")), 0);
        assert_eq!(findings("data.yaml", &format!("{code}x\n")), 0);
    }

    #[test]
    fn a_comment_refers_to_pages_that_exist() {
        for (line, expected) in [
            ("//! As in docs/page.md.", 0),
            ("/// See [this](../../docs/page.md#part).", 0),
            ("// other.md §7 says", 1),
            ("/// docs/other.md", 1),
            ("// https://example.org/other.md and owner/name/docs/other.md", 0),
            ("let page = \"other.md\";", 0),
        ] {
            assert_eq!(findings("src/a.rs", line), expected, "{line}");
            assert_eq!(findings("a.yaml", line), 0, "{line}");
        }
    }

    #[test]
    fn packages_inherit_the_lints() {
        let good = "[package]\nname = \"x\"\n\n[lints]\nworkspace = true\n";
        assert_eq!(findings("crates/x/Cargo.toml", good), 0);
        assert_eq!(findings("crates/x/Cargo.toml", "[package]\nname = \"x\"\n"), 1);
        assert_eq!(findings("crates/x/Cargo.toml", "[package]\n[lints]\n[dependencies]\nworkspace = true"), 1);
        assert_eq!(findings("Cargo.toml", "[workspace]\n"), 0);
    }
}
