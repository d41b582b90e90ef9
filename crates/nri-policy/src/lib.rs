//! The policy documents of [nri-plugins](https://github.com/containers/nri-plugins) v0.14.0 in file mode (`--config-file`).
//!
//! In file mode a binary takes the document of the other policy, any word for an enum and keys in any letter case, and knows no default
//! of the CRD: `pinCPU` that is absent is false for topology-aware, so that it runs and pins nothing. So this crate checks what the API
//! server would, and what neither checks ([`check`]), and writes a whole document with every default ([`Checked::document`]).
//!
//! What depends on the node is not checked here: whether its CPUs are enough ([`Checked::least_cpus`] says for how many it asks), whether
//! a reserved CPU exists, whether resctrl is mounted ([`Checked::needs_resctrl`]). The binary's own dry run on the node does that.
//!
//! # System pods
//! No policy passes that may refuse pods of kube-system, unless its owner accepts that [`Risk`] by its id.
//!
//! # Left out
//! Refused, because this installation does not have it: pod-resources hints (`agent.podResourceAPI`, devices `podresourceapi:…`) and
//! block-I/O classes (`control.blockio.enable`: their definitions are a setting of containerd). Also what would have the plugin, as
//! root, write files (`log.klog.log_dir`, `log_file`, `logtostderr: false`) or serve other hosts (`instrumentation.httpEndpoint`).
//! Allowed with a warning, because without an API server they do nothing: NodeResourceTopology, extended resources of CPU classes.
//! RDT is allowed with a warning that the node needs resctrl.

mod cpus;
mod document;
mod finding;
mod grammar;
pub mod limits;
mod risk;
mod rules;
/// The tree of keys: `spec` of both kinds.
pub mod schema;
mod typed;
mod walk;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

pub use finding::Finding;
pub use risk::Risk;

use finding::{CheckOutcome, Place, quoted, shown};

/// The group and version of both kinds.
pub const API_VERSION: &str = "config.nri/v1alpha1";

/// Which policy a document is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// For the binary `nri-resource-policy-balloons`.
    BalloonsPolicy,
    /// For the binary `nri-resource-policy-topology-aware`.
    TopologyAwarePolicy,
}

impl Kind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::BalloonsPolicy, Self::TopologyAwarePolicy];

    /// As in the document's `kind`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::BalloonsPolicy => "BalloonsPolicy",
            Self::TopologyAwarePolicy => "TopologyAwarePolicy",
        }
    }

    /// The keys of its `spec`.
    #[must_use]
    pub fn fields(self) -> &'static [schema::Field] {
        match self {
            Self::BalloonsPolicy => schema::BALLOONS,
            Self::TopologyAwarePolicy => schema::TOPOLOGY_AWARE,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// No kind of policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{} is no kind of policy, allowed: BalloonsPolicy, TopologyAwarePolicy", quoted(.0))]
pub struct UnknownKind(String);

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        Self::ALL.into_iter().find(|kind| kind.name() == text).ok_or_else(|| UnknownKind(text.to_owned()))
    }
}

/// A policy as it travels, before it is checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Which policy.
    pub kind: Kind,
    /// Everything else.
    pub spec: Value,
}

impl Policy {
    /// As [`check`].
    ///
    /// # Errors
    /// As [`check`].
    pub fn check(&self, accept: &[impl AsRef<str>]) -> Result<Checked, Vec<Finding>> {
        check(self.kind, &self.spec, accept)
    }
}

/// A policy that passed, with every default written out.
#[derive(Debug, Clone, PartialEq)]
pub struct Checked {
    kind: Kind,
    spec: Value,
    warnings: Vec<Finding>,
    least_cpus: u64,
    needs_resctrl: bool,
}

/// Checks a policy.
///
/// `accept` holds ids of [`Risk`]s that the owner takes; each turns its findings into warnings.
///
/// # Errors
/// What is wrong: the first [`limits::FINDINGS`]. Rules about several keys are checked only when each key by itself is right.
pub fn check(kind: Kind, spec: &Value, accept: &[impl AsRef<str>]) -> Result<Checked, Vec<Finding>> {
    let mut outcome = CheckOutcome::new(accept.iter().filter_map(|id| Risk::of_id(id.as_ref())).collect());
    for (index, id) in accept.iter().enumerate().filter(|(_, id)| Risk::of_id(id.as_ref()).is_none()) {
        let ids = Risk::ALL.map(Risk::id).join(", ");
        outcome.fault(format!("accept[{index}]"), format!("is {}, allowed: {ids}", quoted(id.as_ref())));
    }
    let Value::Object(map) = spec else {
        outcome.fault(Place::Spec, format!("is {}, must be a map", shown(spec)));
        return Err(outcome.faults.into_findings());
    };
    if let Err(message) = walk::measure(spec) {
        outcome.fault(Place::Spec, message);
        return Err(outcome.faults.into_findings());
    }
    let mut map = map.clone();
    walk::object(&mut map, kind.fields(), &Place::Spec, &mut outcome);
    let spec = Value::Object(map);
    let most = limits::SPEC_BYTES;
    if document::text(&spec, most).is_none() {
        outcome.fault(
            Place::Spec,
            format!("has more than {most} bytes as JSON with its defaults written out, allowed: {most}"),
        );
    }
    let facts =
        if outcome.faults.is_empty() { rules::check(kind, &spec, &mut outcome) } else { rules::Facts::default() };
    if !outcome.faults.is_empty() {
        return Err(outcome.faults.into_findings());
    }
    let rules::Facts { least_cpus, needs_resctrl } = facts;
    Ok(Checked { kind, spec, warnings: outcome.warnings.into_findings(), least_cpus, needs_resctrl })
}

impl Checked {
    /// Which policy.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The spec with every default written out. Checked again it is the same.
    #[must_use]
    pub fn spec(&self) -> &Value {
        &self.spec
    }

    /// What its owner should know: the first [`limits::WARNINGS`], risks that are accepted among them.
    #[must_use]
    pub fn warnings(&self) -> &[Finding] {
        &self.warnings
    }

    /// CPUs that a node must have, so that each balloon can be made: those that balloons own from the start, and one for each further
    /// balloon type. For topology-aware those that are reserved, and one.
    #[must_use]
    pub fn least_cpus(&self) -> u64 {
        self.least_cpus
    }

    /// Whether the plugin starts only where resctrl is mounted.
    #[must_use]
    pub fn needs_resctrl(&self) -> bool {
        self.needs_resctrl
    }

    /// One whole document, as `--config-file` takes it; ends with a line break. Equal policies of one name give equal texts of at most
    /// [`limits::DOCUMENT_BYTES`]. The name only stands in the plugin's log; of a longer one the first [`limits::NAME_BYTES`] characters are taken.
    #[must_use]
    pub fn document(&self, name: &str) -> String {
        let name: String = name.chars().take(limits::NAME_BYTES).collect();
        let document = json!({
            "apiVersion": API_VERSION,
            "kind": self.kind.name(),
            "metadata": { "name": name },
            "spec": self.spec,
        });
        // The spec is within its bound, and so is the name: the rest has its room.
        document::text(&document, limits::DOCUMENT_BYTES - 1).unwrap_or_default() + "\n"
    }

    /// SHA-256 of [`Self::document`] in hexadecimal digits.
    #[must_use]
    pub fn sha256(&self, name: &str) -> String {
        hex::encode(Sha256::digest(self.document(name).as_bytes()))
    }
}

#[cfg(test)]
mod tests;
