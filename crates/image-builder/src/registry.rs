//! Images, what is said about them, and charts into a registry, by the OCI distribution specification.

mod credentials;

use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference as Remote, RegistryOperation};
use reqwest::header::HeaderValue;

use crate::chart::Chart;
use crate::image::{Annotations, Artifact, Blob, Descriptor, INDEX, Image, MANIFEST, Manifest, top};
use crate::reference::Reference;
use crate::{Digest, Error};

/// Helm's media types: <https://helm.sh/docs/topics/registries/>.
const CHART_CONFIG: &str = "application/vnd.cncf.helm.config.v1+json";
const CHART_CONTENT: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";

/// A connection to the registry of one reference.
pub struct Upload {
    client: Client,
    remote: Remote,
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Upload({})", self.remote)
    }
}

impl Upload {
    /// Signs in to the registry of `reference` with what Docker's configuration says about it, else anonymously.
    /// `plain_http` is for registries without TLS; those on loopback are taken as such without being told.
    pub async fn begin(reference: &Reference, plain_http: bool) -> Result<Self, Error> {
        // One provider for the process; that another part of it was first is fine.
        let _already_installed = rustls::crypto::ring::default_provider().install_default();
        let name = reference.canonical();
        let failed = |source| transfer(format!("cannot sign in for {name}"), source);
        let remote: Remote =
            name.parse().map_err(|_| Error::Reference { reference: name.clone(), reason: "is no image reference" })?;
        let plain = plain_http || is_loopback(remote.resolve_registry());
        let protocol = if plain { ClientProtocol::Http } else { ClientProtocol::Https };
        let config = ClientConfig { protocol, use_monolithic_push: true, ..ClientConfig::default() };
        let client = Client::try_from(config).map_err(failed)?;
        let auth = match credentials::find(remote.resolve_registry())? {
            Some((user, password)) => RegistryAuth::Basic(user, password),
            None => RegistryAuth::Anonymous,
        };
        client.auth(&remote, &auth, RegistryOperation::Push).await.map_err(failed)?;
        Ok(Self { client, remote })
    }

    /// Pushes `images` (one per platform) under the reference's tag. `report` hears of each blob before it is sent,
    /// with its size in bytes; those that the registry has are not sent again.
    pub async fn images(&self, images: &[Image], mut report: impl FnMut(&Digest, usize)) -> Result<Digest, Error> {
        for image in images {
            for blob in std::iter::once(&image.config).chain(image.layers.iter().map(|layer| &layer.packed)) {
                self.blob(blob, &mut report).await?;
            }
        }
        let top = top(images)?;
        if images.len() > 1 {
            for image in images {
                let by_digest = self.remote.clone_with_digest(image.manifest.digest.to_string());
                self.manifest(&by_digest, &image.manifest).await?;
            }
        }
        self.manifest(&self.remote, &top).await?;
        Ok(top.digest)
    }

    /// Pushes a chart as `helm push` does.
    pub async fn chart(&self, chart: &Chart, mut report: impl FnMut(&Digest, usize)) -> Result<Digest, Error> {
        let manifest = chart_manifest(chart)?;
        for blob in [&manifest.config, &manifest.content] {
            self.blob(blob, &mut report).await?;
        }
        self.manifest(&self.remote, &manifest.manifest).await?;
        Ok(manifest.manifest.digest)
    }

    /// Pushes a document about an image that is there. Where the registry does not list such documents by itself, the
    /// index is kept for it under the tag that the specification sets for that.
    pub async fn referrer(&self, artifact: &Artifact, mut report: impl FnMut(&Digest, usize)) -> Result<Digest, Error> {
        for blob in [&artifact.config, &artifact.content] {
            self.blob(blob, &mut report).await?;
        }
        let digest = artifact.manifest.digest;
        self.manifest(&self.remote.clone_with_digest(digest.to_string()), &artifact.manifest).await?;
        let subject = self.remote.clone_with_digest(artifact.subject.to_string());
        let listed = self
            .client
            .pull_referrers(&subject, None)
            .await
            .map_err(|source| transfer(format!("cannot list what is said about {subject}"), source))?;
        // A registry that lists them has this one by now; the library looks at the tag where there is no such list.
        if listed.manifests.iter().all(|entry| entry.digest != digest.to_string()) {
            let (registry, repository) = (self.remote.registry(), self.remote.repository());
            let tag = artifact.subject.to_string().replace(':', "-");
            let tag = Remote::with_tag(registry.to_owned(), repository.to_owned(), tag);
            self.manifest(&tag, &referrers(serde_json::to_value(&listed.manifests), artifact)?).await?;
        }
        Ok(digest)
    }

    async fn blob(&self, blob: &Blob, report: &mut impl FnMut(&Digest, usize)) -> Result<(), Error> {
        let digest = blob.digest.to_string();
        let failed = |source| transfer(format!("cannot push blob {digest} of {}", self.remote), source);
        if self.client.blob_exists(&self.remote, &digest).await.map_err(failed)? {
            return Ok(());
        }
        report(&blob.digest, blob.content.len());
        self.client.push_blob(&self.remote, blob.content.clone(), &digest).await.map_err(failed)?;
        Ok(())
    }

    async fn manifest(&self, remote: &Remote, manifest: &Blob) -> Result<(), Error> {
        let kind = HeaderValue::from_static(manifest.media_type);
        self.client
            .push_manifest_raw(remote, manifest.content.clone(), kind)
            .await
            .map_err(|source| transfer(format!("cannot push the manifest of {remote}"), source))?;
        Ok(())
    }
}

/// The index of all that is said about an image: what was `listed`, and `artifact`.
fn referrers(listed: Result<serde_json::Value, serde_json::Error>, artifact: &Artifact) -> Result<Blob, Error> {
    let failed = |source| Error::Json { what: "the index of referrers", source };
    let mut manifests = listed.map_err(failed)?;
    if let Some(list) = manifests.as_array_mut() {
        list.push(serde_json::to_value(artifact.descriptor()).map_err(failed)?);
    }
    let index = serde_json::json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
    Blob::json(INDEX, "the index of referrers", &index)
}

struct ChartManifest {
    config: Blob,
    content: Blob,
    manifest: Blob,
}

fn chart_manifest(chart: &Chart) -> Result<ChartManifest, Error> {
    let metadata: serde_json::Value = serde_saphyr::from_str(&chart.metadata)
        .map_err(|error| Error::Chart { path: chart.file_name().into(), reason: error.to_string() })?;
    let config = Blob::json(CHART_CONFIG, "the chart's metadata", &metadata)?;
    let content = Blob::new(CHART_CONTENT, chart.archive.clone());
    let annotations = Annotations::from([
        ("org.opencontainers.image.title".to_owned(), chart.name.clone()),
        ("org.opencontainers.image.version".to_owned(), chart.version.clone()),
    ]);
    let manifest = Manifest::new(&config, vec![Descriptor::of(&content)], annotations);
    let manifest = Blob::json(MANIFEST, "the chart's manifest", &manifest)?;
    Ok(ChartManifest { config, content, manifest })
}

fn is_loopback(registry: &str) -> bool {
    let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host);
    host == "localhost" || host.starts_with("127.") || host == "[::1]"
}

fn transfer(what: String, source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Transfer { what, source: Box::new(source) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_needs_no_tls() {
        for (registry, expected) in [
            ("localhost:5001", true),
            ("localhost", true),
            ("127.0.0.1:5000", true),
            ("[::1]:5000", true),
            ("registry.local.gardener.cloud:5001", false),
            ("registry.example.com", false),
            ("localhost.example.com:5000", false),
        ] {
            assert_eq!(is_loopback(registry), expected, "{registry}");
        }
    }

    #[test]
    fn a_chart_is_what_helm_expects() {
        let chart = Chart {
            name: "some".to_owned(),
            version: "1.2.3".to_owned(),
            metadata: "apiVersion: v2\nname: some\nversion: 1.2.3\n".to_owned(),
            archive: b"archive".to_vec(),
        };
        let ChartManifest { config, content, manifest } = chart_manifest(&chart).unwrap();
        assert_eq!(config.content, br#"{"apiVersion":"v2","name":"some","version":"1.2.3"}"#);
        let manifest: serde_json::Value = serde_json::from_slice(&manifest.content).unwrap();
        assert_eq!(manifest["config"]["mediaType"], CHART_CONFIG);
        assert_eq!(manifest["layers"][0]["mediaType"], CHART_CONTENT);
        assert_eq!(manifest["layers"][0]["digest"], content.digest.to_string());
    }
}
