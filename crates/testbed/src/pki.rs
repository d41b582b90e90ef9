//! The bed's certificate authority, and kubeconfigs with what they need inside.

use anyhow::Context as _;
use base64::Engine as _;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType,
};

/// One authority for both API servers and all clients of a bed.
#[derive(Debug)]
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate, PEM.
    pub(crate) certificate: String,
}

/// A certificate and its key, PEM.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "testbed");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), certificate })
    }

    pub(crate) fn server(&self, name: &str, addresses: &[&str]) -> anyhow::Result<Identity> {
        let mut params = CertificateParams::new(vec![name.to_owned(), "localhost".to_owned()])?;
        for address in addresses {
            params
                .subject_alt_names
                .push(SanType::IpAddress(address.parse().context("address of a server certificate")?));
        }
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.issue(&params)
    }

    pub(crate) fn client(&self, user: &str, group: Option<&str>) -> anyhow::Result<Identity> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, user);
        if let Some(group) = group {
            params.distinguished_name.push(DnType::OrganizationName, group);
        }
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.issue(&params)
    }

    fn issue(&self, params: &CertificateParams) -> anyhow::Result<Identity> {
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Identity { certificate, key: key.serialize_pem() })
    }

    pub(crate) fn kubeconfig(&self, server: &str, user: &Identity) -> String {
        self.kubeconfig_with(
            server,
            &serde_json::json!({
                "client-certificate-data": encode(&user.certificate),
                "client-key-data": encode(&user.key),
            }),
        )
    }

    pub(crate) fn token_kubeconfig(&self, server: &str, token: &str) -> String {
        self.kubeconfig_with(server, &serde_json::json!({ "token": token }))
    }

    /// JSON is YAML: every reader of kubeconfigs takes it.
    pub(crate) fn kubeconfig_with(&self, server: &str, user: &serde_json::Value) -> String {
        let config = serde_json::json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{ "name": "bed", "cluster": { "server": server, "certificate-authority-data": encode(&self.certificate) } }],
            "users": [{ "name": "user", "user": user }],
            "contexts": [{ "name": "bed", "context": { "cluster": "bed", "user": "user" } }],
            "current-context": "bed",
        });
        format!("{config:#}\n")
    }
}

/// A key pair that signs ServiceAccount tokens.
pub(crate) fn signing_key() -> anyhow::Result<(String, String)> {
    let key = KeyPair::generate()?;
    Ok((key.serialize_pem(), key.public_key_pem()))
}

fn encode(pem: &str) -> String {
    base64::engine::general_purpose::STANDARD.encode(pem)
}
