//! Makes keys and certificates: ECDSA over P-256, as rcgen makes them.

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use time::OffsetDateTime;

use super::{AUTHORITY_LIFE, BACKDATED, Pair, SERVER_LIFE};

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unmade {
    #[error("make a key or certificate")]
    Rcgen(#[from] rcgen::Error),
    #[error("the clock says a time that no certificate can have")]
    Clock,
}

/// A new authority.
pub(super) fn authority(now: Timestamp) -> Result<Pair, Unmade> {
    let mut params = CertificateParams::default();
    let name = format!("gardener-extension-cri-resmgr-admission {}", now.as_second());
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    (params.not_before, params.not_after) = (time(now - BACKDATED)?, time(now + AUTHORITY_LIFE)?);
    let key = KeyPair::generate()?;
    Ok(Pair { certificate: params.self_signed(&key)?.pem(), key: key.serialize_pem() })
}

/// A new server's certificate.
pub(super) fn server(authority: &Pair, names: &[String], now: Timestamp) -> Result<Pair, Unmade> {
    let issuer = Issuer::from_ca_cert_pem(&authority.certificate, KeyPair::from_pem(&authority.key)?)?;
    let mut params = CertificateParams::new(names)?;
    if let Some(name) = names.first() {
        params.distinguished_name.push(DnType::CommonName, name.as_str());
    }
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    (params.not_before, params.not_after) = (time(now - BACKDATED)?, time(now + SERVER_LIFE)?);
    let key = KeyPair::generate()?;
    Ok(Pair { certificate: params.signed_by(&key, &issuer)?.pem(), key: key.serialize_pem() })
}

fn time(timestamp: Timestamp) -> Result<OffsetDateTime, Unmade> {
    OffsetDateTime::from_unix_timestamp(timestamp.as_second()).map_err(|_| Unmade::Clock)
}
