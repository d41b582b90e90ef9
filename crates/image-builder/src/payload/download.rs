//! The payload from a URL whose content is known beforehand.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use reqwest::header::RANGE;
use reqwest::{Client, Response, StatusCode, Url};
use sha2::{Digest as _, Sha256};

use crate::{Digest, Error};

/// How far a transfer is, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that are there.
    pub done: u64,
    /// Bytes in all, where the other side said so.
    pub total: Option<u64>,
}

/// What a download may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// For a connection, TLS included.
    pub connect: Duration,
    /// For the answer to begin, and between two parts of it. How long all of it takes depends on the network and is not limited.
    pub stall: Duration,
    /// Size of the file, in bytes.
    pub size: u64,
}

impl Limits {
    /// For a release of cri-resource-manager. Those that there were have some 30 MiB.
    pub const PAYLOAD: Self =
        Self { connect: Duration::from_secs(10), stall: Duration::from_secs(60), size: 512 * 1024 * 1024 };
}

/// Where a download comes from. Shown without user, password and query: a signed URL has its signature there.
#[derive(Clone, PartialEq, Eq)]
pub struct Source(Url);

impl Source {
    /// The last part of the path.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.0.path().rsplit('/').next().unwrap_or_default()
    }
}

impl FromStr for Source {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let url = Url::parse(text).map_err(|error| Error::Url { reason: error.to_string() })?;
        match url.scheme() {
            "https" | "http" => Ok(Self(url)),
            _ => Err(Error::Url { reason: "it begins with neither https:// nor http://".to_owned() }),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let query = if self.0.query().is_some() { "?…" } else { "" };
        write!(f, "{}{}{query}", self.0.origin().ascii_serialization(), self.0.path())
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Downloads `source` to `path` unless a file with that digest is there already. What an interrupted download left
/// (`path` with `.part`) is continued when the server can. A file whose digest differs, or that is larger than `limits` allow, is
/// removed and refused: content is never trusted because it came first.
///
/// # Errors
/// [`Error::Transfer`] for the connection, an HTTP status or a time-out, [`Error::Digest`] for other content,
/// [`Error::TooLarge`] for too much of it.
pub async fn download(
    source: &Source,
    expected: Digest,
    path: &Path,
    limits: Limits,
    mut report: impl FnMut(Progress),
) -> Result<(), Error> {
    if path.exists() && digest_of(path)? == expected {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
    }
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = Path::new(&part);
    let fetched = fetch(source, part, limits, &mut report).await;
    if matches!(fetched, Err(Error::TooLarge { .. })) && part.exists() {
        fs::remove_file(part).map_err(Error::io("remove", part))?;
    }
    fetched?;
    let actual = digest_of(part)?;
    if actual != expected {
        fs::remove_file(part).map_err(Error::io("remove", part))?;
        return Err(Error::Digest { what: source.to_string(), expected, actual });
    }
    fs::rename(part, path).map_err(Error::io("write", path))
}

async fn fetch(source: &Source, part: &Path, limits: Limits, report: &mut impl FnMut(Progress)) -> Result<(), Error> {
    let failed = |error: reqwest::Error| Error::Transfer {
        what: format!("cannot download {source}"),
        source: Box::new(error.without_url()),
    };
    let bounded = |bytes: u64| {
        let too_large = || Error::TooLarge { what: source.to_string(), limit: limits.size };
        (bytes <= limits.size).then_some(()).ok_or_else(too_large)
    };
    // One provider for the process; that another part of it was first is fine.
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
    let client =
        Client::builder().connect_timeout(limits.connect).read_timeout(limits.stall).build().map_err(failed)?;
    let have = part.metadata().map_or(0, |metadata| metadata.len());
    bounded(have)?;
    let mut request = client.get(source.0.clone());
    if have > 0 {
        request = request.header(RANGE, format!("bytes={have}-"));
    }
    let response = request.send().await.map_err(failed)?;
    if response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
        return Ok(()); // all of it is there; the digest decides
    }
    let mut response = response.error_for_status().map_err(failed)?;
    let (mut file, mut done) = target(&response, part, have)?;
    let total = response.content_length().map(|rest| done.saturating_add(rest));
    bounded(total.unwrap_or_default())?;
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        done += chunk.len() as u64;
        bounded(done)?;
        file.write_all(&chunk).map_err(Error::io("write", part))?;
        report(Progress { done, total });
    }
    file.sync_all().map_err(Error::io("write", part))
}

/// Appends when the server continues, starts anew when it sends everything.
fn target(response: &Response, part: &Path, have: u64) -> Result<(File, u64), Error> {
    let continues = response.status() == StatusCode::PARTIAL_CONTENT;
    let mut options = OpenOptions::new();
    let options = if continues { options.append(true) } else { options.write(true).truncate(true) };
    let file = options.create(true).open(part).map_err(Error::io("write", part))?;
    Ok((file, if continues { have } else { 0 }))
}

fn digest_of(path: &Path) -> Result<Digest, Error> {
    let mut file = File::open(path).map_err(Error::io("read", path))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer).map_err(Error::io("read", path))? {
            0 => return Ok(Digest::finish(hasher)),
            count => hasher.update(&buffer[..count]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_shown_without_its_secrets() {
        for (text, shown) in [
            ("https://files.example.com/a/b.tar.gz", "https://files.example.com/a/b.tar.gz"),
            ("https://user:secret@files.example.com:8443/b.tar.gz", "https://files.example.com:8443/b.tar.gz"),
            ("http://secret@[fd00::1]/b.tar.gz?X-Signature=secret#secret", "http://[fd00::1]/b.tar.gz?…"),
        ] {
            let source: Source = text.parse().unwrap();
            assert_eq!((source.to_string(), source.file_name()), (shown.to_owned(), "b.tar.gz"));
            assert_eq!(format!("{source:?}"), shown);
        }
    }

    #[test]
    fn an_invalid_payload_source_is_refused_without_being_shown() {
        for text in
            ["", "secret", "secret:secret@files.example.com/b", "ftp://u:secret@h/b", "https://u:secret@:99999/"]
        {
            let error = text.parse::<Source>().unwrap_err();
            assert!(matches!(error, Error::Url { .. }) && !error.to_string().contains("secret"), "{error}");
        }
    }
}
