//! Which beds are up on this machine, and the number that each has for its network. Networks, control groups and processes are the
//! machine's, whichever cache a bed's folder is in, so this is kept where every root user finds it, and goes with them at a reboot.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

const PLACE: &str = "/run/gardener-extension-cri-resmgr-testbed";
/// Numbers of beds: one byte of their networks' addresses.
const MOST: u8 = 250;

/// Claims a number for the bed whose folder this is.
pub(crate) fn claim(dir: &Path) -> anyhow::Result<u8> {
    claim_in(Path::new(PLACE), dir)
}

/// Gives a number back.
pub(crate) fn release(index: u8) {
    let _ = std::fs::remove_file(Path::new(PLACE).join(index.to_string()));
}

/// Folders of all beds that have a number.
pub(crate) fn folders() -> Vec<PathBuf> {
    folders_in(Path::new(PLACE))
}

/// The folder of the bed of this name.
pub(crate) fn folder(name: &str) -> Option<PathBuf> {
    folders().into_iter().find(|dir| dir.file_name().is_some_and(|its| its == name))
}

fn claim_in(place: &Path, dir: &Path) -> anyhow::Result<u8> {
    std::fs::create_dir_all(place).with_context(|| format!("cannot make {}", place.display()))?;
    let namesake = folders_in(place).into_iter().find(|other| other.file_name() == dir.file_name() && other != dir);
    let name = dir.file_name().unwrap_or_default().display();
    ensure!(
        namesake.is_none(),
        "a bed {name} is up from another cache, in {}: take it down with `cargo xtask testbed down {name}`",
        namesake.unwrap_or_default().display()
    );
    // `create_new` decides between two at once.
    let (index, mut file) = (1..=MOST)
        .find_map(|index| Some((index, std::fs::File::create_new(place.join(index.to_string())).ok()?)))
        .with_context(|| format!("{MOST} beds at once: take some down with `cargo xtask testbed down`"))?;
    file.write_all(dir.as_os_str().as_encoded_bytes())?;
    Ok(index)
}

fn folders_in(place: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(place).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> =
        entries.filter_map(|entry| Some(PathBuf::from(std::fs::read_to_string(entry.path()).ok()?))).collect();
    found.sort();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_bed_has_a_number_and_a_name_that_no_other_cache_may_take() {
        let place = tempfile::tempdir().unwrap();
        let bed = |dir: &str| claim_in(place.path(), Path::new(dir));
        assert_eq!(bed("/a/beds/one").unwrap(), 1);
        assert_eq!(bed("/a/beds/two").unwrap(), 2);
        let refused = bed("/b/beds/one").unwrap_err().to_string();
        assert!(refused.contains("/a/beds/one"), "{refused}");
        assert_eq!(folders_in(place.path()), [PathBuf::from("/a/beds/one"), PathBuf::from("/a/beds/two")]);
        std::fs::remove_file(place.path().join("1")).unwrap();
        assert_eq!(bed("/b/beds/one").unwrap(), 1);
    }
}
