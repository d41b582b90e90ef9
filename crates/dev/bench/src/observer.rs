//! Who watches the Extensions, and says when each of them is as gardenlet waits for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::bail;
use extension_config::names;
use futures::StreamExt as _;
use jiff::Timestamp;
use kube::Client;
use kube::api::DynamicObject;
use kube::runtime::watcher;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::kinds::Kind;

/// Nothing more happens for so long: it hangs.
const STANDSTILL: Duration = Duration::from_secs(120);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Asked for at this time or later, and not yet ready.
    Pending(Timestamp),
    Ready(Instant),
    Gone(Instant),
}

#[derive(Debug, Default)]
struct Observed {
    states: HashMap<String, State>,
    changed: Arc<Notify>,
}

/// It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Observer {
    seen: Arc<Mutex<Observed>>,
    changed: Arc<Notify>,
    task: AbortHandle,
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Observer {
    pub(crate) fn start(client: &Client) -> Self {
        let seen = Arc::<Mutex<Observed>>::default();
        let changed = Arc::clone(&lock(&seen).changed);
        let config = watcher::Config::default().fields(&format!("metadata.name={}", names::EXTENSION_TYPE));
        let events = watcher(Kind::Extension.all(client), config);
        let shared = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            let mut events = std::pin::pin!(events);
            while let Some(event) = events.next().await {
                match event {
                    Ok(watcher::Event::Apply(object) | watcher::Event::InitApply(object)) => {
                        note(&shared, &object, false);
                    }
                    Ok(watcher::Event::Delete(object)) => note(&shared, &object, true),
                    Ok(_) | Err(_) => {}
                }
            }
        });
        Self { seen, changed, task: task.abort_handle() }
    }

    /// What was asked for before now does not count for these.
    pub(crate) fn expect(&self, namespaces: &[String]) {
        let (mut seen, now) = (lock(&self.seen), Timestamp::now());
        seen.states.extend(namespaces.iter().map(|namespace| (namespace.clone(), State::Pending(now))));
    }

    /// Waits until all are ready, and says when each was.
    pub(crate) async fn ready(&self, namespaces: &[String]) -> anyhow::Result<Vec<Instant>> {
        self.all(namespaces, |state| if let State::Ready(at) = state { Some(at) } else { None }).await
    }

    /// Waits until all are gone, and says when each was.
    pub(crate) async fn gone(&self, namespaces: &[String]) -> anyhow::Result<Vec<Instant>> {
        self.all(namespaces, |state| if let State::Gone(at) = state { Some(at) } else { None }).await
    }

    async fn all(
        &self,
        namespaces: &[String],
        done: impl Fn(State) -> Option<Instant>,
    ) -> anyhow::Result<Vec<Instant>> {
        let (mut most, mut progress) = (0, Instant::now());
        loop {
            let changed = self.changed.notified();
            let times: Vec<Instant> = {
                let seen = lock(&self.seen);
                namespaces.iter().filter_map(|name| done(*seen.states.get(name)?)).collect()
            };
            if times.len() == namespaces.len() {
                return Ok(times);
            }
            if times.len() > most {
                (most, progress) = (times.len(), Instant::now());
            }
            if progress.elapsed() > STANDSTILL {
                bail!(
                    "{most} of {} are done, and nothing has happened for {} s",
                    namespaces.len(),
                    STANDSTILL.as_secs()
                );
            }
            // A walk over all of them for each event would be most of the load.
            tokio::time::sleep(Duration::from_millis(if namespaces.len() > 1 { 20 } else { 0 })).await;
            drop(tokio::time::timeout(Duration::from_secs(1), changed).await);
        }
    }
}

fn lock(seen: &Mutex<Observed>) -> MutexGuard<'_, Observed> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

fn note(seen: &Mutex<Observed>, object: &DynamicObject, gone: bool) {
    let Some(namespace) = &object.metadata.namespace else { return };
    let mut seen = lock(seen);
    let Some(state) = seen.states.get_mut(namespace) else { return };
    let now = Instant::now();
    *state = match *state {
        _ if gone => State::Gone(now),
        State::Pending(since) if is_ready(object, since) => State::Ready(now),
        _ => return,
    };
    seen.changed.notify_waiters();
}

/// As gardenlet judges it: the request's annotation goes before Succeeded comes, so that Succeeded is of this request.
fn is_ready(object: &DynamicObject, since: Timestamp) -> bool {
    let annotation = |name: &str| object.metadata.annotations.as_ref().and_then(|all| all.get(name));
    let asked: Option<Timestamp> = annotation("gardener.cloud/timestamp").and_then(|text| text.parse().ok());
    let status = &object.data["status"];
    asked.is_some_and(|asked| asked >= since)
        && annotation("gardener.cloud/operation").is_none()
        && status["lastOperation"]["state"] == "Succeeded"
        && status["lastError"].is_null()
        && status["observedGeneration"].as_i64() == object.metadata.generation
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn extension_is_ready_when_the_request_that_is_meant_has_succeeded() {
        let object = |asked: &str, annotation: serde_json::Value, state: &str, observed: i64| -> DynamicObject {
            let annotations = json!({ "gardener.cloud/timestamp": asked, "gardener.cloud/operation": annotation });
            let annotations: HashMap<String, String> = annotations
                .as_object()
                .into_iter()
                .flatten()
                .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
                .collect();
            let status = json!({ "lastOperation": { "state": state }, "observedGeneration": observed });
            serde_json::from_value(json!({
                "apiVersion": "extensions.gardener.cloud/v1alpha1", "kind": "Extension",
                "metadata": { "name": "e", "generation": 2, "annotations": annotations }, "status": status,
            }))
            .expect("an object")
        };
        let since = "2026-01-01T00:00:01Z".parse().expect("a time");
        let none = serde_json::Value::Null;
        for (asked, annotation, state, observed, ready) in [
            ("2026-01-01T00:00:01Z", none.clone(), "Succeeded", 2, true),
            ("2026-01-01T00:00:00Z", none.clone(), "Succeeded", 2, false),
            ("2026-01-01T00:00:01Z", json!("reconcile"), "Succeeded", 2, false),
            ("2026-01-01T00:00:01Z", none.clone(), "Processing", 2, false),
            ("2026-01-01T00:00:01Z", none, "Succeeded", 1, false),
        ] {
            assert_eq!(
                is_ready(&object(asked, annotation, state, observed), since),
                ready,
                "{asked} {state} {observed}"
            );
        }
    }
}
