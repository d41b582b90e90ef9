//! What this extension does for a shoot.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use extension_config::names;
use gardener_extension::call::call;
use gardener_extension::managed_resources as mr;
use gardener_extension::{Actuator, ActuatorError, Context, Outcome};
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use managed_resource::Bundle;
use serde_json::json;

use crate::configuration::{self, BaseConfig, Resolved};
use crate::image_vector::{ImageVector, Request};
use crate::manifests::{self, ARCHITECTURE, Manifests};
use crate::removal::{self, Found, Proof, Removals, Situation, Step};

/// Latest time until a look at something awaited; its watch tells sooner.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
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
}

#[async_trait]
impl Actuator for CriResmgr {
    async fn reconcile(&self, context: &Context) -> Result<Outcome, ActuatorError> {
        if context.shoot.as_ref().is_some_and(|shoot| shoot.is_deleting()) {
            // gardenlet has already taken our ManagedResource away; to write it again would hold up the deletion.
            return Ok(Outcome::Done);
        }
        let found = mr::get(&context.client, &context.namespace, RESOURCE).await?;
        if removal::found(found.as_ref()) == Found::Deleting {
            let message = format!("waiting until the former ManagedResource {RESOURCE} is gone");
            return Ok(Outcome::Pending { message, requeue_after: LOOK_AGAIN });
        }
        let resolved = self.resolve(context)?;
        let image = self.image(context)?;
        let bundle = self.manifests.install(&context.namespace, &image, &resolved.effective).map_err(defect)?;
        apply(context, &bundle).await?;
        report(context, &resolved).await?;
        Ok(Outcome::Done)
    }

    async fn delete(&self, context: &Context) -> Result<Outcome, ActuatorError> {
        let found = mr::get(&context.client, &context.namespace, RESOURCE).await?;
        let situation = Situation {
            shoot_is_deleting: context.shoot.as_ref().is_some_and(|shoot| shoot.is_deleting()),
            proven: self.removals.is_proven(&id(context)),
            found: removal::found(found.as_ref()),
        };
        match removal::next(situation) {
            Step::AwaitForeignDeletion => {
                let message = format!("waiting until ManagedResource {RESOURCE}, which somebody else deletes, is gone");
                Ok(Outcome::Pending { message, requeue_after: LOOK_AGAIN })
            }
            Step::Delete => self.delete_resource(context).await,
            Step::Apply => {
                let bundle = self.manifests.remove(&context.namespace, &self.image(context)?).map_err(defect)?;
                let applied = apply(context, &bundle).await?;
                match self.removals.judge(&id(context), &applied, Instant::now()) {
                    Proof::Complete => self.delete_resource(context).await,
                    Proof::Awaited(message) => Ok(Outcome::Pending { message, requeue_after: LOOK_AGAIN }),
                    Proof::Unconfirmed(requeue_after) => {
                        let message =
                            "waiting for the confirmation that cri-resmgr is removed from all nodes".to_owned();
                        Ok(Outcome::Pending { message, requeue_after })
                    }
                }
            }
        }
    }

    async fn force_delete(&self, context: &Context) -> Result<Outcome, ActuatorError> {
        mr::delete_now(&context.client, &context.namespace, RESOURCE, SECRET).await?;
        self.removals.forget(&id(context));
        Ok(Outcome::Done)
    }

    async fn migrate(&self, context: &Context) -> Result<Outcome, ActuatorError> {
        // First of all, whatever was under way: the nodes belong to the other seed now.
        mr::set_keep_objects(&context.client, &context.namespace, RESOURCE, true).await?;
        self.delete_resource(context).await
    }

    async fn restore(&self, context: &Context) -> Result<Outcome, ActuatorError> {
        self.reconcile(context).await
    }
}

impl CriResmgr {
    fn resolve(&self, context: &Context) -> Result<Resolved, ActuatorError> {
        let shoot = context.shoot.as_deref();
        let own = configuration::provider_config(&context.extension, shoot);
        self.base.resolve(own, &configuration::facts(shoot)).map_err(|problems| {
            if problems.blames_the_shoot() {
                ActuatorError::configuration("InvalidProviderConfig", problems.to_string())
            } else {
                ActuatorError::transient("InvalidBaseConfig", problems.to_string())
            }
        })
    }

    fn image(&self, context: &Context) -> Result<String, ActuatorError> {
        let shoot = context.shoot.as_deref();
        let version = shoot.map(|shoot| shoot.spec.kubernetes.version.as_str()).filter(|version| !version.is_empty());
        self.images
            .find(Request {
                name: names::INSTALLATION_IMAGE,
                runtime_version: version,
                target_version: version,
                architecture: ARCHITECTURE,
            })
            .map_err(|error| ActuatorError::transient("NoImage", "choose the node agent's image").with_source(error))
    }

    async fn delete_resource(&self, context: &Context) -> Result<Outcome, ActuatorError> {
        let deletion = mr::delete(&context.client, &context.namespace, RESOURCE, SECRET).await?;
        if deletion == mr::Deletion::Gone {
            self.removals.forget(&id(context));
        }
        Ok(deletion.into_outcome(LOOK_AGAIN))
    }
}

fn id(context: &Context) -> String {
    context.extension.uid().unwrap_or_default()
}

async fn apply(context: &Context, bundle: &Bundle) -> Result<gardener_api::ManagedResource, ActuatorError> {
    let (secret, resource) = bundle.build().map_err(|error| defect(error.into()))?;
    Ok(mr::apply(&context.client, names::CONTROLLER_NAME, &secret, &resource).await?)
}

/// Tells the owner what took effect; nothing when that was told before.
async fn report(context: &Context, resolved: &Resolved) -> Result<(), ActuatorError> {
    let status = configuration::provider_status(&resolved.effective);
    if context.extension.status.as_ref().and_then(|current| current.provider_status.as_ref()) == Some(&status) {
        return Ok(());
    }
    let name = context.extension.name_any();
    let api: Api<gardener_api::Extension> = Api::namespaced(context.client.clone(), &context.namespace);
    // A merge patch of the value alone would keep the keys that are gone.
    let patch = match context.extension.status.as_ref().and_then(|current| current.provider_status.as_ref()) {
        Some(old) => json!({"status": {"providerStatus": merge_patch(old, &status)}}),
        None => json!({"status": {"providerStatus": status}}),
    };
    let object = format!("Extension {}/{name}", context.namespace);
    call("patch", object, api.patch_status(&name, &PatchParams::default(), &Patch::Merge(patch))).await?;
    for warning in &resolved.effective.warnings {
        context.events.warning("ConfigurationWarning", "Validate", warning.to_string()).await;
    }
    if let Some(problems) = &resolved.base_problems {
        context
            .events
            .warning("InvalidBaseConfig", "Validate", format!("the last good one stays in effect: {problems}"))
            .await;
    }
    Ok(())
}

/// The merge patch (RFC 7386) that makes `new` of `old`.
fn merge_patch(old: &serde_json::Value, new: &serde_json::Value) -> serde_json::Value {
    let (Some(old), Some(new)) = (old.as_object(), new.as_object()) else { return new.clone() };
    let gone = old.keys().filter(|key| !new.contains_key(*key)).map(|key| (key.clone(), serde_json::Value::Null));
    let set = new.iter().map(|(key, value)| {
        (key.clone(), old.get(key).map_or_else(|| value.clone(), |before| merge_patch(before, value)))
    });
    gone.chain(set).collect::<serde_json::Map<_, _>>().into()
}

/// Something that only a new version of the controller can mend.
fn defect(error: manifests::Error) -> ActuatorError {
    ActuatorError::transient("RenderingFailed", "render the shoot's objects").with_source(error)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::merge_patch;

    fn apply(target: &mut Value, patch: &Value) {
        let Some(patch) = patch.as_object() else {
            *target = patch.clone();
            return;
        };
        if !target.is_object() {
            *target = json!({});
        }
        for (key, value) in patch {
            let Some(map) = target.as_object_mut() else { return };
            if value.is_null() {
                map.remove(key);
            } else {
                apply(map.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
    }

    proptest! {
        #[test]
        fn the_patch_makes_one_of_the_other(
            old in proptest::collection::btree_map("[a-c]", "[x-z]", 0..4),
            new in proptest::collection::btree_map("[a-c]", "[x-z]", 0..4),
        ) {
            let (old, new) = (json!({"configs": old}), json!({"configs": new}));
            let mut target = old.clone();
            apply(&mut target, &merge_patch(&old, &new));
            prop_assert_eq!(target, new);
        }
    }
}
