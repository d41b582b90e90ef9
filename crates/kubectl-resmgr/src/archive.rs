//! One archive of several files, and the file that it is written to.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::limits;

/// Only the person who asked may read what nodes have written.
const MODE: u32 = 0o600;
/// Folder that all files of an archive stand in.
const TOP: &str = "cri-resmgr-must-gather";

/// Files in memory, within limits.
#[derive(Debug, Default)]
pub(crate) struct Files {
    /// Path and content.
    all: Vec<(String, Vec<u8>)>,
    bytes: usize,
    /// What is missing, and why.
    pub(crate) missing: Vec<String>,
}

impl Files {
    /// Adds a file; one that is too large is cut, and one for which there is no room is left out. Either is said.
    pub(crate) fn add(&mut self, path: &str, mut content: Vec<u8>) {
        if content.len() > limits::FILE_BYTES {
            self.missing.push(format!("{path}: only the first {} of {} bytes", limits::FILE_BYTES, content.len()));
            content.truncate(limits::FILE_BYTES);
        }
        if self.bytes + content.len() > limits::ARCHIVE_BYTES {
            self.missing.push(format!("{path}: the archive is full"));
            return;
        }
        self.bytes += content.len();
        self.all.push((path.to_owned(), content));
    }

    /// Adds what can be written as JSON.
    pub(crate) fn add_json(&mut self, path: &str, value: &impl serde::Serialize) {
        match serde_json::to_vec_pretty(value) {
            Ok(json) => self.add(path, json),
            Err(error) => self.missing.push(format!("{path}: {error}")),
        }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.all.len()
    }

    /// The archive, with a list of what is missing. `now`: seconds since 1970.
    pub(crate) fn pack(mut self, now: u64) -> io::Result<Vec<u8>> {
        let missing = if self.missing.is_empty() { "nothing".to_owned() } else { self.missing.join("\n") };
        self.all.push(("missing.txt".to_owned(), format!("{missing}\n").into_bytes()));
        let mut archive = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
        for (path, content) in &self.all {
            let mut header = tar::Header::new_gnu();
            header.set_size(u64::try_from(content.len()).unwrap_or(u64::MAX));
            header.set_mode(MODE);
            header.set_mtime(now);
            header.set_cksum();
            archive.append_data(&mut header, format!("{TOP}/{path}"), content.as_slice())?;
        }
        archive.into_inner()?.finish()
    }
}

/// A part of a path that leads nowhere else, whatever the name is.
pub(crate) fn part(name: &str) -> String {
    let safe = |character: char| character.is_ascii_alphanumeric() || matches!(character, '.' | '-' | '_');
    let part: String =
        name.chars().take(limits::OBJECT_NAME).map(|character| if safe(character) { character } else { '_' }).collect();
    if part.trim_start_matches('.').is_empty() { "_".to_owned() } else { part }
}

/// Makes the file, for its owner alone. One that is there, or a link, is not written to.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(MODE).open(path)
}

/// Writes the archive, wholly or not at all.
pub(crate) fn write(mut file: File, path: &Path, archive: &[u8]) -> io::Result<()> {
    let written = file.write_all(archive).and_then(|()| file.sync_all());
    if written.is_err() {
        // Half an archive is worse than none; that it cannot be removed changes nothing about the error.
        drop(std::fs::remove_file(path));
    }
    written
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn unpacked(archive: &[u8]) -> Vec<(String, u32, usize, String)> {
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(archive));
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            let path = entry.path().unwrap().display().to_string();
            text.truncate(60);
            (path, entry.header().mode().unwrap(), usize::try_from(entry.size()).unwrap(), text)
        });
        entries.collect()
    }

    #[test]
    fn files_come_out_as_they_went_in_and_what_is_missing_is_named() {
        let mut files = Files::default();
        files.add("a.txt", b"hello".to_vec());
        files.add("large", vec![b'x'; limits::FILE_BYTES + 1]);
        for number in 0..20 {
            files.add(&format!("more/{number}"), vec![b'y'; limits::FILE_BYTES]);
        }
        let found = unpacked(&files.pack(1_800_000_000).unwrap());
        assert_eq!(found[0], ("cri-resmgr-must-gather/a.txt".to_owned(), 0o600, 5, "hello".to_owned()));
        let bytes: usize = found.iter().map(|(_, _, size, _)| size).sum();
        assert!(bytes < limits::ARCHIVE_BYTES + 10_000, "{bytes}");
        let (path, _, _, text) = found.last().unwrap();
        assert_eq!(path, "cri-resmgr-must-gather/missing.txt");
        assert!(text.starts_with("large: only the first 8388608 of 8388609 bytes\nmore/1"), "{text}");
    }

    #[test]
    fn names_lead_nowhere_else() {
        for (name, expected) in
            [("n1.example", "n1.example"), ("../x", ".._x"), ("..", "_"), ("", "_"), ("a/b\n", "a_b_")]
        {
            assert_eq!(part(name), expected);
        }
        assert_eq!(part(&"x".repeat(1000)).len(), 253);
    }

    #[test]
    fn the_file_is_its_owners_and_nobody_elses_is_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.tar.gz");
        let file = create(&path).unwrap();
        write(file, &path, b"x").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(create(&path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path().join("elsewhere"), &link).unwrap();
        assert_eq!(create(&link).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }
}
