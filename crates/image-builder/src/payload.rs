//! The payload: the archive of a cri-resource-manager release, or one of the same layout; and the policies of nri-plugins.

mod download;
mod nri_plugins;
mod source;

use std::path::Path;

use sha2::{Digest as _, Sha256};

use crate::tree::{Node, Tree};
use crate::{Digest, Error, gzip};

pub use download::{Limits, Progress, Source, download};
pub use nri_plugins::{nri_plugins_from_source, read_nri_plugins};
pub use source::{payload_from_source, payload_module};

/// The daemon's path in the archive, and on the node.
pub const DAEMON: &str = "opt/intel/bin/cri-resmgr";

/// The version in the name of a release's archive.
#[must_use]
pub fn version_in(name: &str) -> Option<&str> {
    name.strip_prefix("cri-resource-manager-")?.strip_suffix(".x86_64.tar.gz").filter(|version| !version.is_empty())
}

/// Reads an archive (`cri-resource-manager-<version>.x86_64.tar.gz`) and checks that it has a release's layout.
/// Modes are reduced to 0755 and 0644, so that it does not matter who packed it.
///
/// # Errors
/// [`Error::Payload`] when the daemon is missing or is no program, [`Error::Archive`] or [`Error::Path`] when the
/// archive is damaged or holds something that does not belong there.
pub fn read(path: &Path) -> Result<Tree, Error> {
    unpack(&std::fs::read(path).map_err(Error::io("read", path))?, path)
}

/// The same as [`read`], for an archive whose digest is known: nothing of another one is so much as unpacked.
///
/// # Errors
/// [`Error::Digest`] for another content, and those of [`read`].
pub fn read_verified(path: &Path, expected: Digest) -> Result<Tree, Error> {
    let packed = std::fs::read(path).map_err(Error::io("read", path))?;
    let actual = Digest::of(&packed);
    if actual != expected {
        return Err(Error::Digest { what: path.display().to_string(), expected, actual });
    }
    unpack(&packed, path)
}

fn unpack(packed: &[u8], path: &Path) -> Result<Tree, Error> {
    let tree = entries(packed, path)?;
    ensure_program(&tree, DAEMON, path)?;
    Ok(tree)
}

/// Names what is built by everything that it depends on: the way of building, the toolchain, and these files of the recipe.
fn key<'a>(
    recipe_version: &[u8],
    go_version: &[u8],
    recipe: &Path,
    files: impl IntoIterator<Item = &'a str>,
) -> Result<String, Error> {
    let mut hasher = Sha256::new();
    let mut add = |part: &[u8]| {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    };
    add(recipe_version);
    add(go_version);
    for name in files {
        let path = recipe.join(name);
        add(&std::fs::read(&path).map_err(Error::io("read", path))?);
    }
    Ok(Digest::finish(hasher).hex()[..12].to_owned())
}

fn entries(packed: &[u8], path: &Path) -> Result<Tree, Error> {
    let name = path.display().to_string();
    uniform(&Tree::from_tar(&gzip::decompress(packed, &name)?, &name)?)
}

fn ensure_program(tree: &Tree, program: &str, archive: &Path) -> Result<(), Error> {
    let wrong = |reason: String| Err(Error::Payload { path: archive.to_path_buf(), reason });
    match tree.get(program) {
        Some(Node::File { content, mode: 0o755 }) if content.starts_with(b"\x7fELF") => Ok(()),
        Some(Node::File { .. }) => wrong(format!("{program} is no executable ELF file")),
        _ => wrong(format!("{program} is missing")),
    }
}

fn uniform(tree: &Tree) -> Result<Tree, Error> {
    let mut uniform = Tree::new();
    for (path, node) in tree.iter() {
        let node = match node {
            Node::Folder { .. } => Node::Folder { mode: 0o755 },
            Node::File { mode, content } => {
                let mode = if mode & 0o111 == 0 { 0o644 } else { 0o755 };
                Node::File { mode, content: content.clone() }
            }
            Node::Link { target } => Node::Link { target: target.clone() },
        };
        uniform.insert(path, node)?;
    }
    Ok(uniform)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(entries: &[(&str, u32, &[u8])]) -> tempfile::NamedTempFile {
        let mut tree = Tree::new();
        for (path, mode, content) in entries {
            tree.insert(path, Node::File { mode: *mode, content: content.to_vec() }).unwrap();
        }
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), gzip::compress(&tree.to_tar().unwrap()).unwrap()).unwrap();
        file
    }

    #[test]
    fn a_release_archive_is_read() {
        let file = archive(&[(DAEMON, 0o775, b"\x7fELF..."), ("etc/default/cri-resource-manager", 0o664, b"x")]);
        let tree = read(file.path()).unwrap();
        assert_eq!(tree.get(DAEMON), Some(&Node::File { mode: 0o755, content: b"\x7fELF...".to_vec() }));
        assert!(matches!(tree.get("etc/default/cri-resource-manager"), Some(Node::File { mode: 0o644, .. })));
    }

    #[test]
    fn an_archive_without_the_daemon_is_refused() {
        for entries in [
            &[("opt/intel/bin/other", 0o755, &b"\x7fELF"[..])][..],
            &[(DAEMON, 0o644, b"\x7fELF")],
            &[(DAEMON, 0o755, b"#!/bin/sh")],
        ] {
            assert!(matches!(read(archive(entries).path()), Err(Error::Payload { .. })), "{entries:?}");
        }
    }

    #[test]
    fn the_version_is_found_in_the_name_of_an_archive() {
        assert_eq!(version_in("cri-resource-manager-0.9.2.x86_64.tar.gz"), Some("0.9.2"));
        for name in ["cri-resource-manager-.x86_64.tar.gz", "cri-resource-manager-0.9.2.tar.gz", "payload-ab.tar.gz"] {
            assert_eq!(version_in(name), None, "{name}");
        }
    }

    #[test]
    fn an_archive_with_another_digest_is_refused() {
        let file = archive(&[(DAEMON, 0o755, b"\x7fELF")]);
        let right = Digest::of(&std::fs::read(file.path()).unwrap());
        assert!(read_verified(file.path(), right).is_ok());
        assert!(matches!(read_verified(file.path(), Digest::of(b"")), Err(Error::Digest { .. })));
    }
}
