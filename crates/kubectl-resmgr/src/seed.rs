//! What the seed knows of the shoot: its Extension. Only where somebody has a kubeconfig of the seed, too.

use std::path::Path;

use anyhow::{Context as _, bail};
use extension_config::names;
use kube::Resource as _;
use kube::api::DynamicObject;
use kube::core::{ApiResource, GroupVersionKind};
use serde::Serialize;
use serde_json::Value;

use crate::duration::age;
use crate::limits;
use crate::shoot;
use crate::style::{Style, Tone};
use crate::text::clean;

/// An Extension, as far as it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Seed {
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// gardenlet has asked for an operation that has not begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) asked: Option<String>,
    pub(crate) is_leaving: bool,
    pub(crate) operation: String,
    pub(crate) state: String,
    /// Seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<u64>,
    pub(crate) description: String,
    /// Why the last operation failed; empty: it did not.
    pub(crate) error: String,
    pub(crate) conditions: Vec<Condition>,
    pub(crate) provider_status: Value,
}

/// A condition of the Extension.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Condition {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) status: String,
    pub(crate) reason: String,
    pub(crate) message: String,
}

/// The Extension in this namespace; without one, that of the only shoot that has one.
pub(crate) async fn extension(
    kubeconfig: &Path,
    context: Option<&str>,
    namespace: Option<&str>,
) -> anyhow::Result<DynamicObject> {
    let client = shoot::client(Some(kubeconfig), context).await.context("the seed")?;
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("extensions.gardener.cloud", "v1alpha1", "Extension"));
    let mut ours: Vec<DynamicObject> = Vec::new();
    let url = DynamicObject::url_path(&kind, namespace);
    let found = shoot::each(&client, &url, |extension: DynamicObject| {
        // A second one is enough to know that there are several.
        if ours.len() < 2 && extension.data["spec"]["type"] == names::EXTENSION_TYPE {
            ours.push(extension);
        }
    });
    found.await.context("list the Extensions of the seed")?;
    match (ours.pop(), ours.is_empty()) {
        (Some(one), true) => Ok(one),
        (None, _) => bail!("the seed has no Extension of type {} there", names::EXTENSION_TYPE),
        (Some(_), false) => bail!("the seed has Extensions of more than one shoot: --seed-namespace says which"),
    }
}

impl Seed {
    /// What an Extension tells.
    pub(crate) fn of(extension: &DynamicObject) -> Self {
        let text = |pointer: &str, limit: usize| {
            clean(extension.data.pointer(pointer).and_then(Value::as_str).unwrap_or_default(), limit)
        };
        let since = extension.data.pointer("/status/lastOperation/lastUpdateTime").and_then(Value::as_str);
        let since = since.and_then(|since| since.parse::<jiff::Timestamp>().ok());
        let conditions = extension.data.pointer("/status/conditions").and_then(Value::as_array);
        let annotations = extension.metadata.annotations.as_ref();
        let asked = annotations.and_then(|annotations| annotations.get("gardener.cloud/operation"));
        Self {
            namespace: clean(extension.metadata.namespace.as_deref().unwrap_or_default(), limits::OBJECT_NAME),
            name: clean(extension.metadata.name.as_deref().unwrap_or_default(), limits::OBJECT_NAME),
            asked: asked.map(|asked| clean(asked, limits::NAME)),
            is_leaving: extension.metadata.deletion_timestamp.is_some(),
            operation: text("/status/lastOperation/type", limits::NAME),
            state: text("/status/lastOperation/state", limits::NAME),
            since: since.and_then(|since| u64::try_from(since.as_second()).ok()),
            description: text("/status/lastOperation/description", limits::PARAGRAPH),
            error: text("/status/lastError/description", limits::PARAGRAPH),
            conditions: conditions.into_iter().flatten().take(limits::ENTRIES).map(Condition::of).collect(),
            provider_status: extension.data.pointer("/status/providerStatus").cloned().unwrap_or_default(),
        }
    }

    /// Lines below the table.
    pub(crate) fn lines(&self, now: u64, style: Style) -> Vec<String> {
        let tone = if self.state == "Succeeded" { Tone::Good } else { Tone::Waiting };
        let tone = if self.error.is_empty() { tone } else { Tone::Bad };
        let operation = match self.operation.as_str() {
            "" => "nothing done yet".to_owned(),
            operation => format!("{operation} {}", style.paint(tone, &self.state)),
        };
        let since = self.since.map(|since| format!(", {} ago", age(since, now))).unwrap_or_default();
        let asked = self.asked.as_ref().map(|asked| format!("; asked for: {asked}")).unwrap_or_default();
        let leaving = if self.is_leaving { "; it is being deleted" } else { "" };
        let mut lines =
            vec![format!("seed: Extension {}/{}: {operation}{since}{asked}{leaving}", self.namespace, self.name)];
        let is_done = self.error.is_empty() && self.state == "Succeeded";
        if !is_done && !self.description.is_empty() {
            lines.push(format!("seed: {}", self.description));
        }
        if !self.error.is_empty() && self.error != self.description {
            lines.push(format!("seed: {}", style.paint(Tone::Bad, &self.error)));
        }
        for Condition { kind, status, reason, message } in &self.conditions {
            lines.push(format!("seed: condition {kind} {status} ({reason}): {message}"));
        }
        lines
    }
}

impl Condition {
    fn of(value: &Value) -> Self {
        let text = |key: &str, limit: usize| clean(value[key].as_str().unwrap_or_default(), limit);
        Self {
            kind: text("type", limits::NAME),
            status: text("status", limits::NAME),
            reason: text("reason", limits::NAME),
            message: text("message", limits::PARAGRAPH),
        }
    }
}

/// For an archive: without the providerConfig, which is a configuration, unless that is asked for.
pub(crate) fn shown(extension: &DynamicObject, with_configuration: bool) -> Value {
    // kubectl keeps what was applied in one.
    let annotations =
        extension.metadata.annotations.iter().flatten().filter(|(key, _)| key.contains("gardener.cloud/"));
    let annotations: serde_json::Map<String, Value> =
        annotations.map(|(key, value)| (key.clone(), value.as_str().into())).collect();
    let mut value = serde_json::json!({
        "metadata": { "name": extension.metadata.name, "namespace": extension.metadata.namespace,
            "generation": extension.metadata.generation, "annotations": annotations,
            "deletionTimestamp": extension.metadata.deletion_timestamp, "finalizers": extension.metadata.finalizers },
        "status": extension.data["status"],
    });
    if with_configuration {
        value["spec"] = extension.data["spec"].clone();
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extension() -> DynamicObject {
        serde_json::from_value(serde_json::json!({
            "apiVersion": "extensions.gardener.cloud/v1alpha1", "kind": "Extension",
            "metadata": { "name": "cri-resmgr-extension", "namespace": "shoot--a--b",
              "annotations": { "gardener.cloud/operation": "reconcile", "kubectl.kubernetes.io/last-applied-configuration": "secret" } },
            "spec": { "type": "cri-resmgr-extension", "providerConfig": { "secret": "p" } },
            "status": {
              "lastOperation": { "type": "Reconcile", "state": "Error", "lastUpdateTime": "2026-12-01T00:00:00Z", "description": "it\u{1b}[2J failed" },
              "lastError": { "description": "backend: \"x\" is not known" },
              "conditions": [{ "type": "EveryNodeReady", "status": "False", "reason": "NodesNotAsDesired", "message": "1 of 3 nodes" }],
              "providerStatus": { "nodes": { "all": 3 } } },
        }))
        .unwrap()
    }

    #[test]
    fn an_extension_is_told_clean() {
        let seed = Seed::of(&extension());
        let since = seed.since.unwrap();
        insta::assert_snapshot!(seed.lines(since + 60, Style::Plain).join("\n"), @r#"
        seed: Extension shoot--a--b/cri-resmgr-extension: Reconcile Error, 60s ago; asked for: reconcile
        seed: it�[2J failed
        seed: backend: "x" is not known
        seed: condition EveryNodeReady False (NodesNotAsDesired): 1 of 3 nodes
        "#);
    }

    #[test]
    fn an_extension_that_nothing_was_done_with_is_told() {
        let mut bare = extension();
        bare.data = serde_json::json!({ "spec": {} });
        assert_eq!(
            Seed::of(&bare).lines(0, Style::Plain),
            ["seed: Extension shoot--a--b/cri-resmgr-extension: nothing done yet; asked for: reconcile"]
        );
    }

    #[test]
    fn an_archive_has_a_configuration_only_if_it_is_asked_for() {
        let without = shown(&extension(), false).to_string();
        assert!(!without.contains("secret") && without.contains("NodesNotAsDesired"), "{without}");
        assert_eq!(shown(&extension(), true).to_string().matches("secret").count(), 1);
    }
}
