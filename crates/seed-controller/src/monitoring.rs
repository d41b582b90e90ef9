//! What the shoot's Prometheus and Plutono get of the node agents: a ScrapeConfig, rules and a dashboard, in a ManagedResource of class `seed` in the
//! shoot's namespace. They come when an agent has reported, and go before the agents do: an empty scrape pool would make the shoot's observability
//! unhealthy ([`plan`]).

mod discovery;
mod objects;
mod plan;
mod reports;

use std::sync::Arc;

use extension_config::names;
use gardener_api::Shoot;
use gardener_extension::managed_resources as mr;
use gardener_extension::{ActuatorError, Context, ControllerHandle, Error};
use kube::Client;

use crate::configuration::status;
use crate::reason;
use crate::removal::{Found, found};
use discovery::Discovery;
use objects::Objects;
use plan::{Plan, Situation, plan};

pub(crate) use reports::Reports;

const RESOURCE: &str = names::MONITORING_MANAGED_RESOURCE;
const SECRET: &str = names::MONITORING_MANAGED_RESOURCE_SECRET;
/// `spec.purpose` of a Shoot that gets no Prometheus.
const TESTING: &str = "testing";

/// Brings these objects, and takes them away again.
#[derive(Debug)]
pub(crate) struct Monitoring {
    /// The operator wants it.
    is_enabled: bool,
    discovery: Discovery,
    objects: Objects,
    reports: Arc<Reports>,
}

impl Monitoring {
    /// `reports`: what the roll-up sees of the agents.
    pub(crate) fn new(is_enabled: bool, reports: Arc<Reports>) -> Result<Self, objects::Error> {
        Ok(Self { is_enabled, discovery: Discovery::default(), objects: Objects::new()?, reports })
    }

    /// Brings a shoot whose agents are wanted to what it shall have. Costs no call where it has that already, but for one read of the Secret's metadata.
    pub(crate) async fn reconcile(&self, context: &Context, applied: &mr::Applied) -> Result<(), ActuatorError> {
        let resource = context.managed_resource(RESOURCE).await?;
        let recorded = || status::of(&context.extension);
        match self.plan(&context.client, &context.namespace, context.shoot.as_deref(), recorded).await {
            // What somebody else deletes is made anew when it is gone.
            Plan::Apply if found(resource.as_ref()) != Found::Deleting => {
                let bundle = self.objects.bundle(&context.namespace).map_err(defect)?;
                let (secret, desired) = bundle.build().map_err(|error| defect(error.into()))?;
                let (client, owner) = (&context.client, names::CONTROLLER_NAME);
                applied.secret(client, owner, &secret).await?;
                applied.managed_resource(client, owner, &desired, resource).await?;
            }
            Plan::Remove if found(resource.as_ref()) == Found::Present => {
                mr::delete_now(&context.client, &context.namespace, RESOURCE, SECRET).await?;
            }
            Plan::Apply | Plan::Remove | Plan::Keep => {}
        }
        Ok(())
    }

    /// The agents are about to go: what is there is asked to go, and nothing is waited for. Costs no call where the watch shows nothing.
    pub(crate) async fn leave(&self, context: &Context) -> Result<(), Error> {
        if found(context.managed_resource(RESOURCE).await?.as_ref()) == Found::Present {
            mr::delete_now(&context.client, &context.namespace, RESOURCE, SECRET).await?;
        }
        Ok(())
    }

    /// Deletes what is there. To be called until it is gone.
    pub(crate) async fn delete(&self, context: &Context) -> Result<mr::Deletion, Error> {
        mr::delete(&context.client, &context.namespace, RESOURCE, SECRET).await
    }

    /// Deletes what is there, and waits for nothing.
    pub(crate) async fn delete_now(&self, context: &Context) -> Result<(), Error> {
        mr::delete_now(&context.client, &context.namespace, RESOURCE, SECRET).await
    }

    /// Whether an operation would change something: the first agent has reported, or the last one is gone. Of what the watches have shown; costs no
    /// call but that of the discovery.
    pub(crate) async fn is_due(&self, client: &Client, handle: &ControllerHandle, namespace: &str) -> bool {
        let (Some(resource), Some(shoot)) = (handle.managed_resource(namespace, RESOURCE), handle.shoot(namespace))
        else {
            return false;
        };
        let plan = self.plan(client, namespace, Some(&shoot), || None).await;
        matches!((plan, found(resource.as_deref())), (Plan::Apply, Found::Nothing) | (Plan::Remove, Found::Present))
    }

    async fn plan(
        &self,
        client: &Client,
        namespace: &str,
        shoot: Option<&Shoot>,
        recorded: impl FnOnce() -> Option<serde_json::Value>,
    ) -> Plan {
        let has_agents =
            self.reports.get(namespace).or_else(|| recorded().and_then(|status| reports::recorded(&status)));
        let mut situation = Situation {
            is_enabled: self.is_enabled,
            has_prometheus: shoot.is_none_or(|shoot| shoot.spec.purpose.as_deref() != Some(TESTING)),
            is_hibernated: shoot.is_some_and(Shoot::is_hibernation_requested),
            has_agents,
            is_served: None,
        };
        // Asked for only where it matters.
        if plan(Situation { is_served: Some(true), ..situation }) == Plan::Apply {
            situation.is_served = self.discovery.is_served(client).await;
        }
        plan(situation)
    }
}

fn defect(error: objects::Error) -> ActuatorError {
    ActuatorError::transient(reason::RENDERING_FAILED, "render the objects for the shoot's Prometheus")
        .with_source(error)
}

#[cfg(test)]
mod tests;
