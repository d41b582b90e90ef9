//! What a document is.

use extension_config::cri_resmgr::module_names;
use extension_config::{names, provider_config};
use serde::Serialize;
use serde_json::{Map, Value};

/// The chart's value with the override of the image vector.
pub(crate) const IMAGE_VECTOR: &str = "imageVectorOverwrite";

/// What can be checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The extension's configuration for one shoot, typed or in the original's form.
    ProviderConfig,
    /// A Shoot, as far as this extension is concerned.
    Shoot,
    /// A configuration of the daemon: its YAML, or a ConfigMap for running daemons.
    Daemon,
    /// Overrides of the image vector.
    ImageVector,
    /// The chart's values, as they are or in a ControllerDeployment or an Extension of Gardener's operator: base configuration and image vector.
    Values,
    /// A node's kubelet: a directory with its unit, drop-ins and the files that these name; or one configuration file of kubelet.
    Kubelet,
}

impl Kind {
    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ProviderConfig => "provider-config",
            Self::Shoot => "shoot",
            Self::Daemon => "daemon",
            Self::ImageVector => "image-vector",
            Self::Values => "values",
            Self::Kubelet => "kubelet",
        }
    }
}

/// What a check of a document says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Recognized {
    As(Kind),
    /// It says itself that it is something else.
    Other(String),
    /// It says nothing, and what it holds is of no kind or of several.
    Unclear(String),
}

/// Looks at the names that a document carries, and no deeper.
pub(crate) fn recognize(document: &Value) -> Recognized {
    let Value::Object(fields) = document else {
        return Recognized::Unclear("is no map of fields".to_owned());
    };
    let text = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default();
    let (version, kind) = (text("apiVersion"), text("kind"));
    if fields.contains_key("kind") || fields.contains_key("apiVersion") {
        let group = version.split_once('/').map_or("", |(group, _)| group);
        return match (group, kind) {
            // One with another version or a kind that is misspelled is refused, not skipped.
            (names::API_GROUP, _) | (_, provider_config::KIND) => Recognized::As(Kind::ProviderConfig),
            ("core.gardener.cloud", "Shoot") => Recognized::As(Kind::Shoot),
            ("core.gardener.cloud", "ControllerDeployment") | ("operator.gardener.cloud", "Extension") => {
                Recognized::As(Kind::Values)
            }
            ("", "ConfigMap") if is_named(fields, |name| name == names::BASE_CONFIG_MAP) => {
                Recognized::As(Kind::Values)
            }
            ("", "ConfigMap") if is_named(fields, is_for_daemons) => Recognized::As(Kind::Daemon),
            ("kubelet.config.k8s.io", "KubeletConfiguration") => Recognized::As(Kind::Kubelet),
            _ => Recognized::Other(format!("is {version:?} {kind:?}, which is not checked here")),
        };
    }
    // Only the chart has it; beside it `configs` are those of the landscape.
    if fields.contains_key(IMAGE_VECTOR) {
        return Recognized::As(Kind::Values);
    }
    let mut found = Vec::new();
    let telling =
        [("configs", Kind::ProviderConfig), ("nodeSelector", Kind::ProviderConfig), ("images", Kind::ImageVector)];
    for (name, of) in telling {
        if fields.contains_key(name) {
            found.push((name, of));
        }
    }
    // A patch of a Shoot, as our examples are.
    if fields.get("spec").is_some_and(|spec| spec.get("extensions").is_some()) {
        found.push(("spec.extensions", Kind::Shoot));
    }
    // Dots of a module's name stand for levels.
    let is_module = |key: &&String| {
        let top = key.split('.').next().unwrap_or_default();
        module_names().any(|module| module.eq_ignore_ascii_case(top))
    };
    found.extend(fields.keys().find(is_module).map(|key| (key.as_str(), Kind::Daemon)));
    match found.as_slice() {
        [] => Recognized::Unclear("has neither a kind nor a field by which it is known".to_owned()),
        [(_, kind), others @ ..] if others.iter().all(|(_, other)| other == kind) => Recognized::As(*kind),
        several => {
            let reasons = several.iter().map(|(name, kind)| format!("{name} of a {}", kind.name()));
            Recognized::Unclear(format!("may be several things: it has {}", reasons.collect::<Vec<_>>().join(", ")))
        }
    }
}

fn is_named(fields: &Map<String, Value>, is: impl FnOnce(&str) -> bool) -> bool {
    fields.get("metadata").and_then(|metadata| metadata.get("name")).and_then(Value::as_str).is_some_and(is)
}

fn is_for_daemons(name: &str) -> bool {
    name.starts_with(names::DYNAMIC_CONFIG_MAP_PREFIX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_kind_of_a_document_is_known_by_its_own_fields() {
        for (document, kind) in [
            (json!({"apiVersion": provider_config::API_VERSION, "kind": provider_config::KIND}), Kind::ProviderConfig),
            (json!({"apiVersion": "cri-resmgr.extensions.gardener.cloud/v2", "kind": "X"}), Kind::ProviderConfig),
            (json!({"kind": provider_config::KIND}), Kind::ProviderConfig),
            (json!({"configs": {}}), Kind::ProviderConfig),
            (json!({"configs": {}, "nodeSelector": {}}), Kind::ProviderConfig),
            (json!({"apiVersion": "core.gardener.cloud/v1beta1", "kind": "Shoot"}), Kind::Shoot),
            (json!({"spec": {"extensions": []}}), Kind::Shoot),
            (json!({"images": []}), Kind::ImageVector),
            (json!({"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration"}), Kind::Kubelet),
            (json!({"policy": {}}), Kind::Daemon),
            (json!({"policy.balloons": {}, "typo": 1}), Kind::Daemon),
            (json!({"Policy": {}}), Kind::Daemon),
            (
                json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "cri-resmgr-config.default"}}),
                Kind::Daemon,
            ),
        ] {
            assert_eq!(recognize(&document), Recognized::As(kind), "{document}");
        }
    }

    #[test]
    fn documents_of_other_kinds_are_named() {
        for (document, reported) in [
            (json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}), "\"v1\" \"ConfigMap\""),
            (json!({"apiVersion": "apps/v1", "kind": "Shoot"}), "\"apps/v1\" \"Shoot\""),
        ] {
            let found = recognize(&document);
            assert!(matches!(&found, Recognized::Other(why) if why.contains(reported)), "{found:?}");
        }
        for (document, reported) in [
            (json!([1]), "no map"),
            (json!({}), "neither a kind"),
            (json!({"policy": {}, "configs": {}}), "configs of a provider-config, policy of a daemon"),
        ] {
            let found = recognize(&document);
            assert!(matches!(&found, Recognized::Unclear(why) if why.contains(reported)), "{found:?}");
        }
    }
}
