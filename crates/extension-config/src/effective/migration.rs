//! A shoot that goes over from cri-resmgr to nri-plugins: what its policies are, and what of its configuration its owner has not accepted to lose.

use std::collections::{BTreeMap, BTreeSet};

use nri_policy::{Kind, Policy};
use serde_json::Value;

use super::Warnings;
use crate::desired_state::Handover;
use crate::key::ConfigKey;
use crate::limits;
use crate::names;
use crate::nri::{Policies, PolicyConfig, PolicyKind};
use crate::problem::{Origin, Problem, Problems};
use crate::provider_config::MigrationConfig;

/// Makes policies of the texts of all configurations; those ids are accepted. The error is a sentence: there is more than can be converted.
pub type Convert<'a> = dyn Fn(&BTreeMap<ConfigKey, String>, &BTreeSet<String>) -> Result<Converted, String> + 'a;

/// What a conversion comes to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Converted {
    /// Policies: default, groups and nodes.
    pub policies: BTreeMap<ConfigKey, Policy>,
    /// What changes its meaning or is lost, and is not accepted: id and sentence.
    pub unaccepted: Vec<(String, String)>,
    /// What needs a decision, which cannot be accepted: path of the key and sentence.
    pub undecided: Vec<(String, String)>,
    /// Accepted ids of nothing that was converted.
    pub unknown: Vec<String>,
}

/// Fills in the policies, unless the owner has written some: those count, and what would be converted is only reported.
pub(super) fn convert(
    migration: &MigrationConfig,
    texts: &BTreeMap<ConfigKey, String>,
    policies: &mut Policies,
    convert: &Convert<'_>,
    warnings: &mut Warnings,
) -> Result<Handover, Problems> {
    let accepted: BTreeSet<String> = migration.accept.iter().cloned().collect();
    let converted = convert(texts, &accepted);
    let is_written = *policies != Policies::default();
    let problem = |path: &str, message: &str| Problem::new(Origin::Shoot, path, "", message);
    let mut converted = match converted {
        Ok(converted) => converted,
        Err(sentence) if is_written => {
            warnings.push(problem("migration", &format!("configs cannot be compared with nri.policies: {sentence}")));
            Converted::default()
        }
        Err(sentence) => return Err(problem("configs", &format!("cannot be converted: {sentence}")).into()),
    };
    let mut handover = Handover::from(migration.from);
    let (of_nodes, unknown): (Vec<String>, Vec<String>) = converted
        .unknown
        .drain(..)
        .partition(|id| names::MIGRATION_IDS_OF_NODES.iter().any(|rule| id.starts_with(rule)));
    handover.accepted = of_nodes.into_iter().collect();
    warnings.extend(unknown.first().map(|first| {
        let more = if unknown.len() > 1 { format!(" and {} more", unknown.len() - 1) } else { String::new() };
        problem("migration.accept", &format!("has ids of nothing that changes or is lost: {}{more}", shown(first)))
    }));
    let Converted { policies: made, unaccepted, undecided, .. } = converted;
    if is_written {
        let (open, decisions) = (unaccepted.len(), undecided.len());
        warnings.extend((open + decisions > 0).then(|| {
            let message = format!(
                "nri.policies counts, nothing is made of configs: there {open} keys would change their meaning or be lost, and {decisions} need a decision"
            );
            problem("migration", &message)
        }));
        return Ok(handover);
    }
    let mut problems = Problems::default();
    problems.extend(undecided.iter().map(|(path, sentence)| {
        problem("configs", &format!("{path}: needs a decision before it can be converted: {sentence}"))
    }));
    problems.extend(
        unaccepted.iter().map(|(id, sentence)| problem("migration.accept", &format!("lacks {id}: {sentence}"))),
    );
    problems.none_or(())?;
    for (key, policy) in made {
        let Some(policy) = written(policy) else { continue };
        match key {
            ConfigKey::Default => policies.default = Some(policy),
            ConfigKey::Group(name) => drop(policies.groups.insert(name, policy)),
            ConfigKey::Node(name) => drop(policies.nodes.insert(name, policy)),
            ConfigKey::Fallback | ConfigKey::Force | ConfigKey::ExtraOptions => {}
        }
    }
    Ok(handover)
}

/// As an owner would write it.
fn written(policy: Policy) -> Option<PolicyConfig> {
    let kind = match policy.kind {
        Kind::BalloonsPolicy => PolicyKind::BalloonsPolicy,
        Kind::TopologyAwarePolicy => PolicyKind::TopologyAwarePolicy,
    };
    match policy.spec {
        Value::Object(spec) => Some(PolicyConfig { kind, spec }),
        _ => None,
    }
}

fn shown(id: &str) -> String {
    format!("{:?}", limits::cut(id, limits::VALUE_CHARACTERS))
}

#[cfg(test)]
mod tests;
