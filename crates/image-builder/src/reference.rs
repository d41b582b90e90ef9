//! Where an image lives: registry, repository, tag. The one parser of such names: what it takes, every registry, containerd
//! and kubelet take, so that no name fails after a build.

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use crate::{Digest, Error};

/// What a name without a registry means to Docker, containerd and kubelet alike.
const DEFAULT_REGISTRY: &str = "docker.io";
/// Where bare names are kept there.
const DEFAULT_FOLDER: &str = "library";
/// Longest tag that the distribution specification allows.
const TAG_LENGTH: usize = 128;
/// Longest name, registry included, that all readers of references take.
const NAME_LENGTH: usize = 255;

/// `[registry/]name:tag`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    repository: String,
    tag: String,
}

impl Reference {
    /// `registry` may carry a path (`registry.example.com:5000/team`) and a trailing slash; `None` or empty leaves
    /// the bare `name`.
    ///
    /// # Errors
    /// [`Error::Reference`] for what the grammar of references (distribution's `reference` package) refuses, for a scheme,
    /// and for `latest` (tags are versions: a node would keep whatever it pulled first).
    pub fn new(registry: Option<&str>, name: &str, tag: &str) -> Result<Self, Error> {
        let repository = match registry.map(|registry| registry.trim_end_matches('/')) {
            None | Some("") => name.to_owned(),
            Some(registry) => format!("{registry}/{name}"),
        };
        match check_repository(&repository).and_then(|()| check_tag(tag)) {
            Ok(()) => Ok(Self { repository, tag: tag.to_owned() }),
            Err(reason) => Err(Error::Reference { reference: format!("{repository}:{tag}"), reason }),
        }
    }

    /// Registry and name, without the tag.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The last part of the name.
    #[must_use]
    pub fn base_name(&self) -> &str {
        self.repository.rsplit('/').next().unwrap_or_default()
    }

    /// The tag.
    #[must_use]
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// Host and port of the registry; Docker's own where the name has none.
    #[must_use]
    pub fn registry(&self) -> &str {
        split_host(&self.repository).0.unwrap_or(DEFAULT_REGISTRY)
    }

    /// The name within its registry.
    #[must_use]
    pub fn path(&self) -> String {
        match split_host(&self.repository) {
            (None, path) if !path.contains('/') => format!("{DEFAULT_FOLDER}/{path}"),
            (_, path) => path.to_owned(),
        }
    }

    /// The name under which containerd keeps it: always with a registry.
    #[must_use]
    pub fn canonical(&self) -> String {
        format!("{}/{}:{}", self.registry(), self.path(), self.tag)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.repository, self.tag)
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let name = text.rfind('/').map_or(0, |slash| slash + 1);
        match text[name..].split_once(':') {
            Some((last, tag)) => Self::new(None, &text[..name + last.len()], tag),
            None => Err(Error::Reference { reference: text.to_owned(), reason: "it has no tag" }),
        }
    }
}

/// A reference and what it led to: `[registry/]name:tag@sha256:…`. Whoever pulls by it gets that content or nothing,
/// whatever the tag has become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    /// Where it lives.
    pub reference: Reference,
    /// What it is.
    pub digest: Digest,
}

impl fmt::Display for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.reference, self.digest)
    }
}

impl FromStr for Pinned {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (reference, digest) = text
            .rsplit_once('@')
            .ok_or_else(|| Error::Reference { reference: text.to_owned(), reason: "it has no digest" })?;
        Ok(Self { reference: reference.parse()?, digest: digest.parse()? })
    }
}

/// The registry's host with its port, where the name begins with one, and the rest.
fn split_host(repository: &str) -> (Option<&str>, &str) {
    match repository.split_once('/') {
        // As Docker distinguishes them: a host has a dot, a colon or an upper case letter, or is `localhost`.
        Some((host, path))
            if host == "localhost"
                || host.contains(['.', ':'])
                || host.contains(|letter: char| letter.is_ascii_uppercase()) =>
        {
            (Some(host), path)
        }
        _ => (None, repository),
    }
}

fn check_repository(repository: &str) -> Result<(), &'static str> {
    if repository.contains("://") {
        return Err("a registry is given without a scheme");
    }
    if repository.len() > NAME_LENGTH {
        return Err("registry and name have 255 characters at most");
    }
    let (host, path) = split_host(repository);
    if !host.is_none_or(is_host) {
        return Err("a registry is a host name (letters, digits, . and -) or an IP address (IPv6 in brackets), \
                    with a port from 1 to 65535 where it has one");
    }
    if !path.split('/').all(is_path_part) {
        return Err(
            "each part of a name has lower case letters and digits, with one . or _, two _ or any number of - \
                    between them",
        );
    }
    Ok(())
}

fn check_tag(tag: &str) -> Result<(), &'static str> {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if tag.is_empty() || tag.len() > TAG_LENGTH || !tag.chars().all(fits) || tag.starts_with(['.', '-']) {
        return Err("a tag has letters, digits and . _ - only, at most 128, and begins with none of . and -");
    }
    if tag == "latest" {
        return Err("tags are versions, never latest");
    }
    Ok(())
}

fn is_host(host: &str) -> bool {
    let (name, port) = split_port(host);
    let is_label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
    };
    let named = match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => name.split('.').all(is_label),
    };
    let is_port = |port: &str| port.chars().all(|c| c.is_ascii_digit()) && port.parse().is_ok_and(|port: u16| port > 0);
    named && port.is_none_or(is_port)
}

/// A registry's host (IPv6 with its brackets) and what stands behind the colon.
pub(crate) fn split_port(registry: &str) -> (&str, Option<&str>) {
    match registry.rsplit_once(':') {
        // A colon within brackets is one of an address.
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (registry, None),
    }
}

fn is_path_part(part: &str) -> bool {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let separators = part.split(is_word).filter(|separator| !separator.is_empty());
    part.starts_with(is_word)
        && part.ends_with(is_word)
        && separators.into_iter().all(|separator| {
            matches!(separator, "." | "_" | "__") || separator.chars().all(|separator| separator == '-')
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_have_their_canonical_form() {
        for (registry, expected) in [
            (None, "docker.io/library/image:1.2.3"),
            (Some(""), "docker.io/library/image:1.2.3"),
            (Some("team"), "docker.io/team/image:1.2.3"),
            (Some("localhost:5001"), "localhost:5001/image:1.2.3"),
            (Some("localhost"), "localhost/image:1.2.3"),
            (Some("registry.example.com/team/"), "registry.example.com/team/image:1.2.3"),
            (Some("Registry/team"), "Registry/team/image:1.2.3"),
            (Some("[fd00::1]:5000/team"), "[fd00::1]:5000/team/image:1.2.3"),
            (Some("[fd00::1]"), "[fd00::1]/image:1.2.3"),
        ] {
            let reference = Reference::new(registry, "image", "1.2.3").unwrap();
            assert_eq!(reference.canonical(), expected);
            assert_eq!(reference.to_string().parse::<Reference>().unwrap(), reference);
        }
    }

    #[test]
    fn names_that_registries_take_are_accepted() {
        for registry in [
            "a",
            "x/a.b_c__d---e/f0",
            "0/1",
            "registry.example.com:65535",
            "10.0.0.1:5000/team",
            "xn--bcher-kva.example:1",
            "[::ffff:10.0.0.1]:5000/a/b/c/d",
        ] {
            assert!(Reference::new(Some(registry), "image", "v1_0.0-rc.1").is_ok(), "{registry}");
        }
    }

    #[test]
    fn names_that_no_registry_takes_are_refused() {
        for (registry, tag) in [
            // C15 of the field reports: names that a registry refused after the build.
            (Some("my_registry:5000"), "1"),
            (Some("registry.example.com:port"), "1"),
            (Some("registry.example.com/-team"), "1"),
            (Some("registry.example.com//team"), "1"),
            (Some("/team"), "1"),
            (None, "latest"),
            (None, ""),
            (None, "-x"),
            (None, "a b"),
            (None, "a/b"),
            (None, "a+b"),
            (None, "ä"),
            (Some("https://registry.example.com"), "1"),
            (Some("registry.example.com/Team"), "1"),
            (Some("registry example"), "1"),
            (Some("registry.example.com:"), "1"),
            (Some("registry.example.com:0"), "1"),
            (Some("registry.example.com:65536"), "1"),
            (Some("registry.example.com:+1"), "1"),
            (Some("registry.example.com/team-"), "1"),
            (Some("registry.example.com/te..am"), "1"),
            (Some("registry.example.com/te___am"), "1"),
            (Some("registry.example.com/te.-am"), "1"),
            (Some("registry..example.com"), "1"),
            (Some("-registry.example.com"), "1"),
            (Some("user@registry.example.com"), "1"),
            (Some("user:password@registry.example.com"), "1"),
            (Some("registry.example.com/team?x"), "1"),
            (Some("fd00::1"), "1"),
            (Some("[fd00::1"), "1"),
            (Some("[fd00::g]:5000"), "1"),
            (Some("[10.0.0.1]:5000"), "1"),
        ] {
            assert!(Reference::new(registry, "image", tag).is_err(), "{registry:?} {tag}");
        }
        assert!(Reference::new(None, "image", &"a".repeat(129)).is_err());
        assert!(Reference::new(Some(&format!("r.example.com/{}", "a".repeat(250))), "image", "1").is_err());
        for text in ["image", "registry.example.com:5000/image", "image:1@sha256:1", ":1", ""] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_pinned_name_is_read_as_it_is_written() {
        let text = format!("[fd00::1]:5000/team/image:1.2.3@sha256:{}", "a".repeat(64));
        let pinned: Pinned = text.parse().unwrap();
        assert_eq!((pinned.reference.tag(), pinned.reference.base_name()), ("1.2.3", "image"));
        assert_eq!(pinned.to_string(), text);
        for bad in ["image:1", "image@sha256:1", &text[..text.len() - 1], "image:1@"] {
            assert!(bad.parse::<Pinned>().is_err(), "{bad}");
        }
    }
}
