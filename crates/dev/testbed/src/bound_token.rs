//! Tokens as a pod's projected volume holds them: bound to the pod, and so naming it and its node.

use anyhow::Context as _;
use k8s_openapi::api::authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use kube::Api;
use kube::api::PostParams;

use crate::ApiServer;
use crate::control_plane::client;

/// Longer than any test.
const EXPIRATION_SECONDS: i64 = 3600;

impl ApiServer {
    /// A client with a token of `account`. With a `pod` the token is bound to it; without one it names neither pod nor node.
    ///
    /// # Errors
    /// When the account or the pod does not exist.
    pub async fn client_of(&self, namespace: &str, account: &str, pod: Option<&str>) -> anyhow::Result<kube::Client> {
        let admin = self.admin().await?;
        let mut spec = TokenRequestSpec { expiration_seconds: Some(EXPIRATION_SECONDS), ..Default::default() };
        if let Some(name) = pod {
            let pod = Api::<Pod>::namespaced(admin.clone(), namespace).get(name).await?;
            spec.bound_object_ref = Some(BoundObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Pod".to_owned()),
                name: Some(name.to_owned()),
                uid: pod.metadata.uid,
            });
        }
        let accounts: Api<ServiceAccount> = Api::namespaced(admin, namespace);
        let request = TokenRequest { spec, ..Default::default() };
        let answer = accounts.create_token_request(account, &PostParams::default(), &request).await?;
        let token = answer.status.context("the API gave no token")?.token;
        client(&self.authority().token_kubeconfig(self.reach(), &token)).await
    }

    /// The text of a kubeconfig for this server, with a token of `account` that names neither pod nor node.
    ///
    /// # Errors
    /// When the account does not exist.
    pub async fn account_kubeconfig(&self, namespace: &str, account: &str) -> anyhow::Result<String> {
        let token = self.service_account_token(namespace, account).await?;
        Ok(self.authority().token_kubeconfig(self.reach(), &token))
    }
}
