//! Reading objects part by part. What cannot be read is left out and noted, by its path and never by its value; everything that is not
//! asked for is skipped without recursion, whatever it is: other versions' fields, other people's configurations, `managedFields`.

use std::borrow::Cow;
use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer as _, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::raw::RawJson;

/// The parts of an object that could not be read, by their paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults(Vec<String>);

impl Faults {
    /// Everything was read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The paths, each once.
    #[must_use]
    pub fn paths(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "not of the shape that is known here: {}", self.0.join(", "))
    }
}

/// Something that is read out of an object's JSON; `None` where it is not even an object.
pub(crate) trait Part: Sized {
    fn read(reader: &mut Reader, raw: &RawValue) -> Option<Self>;
}

/// Where we are, and what could not be read so far.
#[derive(Default)]
pub(crate) struct Reader {
    path: Vec<&'static str>,
    faults: Vec<String>,
}

impl Reader {
    /// Reads a whole object; `None` when it is none.
    pub(crate) fn whole<T: Part>(raw: &RawValue) -> Option<(T, Faults)> {
        let mut reader = Self::default();
        let read = T::read(&mut reader, raw)?;
        Some((read, Faults(reader.faults)))
    }

    /// The members of these names. Of one that stands there twice the last counts; null is as good as absent.
    pub(crate) fn members<'a, const N: usize>(
        &mut self,
        raw: &'a RawValue,
        names: [&'static str; N],
    ) -> Option<[Member<'a>; N]> {
        let Ok(found) = (Members { names }).read(raw) else {
            self.note();
            return None;
        };
        let mut index = 0;
        Some(found.map(|value| {
            index += 1;
            Member { name: names[index - 1], value: value.filter(|value| value.get() != "null") }
        }))
    }

    /// A member that is a structure of its own.
    pub(crate) fn part<T: Part>(&mut self, member: Member<'_>) -> Option<T> {
        let raw = member.value?;
        self.within(member.name, |reader| T::read(reader, raw))
    }

    /// A member without much structure: a text, a number, a time, a list or a map of texts.
    pub(crate) fn leaf<T: DeserializeOwned>(&mut self, member: Member<'_>) -> Option<T> {
        let raw = member.value?;
        self.within(member.name, |reader| reader.value(raw, |_| true))
    }

    /// The items of a member that is a list; those that cannot be read are missing.
    pub(crate) fn list<T>(&mut self, member: Member<'_>, read: impl Fn(&mut Self, &RawValue) -> Option<T>) -> Vec<T> {
        let Some(raw) = member.value else { return Vec::new() };
        self.within(member.name, |reader| {
            let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(raw.get()) else {
                reader.note();
                return Vec::new();
            };
            reader.within("[]", |reader| items.iter().filter_map(|item| read(reader, item)).collect())
        })
    }

    /// A value here, if it is as it must be.
    pub(crate) fn value<T: DeserializeOwned>(&mut self, raw: &RawValue, is: impl FnOnce(&T) -> bool) -> Option<T> {
        // The error may quote what stands there.
        let read = serde_json::from_str(raw.get()).ok().filter(is);
        if read.is_none() {
            self.note();
        }
        read
    }

    fn within<T>(&mut self, name: &'static str, read: impl FnOnce(&mut Self) -> T) -> T {
        self.path.push(name);
        let read = read(self);
        self.path.pop();
        read
    }

    fn note(&mut self) {
        // Names in the code, so their number is bounded: items of a list share one.
        let path =
            if self.path.is_empty() { "everything".to_owned() } else { self.path.join(".").replace(".[]", "[]") };
        if !self.faults.contains(&path) {
            self.faults.push(path);
        }
    }
}

/// A member of an object, if it is there.
#[derive(Clone, Copy)]
pub(crate) struct Member<'a> {
    name: &'static str,
    value: Option<&'a RawValue>,
}

impl Member<'_> {
    pub(crate) fn is_there(self) -> bool {
        self.value.is_some()
    }

    /// As text.
    pub(crate) fn raw(self) -> Option<RawJson> {
        self.value.map(RawJson::from)
    }
}

struct Members<const N: usize> {
    names: [&'static str; N],
}

impl<const N: usize> Members<N> {
    fn read(self, raw: &RawValue) -> Result<[Option<&RawValue>; N], serde_json::Error> {
        let mut deserializer = serde_json::Deserializer::from_str(raw.get());
        deserializer.deserialize_map(self)
    }
}

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de, const N: usize> Visitor<'de> for Members<N> {
    type Value = [Option<&'de RawValue>; N];

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = [None; N];
        while let Some(Name(name)) = map.next_key()? {
            match self.names.iter().position(|wanted| *wanted == name) {
                Some(index) => found[index] = Some(map.next_value()?),
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found)
    }
}

/// What an extension needs of an object's metadata.
impl Part for ObjectMeta {
    fn read(reader: &mut Reader, raw: &RawValue) -> Option<Self> {
        let [name, namespace, uid, version, generation, deletion, finalizers, annotations, labels] = reader.members(
            raw,
            [
                "name",
                "namespace",
                "uid",
                "resourceVersion",
                "generation",
                "deletionTimestamp",
                "finalizers",
                "annotations",
                "labels",
            ],
        )?;
        Some(Self {
            name: reader.leaf(name),
            namespace: reader.leaf(namespace),
            uid: reader.leaf(uid),
            resource_version: reader.leaf(version),
            generation: reader.leaf(generation),
            deletion_timestamp: reader.leaf(deletion),
            finalizers: reader.leaf(finalizers),
            annotations: reader.leaf(annotations),
            labels: reader.leaf(labels),
            ..Self::default()
        })
    }
}

/// Makes a kind of [`Part`] out of which whole objects can be deserialized, and a resource of the client's.
macro_rules! object {
    ($type:ident, $group:literal, $plural:literal, $scope:ty) => {
        impl $type {
            /// Reads one, part by part: what cannot be read is absent and stands in `faults`. `None` when it is no object at all.
            #[must_use]
            pub fn from_raw(raw: &::serde_json::value::RawValue) -> Option<Self> {
                $crate::read::Reader::whole::<Self>(raw).map(|(read, faults)| Self { faults, ..read })
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $type {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let raw = Box::<::serde_json::value::RawValue>::deserialize(deserializer)?;
                Self::from_raw(&raw).ok_or_else(|| ::serde::de::Error::custom(concat!("no ", stringify!($type))))
            }
        }

        impl ::kube::Resource for $type {
            type DynamicType = ();
            type Scope = $scope;

            fn kind((): &()) -> ::std::borrow::Cow<'_, str> {
                stringify!($type).into()
            }

            fn group((): &()) -> ::std::borrow::Cow<'_, str> {
                $group.into()
            }

            fn version((): &()) -> ::std::borrow::Cow<'_, str> {
                "v1alpha1".into()
            }

            fn plural((): &()) -> ::std::borrow::Cow<'_, str> {
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
pub(crate) use object;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_name_places_and_never_values() {
        struct Two;
        impl Part for Two {
            fn read(reader: &mut Reader, raw: &RawValue) -> Option<Self> {
                let [number, list] = reader.members(raw, ["number", "list"])?;
                reader.leaf::<u8>(number);
                reader.list(list, |reader, item| reader.value::<u8>(item, |_| true));
                Some(Self)
            }
        }
        let raw: Box<RawValue> =
            serde_json::from_str(r#"{"number":"hunter2","list":[1,"hunter2","hunter2"],"number":"hunter3"}"#).unwrap();
        let (_, faults) = Reader::whole::<Two>(&raw).unwrap();
        assert_eq!(faults.paths(), ["number", "list[]"]);
        assert_eq!(faults.to_string(), "not of the shape that is known here: number, list[]");
    }
}
