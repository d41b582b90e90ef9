//! The payload from a URL whose content is known beforehand.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::Path;

use reqwest::header::RANGE;
use reqwest::{Client, Response, StatusCode};
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

/// Downloads `url` to `path` unless a file with that digest is there already. What an interrupted download left
/// (`path` with `.part`) is continued when the server can. A file whose digest differs is removed and refused:
/// content is never trusted because it came first.
///
/// # Errors
/// [`Error::Transfer`] for the connection or an HTTP status, [`Error::Digest`] for other content.
pub async fn download(url: &str, expected: Digest, path: &Path, mut report: impl FnMut(Progress)) -> Result<(), Error> {
    if path.exists() && digest_of(path)? == expected {
        return Ok(());
    }
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
    }
    let mut part = path.as_os_str().to_owned();
    part.push(".part");
    let part = Path::new(&part);
    fetch(url, part, &mut report).await?;
    let actual = digest_of(part)?;
    if actual != expected {
        fs::remove_file(part).map_err(Error::io("remove", part))?;
        return Err(Error::Digest { what: url.to_owned(), expected, actual });
    }
    fs::rename(part, path).map_err(Error::io("write", path))
}

async fn fetch(url: &str, part: &Path, report: &mut impl FnMut(Progress)) -> Result<(), Error> {
    let failed = |source: reqwest::Error| Error::Transfer {
        what: format!("cannot download {url}"),
        source: Box::new(source.without_url()),
    };
    // One provider for the process; that another part of it was first is fine.
    let _already_installed = rustls::crypto::ring::default_provider().install_default();
    let client = Client::builder().build().map_err(failed)?;
    let have = part.metadata().map_or(0, |metadata| metadata.len());
    let mut request = client.get(url);
    if have > 0 {
        request = request.header(RANGE, format!("bytes={have}-"));
    }
    let response = request.send().await.map_err(failed)?;
    if response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
        return Ok(()); // all of it is there; the digest decides
    }
    let mut response = response.error_for_status().map_err(failed)?;
    let (mut file, mut done) = target(&response, part, have)?;
    let total = response.content_length().map(|rest| done + rest);
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        file.write_all(&chunk).map_err(Error::io("write", part))?;
        done += chunk.len() as u64;
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
