use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::check;

/// Marks the findings that a broken configuration must give, all of them, in this order.
const EXPECTED: &str = "# error: ";

fn corpus(kind: &str) -> Vec<(PathBuf, String)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(kind);
    let mut files: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), std::fs::read_to_string(path).unwrap()))
        .collect();
    files.sort();
    files
}

#[test]
fn valid_configurations_are_accepted() {
    let files = corpus("valid");
    assert!(files.len() >= 40, "the corpus shrank to {}", files.len());
    for (path, text) in files {
        let checked = check(&text);
        assert!(checked.is_ok(), "{}: {checked:?}", path.display());
        // What a running daemon is given is valid, too.
        let modules = checked.unwrap().by_module().unwrap();
        assert!(!modules.is_empty() && modules.values().all(|text| !text.is_empty()), "{}", path.display());
    }
}

#[test]
fn broken_configurations_give_exactly_these_errors() {
    let files = corpus("broken");
    assert!(files.len() >= 60, "the corpus shrank to {}", files.len());
    for (path, text) in files {
        let expected: Vec<_> = text.lines().filter_map(|line| line.strip_prefix(EXPECTED)).collect();
        assert!(!expected.is_empty(), "{} does not say what is wrong", path.display());
        let found = check(&text).err().unwrap_or_default();
        let found: Vec<_> = found.iter().map(|finding| format!("{}: {}", finding.path, finding.message)).collect();
        assert_eq!(found, expected, "{}", path.display());
    }
}

/// Where the daemon is known to say something else, the documentation says why, and nowhere else.
#[test]
fn differences_to_the_daemon_are_documented() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/configuration.md");
    let text = std::fs::read_to_string(path).unwrap();
    let documented: BTreeSet<&str> = text.lines().filter(|line| line.starts_with("| `")).flat_map(named).collect();
    let different = |(path, text): &(PathBuf, String)| {
        let differs = text.lines().any(|line| line == "# daemon: accepts");
        differs.then(|| path.file_stem().unwrap().to_str().unwrap().to_owned())
    };
    let expected: BTreeSet<String> = corpus("broken").iter().filter_map(different).collect();
    assert!(!expected.is_empty());
    assert_eq!(documented, expected.iter().map(String::as_str).collect(), "{path}");
}

/// The names in the first column of a row.
fn named(row: &str) -> impl Iterator<Item = &str> {
    row.split('|').nth(1).unwrap_or_default().split('`').skip(1).step_by(2)
}

proptest! {
    /// Whatever comes, there is an answer.
    #[test]
    fn any_text_has_a_verdict(text in ".{0,300}") {
        let _ = check(&text);
    }

    /// Configurations with one line taken out, doubled or changed: an answer, and never an accepted one that the split form would
    /// lose something of.
    #[test]
    fn damaged_configurations_have_a_verdict(file: prop::sample::Index, line: prop::sample::Index, how in 0..3, junk in "[ -~]{0,12}") {
        let files = corpus("valid");
        let (_, text) = file.get(&files);
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let at = line.index(lines.len());
        match how {
            0 => drop(lines.remove(at)),
            1 => lines.insert(at, lines[at].clone()),
            _ => lines[at].push_str(&junk),
        }
        if let Ok(checked) = check(&lines.join("\n")) {
            prop_assert!(!checked.by_module().unwrap().is_empty());
        }
    }
}
