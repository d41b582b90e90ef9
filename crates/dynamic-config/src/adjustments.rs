//! Adjustments: what of them a daemon is sent, and what stands in their status about a node.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// Errors of one adjustment on one node by key; none: it is in effect.
pub(crate) type Errors = BTreeMap<String, String>;

/// An Adjustment as far as it matters on one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adjustment {
    /// Its `spec`.
    pub spec: Value,
    /// What its status says about our node.
    pub status: Option<Errors>,
    /// When it was made: of two that contradict each other the older one stays in effect.
    pub created: String,
}

impl Adjustment {
    /// Takes what matters out of an object.
    #[must_use]
    pub fn of(object: &Value, node: &str) -> Self {
        let entry = object.get("status").and_then(|status| status.get("nodes")).and_then(|nodes| nodes.get(node));
        let status = entry.map(|entry| {
            let errors = entry.get("errors").and_then(Value::as_object);
            let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            errors.into_iter().flatten().map(|(key, value)| (key.clone(), text(value))).collect()
        });
        let created = object.pointer("/metadata/creationTimestamp").and_then(Value::as_str).unwrap_or_default();
        Self { spec: object.get("spec").cloned().unwrap_or_default(), status, created: created.to_owned() }
    }

    /// What is sent to the daemon of a node: the specification with the scopes that match the node. `None`: none does.
    pub(crate) fn for_node(&self, node: &str) -> Option<Value> {
        let spec = self.spec.as_object()?;
        let scopes = spec.get("scope").and_then(Value::as_array).cloned().unwrap_or_default();
        let mut sent: Map<String, Value> = spec
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        let matching: Vec<Value> = scopes.iter().filter(|scope| matches_node(scope, node)).cloned().collect();
        if matching.is_empty() && !scopes.is_empty() {
            return None;
        }
        sent.insert("scope".to_owned(), Value::Array(matching));
        Some(Value::Object(sent))
    }
}

/// A scope without nodes matches every node.
fn matches_node(scope: &Value, node: &str) -> bool {
    let patterns = scope.get("nodes").and_then(Value::as_array).filter(|patterns| !patterns.is_empty());
    patterns.is_none_or(|patterns| patterns.iter().filter_map(Value::as_str).any(|pattern| matches(pattern, node)))
}

/// An exact name, or one with a `*` at its end; an empty pattern matches all.
fn matches(pattern: &str, node: &str) -> bool {
    pattern.is_empty() || pattern == node || pattern.strip_suffix('*').is_some_and(|start| node.starts_with(start))
}

pub(crate) fn hash(value: &Value) -> String {
    // Maps of serde_json are ordered by key: equal values give equal texts.
    hex::encode(Sha256::digest(value.to_string().as_bytes()))[..16].to_owned()
}

pub(crate) fn hash_of_set(set: &BTreeMap<String, String>) -> String {
    hash(&json!(set))
}

/// A merge patch of one Adjustment's status that touches the entry of one node only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusWrite {
    /// Name of the Adjustment.
    pub name: String,
    /// The entry after the write; `None`: there is none.
    pub entry: Option<Errors>,
    /// The patch.
    pub patch: Value,
}

impl StatusWrite {
    pub(crate) fn new(name: &str, node: &str, before: Option<&Errors>, entry: Option<Errors>) -> Self {
        let value = match &entry {
            None => Value::Null,
            Some(errors) => {
                // A merge patch leaves keys alone that it does not name.
                let gone = before.into_iter().flatten().filter(|(key, _)| !errors.contains_key(*key));
                let mut map: Map<String, Value> = gone.map(|(key, _)| (key.clone(), Value::Null)).collect();
                map.extend(errors.iter().map(|(key, text)| (key.clone(), json!(text))));
                json!({ "errors": map })
            }
        };
        Self { name: name.to_owned(), entry, patch: json!({ "status": { "nodes": { node: value } } }) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Adjustment, StatusWrite};
    use serde_json::{Value, json};
    use std::collections::BTreeMap;

    fn sent(spec: &Value) -> Option<Value> {
        Adjustment::of(&json!({"spec": spec}), "worker-1").for_node("worker-1")
    }

    #[test]
    fn adjustment_scopes_are_reduced_to_those_that_match_the_node() {
        for (scope, matching) in [
            (json!([]), Some(json!([]))),
            (json!([{}]), Some(json!([{}]))),
            (json!([{"nodes": []}]), Some(json!([{"nodes": []}]))),
            (json!([{"nodes": ["worker-1"]}]), Some(json!([{"nodes": ["worker-1"]}]))),
            (json!([{"nodes": ["worker-*"]}]), Some(json!([{"nodes": ["worker-*"]}]))),
            (json!([{"nodes": ["*"]}]), Some(json!([{"nodes": ["*"]}]))),
            (json!([{"nodes": [""]}]), Some(json!([{"nodes": [""]}]))),
            (json!([{"nodes": ["worker-2", "other*"]}]), None),
            (json!([{"nodes": ["worker"]}]), None),
            (json!([{"nodes": ["w*1"]}]), None),
            (json!([{"nodes": ["worker-2"]}, {"nodes": ["worker-1"]}]), Some(json!([{"nodes": ["worker-1"]}]))),
        ] {
            let spec = json!({"scope": scope, "classes": {"rdt": "gold", "blockio": null}, "toptierLimit": null});
            let expected = matching.map(|scope| json!({"scope": scope, "classes": {"rdt": "gold", "blockio": null}}));
            assert_eq!(sent(&spec), expected, "{scope}");
        }
        assert_eq!(sent(&Value::Null), None);
        assert_eq!(sent(&json!("text")), None);
    }

    #[test]
    fn a_status_write_replaces_the_errors_of_its_own_node_only() {
        let errors = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<BTreeMap<_, _>>()
        };
        let before = errors(&[("a", "old"), ("b", "old")]);
        let write = StatusWrite::new("x", "n", Some(&before), Some(errors(&[("b", "new")])));
        assert_eq!(write.patch, json!({"status": {"nodes": {"n": {"errors": {"a": null, "b": "new"}}}}}));
        assert_eq!(
            StatusWrite::new("x", "n", None, Some(errors(&[]))).patch,
            json!({"status": {"nodes": {"n": {"errors": {}}}}})
        );
        assert_eq!(StatusWrite::new("x", "n", Some(&before), None).patch, json!({"status": {"nodes": {"n": null}}}));
    }

    #[test]
    fn a_node_status_with_no_or_null_errors_is_an_empty_status() {
        let status = |status: Value| Adjustment::of(&json!({"spec": {}, "status": status}), "n").status;
        assert_eq!(status(json!({"nodes": {"n": {"errors": {}}}})), Some(BTreeMap::new()));
        assert_eq!(status(json!({"nodes": {"n": {"errors": null}}})), Some(BTreeMap::new()));
        assert_eq!(status(json!({"nodes": {"m": {"errors": {}}}})), None);
        assert_eq!(status(Value::Null), None);
    }
}
