//! Requests to one repository of a registry, by the OCI distribution specification, and answers no larger than they may be.

use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, LOCATION};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use serde::Deserialize;

use super::sign_in::Pass;
use super::{CONNECT, trust};
use crate::image::{Blob, INDEX, MANIFEST};
use crate::{Digest, Error};

/// For the answer to a request; a blob is a part of its request, and goes over slow lines, too.
const ANSWER: Duration = Duration::from_secs(15 * 60);
/// Largest answer, in bytes: what the specification has registries take as a manifest.
const BODY: usize = 4 << 20;
/// How much of a registry's reason is shown, in characters.
const REASON: usize = 300;
/// What a list of documents may be; the second is an older name of the first.
pub(super) const INDEXES: [&str; 2] = [INDEX, "application/vnd.docker.distribution.manifest.list.v2+json"];

/// A repository, and what goes along with each request to it.
pub(super) struct Repository {
    http: Client,
    /// `https://host/v2/name/`
    base: Url,
    pub(super) pass: Pass,
}

/// What came back.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
    /// Where it came from in the end.
    url: Url,
}

impl Repository {
    /// `registry` is the one that is asked (`host[:port]`), `plain` says that it has no TLS.
    pub(super) fn new(registry: &str, name: &str, plain: bool, pass: Pass) -> Result<Self, Error> {
        let scheme = if plain { "http" } else { "https" };
        let failed = || format!("cannot reach {registry}/{name}");
        let base = Url::parse(&format!("{scheme}://{registry}/v2/{name}/"))
            .map_err(|source| Error::Transfer { what: failed(), source: source.into() })?;
        let http = Client::builder()
            .connect_timeout(CONNECT)
            .read_timeout(ANSWER)
            .build()
            .map_err(|source| Error::Transfer { what: failed(), source: source.into() })?;
        Ok(Self { http, base, pass })
    }

    /// Whether it has a blob. Where that is not said, sending it is what shows it.
    pub(super) async fn has(&self, digest: &Digest) -> Result<bool, Error> {
        let what = format!("cannot ask {} for {digest}", self.base);
        let url = self.url(&format!("blobs/{digest}"), &what)?;
        Ok(self.send(self.request(Method::HEAD, url), &what).await?.status.is_success())
    }

    /// Sends a blob in one piece.
    pub(super) async fn send_blob(&self, blob: &Blob) -> Result<(), Error> {
        let what = format!("cannot push blob {} to {}", blob.digest, self.base);
        // Without a body some registries want a header which says that there is none.
        let ask = self.request(Method::POST, self.url("blobs/uploads/", &what)?).header(CONTENT_LENGTH, 0);
        let begun = self.send(ask, &what).await?;
        let place = match begun.headers.get(LOCATION).and_then(|place| place.to_str().ok()) {
            Some(place) if begun.status == StatusCode::ACCEPTED => begun.url.join(place).ok(),
            _ => None,
        };
        let Some(mut place) = place else { return Err(begun.refused(what)) };
        place.query_pairs_mut().append_pair("digest", &blob.digest.to_string());
        let put = self.request(Method::PUT, place).header(CONTENT_TYPE, "application/octet-stream");
        let done = self.send(put.body(blob.content.clone()), &what).await?;
        match done.status {
            StatusCode::CREATED => Ok(()),
            _ => Err(done.refused(what)),
        }
    }

    /// Puts a manifest under a tag or its digest, and says what came of it.
    pub(super) async fn put(&self, reference: &str, manifest: &Blob) -> Result<Answer, Error> {
        let what = format!("cannot push the manifest {reference} to {}", self.base);
        let put = self.request(Method::PUT, self.url(&format!("manifests/{reference}"), &what)?);
        self.send(put.header(CONTENT_TYPE, manifest.media_type).body(manifest.content.clone()), &what).await
    }

    /// What is under a tag or digest: manifests and indexes alike.
    pub(super) async fn get(&self, reference: &str) -> Result<Answer, Error> {
        let accept = [&[MANIFEST][..], &INDEXES[..]].concat().join(", ");
        self.read(&format!("manifests/{reference}"), &accept).await
    }

    /// What the registry itself lists about an image.
    pub(super) async fn referrers(&self, subject: &Digest) -> Result<Answer, Error> {
        self.read(&format!("referrers/{subject}"), INDEX).await
    }

    async fn read(&self, path: &str, accept: &str) -> Result<Answer, Error> {
        let what = format!("cannot read {path} of {}", self.base);
        self.send(self.request(Method::GET, self.url(path, &what)?).header(ACCEPT, accept), &what).await
    }

    fn url(&self, path: &str, what: &str) -> Result<Url, Error> {
        self.base.join(path).map_err(|source| Error::Transfer { what: what.to_owned(), source: source.into() })
    }

    /// What lets us in goes to the registry alone, not to another place of uploads that it names.
    fn request(&self, method: Method, url: Url) -> RequestBuilder {
        let own = trust::stays(Some(&self.base), &url);
        let request = self.http.request(method, url);
        match &self.pass {
            Pass::Basic { user, password } if own => request.basic_auth(user, Some(password)),
            Pass::Bearer { token, .. } if own => request.bearer_auth(token),
            _ => request,
        }
    }

    async fn send(&self, request: RequestBuilder, what: &str) -> Result<Answer, Error> {
        // A place of uploads may carry a secret in its URL.
        let broken =
            |error: reqwest::Error| Error::Transfer { what: what.to_owned(), source: error.without_url().into() };
        let mut response = request.send().await.map_err(broken)?;
        let (status, url, headers) = (response.status(), response.url().clone(), response.headers().clone());
        let (body, whole) = bounded(&mut response).await.map_err(broken)?;
        if !whole && status.is_success() {
            return Err(Error::TooLarge { what: what.to_owned(), limit: BODY as u64 });
        }
        Ok(Answer { status, headers, body, url })
    }
}

/// The beginning of a body, and whether that is all of it.
async fn bounded(response: &mut Response) -> Result<(Vec<u8>, bool), reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > BODY {
            return Ok((body, false));
        }
        body.extend_from_slice(&chunk);
    }
    Ok((body, true))
}

impl Answer {
    /// As an error, for whoever expected something else.
    pub(super) fn refused(&self, what: String) -> Error {
        Error::Refused { what, status: self.status.as_u16(), reason: reason(&self.body) }
    }
}

/// The specification's form of an error.
#[derive(Deserialize)]
struct Envelope {
    errors: Vec<Reason>,
}

#[derive(Deserialize)]
struct Reason {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// A registry's own words, in brackets, short and on one line; nothing where it has none (or a page for browsers).
fn reason(body: &[u8]) -> String {
    let envelope: Option<Envelope> = serde_json::from_slice(body).ok();
    let Some(first) = envelope.and_then(|envelope| envelope.errors.into_iter().next()) else { return String::new() };
    let text = [first.code, first.message].into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(": ");
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(REASON).collect();
    if line.is_empty() { line } else { format!(" ({line})") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_s_reason_is_one_short_line() {
        let long = format!(r#"{{"errors": [{{"code": "X", "message": "{}"}}]}}"#, "y".repeat(5000));
        for (body, expected) in [
            (r#"{"errors": [{"code": "UNSUPPORTED", "message": "not\nhere"}]}"#, " (UNSUPPORTED: not here)"),
            (r#"{"errors": [{"code": "UNSUPPORTED"}, {"code": "OTHER"}]}"#, " (UNSUPPORTED)"),
            (r#"{"errors": [{}]}"#, ""),
            (r#"{"errors": []}"#, ""),
            ("<html>sign in</html>", ""),
            ("", ""),
            (&long, &format!(" (X: {})", "y".repeat(REASON - 3))),
        ] {
            assert_eq!(reason(body.as_bytes()), expected);
        }
    }
}
