//! Objects of a shoot, as far as they are read. Everything else in them is skipped without being kept and without recursion. What cannot
//! be read counts as absent, field by field: it never counts as a good sign.

use std::borrow::Cow;
use std::fmt;

use extension_config::names;
use jiff::Timestamp;
use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::limits::{OBJECTS, REPORT};

/// One page of a list.
#[derive(Debug, Deserialize)]
pub(super) struct Page {
    #[serde(default)]
    metadata: PageMetadata,
    /// That it is missing altogether would pass for a shoot without nodes.
    #[serde(deserialize_with = "items")]
    items: Items,
}

#[derive(Debug, Default, Deserialize)]
struct PageMetadata {
    #[serde(rename = "continue", default)]
    next: Option<String>,
}

/// What the items of a page come to.
#[derive(Debug, Default)]
struct Items {
    objects: Vec<Object>,
    too_many: bool,
}

impl Page {
    /// The objects; `None`: there are more than [`OBJECTS`].
    pub(super) fn objects(self) -> Option<(Vec<Object>, Option<String>)> {
        let next = self.metadata.next.filter(|token| !token.is_empty());
        (!self.items.too_many).then_some((self.items.objects, next))
    }
}

fn items<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Items, D::Error> {
    struct Each;
    impl<'de> Visitor<'de> for Each {
        type Value = Items;

        fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            formatter.write_str("a list")
        }

        /// As Go writes a list without items.
        fn visit_unit<E>(self) -> Result<Items, E> {
            Ok(Items::default())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Items, A::Error> {
            let mut items = Items::default();
            while let Some(raw) = all.next_element::<&RawValue>()? {
                if items.objects.len() == OBJECTS {
                    items.too_many = true;
                } else {
                    items.objects.push(read(raw));
                }
            }
            Ok(items)
        }
    }
    deserializer.deserialize_any(Each)
}

/// A Node, a Pod or a Lease.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Object {
    #[serde(deserialize_with = "lenient")]
    pub(super) metadata: Metadata,
    #[serde(deserialize_with = "lenient")]
    pub(super) spec: Spec,
    #[serde(deserialize_with = "lenient")]
    status: Status,
}

impl Object {
    pub(super) fn conditions(&self) -> &Conditions {
        &self.status.conditions
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Metadata {
    #[serde(deserialize_with = "lenient")]
    pub(super) name: String,
    #[serde(deserialize_with = "lenient")]
    pub(super) creation_timestamp: Option<Timestamp>,
    /// Whether there is one.
    #[serde(rename = "deletionTimestamp", deserialize_with = "present")]
    pub(super) is_deleting: bool,
    #[serde(deserialize_with = "lenient")]
    pub(super) annotations: Annotations,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Spec {
    #[serde(deserialize_with = "lenient")]
    pub(super) node_name: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    #[serde(deserialize_with = "lenient")]
    conditions: Conditions,
}

/// The annotations that are ours.
#[derive(Debug, Default)]
pub(super) struct Annotations {
    pub(super) phase: Option<String>,
    /// Not longer than [`REPORT`].
    pub(super) report: Option<String>,
}

impl<'de> Deserialize<'de> for Annotations {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Ours;
        impl<'de> Visitor<'de> for Ours {
            type Value = Annotations;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("annotations")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut all: A) -> Result<Annotations, A::Error> {
                let mut ours = Annotations::default();
                while let Some(key) = all.next_key::<Text<'_>>()? {
                    let place = match key.0.as_ref() {
                        names::PHASE_KEY => &mut ours.phase,
                        names::NODE_REPORT_ANNOTATION => &mut ours.report,
                        _ => {
                            all.next_value::<IgnoredAny>()?;
                            continue;
                        }
                    };
                    let raw = all.next_value::<&RawValue>()?;
                    *place = (raw.get().len() <= REPORT).then(|| read(raw)).flatten();
                }
                Ok(ours)
            }
        }
        deserializer.deserialize_map(Ours)
    }
}

/// The conditions that matter: a node's `Ready` (the first one), and whether the agent has opened its pod's readiness gate.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    pub(super) ready: Option<Condition>,
    pub(super) gate_is_open: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Condition {
    #[serde(rename = "type", deserialize_with = "lenient")]
    kind: String,
    #[serde(deserialize_with = "lenient")]
    status: String,
    #[serde(deserialize_with = "lenient")]
    pub(super) last_transition_time: Option<Timestamp>,
}

impl Condition {
    pub(super) fn is_true(&self) -> bool {
        self.status == "True"
    }
}

impl<'de> Deserialize<'de> for Conditions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Conditions;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("conditions")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut all: A) -> Result<Conditions, A::Error> {
                let mut conditions = Conditions::default();
                while let Some(raw) = all.next_element::<&RawValue>()? {
                    let condition: Condition = read(raw);
                    if condition.kind == names::NODE_AS_DESIRED {
                        conditions.gate_is_open |= condition.is_true();
                    } else if condition.kind == "Ready" && conditions.ready.is_none() {
                        conditions.ready = Some(condition);
                    }
                }
                Ok(conditions)
            }
        }
        deserializer.deserialize_seq(Each)
    }
}

/// A text, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

fn read<T: DeserializeOwned + Default>(raw: &RawValue) -> T {
    serde_json::from_str(raw.get()).unwrap_or_default()
}

fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(deserializer: D) -> Result<T, D::Error> {
    <&RawValue>::deserialize(deserializer).map(read)
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    <&RawValue>::deserialize(deserializer).map(|raw| raw.get() != "null")
}
