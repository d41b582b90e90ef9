//! What an image is made of, as a software bill of materials: CycloneDX 1.6, JSON.
//!
//! It carries neither time nor serial number, so that equal images have equal bills.

mod crates;
mod go;

use std::collections::BTreeSet;

use serde::Serialize;

use crate::definition::ImageDefinition;
use crate::image::Image;
use crate::reference::Reference;
use crate::tree::{Node, Tree};
use crate::{Digest, Error};

pub use crates::{Packages, packages};

/// Media type of a bill, and artifact type of the manifest that attaches it to an image.
pub const MEDIA_TYPE: &str = "application/vnd.cyclonedx+json";

/// How a part is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A program of its own.
    Application,
    /// Linked into a program.
    Library,
}

/// One part of an image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Component {
    /// How it is used.
    pub kind: Kind,
    /// Its name, as its package registry has it.
    pub name: String,
    /// Its version, where it is known.
    pub version: Option<String>,
    /// A package URL; parts that no registry has are without.
    pub purl: Option<String>,
    /// An SPDX expression.
    pub licence: Option<String>,
    /// The hash that the package registry vouches for.
    pub sha256: Option<String>,
}

/// The parts of `image`: this workspace's programs with all crates linked into them, and the payload's programs with
/// all Go modules linked into them.
///
/// `payload_version` names the payload where its programs do not know their version.
#[must_use]
pub fn components(
    definition: &ImageDefinition,
    packages: &Packages,
    payload: Option<&Tree>,
    payload_version: Option<&str>,
) -> BTreeSet<Component> {
    let mut all: BTreeSet<Component> = definition.binaries().flat_map(|binary| packages.of(binary)).cloned().collect();
    let files = payload.filter(|_| definition.needs_payload()).into_iter().flat_map(Tree::iter);
    for (_, node) in files {
        if let Node::File { content, .. } = node {
            all.extend(go::components(content, payload_version));
        }
    }
    all
}

/// The bill of `image`, which is known as `reference`.
pub fn document(
    image: &Image,
    reference: &Reference,
    licence: &str,
    components: &BTreeSet<Component>,
) -> Result<Vec<u8>, Error> {
    let name = reference.repository().rsplit('/').next().unwrap_or_default();
    let subject = Entry {
        kind: "container",
        reference: Some(image_purl(name, image.manifest.digest)),
        name,
        version: Some(reference.tag()),
        purl: Some(image_purl(name, image.manifest.digest)),
        hashes: Vec::new(),
        licenses: vec![Licence { expression: licence }],
    };
    let bill = Bill {
        schema: "http://cyclonedx.org/schema/bom-1.6.schema.json",
        bom_format: "CycloneDX",
        spec_version: "1.6",
        version: 1,
        metadata: Metadata { component: subject },
        components: components.iter().map(Entry::of).collect(),
    };
    serde_json::to_vec_pretty(&bill).map_err(|source| Error::Json { what: "the software bill of materials", source })
}

fn image_purl(name: &str, digest: Digest) -> String {
    format!("pkg:oci/{name}@{}", escape(&digest.to_string()))
}

/// Escapes what a version may hold and a package URL may not.
fn escape(text: &str) -> String {
    text.replace('%', "%25").replace('+', "%2B").replace(':', "%3A").replace('@', "%40")
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Bill<'a> {
    #[serde(rename = "$schema")]
    schema: &'static str,
    bom_format: &'static str,
    spec_version: &'static str,
    version: u8,
    metadata: Metadata<'a>,
    components: Vec<Entry<'a>>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    component: Entry<'a>,
}

#[derive(Serialize)]
struct Entry<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(rename = "bom-ref", skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hashes: Vec<Hash<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    licenses: Vec<Licence<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    purl: Option<String>,
}

#[derive(Serialize)]
struct Hash<'a> {
    alg: &'static str,
    content: &'a str,
}

#[derive(Serialize)]
struct Licence<'a> {
    expression: &'a str,
}

impl<'a> Entry<'a> {
    fn of(component: &'a Component) -> Self {
        let Component { kind, name, version, purl, licence, sha256 } = component;
        Self {
            kind: match kind {
                Kind::Application => "application",
                Kind::Library => "library",
            },
            reference: purl.clone(),
            name,
            version: version.as_deref(),
            hashes: sha256.iter().map(|content| Hash { alg: "SHA-256", content }).collect(),
            licenses: licence.iter().map(|expression| Licence { expression }).collect(),
            purl: purl.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{self, Annotations, Platform};

    fn definition(payload: bool) -> ImageDefinition {
        let layer = if payload { "payload: /payload" } else { "files: [{path: /tool, binary: tool, mode: \"0755\"}]" };
        let text = format!(
            "name: image\ntitle: t\ndescription: d\nuser: \"1:1\"\nentrypoint: [/tool]\nplatforms: [linux/amd64]\n\
             layers:\n- {layer}\n"
        );
        serde_saphyr::from_str(&text).unwrap()
    }

    #[test]
    fn a_bill_names_the_image_and_its_parts() {
        let image = image::build(&definition(false), Platform::LinuxAmd64, &[], &Annotations::new()).unwrap();
        let reference = Reference::new(Some("registry.example.com/team"), "image", "1.2.3").unwrap();
        let part = Component {
            kind: Kind::Library,
            name: "zstd-sys".to_owned(),
            version: Some("2.0.16+zstd.1.5.7".to_owned()),
            purl: Some("pkg:cargo/zstd-sys@2.0.16%2Bzstd.1.5.7".to_owned()),
            licence: Some("MIT OR Apache-2.0".to_owned()),
            sha256: None,
        };
        let bill = document(&image, &reference, "Apache-2.0", &BTreeSet::from([part.clone()])).unwrap();
        assert_eq!(bill, document(&image, &reference, "Apache-2.0", &BTreeSet::from([part])).unwrap());
        let bill: serde_json::Value = serde_json::from_slice(&bill).unwrap();
        let subject = &bill["metadata"]["component"];
        assert_eq!((&subject["name"], &subject["version"]), (&"image".into(), &"1.2.3".into()));
        assert_eq!(subject["purl"], format!("pkg:oci/image@sha256%3A{}", image.manifest.digest.hex()));
        assert_eq!(
            bill["components"],
            serde_json::json!([{
                "type": "library", "bom-ref": "pkg:cargo/zstd-sys@2.0.16%2Bzstd.1.5.7",
                "name": "zstd-sys", "version": "2.0.16+zstd.1.5.7",
                "licenses": [{ "expression": "MIT OR Apache-2.0" }],
                "purl": "pkg:cargo/zstd-sys@2.0.16%2Bzstd.1.5.7",
            }])
        );
    }

    #[test]
    fn a_bill_lists_the_payload_only_for_an_image_that_holds_it() {
        let mut payload = Tree::new();
        let content = go::tests::program("path\tx/cmd/tool\nmod\tx\t(devel)\t\ndep\ty\tv1.0.0\t\n");
        payload.insert("opt/intel/bin/cri-resmgr", Node::File { mode: 0o755, content }).unwrap();
        let none = Packages::default();
        assert!(components(&definition(false), &none, Some(&payload), None).is_empty());
        let with = components(&definition(true), &none, Some(&payload), Some("0.9.2"));
        let names: Vec<_> = with.iter().map(|part| (part.name.as_str(), part.version.as_deref())).collect();
        assert_eq!(names, [("x", Some("0.9.2")), ("stdlib", Some("1.26.8")), ("y", Some("v1.0.0"))]);
    }
}
