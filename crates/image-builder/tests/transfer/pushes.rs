//! Images, documents about them, and charts, into a registry that keeps to the specification.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use image_builder::Digest;
use image_builder::chart::Chart;
use image_builder::definition::ImageDefinition;
use image_builder::image::{self, Artifact, INDEX, Image, MANIFEST, Platform};
use image_builder::reference::Reference;
use image_builder::registry::Upload;
use serde_json::{Value, json};

use crate::stand_in::serve;

/// What a registry was given: path without query, or digest → content.
pub(crate) type Stored = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// `lists`: it answers itself what is said about an image.
pub(crate) fn registry(lists: bool) -> (String, Stored) {
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
pub(crate) fn listed(blob: &[u8], about: &str) -> Option<Value> {
    let manifest: Value = serde_json::from_slice(blob).ok()?;
    (manifest["subject"]["digest"] == about).then(|| {
        json!({
            "mediaType": manifest["mediaType"], "artifactType": manifest["artifactType"],
            "digest": Digest::of(blob).to_string(), "size": blob.len(),
        })
    })
}

/// An image without any file.
pub(crate) fn empty_image(platform: Platform) -> Image {
    const DEFINITION: &str = "name: i\ntitle: t\ndescription: d\nuser: \"1:1\"\nentrypoint: [/i]\n\
        platforms: [linux/amd64, linux/arm64]\nlayers: [{files: []}]\n";
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("i.yaml"), DEFINITION).unwrap();
    let definition = ImageDefinition::read(&folder.path().join("i.yaml")).unwrap();
    image::build(&definition, platform, &[], &BTreeMap::new()).unwrap()
}

#[tokio::test]
async fn an_index_lists_each_platform_with_its_own_document() {
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
async fn a_document_about_an_image_is_found_with_and_without_the_referrers_api() {
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
async fn a_chart_that_is_there_already_is_not_pushed_again() {
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
