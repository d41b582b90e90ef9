//! Kubernetes objects as data: parsed from YAML, checked, sorted, written again.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

/// A Kubernetes object of any kind. Cheap to clone.
#[derive(Debug, Clone, PartialEq)]
pub struct Object {
    id: Id,
    body: Arc<Map<String, Value>>,
}

/// What must be unique. The order of the fields is the order in which objects are written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// Group and version.
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Namespace; empty for cluster-wide objects.
    pub namespace: String,
    /// Name.
    pub name: String,
}

/// Why a text is no list of objects.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not YAML.
    #[error("a manifest is not YAML")]
    Yaml(#[source] Box<serde_saphyr::Error>),
    /// Not a map.
    #[error("document {number} is not a map")]
    NotAMap {
        /// Counted from 1.
        number: usize,
    },
    /// Something that every object has is missing or no text.
    #[error("document {number} has no {field}")]
    Missing {
        /// Counted from 1.
        number: usize,
        /// Path of the field.
        field: &'static str,
    },
    /// The same object twice.
    #[error("{0} is given twice")]
    Duplicate(Id),
    /// An object cannot be written.
    #[error("{id} cannot be written as YAML")]
    Write {
        /// Which.
        id: Id,
        /// Why.
        #[source]
        source: Box<serde_saphyr::ser_error::Error>,
    },
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.api_version, self.kind)?;
        let slash = if self.namespace.is_empty() { "" } else { "/" };
        write!(f, " {}{slash}{}", self.namespace, self.name)
    }
}

impl Object {
    /// What it is.
    #[must_use]
    pub fn id(&self) -> &Id {
        &self.id
    }

    /// The whole object.
    #[must_use]
    pub fn body(&self) -> &Map<String, Value> {
        &self.body
    }

    /// Takes a value for an object when it has what every object has. `number` is for the error.
    pub(crate) fn new(number: usize, value: Value) -> Result<Self, Error> {
        let Value::Object(body) = value else { return Err(Error::NotAMap { number }) };
        let text = |pointer: &[&str]| -> Option<String> {
            let (last, parents) = pointer.split_last()?;
            let map = parents.iter().try_fold(&body, |map, key| map.get(*key)?.as_object())?;
            map.get(*last)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let id = Id {
            api_version: text(&["apiVersion"]).ok_or(Error::Missing { number, field: "apiVersion" })?,
            kind: text(&["kind"]).ok_or(Error::Missing { number, field: "kind" })?,
            namespace: text(&["metadata", "namespace"]).unwrap_or_default(),
            name: text(&["metadata", "name"]).ok_or(Error::Missing { number, field: "metadata.name" })?,
        };
        Ok(Self { id, body: Arc::new(body) })
    }
}

/// Parses a stream of YAML documents; empty ones are left out.
pub fn parse(text: &str) -> Result<Vec<Object>, Error> {
    // YAML 1.2: what is not quoted is a boolean only as true or false, and a namespace may be called n.
    let options = serde_saphyr::options! { strict_booleans: true };
    let documents: Vec<Value> =
        serde_saphyr::from_multiple_with_options(text, options).map_err(|error| Error::Yaml(Box::new(error)))?;
    documents
        .into_iter()
        .enumerate()
        .filter(|(_, document)| !document.is_null())
        .map(|(index, document)| Object::new(index + 1, document))
        .collect()
}

/// Brings objects into their order and refuses two of the same identity.
pub fn sorted(mut objects: Vec<Object>) -> Result<Vec<Object>, Error> {
    objects.sort_by(|a, b| a.id.cmp(&b.id));
    match objects.windows(2).find(|pair| pair[0].id == pair[1].id) {
        Some(pair) => Err(Error::Duplicate(pair[0].id.clone())),
        None => Ok(objects),
    }
}

/// Writes objects as a stream of YAML documents. Equal objects give equal bytes.
pub fn write(objects: &[Object]) -> Result<String, Error> {
    // Every text is quoted: Go's YAML 1.1 sees numbers, dates and booleans in places where others do not.
    let options = serde_saphyr::ser_options! { quote_all: true, compact_list_indent: true };
    let mut stream = String::new();
    for object in objects {
        let text = serde_saphyr::to_string_with_options(&*object.body, options.clone())
            .map_err(|source| Error::Write { id: object.id.clone(), source: Box::new(source) })?;
        stream.push_str("---\n");
        stream.push_str(&text);
    }
    Ok(stream)
}
