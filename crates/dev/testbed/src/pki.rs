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

/// How a server is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reach {
    pub(crate) url: String,
    /// The name in its certificate, where the URL has another.
    pub(crate) tls_name: Option<&'static str>,
}

impl Reach {
    /// By what the certificate says.
    pub(crate) fn at(url: &str) -> Self {
        Self { url: url.to_owned(), tls_name: None }
    }
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

    /// For a server that is called by these names and addresses; the first name is its own.
    pub(crate) fn server(&self, names: &[&str], addresses: &[&str]) -> anyhow::Result<Identity> {
        let own = names.first().context("a server certificate has a name")?;
        let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())?;
        for address in addresses {
            params
                .subject_alt_names
                .push(SanType::IpAddress(address.parse().context("address of a server certificate")?));
        }
        params.distinguished_name.push(DnType::CommonName, *own);
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

    pub(crate) fn kubeconfig(&self, server: &Reach, user: &Identity) -> String {
        self.kubeconfig_with(
            server,
            &serde_json::json!({
                "client-certificate-data": encode(&user.certificate),
                "client-key-data": encode(&user.key),
            }),
        )
    }

    pub(crate) fn token_kubeconfig(&self, server: &Reach, token: &str) -> String {
        self.kubeconfig_with(server, &serde_json::json!({ "token": token }))
    }

    /// JSON is YAML: every reader of kubeconfigs takes it.
    pub(crate) fn kubeconfig_with(&self, server: &Reach, user: &serde_json::Value) -> String {
        let mut cluster =
            serde_json::json!({ "server": server.url, "certificate-authority-data": encode(&self.certificate) });
        if let Some(name) = server.tls_name {
            cluster["tls-server-name"] = name.into();
        }
        let config = serde_json::json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{ "name": "bed", "cluster": cluster }],
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
