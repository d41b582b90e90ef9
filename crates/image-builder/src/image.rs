//! Blobs, manifest and index of an image, as the OCI image specification 1.1 has them.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::definition::ImageDefinition;
pub use crate::platform::Platform;
use crate::tree::Tree;
use crate::{Digest, Error, gzip};

/// Media type of a manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of an index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// Media type of an image's configuration.
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// Media type of a gzipped layer.
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// Media type of a configuration that says nothing: an artifact has no other.
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// When everything was created: a real time would make every build another image.
const CREATED: &str = "1970-01-01T00:00:00Z";

/// Labels of the configuration and annotations of the manifest (`org.opencontainers.image.*`), by key.
pub type Annotations = BTreeMap<String, String>;

/// Content with its address and kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// What it is.
    pub media_type: &'static str,
    /// Its address.
    pub digest: Digest,
    /// Its bytes.
    pub content: Vec<u8>,
}

impl Blob {
    pub(crate) fn new(media_type: &'static str, content: Vec<u8>) -> Self {
        Self { media_type, digest: Digest::of(&content), content }
    }

    pub(crate) fn json(media_type: &'static str, what: &'static str, value: &impl Serialize) -> Result<Self, Error> {
        let content = serde_json::to_vec(value).map_err(|source| Error::Json { what, source })?;
        Ok(Self::new(media_type, content))
    }
}

/// A layer in both of its forms.
#[derive(Debug, Clone)]
pub struct Layer {
    /// gzipped.
    pub packed: Blob,
    /// The plain tar; its digest is the configuration's diff id.
    pub tar: Vec<u8>,
    /// The plain tar's digest.
    pub diff_id: Digest,
}

/// An image for one platform.
#[derive(Debug, Clone)]
pub struct Image {
    /// What it runs on.
    pub platform: Platform,
    /// Its configuration.
    pub config: Blob,
    /// Its layers, lowest first.
    pub layers: Vec<Layer>,
    /// Its manifest; this digest is the image's.
    pub manifest: Blob,
}

/// A reference from one document to another.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    pub(crate) media_type: &'static str,
    pub(crate) digest: Digest,
    pub(crate) size: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) artifact_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) platform: Option<PlatformDescriptor>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: Annotations,
}

#[derive(Debug, Clone, Serialize)]
pub(crate) struct PlatformDescriptor {
    architecture: &'static str,
    os: &'static str,
}

impl Descriptor {
    pub(crate) fn of(blob: &Blob) -> Self {
        let Blob { media_type, digest, content } = blob;
        Self {
            media_type,
            digest: *digest,
            size: content.len(),
            artifact_type: None,
            platform: None,
            annotations: Annotations::new(),
        }
    }

    pub(crate) fn with_platform(self, platform: Platform) -> Self {
        Self { platform: Some(PlatformDescriptor { architecture: platform.architecture(), os: "linux" }), ..self }
    }

    pub(crate) fn with_annotations(self, annotations: Annotations) -> Self {
        Self { annotations, ..self }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    schema_version: u8,
    media_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    artifact_type: Option<&'static str>,
    config: Descriptor,
    layers: Vec<Descriptor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<Descriptor>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: Annotations,
}

impl Manifest {
    pub(crate) fn new(config: &Blob, layers: Vec<Descriptor>, annotations: Annotations) -> Self {
        Self {
            schema_version: 2,
            media_type: MANIFEST,
            artifact_type: None,
            config: Descriptor::of(config),
            layers,
            subject: None,
            annotations,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Index {
    schema_version: u8,
    media_type: &'static str,
    manifests: Vec<Descriptor>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: Annotations,
}

impl Index {
    pub(crate) fn of(manifests: Vec<Descriptor>, annotations: Annotations) -> Self {
        Self { schema_version: 2, media_type: INDEX, manifests, annotations }
    }
}

#[derive(Serialize)]
struct Configuration<'a> {
    created: &'static str,
    architecture: &'static str,
    os: &'static str,
    config: Execution<'a>,
    rootfs: RootFs,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Execution<'a> {
    user: &'a str,
    entrypoint: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    cmd: &'a [String],
    working_dir: &'static str,
    labels: &'a Annotations,
}

#[derive(Serialize)]
struct RootFs {
    r#type: &'static str,
    diff_ids: Vec<Digest>,
}

/// Builds the image of `definition` for `platform` from the contents of its layers. `facts` (version, revision, …)
/// become labels and annotations, together with the definition's title and description.
pub fn build(
    definition: &ImageDefinition,
    platform: Platform,
    layers: &[Tree],
    facts: &Annotations,
) -> Result<Image, Error> {
    let layers = layers.iter().map(layer).collect::<Result<Vec<_>, _>>()?;
    let mut annotations = facts.clone();
    for (key, value) in [("title", &definition.title), ("description", &definition.description)] {
        annotations.insert(format!("org.opencontainers.image.{key}"), value.clone());
    }
    let config = Configuration {
        created: CREATED,
        architecture: platform.architecture(),
        os: "linux",
        config: Execution {
            user: &definition.user,
            entrypoint: &definition.entrypoint,
            cmd: &definition.command,
            working_dir: "/",
            labels: &annotations,
        },
        rootfs: RootFs { r#type: "layers", diff_ids: layers.iter().map(|layer| layer.diff_id).collect() },
    };
    let config = Blob::json(CONFIG, "the image's configuration", &config)?;
    let descriptors = layers.iter().map(|layer| Descriptor::of(&layer.packed)).collect();
    let manifest = Blob::json(MANIFEST, "the image's manifest", &Manifest::new(&config, descriptors, annotations))?;
    Ok(Image { platform, config, layers, manifest })
}

fn layer(tree: &Tree) -> Result<Layer, Error> {
    let tar = tree.to_tar()?;
    let packed = Blob::new(LAYER, gzip::compress(&tar)?);
    Ok(Layer { packed, diff_id: Digest::of(&tar), tar })
}

/// A document about an image: a *referrer*, in the words of the distribution specification 1.1.
#[derive(Debug, Clone)]
pub struct Artifact {
    /// What kind of document it is.
    pub artifact_type: &'static str,
    /// The image's manifest that it is about.
    pub subject: Digest,
    pub(crate) config: Blob,
    pub(crate) content: Blob,
    /// Its manifest.
    pub manifest: Blob,
}

impl Artifact {
    /// `content` of the kind `artifact_type`, about `image`; `title` is the name that it gets as a file.
    pub fn about(image: &Image, artifact_type: &'static str, title: &str, content: Vec<u8>) -> Result<Self, Error> {
        let config = Blob::new(EMPTY, b"{}".to_vec());
        let content = Blob::new(artifact_type, content);
        let title = Annotations::from([("org.opencontainers.image.title".to_owned(), title.to_owned())]);
        let layers = vec![Descriptor::of(&content).with_annotations(title)];
        let manifest = Manifest {
            artifact_type: Some(artifact_type),
            subject: Some(Descriptor::of(&image.manifest)),
            ..Manifest::new(&config, layers, Annotations::new())
        };
        let manifest = Blob::json(MANIFEST, "the artifact's manifest", &manifest)?;
        Ok(Self { artifact_type, subject: image.manifest.digest, config, content, manifest })
    }

    /// As an index lists it.
    pub(crate) fn descriptor(&self) -> Descriptor {
        Descriptor { artifact_type: Some(self.artifact_type), ..Descriptor::of(&self.manifest) }
    }
}

/// What a tag points to: the manifest of a single image, or an index of several.
pub fn top(images: &[Image]) -> Result<Blob, Error> {
    if let [image] = images {
        return Ok(image.manifest.clone());
    }
    let manifests = images.iter().map(|image| Descriptor::of(&image.manifest).with_platform(image.platform)).collect();
    Blob::json(INDEX, "the image index", &Index::of(manifests, Annotations::new()))
}
