//! Docker's configuration file, as far as it says how to sign in to a registry.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::Error;

/// Under which name Docker keeps the credentials of its own registry.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";
/// What the same registry is called by clients.
const DOCKER_HUB: [&str; 2] = ["docker.io", "index.docker.io"];

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Config {
    auths: BTreeMap<String, Entry>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Entry {
    auth: Option<String>,
}

/// Where the credentials of a registry are.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    Here { user: String, password: String },
    Helper { program: String, key: String },
    Nowhere,
}

/// User and password for `registry`; `None` when there are none. Neither is ever part of an error.
pub(super) fn find(registry: &str) -> Result<Option<(String, String)>, Error> {
    let folder = std::env::var_os("DOCKER_CONFIG")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".docker")));
    let Some(path) = folder.map(|folder| folder.join("config.json")) else { return Ok(None) };
    let text = match std::fs::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(Error::io("read", &path))?,
    };
    match place(&text, registry).map_err(|reason| transfer(format!("{}: {reason}", path.display())))? {
        Place::Here { user, password } => Ok(Some((user, password))),
        Place::Helper { program, key } => ask(&program, &key),
        Place::Nowhere => Ok(None),
    }
}

/// A helper for the registry comes first, then what the file itself holds, then the general store for registries
/// that somebody has signed in to.
fn place(config: &[u8], registry: &str) -> Result<Place, &'static str> {
    let config: Config = serde_json::from_slice(config).map_err(|_| "is not Docker's configuration")?;
    let key = if DOCKER_HUB.contains(&registry) { DOCKER_HUB_KEY } else { registry };
    let helper = |name: &str| Place::Helper { program: format!("docker-credential-{name}"), key: key.to_owned() };
    if let Some(name) = config.cred_helpers.get(key) {
        return Ok(helper(name));
    }
    let bare = |name: &str| {
        let name = name.strip_prefix("https://").or_else(|| name.strip_prefix("http://")).unwrap_or(name);
        name.split('/').next().unwrap_or_default().to_owned()
    };
    let entry = config
        .auths
        .get(key)
        .or_else(|| config.auths.iter().find_map(|(name, entry)| (bare(name) == registry).then_some(entry)));
    match (entry.and_then(|entry| entry.auth.as_deref()).filter(|auth| !auth.is_empty()), &config.creds_store) {
        (Some(auth), _) => decode(auth),
        (None, Some(store)) if entry.is_some() => Ok(helper(store)),
        (None, _) => Ok(Place::Nowhere),
    }
}

fn decode(auth: &str) -> Result<Place, &'static str> {
    const WRONG: &str = "has an auth that is not base64 of user:password";
    let plain = STANDARD.decode(auth).map_err(|_| WRONG)?;
    let plain = String::from_utf8(plain).map_err(|_| WRONG)?;
    let (user, password) = plain.split_once(':').ok_or(WRONG)?;
    Ok(Place::Here { user: user.to_owned(), password: password.to_owned() })
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// The protocol of Docker's credential helpers: the key on standard input, a JSON object on standard output.
fn ask(program: &str, key: &str) -> Result<Option<(String, String)>, Error> {
    let start = |source| Error::Start { program: program.to_owned(), source };
    let mut child = Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(start)?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(key.as_bytes()).map_err(start)?;
    }
    let output = child.wait_with_output().map_err(start)?;
    if !output.status.success() {
        return Ok(None); // it knows nothing about that registry
    }
    let answer: Answer =
        serde_json::from_slice(&output.stdout).map_err(|_| transfer(format!("{program} gave no credentials")))?;
    Ok(Some((answer.username, answer.secret)))
}

fn transfer(reason: String) -> Error {
    Error::Transfer { what: "cannot find credentials".to_owned(), source: reason.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_credentials_as_docker_does() {
        let config = br#"{
            "auths": {
                "registry.example.com": {"auth": "dXNlcjpwYXNzOndvcmQ="},
                "https://other.example.com/v2/": {"auth": "dTpw"},
                "stored.example.com": {},
                "https://index.docker.io/v1/": {"auth": "aHViOnB3"}
            },
            "credHelpers": {"cloud.example.com": "cloud"},
            "credsStore": "desktop"
        }"#;
        let here = |user: &str, password: &str| Place::Here { user: user.into(), password: password.into() };
        let helper = |program: &str, key: &str| Place::Helper { program: program.into(), key: key.into() };
        for (registry, expected) in [
            ("registry.example.com", here("user", "pass:word")),
            ("other.example.com", here("u", "p")),
            ("docker.io", here("hub", "pw")),
            ("cloud.example.com", helper("docker-credential-cloud", "cloud.example.com")),
            ("stored.example.com", helper("docker-credential-desktop", "stored.example.com")),
            ("unknown.example.com", Place::Nowhere),
        ] {
            assert_eq!(place(config, registry), Ok(expected), "{registry}");
        }
    }

    #[test]
    fn refuses_a_damaged_file_without_showing_it() {
        for bad in ["", "7", r#"{"auths":{"r":{"auth":"!!"}}}"#, r#"{"auths":{"r":{"auth":"c2VjcmV0"}}}"#] {
            let error = place(bad.as_bytes(), "r").unwrap_err();
            assert!(!error.contains("secret"));
        }
    }
}
