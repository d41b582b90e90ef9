//! `status --watch`: the facts are kept up to date by watches, and shown again when something has changed.

use std::collections::BTreeMap;

use extension_config::names;
use futures::{Stream, StreamExt as _, stream};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::Api;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher;
use kube::runtime::watcher::{Config, Event};

use crate::facts::{self, Facts, NodeFact, PodFact, ReportFact};
use crate::limits;
use crate::shoot::Shoot;

/// What a watch has reported.
#[derive(Debug)]
enum Change {
    Node(Event<(String, NodeFact)>),
    /// The largest by far.
    Report(Box<Event<(String, ReportFact)>>),
    Pod(Event<(String, PodFact)>),
    Failed(String),
}

/// Objects of one kind, by node. After a watch has broken off they are gathered anew beside those that are shown.
#[derive(Debug)]
struct Stored<T> {
    shown: BTreeMap<String, T>,
    coming: BTreeMap<String, T>,
}

impl<T> Default for Stored<T> {
    fn default() -> Self {
        Self { shown: BTreeMap::new(), coming: BTreeMap::new() }
    }
}

impl<T: PartialEq> Stored<T> {
    /// Whether something else is to be shown now. `same`: whether what is deleted is what is shown.
    fn apply(&mut self, event: Event<(String, T)>, same: impl Fn(&T, &T) -> bool) -> bool {
        match event {
            Event::Init => self.coming.clear(),
            Event::InitApply((name, value)) => {
                if self.coming.len() < limits::OBJECTS {
                    self.coming.insert(name, value);
                }
            }
            Event::InitDone => {
                let coming = std::mem::take(&mut self.coming);
                let is_other = coming != self.shown;
                self.shown = coming;
                return is_other;
            }
            Event::Apply((name, value)) => {
                let is_room = self.shown.len() < limits::OBJECTS || self.shown.contains_key(&name);
                if is_room && self.shown.get(&name) != Some(&value) {
                    self.shown.insert(name, value);
                    return true;
                }
            }
            Event::Delete((name, value)) => {
                if self.shown.get(&name).is_some_and(|shown| same(shown, &value)) {
                    self.shown.remove(&name);
                    return true;
                }
            }
        }
        false
    }
}

/// The facts of a shoot, kept.
#[derive(Debug, Default)]
struct StoredFacts {
    nodes: Stored<NodeFact>,
    reports: Stored<ReportFact>,
    pods: Stored<PodFact>,
    trouble: Option<String>,
}

impl StoredFacts {
    fn apply(&mut self, change: Change) -> bool {
        let changed = match change {
            Change::Node(event) => self.nodes.apply(event, |_, _| true),
            Change::Report(event) => self.reports.apply(*event, |_, _| true),
            // The pod before an update goes after its successor has come.
            Change::Pod(event) => self.pods.apply(event, |shown, gone| shown.name == gone.name),
            Change::Failed(why) => {
                let why = Some(why);
                let is_new = self.trouble != why;
                self.trouble = why;
                return is_new;
            }
        };
        if changed {
            self.trouble = None;
        }
        changed
    }
}

/// Shows the facts, then again whenever they have changed, until `show` says that this is enough or fails.
pub(crate) async fn watch(shoot: &Shoot, mut show: impl FnMut(&Facts) -> anyhow::Result<()>) -> anyhow::Result<()> {
    // The first picture by a list, which says what is refused; a watch would only try again.
    let mut facts = shoot.facts().await?;
    let mut stored = StoredFacts::default();
    stored.nodes.shown = std::mem::take(&mut facts.nodes);
    stored.reports.shown = std::mem::take(&mut facts.reports);
    let has_pods = facts.pods.is_some();
    stored.pods.shown = facts.pods.take().unwrap_or_default();
    let mut changes = std::pin::pin!(changes(shoot, has_pods));
    loop {
        facts.nodes.clone_from(&stored.nodes.shown);
        facts.reports.clone_from(&stored.reports.shown);
        facts.pods = has_pods.then(|| stored.pods.shown.clone());
        facts.notes.extend(stored.trouble.clone());
        show(&facts)?;
        next(&mut stored, changes.as_mut()).await;
        facts.notes.clear();
        shoot.look_at_the_rest(&mut facts).await;
    }
}

/// Waits until there is something new to be shown, or the time for it has come.
async fn next(stored: &mut StoredFacts, mut changes: std::pin::Pin<&mut impl Stream<Item = Change>>) {
    let wait = async {
        // Others that come in the meantime are shown with it.
        let mut due = None;
        loop {
            let change = match due {
                None => changes.next().await,
                Some(due) => match tokio::time::timeout_at(due, changes.next()).await {
                    Ok(change) => change,
                    Err(_elapsed) => return,
                },
            };
            let Some(change) = change else { return };
            if stored.apply(change) && due.is_none() {
                due = Some(tokio::time::Instant::now() + limits::REDRAW);
            }
        }
    };
    drop(tokio::time::timeout(limits::REFRESH, wait).await);
}

fn changes(shoot: &Shoot, has_pods: bool) -> impl Stream<Item = Change> {
    let client = shoot.client();
    let ours = || {
        let label = format!("{}={}", names::NODE_AGENT_LABEL, names::NODE_AGENT);
        Config::default().labels(&label).page_size(limits::PAGE)
    };
    let nodes: Api<PartialObjectMeta<Node>> = Api::all(client.clone());
    let leases: Api<PartialObjectMeta<Lease>> = Api::namespaced(client.clone(), names::SHOOT_NAMESPACE);
    let pods: Api<Pod> = Api::namespaced(client.clone(), names::SHOOT_NAMESPACE);
    let nodes = watcher(nodes, Config::default().page_size(limits::PAGE)).filter_map(|event| async move {
        match event {
            Ok(event) => event_of(event, |node| facts::node(node.metadata)).map(Change::Node),
            Err(error) => Some(failed("Nodes", &error).await),
        }
    });
    let reports = watcher(leases, ours()).filter_map(|event| async move {
        match event {
            Ok(event) => {
                event_of(event, |lease| facts::report(&lease.metadata)).map(|event| Change::Report(Box::new(event)))
            }
            Err(error) => Some(failed("node reports", &error).await),
        }
    });
    let pods = watcher(pods, ours()).filter_map(|event| async move {
        match event {
            Ok(event) => event_of(event, facts::pod).and_then(of_staying).map(Change::Pod),
            Err(error) => Some(failed("pods", &error).await),
        }
    });
    let pods = if has_pods { pods.right_stream() } else { stream::pending().left_stream() };
    stream::select(stream::select(nodes.boxed(), reports.boxed()), pods.boxed())
}

/// A watch that fails is tried again at once by itself; a refusal lasts.
async fn failed(what: &str, error: &watcher::Error) -> Change {
    tokio::time::sleep(limits::REDRAW).await;
    Change::Failed(format!("the watch of {what} has failed and is tried again: {error}"))
}

/// The event about what an object says; none about an object that says nothing.
fn event_of<K, T>(event: Event<K>, of: impl Fn(K) -> Option<T>) -> Option<Event<T>> {
    Some(match event {
        Event::Init => Event::Init,
        Event::InitDone => Event::InitDone,
        Event::InitApply(object) => Event::InitApply(of(object)?),
        Event::Apply(object) => Event::Apply(of(object)?),
        Event::Delete(object) => Event::Delete(of(object)?),
    })
}

/// A pod that is on its way out counts as gone.
fn of_staying(event: Event<(String, PodFact)>) -> Option<Event<(String, PodFact)>> {
    match event {
        Event::InitApply((_, pod)) if pod.is_leaving => None,
        Event::Apply((node, pod)) if pod.is_leaving => Some(Event::Delete((node, pod))),
        event => Some(event),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_follows_the_watch() {
        let mut stored = Stored::<u8>::default();
        let same = |_: &u8, _: &u8| true;
        let at = |name: &str, value| (name.to_owned(), value);
        assert!(stored.apply(Event::Apply(at("a", 1)), same));
        assert!(!stored.apply(Event::Apply(at("a", 1)), same), "nothing new");
        assert!(!stored.apply(Event::Init, same) && !stored.apply(Event::InitApply(at("b", 2)), same));
        assert_eq!(stored.shown.len(), 1, "what is known is shown until all is known anew");
        assert!(stored.apply(Event::InitDone, same));
        assert_eq!(stored.shown.keys().collect::<Vec<_>>(), ["b"]);
        assert!(!stored.apply(Event::Delete(at("b", 3)), |shown, gone| shown == gone), "its successor is there");
        assert!(stored.apply(Event::Delete(at("b", 2)), |shown, gone| shown == gone));
    }

    #[test]
    fn a_broken_watch_is_reported_once_and_forgotten_with_the_next_change() {
        let mut stored = StoredFacts::default();
        assert!(stored.apply(Change::Failed("x".into())) && !stored.apply(Change::Failed("x".into())));
        assert!(stored.apply(Change::Node(Event::Apply(("n".into(), NodeFact::default())))));
        assert_eq!(stored.trouble, None);
    }
}
