//! The three forms of an image: deterministic, and readable by types that are not ours.
#![expect(clippy::unwrap_used, reason = "a failed step of a test's set-up ends the test")]

use std::collections::BTreeMap;
use std::path::Path;

use image_builder::definition::{ImageDefinition, Inputs};
use image_builder::image::{self, Image, Platform};
use image_builder::layout::{self, Output};
use image_builder::reference::Reference;
use image_builder::tree::{Node, Tree};
use image_builder::{Digest, gzip};
use oci_spec::image::{ImageConfiguration, ImageIndex, ImageManifest};

const DEFINITION: &str = r#"
name: test-image
title: Test
description: For a test.
user: "65532:65532"
entrypoint: [/tool, run]
platforms: [linux/amd64]
layers:
- payload: /payload
- files:
  - {path: /tool, binary: tool, mode: "0755"}
  - {path: /etc/text, file: text, mode: "0640"}
"#;

fn build(folder: &Path, platforms: &[Platform]) -> Vec<Image> {
    std::fs::create_dir_all(folder.join("bin")).unwrap();
    std::fs::write(folder.join("bin/tool"), "the tool").unwrap();
    std::fs::write(folder.join("text"), "a text").unwrap();
    std::fs::write(folder.join("image.yaml"), DEFINITION).unwrap();
    let definition = ImageDefinition::read(&folder.join("image.yaml")).unwrap();
    let mut payload = Tree::new();
    payload.insert("opt/intel/bin/cri-resmgr", Node::File { mode: 0o755, content: b"daemon".to_vec() }).unwrap();
    let binaries = folder.join("bin");
    let inputs = Inputs { root: folder, binaries: &binaries, payload: Some(&payload) };
    let facts = BTreeMap::from([("org.opencontainers.image.version".to_owned(), "1.2.3".to_owned())]);
    let layers = definition.layers(inputs).unwrap();
    platforms.iter().map(|platform| image::build(&definition, *platform, &layers, &facts).unwrap()).collect()
}

fn reference() -> Reference {
    Reference::new(Some("localhost:5001"), "test-image", "1.2.3").unwrap()
}

fn blob<'a>(tree: &'a Tree, digest: &str) -> &'a [u8] {
    let digest: Digest = digest.parse().unwrap();
    let content = tree.file(&format!("blobs/sha256/{}", digest.hex())).unwrap();
    assert_eq!(Digest::of(content), digest);
    content
}

#[test]
fn two_builds_in_different_folders_are_equal() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for output in [Output::OciArchive, Output::DockerArchive] {
        let (a, b) = (one.path().join("a"), other.path().join("b"));
        let digest = layout::write(&build(one.path(), &[Platform::LinuxAmd64]), &reference(), output, &a).unwrap();
        let again = layout::write(&build(other.path(), &[Platform::LinuxAmd64]), &reference(), output, &b).unwrap();
        assert_eq!(digest, again);
        assert_eq!(std::fs::read(a).unwrap(), std::fs::read(b).unwrap());
    }
}

#[test]
fn oci_archive_is_whole_and_says_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image.tar");
    let digest =
        layout::write(&build(folder.path(), &[Platform::LinuxAmd64]), &reference(), Output::OciArchive, &path).unwrap();
    let tree = Tree::from_tar(&std::fs::read(path).unwrap(), "image").unwrap();
    let index = ImageIndex::from_reader(tree.file("index.json").unwrap()).unwrap();
    let [descriptor] = &index.manifests()[..] else { panic!("one image") };
    assert_eq!(descriptor.digest().to_string(), digest.to_string());
    let names = descriptor.annotations().as_ref().unwrap();
    assert_eq!(names["io.containerd.image.name"], "localhost:5001/test-image:1.2.3");
    assert_eq!(names["org.opencontainers.image.ref.name"], "1.2.3");

    let manifest = ImageManifest::from_reader(blob(&tree, descriptor.digest().as_ref())).unwrap();
    assert_eq!(manifest.annotations().as_ref().unwrap()["org.opencontainers.image.version"], "1.2.3");
    let config = ImageConfiguration::from_reader(blob(&tree, manifest.config().digest().as_ref())).unwrap();
    let run = config.config().as_ref().unwrap();
    assert_eq!(run.user().as_deref(), Some("65532:65532"));
    assert_eq!(run.entrypoint().as_deref().unwrap(), ["/tool", "run"]);
    assert_eq!(run.labels().as_ref().unwrap()["org.opencontainers.image.title"], "Test");

    let mut files = Vec::new();
    for (layer, diff_id) in manifest.layers().iter().zip(config.rootfs().diff_ids()) {
        let packed = blob(&tree, layer.digest().as_ref());
        assert_eq!(packed.len() as u64, layer.size());
        let plain = gzip::decompress(packed, "layer").unwrap();
        assert_eq!(Digest::of(&plain).to_string(), *diff_id);
        let layer = Tree::from_tar(&plain, "layer").unwrap();
        files.extend(layer.iter().map(|(path, node)| (path.to_owned(), node.clone())));
    }
    let modes: Vec<(&str, u32)> = files
        .iter()
        .filter_map(|(path, node)| match node {
            Node::File { mode, .. } => Some((path.as_str(), *mode)),
            Node::Folder { .. } | Node::Link { .. } => None,
        })
        .collect();
    assert_eq!(modes, [("payload/opt/intel/bin/cri-resmgr", 0o755), ("etc/text", 0o640), ("tool", 0o755)]);
}

#[test]
fn two_platforms_become_an_index_and_no_docker_archive() {
    let folder = tempfile::tempdir().unwrap();
    let images = build(folder.path(), &[Platform::LinuxAmd64, Platform::LinuxArm64]);
    let path = folder.path().join("layout");
    let digest = layout::write(&images, &reference(), Output::Layout, &path).unwrap();
    let index = ImageIndex::from_file(path.join("blobs/sha256").join(digest.hex())).unwrap();
    let architectures: Vec<String> =
        index.manifests().iter().map(|m| m.platform().as_ref().unwrap().architecture().to_string()).collect();
    assert_eq!(architectures, ["amd64", "arm64"]);
    assert!(layout::write(&images, &reference(), Output::DockerArchive, &path).is_err());
    // A second time over the first.
    assert_eq!(layout::write(&images, &reference(), Output::Layout, &path).unwrap(), digest);
}
