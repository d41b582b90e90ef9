//! Each test that docs/security.md names is there: a row without a test would be a claim that nothing checks.
#![expect(clippy::unwrap_used, reason = "a failed step of a test's set-up ends the test")]

use std::collections::BTreeSet;
use std::path::Path;

/// Text of every Rust file below a folder.
fn sources(folder: &Path, into: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push_str(&std::fs::read_to_string(&path).unwrap());
        }
    }
}

/// What stands in backticks in the last column of the tables with a column of tests.
fn named(page: &str) -> BTreeSet<&str> {
    let mut names = BTreeSet::new();
    let mut in_table = false;
    for line in page.lines() {
        in_table = line.starts_with('|') && (in_table || line.ends_with("| test |"));
        let Some(cell) = line.trim_end_matches('|').rsplit('|').next().filter(|_| in_table) else { continue };
        names.extend(cell.split('`').skip(1).step_by(2).filter(|name| !name.contains('.')));
    }
    names
}

#[test]
fn every_test_that_the_security_page_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let page = std::fs::read_to_string(root.join("docs/security.md")).unwrap();
    let mut code = String::new();
    for folder in ["crates", "xtask"] {
        sources(&root.join(folder), &mut code);
    }
    let named = named(&page);
    assert!(named.len() > 50, "only {} tests were found in the tables", named.len());
    let missing: Vec<_> = named
        .iter()
        .filter(|name| !code.contains(&format!("fn {name}(")) && !code.contains(&format!("fn {name}<")))
        .collect();
    assert!(missing.is_empty(), "no such tests: {missing:?}");
}
