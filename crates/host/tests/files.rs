//! Files, links and directories in a temporary root, as an unprivileged or privileged user.
#![expect(clippy::expect_used, reason = "the set-up of a test fails by panicking")]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use host::{Change, Checksum, FileAttributes, FileKind, HostError, HostRoot, Operation, Owner, Removal};

const PLAIN: FileAttributes = FileAttributes::with_mode(0o644);

fn root() -> (tempfile::TempDir, HostRoot) {
    let directory = tempfile::tempdir().expect("temporary directory");
    fs::create_dir(directory.path().join("etc")).expect("etc");
    let root = HostRoot::open(directory.path()).expect("open");
    (directory, root)
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(directory)
        .expect("list")
        .map(|entry| entry.expect("entry").file_name().into_string().expect("name"))
        .collect();
    names.sort();
    names
}

#[test]
fn write_atomic_sets_content_and_mode_and_leaves_no_temporary() {
    let (directory, root) = root();
    root.write_atomic("/etc/a.conf", b"text", FileAttributes::with_mode(0o640)).expect("write");
    let path = directory.path().join("etc/a.conf");
    assert_eq!(fs::read(&path).expect("read"), b"text");
    assert_eq!(fs::metadata(&path).expect("metadata").permissions().mode() & 0o7777, 0o640);
    assert_eq!(names(&directory.path().join("etc")), ["a.conf"]);
}

#[test]
fn ensure_file_does_not_touch_an_equal_file() {
    let (directory, root) = root();
    let path = directory.path().join("etc/a");
    let snapshot = || {
        let metadata = fs::metadata(&path).expect("metadata");
        (metadata.ino(), metadata.mtime_nsec(), metadata.ctime_nsec())
    };
    assert_eq!(root.ensure_file("/etc/a", b"1", PLAIN).expect("new"), Change::Content);
    let first = snapshot();
    assert_eq!(root.ensure_file("/etc/a", b"1", PLAIN).expect("same"), Change::Unchanged);
    assert_eq!(snapshot(), first);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("chmod");
    assert_eq!(root.ensure_file("/etc/a", b"1", PLAIN).expect("mode"), Change::Attributes);
    assert_eq!(snapshot().0, first.0, "the file itself stays");
    assert_eq!(root.ensure_file("/etc/a", b"2", PLAIN).expect("content"), Change::Content);
    assert_ne!(snapshot().0, first.0, "never written in place");
    // Same length, other content.
    assert_eq!(root.ensure_file("/etc/a", b"3", PLAIN).expect("content"), Change::Content);
}

#[test]
fn ensure_file_with_our_own_owner_needs_no_chown() {
    let (directory, root) = root();
    let own = fs::metadata(directory.path()).expect("metadata");
    let owner = Owner { uid: own.uid(), gid: own.gid() };
    root.write_atomic("/etc/a", b"", PLAIN.owned_by(owner)).expect("write");
    let found = root.metadata("/etc/a").expect("metadata").expect("there");
    assert!(found.has(PLAIN.owned_by(owner)));
    assert!(!found.has(PLAIN.owned_by(Owner { uid: owner.uid + 1, gid: owner.gid })));
}

#[test]
fn write_atomic_replaces_a_running_binary() {
    let (directory, root) = root();
    let program = fs::read("/bin/sleep").expect("sleep");
    let attributes = FileAttributes::with_mode(0o755);
    let copied = root.copy_in("/etc/program", &mut program.as_slice(), attributes, None).expect("copy");
    assert_eq!(copied.bytes, program.len() as u64);
    assert_eq!(Some(copied.checksum), root.checksum("/etc/program").expect("sum"));
    let mut child = std::process::Command::new(directory.path().join("etc/program")).arg("60").spawn().expect("runs");
    let again = root.copy_in("/etc/program", &mut program.as_slice(), attributes, Some(copied.checksum));
    child.kill().expect("kill");
    child.wait().expect("wait");
    again.expect("replaced while running");
}

#[test]
fn copy_with_a_wrong_checksum_leaves_the_target_as_it_was() {
    let (directory, root) = root();
    let error =
        root.copy_in("/etc/a", &mut b"text".as_slice(), PLAIN, Some(Checksum::of(b"other"))).expect_err("wrong sum");
    assert!(matches!(error, HostError::UnexpectedContent { .. }), "{error:?}");
    assert!(names(&directory.path().join("etc")).is_empty());
}

#[test]
fn links_cannot_lead_out_of_the_root() {
    let (directory, root) = root();
    let outside = tempfile::tempdir().expect("outside");
    fs::write(outside.path().join("secret"), "x").expect("secret");
    symlink(outside.path(), directory.path().join("absolute")).expect("link");
    symlink("../../../../../../../..", directory.path().join("up")).expect("link");
    let name = outside.path().strip_prefix("/").expect("absolute");
    assert!(root.read("/absolute/secret", 10).expect_err("inside only").is_not_found());
    assert!(root.read(Path::new("/up").join(name).join("secret"), 10).expect_err("inside only").is_not_found());
    assert!(root.write_atomic("/absolute/new", b"", PLAIN).expect_err("inside only").is_not_found());
    // A link within the root is followed as the host would follow it.
    symlink("/etc", directory.path().join("alias")).expect("link");
    root.write_atomic("/alias/a", b"1", PLAIN).expect("write");
    assert_eq!(root.read("/etc/a", 10).expect("read"), b"1");
}

#[test]
fn bad_paths_are_refused() {
    let (_directory, root) = root();
    for path in ["etc/a", "/etc/../a", "/", ""] {
        let error = root.write_atomic(path, b"", PLAIN).expect_err(path);
        assert!(matches!(error, HostError::InvalidPath { .. }), "{path}: {error:?}");
    }
}

#[test]
fn read_is_bounded_and_takes_regular_files_only() {
    let (directory, root) = root();
    fs::write(directory.path().join("etc/a"), "12345").expect("write");
    assert_eq!(root.read("/etc/a", 5).expect("read"), b"12345");
    assert!(matches!(root.read("/etc/a", 4), Err(HostError::TooLarge { limit: 4, .. })));
    assert!(matches!(root.read("/etc", 4), Err(HostError::UnexpectedKind { found: FileKind::Directory, .. })));
    assert_eq!(root.read_optional("/etc/missing", 4).expect("none"), None);
    assert_eq!(root.read_optional("/missing/missing", 4).expect("none"), None);
    assert_eq!(root.read_optional("/etc/a/below", 4).expect("none"), None);
    assert!(root.checksum("/etc/missing").expect("none").is_none());
    // A pipe must not block.
    nix::unistd::mkfifo(&directory.path().join("etc/pipe"), nix::sys::stat::Mode::S_IRWXU).expect("pipe");
    assert!(matches!(root.read("/etc/pipe", 4), Err(HostError::UnexpectedKind { found: FileKind::Other, .. })));
}

#[test]
fn metadata_does_not_follow_links() {
    let (directory, root) = root();
    symlink("/nowhere", directory.path().join("etc/link")).expect("link");
    let found = root.metadata("/etc/link").expect("metadata").expect("there");
    assert_eq!(found.kind, FileKind::Symlink);
    assert_eq!(found.link_target.as_deref(), Some(Path::new("/nowhere")));
    assert_eq!(root.metadata("/etc").expect("metadata").expect("there").kind, FileKind::Directory);
    assert_eq!(root.metadata("/etc/missing").expect("metadata"), None);
    assert_eq!(root.metadata("/missing/missing").expect("metadata"), None);
}

#[test]
fn links_are_made_replaced_and_removed_only_as_links() {
    let (directory, root) = root();
    assert_eq!(root.ensure_symlink("/etc/l", "../a").expect("new"), Change::Content);
    assert_eq!(root.ensure_symlink("/etc/l", "../a").expect("same"), Change::Unchanged);
    assert_eq!(root.ensure_symlink("/etc/l", "../b").expect("other"), Change::Content);
    assert_eq!(fs::read_link(directory.path().join("etc/l")).expect("link"), Path::new("../b"));
    assert!(root.remove_symlink("/etc/l", Some(Path::new("../a"))).expect_err("other target").is_unexpected());
    assert!(root.remove_file("/etc/l", None).expect_err("a link is no file").is_unexpected());
    assert_eq!(root.remove_symlink("/etc/l", Some(Path::new("../b"))).expect("remove"), Removal::Removed);
    assert_eq!(root.remove_symlink("/etc/l", None).expect("again"), Removal::Absent);
    fs::write(directory.path().join("etc/f"), "").expect("file");
    assert!(root.ensure_symlink("/etc/f", "x").expect_err("a file is in the way").is_unexpected());
    assert_eq!(names(&directory.path().join("etc")), ["f"]);
}

#[test]
fn remove_file_removes_only_the_expected_content() {
    let (directory, root) = root();
    fs::write(directory.path().join("etc/a"), "theirs").expect("write");
    let ours = Checksum::of(b"ours");
    assert!(root.remove_file("/etc/a", Some(ours)).expect_err("theirs").is_unexpected());
    assert!(directory.path().join("etc/a").exists());
    assert_eq!(root.remove_file("/etc/a", Some(Checksum::of(b"theirs"))).expect("remove"), Removal::Removed);
    assert_eq!(root.remove_file("/etc/a", Some(ours)).expect("gone"), Removal::Absent);
    assert_eq!(root.remove_file("/gone/a", None).expect("gone"), Removal::Absent);
}

#[test]
fn directories_to_create_are_listed_and_removed_only_when_empty() {
    let (directory, root) = root();
    let attributes = FileAttributes::with_mode(0o711);
    let wanted = ["/etc/x", "/etc/x/y"].map(PathBuf::from);
    assert_eq!(root.missing_directories("/etc/x/y").expect("missing"), wanted);
    assert_eq!(root.create_directories("/etc/x/y", attributes).expect("make"), wanted);
    assert!(root.create_directories("/etc/x/y", attributes).expect("again").is_empty());
    assert!(root.missing_directories("/etc/x/y").expect("missing").is_empty());
    let mode = fs::metadata(directory.path().join("etc/x")).expect("metadata").permissions().mode();
    assert_eq!(mode & 0o7777, 0o711);
    assert_eq!(root.remove_directory("/etc/x").expect("full"), Removal::NotEmpty);
    assert_eq!(root.remove_directory("/etc/x/y").expect("empty"), Removal::Removed);
    assert_eq!(root.remove_directory("/etc/x").expect("empty"), Removal::Removed);
    assert_eq!(root.remove_directory("/etc/x").expect("gone"), Removal::Absent);
    fs::write(directory.path().join("etc/f"), "").expect("file");
    assert!(root.create_directories("/etc/f", attributes).expect_err("a file is in the way").is_unexpected());
    assert!(root.create_directories("/etc/f/g", attributes).is_err());
}

#[test]
fn remove_tree_does_not_follow_links() {
    let (directory, root) = root();
    let tree = directory.path().join("etc/tree");
    fs::create_dir_all(tree.join("a/b")).expect("make");
    fs::write(tree.join("a/b/c"), "").expect("write");
    fs::create_dir(directory.path().join("keep")).expect("make");
    fs::write(directory.path().join("keep/file"), "").expect("write");
    symlink("/keep", tree.join("a/link")).expect("link");
    drop(std::os::unix::net::UnixListener::bind(tree.join("socket")).expect("bind"));
    assert_eq!(root.remove_tree("/etc/tree").expect("remove"), Removal::Removed);
    assert_eq!(root.remove_tree("/etc/tree").expect("again"), Removal::Absent);
    assert!(names(&directory.path().join("etc")).is_empty());
    assert_eq!(names(&directory.path().join("keep")), ["file"]);
    symlink("/keep", directory.path().join("etc/link")).expect("link");
    assert_eq!(root.remove_tree("/etc/link").expect("the link only"), Removal::Removed);
    assert_eq!(names(&directory.path().join("keep")), ["file"]);
}

#[test]
fn rename_aside_moves_a_whole_tree_and_overwrites_nothing() {
    let (directory, root) = root();
    let etc = directory.path().join("etc");
    fs::create_dir(etc.join("tree")).expect("make");
    fs::write(etc.join("tree/file"), "theirs").expect("write");
    symlink("/nowhere", etc.join("link")).expect("link");
    assert_eq!(root.rename_aside("/etc/tree", "/etc/tree.before").expect("rename"), Removal::Removed);
    assert_eq!(root.rename_aside("/etc/tree", "/etc/tree.before").expect("done already"), Removal::Removed);
    assert_eq!(root.rename_aside("/etc/link", "/etc/link.before").expect("the link itself"), Removal::Removed);
    assert_eq!(root.rename_aside("/etc/a", "/etc/b").expect("nothing there"), Removal::Absent);
    assert_eq!(root.rename_aside("/none/a", "/none/b").expect("no directory"), Removal::Absent);
    assert_eq!(fs::read(etc.join("tree.before/file")).expect("read"), b"theirs");
    fs::create_dir(etc.join("tree")).expect("make");
    let error = root.rename_aside("/etc/tree.before", "/etc/tree").expect_err("even an empty directory stays");
    assert_eq!(
        (error.operation(), names(&etc)),
        (Some(Operation::Rename), vec!["link.before".into(), "tree".into(), "tree.before".into()])
    );
    assert!(matches!(root.rename_aside("/etc/tree", "/tree"), Err(HostError::InvalidPath { .. })));
}

#[test]
fn removal_of_stale_temporaries_takes_only_ours() {
    let (directory, root) = root();
    for name in [".a.1-0.cri-resmgr-tmp", ".a.tmp", "b.cri-resmgr-tmp"] {
        fs::write(directory.path().join("etc").join(name), "").expect("write");
    }
    let removed = root.remove_stale_temporaries("/etc").expect("clean");
    assert_eq!(removed, [Path::new("/etc/.a.1-0.cri-resmgr-tmp")]);
    assert_eq!(names(&directory.path().join("etc")), [".a.tmp", "b.cri-resmgr-tmp"]);
    assert!(root.remove_stale_temporaries("/missing").expect("none").is_empty());
}

#[test]
fn a_listing_marks_directories() {
    let (directory, root) = root();
    fs::create_dir(directory.path().join("etc/d")).expect("make");
    symlink("d", directory.path().join("etc/e")).expect("link");
    fs::write(directory.path().join("etc/f"), "").expect("write");
    let listed = root.list("/etc").expect("list").expect("there");
    let found: Vec<(&str, bool)> =
        listed.iter().map(|entry| (entry.name.to_str().expect("name"), entry.is_directory)).collect();
    assert_eq!(found, [("d", true), ("e", false), ("f", false)]);
    assert_eq!(root.list("/missing").expect("none"), None);
}

#[test]
fn free_space_of_a_missing_path_is_that_of_its_parent() {
    let (_directory, root) = root();
    assert!(root.free_space("/etc").expect("space") > 0);
    assert!(root.free_space("/etc/missing/below").expect("space") > 0);
}

#[test]
fn a_second_lock_on_the_same_path_is_refused() {
    let (_directory, root) = root();
    let first = root.lock("/etc/lock").expect("first");
    assert!(matches!(root.lock("/etc/lock"), Err(HostError::Locked { .. })));
    drop(first);
    root.lock("/etc/lock").expect("free again");
}

#[test]
fn errors_name_operation_and_path() {
    let (_directory, root) = root();
    let error = root.write_atomic("/missing/a", b"", PLAIN).expect_err("no directory");
    assert_eq!(error.operation(), Some(Operation::Open));
    assert_eq!(error.path(), Path::new("/missing"));
    assert!(error.is_not_found());
    assert_eq!(error.to_string(), "cannot open /missing");
}
