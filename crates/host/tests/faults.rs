//! Every step can fail or be the last one; a file is then the old one or the new one, never half of it.
#![expect(clippy::expect_used, reason = "the set-up of a test fails by panicking")]

use std::fs;
use std::path::Path;

use host::fault::{Fault, FaultScript};
use host::{FileAttributes, HostRoot, StateFile};
use serde::{Deserialize, Serialize};

const PLAIN: FileAttributes = FileAttributes::with_mode(0o600);
const FAULTS: [Fault; 4] = [Fault::NoSpace, Fault::Io, Fault::ReadOnly, Fault::Crash];

/// One change of the host, and what its directory may look like when it did not happen, and when it did.
type Scenario = (&'static str, fn(&HostRoot) -> host::Result<()>);

fn scenarios() -> Vec<Scenario> {
    vec![
        ("write", |root| root.write_atomic("/d/file", b"new", FileAttributes::with_mode(0o644))),
        ("ensure", |root| root.ensure_file("/d/file", b"new", PLAIN).map(drop)),
        ("link", |root| root.ensure_symlink("/d/link", "new").map(drop)),
        ("make", |root| root.create_directories("/d/a/b", FileAttributes::with_mode(0o755)).map(drop)),
        ("remove", |root| root.remove_file("/d/file", None).map(drop)),
        ("tree", |root| root.remove_tree("/d/tree").map(drop)),
        ("aside", |root| root.rename_aside("/d/tree", "/d/tree.before").map(drop)),
    ]
}

fn prepare(directory: &Path) {
    fs::create_dir_all(directory.join("d/tree/inner")).expect("make");
    fs::write(directory.join("d/tree/inner/x"), "").expect("write");
    fs::write(directory.join("d/file"), "old").expect("write");
    std::os::unix::fs::symlink("old", directory.join("d/link")).expect("link");
}

#[test]
fn a_run_after_any_fault_reaches_the_same_result() {
    for (name, act) in scenarios() {
        let counting = tempfile::tempdir().expect("temporary directory");
        prepare(counting.path());
        let script = FaultScript::counting();
        act(&HostRoot::open(counting.path()).expect("open").with_hook(script.hook())).expect(name);
        assert!(script.steps() > 1, "{name}");
        for fault in FAULTS {
            for step in 0..script.steps() {
                let directory = tempfile::tempdir().expect("temporary directory");
                prepare(directory.path());
                let plain = HostRoot::open(directory.path()).expect("open");
                let failing = plain.clone().with_hook(FaultScript::at(step, fault).hook());
                let case = format!("{name}, {fault:?} at step {step}");
                let error = act(&failing).expect_err(&case);
                assert_eq!(error.is_no_space(), fault == Fault::NoSpace, "{case}");
                assert_eq!(error.is_read_only(), fault == Fault::ReadOnly, "{case}");
                assert_whole(directory.path(), &case);
                let left = leftovers(directory.path());
                assert!(fault == Fault::Crash || left == 0, "{case}: {left} temporary files");
                plain.remove_stale_temporaries("/d").expect(&case);
                assert_eq!(leftovers(directory.path()), 0, "{case}");
                act(&plain).expect(&case);
            }
        }
    }
}

fn assert_whole(directory: &Path, case: &str) {
    match fs::read_to_string(directory.join("d/file")) {
        Ok(text) => assert!(text == "old" || text == "new", "{case}: {text:?}"),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{case}"),
    }
    let target = fs::read_link(directory.join("d/link")).expect(case);
    assert!(target == Path::new("old") || target == Path::new("new"), "{case}");
}

fn leftovers(directory: &Path) -> usize {
    fs::read_dir(directory.join("d"))
        .expect("list")
        .filter(|entry| {
            let name = entry.as_ref().expect("entry").file_name();
            name.to_string_lossy().starts_with('.')
        })
        .count()
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Document {
    phase: String,
    #[serde(default)]
    made: Vec<String>,
}

fn state_file() -> (tempfile::TempDir, StateFile<Document>) {
    let directory = tempfile::tempdir().expect("temporary directory");
    let root = HostRoot::open(directory.path()).expect("open");
    (directory, StateFile::new(root, "/journal.json", 1..=2))
}

#[test]
fn a_state_file_is_read_back_and_not_rewritten_when_equal() {
    let (directory, state_file) = state_file();
    assert_eq!(state_file.read().expect("none"), None);
    let document = Document { phase: "installing".to_owned(), made: vec!["/opt/x".to_owned()] };
    assert_eq!(state_file.write(1, &document).expect("write"), host::Change::Content);
    assert_eq!(state_file.write(1, &document).expect("same"), host::Change::Unchanged);
    assert_eq!(state_file.read().expect("read"), Some(document));
    assert!(directory.path().join("journal.json").exists());
    assert_eq!(state_file.remove().expect("remove"), host::Removal::Removed);
    assert_eq!(state_file.read().expect("none"), None);
}

#[test]
fn a_damaged_state_file_is_distinguished_from_one_of_another_version() {
    let (directory, state_file) = state_file();
    let path = directory.path().join("journal.json");
    for text in ["", "\n", "\0\0\0", "{", "[]", r#"{"version":1}"#, r#"{"version":1,"content":{"phase":3}}"#] {
        fs::write(&path, text).expect("write");
        let error = state_file.read().expect_err(text);
        assert!(error.is_damaged(), "{text:?}: {error:?}");
    }
    for (version, found) in [("0", 0), ("3", 3)] {
        fs::write(&path, format!(r#"{{"version":{version},"content":{{"phase":"x"}}}}"#)).expect("write");
        let error = state_file.read().expect_err("other version");
        let is_expected =
            matches!(error, host::StateFileError::UnknownVersion { found: its, known: 2, .. } if its == found);
        assert!(is_expected, "{error:?}");
    }
    fs::write(&path, r#"{"version":2,"content":{"phase":"x"}}"#).expect("write");
    assert!(state_file.read().expect("every version that is known is read").is_some());
    fs::write(&path, r#"{"version":1,"content":{"phase":"x","later":true}}"#).expect("write");
    assert!(state_file.read().expect("unknown fields are ignored").is_some());
}
