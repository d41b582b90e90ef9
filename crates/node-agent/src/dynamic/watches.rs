//! What the API server tells, as complete lists that are kept up to date.

use std::collections::BTreeMap;
use std::fmt::Debug;

use dynamic_config::{Adjustment, Data};
use extension_config::names;
use futures::stream::LocalBoxStream;
use futures::{Stream, StreamExt, stream};
use k8s_openapi::api::core::v1::{ConfigMap, Node};
use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use kube::core::PartialObjectMeta;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt};
use observability::ErrorChain;

use super::Input;

/// Watches what matters to this node. A watch that is lost is opened again; what it showed last stays true until then.
pub(crate) fn watches(client: &Client, node: &str) -> LocalBoxStream<'static, Input> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), names::SHOOT_NAMESPACE);
    let ours = watcher::Config::default().labels(&format!("app.kubernetes.io/name={}", names::NODE_AGENT));
    let maps = listed("ConfigMaps", watcher(maps, ours)).filter_map(async |change| match change {
        Listed::All(all) | Listed::Changed(all, _) => Some(Input::Maps(contents(&all))),
    });

    let nodes: Api<PartialObjectMeta<Node>> = Api::all(client.clone());
    let own = watcher::Config::default().fields(&format!("metadata.name={node}"));
    let name = node.to_owned();
    let groups = listed("the node", watcher(nodes, own)).filter_map(move |change| {
        let (Listed::All(all) | Listed::Changed(all, _)) = change;
        // A Node that is not there (yet) has no labels that could be known.
        let input = all.get(&name).map(|node| Input::Group(node.labels().get(names::NODE_GROUP_LABEL).cloned()));
        async { input }
    });

    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk(
        names::ADJUSTMENT_GROUP,
        names::ADJUSTMENT_VERSION,
        names::ADJUSTMENT_KIND,
    ));
    let adjustments: Api<DynamicObject> = Api::namespaced_with(client.clone(), names::SHOOT_NAMESPACE, &kind);
    let name = node.to_owned();
    let adjustments = listed("Adjustments", watcher(adjustments, watcher::Config::default())).map(move |change| {
        let read = |object: &DynamicObject| Adjustment::of(&serde_json::json!(object), &name);
        match change {
            Listed::All(all) => {
                Input::Adjustments(all.iter().map(|(name, object)| (name.clone(), read(object))).collect())
            }
            Listed::Changed(all, changed) => {
                let now = all.get(&changed).map(read);
                Input::Adjustment(changed, now)
            }
        }
    });
    stream::select_all([maps.boxed_local(), groups.boxed_local(), adjustments.boxed_local()]).boxed_local()
}

/// Dynamic configurations by name; the desired state carries the same label.
fn contents(all: &BTreeMap<String, ConfigMap>) -> BTreeMap<String, Data> {
    all.iter()
        .filter(|(name, _)| name.starts_with(names::DYNAMIC_CONFIG_MAP_PREFIX))
        .map(|(name, map)| (name.clone(), map.data.clone().unwrap_or_default()))
        .collect()
}

/// A change of a list that is complete.
enum Listed<K> {
    /// The first complete list, or a new one after a lost watch.
    All(BTreeMap<String, K>),
    /// The list after a change, and the name that changed.
    Changed(BTreeMap<String, K>, String),
}

/// Turns a watch into complete lists: nothing before the first one is complete, and an error changes nothing.
fn listed<K>(
    what: &'static str,
    events: impl Stream<Item = Result<Event<K>, watcher::Error>> + 'static,
) -> impl Stream<Item = Listed<K>>
where
    K: kube::Resource + Clone + Debug + 'static,
{
    let mut known: BTreeMap<String, K> = BTreeMap::new();
    let mut coming: BTreeMap<String, K> = BTreeMap::new();
    let mut told = String::new();
    events.default_backoff().filter_map(move |event| {
        let change = match event {
            Ok(event) => {
                told.clear();
                follow(&mut known, &mut coming, event)
            }
            Err(error) => {
                let error = ErrorChain(&error).to_string();
                // The same error comes again with every try.
                if error != told {
                    tracing::warn!(%error, "{what} cannot be watched");
                    told = error;
                }
                None
            }
        };
        async { change }
    })
}

fn follow<K: kube::Resource + Clone>(
    known: &mut BTreeMap<String, K>,
    coming: &mut BTreeMap<String, K>,
    event: Event<K>,
) -> Option<Listed<K>> {
    match event {
        Event::Init => coming.clear(),
        Event::InitApply(object) => drop(coming.insert(object.name_any(), object)),
        Event::InitDone => {
            *known = std::mem::take(coming);
            return Some(Listed::All(known.clone()));
        }
        Event::Apply(object) => {
            let name = object.name_any();
            known.insert(name.clone(), object);
            return Some(Listed::Changed(known.clone(), name));
        }
        Event::Delete(object) => {
            let name = object.name_any();
            known.remove(&name);
            return Some(Listed::Changed(known.clone(), name));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{Listed, contents, follow};
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::runtime::watcher::Event;
    use std::collections::BTreeMap;

    fn map(name: &str, text: &str) -> ConfigMap {
        let mut map = ConfigMap { data: Some([("policy".to_owned(), text.to_owned())].into()), ..ConfigMap::default() };
        map.metadata.name = Some(name.to_owned());
        map
    }

    /// Defects a and d of the Go agent: something before the first list is complete, and events of an earlier watch that count for a later one.
    #[test]
    fn only_complete_lists_are_shown() {
        let (mut known, mut coming) = (BTreeMap::new(), BTreeMap::new());
        let mut shown = Vec::new();
        for event in [
            Event::Init,
            Event::InitApply(map("cri-resmgr-config.default", "a")),
            Event::InitApply(map("cri-resmgr-desired-state-1", "x")),
            Event::InitDone,
            Event::Apply(map("cri-resmgr-config.node.n", "b")),
            // The watch was lost: what it showed stays until the new list is complete, and then the new list alone counts.
            Event::Init,
            Event::InitApply(map("cri-resmgr-config.group.g", "c")),
            Event::InitDone,
            Event::Delete(map("cri-resmgr-config.group.g", "c")),
        ] {
            if let Some(Listed::All(all) | Listed::Changed(all, _)) = follow(&mut known, &mut coming, event) {
                shown.push(contents(&all).into_keys().collect::<Vec<_>>().join(" "));
            }
        }
        let wanted = [
            "cri-resmgr-config.default",
            "cri-resmgr-config.default cri-resmgr-config.node.n",
            "cri-resmgr-config.group.g",
            "",
        ];
        assert_eq!(shown, wanted);
    }
}
