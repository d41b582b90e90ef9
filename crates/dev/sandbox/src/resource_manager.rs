//! What gardener-resource-manager does with the ManagedResources of a shoot (gardener v1.149, `pkg/resourcemanager/controller`): as far as
//! ours need it.

mod health;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize as _;
use serde_json::{Value, json};
use sha2::Digest as _;
use tokio::time::{MissedTickBehavior, interval};

use fake_kube_api::{Store, Writer, text};
use faults::{Fault, Faults};

const GROUP: &str = "resources.gardener.cloud";
const PLURAL: &str = "managedresources";
const FINALIZER: &str = "resources.gardener.cloud/gardener-resource-manager";
const MANAGER: &str = "gardener-resource-manager";

/// Between two checks, at least.
const PAUSE: Duration = Duration::from_millis(200);

/// Order in which kinds are applied; the rest comes last.
const FIRST: [&str; 9] = [
    "Namespace",
    "NetworkPolicy",
    "Secret",
    "ConfigMap",
    "ServiceAccount",
    "ClusterRole",
    "ClusterRoleBinding",
    "Role",
    "RoleBinding",
];

/// Serves the ManagedResources of a seed for one shoot, until it is dropped.
/// `reconcile NAME` is what may go wrong: it is refused with a text, begins later, or is not done.
pub(crate) async fn run(seed: Store, shoot: Store, faults: Faults<String>) {
    let (mut of_seed, mut of_shoot) = (seed.changes(), shoot.changes());
    // Every Lease that is written somewhere is a change; a check of everything for each of them would be all that is ever done.
    let mut pace = interval(PAUSE);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        pace.tick().await;
        of_seed.mark_unchanged();
        of_shoot.mark_unchanged();
        for resource in seed.list(GROUP, PLURAL, "") {
            if !resource["spec"]["class"].is_null() {
                continue;
            }
            match faults.at(&format!("reconcile {}", text(&resource, "/metadata/name"))) {
                Some(Fault::Refuse(message)) => refuse(&seed, &resource, &message),
                Some(Fault::Break) => {}
                Some(Fault::Delay(time)) => {
                    tokio::time::sleep(time).await;
                    reconcile(&seed, &shoot, &resource);
                }
                None => reconcile(&seed, &shoot, &resource),
            }
        }
        tokio::select! {
            changed = of_seed.changed() => if changed.is_err() { return },
            changed = of_shoot.changed() => if changed.is_err() { return },
        }
    }
}

/// One check of one ManagedResource. What fails is tried again at the next change.
fn reconcile(seed: &Store, shoot: &Store, resource: &Value) {
    let outcome = if resource["metadata"]["deletionTimestamp"].is_null() {
        apply(seed, shoot, resource)
    } else {
        delete(seed, shoot, resource)
    };
    if let Err(error) = outcome {
        refuse(seed, resource, &format!("{error:#}"));
    }
}

fn refuse(seed: &Store, resource: &Value, message: &str) {
    let failed = [condition("ResourcesApplied", "False", "ApplyFailed", message)];
    drop(write_status(seed, resource, &failed, None));
}

fn apply(seed: &Store, shoot: &Store, resource: &Value) -> anyhow::Result<()> {
    let name = text(resource, "/metadata/name");
    let namespace = text(resource, "/metadata/namespace");
    let finalizers = resource["metadata"]["finalizers"].as_array().cloned().unwrap_or_default();
    if !finalizers.contains(&json!(FINALIZER)) {
        let all: Vec<Value> = finalizers.into_iter().chain([json!(FINALIZER)]).collect();
        seed.merge(
            GROUP,
            PLURAL,
            namespace,
            name,
            &json!({ "metadata": { "finalizers": all } }),
            &Writer::named(MANAGER),
        )?;
        // The change brings us back.
        return Ok(());
    }
    let mut objects = objects(seed, resource)?;
    objects.sort_by_key(|object| FIRST.iter().position(|kind| *kind == text(object, "/kind")).unwrap_or(FIRST.len()));
    let mut digest = sha2::Sha256::new();
    for object in &mut objects {
        inject(object, resource);
        digest.update(object.to_string());
    }
    let checksum = hex::encode(digest.finalize());
    let generation = &resource["metadata"]["generation"];
    let status = &resource["status"];
    let is_new = status["secretsDataChecksum"] != json!(checksum) || status["observedGeneration"] != *generation;
    if is_new {
        let begun = [
            condition(
                "ResourcesApplied",
                "Progressing",
                "ApplyProgressing",
                "The resources are currently being reconciled.",
            ),
            condition(
                "ResourcesHealthy",
                "Unknown",
                "ChecksPending",
                "The health checks have not yet been executed for the current set of resources.",
            ),
            condition(
                "ResourcesProgressing",
                "Unknown",
                "ChecksPending",
                "Checks have not yet been executed for the current set of resources.",
            ),
        ];
        let resource = write_status(seed, resource, &begun, None)?;
        let listed: Vec<Value> = objects.iter().map(reference).collect();
        if !prune(shoot, &resource, &listed)? {
            return Ok(());
        }
        for object in &objects {
            shoot
                .apply(object, &Writer::named(MANAGER))
                .with_context(|| format!("error during apply of object {}", describe(object)))?;
        }
        let applied = [condition("ResourcesApplied", "True", "ApplySucceeded", "All resources are applied.")];
        let done = json!({ "observedGeneration": generation, "secretsDataChecksum": checksum, "resources": listed });
        write_status(seed, &resource, &applied, Some(done))?;
        return Ok(());
    }
    // Somebody may have changed or deleted what was applied.
    for object in &objects {
        shoot
            .apply(object, &Writer::named(MANAGER))
            .with_context(|| format!("error during apply of object {}", describe(object)))?;
    }
    let (healthy, progressing) = health::check(shoot, &objects);
    write_status(seed, resource, &[healthy, progressing], None)?;
    Ok(())
}

/// Deletes what is no longer listed; false while something of it is still there.
fn prune(shoot: &Store, resource: &Value, listed: &[Value]) -> anyhow::Result<bool> {
    let mut is_done = true;
    for known in resource["status"]["resources"].as_array().into_iter().flatten() {
        if !listed.iter().any(|object| is_same_object(object, known)) {
            is_done &= delete_object(shoot, known)?;
        }
    }
    Ok(is_done)
}

fn delete(seed: &Store, shoot: &Store, resource: &Value) -> anyhow::Result<()> {
    let keep = resource["spec"]["keepObjects"] == true;
    let mut is_done = true;
    if !keep {
        for known in resource["status"]["resources"].as_array().into_iter().flatten() {
            is_done &= delete_object(shoot, known)?;
        }
    }
    if !is_done {
        let pending = [condition(
            "ResourcesApplied",
            "Progressing",
            "DeletionPending",
            "The resources are currently being deleted.",
        )];
        write_status(seed, resource, &pending, None)?;
        return Ok(());
    }
    let (name, namespace) = (text(resource, "/metadata/name"), text(resource, "/metadata/namespace"));
    let others: Vec<&Value> = resource["metadata"]["finalizers"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|found| **found != FINALIZER)
        .collect();
    seed.merge(
        GROUP,
        PLURAL,
        namespace,
        name,
        &json!({ "metadata": { "finalizers": others } }),
        &Writer::named(MANAGER),
    )?;
    Ok(())
}

/// Asks for the deletion of an object; true when it is gone.
fn delete_object(shoot: &Store, known: &Value) -> anyhow::Result<bool> {
    let (group, plural) = place(known);
    let (namespace, name) = (text(known, "/namespace"), text(known, "/name"));
    match shoot.delete(&group, &plural, namespace, name) {
        Err(failure) if failure.code == 404 => Ok(true),
        Err(failure) => Err(failure.into()),
        Ok(()) => Ok(shoot.get(&group, &plural, namespace, name).is_none()),
    }
}

/// The objects in the Secrets that a ManagedResource refers to, keys in their order.
fn objects(seed: &Store, resource: &Value) -> anyhow::Result<Vec<Value>> {
    let namespace = text(resource, "/metadata/namespace");
    let mut all = Vec::new();
    for reference in resource["spec"]["secretRefs"].as_array().into_iter().flatten() {
        let name = text(reference, "/name");
        let secret =
            seed.get("", "secrets", namespace, name).with_context(|| format!("could not read secret {name}"))?;
        let data: BTreeMap<String, String> = serde_json::from_value(secret["data"].clone()).unwrap_or_default();
        for (key, encoded) in data {
            let yaml = STANDARD.decode(encoded).with_context(|| format!("could not decode {key} of secret {name}"))?;
            let yaml = String::from_utf8(yaml)?;
            // A document for each object; what begins a line this way is in none of our texts.
            for document in yaml.split("\n---\n").map(|text| text.trim_start_matches("---\n")) {
                let object: Value = serde_saphyr::from_str(document)
                    .with_context(|| format!("could not decode {key} of secret {name}"))?;
                all.extend((!object.is_null()).then_some(object));
            }
        }
    }
    Ok(all)
}

/// Labels and annotations that every applied object gets.
fn inject(object: &mut Value, resource: &Value) {
    let labels = BTreeMap::<String, String>::deserialize(&resource["spec"]["injectLabels"]).unwrap_or_default();
    let origin = format!("{}/{}", text(resource, "/metadata/namespace"), text(resource, "/metadata/name"));
    for (key, value) in &labels {
        object["metadata"]["labels"][key] = json!(value);
        if object["spec"]["template"].is_object() {
            object["spec"]["template"]["metadata"]["labels"][key] = json!(value);
        }
    }
    object["metadata"]["labels"]["resources.gardener.cloud/managed-by"] = json!("gardener");
    object["metadata"]["annotations"]["resources.gardener.cloud/origin"] = json!(origin);
}

fn reference(object: &Value) -> Value {
    json!({
        "apiVersion": object["apiVersion"], "kind": object["kind"],
        "name": object["metadata"]["name"], "namespace": text(object, "/metadata/namespace"),
    })
}

fn is_same_object(one: &Value, other: &Value) -> bool {
    ["apiVersion", "kind", "name", "namespace"].iter().all(|member| one[member] == other[member])
}

fn describe(object: &Value) -> String {
    let metadata = |member| text(object, member);
    format!("{}/{}/{}", text(object, "/kind"), metadata("/metadata/namespace"), metadata("/metadata/name"))
}

/// Group and plural of a reference.
fn place(known: &Value) -> (String, String) {
    let group = text(known, "/apiVersion").split_once('/').map_or("", |(group, _)| group);
    let kind = text(known, "/kind").to_lowercase();
    let plural = if kind.ends_with('y') { format!("{}ies", kind.trim_end_matches('y')) } else { format!("{kind}s") };
    (group.to_owned(), plural)
}

fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
    json!({ "type": kind, "status": status, "reason": reason, "message": message })
}

/// Writes conditions, and what else is given, where anything differs from what is there.
fn write_status(seed: &Store, resource: &Value, conditions: &[Value], more: Option<Value>) -> anyhow::Result<Value> {
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let mut all = resource["status"]["conditions"].as_array().cloned().unwrap_or_default();
    for condition in conditions {
        let mut condition = condition.clone();
        let known = all.iter_mut().find(|known| known["type"] == condition["type"]);
        let member = |name: &str| known.as_ref().map(|known| known[name].clone());
        let is_same =
            ["status", "reason", "message"].iter().all(|name| member(name).as_ref() == Some(&condition[name]));
        if is_same {
            continue;
        }
        let turned = member("status").as_ref() != Some(&condition["status"]);
        let transition = if turned { json!(now) } else { member("lastTransitionTime").unwrap_or_else(|| json!(now)) };
        condition["lastTransitionTime"] = transition;
        condition["lastUpdateTime"] = json!(now);
        match known {
            Some(known) => *known = condition,
            None => all.push(condition),
        }
    }
    let mut status = json!({ "conditions": all });
    if let (Some(Value::Object(more)), Some(members)) = (more, status.as_object_mut()) {
        members.extend(more);
    }
    let (name, namespace) = (text(resource, "/metadata/name"), text(resource, "/metadata/namespace"));
    let writer = Writer::named(MANAGER).status();
    Ok(seed.merge(GROUP, PLURAL, namespace, name, &json!({ "status": status }), &writer)?)
}
