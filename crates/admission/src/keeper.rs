//! Keeps certificates and webhook configuration as they should be: a round from time to time, which may start from anything. Every replica does it;
//! the Secret's resourceVersion decides who was first, and all go by what is stored then.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client, ResourceExt as _};
use observability::ErrorChain;
use serde_json::json;

use crate::certificates::{Situation, Step, Stored, Unmade};
use crate::limits::CALL_DEADLINE;
use crate::registration::{self, Reach};
use crate::served::{Served, Unusable};

/// Between two rounds.
const INTERVAL: Duration = Duration::from_secs(20);
/// After one that failed.
const AGAIN: Duration = Duration::from_secs(5);
/// Steps of one round; a rotation has no more, and each is followed by a wait of minutes.
const STEPS: usize = 4;

/// Why a round ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failed {
    #[error("{what}")]
    Call {
        what: &'static str,
        #[source]
        source: kube::Error,
    },
    #[error("{what}: no answer within {} s", CALL_DEADLINE.as_secs())]
    Late { what: &'static str },
    #[error("there is no Secret {namespace}/{name}, and this process may make none: the chart brings it")]
    NoSecret { namespace: String, name: String },
    #[error("there is no Namespace {name} in the garden to own the webhook configuration")]
    NoOwner { name: String },
    #[error(transparent)]
    Unmade(#[from] Unmade),
    #[error(transparent)]
    Unusable(#[from] Unusable),
    #[error("the Secret was written by another replica each time")]
    Overtaken,
}

impl Failed {
    fn of(what: &'static str) -> impl Fn(kube::Error) -> Self {
        move |source| Self::Call { what, source }
    }
}

/// What it works on.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) secret: String,
    pub(crate) namespace: String,
    pub(crate) reach: Reach,
    /// Namespace in the garden with which the webhook configuration goes.
    pub(crate) owner: Option<String>,
}

/// See the module.
pub(crate) struct Keeper {
    secrets: Api<Secret>,
    configurations: Api<ValidatingWebhookConfiguration>,
    namespaces: Api<Namespace>,
    settings: Settings,
    served: Arc<Served>,
}

impl Keeper {
    pub(crate) fn new(runtime: Client, garden: &Client, settings: Settings, served: Arc<Served>) -> Self {
        Self {
            secrets: Api::namespaced(runtime, &settings.namespace),
            configurations: Api::all(garden.clone()),
            namespaces: Api::all(garden.clone()),
            settings,
            served,
        }
    }

    /// Works until it is dropped.
    pub(crate) async fn run(self) {
        loop {
            let pause = match self.round().await {
                Ok(()) => INTERVAL,
                Err(error) => {
                    tracing::warn!(error = %ErrorChain(&error), "cannot keep certificates and webhook configuration; trying again");
                    self.served.failed(&ErrorChain(&error).to_string());
                    AGAIN
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    async fn round(&self) -> Result<(), Failed> {
        for _ in 0..STEPS {
            let (secret, stored) = self.read().await?;
            let published = self.published().await;
            let names = self.settings.reach.names();
            let authority = stored.authority.as_ref().map(|pair| pair.certificate.as_str());
            let is_published = match (&published, authority) {
                (Ok(Some(found)), Some(authority)) => registration::publishes(found, authority),
                _ => false,
            };
            let situation = Situation { stored: &stored, names: &names, is_published, now: Timestamp::now() };
            let step = situation.step();
            if step != Step::Nothing {
                let saved = match step {
                    Step::Everything => self.served.stored().map(|served| situation.saved(&served)).transpose()?,
                    _ => None,
                };
                let next = saved.flatten().map_or_else(|| situation.after(step), Ok)?;
                if !self.write(&secret, &next).await? {
                    // Another replica was first.
                    continue;
                }
                tracing::info!(?step, "made certificates");
                // API servers are given a new authority before anything else is decided.
                self.publish(&next, published?).await?;
                self.serve(next)?;
                continue;
            }
            // Served first: what is stored was published by whoever stored it, and the garden may not answer now.
            self.serve(stored.clone())?;
            return self.publish(&stored, published?).await;
        }
        Err(Failed::Overtaken)
    }

    fn serve(&self, stored: Stored) -> Result<(), Failed> {
        Ok(self.served.take(stored)?)
    }

    async fn read(&self) -> Result<(Secret, Stored), Failed> {
        let name = &self.settings.secret;
        let what = "read the Secret with the certificates";
        let secret = within(what, self.secrets.get_opt(name))
            .await?
            .ok_or_else(|| Failed::NoSecret { namespace: self.settings.namespace.clone(), name: name.clone() })?;
        let stored = secret.data.as_ref().map(Stored::from_data).unwrap_or_default();
        Ok((secret, stored))
    }

    /// False when somebody else wrote since it was read.
    async fn write(&self, seen: &Secret, next: &Stored) -> Result<bool, Failed> {
        let patch = json!({ "metadata": { "resourceVersion": seen.metadata.resource_version }, "data": next.data() });
        let parameters = PatchParams { field_manager: Some(registration::NAME.to_owned()), ..PatchParams::default() };
        let patch = Patch::Merge(patch);
        let call = self.secrets.patch(&self.settings.secret, &parameters, &patch);
        match within("write the Secret with the certificates", call).await {
            Ok(_) => Ok(true),
            Err(Failed::Call { source: kube::Error::Api(status), .. }) if status.code == 409 => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn published(&self) -> Result<Option<ValidatingWebhookConfiguration>, Failed> {
        within("read the webhook configuration", self.configurations.get_opt(registration::NAME)).await
    }

    /// `found`: the configuration as it was read in this round.
    async fn publish(&self, stored: &Stored, found: Option<ValidatingWebhookConfiguration>) -> Result<(), Failed> {
        let owner = match &self.settings.owner {
            Some(name) => Some(self.owner(name).await?),
            None => None,
        };
        let wanted = registration::configuration(&self.settings.reach, &stored.bundle(), owner);
        if found.is_some_and(|found| registration::is_as_wanted(&found, &wanted)) {
            return Ok(());
        }
        let parameters = PatchParams::apply(registration::NAME).force();
        let patch = Patch::Apply(&wanted);
        let call = self.configurations.patch(registration::NAME, &parameters, &patch);
        within("apply the webhook configuration", call).await?;
        tracing::info!(name = registration::NAME, "applied the webhook configuration");
        Ok(())
    }

    async fn owner(&self, name: &str) -> Result<OwnerReference, Failed> {
        let namespace = within("read the Namespace that owns the webhook configuration", self.namespaces.get_opt(name))
            .await?
            .ok_or_else(|| Failed::NoOwner { name: name.to_owned() })?;
        Ok(OwnerReference {
            api_version: "v1".to_owned(),
            kind: "Namespace".to_owned(),
            name: namespace.name_any(),
            uid: namespace.uid().unwrap_or_default(),
            block_owner_deletion: Some(false),
            controller: None,
        })
    }
}

async fn within<T>(what: &'static str, call: impl Future<Output = kube::Result<T>>) -> Result<T, Failed> {
    let answered = tokio::time::timeout(CALL_DEADLINE, call).await.map_err(|_| Failed::Late { what })?;
    answered.map_err(Failed::of(what))
}
