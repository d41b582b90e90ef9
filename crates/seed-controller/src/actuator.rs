//! What this extension does for a shoot.

mod report;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use extension_config::{Facts, kubernetes_minor, names};
use gardener_api::ManagedResource;
use gardener_api::constants::GENERIC_KUBECONFIG_DEFAULT;
use gardener_extension::managed_resources as mr;
use gardener_extension::shoot_access::ShootAccess;
use gardener_extension::{Actuator, ActuatorError, Context, ErrorClass, Notice, Outcome, Progress, ProviderStatus};
use kube::ResourceExt as _;
use managed_resource::Bundle;
use observability::ErrorChain;
use serde_json::json;

use crate::configuration::{BaseConfig, Owner, Resolved, Unresolved, status};
use crate::manifests::{self, Manifests};
use crate::monitoring::Monitoring;
use crate::reason;
use crate::removal::nodes::Tally;
use crate::removal::sleep::Sleep;
use crate::removal::{self, Found, Proof, Removals, Situation, Step};
use crate::shoot::node_checks::{CheckResult, NodeCheck, NodeChecks, Target, Waiting};
use image_vector::{ImageVector, Request};
use report::{kept, reported};

/// Latest time until a check of something awaited; its watch wakes us sooner.
const REQUEUE_AFTER: Duration = Duration::from_secs(30);
/// Time between two checks of nodes, of which there is no watch, while somebody may be waiting.
const NODE_CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// gardenlet waits three minutes for a deletion.
const SOMEBODY_WAITS: Duration = Duration::from_secs(180);
/// What is awaited when all conditions are good and one more check is needed.
const UNCONFIRMED: &str = "waiting for the confirmation that cri-resmgr is removed from all nodes";
const RESOURCE: &str = names::SHOOT_MANAGED_RESOURCE;
const SECRET: &str = names::SHOOT_MANAGED_RESOURCE_SECRET;

/// Installs cri-resmgr in shoots and takes it away again.
#[derive(Debug)]
pub(crate) struct CriResmgr {
    pub(crate) manifests: Manifests,
    pub(crate) images: ImageVector,
    pub(crate) base: Arc<BaseConfig>,
    /// What this process knows of the removals under way, by the Extension's uid.
    pub(crate) removals: Removals,
    /// The way to the shoots' APIs, and what is seen there.
    pub(crate) access: ShootAccess,
    pub(crate) node_checks: NodeChecks,
    /// What need not be applied again.
    pub(crate) applied: mr::Applied,
    /// What the shoot's Prometheus gets of the agents.
    pub(crate) monitoring: Monitoring,
}

#[async_trait]
impl Actuator for CriResmgr {
    async fn reconcile(&self, context: &Context) -> Result<Outcome, ActuatorError> {
        if context.shoot.as_ref().is_some_and(|shoot| shoot.is_deleting()) {
            // gardenlet has already taken our ManagedResource away; to write it again would hold up the deletion.
            return Ok(Outcome::done());
        }
        let found = context.managed_resource(RESOURCE).await?;
        let former =
            || Outcome::pending(format!("waiting until the former ManagedResource {RESOURCE} is gone"), REQUEUE_AFTER);
        if removal::found(found.as_ref()) == Found::Deleting {
            return Ok(former());
        }
        let owner = Owner { extension: Arc::clone(&context.extension), shoot: context.shoot.clone() };
        let resolved = match self.resolve(context, &owner).await {
            Ok(resolved) => resolved,
            Err(error) if removal::is_installation(found.as_ref()) && owner.is_in_effect() && may_keep(&error) => {
                self.monitoring.reconcile(context, &self.applied).await?;
                return Ok(Outcome::done().with_provider_status(Some(kept(&owner, &error))));
            }
            Err(error) => return Err(error),
        };
        let image = self.image(context)?;
        let halt = self.base.halt(&owner);
        let target = manifests::Target { halt: halt.as_ref(), ..target(context, &image) };
        let bundle = self.manifests.install(target, &resolved.effective).map_err(defect)?;
        let applied = self.apply(context, &bundle, found).await?;
        if removal::found(Some(&applied)) == Found::Deleting {
            // Its deletion was asked for before the watch showed it.
            return Ok(former());
        }
        self.monitoring.reconcile(context, &self.applied).await?;
        Ok(Outcome::done().with_provider_status(Some(reported(&resolved, &owner, halt.as_ref()))))
    }

    async fn delete(&self, context: &Context) -> Result<Outcome, ActuatorError> {
        // Meanwhile the agents work. When they are about to go, it has to be gone.
        self.monitoring.leave(context).await?;
        let found = mr::get(&context.client, &context.namespace, RESOURCE).await?;
        let situation = Situation {
            shoot_is_deleting: context.shoot.as_ref().is_some_and(|shoot| shoot.is_deleting()),
            proven: self.removals.is_proven(&id(context)),
            found: removal::found(found.as_ref()),
        };
        let mut outcome = match removal::next(situation) {
            Step::AwaitForeignDeletion => {
                let message = format!("waiting until ManagedResource {RESOURCE}, which somebody else deletes, is gone");
                Outcome::pending(message, REQUEUE_AFTER)
            }
            Step::Delete => self.delete_resource(context).await?,
            Step::Apply => self.remove(context).await?,
        };
        if let Progress::Pending { message, .. } = &mut outcome.progress {
            *message = Sleep::of(context.shoot.as_deref()).explain(std::mem::take(message));
        }
        Ok(outcome)
    }

    async fn force_delete(&self, context: &Context) -> Result<Outcome, ActuatorError> {
        self.node_checks.forget(&id(context));
        self.applied.forget(&context.namespace);
        self.monitoring.delete_now(context).await?;
        mr::delete_now(&context.client, &context.namespace, RESOURCE, SECRET).await?;
        self.access.delete(&context.client, &context.namespace).await?;
        self.removals.forget(&id(context));
        Ok(Outcome::done())
    }

    async fn migrate(&self, context: &Context) -> Result<Outcome, ActuatorError> {
        // First of all, whatever was under way: the nodes belong to the other seed now.
        mr::set_keep_objects(&context.client, names::CONTROLLER_NAME, &context.namespace, RESOURCE, true).await?;
        self.delete_resource(context).await
    }

    async fn restore(&self, context: &Context) -> Result<Outcome, ActuatorError> {
        self.reconcile(context).await
    }
}

impl CriResmgr {
    async fn resolve(&self, context: &Context, owner: &Owner) -> Result<Resolved, ActuatorError> {
        let own = owner.provider_config().map(|raw| context.read_provider_config(raw)).transpose()?;
        self.base.resolve(own, context.shoot.as_deref().map(Facts::of).unwrap_or_default()).await.map_err(refused)
    }

    fn image(&self, context: &Context) -> Result<String, ActuatorError> {
        let shoot = context.shoot.as_deref();
        let version = shoot.map(|shoot| shoot.spec.kubernetes.version.as_str()).filter(|version| !version.is_empty());
        self.images
            .find(Request {
                name: names::INSTALLATION_IMAGE,
                runtime_version: version,
                target_version: version,
                architecture: names::ARCHITECTURE,
            })
            .map_err(|error| {
                ActuatorError::transient(reason::NO_IMAGE, "choose the node agent's image").with_source(error)
            })
    }

    /// Writes the removal phase and checks how far it is.
    async fn remove(&self, context: &Context) -> Result<Outcome, ActuatorError> {
        let bundle = self.manifests.remove(target(context, &self.image(context)?)).map_err(defect)?;
        let applied = self.apply(context, &bundle, None).await?;
        if !Sleep::of(context.shoot.as_deref()).can_prove() {
            self.node_checks.forget(&id(context));
            return Ok(Outcome::pending(removal::AWAITED, REQUEUE_AFTER));
        }
        let answer = match self.check_nodes(context, removal::applied_generation(&applied)) {
            NodeCheck::Finished(answer) => answer,
            NodeCheck::InProgress(before) => {
                // Called again when it has ended; this is for the case that nobody calls.
                let message = meanwhile(&applied, before.as_deref());
                return Ok(Outcome::pending(message, REQUEUE_AFTER));
            }
        };
        let tally = answer.as_ref().as_ref().ok();
        let judged = self.removals.judge(&id(context), &applied, tally, Instant::now());
        let mut provider_status = None;
        if let Some(tally) = tally {
            self.publish_given_up(context, tally).await;
            provider_status = Some(with_removal(context, tally));
        }
        let requeue_after = if tally.is_some() { next_node_check(context) } else { REQUEUE_AFTER };
        let outcome = match judged {
            Proof::Complete => self.delete_resource(context).await?,
            Proof::Awaited(message) => Outcome::pending(message + &query_error_note(&answer), requeue_after),
            Proof::Unconfirmed(requeue_after) => {
                Outcome::pending(UNCONFIRMED.to_owned() + &query_error_note(&answer), requeue_after)
            }
        };
        Ok(outcome.with_provider_status(provider_status))
    }

    /// What the shoot says of its nodes, as far as that is known.
    fn check_nodes(&self, context: &Context, applied: Option<i64>) -> NodeCheck {
        let cluster = context.cluster.as_deref();
        let generic = cluster.map_or(GENERIC_KUBECONFIG_DEFAULT, gardener_api::Cluster::generic_kubeconfig_secret);
        let target = Target {
            waiting: Waiting { namespace: context.namespace.clone(), name: context.extension.name_any() },
            seed: context.client.clone(),
            generic_kubeconfig: generic.to_owned(),
        };
        self.node_checks.check(&id(context), &target, applied)
    }

    /// Says which nodes are not waited for any more, once for each set of them.
    async fn publish_given_up(&self, context: &Context, tally: &Tally) {
        if let Some(note) = tally.note().filter(|note| self.removals.record_note(&id(context), note)) {
            tracing::warn!(namespace = context.namespace, note, "no longer waiting for some nodes");
            context.events.publish(Notice::warning(reason::NODES_NOT_AWAITED, "Delete", note)).await;
        }
    }

    async fn delete_resource(&self, context: &Context) -> Result<Outcome, ActuatorError> {
        // A scrape pool without agents would make the shoot's observability unhealthy.
        let monitoring = self.monitoring.delete(context).await?;
        if monitoring != mr::Deletion::Gone {
            return Ok(monitoring.into_outcome(REQUEUE_AFTER));
        }
        self.node_checks.forget(&id(context));
        self.applied.forget(&context.namespace);
        // First, or the token requestor could make the account anew that the ManagedResource takes away.
        self.access.delete(&context.client, &context.namespace).await?;
        let deletion = mr::delete(&context.client, &context.namespace, RESOURCE, SECRET).await?;
        if deletion == mr::Deletion::Gone {
            self.removals.forget(&id(context));
        }
        Ok(deletion.into_outcome(REQUEUE_AFTER))
    }

    /// Applies everything. `seen`: the ManagedResource as it was last seen, if it may be left as it is.
    async fn apply(
        &self,
        context: &Context,
        bundle: &Bundle,
        seen: Option<ManagedResource>,
    ) -> Result<ManagedResource, ActuatorError> {
        let (secret, resource) = bundle.build().map_err(|error| defect(error.into()))?;
        let (client, owner) = (&context.client, names::CONTROLLER_NAME);
        self.applied.secret(client, owner, &self.access.secret(&context.namespace)).await?;
        // Before what refers to it.
        self.applied.secret(client, owner, &secret).await?;
        Ok(self.applied.managed_resource(client, owner, &resource, seen).await?)
    }
}

/// The providerStatus as it stands, with what is known of the nodes.
fn with_removal(context: &Context, tally: &Tally) -> ProviderStatus {
    let before = status::of(&context.extension).filter(serde_json::Value::is_object);
    let mut value = before.unwrap_or_else(|| json!({}));
    value["removal"] = tally.status();
    ProviderStatus { value, events: Vec::new() }
}

/// What is awaited while the shoot is asked.
fn meanwhile(applied: &ManagedResource, before: Option<&CheckResult>) -> String {
    let Some(before) = before else { return removal::awaited_by_nodes(applied) };
    let judged = match before {
        Ok(tally) => removal::proof_by_nodes(applied, tally),
        Err(_) => removal::proof(applied, Duration::ZERO),
    };
    let awaited = if let Proof::Awaited(message) = judged { message } else { UNCONFIRMED.to_owned() };
    awaited + &query_error_note(before)
}

/// Why nodes are not named.
fn query_error_note(answer: &CheckResult) -> String {
    let reason = answer.as_ref().err();
    reason.map(|reason| format!(" (the shoot was not asked: {})", ErrorChain(reason))).unwrap_or_default()
}

fn id(context: &Context) -> String {
    context.extension.uid().unwrap_or_default()
}

fn target<'a>(context: &'a Context, image: &'a str) -> manifests::Target<'a> {
    let version = context.shoot.as_deref().map(|shoot| shoot.spec.kubernetes.version.as_str());
    let kubernetes = version.and_then(kubernetes_minor);
    manifests::Target { namespace: &context.namespace, image, kubernetes, halt: None }
}

/// gardenlet is not waiting any more for what takes so long.
fn next_node_check(context: &Context) -> Duration {
    let since = context.extension.metadata.deletion_timestamp.as_ref();
    let waited =
        since.map(|since| Duration::try_from(jiff::Timestamp::now().duration_since(since.0)).unwrap_or_default());
    if waited.unwrap_or_default() < SOMEBODY_WAITS { NODE_CHECK_INTERVAL } else { REQUEUE_AFTER }
}

/// Neither an upgrade nor a mistake of the operator may fail a shoot that has what it asks for. What can go away by itself is tried again.
fn may_keep(error: &ActuatorError) -> bool {
    error.class() == ErrorClass::Configuration || error.reason() == reason::INVALID_BASE_CONFIG
}

fn refused(error: Unresolved) -> ActuatorError {
    match error {
        Unresolved::Faulty(problems) => {
            let error = if problems.blames_the_shoot() {
                ActuatorError::configuration(reason::INVALID_PROVIDER_CONFIG, problems.to_string())
            } else {
                ActuatorError::transient(reason::INVALID_BASE_CONFIG, problems.to_string())
            };
            error.with_summary(problems.places())
        }
        late @ Unresolved::Late => ActuatorError::transient(reason::CONFIGURATION_NOT_CHECKED, late.to_string()),
    }
}

/// Something that only a new version of the controller can mend.
fn defect(error: manifests::Error) -> ActuatorError {
    ActuatorError::transient(reason::RENDERING_FAILED, "render the shoot's objects").with_source(error)
}
