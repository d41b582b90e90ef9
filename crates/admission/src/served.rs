//! The certificate with which connections are served now, and whether there is one.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::certificates::Stored;

/// A certificate that no connection can be served with.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unusable {
    #[error("there is no certificate to serve")]
    Absent,
    #[error("the certificate to serve cannot be read")]
    Unreadable,
    #[error("the key of the certificate to serve cannot be used")]
    Key(#[source] rustls::Error),
}

/// Exchanged while connections are served: each handshake takes what is there then.
#[derive(Debug, Default)]
pub(crate) struct Served(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    stored: Option<Stored>,
    key: Option<Arc<CertifiedKey>>,
    ends: Option<Timestamp>,
    failure: Option<String>,
}

impl Served {
    /// From now on.
    pub(crate) fn take(&self, stored: Stored) -> Result<(), Unusable> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.failure = None;
        if state.stored.as_ref() == Some(&stored) {
            return Ok(());
        }
        let pair = stored.server.as_ref().ok_or(Unusable::Absent)?;
        let certificate =
            CertificateDer::from_pem_slice(pair.certificate.as_bytes()).map_err(|_| Unusable::Unreadable)?;
        let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).map_err(|_| Unusable::Unreadable)?;
        let key = any_supported_type(&key).map_err(Unusable::Key)?;
        state.key = Some(Arc::new(CertifiedKey::new(vec![certificate], key)));
        state.ends = stored.server_ends();
        state.stored = Some(stored);
        Ok(())
    }

    /// What is served, with what belongs to it.
    pub(crate) fn stored(&self) -> Option<Stored> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).stored.clone()
    }

    /// Why the last round failed; reported while there is nothing to serve.
    pub(crate) fn failed(&self, why: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).failure = Some(why.to_owned());
    }

    /// Whether connections can be served.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn check(&self, now: Timestamp) -> Result<(), String> {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let why = || state.failure.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
        match state.ends {
            None => Err(format!("there is no certificate yet{}", why())),
            Some(ends) if ends <= now => Err(format!("the certificate has ended{}", why())),
            Some(_) => Ok(()),
        }
    }
}

impl ResolvesServerCert for Served {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).key.clone()
    }
}
