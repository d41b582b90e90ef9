//! What a shoot that goes over to nri-plugins gets: the configuration that takes effect, with the policies that are made of cri-resmgr's.

use std::collections::{BTreeMap, BTreeSet};

use extension_config::{ConfigKey, Converted, Effective, Facts, Problems, resolve_with};
use serde_json::Value;

use crate::convert::convert;
use crate::input::Input;
use crate::read;
use crate::rule::Grade;

/// As [`extension_config::resolve_with`], with the conversion of this crate.
///
/// # Errors
/// As there.
pub fn resolve(
    base: Option<&BTreeMap<String, String>>,
    provider_config: Option<&Value>,
    facts: &Facts,
) -> Result<Effective, Problems> {
    resolve_with(base, provider_config, facts, &converted)
}

fn converted(texts: &BTreeMap<ConfigKey, String>, accepted: &BTreeSet<String>) -> Result<Converted, String> {
    let mut input = Input::default();
    for (key, text) in texts {
        let document = match key {
            ConfigKey::ExtraOptions => Value::String(text.clone()),
            _ => read::single(text).map_err(|why| format!("{key}: {why}"))?,
        };
        input.documents.insert(key.clone(), document);
    }
    let conversion = convert(input).map_err(|too_much| too_much.to_string())?;
    let report = &conversion.report;
    let (mut unaccepted, mut undecided) = (Vec::new(), Vec::new());
    for entry in report.open(accepted) {
        match entry.grade {
            Grade::NeedsDecision => undecided.push((entry.path.clone(), entry.text.clone())),
            Grade::Same | Grade::ChangedMeaning | Grade::Lost => {
                unaccepted.push((entry.id.clone(), entry.text.clone()));
            }
        }
    }
    let unknown = report.unknown(accepted).into_iter().map(str::to_owned).collect();
    Ok(Converted { policies: conversion.policies, unaccepted, undecided, unknown })
}
