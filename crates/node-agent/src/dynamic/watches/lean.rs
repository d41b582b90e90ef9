//! The watched objects, as far as they matter here. Field managers are skipped: they repeat the whole object, and are as deep as it is.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use dynamic_config::Data;
use extension_config::names;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::Resource;
use kube::core::{ClusterResourceScope, NamespaceResourceScope};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

use super::bounded::Bounded;

/// Longest dynamic configuration, bytes of its keys and texts together. One that is longer is refused unread. As much as the controller
/// accepts (its canonical form is counted there).
pub(super) const CONFIGURATION_LIMIT: usize = 64 << 10;
/// Longest policy for nri-plugins, bytes of its ConfigMap's keys and texts together: a whole specification and its kind.
pub(super) const POLICY_LIMIT: usize = nri_policy::limits::DOCUMENT_BYTES;
/// What is held of a ConfigMap: nobody wants more.
const TEXTS_LIMIT: usize = if POLICY_LIMIT > CONFIGURATION_LIMIT { POLICY_LIMIT } else { CONFIGURATION_LIMIT };
/// Longest specification of an Adjustment, bytes in memory.
pub(super) const SPEC_LIMIT: usize = 256 << 10;
/// Longest status of an Adjustment, bytes in memory: it has an entry for each node, of which there may be 5000.
const STATUS_LIMIT: usize = 8 << 20;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    name: Option<String>,
    namespace: Option<String>,
    resource_version: Option<String>,
    labels: Option<BTreeMap<String, String>>,
    creation_timestamp: Option<Time>,
}

fn metadata<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    let Meta { name, namespace, resource_version, labels, creation_timestamp } = Meta::deserialize(deserializer)?;
    Ok(ObjectMeta { name, namespace, resource_version, labels, creation_timestamp, ..ObjectMeta::default() })
}

macro_rules! resource {
    ($type:ident, $scope:ty, $group:expr, $version:expr, $kind:expr, $plural:expr) => {
        impl Resource for $type {
            type DynamicType = ();
            type Scope = $scope;

            fn kind((): &()) -> Cow<'_, str> {
                $kind.into()
            }

            fn group((): &()) -> Cow<'_, str> {
                $group.into()
            }

            fn version((): &()) -> Cow<'_, str> {
                $version.into()
            }

            fn plural((): &()) -> Cow<'_, str> {
                $plural.into()
            }

            fn meta(&self) -> &ObjectMeta {
                &self.metadata
            }

            fn meta_mut(&mut self) -> &mut ObjectMeta {
                &mut self.metadata
            }
        }
    };
}

/// A ConfigMap with a configuration.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Configuration {
    #[serde(deserialize_with = "metadata")]
    pub(super) metadata: ObjectMeta,
    #[serde(default)]
    pub(super) data: Texts,
}

resource!(Configuration, NamespaceResourceScope, "", "v1", "ConfigMap", "configmaps");

/// Our Node.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct OwnNode {
    #[serde(deserialize_with = "metadata")]
    pub(super) metadata: ObjectMeta,
}

resource!(OwnNode, ClusterResourceScope, "", "v1", "Node", "nodes");

/// An Adjustment.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Adjusting {
    #[serde(deserialize_with = "metadata")]
    pub(super) metadata: ObjectMeta,
    #[serde(default)]
    pub(super) spec: Bounded<SPEC_LIMIT>,
    #[serde(default)]
    pub(super) status: Bounded<STATUS_LIMIT>,
}

resource!(
    Adjusting,
    NamespaceResourceScope,
    names::ADJUSTMENT_GROUP,
    names::ADJUSTMENT_VERSION,
    names::ADJUSTMENT_KIND,
    names::ADJUSTMENT_PLURAL
);

/// Keys and texts of a ConfigMap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Texts {
    /// All of them.
    Whole(Data),
    /// So many bytes, none of which is held.
    TooLong(usize),
}

impl Default for Texts {
    fn default() -> Self {
        Self::Whole(Data::new())
    }
}

impl Texts {
    /// The same for a reader that wants no more bytes than these.
    pub(super) fn at_most(self, limit: usize) -> Self {
        let bytes = |data: &Data| data.iter().map(|(key, text)| key.len() + text.len()).sum::<usize>();
        match self {
            Self::Whole(data) if bytes(&data) > limit => Self::TooLong(bytes(&data)),
            other => other,
        }
    }
}

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextsVisitor)
    }
}

struct TextsVisitor;

impl<'de> Visitor<'de> for TextsVisitor {
    type Value = Texts;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("texts by name")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Texts, E> {
        Ok(Texts::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Texts, A::Error> {
        let mut data = Data::new();
        let mut bytes: usize = 0;
        while let Some(key) = entries.next_key::<String>()? {
            // The API server holds a ConfigMap to 1 MiB, so one text at a time is little.
            let text = entries.next_value::<String>()?;
            bytes = bytes.saturating_add(key.len()).saturating_add(text.len());
            if bytes > TEXTS_LIMIT {
                data.clear();
            } else {
                data.insert(key, text);
            }
        }
        while entries.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(if bytes > TEXTS_LIMIT { Texts::TooLong(bytes) } else { Texts::Whole(data) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Adjusting, CONFIGURATION_LIMIT, Configuration, OwnNode, POLICY_LIMIT, Texts};

    /// W1: what watches of metadata alone still choke on.
    #[test]
    fn field_managers_of_any_depth_are_skipped() {
        let deep = format!("{}{{}}{}", "{\"f:x\":".repeat(500), "}".repeat(500));
        let text = format!(
            r#"{{"kind":"Node","metadata":{{"name":"n","labels":{{"a":"b"}},"managedFields":[{{"fieldsV1":{deep}}}]}},"spec":{deep}}}"#
        );
        let node: OwnNode = serde_json::from_str(&text).unwrap();
        assert_eq!(node.metadata.labels.unwrap()["a"], "b");
        let object: Adjusting = serde_json::from_str(&text).unwrap();
        assert!(object.spec.value.is_none(), "too deep, but no error");
    }

    #[test]
    fn a_long_config_map_is_counted_without_being_held() {
        let map = |length: usize| -> Texts {
            let data = json!({"policy": "x".repeat(length), "logger": ""});
            let object = json!({"metadata": {"name": "c"}, "data": data, "binaryData": {"x": "eA=="}});
            serde_json::from_value::<Configuration>(object).unwrap().data
        };
        assert!(matches!(map(100), Texts::Whole(data) if data.len() == 2));
        assert_eq!(map(150_000), Texts::TooLong(150_012));
        assert!(matches!(map(CONFIGURATION_LIMIT - 12).at_most(CONFIGURATION_LIMIT), Texts::Whole(_)));
        let beyond = map(CONFIGURATION_LIMIT - 11).at_most(CONFIGURATION_LIMIT);
        assert_eq!(beyond, Texts::TooLong(CONFIGURATION_LIMIT + 1));
        assert!(matches!(map(POLICY_LIMIT - 12), Texts::Whole(_)));
        assert_eq!(map(POLICY_LIMIT - 11), Texts::TooLong(POLICY_LIMIT + 1));
        let none: Configuration = serde_json::from_value(json!({"metadata": {"name": "c"}, "data": null})).unwrap();
        assert_eq!(none.data, Texts::default());
    }
}
