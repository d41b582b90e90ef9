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

/// A static program for the machine of that number, as far as anybody here looks.
fn elf(machine: u8) -> Vec<u8> {
    let mut elf = vec![0; 64];
    elf[..7].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1, 1]);
    elf[18] = machine;
    elf
}

const MACHINES: [(Platform, u8); 2] = [(Platform::LinuxAmd64, 62), (Platform::LinuxArm64, 183)];

fn payload(machine: u8) -> Tree {
    let mut payload = Tree::new();
    payload.insert("opt/intel/bin/cri-resmgr", Node::File { mode: 0o755, content: elf(machine) }).unwrap();
    payload
}

fn definition(folder: &Path, text: &str) -> ImageDefinition {
    std::fs::write(folder.join("text"), "a text").unwrap();
    std::fs::write(folder.join("image.yaml"), text).unwrap();
    for (platform, machine) in MACHINES {
        let binaries = folder.join(platform.architecture());
        std::fs::create_dir_all(&binaries).unwrap();
        std::fs::write(binaries.join("tool"), elf(machine)).unwrap();
    }
    ImageDefinition::read(&folder.join("image.yaml")).unwrap()
}

fn build(folder: &Path) -> Image {
    let definition = definition(folder, DEFINITION);
    let (payload, binaries) = (payload(62), folder.join("amd64"));
    let inputs = Inputs { root: folder, binaries: &binaries, payload: Some(&payload) };
    let layers = definition.layers(Platform::LinuxAmd64, inputs).unwrap();
    image::build(&definition, Platform::LinuxAmd64, &layers, &facts()).unwrap()
}

fn build_both(folder: &Path) -> Vec<Image> {
    let definition = definition(folder, &DEFINITION.replace("- payload: /payload\n", ""));
    let build = |(platform, _): (Platform, u8)| {
        let binaries = folder.join(platform.architecture());
        let inputs = Inputs { root: folder, binaries: &binaries, payload: None };
        image::build(&definition, platform, &definition.layers(platform, inputs).unwrap(), &facts()).unwrap()
    };
    MACHINES.map(build).into()
}

fn facts() -> BTreeMap<String, String> {
    BTreeMap::from([("org.opencontainers.image.version".to_owned(), "1.2.3".to_owned())])
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
    let first = build(one.path());
    // The second one finds other modes and other times at the same content.
    build(other.path());
    for name in ["text", "image.yaml", "amd64/tool"] {
        let file = std::fs::File::open(other.path().join(name)).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_234_567_890)).unwrap();
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }
    let definition = ImageDefinition::read(&other.path().join("image.yaml")).unwrap();
    let (payload, binaries) = (payload(62), other.path().join("amd64"));
    let inputs = Inputs { root: other.path(), binaries: &binaries, payload: Some(&payload) };
    let layers = definition.layers(Platform::LinuxAmd64, inputs).unwrap();
    let second = image::build(&definition, Platform::LinuxAmd64, &layers, &facts()).unwrap();
    for output in [Output::OciArchive, Output::DockerArchive] {
        let (a, b) = (one.path().join("a"), other.path().join("b"));
        let digest = layout::write(std::slice::from_ref(&first), &reference(), output, &a).unwrap();
        assert_eq!(layout::write(std::slice::from_ref(&second), &reference(), output, &b).unwrap(), digest);
        assert_eq!(std::fs::read(a).unwrap(), std::fs::read(b).unwrap());
    }
}

#[test]
fn an_oci_archive_is_complete_and_labelled() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image.tar");
    let digest = layout::write(&[build(folder.path())], &reference(), Output::OciArchive, &path).unwrap();
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
    let images = build_both(folder.path());
    let path = folder.path().join("layout");
    let digest = layout::write(&images, &reference(), Output::Layout, &path).unwrap();
    let file = |digest: &str| path.join("blobs/sha256").join(digest.trim_start_matches("sha256:"));
    let index = ImageIndex::from_file(file(&digest.to_string())).unwrap();
    assert_eq!(index.manifests().len(), MACHINES.len());
    for ((platform, machine), entry) in MACHINES.into_iter().zip(index.manifests()) {
        let architecture = entry.platform().as_ref().unwrap().architecture().to_string();
        assert_eq!(architecture, platform.architecture());
        let digest = entry.digest().to_string();
        assert_eq!(Digest::of(&std::fs::read(file(&digest)).unwrap()).to_string(), digest);
        let manifest = ImageManifest::from_file(file(&digest)).unwrap();
        assert_eq!(manifest.annotations().as_ref().unwrap()["org.opencontainers.image.version"], "1.2.3");
        let config = ImageConfiguration::from_file(file(manifest.config().digest().as_ref())).unwrap();
        assert_eq!(config.architecture().to_string(), architecture);
        let layer = std::fs::read(file(manifest.layers()[0].digest().as_ref())).unwrap();
        let layer = Tree::from_tar(&gzip::decompress(&layer, "layer").unwrap(), "layer").unwrap();
        assert_eq!(layer.file("tool"), Some(elf(machine).as_slice()), "{platform} has another one's program");
    }
    assert!(layout::write(&images, &reference(), Output::DockerArchive, &path).is_err());
    // A second time over the first.
    assert_eq!(layout::write(&images, &reference(), Output::Layout, &path).unwrap(), digest);
}

#[test]
fn a_program_for_another_machine_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let definition = definition(folder.path(), DEFINITION);
    let refused = |platform, binaries: &str, payload: u8| {
        let (binaries, payload) = (folder.path().join(binaries), self::payload(payload));
        let inputs = Inputs { root: folder.path(), binaries: &binaries, payload: Some(&payload) };
        definition.layers(platform, inputs).err().map(|error| error.to_string())
    };
    assert_eq!(refused(Platform::LinuxAmd64, "amd64", 62), None);
    assert_eq!(refused(Platform::LinuxArm64, "arm64", 183), None);
    for (platform, binaries, payload, why) in [
        (Platform::LinuxAmd64, "arm64", 62, "tool is for linux/arm64, and cannot be in an image for linux/amd64"),
        (Platform::LinuxArm64, "arm64", 62, "cri-resmgr is for linux/amd64, and cannot be in an image for linux/arm64"),
        (Platform::LinuxAmd64, "amd64", 40, "cri-resmgr is no program of a known platform"),
    ] {
        let reported = refused(platform, binaries, payload).unwrap();
        assert!(reported.contains(why), "{reported}");
    }
    // One that needs a loader, which an image without a file system does not have: this test itself.
    std::fs::copy(std::env::current_exe().unwrap(), folder.path().join("amd64/tool")).unwrap();
    let reported = refused(Platform::of_this_machine().unwrap(), "amd64", 62).unwrap();
    assert!(reported.contains("no static program"), "{reported}");
}
