//! What a certificate says, and who trusts it.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rcgen::{KeyPair, PublicKeyData as _};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{RootCertStore, crypto};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{Pair, TOO_EARLY};

/// When a certificate holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Certificate {
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
}

impl Certificate {
    /// `None` for what is no certificate.
    pub(super) fn read(pem: &str) -> Option<Self> {
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).ok()?;
        let (_, certificate) = X509Certificate::from_der(&der).ok()?;
        let time = |time: x509_parser::time::ASN1Time| Timestamp::from_second(time.timestamp()).ok();
        let validity = certificate.validity();
        Some(Self { not_before: time(validity.not_before)?, not_after: time(validity.not_after)? })
    }
}

/// Whether the key is that of the certificate.
pub(super) fn is_pair(pair: &Pair) -> bool {
    let Ok(key) = KeyPair::from_pem(&pair.key) else { return false };
    let Ok(der) = CertificateDer::from_pem_slice(pair.certificate.as_bytes()) else { return false };
    let Ok((_, certificate)) = X509Certificate::from_der(&der) else { return false };
    certificate.public_key().subject_public_key.data.as_ref() == key.der_bytes()
}

/// Whether an API server that trusts the authority takes the server's certificate for each of the names; as TLS clients judge.
pub(super) fn is_trusted(server: &Pair, authority: &str, names: &[String], now: Timestamp) -> bool {
    let judge = || {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).ok()?).ok()?;
        let provider = Arc::new(crypto::ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().ok()?;
        let certificate = CertificateDer::from_pem_slice(server.certificate.as_bytes()).ok()?;
        // One whose maker's clock was early is not made anew for that: two replicas would do it by turns.
        let begins = Certificate::read(&server.certificate)?.not_before;
        let now = if begins > now && begins <= now + TOO_EARLY { begins } else { now };
        let now = UnixTime::since_unix_epoch(Duration::try_from(now.as_duration()).ok()?);
        names
            .iter()
            .all(|name| {
                let Ok(name) = ServerName::try_from(name.as_str()) else { return false };
                verifier.verify_server_cert(&certificate, &[], &name, &[], now).is_ok()
            })
            .then_some(())
    };
    judge().is_some()
}
