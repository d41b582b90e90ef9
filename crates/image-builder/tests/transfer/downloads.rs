//! Archives from servers of any kind.

use std::io::Write as _;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use image_builder::payload::{Limits, Progress, Source, download};
use image_builder::{Digest, Error};

use crate::stand_in::{read, serve};

const CONTENT: &[u8] = b"the content of an archive";

/// A file server that can continue downloads or not.
fn files(continues: bool) -> String {
    serve(move |request| match request.range {
        _ if request.target == "/missing" => (404, String::new(), Vec::new()),
        Some(start) if continues && start >= CONTENT.len() => (416, String::new(), Vec::new()),
        Some(start) if continues => (206, String::new(), CONTENT[start..].to_vec()),
        _ => (200, String::new(), CONTENT.to_vec()),
    })
}

/// Enough for whatever does not wait on purpose.
const LIMITS: Limits = Limits::PAYLOAD;

fn source(url: &str) -> Source {
    url.parse().unwrap()
}

#[tokio::test]
async fn a_download_is_taken_when_its_digest_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("below/archive");
    let url = format!("http://{}/archive", files(true));
    let mut last = None;
    download(&source(&url), Digest::of(CONTENT), &path, LIMITS, |progress| last = Some(progress)).await.unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), CONTENT);
    let size = CONTENT.len() as u64;
    assert_eq!(last, Some(Progress { done: size, total: Some(size) }));
    // A second time nothing is asked of the network.
    download(&source("http://127.0.0.1:1/"), Digest::of(CONTENT), &path, LIMITS, |_| ()).await.unwrap();
}

#[tokio::test]
async fn a_download_with_another_digest_is_refused_and_removed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("archive");
    let url = format!("http://{}/archive", files(true));
    let error = download(&source(&url), Digest::of(b"other"), &path, LIMITS, |_| ()).await.unwrap_err();
    assert!(matches!(error, Error::Digest { .. }), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn an_interrupted_download_is_resumed_or_restarted() {
    for continues in [true, false] {
        for have in [1, 10, CONTENT.len()] {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("archive");
            std::fs::write(folder.path().join("archive.part"), &CONTENT[..have]).unwrap();
            let url = format!("http://{}/archive", files(continues));
            download(&source(&url), Digest::of(CONTENT), &path, LIMITS, |_| ()).await.unwrap();
            assert_eq!(std::fs::read(&path).unwrap(), CONTENT, "{continues} {have}");
        }
    }
}

/// A server that breaks off in the middle of the first transfer.
#[tokio::test]
async fn a_download_that_breaks_off_is_resumed_where_it_stopped() {
    let requests = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&requests);
    let address = serve(move |request| {
        seen.lock().unwrap().push(request.range);
        match request.range {
            // More is promised than comes, and the connection ends.
            None => (200, format!("Content-Length: {}\r\n", CONTENT.len()), CONTENT[..7].to_vec()),
            Some(start) => (206, String::new(), CONTENT[start..].to_vec()),
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let (path, url) = (folder.path().join("archive"), format!("http://{address}/archive"));
    let error = download(&source(&url), Digest::of(CONTENT), &path, LIMITS, |_| ()).await.unwrap_err();
    assert!(matches!(error, Error::Transfer { .. }) && !path.exists(), "{error}");
    download(&source(&url), Digest::of(CONTENT), &path, LIMITS, |_| ()).await.unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), CONTENT);
    assert_eq!(*requests.lock().unwrap(), [None, Some(7)]);
}

#[tokio::test]
async fn an_existing_file_with_another_digest_is_downloaded_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("archive");
    std::fs::write(&path, "what an attacker or an older release left").unwrap();
    let url = format!("http://{}/archive", files(true));
    download(&source(&url), Digest::of(CONTENT), &path, LIMITS, |_| ()).await.unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), CONTENT);
}

#[tokio::test]
async fn a_download_of_a_missing_file_fails() {
    let folder = tempfile::tempdir().unwrap();
    let (path, url) = (folder.path().join("archive"), format!("http://{}/missing", files(true)));
    let error = download(&source(&url), Digest::of(CONTENT), &path, LIMITS, |_| ()).await.unwrap_err();
    assert!(matches!(error, Error::Transfer { .. }), "{error}");
}

/// Serves raw bytes: a head, then `body` again and again for as long as somebody listens, or silence.
fn raw(head: &'static str, body: Option<&'static [u8]>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let mut silent = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            if !head.is_empty() {
                read(&stream);
                stream.write_all(head.as_bytes()).unwrap();
            }
            match body {
                Some(body) => while stream.write_all(body).is_ok() {},
                None => silent.push(stream),
            }
        }
    });
    address
}

/// The error of a download under `limits`, returned within a time in which no default time-out ends, and what it left.
async fn broken(url: &str, limits: Limits) -> (Error, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let (path, source) = (folder.path().join("archive"), source(url));
    let attempt = download(&source, Digest::of(CONTENT), &path, limits, |_| ());
    let error = tokio::time::timeout(std::time::Duration::from_secs(8), attempt).await.unwrap().unwrap_err();
    let left = std::fs::read_dir(folder.path()).unwrap();
    (error, left.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect())
}

#[tokio::test]
async fn a_download_from_a_silent_server_fails_at_the_deadline() {
    const SHORT: std::time::Duration = std::time::Duration::from_millis(300);
    for (scheme, head, limits, left) in [
        // It takes the connection, and never speaks TLS.
        ("https", "", Limits { connect: SHORT, ..LIMITS }, 0),
        ("http", "HTTP/1.1", Limits { stall: SHORT, ..LIMITS }, 0),
        // What came is kept, so that the next try goes on from there.
        ("http", "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\npart", Limits { stall: SHORT, ..LIMITS }, 1),
    ] {
        let (error, files) = broken(&format!("{scheme}://{}/archive", raw(head, None)), limits).await;
        assert!(matches!(error, Error::Transfer { .. }) && files.len() == left, "{head:?}: {error}, {files:?}");
    }
}

#[tokio::test]
async fn a_download_beyond_the_size_limit_fails() {
    let limits = Limits { size: 1 << 20, ..LIMITS };
    for (head, body) in [
        // Endless.
        ("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", Some(&[b'x'; 4096][..])),
        // Known from the start: nothing of it is waited for.
        ("HTTP/1.1 200 OK\r\nContent-Length: 1048577\r\n\r\n", None),
    ] {
        let (error, files) = broken(&format!("http://{}/archive", raw(head, body)), limits).await;
        assert!(matches!(error, Error::TooLarge { limit: 1_048_576, .. }), "{head:?}: {error}");
        assert!(files.is_empty(), "{head:?}: {files:?}");
    }
    // What an earlier try left counts, too.
    let folder = tempfile::tempdir().unwrap();
    let (path, url) = (folder.path().join("archive"), format!("http://{}/archive", files(true)));
    std::fs::write(folder.path().join("archive.part"), CONTENT).unwrap();
    let limits = Limits { size: CONTENT.len() as u64 - 1, ..LIMITS };
    let error = download(&source(&url), Digest::of(CONTENT), &path, limits, |_| ()).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }) && !folder.path().join("archive.part").exists(), "{error}");
}

#[tokio::test]
async fn secrets_of_a_url_are_used_and_not_shown() {
    let address = serve(|request| match request.authorization.as_deref() {
        Some("Basic dXNlcjpzZWNyZXQ=") if request.target == "/archive?key=secret" => {
            (200, String::new(), CONTENT.to_vec())
        }
        _ => (404, String::new(), Vec::new()),
    });
    let folder = tempfile::tempdir().unwrap();
    let (path, url) = (folder.path().join("archive"), format!("http://user:secret@{address}/archive?key=secret"));
    download(&source(&url), Digest::of(CONTENT), &path, LIMITS, |_| ()).await.unwrap();
    let absent = format!("http://user:secret@{address}/absent?key=secret");
    let closed = "http://user:secret@127.0.0.1:1/archive?key=secret".to_owned();
    for (url, digest, size) in [
        (&absent, CONTENT, LIMITS.size),
        (&closed, CONTENT, LIMITS.size),
        (&url, b"other", LIMITS.size),
        (&url, b"o", 1),
    ] {
        let path = folder.path().join("other");
        let limits = Limits { size, ..LIMITS };
        let error = download(&source(url), Digest::of(digest), &path, limits, |_| ()).await.unwrap_err();
        let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
        let reported = causes.map(|error| format!("{error} {error:?}")).collect::<Vec<_>>().join("\n");
        assert!(
            !reported.contains("secret") && !reported.contains("user") && reported.contains("127.0.0.1"),
            "{reported}"
        );
    }
}
