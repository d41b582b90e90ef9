//! In which shoots an agent has reported: what the roll-up has seen last, or, after a start of this process, what stands in the status.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::sync::mpsc;

/// Finished checks that were not followed up yet. What finds no room is followed up when the shoot is checked again.
const WAITING: usize = 1024;
/// Key of the providerStatus that the roll-up has (`gardener_extension::ObservationConfig`).
const KEY: &str = "nodes";

/// See the module. As many entries as shoots are checked: [`Reports::forget`].
#[derive(Debug)]
pub(crate) struct Reports {
    seen: Mutex<HashMap<String, bool>>,
    checked: mpsc::Sender<String>,
}

impl Reports {
    /// And where the namespaces come whose shoots were checked.
    pub(crate) fn new() -> (Self, mpsc::Receiver<String>) {
        let (checked, receiver) = mpsc::channel(WAITING);
        (Self { seen: Mutex::default(), checked }, receiver)
    }

    /// What a check of the nodes of a shoot came to, as it goes into the status.
    pub(crate) fn note(&self, namespace: &str, nodes: &Value) {
        if let Some(has_agents) = of(nodes) {
            self.lock().insert(namespace.to_owned(), has_agents);
            drop(self.checked.try_send(namespace.to_owned()));
        }
    }

    /// Whether agents have reported there; `None`: this process has not seen it.
    pub(crate) fn get(&self, namespace: &str) -> Option<bool> {
        self.lock().get(namespace).copied()
    }

    pub(crate) fn forget(&self, namespace: &str) {
        self.lock().remove(namespace);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, bool>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The same of a providerStatus.
pub(super) fn recorded(status: &Value) -> Option<bool> {
    of(status.get(KEY)?)
}

/// Nodes with a report. One without it may be in the making, or its agent may be unable to start. `None` where that is not known, or not any more.
fn of(nodes: &Value) -> Option<bool> {
    if !nodes["unknownSince"].is_null() {
        return None;
    }
    let count = nodes["count"].as_u64()?;
    Some(count > nodes["withoutReport"].as_u64().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn agents_are_there_where_one_has_reported() {
        let table = [
            (json!({}), None),
            (json!({"count": 0, "stages": {}}), Some(false)),
            (json!({"count": 2, "stages": {}, "withoutReport": 2}), Some(false)),
            (json!({"count": 2, "stages": {"Working": 1}, "withoutReport": 1}), Some(true)),
            (json!({"count": 2, "stages": {"Installed": 2}}), Some(true)),
            (json!({"count": 2, "stages": {"Installed": 2}, "unknownSince": "2027-01-15T08:00:00Z"}), None),
            (json!({"unknownSince": "2027-01-15T08:00:00Z", "unknownBecause": "the shoot is hibernated"}), None),
        ];
        for (nodes, expected) in table {
            assert_eq!(recorded(&json!({ "nodes": nodes })), expected, "{nodes}");
        }
        assert_eq!(recorded(&json!({ "configs": {} })), None);
    }

    #[tokio::test]
    async fn each_check_is_followed_up_and_an_unknown_namespace_changes_nothing() {
        let (reports, mut checked) = Reports::new();
        reports.note("a", &json!({"count": 1}));
        reports.note("a", &json!({"unknownSince": "x"}));
        reports.note("b", &json!({"count": 0}));
        assert_eq!((reports.get("a"), reports.get("b"), reports.get("c")), (Some(true), Some(false), None));
        assert_eq!((checked.recv().await.as_deref(), checked.recv().await.as_deref()), (Some("a"), Some("b")));
        reports.forget("a");
        assert_eq!(reports.get("a"), None);
        // Nobody goes after them: nothing waits, and nothing grows.
        for _ in 0..2 * WAITING {
            reports.note("a", &json!({"count": 1}));
        }
        assert_eq!(checked.len(), WAITING);
    }
}
