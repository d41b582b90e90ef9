//! Docker's configuration file, as far as it says how to sign in to a registry.
//!
//! A helper for the registry comes first, then the general store, then what the file itself holds: the order of Docker's own
//! client. Where that finds nothing we look on, because `podman login` writes to the same file and has other habits: Docker's
//! registry under `docker.io`, keys with a path for a part of a registry, and an entry next to a store that does not know it.

mod fields;
mod helper;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::de::{IgnoredAny, MapAccess};
use serde::{Deserialize, Deserializer};

use super::DOCKER_HUB;
use crate::Error;
use fields::{Fields, extend, replace};

/// Largest configuration that is read, in bytes.
const CONFIG: u64 = 1 << 20;
/// Under which name Docker keeps the credentials of its own registry.
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";
/// Paths of a key that belong to the registry's interface, not to a part of the registry.
const INTERFACES: [&str; 3] = ["", "v1", "v2"];

/// What a registry or its token server can be given. It has no form in which it could be shown.
#[derive(Clone, PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub(super) struct Credentials {
    /// User and password; neither is empty.
    pub(super) password: Option<(String, String)>,
    /// Stands for a user, and is exchanged for tokens.
    pub(super) identity_token: Option<String>,
}

impl Credentials {
    /// `None` where nothing can be given: half of a pair is none, as for Docker.
    fn new(user: String, password: String, identity_token: Option<String>) -> Option<Self> {
        let password = (!user.is_empty() && !password.is_empty()).then_some((user, password));
        let identity_token = identity_token.filter(|token| !token.is_empty());
        (password.is_some() || identity_token.is_some()).then_some(Self { password, identity_token })
    }
}

#[derive(Default)]
struct Config {
    auths: BTreeMap<String, Option<Entry>>,
    cred_helpers: BTreeMap<String, Option<String>>,
    creds_store: Option<String>,
}

impl Fields for Config {
    fn take<'de, M: MapAccess<'de>>(&mut self, name: &str, map: &mut M) -> Result<(), M::Error> {
        match name {
            "auths" => extend(&mut self.auths, map.next_value()?),
            "credhelpers" => extend(&mut self.cred_helpers, map.next_value()?),
            "credsstore" => replace(&mut self.creds_store, map.next_value()?),
            _ => drop(map.next_value::<IgnoredAny>()?),
        }
        Ok(())
    }
}

#[derive(Clone, Default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

impl Fields for Entry {
    fn take<'de, M: MapAccess<'de>>(&mut self, name: &str, map: &mut M) -> Result<(), M::Error> {
        match name {
            "auth" => replace(&mut self.auth, map.next_value()?),
            "username" => replace(&mut self.username, map.next_value()?),
            "password" => replace(&mut self.password, map.next_value()?),
            "identitytoken" => replace(&mut self.identitytoken, map.next_value()?),
            _ => drop(map.next_value::<IgnoredAny>()?),
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        fields::read(deserializer)
    }
}

/// A program that may know, and what it is asked for.
#[derive(Debug, PartialEq, Eq)]
struct Helper {
    program: String,
    key: String,
}

/// The credentials for a repository; `None` when there are none. They are never part of an error.
pub(super) async fn find(registry: &str, repository: &str) -> Result<Option<Credentials>, Error> {
    let folder = std::env::var_os("DOCKER_CONFIG")
        .filter(|folder| !folder.is_empty())
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".docker")));
    let Some(path) = folder.map(|folder| folder.join("config.json")) else { return Ok(None) };
    let text = match std::fs::File::open(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => {
            let mut text = Vec::new();
            let read = other.and_then(|file| file.take(CONFIG + 1).read_to_end(&mut text));
            read.map_err(Error::io("read", &path))?;
            text
        }
    };
    if text.len() as u64 > CONFIG {
        return Err(Error::TooLarge { what: path.display().to_string(), limit: CONFIG });
    }
    let wrong = |reason: &'static str| not_found(format!("{}: {reason}", path.display()));
    let config = Config::read(&text).map_err(wrong)?;
    if let Some(helper) = config.helper(registry)
        && let Some(found) = helper.ask().await?
    {
        return Ok(Some(found));
    }
    config.entry(registry, repository).map_err(wrong)
}

impl Config {
    fn read(text: &[u8]) -> Result<Self, &'static str> {
        if text.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        let mut reader = serde_json::Deserializer::from_slice(text);
        let config = fields::read(&mut reader).and_then(|config| reader.end().map(|()| config));
        config.map_err(|_| "is not Docker's configuration")
    }

    /// Who is asked. A helper without a name says that the store is not to be asked for this registry.
    fn helper(&self, registry: &str) -> Option<Helper> {
        let names = names(registry);
        let (name, key) = names
            .iter()
            .find_map(|key| Some((self.cred_helpers.get(*key)?.as_deref(), *key)))
            .unwrap_or((self.creds_store.as_deref(), names[0]));
        let name = name.filter(|name| !name.is_empty())?;
        Some(Helper { program: format!("docker-credential-{name}"), key: key.to_owned() })
    }

    /// What the file itself holds, in the entry that fits best of those that hold something.
    fn entry(&self, registry: &str, repository: &str) -> Result<Option<Credentials>, &'static str> {
        let entries = self.auths.iter().filter_map(|(key, entry)| Some((key, entry.as_ref()?)));
        let mut fitting: Vec<_> =
            entries.filter_map(|(key, entry)| Some((fit(key, registry, repository)?, entry))).collect();
        fitting.sort_by_key(|(fit, _)| Reverse(*fit));
        fitting.into_iter().find_map(|(_, entry)| entry.credentials().transpose()).transpose()
    }
}

/// What a registry is called in keys, Docker's own name for it first.
fn names(registry: &str) -> Vec<&str> {
    if registry == DOCKER_HUB.1 { vec![DOCKER_HUB_KEY, DOCKER_HUB.0, DOCKER_HUB.1] } else { vec![registry] }
}

/// How well a key fits a repository. `None`: it is of another registry.
fn fit(key: &str, registry: &str, repository: &str) -> Option<usize> {
    let names = names(registry);
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let (host, path) = bare.split_once('/').unwrap_or((bare, ""));
    let path = path.trim_end_matches('/');
    if !names.contains(&host) {
        return None;
    }
    let below = repository.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    Some(match path {
        // Docker looks for this one first.
        _ if key == names[0] => 2,
        path if INTERFACES.contains(&path) => 1,
        path if below => 2 + path.len(),
        // Made for another part of the registry; Docker does not look at paths and takes it.
        _ => 0,
    })
}

impl Entry {
    fn credentials(&self) -> Result<Option<Credentials>, &'static str> {
        let Self { auth, username, password, identitytoken } = self.clone();
        let (user, password) = match auth.filter(|auth| !auth.is_empty()) {
            Some(auth) => decode(&auth)?,
            None => (username.unwrap_or_default(), password.unwrap_or_default()),
        };
        Ok(Credentials::new(user, password, identitytoken))
    }
}

/// Base64 may be broken into lines.
fn decode(auth: &str) -> Result<(String, String), &'static str> {
    const WRONG: &str = "has an auth that is not base64 of user:password";
    let auth: Vec<u8> = auth.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    let plain = String::from_utf8(STANDARD.decode(auth).map_err(|_| WRONG)?).map_err(|_| WRONG)?;
    match plain.split_once(':') {
        Some((user, password)) if !user.is_empty() => Ok((user.to_owned(), password.trim_matches('\0').to_owned())),
        _ => Err(WRONG),
    }
}

fn not_found(reason: String) -> Error {
    Error::Transfer { what: "cannot find credentials".to_owned(), source: reason.into() }
}

#[cfg(test)]
mod tests;
