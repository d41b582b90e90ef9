//! Registries as people have them, each different from the specification in its own way. The names of cases (`R01` …) are those of
//! the field reports.

use std::collections::BTreeMap;
use std::sync::Arc;

use image_builder::image::{Artifact, INDEX, Image, MANIFEST, Platform};
use image_builder::reference::Reference;
use image_builder::registry::Upload;
use image_builder::{Digest, Error};
use serde_json::{Value, json};

use crate::pushes::{Stored, empty_image, listed};
use crate::stand_in::{Answer, Request, serve};

/// How a registry differs; the default lists nothing itself, and says so as the specification wants it.
#[derive(Clone, Copy, Default)]
struct Quirks {
    /// What it answers to the question what is said about an image.
    referrers: Option<(u16, &'static str)>,
    /// It lists documents itself, and says so in the answer to each.
    understands: bool,
    /// What the tag for the list gives before it has been pushed.
    tag: Option<Tag>,
    /// What it answers to a manifest with a subject.
    subject: Option<u16>,
    /// What it answers to a tag that it has.
    again: Option<u16>,
    /// What it answers to a list under a tag.
    index: Option<u16>,
}

#[derive(Clone, Copy)]
enum Tag {
    TheImage,
    Answer(u16, &'static str),
}

const REASON: &str = r#"{"errors": [{"code": "UNSUPPORTED", "message": "not\nhere"}]}"#;
const PAGE: &str = "<!DOCTYPE html><html><body>Sign in</body></html>";

/// A registry, and what it was given: path without query, or digest → content.
fn registry(quirks: Quirks) -> (String, Stored) {
    let stored = Stored::default();
    let kept = Arc::clone(&stored);
    (serve(move |request| answer(quirks, request, &mut kept.lock().unwrap())), stored)
}

fn answer(quirks: Quirks, request: &Request, kept: &mut BTreeMap<String, Vec<u8>>) -> Answer {
    let plain = |status: u16, body: &str| (status, String::new(), body.as_bytes().to_vec());
    let name = request.target.rsplit('/').next().unwrap().to_owned();
    match request.method.as_str() {
        "GET" if request.target == "/v2/" => plain(200, ""),
        "GET" if request.target.contains("/referrers/") => {
            quirks.referrers.map_or_else(|| plain(404, PAGE), |(status, body)| plain(status, body))
        }
        "GET" => match (kept.get(&request.target), quirks.tag) {
            (Some(content), _) => (200, String::new(), content.clone()),
            (None, Some(Tag::TheImage)) if name.starts_with("sha256-") => {
                let image = kept.values().find(|blob| Digest::of(blob).to_string() == name.replace('-', ":"));
                (200, format!("Content-Type: {MANIFEST}\r\n"), image.unwrap().clone())
            }
            (None, Some(Tag::Answer(status, body))) if name.starts_with("sha256-") => plain(status, body),
            _ => plain(404, REASON),
        },
        "HEAD" => plain(if kept.contains_key(&name) { 200 } else { 404 }, ""),
        "POST" => (202, format!("Location: {}upload\r\n", request.target), Vec::new()),
        "PUT" => {
            let key = request.target.split_once("digest=").map(|(_, digest)| digest.replace("%3A", ":"));
            if key.is_none() {
                let manifest: Value = serde_json::from_slice(&request.body).unwrap();
                let refused = match () {
                    () if manifest["subject"].is_object() => quirks.subject,
                    () if manifest["manifests"].is_array() && name.starts_with("sha256-") => quirks.index,
                    () => kept.get(&request.target).and(quirks.again),
                };
                if let Some(status) = refused {
                    return plain(status, REASON);
                }
            }
            kept.insert(key.unwrap_or_else(|| request.target.clone()), request.body.clone());
            let understood = if quirks.understands { "OCI-Subject: sha256:x\r\n" } else { "" };
            // Some leave the place out, which is of no use to anybody.
            (201, understood.to_owned(), Vec::new())
        }
        _ => plain(405, REASON),
    }
}

/// Pushes two images, each with a document, as is done for a release; what came of the documents.
async fn release(address: &str) -> (Vec<Image>, Vec<Result<Digest, Error>>) {
    let (mut images, mut documents) = (Vec::new(), Vec::new());
    for (name, platform) in [("controller", Platform::LinuxAmd64), ("agent", Platform::LinuxArm64)] {
        let image = empty_image(platform);
        let mut upload = Upload::begin(&Reference::new(Some(address), name, "1").unwrap(), false).await.unwrap();
        upload.images(std::slice::from_ref(&image), |_, _| ()).await.unwrap();
        documents.push(upload.referrer(&document(&image), |_, _| ()).await);
        images.push(image);
    }
    (images, documents)
}

pub(crate) fn document(image: &Image) -> Artifact {
    Artifact::about(image, "text/x", "bill", image.platform.to_string().into()).unwrap()
}

/// What becomes of a document.
#[derive(Debug, Clone, Copy)]
enum Fate {
    ListedByRegistry,
    ListedUnderTag,
    /// The reason has these words, and another try would end the same way.
    Refused(&'static str),
    /// The reason has these words, and another try may end well.
    Broken(&'static str),
}

#[tokio::test]
async fn images_are_pushed_to_every_kind_of_registry_and_documents_where_supported() {
    use Fate::{Broken, ListedByRegistry, ListedUnderTag, Refused};
    let none = Quirks::default();
    let asked = |status, body| Quirks { referrers: Some((status, body)), ..none };
    let tag = |tag| Quirks { tag: Some(tag), ..none };
    let subject = |status| Quirks { subject: Some(status), ..none };
    let index = |status| Quirks { index: Some(status), ..none };
    for (case, quirks, fate) in [
        ("by the specification, without lists", none, ListedUnderTag),
        ("by the specification, with lists", Quirks { understands: true, ..none }, ListedByRegistry),
        ("lists, and no answer about them", Quirks { understands: true, ..asked(500, "") }, ListedByRegistry),
        ("R01, 406", asked(406, ""), ListedUnderTag),
        ("R01, 400", asked(400, REASON), ListedUnderTag),
        ("R01, 401", asked(401, REASON), ListedUnderTag),
        ("R01, 403", asked(403, REASON), ListedUnderTag),
        ("R01, 404", asked(404, REASON), ListedUnderTag),
        ("R01, 405", asked(405, ""), ListedUnderTag),
        ("R01, 501", asked(501, PAGE), ListedUnderTag),
        ("R01, 500", asked(500, ""), ListedUnderTag),
        ("R01, a page", asked(200, PAGE), ListedUnderTag),
        ("R01, nothing", asked(200, ""), ListedUnderTag),
        ("R01, no index", asked(200, "{}"), ListedUnderTag),
        ("R01, an error that is 200", asked(200, REASON), ListedUnderTag),
        ("R01, empty list", asked(200, r#"{"schemaVersion": 2, "manifests": []}"#), ListedUnderTag),
        ("R03", tag(Tag::TheImage), ListedUnderTag),
        ("R03, a page", tag(Tag::Answer(200, PAGE)), ListedUnderTag),
        ("R03, 400", tag(Tag::Answer(400, REASON)), ListedUnderTag),
        ("R03, nobody may see it", tag(Tag::Answer(403, REASON)), Refused("403 (UNSUPPORTED: not here)")),
        ("R03, out of order", tag(Tag::Answer(503, PAGE)), Broken("503")),
        ("R05, 405", subject(405), Refused("405 (UNSUPPORTED: not here)")),
        ("R05, 404", subject(404), Refused("404 (UNSUPPORTED: not here)")),
        ("R05, 400", subject(400), Refused("400")),
        ("R05, 415", subject(415), Refused("415")),
        ("R05, 501", subject(501), Refused("501")),
        ("R05, 200 that is none", subject(200), Refused("200")),
        ("R05, out of order", subject(503), Broken("503")),
        ("no list under a tag", index(403), Refused("403 (UNSUPPORTED: not here)")),
    ] {
        let (address, stored) = registry(quirks);
        let (images, documents) = release(&address).await;
        let stored = stored.lock().unwrap();
        for ((name, image), outcome) in ["controller", "agent"].iter().zip(&images).zip(documents) {
            assert_eq!(stored[&format!("/v2/{name}/manifests/1")], image.manifest.content, "{case}");
            let list =
                stored.get(&format!("/v2/{name}/manifests/{}", image.manifest.digest.to_string().replace(':', "-")));
            let document = document(image).manifest.digest;
            match (fate, outcome) {
                (ListedByRegistry, Ok(digest)) => assert!(digest == document && list.is_none(), "{case}"),
                (ListedUnderTag, Ok(digest)) => {
                    let list: Value = serde_json::from_slice(list.unwrap()).unwrap();
                    assert_eq!((digest, &list["mediaType"]), (document, &json!(INDEX)), "{case}");
                    assert_eq!(list["manifests"].as_array().unwrap().len(), 1, "{case}");
                    assert_eq!(list["manifests"][0]["digest"], document.to_string(), "{case}");
                    let about = image.manifest.digest.to_string();
                    assert_eq!(stored.values().filter_map(|blob| listed(blob, &about)).count(), 1, "{case}");
                }
                (Refused(words), Err(error)) => {
                    assert!(error.is_refusal() && error.to_string().contains(words), "{case}: {error}");
                }
                (Broken(words), Err(error)) => {
                    assert!(!error.is_refusal() && error.to_string().contains(words), "{case}: {error}");
                }
                (_, outcome) => panic!("{case}: {outcome:?}"),
            }
        }
    }
}

#[tokio::test]
async fn an_immutable_tag_with_the_same_content_is_no_error() {
    for status in [400, 403, 409, 412, 200] {
        let (address, stored) = registry(Quirks { again: Some(status), ..Quirks::default() });
        for _ in 0..2 {
            let (images, documents) = release(&address).await;
            assert_eq!((images.len(), documents.iter().filter(|outcome| outcome.is_ok()).count()), (2, 2), "{status}");
        }
        let before = stored.lock().unwrap().clone();
        let other = empty_image(Platform::LinuxArm64);
        let reference = Reference::new(Some(&address), "controller", "1").unwrap();
        let mut upload = Upload::begin(&reference, false).await.unwrap().overwriting(true);
        let error = upload.images(std::slice::from_ref(&other), |_, _| ()).await.unwrap_err().to_string();
        let there = empty_image(Platform::LinuxAmd64).manifest.digest.to_string();
        assert!(error.contains(&there) && error.contains(&status.to_string()), "{error}");
        assert_eq!(before["/v2/controller/manifests/1"], stored.lock().unwrap()["/v2/controller/manifests/1"]);
    }
}

#[tokio::test]
async fn a_tag_is_moved_to_other_content_only_with_force() {
    let (address, stored) = registry(Quirks::default());
    let reference = Reference::new(Some(&address), "controller", "1").unwrap();
    let [first, second] = [Platform::LinuxAmd64, Platform::LinuxArm64].map(empty_image);
    let push = async |image: &Image, overwrites: bool| {
        let mut upload = Upload::begin(&reference, false).await.unwrap().overwriting(overwrites);
        upload.images(std::slice::from_ref(image), |_, _| ()).await
    };
    assert_eq!(push(&first, false).await.unwrap(), first.manifest.digest);
    assert_eq!(push(&first, false).await.unwrap(), first.manifest.digest, "the same again is nothing new");
    let before = stored.lock().unwrap().clone();
    let error = push(&second, false).await.unwrap_err();
    assert!(matches!(&error, Error::Taken { there, .. } if *there == first.manifest.digest), "{error}");
    assert_eq!(*stored.lock().unwrap(), before, "nothing was sent");
    assert_eq!(push(&second, true).await.unwrap(), second.manifest.digest);
}

#[tokio::test]
async fn entries_of_others_stay_in_the_list_of_referrers() {
    let (address, stored) = registry(Quirks::default());
    let image = empty_image(Platform::LinuxAmd64);
    let path = format!("/v2/i/manifests/{}", image.manifest.digest.to_string().replace(':', "-"));
    let other = json!({ "digest": format!("sha256:{}", "a".repeat(64)), "size": 1, "annotations": { "by": "others" } });
    let index = json!({ "manifests": [other], "annotations": { "about": "all" } });
    stored.lock().unwrap().insert(path.clone(), index.to_string().into_bytes());
    let mut upload = Upload::begin(&Reference::new(Some(&address), "i", "1").unwrap(), false).await.unwrap();
    upload.images(std::slice::from_ref(&image), |_, _| ()).await.unwrap();
    upload.referrer(&document(&image), |_, _| ()).await.unwrap();
    let index: Value = serde_json::from_slice(&stored.lock().unwrap()[&path]).unwrap();
    assert_eq!((&index["manifests"][0], &index["annotations"]["about"]), (&other, &json!("all")));
    assert_eq!(index["manifests"][1]["digest"], document(&image).manifest.digest.to_string());
}

#[tokio::test]
async fn a_list_of_referrers_beyond_the_limit_is_not_overwritten() {
    let (address, stored) = registry(Quirks::default());
    let image = empty_image(Platform::LinuxAmd64);
    let path = format!("/v2/i/manifests/{}", image.manifest.digest.to_string().replace(':', "-"));
    stored.lock().unwrap().insert(path.clone(), vec![b' '; 5 << 20]);
    let mut upload = Upload::begin(&Reference::new(Some(&address), "i", "1").unwrap(), false).await.unwrap();
    upload.images(std::slice::from_ref(&image), |_, _| ()).await.unwrap();
    let error = upload.referrer(&document(&image), |_, _| ()).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { .. }), "{error}");
    assert_eq!(stored.lock().unwrap()[&path].len(), 5 << 20);
}
