//! The API server's objects, as complete lists that are kept up to date.

mod bounded;
mod configurations;
mod lean;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use dynamic_config::{Adjustment, Data};
use extension_config::{cri_resmgr, names};
use futures::stream::LocalBoxStream;
use futures::{Stream, StreamExt, stream};
use kube::runtime::WatchStreamExt;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt};
use observability::ErrorChain;

use super::Input;
use configurations::{Configurations, Contents};
use lean::{Adjusting, CONFIGURATION_LIMIT, Configuration, OwnNode, POLICY_LIMIT, Texts};

/// Most Adjustments that are read; the rest is logged and left out.
const ADJUSTMENTS: usize = 500;
/// What the specifications of all Adjustments may take together, bytes in memory. They are held several times: as they came, for the daemon, and as its
/// text.
const ADJUSTMENTS_BYTES: usize = 4 << 20;
/// Adjustments in one answer of the API server: the status of each may take 8 MiB.
const PAGE: u32 = 2;
/// Label of the ConfigMaps of which every fault is reported, with [`names::NODE_AGENT`].
const LABEL: &str = names::NODE_AGENT_LABEL;

/// Key in place of the texts of a policy's ConfigMap that is too long; no ConfigMap has such a key.
pub(crate) const TOO_LONG: &str = "too long";

/// Watches what matters to this node. A watch that is lost is opened again; what it showed last stays true until then.
pub(crate) fn watches(client: &Client, node: &str) -> LocalBoxStream<'static, Input> {
    let maps = client.clone();
    let groups = groups(client, node, names::NODE_GROUP_LABEL);
    let watch = move |name: &str| configuration(&maps, name, content);
    let configurations = Configurations::new(names::DYNAMIC_CONFIG_MAP_PREFIX, node, groups, watch);
    stream::select_all([inputs(configurations), adjustments(client, node)]).boxed_local()
}

/// Watches the policies for nri-plugins that can be this node's, likewise.
pub(crate) fn policy_watches(client: &Client, node: &str) -> LocalBoxStream<'static, Input> {
    let maps = client.clone();
    let groups = groups(client, node, names::NRI_GROUP_LABEL);
    let watch = move |name: &str| configuration(&maps, name, policy);
    inputs(Configurations::new(names::POLICY_CONFIG_MAP_PREFIX, node, groups, watch))
}

fn inputs(configurations: Configurations) -> LocalBoxStream<'static, Input> {
    stream::unfold(configurations, async |mut all| Some((all.next().await, all))).boxed_local()
}

/// The group in this label of our Node.
fn groups(client: &Client, node: &str, label: &'static str) -> LocalBoxStream<'static, Option<String>> {
    let nodes: Api<OwnNode> = Api::all(client.clone());
    let group = move |node: OwnNode| Some((node.labels().get(label).cloned(), 0));
    let name = node.to_owned();
    let groups = listed("the node", Most::ONE, watcher(nodes, only(node)), group);
    let known = groups.filter_map(move |change| {
        let (Listed::All(all) | Listed::Changed(all, _)) = change;
        // A Node that is not there (yet) has no labels that could be known.
        let group = all.get(&name).cloned();
        async { group }
    });
    known.boxed_local()
}

/// What `read` makes of the ConfigMap of this name.
fn configuration(client: &Client, name: &str, read: fn(Configuration) -> Option<Data>) -> Contents {
    let maps: Api<Configuration> = Api::namespaced(client.clone(), names::SHOOT_NAMESPACE);
    let changes = listed("a ConfigMap", Most::ONE, watcher(maps, only(name)), move |map| Some((read(map)?, 0)));
    let name = name.to_owned();
    let contents = changes.map(move |change| {
        let (Listed::All(mut all) | Listed::Changed(mut all, _)) = change;
        all.remove(&name)
    });
    contents.boxed_local()
}

fn only(name: &str) -> watcher::Config {
    watcher::Config::default().fields(&format!("metadata.name={name}"))
}

/// The texts of a ConfigMap that counts. In place of those that are too long stands a key that no daemon has: so it is refused by name, reported like
/// every other mistake, and what runs goes on.
///
/// One without our label, as the original's users have them, counts as well: whoever may write it may label it. But one that is not valid may have
/// lain there unread for long, and makes no node faulty.
fn content(map: Configuration) -> Option<Data> {
    let is_labelled = map.labels().get(LABEL).is_some_and(|name| name == names::NODE_AGENT);
    let name = map.name_any();
    let passed_over = |why: String| {
        tracing::warn!(
            name,
            "skipped a ConfigMap that is invalid and lacks the label {LABEL}={}; fix it, or label it to have its problems reported: {why}",
            names::NODE_AGENT
        );
        None
    };
    Some(match map.data.at_most(CONFIGURATION_LIMIT) {
        Texts::Whole(data) if is_labelled => data,
        Texts::Whole(data) => match cri_resmgr::check_modules(&data) {
            Ok(_) => data,
            Err(findings) => {
                return passed_over(
                    findings.into_iter().map(|finding| finding.path).take(5).collect::<Vec<_>>().join(", "),
                );
            }
        },
        Texts::TooLong(bytes) if !is_labelled => {
            return passed_over(format!("{bytes} bytes, at most {CONFIGURATION_LIMIT} are read"));
        }
        Texts::TooLong(bytes) => {
            let key = format!("its length, {bytes} bytes (at most {CONFIGURATION_LIMIT} are read)");
            Data::from([(key, "refused".to_owned())])
        }
    })
}

/// The texts of a policy's ConfigMap. Who wrote it does not matter: there are none from before this extension.
#[expect(clippy::unnecessary_wraps, reason = "as the reader of dynamic configurations, which skips some")]
fn policy(map: Configuration) -> Option<Data> {
    Some(match map.data.at_most(POLICY_LIMIT) {
        Texts::Whole(data) => data,
        Texts::TooLong(bytes) => {
            Data::from([(TOO_LONG.to_owned(), format!("has {bytes} bytes, at most {POLICY_LIMIT} are read"))])
        }
    })
}

fn adjustments(client: &Client, node: &str) -> LocalBoxStream<'static, Input> {
    let adjustments: Api<Adjusting> = Api::namespaced(client.clone(), names::SHOOT_NAMESPACE);
    let name = node.to_owned();
    let read = move |object: Adjusting| adjustment(object, &name);
    let most = Most { count: ADJUSTMENTS, bytes: ADJUSTMENTS_BYTES };
    let config = watcher::Config::default().page_size(PAGE);
    let inputs = listed("Adjustments", most, watcher(adjustments, config), read).map(|change| match change {
        Listed::All(all) => Input::Adjustments(all),
        Listed::Changed(mut all, changed) => {
            let now = all.remove(&changed);
            Input::Adjustment(changed, now)
        }
    });
    inputs.boxed_local()
}

fn adjustment(object: Adjusting, node: &str) -> Option<(Adjustment, usize)> {
    let name = object.name_any();
    let bytes = object.spec.bytes;
    let Some(spec) = object.spec.value else {
        tracing::warn!(adjustment = name, "skipped an Adjustment whose specification is too long or too deep");
        return None;
    };
    // Where the status cannot be read, our entry in it is written anew.
    let status = object.status.value.unwrap_or_default();
    let created = object.metadata.creation_timestamp;
    let metadata = serde_json::json!({ "creationTimestamp": created });
    let read = Adjustment::of(&serde_json::json!({ "metadata": metadata, "spec": spec, "status": status }), node);
    Some((read, bytes))
}

/// How much of a list is read.
#[derive(Clone, Copy)]
struct Most {
    count: usize,
    /// Of all objects together.
    bytes: usize,
}

impl Most {
    /// The one object that is asked for by name.
    const ONE: Self = Self { count: 1, bytes: usize::MAX };
}

/// A change of a list that is complete.
enum Listed<K> {
    /// The first complete list, or a new one after a lost watch.
    All(BTreeMap<String, K>),
    /// The list after a change, and the name that changed.
    Changed(BTreeMap<String, K>, String),
}

/// kube's back-off (0.8 s to 30 s, each longer by chance), but every try to list begins with an event that says nothing of its success, and would reset
/// it: only two minutes without an error do.
#[derive(Default)]
struct Patient(watcher::DefaultBackoff);

impl Iterator for Patient {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.0.next()
    }
}

impl Backoff for Patient {
    fn reset(&mut self) {}
}

/// Turns a watch into complete lists: nothing before the first one is complete, and an error changes nothing.
///
/// Of each object only what `read` makes of it is kept, with the bytes that it takes, and nothing at all where it makes nothing of it; of more than
/// `most` none.
fn listed<K, V>(
    what: &'static str,
    most: Most,
    events: impl Stream<Item = Result<Event<K>, watcher::Error>> + 'static,
    read: impl Fn(K) -> Option<(V, usize)> + 'static,
) -> impl Stream<Item = Listed<V>>
where
    K: kube::Resource + Clone + Debug + 'static,
    V: Clone + 'static,
{
    let mut known = BTreeMap::new();
    let mut coming = BTreeMap::new();
    let mut reported = String::new();
    events.backoff(Patient::default()).filter_map(move |event| {
        let change = match event {
            Ok(event) => {
                // Every try to list begins with these, good or bad.
                let is_try = matches!(event, Event::Init | Event::InitApply(_));
                if !is_try && !std::mem::take(&mut reported).is_empty() {
                    tracing::info!("resumed watching {what}");
                }
                follow(&mut known, &mut coming, event, |all, object| take(what, most, all, object, &read))
            }
            Err(error) => {
                let error = ErrorChain(&error).to_string();
                // The same error comes again with every try.
                if error != reported {
                    tracing::warn!(%error, "failed to watch {what}");
                    reported = error;
                }
                None
            }
        };
        async { change }
    })
}

/// Puts an object into a list, or takes it out where nothing is made of it any more.
fn take<K: kube::Resource, V>(
    what: &'static str,
    most: Most,
    all: &mut BTreeMap<String, (V, usize)>,
    object: K,
    read: impl Fn(K) -> Option<(V, usize)>,
) {
    let name = object.name_any();
    all.remove(&name);
    let Some((value, bytes)) = read(object) else { return };
    let held: usize = all.values().map(|(_, bytes)| bytes).sum();
    if all.len() >= most.count || bytes > most.bytes.saturating_sub(held) {
        let (most, bytes) = (most.count, most.bytes);
        tracing::warn!(name, most, bytes, "skipped one of {what}: there are more than are read");
        return;
    }
    all.insert(name, (value, bytes));
}

fn follow<K: kube::Resource, V: Clone>(
    known: &mut BTreeMap<String, (V, usize)>,
    coming: &mut BTreeMap<String, (V, usize)>,
    event: Event<K>,
    take: impl Fn(&mut BTreeMap<String, (V, usize)>, K),
) -> Option<Listed<V>> {
    let values = |all: &BTreeMap<String, (V, usize)>| {
        all.iter().map(|(name, (value, _))| (name.clone(), value.clone())).collect::<BTreeMap<_, _>>()
    };
    match event {
        Event::Init => coming.clear(),
        Event::InitApply(object) => take(coming, object),
        Event::InitDone => {
            *known = std::mem::take(coming);
            return Some(Listed::All(values(known)));
        }
        Event::Apply(object) => {
            let name = object.name_any();
            take(known, object);
            return Some(Listed::Changed(values(known), name));
        }
        Event::Delete(object) => {
            let name = object.name_any();
            known.remove(&name);
            return Some(Listed::Changed(values(known), name));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::lean::{Adjusting, Configuration};
    use super::{ADJUSTMENTS, ADJUSTMENTS_BYTES, Listed, Most, Patient, adjustment, content, follow, take};
    use extension_config::cri_resmgr;
    use kube::runtime::utils::Backoff;
    use kube::runtime::watcher::Event;
    use serde_json::json;
    use std::collections::BTreeMap;
    use std::time::Duration;

    fn map(name: &str, text: &str) -> Configuration {
        let labels = json!({"app.kubernetes.io/name": "cri-resmgr-node-agent"});
        let object = json!({"metadata": {"name": name, "labels": labels}, "data": {"policy": text}});
        serde_json::from_value(object).unwrap()
    }

    /// Defects a and d of the Go agent: something before the first list is complete, and events of an earlier watch that count for a later one.
    #[test]
    fn a_watch_shows_complete_lists_only() {
        let (mut known, mut coming) = (BTreeMap::new(), BTreeMap::new());
        let mut shown = Vec::new();
        let unlabelled = |policy: &str| {
            let mut map = map("a", &format!("Active: {policy}"));
            map.metadata.labels = None;
            map
        };
        for event in [
            Event::Init,
            Event::InitApply(map("a", "1")),
            Event::InitDone,
            Event::Apply(map("b", "2")),
            // The watch was lost: what it showed stays until the new list is complete, and then the new list alone counts.
            Event::Init,
            Event::InitApply(map("a", "3")),
            Event::InitDone,
            // Without the label it counts as long as it is valid.
            Event::Apply(unlabelled("none")),
            Event::Apply(unlabelled("nonsense")),
            Event::Apply(map("a", "4")),
            Event::Delete(map("a", "4")),
        ] {
            let take = |all: &mut _, object| {
                take("maps", Most { count: 9, bytes: 9 }, all, object, |map| Some((content(map)?, 0)));
            };
            if let Some(Listed::All(all) | Listed::Changed(all, _)) = follow(&mut known, &mut coming, event, take) {
                shown.push(all.into_iter().map(|(name, data)| name + &data["policy"]).collect::<Vec<_>>().join(" "));
            }
        }
        assert_eq!(shown, ["a1", "a1 b2", "a3", "aActive: none", "", "a4", ""]);
    }

    /// A kind that the API server does not know (yet): each try to list seems to begin well.
    #[test]
    fn a_watch_that_keeps_failing_is_retried_with_growing_delays() {
        let mut backoff = Patient::default();
        let waits: Vec<Duration> = std::iter::repeat_with(|| {
            backoff.reset();
            backoff.next().unwrap()
        })
        .take(20)
        .collect();
        assert!(waits[0] < Duration::from_secs(2), "{waits:?}");
        let late = Duration::from_secs(30)..=Duration::from_secs(60);
        assert!(waits[10..].iter().all(|wait| late.contains(wait)), "{waits:?}");
    }

    /// W12: it was parsed by every agent, and ended it.
    #[test]
    fn a_config_map_beyond_the_limit_is_refused_by_name_without_parsing() {
        let refused = content(map("cri-resmgr-config.default", &"- a\n".repeat(38_000))).unwrap();
        assert!(refused.iter().map(|(key, text)| key.len() + text.len()).sum::<usize>() < 200);
        let findings = cri_resmgr::check_modules(&refused).unwrap_err();
        assert!(findings.iter().any(|finding| finding.path.contains("152006 bytes")), "{findings:?}");
    }

    /// Field case A01: the sample of upstream, as the original's users have it.
    #[test]
    fn a_config_map_without_our_label_counts_if_it_is_valid() {
        let unlabelled = |text: &str| {
            let object = json!({"metadata": {"name": "cri-resmgr-config.default"}, "data": {"policy": text}});
            content(serde_json::from_value(object).unwrap())
        };
        let good = "Active: balloons\nReservedResources:\n  CPU: 750m\n";
        assert_eq!(unlabelled(good).unwrap()["policy"], good);
        for bad in ["Active: nonsense", "a: [", "", &"- a\n".repeat(38_000)] {
            assert_eq!(unlabelled(bad), None);
        }
        let mut other = map("a", "Active: none");
        other.metadata.labels = Some(BTreeMap::from([("app".to_owned(), "x".to_owned())]));
        assert!(content(other).is_some());
    }

    #[test]
    fn an_adjustment_that_cannot_be_read_does_not_affect_the_others() {
        let object = |name: &str, spec: &str| -> Adjusting {
            serde_json::from_str(&format!(r#"{{"metadata":{{"name":"{name}"}},"spec":{spec}}}"#)).unwrap()
        };
        let deep = format!("{{\"classes\":{}{}}}", "[".repeat(500), "]".repeat(500));
        let long = format!("{{\"classes\":[{}0]}}", "0,".repeat(50_000));
        let most = Most { count: ADJUSTMENTS, bytes: ADJUSTMENTS_BYTES };
        let mut all = BTreeMap::new();
        for object in [object("good", "{\"scope\":[]}"), object("deep", &deep), object("long", &long)] {
            take("Adjustments", most, &mut all, object, |object| adjustment(object, "n"));
        }
        assert_eq!(all.keys().collect::<Vec<_>>(), ["good"]);
        assert_eq!(all["good"].0.spec, json!({"scope": []}));
        for number in 0..2 * ADJUSTMENTS {
            let object = object(&format!("a{number}"), "{}");
            take("Adjustments", most, &mut all, object, |object| adjustment(object, "n"));
        }
        assert_eq!(all.len(), ADJUSTMENTS);
    }

    /// Few bytes of text that are many in memory, as many times as the API takes them.
    #[test]
    fn adjustments_beyond_the_common_memory_limit_are_left_out() {
        let object = |name: &str, spec: &str| -> Adjusting {
            serde_json::from_str(&format!(r#"{{"metadata":{{"name":"{name}"}},"spec":{spec}}}"#)).unwrap()
        };
        let maps = format!("{{\"classes\":[{}{{}}]}}", "{\"a\":{\"b\":0}},".repeat(160));
        let most = Most { count: ADJUSTMENTS, bytes: ADJUSTMENTS_BYTES };
        let mut all = BTreeMap::new();
        let mut put = |name: &str, spec: &str| {
            take("Adjustments", most, &mut all, object(name, spec), |object| adjustment(object, "n"));
            all.len()
        };
        put("good", "{\"scope\":[]}");
        for number in 0..2 * ADJUSTMENTS {
            put(&format!("a{number}"), &maps);
        }
        let held = put("other", "{}");
        assert!(held > 10 && held < ADJUSTMENTS / 10, "{held}");
        assert!(all.contains_key("good") && all.values().map(|(_, bytes)| bytes).sum::<usize>() <= ADJUSTMENTS_BYTES);
        // One that grows too large is no longer what it was.
        let long = format!("{{\"classes\":[{}0]}}", "0,".repeat(3000));
        take("Adjustments", most, &mut all, object("good", &long), |object| adjustment(object, "n"));
        assert!(!all.contains_key("good"));
    }
}
