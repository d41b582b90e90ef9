//! Downloads and uploads against a stand-in that speaks as much HTTP as they need.
#![expect(clippy::unwrap_used, reason = "a failed step of a test's set-up ends the test")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use image_builder::chart::Chart;
use image_builder::definition::ImageDefinition;
use image_builder::image::{self, Artifact, INDEX, Image, MANIFEST, Platform};
use image_builder::payload::{Progress, download};
use image_builder::reference::Reference;
use image_builder::registry::Upload;
use image_builder::{Digest, Error};
use serde_json::{Value, json};

#[derive(Debug)]
struct Request {
    method: String,
    target: String,
    range: Option<usize>,
    body: Vec<u8>,
}

/// Status, further headers, body.
type Answer = (u16, String, Vec<u8>);

/// Serves on loopback until the process ends; one request per connection.
fn serve(answer: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
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
    let (mut range, mut length) = (None, 0);
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        match header.trim().split_once(": ").map(|(name, value)| (name.to_lowercase(), value)) {
            None => break,
            Some((name, value)) if name == "range" => {
                range = value.strip_prefix("bytes=").and_then(|range| range.strip_suffix('-')?.parse().ok());
            }
            Some((name, value)) if name == "content-length" => length = value.parse().unwrap(),
            Some(_) => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    Request { method, target, range, body }
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

#[tokio::test]
async fn a_download_is_taken_when_its_digest_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("below/archive");
    let url = format!("http://{}/archive", files(true));
    let mut last = None;
    download(&url, Digest::of(CONTENT), &path, |progress| last = Some(progress)).await.unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), CONTENT);
    let size = CONTENT.len() as u64;
    assert_eq!(last, Some(Progress { done: size, total: Some(size) }));
    // A second time nothing is asked of the network.
    download("http://127.0.0.1:1/", Digest::of(CONTENT), &path, |_| ()).await.unwrap();
}

#[tokio::test]
async fn another_digest_is_refused_and_nothing_stays() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("archive");
    let url = format!("http://{}/archive", files(true));
    let error = download(&url, Digest::of(b"other"), &path, |_| ()).await.unwrap_err();
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
            download(&url, Digest::of(CONTENT), &path, |_| ()).await.unwrap();
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
    let error = download(&url, Digest::of(CONTENT), &path, |_| ()).await.unwrap_err();
    assert!(matches!(error, Error::Transfer { .. }) && !path.exists(), "{error}");
    download(&url, Digest::of(CONTENT), &path, |_| ()).await.unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), CONTENT);
    assert_eq!(*requests.lock().unwrap(), [None, Some(7)]);
}

#[tokio::test]
async fn a_file_with_another_content_is_not_taken_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("archive");
    std::fs::write(&path, "what an attacker or an older release left").unwrap();
    download(&format!("http://{}/archive", files(true)), Digest::of(CONTENT), &path, |_| ()).await.unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), CONTENT);
}

#[tokio::test]
async fn a_missing_file_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("http://{}/missing", files(true));
    let error = download(&url, Digest::of(CONTENT), &folder.path().join("archive"), |_| ()).await.unwrap_err();
    assert!(matches!(error, Error::Transfer { .. }), "{error}");
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
    let upload = Upload::begin(&Reference::new(Some(&address), "i", "1").unwrap(), false).await.unwrap();
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
        let upload = Upload::begin(&reference, false).await.unwrap();
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
        let upload = Upload::begin(&reference, false).await.unwrap();
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
