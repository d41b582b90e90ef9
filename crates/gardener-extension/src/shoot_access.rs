//! The way to a shoot's API server: gardener-resource-manager keeps a token of a ServiceAccount of the shoot in a Secret of ours in the
//! seed (its token requestor), and next to it the server's certificate authority where it is new enough. For older ones there is a
//! kubeconfig without a user (the generic one), which gardenlet keeps in the same namespace.

mod target;

use std::collections::BTreeMap;
use std::time::Duration;

use gardener_api::constants::{
    CA_BUNDLE_KEY, INJECT_CA_BUNDLE_ANNOTATION, KUBECONFIG_KEY, PURPOSE_LABEL, PURPOSE_TOKEN_REQUESTOR,
    SERVICE_ACCOUNT_NAME_ANNOTATION, SERVICE_ACCOUNT_NAMESPACE_ANNOTATION, TOKEN_KEY, TOKEN_REQUESTOR_CLASS_LABEL,
    TOKEN_REQUESTOR_CLASS_SHOOT,
};
use http::{HeaderValue, header};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::DeleteParams;
use kube::config::KubeConfigOptions;
use kube::{Api, Client, Config};

use crate::Error;
use crate::call::call;
use target::Target;

/// Longest wait for a connection to a shoot's API server, and for its next byte: it may be away.
const CONNECT: Duration = Duration::from_secs(5);
const READ: Duration = Duration::from_secs(10);

/// Where the certificate authority of a shoot's API server comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// From the Secret with the token; no other Secret is read. Gardener v1.110 or newer.
    Bundle,
    /// From the generic kubeconfig. Every Gardener; its Secret's name ends in a hash, so that the right to read it is the right to read
    /// every Secret.
    GenericKubeconfig,
}

/// Whose token lies where.
#[derive(Clone, Copy, Debug)]
pub struct ShootAccess {
    /// The Secret, in the shoot's namespace in the seed; `shoot-access-…` by convention.
    pub secret: &'static str,
    /// The ServiceAccount in the shoot. Its rights, and the account itself, belong into the shoot's ManagedResource: the token requestor
    /// makes it when it is missing, and nobody else would take it away again.
    pub account: &'static str,
    /// Its namespace.
    pub account_namespace: &'static str,
    /// By what the server is known.
    pub authority: Authority,
    /// How the client introduces itself: `NAME/VERSION`.
    pub user_agent: &'static str,
}

/// Why there is no way to a shoot's API server now. Nobody's mistake: the shoot may be young, asleep, or going.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// Something has not been written yet.
    #[error("Secret {secret} {lacks}")]
    Missing {
        /// The Secret.
        secret: String,
        /// What it lacks.
        lacks: &'static str,
    },
    /// The generic kubeconfig is none that we use.
    #[error("the kubeconfig in Secret {secret} {fault}")]
    Kubeconfig {
        /// The Secret.
        secret: String,
        /// What is wrong with it; no part of its text.
        fault: &'static str,
    },
    /// The seed's API does not give the Secrets.
    #[error(transparent)]
    Seed(#[from] Error),
    /// No client can be made of it.
    #[error("no client can be made of what is in Secret {secret}")]
    Client {
        /// The Secret with the certificate authority.
        secret: String,
    },
}

impl ShootAccess {
    /// The Secret to apply. It has no data: the token and the certificate authority are another writer's.
    #[must_use]
    pub fn secret(&self, namespace: &str) -> Secret {
        let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        let mut annotations = map(&[
            (SERVICE_ACCOUNT_NAME_ANNOTATION, self.account),
            (SERVICE_ACCOUNT_NAMESPACE_ANNOTATION, self.account_namespace),
        ]);
        if self.authority == Authority::Bundle {
            annotations.insert(INJECT_CA_BUNDLE_ANNOTATION.to_owned(), "true".to_owned());
        }
        Secret {
            metadata: ObjectMeta {
                name: Some(self.secret.to_owned()),
                namespace: Some(namespace.to_owned()),
                labels: Some(map(&[
                    (PURPOSE_LABEL, PURPOSE_TOKEN_REQUESTOR),
                    (TOKEN_REQUESTOR_CLASS_LABEL, TOKEN_REQUESTOR_CLASS_SHOOT),
                ])),
                annotations: Some(annotations),
                ..ObjectMeta::default()
            },
            type_: Some("Opaque".to_owned()),
            ..Secret::default()
        }
    }

    /// Deletes the Secret; one that is gone is fine. Nothing has to be waited for.
    pub async fn delete(&self, seed: &Client, namespace: &str) -> Result<(), Error> {
        let api: Api<Secret> = Api::namespaced(seed.clone(), namespace);
        let object = format!("Secret {namespace}/{}", self.secret);
        match call("delete", object, api.delete(self.secret, &DeleteParams::default())).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    /// A client of the shoot whose namespace in the seed is `namespace`, and whose generic kubeconfig is in the Secret `generic` there.
    /// Whether the API server answers is not checked.
    ///
    /// # Errors
    /// When there is no way to it now.
    pub async fn client(&self, seed: &Client, namespace: &str, generic: &str) -> Result<Client, Unavailable> {
        let own = Found::read(seed, namespace, self.secret).await?;
        let token = own.text(TOKEN_KEY, "is not filled yet")?;
        let (target, source) = match self.authority {
            Authority::Bundle => {
                let bundle = own.text(CA_BUNDLE_KEY, "holds no certificate authority yet")?;
                (Ok(Target::service(namespace, &ByteString(bundle.into_bytes()))), self.secret)
            }
            Authority::GenericKubeconfig => {
                let found = Found::read(seed, namespace, generic).await?;
                let text = found.text(KUBECONFIG_KEY, "is not filled yet")?;
                (Target::of_generic_kubeconfig(&text, namespace), generic)
            }
        };
        let made = target
            .and_then(|target| target.kubeconfig(&token))
            .map_err(|fault| Unavailable::Kubeconfig { secret: source.to_owned(), fault })?;
        let unusable = || Unavailable::Client { secret: source.to_owned() };
        // The causes may quote what was read.
        let mut config =
            Config::from_custom_kubeconfig(made, &KubeConfigOptions::default()).await.map_err(|_| unusable())?;
        config.headers.push((header::USER_AGENT, HeaderValue::from_static(self.user_agent)));
        config.connect_timeout = Some(CONNECT);
        config.read_timeout = Some(READ);
        config.write_timeout = Some(READ);
        Client::try_from(config).map_err(|_| unusable())
    }
}

/// A Secret that was read.
struct Found<'a> {
    name: &'a str,
    data: BTreeMap<String, ByteString>,
}

impl<'a> Found<'a> {
    async fn read(seed: &Client, namespace: &str, name: &'a str) -> Result<Self, Unavailable> {
        let api: Api<Secret> = Api::namespaced(seed.clone(), namespace);
        let found = call("get", format!("Secret {namespace}/{name}"), api.get_opt(name)).await?;
        let missing = Unavailable::Missing { secret: name.to_owned(), lacks: "does not exist" };
        Ok(Self { name, data: found.ok_or(missing)?.data.unwrap_or_default() })
    }

    /// One text of it.
    fn text(&self, key: &str, absent: &'static str) -> Result<String, Unavailable> {
        let missing = |lacks| Unavailable::Missing { secret: self.name.to_owned(), lacks };
        let bytes = self.data.get(key).filter(|value| !value.0.is_empty()).ok_or_else(|| missing(absent))?;
        String::from_utf8(bytes.0.clone()).map_err(|_| missing("holds no text"))
    }
}

#[cfg(test)]
mod tests;
