//! Forms in which an image leaves us as files.

use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::image::{Annotations, Descriptor, Image, Index, top};
use crate::reference::Reference;
use crate::tree::{Node, Tree};
use crate::{Digest, Error};

/// The form of an image's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Output {
    /// An OCI image layout in one tar: `ctr images import`, `kind load image-archive`, `skopeo copy oci-archive:…`, `podman load`.
    OciArchive,
    /// What `docker load` and `kind load image-archive` take; one platform only.
    DockerArchive,
    /// An OCI image layout as a folder.
    Layout,
}

impl Output {
    /// How a file or folder of that form ends.
    #[must_use]
    pub fn suffix(self) -> &'static str {
        match self {
            Self::OciArchive => ".oci.tar",
            Self::DockerArchive => ".docker.tar",
            Self::Layout => ".oci",
        }
    }
}

/// Writes `images` (one per platform) as `reference` to `path`, whole or not at all. What stood there is replaced.
/// The digest is the one that a registry would show for the tag.
pub fn write(images: &[Image], reference: &Reference, output: Output, path: &Path) -> Result<Digest, Error> {
    let digest = top(images)?.digest;
    match output {
        Output::OciArchive => write_file(path, &oci_tree(images, reference)?.to_tar()?)?,
        Output::DockerArchive => write_file(path, &docker_tree(images, reference)?.to_tar()?)?,
        Output::Layout => write_folder(path, &oci_tree(images, reference)?)?,
    }
    Ok(digest)
}

/// The OCI image layout: every blob once, and an `index.json` that names the one image.
fn oci_tree(images: &[Image], reference: &Reference) -> Result<Tree, Error> {
    let mut tree = Tree::new();
    let top = top(images)?;
    let parts = images.iter().flat_map(|image| {
        [&image.config, &image.manifest].into_iter().chain(image.layers.iter().map(|layer| &layer.packed))
    });
    for blob in parts.chain([&top]) {
        let path = format!("blobs/sha256/{}", blob.digest.hex());
        if tree.get(&path).is_none() {
            tree.insert(&path, file(blob.content.clone()))?;
        }
    }
    // containerd takes the first as the whole name, skopeo and podman the second as the tag.
    let names = Annotations::from([
        ("io.containerd.image.name".to_owned(), reference.canonical()),
        ("org.opencontainers.image.ref.name".to_owned(), reference.tag().to_owned()),
    ]);
    let index = Index::of(vec![Descriptor::of(&top).with_annotations(names)], Annotations::new());
    tree.insert("index.json", file(json("the layout's index", &index)?))?;
    tree.insert("oci-layout", file(br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()))?;
    Ok(tree)
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    repo_tags: Vec<String>,
    layers: Vec<String>,
}

/// The format of `docker save`: plain tars, named by digest.
fn docker_tree(images: &[Image], reference: &Reference) -> Result<Tree, Error> {
    let [image] = images else {
        return Err(Error::Reference { reference: reference.to_string(), reason: "a docker archive has one platform" });
    };
    let mut tree = Tree::new();
    let config = format!("{}.json", image.config.digest.hex());
    tree.insert(&config, file(image.config.content.clone()))?;
    let mut layers = Vec::new();
    for layer in &image.layers {
        let name = format!("{}.tar", layer.diff_id.hex());
        if tree.get(&name).is_none() {
            tree.insert(&name, file(layer.tar.clone()))?;
        }
        layers.push(name);
    }
    let manifest = [DockerImage { config, repo_tags: vec![reference.to_string()], layers }];
    tree.insert("manifest.json", file(json("the docker archive's manifest", &manifest)?))?;
    Ok(tree)
}

fn file(content: Vec<u8>) -> Node {
    Node::File { mode: 0o644, content }
}

fn json(what: &'static str, value: &impl Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|source| Error::Json { what, source })
}

/// Writes a file through a temporary neighbour, so that a reader sees the old or the new one. Missing parent folders
/// are made.
pub fn write_file(path: &Path, content: &[u8]) -> Result<(), Error> {
    let temporary = neighbour(path);
    make_parent(path)?;
    fs::write(&temporary, content).map_err(Error::io("write", &temporary))?;
    fs::rename(&temporary, path).map_err(Error::io("write", path))
}

fn write_folder(path: &Path, tree: &Tree) -> Result<(), Error> {
    let temporary = neighbour(path);
    remove_folder(&temporary)?;
    make_parent(path)?;
    fs::create_dir(&temporary).map_err(Error::io("create", &temporary))?;
    for (name, node) in tree.iter() {
        let to = temporary.join(name);
        match node {
            Node::Folder { .. } => fs::create_dir(&to).map_err(Error::io("create", &to))?,
            Node::File { content, .. } => fs::write(&to, content).map_err(Error::io("write", &to))?,
            Node::Link { target } => std::os::unix::fs::symlink(target, &to).map_err(Error::io("create", &to))?,
        }
    }
    remove_folder(path)?;
    fs::rename(&temporary, path).map_err(Error::io("write", path))
}

fn remove_folder(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        _ => Ok(()),
    }
}

fn make_parent(path: &Path) -> Result<(), Error> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => {
            fs::create_dir_all(parent).map_err(Error::io("create", parent))
        }
        _ => Ok(()),
    }
}

/// A name in the same folder, of this process alone.
pub(crate) fn neighbour(path: &Path) -> std::path::PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}", std::process::id()));
    path.with_file_name(name)
}
