//! The shoot owner's input: `spec.extensions[].providerConfig` of the Shoot.
//!
//! Two forms are read. The typed one has an `apiVersion` and a `kind`; what has neither is read as the untyped form of the
//! original extension. Both are strict: a field that we do not know is an error, or a typing mistake would pass unnoticed.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::absent::null_as_default;
use crate::cri_resmgr::{canonical_text, is_within};
use crate::desired_state::{BackendKind, Handover, Selection};
use crate::effect;
use crate::key::{self, ConfigKey};
use crate::limits;
use crate::nri::NriConfig;
use crate::problem::{Origin, Problem, Problems};

/// `apiVersion` of the typed form.
pub const API_VERSION: &str = "cri-resmgr.extensions.gardener.cloud/v1alpha1";
/// `kind` of the typed form.
pub const KIND: &str = "CriResourceManagerConfig";

/// Configuration of the cri-resmgr extension for one shoot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CriResourceManagerConfig {
    /// Always `cri-resmgr.extensions.gardener.cloud/v1alpha1`.
    #[schemars(extend("x-default" = "must be given", "x-effect" = effect::NOTHING))]
    pub api_version: String,
    /// Always `CriResourceManagerConfig`.
    #[schemars(extend("x-default" = "must be given", "x-effect" = effect::NOTHING))]
    pub kind: String,
    /// What decides about the CPUs and memory of containers.
    #[schemars(extend("x-default" = "`cri-resmgr`", "x-effect" = effect::BACKEND))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<BackendName>,
    /// Configurations of the daemon. Those left out come from the operator's base configuration.
    #[serde(default, deserialize_with = "null_as_default")]
    pub configs: Configs,
    /// Settings of nri-plugins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nri: Option<NriConfig>,
    /// Leads nodes that have another backend to this one, without a pod being restarted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub migration: Option<MigrationConfig>,
    /// Which nodes get the daemon; left out: all that use containerd.
    #[serde(default, deserialize_with = "null_as_default")]
    pub selection: SelectionConfig,
}

/// A change of backend.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MigrationConfig {
    /// The backend that nodes have. With `cri-resmgr`, `configs` stay in effect on nodes that still have it, and `nri.policies`, if there are none,
    /// are made of them.
    #[schemars(extend("x-default" = "must be given in `migration`", "x-effect" = effect::FROM))]
    pub from: BackendName,
    /// Ids of what you take that changes its meaning or is lost. The error that is told otherwise names them.
    #[schemars(extend("x-default" = "none", "x-effect" = effect::ACCEPT))]
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_default")]
    pub accept: Vec<String>,
}

/// What decides about the CPUs and memory of containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BackendName {
    /// cri-resmgr, a CRI proxy between kubelet and containerd.
    CriResmgr,
    /// A policy plugin of nri-plugins, which containerd asks about each container.
    NriPlugins,
}

impl From<BackendName> for Handover {
    fn from(name: BackendName) -> Self {
        let from = match name {
            BackendName::CriResmgr => BackendKind::CriResmgr,
            BackendName::NriPlugins => BackendKind::NriPlugins,
        };
        Self { from, accepted: BTreeSet::new(), delivered: BTreeSet::new() }
    }
}

impl std::fmt::Display for BackendName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::CriResmgr => "cri-resmgr",
            Self::NriPlugins => "nri-plugins",
        })
    }
}

/// Configurations of the daemon.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Configs {
    /// What a daemon starts with and keeps until another is pushed to it: that of `default`, of its group or of its node, which stand above.
    #[schemars(extend("x-default" = "policy `none`", "x-effect" = effect::DAEMON))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<Document>,
    /// Overrules all others on every node; while it is set, nothing is pushed.
    #[schemars(extend("x-default" = "none", "x-effect" = effect::DAEMON))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub force: Option<Document>,
    /// More command line options of the daemon, separated by blanks.
    #[schemars(extend("x-default" = "none", "x-effect" = effect::DAEMON))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra_options: Option<String>,
    /// For nodes that have neither one of their own nor one of their group.
    #[schemars(extend("x-default" = "none", "x-effect" = effect::PUSH))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Document>,
    /// For nodes of a group that have none of their own; a node's group is its label `cri-resource-manager.intel.com/group`.
    #[schemars(extend("x-default" = "none", "x-effect" = effect::PUSH))]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_as_default")]
    pub groups: BTreeMap<String, Document>,
    /// For one node, by its name.
    #[schemars(extend("x-default" = "none", "x-effect" = effect::PUSH))]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_as_default")]
    pub nodes: BTreeMap<String, Document>,
}

/// One configuration of the daemon: its YAML as a text, or the same written as an object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "must be a YAML text or an object")]
pub enum Document {
    /// YAML text.
    Text(String),
    /// The same as an object.
    Object(serde_json::Map<String, Value>),
}

/// Which nodes get the daemon. Both conditions must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SelectionConfig {
    /// Names of worker pools.
    #[schemars(extend("x-default" = "every pool", "x-effect" = effect::SELECTION))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker_pools: Option<Vec<String>>,
    /// Labels that a node must all carry.
    #[schemars(extend("x-default" = "none", "x-effect" = effect::SELECTION))]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_as_default")]
    pub match_labels: BTreeMap<String, String>,
}

/// The original's form.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Untyped {
    #[serde(default, deserialize_with = "null_as_default")]
    configs: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "null_as_default")]
    node_selector: BTreeMap<String, String>,
}

/// What both forms come to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ProviderConfig {
    /// The text of each configuration, with the path at which its author wrote it.
    pub configs: BTreeMap<ConfigKey, Written>,
    /// Which nodes get the backend.
    pub selection: Selection,
    /// Which backend they get.
    pub backend: Option<BackendName>,
    /// Settings of nri-plugins.
    pub nri: Option<NriConfig>,
    /// From which backend nodes may be led to it.
    pub migration: Option<MigrationConfig>,
}

/// A text and where it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Path in the providerConfig, or key of the base configuration.
    pub field: String,
    /// YAML, or the command line options.
    pub text: String,
}

/// JSON schema of the typed form, pretty-printed; `docs/provider-config.schema.json` holds it for editors.
pub fn json_schema() -> Result<String, serde_json::Error> {
    let mut text = serde_json::to_string_pretty(&schemars::schema_for!(CriResourceManagerConfig))?;
    text.push('\n');
    Ok(text)
}

/// Reads the JSON text of a providerConfig, if it is not too long.
///
/// # Errors
/// The owner's mistake: too long, nested too deeply, or no JSON.
pub fn read(text: &str) -> Result<Value, Problems> {
    is_short(text.len() <= limits::PROVIDER_CONFIG_BYTES)?;
    serde_json::from_str(text).map_err(|error| problem(String::new(), &format!("cannot be read: {error}")).into())
}

fn is_short(short: bool) -> Result<(), Problems> {
    let message = format!("has more than {0} bytes, allowed: {0}", limits::PROVIDER_CONFIG_BYTES);
    if short { Ok(()) } else { Err(problem(String::new(), &message).into()) }
}

fn problem(path: String, message: &str) -> Problem {
    Problem::new(Origin::Shoot, path, "", message)
}

/// Reads a providerConfig. Absent and null mean that the owner configured nothing.
///
/// # Errors
/// Everything that is wrong with it as such; the texts in it are not looked at.
pub fn decode(raw: Option<&Value>) -> Result<ProviderConfig, Problems> {
    is_short(raw.is_none_or(|value| is_within(value, limits::PROVIDER_CONFIG_BYTES)))?;
    match raw {
        None | Some(Value::Null) => Ok(ProviderConfig::default()),
        Some(Value::Object(fields)) => {
            let version = fields.get("apiVersion");
            let kind = fields.get("kind");
            if version.is_none() && kind.is_none() {
                return from_untyped(strict::<Untyped>(fields)?);
            }
            if version.and_then(Value::as_str) != Some(API_VERSION) {
                return Err(problem("apiVersion".into(), &format!("must be {API_VERSION:?}")).into());
            }
            if kind.and_then(Value::as_str) != Some(KIND) {
                return Err(problem("kind".into(), &format!("must be {KIND:?}")).into());
            }
            from_typed(strict::<CriResourceManagerConfig>(fields)?)
        }
        Some(_) => Err(problem(String::new(), "must be an object").into()),
    }
}

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        let mut problems = Self::default();
        problems.push(problem);
        problems
    }
}

fn strict<'a, T: Deserialize<'a>>(fields: &'a Map<String, Value>) -> Result<T, Problems> {
    serde_path_to_error::deserialize(fields).map_err(|error| {
        let path = error.path().to_string();
        problem(if path == "." { String::new() } else { path }, &error.into_inner().to_string()).into()
    })
}

fn from_untyped(untyped: Untyped) -> Result<ProviderConfig, Problems> {
    let mut problems = Problems::default();
    let mut configs = BTreeMap::new();
    problems.extend(count("configs", untyped.configs.len(), limits::CONFIGURATIONS));
    for (name, text) in untyped.configs {
        let field = format!("configs.{name}");
        match ConfigKey::parse(&name) {
            Some(key) => drop(configs.insert(key, Written { field, text })),
            None => problems.push(unknown_key(Origin::Shoot, field)),
        }
    }
    let selection = Selection { match_labels: untyped.node_selector, ..Selection::default() };
    finish(ProviderConfig { configs, selection, ..ProviderConfig::default() }, problems, "nodeSelector")
}

fn from_typed(typed: CriResourceManagerConfig) -> Result<ProviderConfig, Problems> {
    let Configs { fallback, force, extra_options, default, groups, nodes } = typed.configs;
    let mut problems = Problems::default();
    let mut configs = BTreeMap::new();
    problems.extend(count("configs", groups.len() + nodes.len(), limits::CONFIGURATIONS));
    let singles = [(ConfigKey::Fallback, fallback), (ConfigKey::Force, force), (ConfigKey::Default, default)];
    let maps = [("groups", "group", groups), ("nodes", "node", nodes)];
    for (key, document) in singles {
        if let Some(document) = document {
            let field = format!("configs.{key}");
            configs.insert(key, document.written(field)?);
        }
    }
    if let Some(text) = extra_options {
        configs.insert(ConfigKey::ExtraOptions, Written { field: "configs.extraOptions".into(), text });
    }
    for (list, prefix, documents) in maps {
        for (name, document) in documents {
            let field = format!("configs.{list}.{name}");
            if let Some(key) = ConfigKey::parse(&format!("{prefix}.{name}")) {
                configs.insert(key, document.written(field)?);
            } else {
                let message = "the name must consist of lower case letters, digits, '-' and '.'";
                problems.push(problem(field, message));
            }
        }
    }
    let SelectionConfig { worker_pools, match_labels } = typed.selection;
    let pools = worker_pools.as_ref().map_or(0, Vec::len);
    problems.extend(count("selection.workerPools", pools, limits::WORKER_POOLS));
    let long = worker_pools.iter().flatten().find(|name| name.len() > limits::NAME_BYTES);
    problems.extend(long.map(|name| {
        let message = format!("a name has {} bytes, allowed: {}", name.len(), limits::NAME_BYTES);
        problem("selection.workerPools".into(), &message)
    }));
    let selection = Selection { worker_pools, match_labels, ..Selection::default() };
    let (backend, nri, migration) = (typed.backend, typed.nri, typed.migration);
    let backends = migration.iter().map(|migration| (migration.from, backend.unwrap_or(BackendName::CriResmgr)));
    problems.extend(backends.filter(|(from, to)| from == to).map(|(from, _)| {
        problem("migration.from".into(), &format!("is {from}, which is the backend itself; allowed: the other one"))
    }));
    finish(ProviderConfig { configs, selection, backend, nri, migration }, problems, "selection.matchLabels")
}

fn count(field: &str, count: usize, most: usize) -> Option<Problem> {
    (count > most).then(|| problem(field.into(), &format!("has {count} entries, allowed: {most}")))
}

fn finish(config: ProviderConfig, mut problems: Problems, labels_at: &str) -> Result<ProviderConfig, Problems> {
    problems.extend(count(labels_at, config.selection.match_labels.len(), limits::MATCH_LABELS));
    for (label, value) in &config.selection.match_labels {
        if let Err(message) = crate::selection::check(label, value) {
            problems.push(problem(format!("{labels_at}.{label}"), &message));
        }
    }
    problems.none_or(config)
}

/// Reads the operator's base configuration: the data of its ConfigMap, with the keys of the original.
pub(crate) fn decode_base(data: &BTreeMap<String, String>) -> (BTreeMap<ConfigKey, Written>, Problems) {
    let mut problems = Problems::default();
    let mut configs = BTreeMap::new();
    let bytes: usize = data.iter().map(|(name, text)| name.len() + text.len()).sum();
    if bytes > limits::PROVIDER_CONFIG_BYTES {
        let message = format!("has {bytes} bytes, allowed: {}", limits::PROVIDER_CONFIG_BYTES);
        problems.push(Problem::new(Origin::Base, "", "", &message));
        return (configs, problems);
    }
    for (name, text) in data {
        match ConfigKey::parse(name) {
            Some(key) => drop(configs.insert(key, Written { field: name.clone(), text: text.clone() })),
            None => problems.push(unknown_key(Origin::Base, name.clone())),
        }
    }
    (configs, problems)
}

fn unknown_key(origin: Origin, config: String) -> Problem {
    Problem::new(origin, config, "", &format!("there is no such configuration, allowed: {}", key::ALLOWED))
}

impl Document {
    fn written(self, field: String) -> Result<Written, Problems> {
        let text = match self {
            Self::Text(text) => text,
            // JSON is YAML, and what is in quotes is read as it is.
            Self::Object(object) => canonical_text(&object, limits::PROVIDER_CONFIG_BYTES).ok_or_else(|| {
                problem(field.clone(), &format!("has more than {} bytes", limits::PROVIDER_CONFIG_BYTES))
            })?,
        };
        Ok(Written { field, text })
    }
}

#[cfg(test)]
mod tests;
