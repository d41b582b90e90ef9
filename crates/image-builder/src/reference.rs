//! Where an image lives: registry, repository, tag.

use std::fmt;

use crate::Error;

/// What a bare name means to Docker, containerd and kubelet alike.
const BARE_NAME_PREFIX: &str = "docker.io/library/";
/// Longest tag that the distribution specification allows.
const TAG_LENGTH: usize = 128;

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
    /// [`Error::Reference`] for a tag that the distribution specification refuses, for `latest` (tags are versions:
    /// a node would keep whatever it pulled first), and for a registry with a scheme, a space or upper case in its
    /// path.
    pub fn new(registry: Option<&str>, name: &str, tag: &str) -> Result<Self, Error> {
        let repository = match registry.map(|registry| registry.trim_end_matches('/')) {
            None | Some("") => name.to_owned(),
            Some(registry) => format!("{registry}/{name}"),
        };
        let wrong = |reason| Error::Reference { reference: format!("{repository}:{tag}"), reason };
        if repository.contains("://") {
            return Err(wrong("a registry is given without a scheme"));
        }
        let path = repository.split_once('/').map_or(repository.as_str(), |(_, path)| path);
        let path_ok = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-/".contains(c);
        if repository.contains(char::is_whitespace) || path.contains("//") || !path.chars().all(path_ok) {
            return Err(wrong("a repository has lower case letters, digits and . _ - / only"));
        }
        let tag_ok = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if tag.is_empty() || tag.len() > TAG_LENGTH || !tag.chars().all(tag_ok) || tag.starts_with(['.', '-']) {
            return Err(wrong("a tag has letters, digits and . _ - only, at most 128"));
        }
        if tag == "latest" {
            return Err(wrong("tags are versions, never latest"));
        }
        Ok(Self { repository, tag: tag.to_owned() })
    }

    /// Registry and name, without the tag.
    #[must_use]
    pub fn repository(&self) -> &str {
        &self.repository
    }

    /// The tag.
    #[must_use]
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// The name under which containerd keeps it: always with a registry.
    #[must_use]
    pub fn canonical(&self) -> String {
        // The same test as the reference grammar's: a first part with a dot, a colon or `localhost` is a host.
        let host = self.repository.split_once('/').map(|(host, _)| host);
        match host {
            Some(host) if host == "localhost" || host.contains(['.', ':']) => self.to_string(),
            Some(_) => format!("docker.io/{self}"),
            None => format!("{BARE_NAME_PREFIX}{self}"),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.repository, self.tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_names() {
        for (registry, expected) in [
            (None, "docker.io/library/image:1.2.3"),
            (Some(""), "docker.io/library/image:1.2.3"),
            (Some("team"), "docker.io/team/image:1.2.3"),
            (Some("localhost:5001"), "localhost:5001/image:1.2.3"),
            (Some("localhost"), "localhost/image:1.2.3"),
            (Some("registry.example.com/team/"), "registry.example.com/team/image:1.2.3"),
        ] {
            assert_eq!(Reference::new(registry, "image", "1.2.3").unwrap().canonical(), expected);
        }
    }

    #[test]
    fn refuses_what_no_registry_takes() {
        for (registry, tag) in [
            (None, "latest"),
            (None, ""),
            (None, "-x"),
            (None, "a b"),
            (None, "a/b"),
            (Some("https://registry.example.com"), "1"),
            (Some("registry.example.com/Team"), "1"),
            (Some("registry example"), "1"),
        ] {
            assert!(Reference::new(registry, "image", tag).is_err(), "{registry:?} {tag}");
        }
        assert!(Reference::new(None, "image", &"a".repeat(129)).is_err());
    }
}
