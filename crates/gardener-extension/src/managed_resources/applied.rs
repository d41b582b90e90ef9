//! What was applied last, so that it need not be applied again. An apply that changes nothing costs the API server as much as one that does.
//!
//! An apply is left out only where the same is to be applied, and the object is the one that the last apply has answered: a Secret by its
//! resourceVersion, of which the metadata are read; a ManagedResource, whose status is another's, by uid, generation and labels. Whatever somebody
//! else has changed is put right by the next apply.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::{Mutex, MutexGuard, PoisonError};

use gardener_api::ManagedResource;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use serde::Serialize;

use super::client::apply_one;
use crate::Error;
use crate::call::call;

/// Namespaces that are remembered. With more all are forgotten, and applied once more.
const NAMESPACES: usize = 50_000;
/// Objects of one namespace that are remembered; an extension has a few.
const OBJECTS: usize = 16;

/// See the module. What is forgotten is applied once more.
#[derive(Debug, Default)]
pub struct Applied {
    marks: Mutex<HashMap<String, Vec<Mark>>>,
    /// Keyed anew in each process: nobody can make two texts with the same hash.
    hasher: RandomState,
}

#[derive(Clone, Debug)]
struct Mark {
    kind: &'static str,
    name: String,
    /// Of what was applied.
    sum: u64,
    /// By what the object is known.
    is: Identity,
}

/// By what an object is known as the one that was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Identity {
    Version(String),
    Generation { uid: String, generation: i64 },
}

impl Applied {
    /// Applies a Secret, in the name of `field_manager`.
    ///
    /// # Errors
    /// When the API does not take it.
    pub async fn secret(&self, client: &Client, field_manager: &str, desired: &Secret) -> Result<(), Error> {
        let (namespace, name, sum) = self.describe("Secret", desired, &desired.metadata)?;
        if let Some(Identity::Version(version)) = self.find(namespace, "Secret", name, sum) {
            let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
            let found = call("get metadata of", format!("Secret {namespace}/{name}"), api.get_metadata_opt(name)).await;
            // Where the read is refused, or fails, the apply says so.
            let is_same = |found: &kube::core::PartialObjectMeta<Secret>| {
                found.metadata.resource_version.as_ref() == Some(&version)
                    && found.metadata.deletion_timestamp.is_none()
            };
            if found.ok().flatten().as_ref().is_some_and(is_same) {
                return Ok(());
            }
        }
        let applied = apply_one(client, field_manager, desired).await?;
        let is = applied.metadata.resource_version.map(Identity::Version);
        self.note(namespace, "Secret", name, sum, is);
        Ok(())
    }

    /// Applies a ManagedResource, in the name of `field_manager`, and answers it as it is then. `seen`: as it was last seen.
    ///
    /// # Errors
    /// When the API does not take it.
    pub async fn managed_resource(
        &self,
        client: &Client,
        field_manager: &str,
        desired: &ManagedResource,
        seen: Option<ManagedResource>,
    ) -> Result<ManagedResource, Error> {
        const KIND: &str = "ManagedResource";
        let (namespace, name, sum) = self.describe(KIND, desired, &desired.metadata)?;
        if let Some(seen) = seen
            && let Some(is) = identity(&seen)
            && self.find(namespace, KIND, name, sum) == Some(is)
            && has_labels(&seen, desired)
        {
            return Ok(seen);
        }
        let applied = apply_one(client, field_manager, desired).await?;
        self.note(namespace, KIND, name, sum, identity(&applied));
        Ok(applied)
    }

    /// Everything in a namespace is about to go.
    pub fn forget(&self, namespace: &str) {
        self.lock().remove(namespace);
    }

    fn describe<'a>(
        &self,
        kind: &'static str,
        desired: &impl Serialize,
        metadata: &'a k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
    ) -> Result<(&'a str, &'a str, u64), Error> {
        let missing = |field| Error::Incomplete { object: kind.to_owned(), field };
        let namespace = metadata.namespace.as_deref().ok_or_else(|| missing("namespace"))?;
        let name = metadata.name.as_deref().ok_or_else(|| missing("name"))?;
        let text = serde_json::to_vec(desired).map_err(|_| Error::Undecodable {
            object: format!("{kind} {namespace}/{name}"),
            fault: "no JSON".to_owned(),
        })?;
        Ok((namespace, name, self.hasher.hash_one(text)))
    }

    fn find(&self, namespace: &str, kind: &str, name: &str, sum: u64) -> Option<Identity> {
        let marks = self.lock();
        let mark = marks.get(namespace)?.iter().find(|mark| mark.kind == kind && mark.name == name)?;
        (mark.sum == sum).then(|| mark.is.clone())
    }

    fn note(&self, namespace: &str, kind: &'static str, name: &str, sum: u64, is: Option<Identity>) {
        let mut all = self.lock();
        if all.len() >= NAMESPACES && !all.contains_key(namespace) {
            all.clear();
        }
        let marks = all.entry(namespace.to_owned()).or_default();
        marks.retain(|mark| mark.kind != kind || mark.name != name);
        if let Some(is) = is.filter(|_| marks.len() < OBJECTS) {
            marks.push(Mark { kind, name: name.to_owned(), sum, is });
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Vec<Mark>>> {
        // Nothing in here can leave a mark half changed.
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn identity(resource: &ManagedResource) -> Option<Identity> {
    let metadata = &resource.metadata;
    if metadata.deletion_timestamp.is_some() || !resource.faults.is_empty() {
        return None;
    }
    Some(Identity::Generation { uid: metadata.uid.clone()?, generation: metadata.generation? })
}

/// Whether all labels are as they are to be; others' may be there.
fn has_labels(seen: &ManagedResource, desired: &ManagedResource) -> bool {
    let found = seen.metadata.labels.as_ref();
    let mut wanted = desired.metadata.labels.iter().flatten();
    wanted.all(|(name, value)| found.and_then(|found| found.get(name)) == Some(value))
}

#[cfg(test)]
mod tests;
