//! The places for uploads that registries name. The names of cases (`R06` …) are those of the field reports.

use std::sync::{Arc, Mutex};

use image_builder::Digest;
use image_builder::image::Platform;
use image_builder::reference::Reference;
use image_builder::registry::Upload;

use crate::pushes::empty_image;
use crate::quirks::document;
use crate::stand_in::serve;

/// A store of blobs: takes what is put there, and writes down where.
fn store() -> (String, Arc<Mutex<Vec<String>>>) {
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let list = Arc::clone(&seen);
    let address = serve(move |request| match request.method.as_str() {
        "POST" => (202, "Location: ../uploads/7?state=a%2Fb%3D\r\n".to_owned(), Vec::new()),
        "PUT" => {
            list.lock().unwrap().push(request.target.clone());
            (201, String::new(), Vec::new())
        }
        _ => (404, String::new(), Vec::new()),
    });
    (address, seen)
}

#[tokio::test]
async fn uploads_go_to_the_location_that_the_registry_gives() {
    let digest = format!("digest={}", Digest::of(b"{}").to_string().replace(':', "%3A"));
    for (case, status, place, expected) in [
        ("R06, without host", 202, "/up/1", Some(format!("/up/1?{digest}"))),
        ("R07, with a query", 202, "/up/1?state=a%2Fb%3D&x", Some(format!("/up/1?state=a%2Fb%3D&x&{digest}"))),
        ("whole", 202, "http://HERE/up/1", Some(format!("/up/1?{digest}"))),
        ("without a slash", 202, "up/1", Some(format!("/v2/i/blobs/uploads/up/1?{digest}"))),
        ("R11, sent on", 307, "http://STORE/v2/other/blobs/uploads/", None),
        ("R10, elsewhere", 202, "http://STORE/v2/other/blobs/uploads/7", None),
    ] {
        let (there, seen_there) = store();
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let (list, target) = (Arc::clone(&seen), place.replace("STORE", &there));
        let here = Arc::new(Mutex::new(String::new()));
        let own = Arc::clone(&here);
        let address = serve(move |request| match (request.method.as_str(), request.target.as_str()) {
            ("GET", "/v2/") => (200, String::new(), Vec::new()),
            ("POST", _) => {
                let place = target.replace("HERE", &own.lock().unwrap());
                (status, format!("Location: {place}\r\n"), Vec::new())
            }
            ("PUT", target) => {
                list.lock().unwrap().push(target.to_owned());
                (201, String::new(), Vec::new())
            }
            _ => (404, String::new(), Vec::new()),
        });
        here.lock().unwrap().clone_from(&address);
        let image = empty_image(Platform::LinuxAmd64);
        let mut upload = Upload::begin(&Reference::new(Some(&address), "i", "1").unwrap(), false).await.unwrap();
        upload.referrer(&document(&image), |_, _| ()).await.unwrap();
        let (seen, seen_there) = (seen.lock().unwrap(), seen_there.lock().unwrap());
        match expected {
            Some(expected) => assert_eq!((&seen[0], seen_there.len()), (&expected, 0), "{case}"),
            // Relative to where the answer came from, with what is asked for there.
            None if status == 307 => {
                assert_eq!(seen_there[0], format!("/v2/other/blobs/uploads/7?state=a%2Fb%3D&{digest}"), "{case}");
            }
            None => assert_eq!(seen_there[0], format!("/v2/other/blobs/uploads/7?{digest}"), "{case}"),
        }
    }
}

#[tokio::test]
async fn an_invalid_upload_location_is_an_error() {
    for headers in ["", "Location: http://[\r\n", "Location: mailto:a@b\r\n", "Location: http://127.0.0.1:1/secret\r\n"]
    {
        let address = serve(move |request| match request.method.as_str() {
            "GET" => (200, String::new(), Vec::new()),
            "POST" => (202, headers.to_owned(), Vec::new()),
            _ => (404, String::new(), Vec::new()),
        });
        let mut upload = Upload::begin(&Reference::new(Some(&address), "i", "1").unwrap(), false).await.unwrap();
        let error = upload.images(&[empty_image(Platform::LinuxAmd64)], |_, _| ()).await.unwrap_err();
        let causes = std::iter::successors(Some(&error as &dyn std::error::Error), |error| error.source());
        let reported = causes.map(|error| format!("{error} {error:?}")).collect::<Vec<_>>().join("\n");
        assert!(reported.contains("cannot push blob") && !reported.contains("secret"), "{headers}: {reported}");
    }
}
