//! An archive of two platforms, as `cargo xtask images --platform … --platform …` makes it where both can be built. Its programs are
//! headers alone: this machine need not have a compiler for the other one.

use std::path::Path;

use image_builder::Digest;
use image_builder::definition::{ImageDefinition, Inputs};
use image_builder::image::{self, Annotations, Platform};
use image_builder::layout::{self, Output};
use image_builder::reference::Reference;

/// The platforms, each with its number in an ELF header.
const MACHINES: [(Platform, u8); 2] = [(Platform::LinuxAmd64, 62), (Platform::LinuxArm64, 183)];
pub(crate) const PLATFORMS: [Platform; 2] = [MACHINES[0].0, MACHINES[1].0];

const DEFINITION: &str = "name: both\ntitle: t\ndescription: d\nuser: \"1:1\"\nentrypoint: [/tool]\n\
    platforms: [linux/amd64, linux/arm64]\nlayers: [{files: [{path: /tool, binary: tool, mode: \"0755\"}]}]\n";

/// Writes the image as `reference` to `archive`, and gives the digest of its index.
pub(crate) fn write(reference: &Reference, archive: &Path) -> anyhow::Result<Digest> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("both.yaml");
    std::fs::write(&file, DEFINITION)?;
    let definition = ImageDefinition::read(&file)?;
    let mut images = Vec::new();
    for (platform, machine) in MACHINES {
        let binaries = dir.path().join(platform.architecture());
        std::fs::create_dir(&binaries)?;
        let header = [&[0x7f, b'E', b'L', b'F', 2, 1, 1][..], &[0; 11], &[machine], &[0; 45]].concat();
        std::fs::write(binaries.join("tool"), header)?;
        let inputs = Inputs { root: dir.path(), binaries: &binaries, payload: None };
        let layers = definition.layers(platform, inputs)?;
        images.push(image::build(&definition, platform, &layers, &Annotations::new())?);
    }
    Ok(layout::write(&images, reference, Output::OciArchive, archive)?)
}
