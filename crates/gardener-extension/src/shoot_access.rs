//! The way to a shoot's API server: gardener-resource-manager keeps a token of a ServiceAccount of the shoot in a Secret of ours in the
//! seed (its token requestor), and gardenlet keeps a kubeconfig without a user (the generic one) next to it. Together they make a client.

use std::collections::BTreeMap;
use std::time::Duration;

use gardener_api::Cluster;
use gardener_api::constants::{
    GENERIC_KUBECONFIG_DEFAULT, KUBECONFIG_KEY, PURPOSE_LABEL, PURPOSE_TOKEN_REQUESTOR,
    SERVICE_ACCOUNT_NAME_ANNOTATION, SERVICE_ACCOUNT_NAMESPACE_ANNOTATION, TOKEN_KEY, TOKEN_REQUESTOR_CLASS_LABEL,
    TOKEN_REQUESTOR_CLASS_SHOOT,
};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::DeleteParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::{Value, json};

use crate::Error;
use crate::call::call;

/// Longest wait for a connection to a shoot's API server, and for its next byte: it may be away, and a worker waits for it.
const CONNECT: Duration = Duration::from_secs(5);
const READ: Duration = Duration::from_secs(10);

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
    #[error("no client can be made of the kubeconfig in Secret {secret}")]
    Client {
        /// The Secret with the kubeconfig.
        secret: String,
    },
}

impl ShootAccess {
    /// The Secret to apply. It has no data: the token is another writer's.
    #[must_use]
    pub fn secret(&self, namespace: &str) -> Secret {
        let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
        };
        Secret {
            metadata: ObjectMeta {
                name: Some(self.secret.to_owned()),
                namespace: Some(namespace.to_owned()),
                labels: Some(map(&[
                    (PURPOSE_LABEL, PURPOSE_TOKEN_REQUESTOR),
                    (TOKEN_REQUESTOR_CLASS_LABEL, TOKEN_REQUESTOR_CLASS_SHOOT),
                ])),
                annotations: Some(map(&[
                    (SERVICE_ACCOUNT_NAME_ANNOTATION, self.account),
                    (SERVICE_ACCOUNT_NAMESPACE_ANNOTATION, self.account_namespace),
                ])),
                ..ObjectMeta::default()
            },
            type_: Some("Opaque".to_owned()),
            ..Secret::default()
        }
    }

    /// Applies the Secret, in the name of `field_manager`.
    pub async fn apply(&self, seed: &Client, field_manager: &str, namespace: &str) -> Result<(), Error> {
        crate::managed_resources::apply_one(seed, field_manager, &self.secret(namespace)).await.map(drop)
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

    /// A client of the shoot whose namespace in the seed is `namespace`. That the API server answers is not looked at.
    ///
    /// # Errors
    /// When there is no way to it now.
    pub async fn client(
        &self,
        seed: &Client,
        namespace: &str,
        cluster: Option<&Cluster>,
    ) -> Result<Client, Unavailable> {
        let generic = cluster.map_or(GENERIC_KUBECONFIG_DEFAULT, Cluster::generic_kubeconfig_secret);
        let (token, kubeconfig) = tokio::try_join!(
            read(seed, namespace, self.secret, TOKEN_KEY),
            read(seed, namespace, generic, KUBECONFIG_KEY)
        )?;
        let made = kubeconfig_with(&kubeconfig, &token)
            .map_err(|fault| Unavailable::Kubeconfig { secret: generic.to_owned(), fault })?;
        let unusable = || Unavailable::Client { secret: generic.to_owned() };
        // The causes may quote the kubeconfig.
        let mut config =
            Config::from_custom_kubeconfig(made, &KubeConfigOptions::default()).await.map_err(|_| unusable())?;
        config.connect_timeout = Some(CONNECT);
        config.read_timeout = Some(READ);
        config.write_timeout = Some(READ);
        Client::try_from(config).map_err(|_| unusable())
    }
}

/// One text of a Secret.
async fn read(seed: &Client, namespace: &str, name: &str, key: &str) -> Result<String, Unavailable> {
    let api: Api<Secret> = Api::namespaced(seed.clone(), namespace);
    let missing = |lacks| Unavailable::Missing { secret: name.to_owned(), lacks };
    let found = call("get", format!("Secret {namespace}/{name}"), api.get_opt(name)).await?;
    let mut data = found.ok_or_else(|| missing("does not exist"))?.data.unwrap_or_default();
    let bytes = data.remove(key).filter(|value| !value.0.is_empty()).ok_or_else(|| missing("is not filled yet"))?;
    String::from_utf8(bytes.0).map_err(|_| missing("holds no text"))
}

/// Server and certificate authority of the generic kubeconfig, with our token for a user. Nothing else of it is used: it names a token
/// file that only pods have, and must not make us run a program, read a file or trust anybody.
fn kubeconfig_with(generic: &str, token: &str) -> Result<Kubeconfig, &'static str> {
    let parsed = Kubeconfig::from_yaml(generic).map_err(|_| "cannot be read")?;
    let current = parsed.current_context.as_deref().ok_or("has no current-context")?;
    let context = parsed.contexts.iter().find(|context| context.name == current);
    let context = context.and_then(|context| context.context.as_ref()).ok_or("lacks its current-context")?;
    let cluster = parsed.clusters.iter().find(|cluster| cluster.name == context.cluster);
    let cluster =
        cluster.and_then(|cluster| cluster.cluster.as_ref()).ok_or("lacks the cluster of its current-context")?;
    let server =
        cluster.server.as_deref().filter(|server| server.starts_with("https://")).ok_or("has no https server")?;
    let authority = cluster.certificate_authority_data.as_deref().filter(|data| !data.is_empty());
    let mut target = json!({
        "server": server,
        "certificate-authority-data": authority.ok_or("has no certificate-authority-data")?,
    });
    if let Some(name) = &cluster.tls_server_name {
        target["tls-server-name"] = Value::from(name.as_str());
    }
    let made = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "shoot",
        "clusters": [{ "name": "shoot", "cluster": target }],
        "users": [{ "name": "shoot", "user": { "token": token } }],
        "contexts": [{ "name": "shoot", "context": { "cluster": "shoot", "user": "shoot" } }],
    });
    serde_json::from_value(made).map_err(|_| "cannot be used")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(cluster: &Value, user: &Value) -> String {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "a",
            "clusters": [{ "name": "other", "cluster": {} }, { "name": "c", "cluster": cluster }],
            "users": [{ "name": "u", "user": user }],
            "contexts": [{ "name": "a", "context": { "cluster": "c", "user": "u" } }],
        })
        .to_string()
    }

    #[test]
    fn only_server_and_authority_are_taken() {
        let cluster = json!({
            "server": "https://kube-apiserver", "certificate-authority-data": "Q0E=", "tls-server-name": "api",
            "proxy-url": "http://elsewhere", "insecure-skip-tls-verify": true, "certificate-authority": "/etc/passwd",
        });
        let user = json!({ "tokenFile": "/var/run/secrets/token", "exec": { "command": "sh", "apiVersion": "client.authentication.k8s.io/v1" } });
        let made = kubeconfig_with(&generic(&cluster, &user), "secret-token").unwrap();
        let text = serde_json::to_value(&made).unwrap();
        let expected = json!({ "server": "https://kube-apiserver", "certificate-authority-data": "Q0E=", "tls-server-name": "api" });
        assert_eq!(text["clusters"], json!([{ "name": "shoot", "cluster": expected }]));
        assert_eq!(text["users"], json!([{ "name": "shoot", "user": { "token": "secret-token" } }]));
    }

    #[test]
    fn what_cannot_be_used_is_named_without_its_text() {
        let good = json!({ "server": "https://a", "certificate-authority-data": "Q0E=" });
        for (text, fault) in [
            ("{".to_owned(), "cannot be read"),
            ("{}".to_owned(), "has no current-context"),
            (json!({ "current-context": "a" }).to_string(), "lacks its current-context"),
            (
                generic(&good, &json!({})).replace("\"c\"", "\"d\"").replacen("\"d\"", "\"x\"", 1),
                "lacks the cluster of its current-context",
            ),
            (
                generic(&json!({ "server": "http://a", "certificate-authority-data": "Q0E=" }), &json!({})),
                "has no https server",
            ),
            (generic(&json!({ "server": "https://a" }), &json!({})), "has no certificate-authority-data"),
        ] {
            assert_eq!(kubeconfig_with(&text, "t").err(), Some(fault), "{text}");
        }
    }

    #[test]
    fn the_secret_asks_for_a_token_and_brings_none() {
        let access = ShootAccess { secret: "shoot-access-x", account: "x", account_namespace: "kube-system" };
        let secret = access.secret("shoot--p--s");
        let text = serde_json::to_value(&secret).unwrap();
        assert_eq!(
            text["metadata"]["labels"],
            json!({ PURPOSE_LABEL: "token-requestor", TOKEN_REQUESTOR_CLASS_LABEL: "shoot" })
        );
        assert_eq!(text["metadata"]["annotations"][SERVICE_ACCOUNT_NAME_ANNOTATION], "x");
        assert!(secret.data.is_none() && secret.string_data.is_none());
    }
}
