//! Credentials: where they come from, and who hears them.

use std::sync::{Arc, Mutex};

use image_builder::image::{Artifact, Platform};
use image_builder::reference::Reference;
use image_builder::registry::Upload;
use serde_json::json;

use crate::pushes::empty_image;
use crate::stand_in::{Request, serve, serve_at};

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
        .args(["signing_in::push_in_a_process_of_its_own", "--exact", "--ignored", "--nocapture"])
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
