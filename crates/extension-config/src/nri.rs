//! The section `nri` of a providerConfig: policies for the plugins of nri-plugins, and what the agent may do for them.

use std::collections::{BTreeMap, BTreeSet};

use nri_policy::{Finding, Kind, Risk, check};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::absent::null_as_default;
use crate::desired_state::NriPlugins;
use crate::effect;
use crate::key::ConfigKey;
use crate::limits;
use crate::names;
use crate::problem::{Origin, Problem, Problems};

/// Settings of the backend `nri-plugins`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NriConfig {
    /// Policies. A node takes its own, else its group's, else the default one; nothing is merged.
    #[serde(default, deserialize_with = "null_as_default")]
    pub policies: Policies,
    /// Ids of risks in policies that you take. A policy that may refuse pods of kube-system is refused otherwise.
    #[schemars(extend("x-default" = "none", "x-effect" = effect::NOTHING))]
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_default")]
    pub accept: Vec<String>,
}

/// Policies by whom they are for.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Policies {
    /// For nodes that have neither one of their own nor one of their group.
    #[schemars(extend("x-default" = "must be given, unless a migration makes it of `configs`", "x-effect" = effect::POLICY))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<PolicyConfig>,
    /// For nodes of a group that have none of their own; a node's group is its label `config.nri/group`.
    #[schemars(extend("x-default" = "none", "x-effect" = effect::POLICY))]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_as_default")]
    pub groups: BTreeMap<String, PolicyConfig>,
    /// For one node, by its name.
    #[schemars(extend("x-default" = "none", "x-effect" = effect::POLICY))]
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_as_default")]
    pub nodes: BTreeMap<String, PolicyConfig>,
}

/// One policy, as nri-plugins v0.14.0 have it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyConfig {
    /// Which policy.
    #[schemars(extend("x-default" = "must be given", "x-effect" = effect::OF_THE_POLICY))]
    pub kind: PolicyKind,
    /// `spec` of the BalloonsPolicy or TopologyAwarePolicy.
    #[schemars(extend("x-default" = "must be given", "x-effect" = effect::OF_THE_POLICY))]
    pub spec: Map<String, Value>,
}

/// Kinds of policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PolicyKind {
    /// Balloons: sets of CPUs that grow and shrink with what runs in them.
    BalloonsPolicy,
    /// A tree of pools along the machine's topology.
    TopologyAwarePolicy,
}

impl From<PolicyKind> for Kind {
    fn from(kind: PolicyKind) -> Self {
        match kind {
            PolicyKind::BalloonsPolicy => Self::BalloonsPolicy,
            PolicyKind::TopologyAwarePolicy => Self::TopologyAwarePolicy,
        }
    }
}

/// What the section comes to.
#[derive(Debug)]
pub(crate) struct Checked {
    pub(crate) settings: NriPlugins,
    /// Name of the ConfigMap and its data.
    pub(crate) config_maps: BTreeMap<String, BTreeMap<String, String>>,
    /// Who each policy is for, as in the names of the ConfigMaps.
    pub(crate) keys: Vec<String>,
    /// The first few.
    pub(crate) warnings: Vec<Problem>,
    /// How many more there are.
    pub(crate) more_warnings: usize,
}

/// Key of a policy's ConfigMap under which it stands as JSON, `{"kind":…,"spec":…}`, with every default written out.
pub const POLICY_KEY: &str = "policy.json";

fn problem(field: &str, path: &str, message: &str) -> Problem {
    Problem::new(Origin::Shoot, field, path, message)
}

/// Checks a section. `given` is false when there was none.
///
/// # Errors
/// The owner's mistakes.
pub(crate) fn resolve(config: &NriConfig, given: bool) -> Result<Checked, Problems> {
    let mut problems = Problems::default();
    if config.policies.default.is_none() {
        let message = if given {
            "is missing: nodes without a policy of their own or of their group take it"
        } else {
            "is missing: the backend nri-plugins has no policy of its own"
        };
        problems.push(problem("nri.policies.default", "", message));
    }
    let Policies { default, groups, nodes } = &config.policies;
    let count = groups.len() + nodes.len();
    if count > limits::CONFIGURATIONS {
        let message = format!("has {count} entries, allowed: {}", limits::CONFIGURATIONS);
        problems.push(problem("nri.policies", "", &message));
    }
    problems.none_or(())?;
    let mut all = AllPolicies::new(&config.accept);
    for (index, id) in config.accept.iter().enumerate().filter(|(_, id)| Risk::of_id(id).is_none()) {
        let ids = Risk::ALL.map(Risk::id).join(", ");
        let id = limits::cut(id, limits::VALUE_CHARACTERS);
        all.problems.push(problem(&format!("nri.accept[{index}]"), "", &format!("is {id:?}, allowed: {ids}")));
        if index >= limits::FINDINGS {
            break;
        }
    }
    if let Some(policy) = default {
        all.add("nri.policies.default", "default".to_owned(), policy);
    }
    for (list, prefix, policies) in [("groups", "group", groups), ("nodes", "node", nodes)] {
        for (name, policy) in policies {
            let field = format!("nri.policies.{list}.{name}");
            let key = format!("{prefix}.{name}");
            if ConfigKey::parse(&key).is_some() {
                all.add(&field, key, policy);
            } else {
                let message = "the name must consist of lower case letters, digits, '-' and '.'";
                all.problems.push(problem(&field, "", message));
            }
        }
    }
    let AllPolicies { problems, warnings, more_warnings, config_maps, keys, accepted, .. } = all;
    let settings = NriPlugins { accepted };
    problems.none_or(Checked { settings, config_maps, keys, warnings, more_warnings })
}

struct AllPolicies {
    accepted: BTreeSet<String>,
    problems: Problems,
    warnings: Vec<Problem>,
    more_warnings: usize,
    config_maps: BTreeMap<String, BTreeMap<String, String>>,
    keys: Vec<String>,
    bytes: usize,
}

impl AllPolicies {
    fn new(accept: &[String]) -> Self {
        Self {
            accepted: accept.iter().filter_map(|id| Some(Risk::of_id(id)?.id().to_owned())).collect(),
            problems: Problems::default(),
            warnings: Vec::new(),
            more_warnings: 0,
            config_maps: BTreeMap::new(),
            keys: Vec::new(),
            bytes: 0,
        }
    }

    /// Checks one. After the first that makes them too many bytes together none is checked.
    fn add(&mut self, field: &str, key: String, policy: &PolicyConfig) {
        if self.bytes > limits::EFFECTIVE_BYTES {
            return;
        }
        let kind = Kind::from(policy.kind);
        let accepted: Vec<&String> = self.accepted.iter().collect();
        let reported = |finding: &Finding| problem(field, &finding.path, &finding.message);
        let checked = match check(kind, &Value::Object(policy.spec.clone()), &accepted) {
            Ok(checked) => checked,
            Err(findings) => {
                for finding in &findings {
                    if finding.omitted == 0 {
                        self.problems.push(reported(finding));
                    } else {
                        self.problems.omit(finding.omitted);
                    }
                }
                return;
            }
        };
        let room = limits::WARNINGS.saturating_sub(self.warnings.len());
        self.warnings.extend(checked.warnings().iter().take(room).map(reported));
        self.more_warnings += checked.warnings().len().saturating_sub(room);
        // Keys are sorted, and nothing but JSON's own escapes is needed: it is read as JSON again.
        let text = json!({"kind": kind.name(), "spec": checked.spec()}).to_string();
        self.bytes += text.len();
        if self.bytes > limits::EFFECTIVE_BYTES {
            let most = limits::EFFECTIVE_BYTES;
            let message = format!("all policies up to this one have {} bytes as JSON, allowed: {most}", self.bytes);
            self.problems.push(problem(field, "", &message));
            return;
        }
        let name = format!("{}{key}", names::POLICY_CONFIG_MAP_PREFIX);
        self.config_maps.insert(name, BTreeMap::from([(POLICY_KEY.to_owned(), text)]));
        self.keys.push(key);
    }
}

#[cfg(test)]
mod tests;
