//! The calls.

use std::time::Duration;

use gardener_api::ManagedResource;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::core::Request;
use kube::{Api, Client};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::call::call;
use crate::{Error, Outcome};

/// How far a deletion came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// ManagedResource and Secret are gone.
    Gone,
    /// gardener-resource-manager still takes the objects away; the text says what is awaited.
    Pending(String),
}

impl Deletion {
    /// As an actuator's outcome.
    #[must_use]
    pub fn into_outcome(self, requeue_after: Duration) -> Outcome {
        match self {
            Self::Gone => Outcome::done(),
            Self::Pending(message) => Outcome::pending(message, requeue_after),
        }
    }
}

/// Reads a ManagedResource; `None` when there is none.
pub async fn get(client: &Client, namespace: &str, name: &str) -> Result<Option<ManagedResource>, Error> {
    let api: Api<ManagedResource> = Api::namespaced(client.clone(), namespace);
    call("get", object::<ManagedResource>(namespace, name), api.get_opt(name)).await
}

/// Applies one object by server-side apply. The API server writes nothing when nothing changed. What others added is kept, what others changed
/// of ours is put right.
pub(super) async fn apply_one<K>(client: &Client, field_manager: &str, desired: &K) -> Result<K, Error>
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + std::fmt::Debug
        + Serialize
        + DeserializeOwned
        + Sync
        + Send,
{
    let kind = K::kind(&()).into_owned();
    let missing = |field| Error::Incomplete { object: kind.clone(), field };
    let name = desired.meta().name.as_deref().ok_or_else(|| missing("name"))?;
    let namespace = desired.meta().namespace.as_deref().ok_or_else(|| missing("namespace"))?;
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    let parameters = PatchParams::apply(field_manager).force();
    call("apply", object::<K>(namespace, name), api.patch(name, &parameters, &Patch::Apply(desired))).await
}

/// Deletes a ManagedResource and, once it is gone, its Secret. Call again until it answers [`Deletion::Gone`].
pub async fn delete(client: &Client, namespace: &str, name: &str, secret: &str) -> Result<Deletion, Error> {
    let Some(found) = delete_managed_resource(client, namespace, name).await? else {
        delete_secret(client, namespace, secret).await?;
        return Ok(Deletion::Gone);
    };
    Ok(Deletion::Pending(awaited(&found)))
}

/// Asks for the deletion of ManagedResource and Secret and waits for neither.
pub async fn delete_now(client: &Client, namespace: &str, name: &str, secret: &str) -> Result<(), Error> {
    delete_managed_resource(client, namespace, name).await?;
    delete_secret(client, namespace, secret).await
}

/// Lets the objects live on when the ManagedResource goes (or not). No write when it says so already; nothing to do when there is none.
pub async fn set_keep_objects(
    client: &Client,
    field_manager: &str,
    namespace: &str,
    name: &str,
    keep: bool,
) -> Result<(), Error> {
    let Some(found) = get(client, namespace, name).await? else { return Ok(()) };
    if found.spec.keep_objects.unwrap_or(false) == keep {
        return Ok(());
    }
    let api: Api<ManagedResource> = Api::namespaced(client.clone(), namespace);
    let patch = Patch::Merge(json!({ "spec": { "keepObjects": keep } }));
    let parameters = PatchParams { field_manager: Some(field_manager.to_owned()), ..PatchParams::default() };
    let patched =
        call("patch", object::<ManagedResource>(namespace, name), async { api.patch(name, &parameters, &patch).await })
            .await;
    ignore_not_found(patched.map(|_| ()))
}

/// The object if it still exists after the request; its deletion is asked for once.
async fn delete_managed_resource(
    client: &Client,
    namespace: &str,
    name: &str,
) -> Result<Option<ManagedResource>, Error> {
    let Some(found) = get(client, namespace, name).await? else { return Ok(None) };
    if found.metadata.deletion_timestamp.is_some() {
        return Ok(Some(found));
    }
    delete_one::<ManagedResource>(client, namespace, name).await?;
    // Without a finalizer it is gone at once, and no event would come again.
    get(client, namespace, name).await
}

async fn delete_secret(client: &Client, namespace: &str, name: &str) -> Result<(), Error> {
    delete_one::<Secret>(client, namespace, name).await
}

/// Asks for the deletion of one object; one that is gone is fine. The answer may be the object, and is not read.
pub(crate) async fn delete_one<K>(client: &Client, namespace: &str, name: &str) -> Result<(), Error>
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
{
    let request = Request::new(K::url_path(&(), Some(namespace))).delete(name, &DeleteParams::default());
    let deleted = call("delete", object::<K>(namespace, name), async {
        client.request_text(request.map_err(kube::Error::BuildRequest)?).await
    })
    .await;
    ignore_not_found(deleted.map(drop))
}

fn ignore_not_found(outcome: Result<(), Error>) -> Result<(), Error> {
    match outcome {
        Err(error) if error.is_not_found() => Ok(()),
        other => other,
    }
}

fn awaited(resource: &ManagedResource) -> String {
    let name = resource.metadata.name.as_deref().unwrap_or_default();
    let condition = resource.condition(gardener_api::constants::condition_type::RESOURCES_APPLIED);
    match condition.filter(|condition| !condition.message.is_empty()) {
        Some(condition) => {
            format!("waiting for the deletion of ManagedResource {name}: {} ({})", condition.message, condition.reason)
        }
        None => format!("waiting for the deletion of ManagedResource {name}"),
    }
}

fn object<K: kube::Resource<DynamicType = ()>>(namespace: &str, name: &str) -> String {
    format!("{} {namespace}/{name}", K::kind(&()))
}
