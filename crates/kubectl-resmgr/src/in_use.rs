//! What a shoot runs with, for `convert --shoot`: the nodes' configuration, dynamic configurations, Adjustments, and annotations of the pods that run.

use std::collections::BTreeMap;

use anyhow::Context as _;
use extension_config::desired_state::{Backend, Daemon, DesiredState};
use extension_config::{ConfigKey, names};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use policy_convert::read::{Reading, read};
use serde_json::{Value, json};

use crate::limits;
use crate::shoot::Shoot;
use crate::text::clean;

/// Which annotations matter (cri-resource-manager v0.9.2, `pkg/cri/resource-manager/kubernetes`): all others stay where they are.
const SUFFIX: &str = "cri-resource-manager.intel.com";
/// What the webhook of cri-resmgr writes at pods.
const RESOURCES: &str = "intel.com/resources";

/// Reads it all. Nothing is written.
pub(crate) async fn of_shoot(shoot: &Shoot) -> anyhow::Result<Reading> {
    let mut reading = Reading::default();
    if let Some(text) = shoot.desired().await.context("read the desired state of the nodes")? {
        let daemon = of_nodes(&text);
        for (slot, document) in static_configurations(&daemon) {
            take("the nodes' desired state", document, &slot, &mut reading)?;
        }
        if !daemon.extra_options.is_empty() {
            reading.input.documents.insert(ConfigKey::ExtraOptions, Value::String(daemon.extra_options));
        }
    }
    // The first that cannot be read ends it; what is more than is converted is not kept.
    let mut taken = Ok(());
    shoot
        .each_map(|map| {
            if map.name.starts_with(names::DYNAMIC_CONFIG_MAP_PREFIX) && taken.is_ok() && has_room(&reading) {
                let metadata = json!({ "name": map.name, "namespace": names::SHOOT_NAMESPACE });
                let object = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": map.data });
                let place = format!("ConfigMap {}", clean(&map.name, limits::OBJECT_NAME));
                taken = take(&place, &object.to_string(), &ConfigKey::Default, &mut reading);
            }
        })
        .await
        .context("list ConfigMaps in kube-system")?;
    shoot
        .each_adjustment(|adjustment| {
            let name = adjustment["metadata"]["name"].as_str().unwrap_or_default();
            let place = format!("Adjustment {}", clean(name, limits::OBJECT_NAME));
            if taken.is_ok() && has_room(&reading) {
                taken = take(&place, &whole(&adjustment).to_string(), &ConfigKey::Default, &mut reading);
            }
        })
        .await
        .context("list Adjustments in kube-system")?;
    taken?;
    shoot
        .each_pod_anywhere(|pod| {
            if let Some((owner, annotations)) = of_pod(pod).filter(|_| has_room(&reading)) {
                reading.input.annotations.entry(owner).or_default().extend(annotations);
            }
        })
        .await
        .context("list pods")?;
    Ok(reading)
}

/// With one more than this many the conversion says that there is too much.
fn has_room(reading: &Reading) -> bool {
    let input = &reading.input;
    input.documents.len() + input.adjustments.len() + input.annotations.len() <= policy_convert::limits::DOCUMENTS
}

fn take(place: &str, text: &str, slot: &ConfigKey, reading: &mut Reading) -> anyhow::Result<()> {
    // The error names place, field and what is allowed.
    read(place, text, slot, reading).map_err(anyhow::Error::from)
}

/// The static configuration in the desired state of the nodes; nothing where they have another backend.
fn of_nodes(desired: &str) -> Daemon {
    match DesiredState::decode(desired) {
        Ok(DesiredState { backend: Backend::CriResmgr(daemon), .. }) => daemon,
        _ => Daemon::default(),
    }
}

fn static_configurations(daemon: &Daemon) -> impl Iterator<Item = (ConfigKey, &str)> {
    let all = [(ConfigKey::Fallback, &daemon.fallback_config), (ConfigKey::Force, &daemon.force_config)];
    all.into_iter().filter_map(|(slot, text)| Some((slot, text.as_deref()?)))
}

/// An object of a list has neither version nor kind of its own.
fn whole(adjustment: &Value) -> Value {
    json!({
        "apiVersion": format!("{}/{}", names::ADJUSTMENT_GROUP, names::ADJUSTMENT_VERSION),
        "kind": names::ADJUSTMENT_KIND,
        "metadata": {
            "name": adjustment["metadata"]["name"], "namespace": adjustment["metadata"]["namespace"],
        },
        "spec": adjustment["spec"],
    })
}

/// Who made a pod, and those of its annotations that cri-resmgr reads; `None` where there are none.
fn of_pod(pod: ObjectMeta) -> Option<(String, BTreeMap<String, String>)> {
    let mut annotations = pod.annotations.unwrap_or_default();
    annotations.retain(|key, _| key.contains(SUFFIX) || key == RESOURCES);
    if annotations.is_empty() {
        return None;
    }
    let owners = pod.owner_references.unwrap_or_default();
    let owner = owners.into_iter().find(|owner| owner.controller == Some(true));
    let (kind, name) = match owner {
        // The pods of one are alike; its Deployment has the name without the hash.
        Some(owner) => (owner.kind, owner.name),
        None => ("Pod".to_owned(), pod.name.unwrap_or_default()),
    };
    let namespace = pod.namespace.unwrap_or_default();
    Some((clean(&format!("{kind} {namespace}/{name}"), limits::SENTENCE), annotations))
}

#[cfg(test)]
mod tests {
    use extension_config::desired_state::{NriPlugins, Phase, Selection};

    use super::*;

    #[test]
    fn static_configurations_are_those_of_the_desired_state() {
        let daemon = Daemon { fallback_config: Some("{\"policy\":{}}".to_owned()), ..Daemon::default() };
        let mut state = DesiredState {
            phase: Phase::Install,
            selection: Selection::default(),
            backend: Backend::CriResmgr(daemon),
            handover: None,
        };
        let found = of_nodes(&state.encode().unwrap());
        assert_eq!(static_configurations(&found).collect::<Vec<_>>(), [(ConfigKey::Fallback, "{\"policy\":{}}")]);
        state.backend = Backend::NriPlugins(NriPlugins::default());
        for text in [state.encode().unwrap(), "{".to_owned()] {
            assert_eq!(of_nodes(&text), Daemon::default());
        }
    }

    #[test]
    fn pods_are_named_by_their_owner_and_only_with_what_cri_resmgr_reads() {
        let pod = |value: Value| -> ObjectMeta { serde_json::from_value(value).unwrap() };
        let class = "rdtclass.cri-resource-manager.intel.com/pod";
        let owner = json!([{ "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-1a2b", "uid": "u", "controller": true }]);
        let of = of_pod(pod(json!({
            "name": "web-1a2b-x", "namespace": "shop", "ownerReferences": owner, "annotations": { class: "gold", "other": "x" },
        })));
        assert_eq!(of, Some(("ReplicaSet shop/web-1a2b".to_owned(), [(class.to_owned(), "gold".to_owned())].into())));
        let alone = of_pod(pod(json!({ "name": "a", "namespace": "n", "annotations": { (RESOURCES): "{}" } })));
        assert_eq!(alone.unwrap().0, "Pod n/a");
        assert_eq!(of_pod(pod(json!({ "name": "a", "annotations": { "other": "x" } }))), None);
    }

    #[test]
    fn an_adjustment_of_a_list_is_read_as_one() {
        let item = json!({ "metadata": { "name": "quiet", "namespace": "kube-system", "uid": "u" }, "spec": { "classes": { "rdt": "gold" } } });
        let mut reading = Reading::default();
        take("x", &whole(&item).to_string(), &ConfigKey::Default, &mut reading).unwrap();
        assert_eq!(reading.input.adjustments.keys().collect::<Vec<_>>(), ["kube-system/quiet"]);
    }
}
