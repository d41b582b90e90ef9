//! Images, what is said about them, and charts into a registry, by the OCI distribution specification.

mod credentials;
mod sign_in;
mod trust;

use std::time::{Duration, Instant};

use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::secrets::RegistryAuth;
use oci_client::token_cache::RegistryTokenType;
use oci_client::{Client, Reference as Remote, RegistryOperation};
use reqwest::header::HeaderValue;

use crate::chart::Chart;
use crate::image::{Annotations, Artifact, Blob, Descriptor, INDEX, Image, MANIFEST, Manifest, top};
use crate::reference::Reference;
use crate::{Digest, Error};
use sign_in::{Pass, SignIn};

/// Helm's media types: <https://helm.sh/docs/topics/registries/>.
const CHART_CONFIG: &str = "application/vnd.cncf.helm.config.v1+json";
const CHART_CONTENT: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";

/// For a connection, TLS included.
const CONNECT: Duration = Duration::from_secs(10);
/// For the answer to a request; a blob is a part of its request, and goes over slow lines, too.
const ANSWER: Duration = Duration::from_secs(15 * 60);
/// A token is not used any more that would be void in so short a time.
const MARGIN: Duration = Duration::from_secs(15);

/// A connection to the registry of one reference.
pub struct Upload {
    remote: Remote,
    protocol: ClientProtocol,
    sign_in: SignIn,
    client: Client,
    /// When to sign in again.
    until: Option<Instant>,
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Upload({})", self.remote)
    }
}

impl Upload {
    /// Signs in to the registry of `reference` with what Docker's configuration says about it, else anonymously.
    /// `plain_http` is for registries without TLS; those on loopback are taken as such without being told.
    ///
    /// # Errors
    /// [`Error::Transfer`] where that fails, and for a registry that would have user and password sent without TLS.
    pub async fn begin(reference: &Reference, plain_http: bool) -> Result<Self, Error> {
        // One provider for the process; that another part of it was first is fine.
        let _already_installed = rustls::crypto::ring::default_provider().install_default();
        let remote = Remote::with_tag(reference.registry().to_owned(), reference.path(), reference.tag().to_owned());
        let registry = remote.resolve_registry();
        let plain = plain_http || trust::is_loopback(registry);
        let protocol = if plain { ClientProtocol::Http } else { ClientProtocol::Https };
        let sign_in = SignIn::new(registry, remote.repository(), plain, credentials::find(registry)?)
            .map_err(|source| transfer(format!("cannot sign in for {reference}"), source))?;
        let (client, until) = connect(&sign_in, &remote, &protocol).await?;
        Ok(Self { remote, protocol, sign_in, client, until })
    }

    /// The client, signed in.
    async fn client(&mut self) -> Result<&Client, Error> {
        if self.until.is_some_and(|until| until.saturating_duration_since(Instant::now()) < MARGIN) {
            (self.client, self.until) = connect(&self.sign_in, &self.remote, &self.protocol).await?;
        }
        Ok(&self.client)
    }

    /// Pushes `images` (one per platform) under the reference's tag. `report` hears of each blob before it is sent,
    /// with its size in bytes; those that the registry has are not sent again.
    pub async fn images(&mut self, images: &[Image], mut report: impl FnMut(&Digest, usize)) -> Result<Digest, Error> {
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
        self.manifest(&self.remote.clone(), &top).await?;
        Ok(top.digest)
    }

    /// Pushes a chart as `helm push` does.
    pub async fn chart(&mut self, chart: &Chart, mut report: impl FnMut(&Digest, usize)) -> Result<Digest, Error> {
        let manifest = chart_manifest(chart)?;
        for blob in [&manifest.config, &manifest.content] {
            self.blob(blob, &mut report).await?;
        }
        self.manifest(&self.remote.clone(), &manifest.manifest).await?;
        Ok(manifest.manifest.digest)
    }

    /// Pushes a document about an image that is there. Where the registry does not list such documents by itself, the
    /// index is kept for it under the tag that the specification sets for that.
    pub async fn referrer(
        &mut self,
        artifact: &Artifact,
        mut report: impl FnMut(&Digest, usize),
    ) -> Result<Digest, Error> {
        for blob in [&artifact.config, &artifact.content] {
            self.blob(blob, &mut report).await?;
        }
        let digest = artifact.manifest.digest;
        self.manifest(&self.remote.clone_with_digest(digest.to_string()), &artifact.manifest).await?;
        let subject = self.remote.clone_with_digest(artifact.subject.to_string());
        let listed = self
            .client()
            .await?
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

    async fn blob(&mut self, blob: &Blob, report: &mut impl FnMut(&Digest, usize)) -> Result<(), Error> {
        let digest = blob.digest.to_string();
        let remote = self.remote.clone();
        let failed = |source| transfer(format!("cannot push blob {digest} of {remote}"), source);
        let client = self.client().await?;
        if client.blob_exists(&remote, &digest).await.map_err(failed)? {
            return Ok(());
        }
        report(&blob.digest, blob.content.len());
        client.push_blob(&remote, blob.content.clone(), &digest).await.map_err(failed)?;
        Ok(())
    }

    async fn manifest(&mut self, remote: &Remote, manifest: &Blob) -> Result<(), Error> {
        let kind = HeaderValue::from_static(manifest.media_type);
        self.client()
            .await?
            .push_manifest_raw(remote, manifest.content.clone(), kind)
            .await
            .map_err(|source| transfer(format!("cannot push the manifest of {remote}"), source))?;
        Ok(())
    }
}

/// Signs in and makes a client that sends what came of it, and when that ends. The client never learns user and password of a
/// registry that works with tokens, so it cannot take them anywhere.
async fn connect(
    sign_in: &SignIn,
    remote: &Remote,
    protocol: &ClientProtocol,
) -> Result<(Client, Option<Instant>), Error> {
    let config = ClientConfig {
        protocol: protocol.clone(),
        use_monolithic_push: true,
        connect_timeout: Some(CONNECT),
        read_timeout: Some(ANSWER),
        ..ClientConfig::default()
    };
    let client = Client::try_from(config).map_err(|source| sign_in.failed(source))?;
    let registry = remote.resolve_registry();
    let until = match sign_in.pass().await? {
        Pass::Nothing => None,
        Pass::Basic { user, password } => {
            // Found in its cache, it is sent to the registry alone. Handed over as credentials, the client would ask the
            // registry once more what to do with it.
            client.store_auth_if_needed(registry, &RegistryAuth::Anonymous).await;
            for operation in [RegistryOperation::Pull, RegistryOperation::Push] {
                let basic = RegistryTokenType::Basic(user.clone(), password.clone());
                client.tokens.insert(remote, operation, basic).await;
            }
            None
        }
        Pass::Bearer { token, until } => {
            client.store_auth_if_needed(registry, &RegistryAuth::Bearer(token)).await;
            Some(until)
        }
    };
    Ok((client, until))
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

fn transfer(what: String, source: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::Transfer { what, source: Box::new(source) }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::TcpListener;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// A registry that is its own token server, and writes down which tokens it sees.
    fn token_registry() -> (String, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (realm, seen) = (format!("http://{address}/token"), Arc::default());
        let list: Arc<Mutex<Vec<String>>> = Arc::clone(&seen);
        std::thread::spawn(move || {
            for granted in 0.. {
                let (mut stream, _) = listener.accept().unwrap();
                let head: Vec<String> =
                    BufReader::new(&stream).lines().map(Result::unwrap).take_while(|line| !line.is_empty()).collect();
                list.lock().unwrap().extend(
                    head.iter().filter_map(|line| line.split_once("Bearer ")).map(|(_, token)| token.to_owned()),
                );
                let body = if head[0].contains("/token?") {
                    format!("{{\"access_token\": \"token-{granted}\", \"expires_in\": 300}}")
                } else {
                    String::new()
                };
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 200 x\r\nConnection: close\r\nWWW-Authenticate: Bearer realm=\"{realm}\"\r\nContent-Length: {length}\r\n\r\n{body}"
                );
                stream.write_all(answer.as_bytes()).unwrap();
            }
        });
        (address, seen)
    }

    #[tokio::test]
    async fn a_token_is_renewed_before_it_ends_and_not_sooner() {
        let (address, seen) = token_registry();
        let mut upload = Upload::begin(&Reference::new(Some(&address), "i", "1").unwrap(), false).await.unwrap();
        let blob = Blob::new(CHART_CONTENT, b"there".to_vec());
        for _ in 0..2 {
            upload.blob(&blob, &mut |_, _| ()).await.unwrap();
        }
        assert!(upload.until.unwrap() > Instant::now() + Duration::from_secs(200));
        upload.until = Some(Instant::now() + MARGIN / 2);
        upload.blob(&blob, &mut |_, _| ()).await.unwrap();
        assert!(upload.until.unwrap() > Instant::now() + Duration::from_secs(200));
        assert_eq!(*seen.lock().unwrap(), ["token-1", "token-1", "token-5"]);
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
