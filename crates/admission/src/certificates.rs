//! The certificates that API servers trust: what is kept, what is due, and in which order. Pure but for the making of keys.
//!
//! Order of a rotation: a new authority is written next to the former one → API servers are given both → the server's certificate is made anew by
//! the new one → a day later the former is forgotten. At each point any replica may take over, and what any replica serves is trusted.

mod make;
mod read;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;

pub(crate) use make::Unmade;
use read::Certificate;

/// Life of an authority, as that of Gardener's own (`pkg/utils/secrets/manager`, v1.149).
const AUTHORITY_LIFE: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Age at which an authority is followed by another.
const AUTHORITY_DUE: SignedDuration = SignedDuration::from_hours(20 * 24);
/// Life of a server's certificate: it ends before its authority does.
const SERVER_LIFE: SignedDuration = SignedDuration::from_hours(9 * 24);
/// Age at which a server's certificate is followed by another.
const SERVER_DUE: SignedDuration = SignedDuration::from_hours(4 * 24);
/// So far before now certificates begin: for API servers whose clocks are late.
const BACKDATED: SignedDuration = SignedDuration::from_mins(15);
/// So far after now one may begin that is taken for good: its maker's clock was early, or this one is late.
const TOO_EARLY: SignedDuration = SignedDuration::from_hours(1);
/// From an authority's making until a server's certificate is signed by it: all API servers have it by then.
const SPREAD: SignedDuration = SignedDuration::from_mins(5);
/// From the first server's certificate of an authority until the former authority is forgotten: all replicas serve the new one by then.
const FORGOTTEN: SignedDuration = SignedDuration::from_hours(24);

/// A certificate and its key, PEM.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Pair").finish_non_exhaustive()
    }
}

/// What the Secret holds. Whatever cannot be read there counts as absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Stored {
    /// Signs what is made from now on.
    pub(crate) authority: Option<Pair>,
    /// What was made before may be signed by it.
    pub(crate) former_authority: Option<String>,
    /// The server's.
    pub(crate) server: Option<Pair>,
}

const AUTHORITY: [&str; 2] = ["ca.crt", "ca.key"];
const FORMER_AUTHORITY: &str = "ca-former.crt";
const SERVER: [&str; 2] = ["tls.crt", "tls.key"];

impl Stored {
    /// Reads the Secret's data.
    pub(crate) fn from_data(data: &BTreeMap<String, ByteString>) -> Self {
        let text = |key: &str| {
            let bytes = &data.get(key)?.0;
            let text = String::from_utf8(bytes.clone()).ok()?;
            (bytes.len() <= crate::limits::PEM_BYTES).then_some(text)
        };
        let pair = |keys: [&str; 2]| {
            let pair = Pair { certificate: text(keys[0])?, key: text(keys[1])? };
            read::is_pair(&pair).then_some(pair)
        };
        let former_authority = text(FORMER_AUTHORITY).filter(|pem| Certificate::read(pem).is_some());
        Self { authority: pair(AUTHORITY), former_authority, server: pair(SERVER) }
    }

    /// As the Secret's data. A part that is absent is empty there: a merge patch with it replaces what was.
    pub(crate) fn data(&self) -> BTreeMap<String, ByteString> {
        let mut data = BTreeMap::new();
        let mut put = |key: &str, text: &str| data.insert(key.to_owned(), ByteString(text.as_bytes().to_vec()));
        for (keys, pair) in [(AUTHORITY, &self.authority), (SERVER, &self.server)] {
            put(keys[0], pair.as_ref().map_or("", |pair| &pair.certificate));
            put(keys[1], pair.as_ref().map_or("", |pair| &pair.key));
        }
        put(FORMER_AUTHORITY, self.former_authority.as_deref().unwrap_or_default());
        data
    }

    /// What API servers are to trust, PEM.
    pub(crate) fn bundle(&self) -> String {
        let authority = self.authority.as_ref().map(|pair| pair.certificate.as_str());
        authority.into_iter().chain(self.former_authority.as_deref()).collect()
    }

    /// When the server's certificate ends.
    pub(crate) fn server_ends(&self) -> Option<Timestamp> {
        Some(Certificate::read(&self.server.as_ref()?.certificate)?.not_after)
    }
}

/// What is to be done first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Everything, from nothing.
    Everything,
    /// A new authority; the server's certificate stays, with the authority that vouches for it.
    Authority,
    /// A new server's certificate by the authority.
    Server,
    /// The former authority out.
    ForgetFormer,
    /// Nothing now.
    Nothing,
}

/// What is known when a step is chosen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Situation<'a> {
    pub(crate) stored: &'a Stored,
    /// By which names API servers call; the first is the one they use.
    pub(crate) names: &'a [String],
    /// Whether API servers have been given the authority.
    pub(crate) is_published: bool,
    pub(crate) now: Timestamp,
}

impl Situation<'_> {
    pub(crate) fn step(&self) -> Step {
        let Some(authority) = self.authority() else { return Step::Everything };
        let former = self.stored.former_authority.as_deref().filter(|_| self.server().is_some());
        let by_authority = self.is_trusted_by(self.stored.authority.as_ref().map(|pair| pair.certificate.as_str()));
        let by_former = !by_authority && self.is_trusted_by(former);
        if by_former {
            // Signed anew by the authority that API servers have, and have had for a while.
            let spread = self.age(&authority) >= SPREAD;
            return if self.is_published && spread { Step::Server } else { Step::Nothing };
        }
        if !by_authority {
            return Step::Server;
        }
        if self.age(&authority) >= AUTHORITY_DUE {
            return Step::Authority;
        }
        let age = self.server().map_or(SERVER_DUE, |server| self.age(&server));
        match &self.stored.former_authority {
            _ if age >= SERVER_DUE => Step::Server,
            Some(_) if age >= FORGOTTEN => Step::ForgetFormer,
            _ => Step::Nothing,
        }
    }

    /// What is stored after the step.
    ///
    /// # Errors
    /// When a key or certificate cannot be made.
    pub(crate) fn after(&self, step: Step) -> Result<Stored, Unmade> {
        let stored = self.stored.clone();
        Ok(match step {
            Step::Nothing => stored,
            Step::ForgetFormer => Stored { former_authority: None, ..stored },
            Step::Server => {
                let server = stored.authority.as_ref().map(|authority| make::server(authority, self.names, self.now));
                Stored { server: server.transpose()?, ..stored }
            }
            Step::Authority => Stored {
                authority: Some(make::authority(self.now)?),
                former_authority: stored.authority.map(|pair| pair.certificate),
                ..stored
            },
            Step::Everything => {
                let authority = make::authority(self.now)?;
                let server = make::server(&authority, self.names, self.now)?;
                Stored { authority: Some(authority), former_authority: None, server: Some(server) }
            }
        })
    }

    /// After the Secret's content was lost: what is served goes on, and a new authority takes its place as in any rotation.
    ///
    /// # Errors
    /// When a key or certificate cannot be made.
    pub(crate) fn saved(&self, served: &Stored) -> Result<Option<Stored>, Unmade> {
        let vouched = |authority: &str| {
            served.server.as_ref().is_some_and(|pair| read::is_trusted(pair, authority, self.names, self.now))
        };
        let authority = served.authority.as_ref().map(|pair| pair.certificate.clone());
        let former = [authority, served.former_authority.clone()].into_iter().flatten().find(|pem| vouched(pem));
        let Some(former) = former else { return Ok(None) };
        let authority = Some(make::authority(self.now)?);
        Ok(Some(Stored { authority, former_authority: Some(former), server: served.server.clone() }))
    }

    /// The authority, if it can be used now.
    fn authority(&self) -> Option<Certificate> {
        let pair = self.stored.authority.as_ref()?;
        Certificate::read(&pair.certificate)
            .filter(|certificate| certificate.not_before <= self.now + TOO_EARLY && self.now < certificate.not_after)
    }

    fn server(&self) -> Option<Certificate> {
        Certificate::read(&self.stored.server.as_ref()?.certificate)
    }

    fn is_trusted_by(&self, authority: Option<&str>) -> bool {
        let (Some(authority), Some(server)) = (authority, &self.stored.server) else { return false };
        read::is_trusted(server, authority, self.names, self.now)
    }

    /// Since it was made.
    fn age(&self, certificate: &Certificate) -> SignedDuration {
        self.now.duration_since(certificate.not_before + BACKDATED)
    }
}
