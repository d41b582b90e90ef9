//! Whatever links and names the host holds, nothing outside the root is read or written.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use host::{FileAttributes, HostRoot};
use proptest::prelude::*;

const SECRET: &[u8] = b"outside";

/// A path of a few names, going up now and then, absolute or relative.
fn target() -> impl Strategy<Value = String> {
    let part = prop_oneof![Just(".."), Just("a"), Just("b"), Just("d"), Just("OUTSIDE")];
    (any::<bool>(), prop::collection::vec(part, 1..8))
        .prop_map(|(absolute, parts)| format!("{}{}", if absolute { "/" } else { "" }, parts.join("/")))
}

fn path() -> impl Strategy<Value = PathBuf> {
    let part = prop_oneof![Just("a"), Just("b"), Just("d"), Just("l0"), Just("l1"), Just("l2"), Just("secret")];
    prop::collection::vec(part, 1..6).prop_map(|parts| Path::new("/").join(parts.join("/")))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    #[test]
    fn no_operation_touches_anything_outside_the_root(targets in prop::collection::vec(target(), 3), paths in prop::collection::vec(path(), 5)) {
        let outside = tempfile::tempdir().expect("temporary directory");
        fs::write(outside.path().join("secret"), SECRET).expect("write");
        let inside = outside.path().join("inside");
        fs::create_dir_all(inside.join("d")).expect("make");
        let real = outside.path().strip_prefix("/").expect("absolute").to_str().expect("text").to_owned();
        for (number, target) in targets.iter().enumerate() {
            let target = target.replace("OUTSIDE", &real);
            symlink(&target, inside.join(format!("l{number}"))).expect("link");
            symlink(&target, inside.join(format!("d/l{number}"))).expect("link");
        }
        let root = HostRoot::open(&inside).expect("open");
        for path in &paths {
            if let Ok(content) = root.read(path, 100) {
                prop_assert_ne!(content.as_slice(), SECRET);
            }
            // Each may fail, for most of these paths lead nowhere.
            drop(root.create_directories(path, FileAttributes::with_mode(0o755)));
            drop(root.write_atomic(path.join("secret"), b"inside", FileAttributes::with_mode(0o644)));
            drop(root.remove_file(path.join("secret"), None));
            drop(root.remove_tree(path));
        }
        let left: Vec<_> = fs::read_dir(outside.path()).expect("list").map(|entry| entry.expect("entry").file_name()).collect();
        prop_assert_eq!(left.len(), 2, "{:?}", left);
        prop_assert_eq!(fs::read(outside.path().join("secret")).expect("still there"), SECRET);
    }
}
