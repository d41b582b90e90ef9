//! The one image that pods of the bed need besides our own: a static busybox, for workloads and as pause image.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use image_builder::definition::ImageDefinition;
use image_builder::image::{self, Annotations, Platform};
use image_builder::layout::{self, Output};
use image_builder::reference::Reference;
use image_builder::tree::{Node, Tree};

/// Its name in the workers' containerd.
pub const BUSYBOX_IMAGE: &str = "testbed.local/busybox:1.35.0";

/// Applets that get a name of their own below `/bin`.
const APPLETS: &[&str] = &["cat", "grep", "httpd", "ls", "nc", "sh", "sleep", "wget"];

/// Writes the image into `dir` as a docker archive.
///
/// # Errors
/// When busybox is not installed or the file cannot be written.
pub fn busybox_archive(dir: &Path) -> anyhow::Result<PathBuf> {
    let busybox = std::fs::read("/bin/busybox").context("cannot read /bin/busybox: is busybox-static installed?")?;
    let mut tree = Tree::new();
    tree.insert("/bin/busybox", Node::File { mode: 0o755, content: busybox })?;
    for applet in APPLETS {
        tree.insert(&format!("/bin/{applet}"), Node::Link { target: "busybox".into() })?;
    }
    tree.insert("/tmp", Node::Folder { mode: 0o1777 })?;
    let definition = ImageDefinition {
        name: "busybox".into(),
        title: "busybox".into(),
        description: "Pause image and workload of the test bed".into(),
        user: "0:0".into(),
        entrypoint: vec!["/bin/sleep".into(), "2147483647".into()],
        command: Vec::new(),
        platforms: vec![Platform::LinuxAmd64],
        layers: Vec::new(),
    };
    let image = image::build(&definition, Platform::LinuxAmd64, &[tree], &Annotations::new())?;
    let reference = Reference::new(Some("testbed.local"), "busybox", "1.35.0")?;
    let path = dir.join("busybox.docker.tar");
    layout::write(&[image], &reference, Output::DockerArchive, &path)?;
    Ok(path)
}
