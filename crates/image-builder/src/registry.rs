//! Images, what is said about them, and charts into a registry, by the OCI distribution specification.
//!
//! | module | what it knows |
//! |---|---|
//! | `chart` | what a registry holds of a chart |
//! | `credentials` | where Docker's configuration has them |
//! | `trust` | who may get them |
//! | `sign_in` | what they are exchanged for |
//! | `wire` | requests and answers |
//! | `referrers` | which answers are lists of documents, and what becomes of them |

mod chart;
mod credentials;
mod referrers;
mod sign_in;
mod trust;
mod wire;

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use reqwest::header::HeaderMap;

use crate::chart::Chart;
use crate::image::{Artifact, Blob, Image, top};
use crate::reference::Reference;
use crate::{Digest, Error};
use chart::ChartManifest;
pub use chart::chart_digest;
use referrers::{List, UnderTag};
use sign_in::{Pass, SignIn};
use wire::Repository;

/// What Docker's registry is called, and where it is.
const DOCKER_HUB: (&str, &str) = ("docker.io", "index.docker.io");
/// For a connection, TLS included.
const CONNECT: Duration = Duration::from_secs(10);
/// A token is not used any more that would be void in so short a time.
const MARGIN: Duration = Duration::from_secs(15);
/// In the answer to a manifest: the registry has understood what it is about, and lists it by itself.
const UNDERSTOOD: &str = "oci-subject";

/// A connection to the registry of one reference.
pub struct Upload {
    reference: Reference,
    sign_in: SignIn,
    repository: Repository,
    /// When to sign in again.
    until: Option<Instant>,
    /// A tag may be given other content.
    overwrites: bool,
}

impl std::fmt::Debug for Upload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Upload({})", self.reference)
    }
}

impl Upload {
    /// Signs in to the registry of `reference` with what Docker's configuration says about it, else anonymously.
    /// `plain_http` is for registries without TLS; those on loopback are taken as such without being asked for.
    ///
    /// # Errors
    /// [`Error::Transfer`] where that fails, and for a registry that would have user and password sent without TLS;
    /// [`Error::Program`] and [`Error::Start`] for a credential helper that failed, where credentials are asked for.
    pub async fn begin(reference: &Reference, plain_http: bool) -> Result<Self, Error> {
        // One provider for the process; that another part of it was first is fine.
        let _already_installed = rustls::crypto::ring::default_provider().install_default();
        let registry = match reference.registry() {
            name if name == DOCKER_HUB.0 => DOCKER_HUB.1,
            host => host,
        };
        let plain = plain_http || trust::is_loopback(registry);
        let sign_in = SignIn::new(registry, &reference.path(), plain).map_err(|source| Error::Transfer {
            what: format!("cannot sign in for {reference}"),
            source: source.into(),
        })?;
        let repository = Repository::new(registry, &reference.path(), plain, Pass::Nothing)?;
        let mut upload = Self { reference: reference.clone(), sign_in, repository, until: None, overwrites: false };
        upload.sign_in().await?;
        Ok(upload)
    }

    /// Whether a tag that is there may be given other content. It is refused by default: whoever has pulled it keeps what it was.
    #[must_use]
    pub fn overwriting(self, overwrites: bool) -> Self {
        Self { overwrites, ..self }
    }

    async fn sign_in(&mut self) -> Result<(), Error> {
        self.repository.pass = self.sign_in.pass().await?;
        self.until = match self.repository.pass {
            Pass::Bearer { until, .. } => Some(until),
            Pass::Nothing | Pass::Basic { .. } => None,
        };
        Ok(())
    }

    /// The repository, signed in.
    async fn repository(&mut self) -> Result<&Repository, Error> {
        if self.until.is_some_and(|until| until.saturating_duration_since(Instant::now()) < MARGIN) {
            self.sign_in().await?;
        }
        Ok(&self.repository)
    }

    /// Pushes `images` (one per platform) under the reference's tag. `report` hears of each blob before it is sent,
    /// with its size in bytes; those that the registry has are not sent again.
    ///
    /// # Errors
    /// [`Error::Taken`] where the tag has other content, before anything is sent.
    pub async fn images(&mut self, images: &[Image], mut report: impl FnMut(&Digest, usize)) -> Result<Digest, Error> {
        let top = top(images)?;
        self.free(&top.digest).await?;
        for image in images {
            for blob in std::iter::once(&image.config).chain(image.layers.iter().map(|layer| &layer.packed)) {
                self.blob(blob, &mut report).await?;
            }
        }
        if images.len() > 1 {
            for image in images {
                self.manifest(&image.manifest.digest.to_string(), &image.manifest).await?;
            }
        }
        self.tagged(&top).await?;
        Ok(top.digest)
    }

    /// Pushes a chart as `helm push` does.
    ///
    /// # Errors
    /// [`Error::Taken`] where the tag has other content, before anything is sent.
    pub async fn chart(&mut self, chart: &Chart, mut report: impl FnMut(&Digest, usize)) -> Result<Digest, Error> {
        let manifest = ChartManifest::of(chart)?;
        self.free(&manifest.manifest.digest).await?;
        for blob in [&manifest.config, &manifest.content] {
            self.blob(blob, &mut report).await?;
        }
        self.tagged(&manifest.manifest).await?;
        Ok(manifest.manifest.digest)
    }

    /// Pushes a document about an image that is there. Where the registry does not list such documents by itself, the
    /// index is kept for it under the tag that the specification sets for that.
    ///
    /// # Errors
    /// One with [`Error::is_refusal`] where the registry takes no such document, or no list of them.
    pub async fn referrer(
        &mut self,
        artifact: &Artifact,
        mut report: impl FnMut(&Digest, usize),
    ) -> Result<Digest, Error> {
        for blob in [&artifact.config, &artifact.content] {
            self.blob(blob, &mut report).await?;
        }
        let digest = artifact.manifest.digest;
        let reported = self.manifest(&digest.to_string(), &artifact.manifest).await?;
        if !reported.contains_key(UNDERSTOOD) && !self.lists(artifact).await? {
            self.list(artifact).await?;
        }
        Ok(digest)
    }

    /// Whether the registry has the document in a list of its own.
    async fn lists(&mut self, artifact: &Artifact) -> Result<bool, Error> {
        let answer = self.repository().await?.referrers(&artifact.subject).await?;
        let list = List::read(answer.status, &answer.body);
        Ok(list.is_some_and(|list| list.has(&artifact.manifest.digest)))
    }

    /// Puts the document on the list that is kept under a tag.
    async fn list(&mut self, artifact: &Artifact) -> Result<(), Error> {
        let tag = referrers::tag(&artifact.subject);
        let answer = self.repository().await?.get(&tag).await?;
        let list = match referrers::under_tag(answer.status, &answer.body) {
            UnderTag::Nothing => List::default(),
            UnderTag::List(list) if list.has(&artifact.manifest.digest) => return Ok(()),
            UnderTag::List(list) => list,
            UnderTag::Unknown => {
                return Err(answer.refused(format!("cannot read the list of what is said about {}", artifact.subject)));
            }
        };
        self.manifest(&tag, &list.with(artifact)?).await?;
        Ok(())
    }

    async fn blob(&mut self, blob: &Blob, report: &mut impl FnMut(&Digest, usize)) -> Result<(), Error> {
        let repository = self.repository().await?;
        if repository.has(&blob.digest).await? {
            return Ok(());
        }
        report(&blob.digest, blob.content.len());
        repository.send_blob(blob).await
    }

    /// Whether our tag may be given this content. What cannot be read is no reason against it: the push itself will show it.
    async fn free(&mut self, digest: &Digest) -> Result<(), Error> {
        if self.overwrites {
            return Ok(());
        }
        let tag = self.reference.tag().to_owned();
        let there = self.repository().await?.get(&tag).await.ok().filter(|there| there.status == StatusCode::OK);
        // A page to sign in, or nothing, is no manifest.
        let is_manifest = |body: &[u8]| {
            serde_json::from_slice::<serde_json::Value>(body)
                .is_ok_and(|manifest| manifest.get("schemaVersion").is_some())
        };
        match there.filter(|there| is_manifest(&there.body)).map(|there| Digest::of(&there.body)) {
            Some(there) if there != *digest => {
                Err(Error::Taken { reference: self.reference.to_string(), there, new: *digest })
            }
            _ => Ok(()),
        }
    }

    /// Puts a manifest under our tag.
    async fn tagged(&mut self, manifest: &Blob) -> Result<(), Error> {
        let tag = self.reference.tag().to_owned();
        self.manifest(&tag, manifest).await.map(drop)
    }

    /// Puts a manifest under a tag or its digest, and returns what the registry says about it.
    async fn manifest(&mut self, under: &str, manifest: &Blob) -> Result<HeaderMap, Error> {
        let repository = self.repository().await?;
        let answer = repository.put(under, manifest).await?;
        if answer.status == StatusCode::CREATED {
            return Ok(answer.headers);
        }
        // Registries whose tags never change refuse (400, 403, 409, 412 …) what they have, too. So what is there decides.
        let there = repository.get(under).await.ok().filter(|there| there.status == StatusCode::OK);
        let other = match there.map(|there| Digest::of(&there.body)) {
            Some(digest) if digest == manifest.digest => return Ok(answer.headers),
            Some(digest) => format!(", which is {digest} there"),
            None => String::new(),
        };
        let separator = if under.contains(':') { '@' } else { ':' };
        let name = format!("{}{separator}{under}", self.reference.repository());
        Err(answer.refused(format!("cannot push the manifest {} as {name}{other}", manifest.digest)))
    }
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
        let blob = Blob::new("text/plain", b"there".to_vec());
        for _ in 0..2 {
            upload.blob(&blob, &mut |_, _| ()).await.unwrap();
        }
        assert!(upload.until.unwrap() > Instant::now() + Duration::from_secs(200));
        upload.until = Some(Instant::now() + MARGIN / 2);
        upload.blob(&blob, &mut |_, _| ()).await.unwrap();
        assert!(upload.until.unwrap() > Instant::now() + Duration::from_secs(200));
        assert_eq!(*seen.lock().unwrap(), ["token-1", "token-1", "token-5"]);
    }
}
