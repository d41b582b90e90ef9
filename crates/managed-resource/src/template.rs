//! Rendering.
//!
//! `{{ value }}` writes a text as a quoted scalar, by itself: tera's escaping is on for every template and quotes. Whatever is
//! no text (a list, a map, perhaps null) is written with `{{ value | yaml }}`. tera's own way around, the filter `safe`, is
//! taken out.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;
use tera::{Context, Filter, Kwargs, State, Tera, TeraResult, Value};

use crate::objects::{self, Object};

/// A text of up to so many bytes is remembered with its objects, one for each template.
const REMEMBERED_BYTES: usize = 64 << 10;

/// A set of templates, rendered together.
#[derive(Debug)]
pub struct Templates {
    tera: Tera,
    manifests: Vec<String>,
    parsed: Parsed,
}

/// What each template gave last. Most objects of a shoot are those of all others, and to parse them takes longer than all the rest.
#[derive(Debug, Default)]
struct Parsed(Mutex<BTreeMap<String, (String, Vec<Object>)>>);

impl Parsed {
    /// The objects of a text that the template has given.
    fn parse(&self, template: &str, text: String) -> Result<Vec<Object>, objects::Error> {
        let last = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, objects)) = last().get(template).filter(|(of, _)| *of == text) {
            return Ok(objects.clone());
        }
        let objects = objects::parse(&text)?;
        if text.len() <= REMEMBERED_BYTES {
            last().insert(template.to_owned(), (text, objects.clone()));
        }
        Ok(objects)
    }
}

/// Why objects could not be rendered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A template is broken.
    #[error("the templates cannot be read")]
    Templates(#[source] Box<tera::Error>),
    /// The values are not a map.
    #[error("the values cannot be given to the templates")]
    Values(#[source] Box<tera::Error>),
    /// A template failed.
    #[error("template {template} cannot be rendered")]
    Render {
        /// Its name.
        template: String,
        /// Why.
        #[source]
        source: Box<tera::Error>,
    },
    /// A template's text is not what it must be.
    #[error("template {template} gives no valid objects")]
    Objects {
        /// Its name.
        template: String,
        /// Why.
        #[source]
        source: Box<objects::Error>,
    },
    /// Two templates gave the same object.
    #[error("the templates together give no valid objects")]
    Together(#[source] Box<objects::Error>),
}

impl Templates {
    /// Reads templates: pairs of name and text. Each whose name ends in `.yaml` gives manifests; others may only be included.
    pub fn new(templates: &[(&'static str, &'static str)]) -> Result<Self, Error> {
        let mut tera = Tera::new();
        tera.set_escape_fn(|text, output| crate::quoting::quote(text, output));
        // Every name ends with nothing, so this is every template.
        tera.autoescape_on([""]);
        tera.register_filter("yaml", Yaml);
        tera.register_filter("safe", |_: Value, _: Kwargs, _: &State<'_>| -> TeraResult<Value> {
            Err(tera::Error::message("the filter safe would let a value write manifests"))
        });
        tera.add_raw_templates(templates.iter().copied()).map_err(|error| Error::Templates(Box::new(error)))?;
        let manifests = templates.iter().map(|(name, _)| (*name).to_owned()).filter(|name| is_manifest(name)).collect();
        Ok(Self { tera, manifests, parsed: Parsed::default() })
    }

    /// Renders all manifests with the same values. Sorted, each object once.
    pub fn render(&self, values: &impl Serialize) -> Result<Vec<Object>, Error> {
        let context = Context::from_serialize(values).map_err(|error| Error::Values(Box::new(error)))?;
        let mut found = Vec::new();
        for template in &self.manifests {
            let text = self
                .tera
                .render(template, &context)
                .map_err(|source| Error::Render { template: template.clone(), source: Box::new(source) })?;
            let parsed = self
                .parsed
                .parse(template, text)
                .map_err(|source| Error::Objects { template: template.clone(), source: Box::new(source) })?;
            found.extend(parsed);
        }
        objects::sorted(found).map_err(|error| Error::Together(Box::new(error)))
    }
}

fn is_manifest(name: &str) -> bool {
    std::path::Path::new(name).extension().is_some_and(|extension| extension == "yaml")
}

/// The filter `yaml`: any value in flow style.
struct Yaml;

impl Filter<Value, TeraResult<Value>> for Yaml {
    fn call(&self, value: Value, _: Kwargs, _: &State<'_>) -> TeraResult<Value> {
        let failed = |error: String| tera::Error::message(format!("filter yaml: {error}"));
        let json = serde_json::to_value(&value).map_err(|error| failed(error.to_string()))?;
        let mut text = Vec::new();
        crate::quoting::flow(&json, &mut text).map_err(|error| failed(error.to_string()))?;
        let text = String::from_utf8(text).map_err(|error| failed(error.to_string()))?;
        Ok(Value::safe_string(&text))
    }
}

#[cfg(test)]
mod tests;
