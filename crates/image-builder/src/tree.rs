//! A file tree in memory, and its one tar form.

use std::collections::BTreeMap;
use std::io::Read as _;

use tar::{Archive, Builder, EntryType, Header};

use crate::Error;

/// Mode of a folder that nobody described.
const FOLDER_MODE: u32 = 0o755;

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A folder.
    Folder {
        /// Permission bits.
        mode: u32,
    },
    /// A regular file.
    File {
        /// Permission bits.
        mode: u32,
        /// Its bytes.
        content: Vec<u8>,
    },
    /// A symbolic link.
    Link {
        /// Its target, kept as written.
        target: String,
    },
}

/// Paths (relative, `/`-separated, no `.` or `..`) and what stands there. Every parent folder is present.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tree(BTreeMap<String, Node>);

impl Tree {
    /// An empty tree.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts `node` at `path` (a leading `/` is dropped) and makes the parents that are missing.
    ///
    /// # Errors
    /// [`Error::Path`] when the path is empty, leaves the tree, is taken, or lies below something that is no folder.
    pub fn insert(&mut self, path: &str, node: Node) -> Result<(), Error> {
        let wrong = |reason| Error::Path { path: path.to_owned(), reason };
        let clean = normalize(path).ok_or_else(|| wrong("empty or leaves the tree"))?;
        for (end, _) in clean.match_indices('/') {
            match self.0.entry(clean[..end].to_owned()).or_insert(Node::Folder { mode: FOLDER_MODE }) {
                Node::Folder { .. } => {}
                Node::File { .. } | Node::Link { .. } => return Err(wrong("lies below something that is no folder")),
            }
        }
        match (self.0.get(&clean), &node) {
            // A folder may be described after it came into being as a parent.
            (None, _) | (Some(Node::Folder { .. }), Node::Folder { .. }) => {
                self.0.insert(clean, node);
                Ok(())
            }
            (Some(_), _) => Err(wrong("is there already")),
        }
    }

    /// Puts the whole of `other` below `prefix` (`/` or empty: at the root).
    pub fn graft(&mut self, prefix: &str, other: &Tree) -> Result<(), Error> {
        for (path, node) in &other.0 {
            self.insert(&format!("{prefix}/{path}"), node.clone())?;
        }
        Ok(())
    }

    /// What stands at `path`.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Node> {
        self.0.get(&normalize(path)?)
    }

    /// The bytes of the file at `path`.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<&[u8]> {
        match self.get(path)? {
            Node::File { content, .. } => Some(content),
            Node::Folder { .. } | Node::Link { .. } => None,
        }
    }

    /// All entries, sorted by path.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.0.iter().map(|(path, node)| (path.as_str(), node))
    }

    /// The tar form: sorted by path, owner 0:0, time 0, folders with a trailing slash.
    pub fn to_tar(&self) -> Result<Vec<u8>, Error> {
        let mut builder = Builder::new(Vec::new());
        for (path, node) in &self.0 {
            append(&mut builder, path, node).map_err(Error::archive(path.as_str()))?;
        }
        builder.into_inner().map_err(Error::archive("being made"))
    }

    /// Reads a tar. Owners and times are dropped, permission bits kept; a repeated path is refused, and so is
    /// anything but folders, files and symbolic links.
    pub fn from_tar(tar: &[u8], what: &str) -> Result<Self, Error> {
        let mut tree = Self::new();
        for entry in Archive::new(tar).entries().map_err(Error::archive(what))? {
            let mut entry = entry.map_err(Error::archive(what))?;
            let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            if normalize(&path).is_none() && entry.header().entry_type() == EntryType::Directory {
                continue; // the root itself
            }
            let mode = entry.header().mode().map_err(Error::archive(what))? & 0o7777;
            let node = match entry.header().entry_type() {
                EntryType::Directory => Node::Folder { mode },
                EntryType::Regular | EntryType::Continuous => {
                    let mut content = Vec::new();
                    entry.read_to_end(&mut content).map_err(Error::archive(what))?;
                    Node::File { mode, content }
                }
                EntryType::Symlink => {
                    let target = entry.link_name_bytes().unwrap_or_default();
                    Node::Link { target: String::from_utf8_lossy(&target).into_owned() }
                }
                _ => return Err(Error::Path { path, reason: "is neither folder, file nor symbolic link" }),
            };
            tree.insert(&path, node)?;
        }
        Ok(tree)
    }
}

/// Without leading, trailing and doubled slashes and `.` parts; `None` when nothing is left or a part is `..`.
fn normalize(path: &str) -> Option<String> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    (!parts.is_empty() && !parts.contains(&"..")).then(|| parts.join("/"))
}

fn append(builder: &mut Builder<Vec<u8>>, path: &str, node: &Node) -> std::io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(0);
    match node {
        Node::Folder { mode } => {
            header.set_entry_type(EntryType::Directory);
            header.set_mode(*mode);
            builder.append_data(&mut header, format!("{path}/"), std::io::empty())
        }
        Node::File { mode, content } => {
            header.set_entry_type(EntryType::Regular);
            header.set_mode(*mode);
            header.set_size(content.len() as u64);
            builder.append_data(&mut header, path, content.as_slice())
        }
        Node::Link { target } => {
            header.set_entry_type(EntryType::Symlink);
            header.set_mode(0o777);
            builder.append_link(&mut header, path, target)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: &str) -> Node {
        Node::File { mode: 0o644, content: content.as_bytes().to_vec() }
    }

    #[test]
    fn a_tree_is_the_same_in_any_order_of_insertion() {
        let mut one = Tree::new();
        one.insert("/b/c", file("c")).unwrap();
        one.insert("a", file("a")).unwrap();
        let mut other = Tree::new();
        other.insert("a", file("a")).unwrap();
        other.insert("b", Node::Folder { mode: 0o755 }).unwrap();
        other.insert("b/./c", file("c")).unwrap();
        assert_eq!(one.to_tar().unwrap(), other.to_tar().unwrap());
    }

    #[test]
    fn a_tree_survives_tar() {
        let mut tree = Tree::new();
        tree.insert("opt/intel/bin/tool", Node::File { mode: 0o755, content: vec![0, 1, 2] }).unwrap();
        tree.insert(&format!("{}/{}", "long".repeat(30), "name".repeat(30)), file("x")).unwrap();
        tree.insert("link", Node::Link { target: "opt/intel".to_owned() }).unwrap();
        assert_eq!(Tree::from_tar(&tree.to_tar().unwrap(), "test").unwrap(), tree);
    }

    #[test]
    fn a_tree_refuses_paths_that_escape_or_clash() {
        let mut tree = Tree::new();
        tree.insert("a/b", file("b")).unwrap();
        for (path, node) in [
            ("", file("")),
            ("/", file("")),
            ("../x", file("")),
            ("a/../../x", file("")),
            ("a/b", file("again")),
            ("a/b", Node::Folder { mode: 0o755 }),
            ("a", file("")),
            ("a/b/c", file("")),
        ] {
            assert!(tree.insert(path, node).is_err(), "{path:?}");
        }
    }

    #[test]
    fn a_tree_refuses_devices_and_hard_links() {
        for kind in [EntryType::Char, EntryType::Link, EntryType::Fifo] {
            let mut builder = Builder::new(Vec::new());
            let mut header = Header::new_gnu();
            header.set_entry_type(kind);
            header.set_mode(0o644);
            header.set_size(0);
            builder.append_data(&mut header, "dev", std::io::empty()).unwrap();
            assert!(Tree::from_tar(&builder.into_inner().unwrap(), "test").is_err(), "{kind:?}");
        }
    }
}
