//! Downloads and uploads against a stand-in that speaks as much HTTP as they need.
#![expect(clippy::unwrap_used, reason = "a failed step of a test's set-up ends the test")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use image_builder::chart::Chart;
use image_builder::definition::ImageDefinition;
use image_builder::image::{self, Artifact, INDEX, Image, MANIFEST, Platform};
use image_builder::payload::{Limits, Progress, Source, download};
use image_builder::reference::Reference;
use image_builder::registry::Upload;
use image_builder::{Digest, Error};
use serde_json::{Value, json};

#[derive(Debug)]
struct Request {
    method: String,
    target: String,
    range: Option<usize>,
    authorization: Option<String>,
    body: Vec<u8>,
}

/// Status, further headers, body.
type Answer = (u16, String, Vec<u8>);

/// Serves on loopback until the process ends; one request per connection.
fn serve(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> String {
    serve_at("127.0.0.1", answer)
}

fn serve_at(host: &str, answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind((host, 0)).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let request = read(&stream);
            let (status, mut headers, body) = answer(&request);
            if !headers.contains("Content-Length") {
                headers = format!("{headers}Content-Length: {}\r\n", body.len());
            }
            let head = format!("HTTP/1.1 {status} x\r\nConnection: close\r\n{headers}\r\n");
            stream.write_all(head.as_bytes()).unwrap();
            if request.method != "HEAD" {
                stream.write_all(&body).unwrap();
            }
        }
    });
    address
}

fn read(stream: &TcpStream) -> Request {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let mut words = line.split(' ').map(str::to_owned);
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    let (mut range, mut length, mut authorization) = (None, 0, None);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        match header.trim().split_once(": ").map(|(name, value)| (name.to_lowercase(), value)) {
            None => break,
            Some((name, value)) if name == "range" => {
                range = value.strip_prefix("bytes=").and_then(|range| range.strip_suffix('-')?.parse().ok());
            }
            Some((name, value)) if name == "content-length" => length = value.parse().unwrap(),
            Some((name, value)) if name == "authorization" => authorization = Some(value.to_owned()),
            Some(_) => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    Request { method, target, range, authorization, body }
}

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
async fn another_digest_is_refused_and_nothing_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("archive");
    let url = format!("http://{}/archive", files(true));
    let error = download(&source(&url), Digest::of(b"other"), &path, LIMITS, |_| ()).await.unwrap_err();
    assert!(matches!(error, Error::Digest { .. }), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn an_interrupted_download_goes_on_or_begins_anew() {
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
async fn what_came_before_a_break_is_not_asked_for_again() {
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
async fn a_file_with_another_content_is_not_taken_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("archive");
    std::fs::write(&path, "what an attacker or an older release left").unwrap();
    let url = format!("http://{}/archive", files(true));
    download(&source(&url), Digest::of(CONTENT), &path, LIMITS, |_| ()).await.unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), CONTENT);
}

#[tokio::test]
async fn a_missing_file_is_an_error() {
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

/// The error of a download under `limits`, told within a time in which no default time-out ends, and what it left.
async fn broken(url: &str, limits: Limits) -> (Error, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let (path, source) = (folder.path().join("archive"), source(url));
    let attempt = download(&source, Digest::of(CONTENT), &path, limits, |_| ());
    let error = tokio::time::timeout(std::time::Duration::from_secs(8), attempt).await.unwrap().unwrap_err();
    let left = std::fs::read_dir(folder.path()).unwrap();
    (error, left.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect())
}

#[tokio::test]
async fn a_server_that_goes_silent_ends_the_download() {
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
async fn a_download_has_a_size_that_it_cannot_exceed() {
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
async fn secrets_of_a_url_are_used_and_not_told() {
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
        let told = causes.map(|error| format!("{error} {error:?}")).collect::<Vec<_>>().join("\n");
        assert!(!told.contains("secret") && !told.contains("user") && told.contains("127.0.0.1"), "{told}");
    }
}

/// What a registry was given: path without query, or digest → content.
type Stored = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// `lists`: it answers itself what is said about an image.
fn registry(lists: bool) -> (String, Stored) {
    let stored = Stored::default();
    let kept = Arc::clone(&stored);
    let address = serve(move |request| {
        let mut kept = kept.lock().unwrap();
        match (request.method.as_str(), request.target.as_str()) {
            ("GET", "/v2/") => (200, String::new(), Vec::new()),
            ("GET", target) if lists && target.contains("/referrers/") => {
                let about = target.rsplit('/').next().unwrap();
                let manifests: Vec<_> = kept.values().filter_map(|blob| listed(blob, about)).collect();
                let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": manifests });
                (200, format!("Content-Type: {INDEX}\r\n"), index.to_string().into_bytes())
            }
            ("GET", target) => match kept.get(target) {
                Some(content) => (200, format!("Content-Type: {INDEX}\r\n"), content.clone()),
                None => (404, String::new(), Vec::new()),
            },
            ("HEAD", target) => {
                let known = kept.contains_key(target.rsplit('/').next().unwrap());
                (if known { 200 } else { 404 }, String::new(), Vec::new())
            }
            ("POST", target) => (202, format!("Location: {target}upload\r\n"), Vec::new()),
            ("PUT", target) => {
                let key = target.split_once("digest=").map_or(target, |(_, digest)| digest).replace("%3A", ":");
                kept.insert(key, request.body.clone());
                (201, "Location: /stored\r\n".to_owned(), Vec::new())
            }
            _ => (405, String::new(), Vec::new()),
        }
    });
    (address, stored)
}

/// The entry for a manifest whose subject is `about`.
fn listed(blob: &[u8], about: &str) -> Option<Value> {
    let manifest: Value = serde_json::from_slice(blob).ok()?;
    (manifest["subject"]["digest"] == about).then(|| {
        json!({
            "mediaType": manifest["mediaType"], "artifactType": manifest["artifactType"],
            "digest": Digest::of(blob).to_string(), "size": blob.len(),
        })
    })
}

/// An image without any file.
fn empty_image(platform: Platform) -> Image {
    const DEFINITION: &str = "name: i\ntitle: t\ndescription: d\nuser: \"1:1\"\nentrypoint: [/i]\n\
        platforms: [linux/amd64, linux/arm64]\nlayers: [{files: []}]\n";
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("i.yaml"), DEFINITION).unwrap();
    let definition = ImageDefinition::read(&folder.path().join("i.yaml")).unwrap();
    image::build(&definition, platform, &[], &BTreeMap::new()).unwrap()
}

#[tokio::test]
async fn an_index_leads_to_each_platform_and_each_has_its_own_document() {
    let (address, stored) = registry(true);
    let images = [Platform::LinuxAmd64, Platform::LinuxArm64].map(empty_image);
    let mut upload = Upload::begin(&Reference::new(Some(&address), "i", "1").unwrap(), false).await.unwrap();
    let digest = upload.images(&images, |_, _| ()).await.unwrap();
    for image in &images {
        let bill = Artifact::about(image, "text/x", "bill", image.platform.to_string().into()).unwrap();
        upload.referrer(&bill, |_, _| ()).await.unwrap();
    }
    let stored = stored.lock().unwrap();
    assert_eq!(Digest::of(&stored["/v2/i/manifests/1"]), digest);
    let index: Value = serde_json::from_slice(&stored["/v2/i/manifests/1"]).unwrap();
    assert_eq!((&index["mediaType"], index["manifests"].as_array().unwrap().len()), (&json!(INDEX), 2));
    for (image, entry) in images.iter().zip(index["manifests"].as_array().unwrap()) {
        assert_eq!(entry["platform"]["architecture"], image.platform.architecture());
        let digest = entry["digest"].as_str().unwrap();
        assert_eq!(stored[&format!("/v2/i/manifests/{digest}")], image.manifest.content);
        let about: Vec<Value> = stored.values().filter_map(|blob| listed(blob, digest)).collect();
        assert_eq!(about.len(), 1, "{} has {about:?}", image.platform);
    }
}

#[tokio::test]
async fn a_document_about_an_image_is_found_with_and_without_the_registry_s_help() {
    let image = empty_image(Platform::LinuxAmd64);
    let documents = ["one", "other"].map(|text| Artifact::about(&image, "text/x", text, text.into()).unwrap());
    for lists in [true, false] {
        let (address, stored) = registry(lists);
        let reference = Reference::new(Some(&address), "i", "1").unwrap();
        let mut upload = Upload::begin(&reference, false).await.unwrap();
        upload.images(std::slice::from_ref(&image), |_, _| ()).await.unwrap();
        // The second round finds both there.
        for document in documents.iter().chain(&documents) {
            assert_eq!(upload.referrer(document, |_, _| ()).await.unwrap(), document.manifest.digest);
        }
        let stored = stored.lock().unwrap();
        let tag = format!("/v2/i/manifests/{}", image.manifest.digest.to_string().replace(':', "-"));
        if lists {
            assert!(!stored.contains_key(&tag));
            continue;
        }
        let index: Value = serde_json::from_slice(&stored[&tag]).unwrap();
        let entries: Vec<_> = documents
            .iter()
            .map(|document| {
                let (digest, size) = (document.manifest.digest.to_string(), document.manifest.content.len());
                json!({ "mediaType": MANIFEST, "artifactType": "text/x", "digest": digest, "size": size })
            })
            .collect();
        assert_eq!(index["manifests"], json!(entries));
        let manifest: Value = serde_json::from_slice(&documents[0].manifest.content).unwrap();
        assert_eq!(manifest["subject"]["digest"], image.manifest.digest.to_string());
        assert_eq!(manifest["layers"][0]["digest"], Digest::of(b"one").to_string());
        assert_eq!(stored[&Digest::of(b"{}").to_string()], b"{}");
    }
}

#[tokio::test]
async fn a_chart_is_pushed_once() {
    let (address, stored) = registry(false);
    let chart = Chart {
        name: "some".to_owned(),
        version: "1.2.3".to_owned(),
        metadata: "name: some\nversion: 1.2.3\n".to_owned(),
        archive: b"archive".to_vec(),
    };
    let reference = Reference::new(Some(&format!("{address}/charts")), "some", "1.2.3").unwrap();
    let mut sent = Vec::new();
    for _ in 0..2 {
        let mut upload = Upload::begin(&reference, false).await.unwrap();
        let digest = upload.chart(&chart, |digest, size| sent.push((*digest, size))).await.unwrap();
        let manifest = stored.lock().unwrap()["/v2/charts/some/manifests/1.2.3"].clone();
        assert_eq!(Digest::of(&manifest), digest);
    }
    assert_eq!(sent.len(), 2, "a blob that is there is not sent again");
    assert_eq!(sent[1], (Digest::of(b"archive"), 7));
    for (digest, _) in sent {
        assert_eq!(Digest::of(&stored.lock().unwrap()[&digest.to_string()]), digest);
    }
}

/// User and password as Docker's configuration keeps them.
const SECRET: &str = "dXNlcjpzZWNyZXQ=";
const PASSWORD: &str = "Basic dXNlcjpzZWNyZXQ=";
/// The registry to push to, for [`push_in_a_process_of_its_own`].
const REGISTRY: &str = "REGISTRY_UNDER_TEST";

/// Not a test of its own: credentials come from a file that the environment names, and only another process has another
/// environment.
#[tokio::test]
#[ignore = "run by those that need a process with credentials"]
async fn push_in_a_process_of_its_own() {
    let Ok(registry) = std::env::var(REGISTRY) else { return };
    let image = empty_image(Platform::LinuxAmd64);
    let outcome = async {
        let mut upload = Upload::begin(&Reference::new(Some(&registry), "i", "1")?, false).await?;
        upload.images(std::slice::from_ref(&image), |_, _| ()).await?;
        upload.referrer(&Artifact::about(&image, "text/x", "one", b"one".to_vec())?, |_, _| ()).await
    };
    if let Err(error) = outcome.await {
        let cause = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        println!("REFUSED {error}: {cause}");
    }
}

/// Pushes with a user and a password for the registry; the error, where there is one.
fn push_with_credentials(registry: &str) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let config = json!({ "auths": { registry: { "auth": SECRET } } });
    std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
    let output = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["push_in_a_process_of_its_own", "--exact", "--ignored", "--nocapture"])
        .env("DOCKER_CONFIG", folder.path())
        .env(REGISTRY, registry)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    assert!(!said.contains("secret") && !said.contains(SECRET), "{said}");
    said.lines().find_map(|line| Some(line.split_once("REFUSED ")?.1.to_owned()))
}

/// Requests that somebody heard: method, path without query, authorization.
type Heard = Arc<Mutex<Vec<(String, String, Option<String>)>>>;

fn hear(heard: &Heard, request: &Request) {
    let path = request.target.split('?').next().unwrap().to_owned();
    heard.lock().unwrap().push((request.method.clone(), path, request.authorization.clone()));
}

/// A registry that lets those in who send what `wanted` says, asks others for `challenge`, and has uploads go to `uploads`.
fn guarded(challenge: String, wanted: &'static str, uploads: Option<String>) -> (String, Heard) {
    let heard = Heard::default();
    let list = Arc::clone(&heard);
    let address = serve(move |request| {
        hear(&list, request);
        if request.authorization.as_deref() != Some(wanted) {
            return (401, format!("WWW-Authenticate: {challenge}\r\n"), Vec::new());
        }
        match (request.method.as_str(), &uploads) {
            ("POST", Some(place)) => (202, format!("Location: {place}\r\n"), Vec::new()),
            ("POST", None) => (202, format!("Location: {}upload\r\n", request.target), Vec::new()),
            ("PUT", _) => (201, "Location: /stored\r\n".to_owned(), Vec::new()),
            _ => (404, String::new(), Vec::new()),
        }
    });
    (address, heard)
}

/// Somebody who gives a token, takes blobs, and writes down what is heard.
fn stranger(host: &str) -> (String, Heard) {
    let heard = Heard::default();
    let list = Arc::clone(&heard);
    let address = serve_at(host, move |request| {
        hear(&list, request);
        match request.method.as_str() {
            "PUT" => (201, "Location: /stored\r\n".to_owned(), Vec::new()),
            _ => (200, String::new(), br#"{"token": "granted"}"#.to_vec()),
        }
    });
    (address, heard)
}

#[test]
fn a_token_server_without_tls_hears_no_credentials() {
    // By its name no address of loopback, and reached all the same.
    let (server, heard) = stranger("0.0.0.0");
    let (registry, asked) = guarded(format!("Bearer realm=\"http://{server}/token\""), "Bearer granted", None);
    let refused = push_with_credentials(&registry);
    assert_eq!(*heard.lock().unwrap(), [], "{refused:?}");
    let refused = refused.unwrap();
    assert!(refused.contains(&format!("http://{server}")) && refused.contains("without TLS"), "{refused}");
    assert!(asked.lock().unwrap().iter().all(|(_, _, authorization)| authorization.is_none()));
}

#[test]
fn a_registry_s_token_server_hears_credentials_and_the_registry_the_token() {
    let (server, heard) = stranger("127.0.0.1");
    let realm = format!("Bearer realm=\"http://{server}/token\",service=\"s\"");
    let (registry, asked) = guarded(realm, "Bearer granted", None);
    assert_eq!(push_with_credentials(&registry), None);
    assert_eq!(*heard.lock().unwrap(), [("GET".to_owned(), "/token".to_owned(), Some(PASSWORD.to_owned()))]);
    let asked = asked.lock().unwrap();
    assert!(asked.len() > 5 && asked[0].2.is_none(), "{asked:?}");
    let token = Some("Bearer granted".to_owned());
    assert!(asked[1..].iter().all(|(_, _, authorization)| *authorization == token), "{asked:?}");
}

#[test]
fn a_token_server_cannot_send_us_to_another_one() {
    let (other, heard) = stranger("127.0.0.1");
    let server = serve(move |_| (307, format!("Location: http://{other}/token\r\n"), Vec::new()));
    let (registry, _) = guarded(format!("Bearer realm=\"http://{server}/token\""), "Bearer granted", None);
    let refused = push_with_credentials(&registry).unwrap_or_default();
    assert_eq!(*heard.lock().unwrap(), [], "{refused}");
    assert!(refused.contains("307"), "{refused}");
}

#[test]
fn a_place_of_uploads_on_another_host_hears_no_credentials() {
    for challenge in ["Basic realm=\"r\"", "Bearer realm="] {
        let (store, heard) = stranger("127.0.0.1");
        let (server, _) = stranger("127.0.0.1");
        let place = Some(format!("http://{store}/store"));
        let (challenge, wanted) = match challenge {
            "Bearer realm=" => (format!("Bearer realm=\"http://{server}/token\""), "Bearer granted"),
            basic => (basic.to_owned(), PASSWORD),
        };
        let (registry, _) = guarded(challenge.clone(), wanted, place);
        assert_eq!(push_with_credentials(&registry), None, "{challenge}");
        let put = ("PUT".to_owned(), "/store".to_owned(), None);
        let heard = heard.lock().unwrap();
        assert!(heard.len() >= 2 && heard.iter().all(|request| *request == put), "{challenge}: {heard:?}");
    }
}
